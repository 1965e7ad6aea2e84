//! Scaled dot product attention.
use super::norm::softmax;
use super::values::known;
use super::{Definition, Op, broadcast};
use crate::interp::indices;
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

/// Attention with grouped heads: scores, soft cap, masks, softmax, weighted sum.
pub(super) const ATTENTION: Definition = Definition {
    infer: |_, cx| {
        let (q, k, v) = (cx.operand(0), cx.operand(1), cx.operand(2));
        let ranks = [q, k, v].iter().all(|t| t.rank() == 4 && t.dtype == q.dtype);
        if !ranks || !q.dtype.is_float() {
            return Err(format!("{}: three floats of rank 4", cx.listed()));
        }
        let mut same = |a: &Dim, b: &Dim| cx.same(a, b).map_err(|e| format!("{}: {e}", cx.listed()));
        same(&q.shape[0], &k.shape[0])?;
        same(&q.shape[0], &v.shape[0])?;
        same(&k.shape[1], &v.shape[1])?;
        same(&q.shape[3], &k.shape[3])?;
        same(&k.shape[2], &v.shape[2])?;
        if let (Some(h), Some(g)) = (q.shape[1].known(), k.shape[1].known())
            && (g < 1 || h % g != 0)
        {
            return Err(format!("{h} heads in {g} groups"));
        }
        let mut scores = q.shape.clone();
        scores[3] = k.shape[2].clone();
        if let Some(mask) = cx.operands().get(3) {
            cx.broadcasts_to(&mask.shape, &scores)
                .map_err(|e| format!("mask {mask} does not broadcast to the scores of {q} with {k}: {e}"))?;
        }
        let mut shape = q.shape.clone();
        shape[3] = v.shape[3].clone();
        Ok(vec![q.with_shape(shape)])
    },
    eval: |op, x, types| Ok(vec![attended(op, x, &types[0])]),
};

fn attended(op: &Op, x: &[Tensor], ty: &Type) -> Tensor {
    attributes!(op, Attention { scale, causal, softcap });
    let [batch, heads, s, d] = *x[0].shape() else { panic!("bug: rank 4") };
    let [_, groups, t, e] = *x[2].shape() else { panic!("bug: rank 4") };
    let (q, k, v) = (x[0].to_f64s(), x[1].to_f64s(), x[2].to_f64s());
    let bias = x.get(3).map(|mask| additive(mask, &[batch, heads, s, t]));
    let mut out = vec![0.0; batch * heads * s * e];
    let mut row = vec![0.0; t];
    for (i, to) in out.chunks_exact_mut(e.max(1)).enumerate() {
        let (b, h, position) = (i / s / heads, i / s % heads, i % s);
        let group = b * groups + h / (heads / groups);
        for (j, r) in row.iter_mut().enumerate() {
            let keys = &k[(group * t + j) * d..][..d];
            let score = q[i * d..][..d].iter().zip(keys).map(|(a, b)| a * b).sum::<f64>() * scale;
            *r = if *softcap > 0.0 { (score / softcap).tanh() * softcap } else { score };
            *r += bias.as_ref().map_or(0.0, |m| m[i * t + j]);
            if *causal && j + s > position + t {
                *r = f64::NEG_INFINITY;
            }
        }
        // A query that sees no key gets zeros.
        if row.iter().all(|&r| r == f64::NEG_INFINITY) {
            continue;
        }
        softmax(&mut row);
        for (j, &p) in row.iter().enumerate() {
            to.iter_mut().zip(&v[(group * t + j) * e..][..e]).for_each(|(o, v)| *o += p * v);
        }
    }
    Tensor::from_f64s(ty.dtype, known(ty), out)
}

/// A mask as what is added to the scores.
fn additive(mask: &Tensor, shape: &[usize]) -> Vec<f64> {
    let bools = !mask.dtype().is_float();
    let values: Vec<f64> = mask.to_f64s();
    debug_assert_eq!(broadcast(&[mask.shape(), shape]), shape);
    let value = |i: usize| match bools {
        true if values[i] != 0.0 => 0.0,
        true => f64::NEG_INFINITY,
        false => values[i],
    };
    indices(mask.shape(), shape).map(value).collect()
}
