//! Window functions, Fourier transforms, and the weights of mel spectrograms.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, late, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};
use std::f64::consts::{LN_10, PI};

pub(super) const ROWS: &[Row] = &[
    one("BlackmanWindow", 17, |cx| window(cx, &[0.42, -0.5, 0.08])),
    one("DFT", 17, |cx| dft(cx, None)),
    one("DFT", 20, |cx| dft(cx, Some(2))),
    one("HammingWindow", 17, |cx| window(cx, &[25.0 / 46.0, -21.0 / 46.0])),
    one("HannWindow", 17, |cx| window(cx, &[0.5, -0.5])),
    one("MelWeightMatrix", 17, mel_weights),
    one("STFT", 17, stft),
];

/// A size that a tensor of one integer holds.
fn size(cx: &mut Context, v: Value) -> Built<Dim> {
    let list = cx.reshape(v, vec![Dim::ONE])?;
    Ok(cx.shape_from(list)?.remove(0))
}

/// `Σ c[k] * cos(2πk * n / size)`, where a symmetric window has one element less a period.
fn window(cx: &mut Context, coefficients: &[f64]) -> Built {
    let list = cx.operand(0)?;
    let to = cx.dtype_if("output_datatype")?.unwrap_or(DType::F32);
    let count = size(cx, list)?;
    let at = cx.add(Op::Iota { count: count.clone(), to: DType::F32 }, &[])?;
    let mut period = cx.dim(count, DType::F32)?;
    if !cx.flag("periodic", true)? {
        period = cx.plus_number(period, -1.0)?;
    }
    let turns = cx.over(at, period)?;
    let mut sum = cx.like(at, coefficients[0]);
    for (k, &c) in coefficients.iter().enumerate().skip(1) {
        let angle = cx.times_number(turns, 2.0 * PI * k as f64)?;
        let wave = cx.cos(angle)?;
        let wave = cx.times_number(wave, c)?;
        sum = cx.plus(sum, wave)?;
    }
    cx.cast(sum, to)
}

/// A discrete Fourier transform along the last axis.
struct Transform {
    /// The number of elements that are transformed.
    length: Dim,
    inverse: bool,
    /// Half of the spectrum of a real signal is made, or given.
    onesided: bool,
}

/// The real and, if there is one, the imaginary part along an axis. The last axis of the operand and of the
/// result holds the parts; `axis` is an attribute, or operand `axis_operand`.
fn dft(cx: &mut Context, axis_operand: Option<usize>) -> Built {
    let x = cx.operand(0)?;
    let rank = cx.rank(x);
    let mut unknown = None;
    let axis = match axis_operand {
        None => cx.int("axis", 1)?,
        Some(i) => match cx.operand_if(i)? {
            None => -2,
            Some(v) => match cx.ints_of(v).as_deref() {
                Some([axis]) => *axis,
                Some(_) => return invalid("one axis is needed"),
                None => {
                    unknown = Some(v);
                    0
                }
            },
        },
    };
    let planes = parts(cx, x)?;
    let axis = cx.axis(x, axis)?;
    if rank < 2 || (axis + 1 == rank && unknown.is_none()) {
        return invalid(format!("axis {axis} of {} holds the parts of complex numbers", cx.ty(x)));
    }
    let (inverse, onesided) = (cx.flag("inverse", false)?, cx.flag("onesided", false)?);
    let given = match cx.operand_if(1)? {
        Some(v) => Some(size(cx, v)?),
        None => None,
    };
    let transform = |own: &Dim| Transform {
        length: match &given {
            Some(length) => length.clone(),
            None if inverse && onesided => (own - 1) * 2,
            None => own.clone(),
        },
        inverse,
        onesided,
    };
    if let Some(axis) = unknown {
        // Counted from the front the axis is one of the planes too.
        let axis = late::wrapped(cx, axis, rank)?;
        let rows = late::rows(cx, planes[0], axis)?;
        let mut turned = vec![rows.value];
        for &plane in &planes[1..] {
            turned.push(rows.of(cx, plane)?);
        }
        let transform = transform(&cx.shape(rows.value)[1]);
        let results = transformed(cx, &turned, &transform)?;
        let results = rows.resized(cx, &results)?;
        return joined(cx, &results);
    }
    let transform = transform(&cx.shape(x)[axis]);
    let mut order: Vec<usize> = (0..rank - 1).filter(|&a| a != axis).collect();
    order.push(axis);
    let mut turned = Vec::new();
    for plane in planes {
        turned.push(cx.transpose(plane, &order)?);
    }
    let mut back: Vec<usize> = (0..rank - 2).collect();
    back.insert(axis, rank - 2);
    let mut results = Vec::new();
    for plane in transformed(cx, &turned, &transform)? {
        results.push(cx.transpose(plane, &back)?);
    }
    joined(cx, &results)
}

