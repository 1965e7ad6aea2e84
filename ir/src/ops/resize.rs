//! Resizing and sampling at fractional coordinates.
use super::attribute::{Coordinates, Interpolation, Nearest, Padding};
use super::values::{around, known};
use super::{Definition, Op};
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

pub(super) const RESIZE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Resize { sizes, scales, roi });
        let x = cx.operand(0);
        if sizes.len() != x.rank() || ![0, x.rank()].contains(&scales.len()) {
            return Err(format!("sizes and scales for every axis of {x}"));
        }
        if ![0, 2 * x.rank()].contains(&roi.len()) || scales.iter().any(|s| !s.is_finite() || *s < 0.0) {
            return Err(format!("a region of interest and scales for every axis of {x}"));
        }
        for (i, count) in [(1, x.rank()), (2, 2 * x.rank())] {
            if let Some(t) = cx.operands().get(i)
                && (t.rank() != 1 || t.shape[0] != Dim::from(count) || !t.dtype.is_float())
            {
                return Err(format!("{t} are not {count} numbers"));
            }
        }
        if x.shape.iter().zip(sizes).any(|(n, to)| *n == 0 && *to != 0) {
            return Err(format!("{x} has nothing to resize"));
        }
        Ok(vec![x.with_shape(sizes.clone())])
    },
    eval: |op, x, types| {
        let mut op = op.clone();
        if let Op::Resize { scales, roi, .. } = &mut op {
            x.get(1).iter().for_each(|t| *scales = t.to_f64s());
            x.get(2).iter().for_each(|t| *roi = t.to_f64s());
            if scales.iter().any(|s| !s.is_finite() || *s < 0.0) || roi.iter().any(|r| !r.is_finite()) {
                return Err(format!("scales {scales:?} and region {roi:?}"));
            }
        }
        Ok(vec![resized(&op, &x[0], &types[0])])
    },
};

/// What one output coordinate takes from an axis: elements with weights, or nothing if it is outside.
type Taps = Option<Vec<(usize, f64)>>;

fn resized(op: &Op, x: &Tensor, ty: &Type) -> Tensor {
    attributes!(op, Resize { extrapolation });
    let to = known(ty);
    let mut shape = x.shape().to_vec();
    let mut values = x.to_f64s();
    let mut outside: Vec<Vec<bool>> = Vec::new();
    for axis in 0..to.len() {
        let taps: Vec<Taps> = (0..to[axis]).map(|o| taps(op, axis, shape[axis], to[axis], o)).collect();
        outside.push(taps.iter().map(Option::is_none).collect());
        if !is_identity(&taps, shape[axis]) {
            values = along(&values, &shape, axis, &taps);
        }
        shape[axis] = to[axis];
    }
    for (axis, outside) in outside.iter().enumerate() {
        let (outer, n, inner) = around(&to, axis);
        let hit = (0..n).filter(|&k| outside[k]);
        for (k, o) in hit.flat_map(|k| (0..outer).map(move |o| (k, o))) {
            values[(o * n + k) * inner..][..inner].fill(*extrapolation);
        }
    }
    Tensor::from_f64s(ty.dtype, to, values)
}

fn is_identity(taps: &[Taps], n: usize) -> bool {
    taps.len() == n && taps.iter().enumerate().all(|(i, t)| t.as_ref().is_some_and(|t| **t == [(i, 1.0)]))
}

fn along(values: &[f64], shape: &[usize], axis: usize, taps: &[Taps]) -> Vec<f64> {
    let (outer, n, inner) = around(shape, axis);
    let mut out = vec![0.0; outer * taps.len() * inner];
    for (row, to) in out.chunks_exact_mut(inner.max(1)).enumerate() {
        let (o, k) = (row / taps.len(), row % taps.len());
        for &(i, weight) in taps[k].iter().flatten() {
            let from = &values[(o * n + i) * inner..][..inner];
            to.iter_mut().zip(from).for_each(|(t, f)| *t += weight * f);
        }
    }
    out
}

