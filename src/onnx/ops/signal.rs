//! Window functions and the discrete Fourier transform.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};
use std::f64::consts::PI;

pub(super) const ROWS: &[Row] = &[
    one("BlackmanWindow", 17, |cx| window(cx, &[0.42, -0.5, 0.08])),
    one("DFT", 17, |cx| dft(cx, None)),
    one("DFT", 20, |cx| dft(cx, Some(2))),
    one("HammingWindow", 17, |cx| window(cx, &[25.0 / 46.0, -21.0 / 46.0])),
    one("HannWindow", 17, |cx| window(cx, &[0.5, -0.5])),
];

/// `Σ c[k] * cos(2πk * n / size)`, where a symmetric window has one element less a period.
fn window(cx: &mut Context, coefficients: &[f64]) -> Built {
    let list = cx.operand(0)?;
    let to = cx.dtype_if("output_datatype")?.unwrap_or(DType::F32);
    let list = cx.reshape(list, vec![Dim::ONE])?;
    let count = cx.shape_from(list)?.remove(0);
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

/// A transform along one axis as products with matrices of cosines and sines. The last axis of the operand
/// and of the result holds real and imaginary parts; `axis` is an attribute, or operand `axis_operand`.
fn dft(cx: &mut Context, axis_operand: Option<usize>) -> Built {
    let x = cx.operand(0)?;
    let axis = match axis_operand {
        None => cx.int("axis", 1)?,
        Some(i) => match cx.known_ints(i, "an axis")?.as_deref() {
            None => -2,
            Some([axis]) => *axis,
            Some(_) => return invalid("one axis is needed"),
        },
    };
    let (shape, rank, axis) = (cx.shape(x), cx.rank(x), cx.axis(x, axis)?);
    let parts = shape[rank - 1].known();
    if axis + 1 == rank || !matches!(parts, Some(1 | 2)) {
        return invalid(format!(
            "axis {axis} of {}, whose last axis holds the parts of complex numbers",
            cx.ty(x)
        ));
    }
    let (inverse, onesided) = (cx.flag("inverse", false)?, cx.flag("onesided", false)?);
    if cx.operand_if(1)?.is_some_and(|v| cx.ints_of(v).is_none()) {
        return unsupported("a length that only the run knows");
    }
    let length = match cx.known_ints(1, "a length")?.as_deref() {
        Some([n]) if *n > 0 => Dim::from(*n),
        Some(_) => return invalid("one positive length is needed"),
        None if inverse && onesided => (&shape[axis] - 1) * 2,
        None => shape[axis].clone(),
    };
    // The transformed axis last, and the parts apart.
    let mut order: Vec<usize> = (0..rank - 1).filter(|&a| a != axis).collect();
    order.push(axis);
    let mut planes = Vec::new();
    for part in 0..parts.unwrap_or(1) {
        let plane = cx.pick(x, rank - 1, part)?;
        planes.push(cx.transpose(plane, &order)?);
    }
    let known = if inverse && onesided { length.floor_div(2) + 1 } else { length.clone() };
    for plane in &mut planes {
        *plane = fitted(cx, *plane, &known)?;
    }
    let bins = if onesided && !inverse { length.floor_div(2) + 1 } else { length.clone() };
    let (real, imaginary) = transformed(cx, &planes, &known, &bins, &length, inverse, onesided)?;
    let results: Vec<Value> = if inverse && onesided { vec![real] } else { vec![real, imaginary] };
    let mut back: Vec<usize> = (0..rank - 2).collect();
    back.insert(axis, rank - 2);
    let mut columns = Vec::new();
    for plane in results {
        let plane = cx.transpose(plane, &back)?;
        columns.push(cx.unsqueeze(plane, &[rank - 1])?);
    }
    cx.concat(&columns, rank - 1)
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

/// Real and imaginary parts of `Σ x[n] exp(∓2πi n k / length)` over the last axis.
fn transformed(
    cx: &mut Context,
    planes: &[Value],
    from: &Dim,
    bins: &Dim,
    length: &Dim,
    inverse: bool,
    onesided: bool,
) -> Built<(Value, Value)> {
    let dtype = cx.dtype(planes[0]);
    let (n, k) = (cx.iota(from.clone(), DType::I64, 0, 2)?, cx.iota(bins.clone(), DType::I64, 1, 2)?);
    let period = cx.dim(length.clone(), DType::I64)?;
    // Whole turns are taken off while the numbers are exact.
    let steps = cx.times(n, k)?;
    let steps = cx.modulo(steps, period)?;
    let (steps, period) = (cx.cast(steps, DType::F64)?, cx.cast(period, DType::F64)?);
    let turns = cx.over(steps, period)?;
    let angle = cx.times_number(turns, if inverse { 2.0 * PI } else { -2.0 * PI })?;
    let (mut cos, mut sin) = (cx.cos(angle)?, cx.sin(angle)?);
    if inverse && onesided {
        // A bin stands for itself and its mirror image, but for the first and, of an even length, the last.
        let twice = cx.times_number(n, 2.0)?;
        let whole = cx.dim(length.clone(), DType::I64)?;
        let rest = cx.modulo(twice, whole)?;
        let zero = cx.int_scalar(0);
        let alone = cx.eq(rest, zero)?;
        let (one, two) = (cx.scalar(DType::F64, 1.0), cx.scalar(DType::F64, 2.0));
        let weight = cx.select(alone, one, two)?;
        (cos, sin) = (cx.times(cos, weight)?, cx.times(sin, weight)?);
    }
    if inverse {
        (cos, sin) = (cx.over(cos, period)?, cx.over(sin, period)?);
    }
    let (cos, sin) = (cx.cast(cos, dtype)?, cx.cast(sin, dtype)?);
    let (a, b) = (super::math::matmul(cx, planes[0], cos)?, super::math::matmul(cx, planes[0], sin)?);
    let Some(&imaginary) = planes.get(1) else { return Ok((a, b)) };
    let (c, d) = (super::math::matmul(cx, imaginary, cos)?, super::math::matmul(cx, imaginary, sin)?);
    Ok((cx.minus(a, d)?, cx.plus(b, c)?))
}