/// The parts of complex numbers, which the last axis holds.
fn parts(cx: &mut Context, x: Value) -> Built<Vec<Value>> {
    let rank = cx.rank(x);
    match cx.shape(x).last().and_then(Dim::known) {
        Some(n @ (1 | 2)) => (0..n).map(|part| cx.pick(x, rank - 1, part)).collect(),
        _ => invalid(format!("{} holds no complex numbers", cx.ty(x))),
    }
}

/// The reverse of [`parts`].
fn joined(cx: &mut Context, planes: &[Value]) -> Built {
    let rank = cx.rank(planes[0]);
    let mut columns = Vec::new();
    for &plane in planes {
        columns.push(cx.unsqueeze(plane, &[rank])?);
    }
    cx.concat(&columns, rank)
}

/// The last axis cut or filled with zeros to a length.
fn fitted(cx: &mut Context, x: Value, length: &Dim) -> Built {
    let (shape, last) = (cx.shape(x), cx.rank(x) - 1);
    if shape[last] == *length {
        return Ok(x);
    }
    let kept = shape[last].min(length);
    let x = cx.slice_axis(x, last, Dim::ZERO, kept.clone(), 1)?;
    let before = vec![Dim::ZERO; shape.len()];
    let mut after = before.clone();
    after[last] = length - kept;
    let zero = cx.like(x, 0.0);
    cx.add(Op::Pad { before, after, mode: Default::default() }, &[x, zero])
}

/// Real and imaginary parts of `Σ x[n] exp(∓2πi n k / length)` over the last axis, as products with matrices
/// of cosines and sines; only the real part where the result is real.
fn transformed(cx: &mut Context, planes: &[Value], t: &Transform) -> Built<Vec<Value>> {
    let half = t.length.floor_div(2) + 1;
    let from = if t.inverse && t.onesided { half.clone() } else { t.length.clone() };
    let bins = if t.onesided && !t.inverse { half } else { t.length.clone() };
    let mut whole = Vec::new();
    for &plane in planes {
        whole.push(fitted(cx, plane, &from)?);
    }
    let (cos, sin) = waves(cx, &from, &bins, t, cx.dtype(planes[0]))?;
    let (a, b) = (super::math::matmul(cx, whole[0], cos)?, super::math::matmul(cx, whole[0], sin)?);
    let (real, imaginary) = match whole.get(1) {
        None => (a, b),
        Some(&other) => {
            let (c, d) = (super::math::matmul(cx, other, cos)?, super::math::matmul(cx, other, sin)?);
            (cx.minus(a, d)?, cx.plus(b, c)?)
        }
    };
    Ok(if t.inverse && t.onesided { vec![real] } else { vec![real, imaginary] })
}

/// The matrices of cosines and sines.
fn waves(cx: &mut Context, from: &Dim, bins: &Dim, t: &Transform, to: DType) -> Built<(Value, Value)> {
    let (n, k) = (cx.iota(from.clone(), DType::I64, 0, 2)?, cx.iota(bins.clone(), DType::I64, 1, 2)?);
    let whole = cx.dim(t.length.clone(), DType::I64)?;
    // Whole turns are taken off while the numbers are exact.
    let steps = cx.times(n, k)?;
    let steps = cx.modulo(steps, whole)?;
    let (steps, period) = (cx.cast(steps, DType::F64)?, cx.cast(whole, DType::F64)?);
    let turns = cx.over(steps, period)?;
    let angle = cx.times_number(turns, if t.inverse { 2.0 * PI } else { -2.0 * PI })?;
    let (mut cos, mut sin) = (cx.cos(angle)?, cx.sin(angle)?);
    if t.inverse && t.onesided {
        // A bin stands for itself and its mirror image, but for the first and, of an even length, the last.
        let twice = cx.times_number(n, 2.0)?;
        let rest = cx.modulo(twice, whole)?;
        let zero = cx.int_scalar(0);
        let alone = cx.eq(rest, zero)?;
        let (one, two) = (cx.scalar(DType::F64, 1.0), cx.scalar(DType::F64, 2.0));
        let weight = cx.select(alone, one, two)?;
        (cos, sin) = (cx.times(cos, weight)?, cx.times(sin, weight)?);
    }
    if t.inverse {
        (cos, sin) = (cx.over(cos, period)?, cx.over(sin, period)?);
    }
    Ok((cx.cast(cos, to)?, cx.cast(sin, to)?))
}

