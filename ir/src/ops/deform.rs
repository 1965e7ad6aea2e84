//! Deformable convolution: every tap is moved by an offset and weighted by a mask (Zhu et al. 2018).
use super::Definition;
use super::conv::{Sliding, coordinates};
use super::values::known;
use super::{Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

fn infer(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    attributes!(op, DeformConv { strides, pads, dilations, group, offset_group });
    let (x, w, offset) = (cx.operand(0), cx.operand(1), cx.operand(2));
    if cx.operands().iter().enumerate().any(|(i, t)| t.rank() != [4, 4, 4, 1, 4][i] || t.dtype != x.dtype) {
        return Err(format!("{}: two spatial dimensions, one element type", cx.listed()));
    }
    if !x.dtype.is_float() || *group < 1 || *offset_group < 1 || x.shape[2..].iter().any(|d| *d == 0) {
        return Err(format!("{} in {group} and {offset_group} groups", cx.listed()));
    }
    let kernel: Option<Vec<i64>> = w.shape[2..].iter().map(Dim::known).collect();
    let kernel = kernel.ok_or_else(|| format!("the kernel of {w} is not known"))?;
    let sliding = Sliding { kernel: &kernel, strides, pads, dilations };
    sliding.check(2)?;
    let space = [0, 1].map(|d| sliding.positions(d, &x.shape[d + 2], false));
    let taps = Dim::from(kernel[0]) * kernel[1] * *offset_group;
    let expected = [
        (3, vec![w.shape[0].clone()]),
        (2, vec![x.shape[0].clone(), &taps * 2, space[0].clone(), space[1].clone()]),
        (4, vec![x.shape[0].clone(), taps.clone(), space[0].clone(), space[1].clone()]),
    ];
    cx.same(&x.shape[1], &(&w.shape[1] * *group))
        .map_err(|e| format!("{} in {group} groups: {e}", cx.listed()))?;
    let uneven = |d: &Dim, n: i64| d.known().is_some_and(|c| c % n != 0);
    if uneven(&w.shape[0], *group) || uneven(&x.shape[1], *offset_group) {
        return Err(format!("{} in {group} and {offset_group} groups", cx.listed()));
    }
    for (i, shape) in expected {
        for (a, b) in cx.operands().get(i).into_iter().flat_map(|t| t.shape.iter().zip(&shape)) {
            cx.same(a, b).map_err(|e| format!("operand {i} of {}, offsets {offset}: {e}", cx.listed()))?;
        }
    }
    let [h, w_out] = space;
    Ok(vec![x.with_shape(vec![x.shape[0].clone(), w.shape[0].clone(), h, w_out])])
}

pub(super) const DEFORM_CONV: Definition = Definition { infer, eval };

fn eval(op: &Op, x: &[Tensor], types: &[Type]) -> Result<Vec<Tensor>, String> {
    attributes!(op, DeformConv { strides, pads, dilations, group, offset_group });
    let shape = known(&types[0]);
    let [_, channels, h, w] = *x[0].shape() else { panic!("bug: rank 4") };
    let [_, depth, kh, kw] = *x[1].shape() else { panic!("bug: rank 4") };
    let (groups, offset_groups) = (*group as usize, *offset_group as usize);
    let v: Vec<Vec<f64>> = x.iter().map(Tensor::to_f64s).collect();
    let (pixels, taps) = (shape[2] * shape[3], kh * kw);
    let mut out = Vec::with_capacity(shape.iter().product());
    for at in coordinates(&shape) {
        let [n, o, i, j] = at[..] else { panic!("bug: rank 4") };
        let first = o / (shape[1] / groups) * depth;
        let mut sum = v.get(3).map_or(0.0, |bias| bias[o]);
        for (c, tap) in (0..depth).flat_map(|c| (0..taps).map(move |t| (c, t))) {
            let g = (first + c) / (channels / offset_groups);
            let offset = |part: usize| {
                v[2][(((n * offset_groups + g) * taps + tap) * 2 + part) * pixels + i * shape[3] + j]
            };
            let y = (i as i64 * strides[0] - pads[0] + (tap / kw) as i64 * dilations[0]) as f64 + offset(0);
            let z = (j as i64 * strides[1] - pads[1] + (tap % kw) as i64 * dilations[1]) as f64 + offset(1);
            let mask = v
                .get(4)
                .map_or(1.0, |m| m[((n * offset_groups + g) * taps + tap) * pixels + i * shape[3] + j]);
            let plane = &v[0][(n * channels + first + c) * h * w..][..h * w];
            sum += bilinear(plane, h, w, y, z) * mask * v[1][(o * depth + c) * taps + tap];
        }
        out.push(sum);
    }
    Ok(vec![Tensor::from_f64s(types[0].dtype, shape, out)])
}

/// The value between pixels; those outside are 0.
fn bilinear(plane: &[f64], h: usize, w: usize, y: f64, x: f64) -> f64 {
    let pixel = |i: f64, j: f64| {
        let inside = (0.0..h as f64).contains(&i) && (0.0..w as f64).contains(&j);
        if inside { plane[i as usize * w + j as usize] } else { 0.0 }
    };
    let (i, j) = (y.floor(), x.floor());
    let (fy, fx) = (y - i, x - j);
    (1.0 - fy) * ((1.0 - fx) * pixel(i, j) + fx * pixel(i, j + 1.0))
        + fy * ((1.0 - fx) * pixel(i + 1.0, j) + fx * pixel(i + 1.0, j + 1.0))
}