/// The elements that output coordinate `o` of `to` takes from an axis of `n` elements.
fn taps(op: &Op, axis: usize, n: usize, to: usize, o: usize) -> Taps {
    attributes!(
        op,
        Resize { scales, mode, coordinates, nearest, cubic_coeff, exclude_outside, antialias, roi }
    );
    let given = scales.get(axis).copied().filter(|&s| s != 0.0);
    if n == to && given.is_none_or(|s| s == 1.0) && *coordinates != Coordinates::CropAndResize {
        return Some(vec![(o, 1.0)]);
    }
    let scale = given.unwrap_or(to as f64 / n as f64);
    let region = (roi.len() > axis).then(|| (roi[axis], roi[roi.len() / 2 + axis]));
    let at = source(*coordinates, o as f64, n as f64, to as f64, scale, region.unwrap_or((0.0, 1.0)));
    if *coordinates == Coordinates::CropAndResize && !(0.0..=(n - 1) as f64).contains(&at) {
        return None;
    }
    let at = at.clamp(-1.0 - n as f64, 2.0 * n as f64);
    let clamp = |i: f64| i.clamp(0.0, (n - 1) as f64) as usize;
    let stretch = if *antialias && scale < 1.0 { scale } else { 1.0 };
    let kernel: &dyn Fn(f64) -> f64 = match mode {
        Interpolation::Nearest => return Some(vec![(clamp(rounded(*nearest, at)), 1.0)]),
        Interpolation::Linear => &|d| (1.0 - d.abs()).max(0.0),
        Interpolation::Cubic => &|d| cubic(d, *cubic_coeff),
    };
    let reach = if *mode == Interpolation::Cubic { 2.0 } else { 1.0 } / stretch;
    let mut taps: Vec<(f64, f64)> = Vec::new();
    // Beyond it is only the reach of a scale that has nothing to do with the sizes.
    let span = 5.0 * n as f64 + 5.0;
    let mut i = ((at - reach).floor() + if stretch == 1.0 { 1.0 } else { 0.0 }).max(-span);
    while i <= (at + reach).min(span) {
        let inside = (0.0..n as f64).contains(&i);
        // What lies outside is the border's element.
        if inside || !*exclude_outside {
            taps.push((i, kernel((i - at) * stretch)));
        }
        i += 1.0;
    }
    if *exclude_outside || stretch != 1.0 {
        let sum: f64 = taps.iter().map(|t| t.1).sum();
        taps.iter_mut().for_each(|t| t.1 /= sum);
    }
    Some(taps.into_iter().map(|(i, w)| (clamp(i), w)).collect())
}