/// Transforms of frames of a signal `[b, n, parts]`, each times a window: `[b, frames, bins, 2]`.
fn stft(cx: &mut Context) -> Built {
    let (x, step, window) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let x = if cx.rank(x) == 2 { cx.unsqueeze(x, &[2])? } else { cx.ranked(x, 3)? };
    let step = size(cx, step)?;
    let samples = cx.shape(x)[1].clone();
    let length = match (cx.operand_if(3)?, window) {
        (Some(v), _) => size(cx, v)?,
        (None, Some(window)) => cx.ranked(window, 1).map(|w| cx.shape(w)[0].clone())?,
        (None, None) => samples.clone(),
    };
    if step.provably_le(0) || length.provably_le(0) {
        return invalid(format!("frames of {length} every {step}"));
    }
    let frames = (samples - &length).floor_div(step.clone()) + 1;
    let (first, inside) = (cx.iota(frames, DType::I64, 0, 2)?, cx.iota(length.clone(), DType::I64, 1, 2)?);
    let step = cx.dim(step, DType::I64)?;
    let first = cx.times(first, step)?;
    let places = cx.plus(first, inside)?;
    let mut planes = Vec::new();
    for plane in parts(cx, x)? {
        let framed = cx.add(Op::Gather { axis: 1 }, &[plane, places])?;
        planes.push(match window {
            Some(window) => cx.times(framed, window)?,
            None => framed,
        });
    }
    let onesided = cx.flag("onesided", true)?;
    let results = transformed(cx, &planes, &Transform { length, inverse: false, onesided })?;
    joined(cx, &results)
}

/// Overlapping triangles, evenly spaced on the mel scale, as columns over the bins of a spectrum.
fn mel_weights(cx: &mut Context) -> Built {
    let (bands, length, rate) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let to = cx.dtype_if("output_datatype")?.unwrap_or(DType::F32);
    let (bands, length) = (size(cx, bands)?, size(cx, length)?);
    let mut edges = Vec::new();
    for i in [3, 4] {
        let hertz = cx.operand(i)?;
        let hertz = cx.cast(hertz, DType::F64)?;
        let hertz = cx.as_scalar(hertz)?;
        let ratio = cx.times_number(hertz, 1.0 / 700.0)?;
        let ratio = cx.plus_number(ratio, 1.0)?;
        let log = cx.log(ratio)?;
        edges.push(cx.times_number(log, 2595.0 / LN_10)?);
    }
    // The bins of all corners of the triangles.
    let corners = &bands + 2;
    let span = cx.minus(edges[1], edges[0])?;
    let count = cx.dim(corners.clone(), DType::F64)?;
    let step = cx.over(span, count)?;
    let at = cx.add(Op::Iota { count: corners, to: DType::F64 }, &[])?;
    let at = cx.times(at, step)?;
    let mel = cx.plus(at, edges[0])?;
    let power = cx.times_number(mel, LN_10 / 2595.0)?;
    let power = cx.exp(power)?;
    let hertz = cx.plus_number(power, -1.0)?;
    let hertz = cx.times_number(hertz, 700.0)?;
    let (scale, rate) = (cx.dim(&length + 1, DType::F64)?, cx.cast(rate, DType::F64)?);
    let rate = cx.as_scalar(rate)?;
    let bin = cx.times(hertz, scale)?;
    let bin = cx.over(bin, rate)?;
    let bin = cx.add(Op::Floor {}, &[bin])?;
    let mut corner = Vec::new();
    for i in 0..3 {
        corner.push(cx.slice_axis(bin, 0, Dim::from(i), bands.clone(), 1)?);
    }
    let j = cx.iota(length.floor_div(2) + 1, DType::F64, 0, 2)?;
    let y = triangle(cx, j, [corner[0], corner[1], corner[2]])?;
    cx.cast(y, to)
}

/// 0 at the lower and at the upper corner and outside, 1 at the center, straight in between.
fn triangle(cx: &mut Context, j: Value, [lower, center, upper]: [Value; 3]) -> Built {
    let (zero, one) = (cx.like(j, 0.0), cx.like(j, 1.0));
    let (rise, fall) = (cx.minus(center, lower)?, cx.minus(upper, center)?);
    let (up, down) = (cx.minus(j, lower)?, cx.minus(upper, j)?);
    // A side without width has no slope; the center is 1 all the same.
    let (wide, safe) = (cx.gt(rise, zero)?, cx.max(rise, one)?);
    let slope = cx.over(up, safe)?;
    let slope = cx.select(wide, slope, one)?;
    let (above, below) = (cx.ge(j, lower)?, cx.le(j, center)?);
    let inside = cx.and(above, below)?;
    let left = cx.select(inside, slope, zero)?;
    let safe = cx.max(fall, one)?;
    let slope = cx.over(down, safe)?;
    let (above, below) = (cx.ge(j, center)?, cx.lt(j, upper)?);
    let inside = cx.and(above, below)?;
    cx.select(inside, slope, left)
}
