//! Linear attention: a matrix of state per head that every step decays, adds to and reads (Katharopoulos et
//! al. 2020; with the delta rule Yang et al. 2024).
use super::values::known;
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

pub(super) const LINEAR_ATTENTION: Definition = Definition { infer, eval };

fn infer(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    attributes!(op, LinearAttention { delta });
    let listed = cx.listed();
    let all = cx.operands();
    let (q, k, v) = (&all[0], &all[1], &all[2]);
    if all.iter().any(|t| t.rank() != 4 || t.dtype != q.dtype) || !q.dtype.is_float() {
        return Err(format!("{listed}: floats of one type and rank 4"));
    }
    if *delta && all.len() < 6 {
        return Err(format!("{listed}: the delta rule needs decay and beta"));
    }
    if let (Some(heads), Some(groups)) = (q.shape[2].known(), k.shape[2].known())
        && (groups < 1 || heads % groups != 0)
    {
        return Err(format!("{heads} heads for {groups} groups"));
    }
    let [b, t, g, d] = [0, 1, 2, 3].map(|i| k.shape[i].clone());
    let e = v.shape[3].clone();
    let mut same = |i: usize, shape: &[Dim]| -> Result<(), String> {
        for (a, b) in all.get(i).into_iter().flat_map(|ty| ty.shape.iter().zip(shape)) {
            cx.same(a, b).map_err(|e| format!("operand {i} of {listed}: {e}"))?;
        }
        Ok(())
    };
    same(0, &[b.clone(), t.clone(), q.shape[2].clone(), d.clone()])?;
    same(2, &[b.clone(), t.clone(), g.clone(), e.clone()])?;
    same(3, &[b.clone(), g.clone(), d.clone(), e.clone()])?;
    let width = if all.get(4).is_some_and(|t| t.shape[3] == 1) { Dim::ONE } else { d };
    same(4, &[b.clone(), t.clone(), g.clone(), width])?;
    same(5, &[b, t, g, Dim::ONE])?;
    let y = q.with_shape(vec![q.shape[0].clone(), q.shape[1].clone(), q.shape[2].clone(), e]);
    Ok(vec![y, all[3].clone()])
}

fn eval(op: &Op, x: &[Tensor], types: &[Type]) -> Result<Vec<Tensor>, String> {
    attributes!(op, LinearAttention { delta, scale });
    let [batch, steps, heads, d] = *x[0].shape() else { panic!("bug: rank 4") };
    let (groups, e) = (x[1].shape()[2], x[2].shape()[3]);
    if heads % groups.max(1) != 0 {
        return Err(format!("{heads} heads for {groups} groups"));
    }
    let values: Vec<Vec<f64>> = x.iter().map(Tensor::to_f64s).collect();
    let mut state = values[3].clone();
    let mut y = vec![0.0; batch * steps * heads * e];
    for (b, g, t) in
        (0..batch).flat_map(|b| (0..groups).flat_map(move |g| (0..steps).map(move |t| (b, g, t))))
    {
        let row = (b * steps + t) * groups + g;
        let s = &mut state[(b * groups + g) * d * e..][..d * e];
        if let Some(decay) = values.get(4) {
            let width = x[4].shape()[3];
            for i in 0..d {
                let factor = decay[row * width + i % width].exp();
                s[i * e..][..e].iter_mut().for_each(|s| *s *= factor);
            }
        }
        let (k, v) = (&values[1][row * d..][..d], &values[2][row * e..][..e]);
        let read = |s: &[f64], by: &[f64], j: usize| (0..d).map(|i| s[i * e + j] * by[i]).sum::<f64>();
        let added: Vec<f64> = match delta {
            true => (0..e).map(|j| values[5][row] * (v[j] - read(s, k, j))).collect(),
            false => v.to_vec(),
        };
        for (i, j) in (0..d).flat_map(|i| (0..e).map(move |j| (i, j))) {
            s[i * e + j] += k[i] * added[j];
        }
        for head in g * (heads / groups)..(g + 1) * (heads / groups) {
            let row = (b * steps + t) * heads + head;
            for j in 0..e {
                y[row * e + j] = scale * read(s, &values[0][row * d..][..d], j);
            }
        }
    }
    Ok(vec![
        Tensor::from_f64s(types[0].dtype, known(&types[0]), y),
        Tensor::from_f64s(types[1].dtype, known(&types[1]), state),
    ])
}