/// The coordinate on the input of output coordinate `o` (ONNX Resize, `coordinate_transformation_mode`).
fn source(mode: Coordinates, o: f64, n: f64, to: f64, scale: f64, (start, end): (f64, f64)) -> f64 {
    match mode {
        Coordinates::HalfPixel => (o + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            let adjustment = to / (scale * n);
            n / 2.0 * (1.0 - adjustment) + (o + 0.5) / scale - 0.5
        }
        Coordinates::PytorchHalfPixel => {
            if to > 1.0 {
                (o + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            if to == 1.0 {
                0.0
            } else {
                o * (n - 1.0) / (to - 1.0)
            }
        }
        Coordinates::Asymmetric => o / scale,
        Coordinates::TfHalfPixel => (o + 0.5) / scale,
        Coordinates::CropAndResize if to > 1.0 => {
            start * (n - 1.0) + o * (end - start) * (n - 1.0) / (to - 1.0)
        }
        Coordinates::CropAndResize => 0.5 * (start + end) * (n - 1.0),
    }
}

fn rounded(mode: Nearest, x: f64) -> f64 {
    match mode {
        Nearest::RoundPreferFloor => (x - 0.5).ceil(),
        Nearest::RoundPreferCeil => (x + 0.5).floor(),
        Nearest::Floor => x.floor(),
        Nearest::Ceil => x.ceil(),
    }
}

/// The cubic convolution kernel (Keys 1981).
fn cubic(d: f64, a: f64) -> f64 {
    let d = d.abs();
    match d {
        _ if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        _ if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}

pub(super) const GRID_SAMPLE: Definition = Definition {
    infer: |_, cx| {
        let (x, grid) = (cx.operand(0), cx.operand(1));
        let spatial = x.rank().saturating_sub(2);
        if x.rank() < 3 || grid.rank() != x.rank() || grid.shape[x.rank() - 1] != Dim::from(spatial) {
            return Err(format!("{}: no grid of {spatial} coordinates", cx.listed()));
        }
        if !grid.dtype.is_float() || x.shape[2..].iter().any(|d| *d == 0) {
            return Err(format!("{}: nothing to sample", cx.listed()));
        }
        let batch = cx.same(&x.shape[0], &grid.shape[0]).map_err(|e| format!("{}: {e}", cx.listed()))?;
        let shape = [&[batch, x.shape[1].clone()], &grid.shape[1..=spatial]].concat();
        Ok(vec![x.with_shape(shape)])
    },
    eval: |op, x, types| {
        attributes!(op, GridSample { mode, padding, align_corners });
        let to = known(&types[0]);
        let (from, spatial) = (&x[0].shape()[2..], to.len() - 2);
        let (values, grid) = (x[0].to_f64s(), x[1].to_f64s());
        let (inputs, pixels) = (from.iter().product::<usize>(), to[2..].iter().product::<usize>());
        let mut out = Vec::with_capacity(to.iter().product());
        for (n, c) in (0..to[0]).flat_map(|n| (0..to[1]).map(move |c| (n, c))) {
            let plane = &values[(n * to[1] + c) * inputs..][..inputs];
            for p in 0..pixels {
                // The grid names the innermost coordinate first.
                let point = &grid[(n * pixels + p) * spatial..][..spatial];
                let axes = (0..spatial).map(|d| {
                    let at = unnormalized(point[spatial - 1 - d], from[d] as f64, *align_corners);
                    samples(at, from[d], *mode, *padding, *align_corners)
                });
                out.push(combined(plane, from, &axes.collect::<Vec<_>>()));
            }
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, to, out)])
    },
};

/// From -1…1 to the coordinate on an axis of `n` elements.
fn unnormalized(x: f64, n: f64, align_corners: bool) -> f64 {
    if align_corners { (x + 1.0) / 2.0 * (n - 1.0) } else { ((x + 1.0) * n - 1.0) / 2.0 }
}

/// The elements of an axis that a coordinate is made of, with weights.
fn samples(
    at: f64,
    n: usize,
    mode: Interpolation,
    padding: Padding,
    align_corners: bool,
) -> Vec<(usize, f64)> {
    let last = (n - 1) as f64;
    let bounds = if align_corners { (0.0, last) } else { (-0.5, last + 0.5) };
    let settled = |x: f64| match padding {
        Padding::Zeros => x,
        Padding::Border => x.clamp(0.0, last),
        Padding::Reflection => reflected(x, bounds).clamp(0.0, last),
    };
    let at = if mode == Interpolation::Cubic { at } else { settled(at) };
    let taps: Vec<(f64, f64)> = match mode {
        Interpolation::Nearest => vec![(at.round_ties_even(), 1.0)],
        Interpolation::Linear => {
            (0..2).map(|k| at.floor() + f64::from(k)).map(|i| (i, 1.0 - (i - at).abs())).collect()
        }
        Interpolation::Cubic => {
            (-1..3).map(|k| at.floor() + f64::from(k)).map(|i| (i, cubic(i - at, -0.75))).collect()
        }
    };
    let place = |(i, w): (f64, f64)| {
        let i = if mode == Interpolation::Cubic { settled(i) } else { i };
        (0.0..=last).contains(&i).then_some((i as usize, w))
    };
    taps.into_iter().filter_map(place).collect()
}

/// `x` mirrored at the bounds until it is between them.
fn reflected(x: f64, (low, high): (f64, f64)) -> f64 {
    let span = high - low;
    if span <= 0.0 || !x.is_finite() {
        return low;
    }
    let folded = (x - low).rem_euclid(2.0 * span);
    low + folded.min(2.0 * span - folded)
}

fn combined(plane: &[f64], shape: &[usize], axes: &[Vec<(usize, f64)>]) -> f64 {
    match (axes, shape) {
        ([first, rest @ ..], [_, inner @ ..]) => {
            let step: usize = inner.iter().product();
            first.iter().map(|&(i, w)| w * combined(&plane[i * step..], inner, rest)).sum()
        }
        _ => plane[0],
    }
}
