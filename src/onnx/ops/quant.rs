//! Quantization, and integer matrix products and convolutions.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::cast::cast_unsaturated;
use super::conv::convolved;
use super::math::matmul;
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("ConvInteger", 10, conv_integer),
    one("DequantizeLinear", 10, dequantize),
    many("DynamicQuantizeLinear", 11, dynamic_quantize),
    one("MatMulInteger", 10, matmul_integer),
    one("QLinearConv", 10, qlinear_conv),
    one("QLinearMatMul", 10, qlinear_matmul),
    one("QuantizeLinear", 10, quantize),
];

/// A scale or zero point so that it broadcasts to `x`: one value, one per element of `axis`, or one per
/// block of it.
pub(super) fn spread(cx: &mut Context, x: Value, parameter: Value, axis: i64, block: i64) -> Built {
    let (shape, own) = (cx.shape(x), cx.shape(parameter));
    if own.is_empty() || (own.len() == 1 && own[0] == 1 && block == 0) {
        return cx.as_scalar(parameter);
    }
    let axis = cx.axis(x, axis)?;
    if block == 0 && own.len() == 1 {
        let mut column = vec![Dim::ONE; shape.len()];
        column[axis] = own[0].clone();
        return cx.reshape(parameter, column);
    }
    if block < 1 || own.len() != shape.len() {
        return invalid(format!("parameters {} with blocks of {block} for {}", cx.ty(parameter), cx.ty(x)));
    }
    let wide = cx.unsqueeze(parameter, &[axis + 1])?;
    let mut blocks = cx.shape(wide);
    blocks[axis + 1] = Dim::from(block);
    let wide = cx.expand(wide, blocks)?;
    let mut whole = own;
    whole[axis] = &whole[axis] * block;
    let wide = cx.reshape(wide, whole)?;
    cx.slice_axis(wide, axis, Dim::ZERO, shape[axis].clone(), 1)
}

/// The axis and the block size of a node.
fn blocks(cx: &Context) -> Built<(i64, i64)> {
    Ok((cx.int("axis", 1)?, cx.int("block_size", 0)?))
}

pub(super) fn quantize(cx: &mut Context) -> Built {
    let (x, scale, zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let (axis, block) = blocks(cx)?;
    let to = match (zero, cx.dtype_if_set("output_dtype")?) {
        (Some(z), _) => cx.dtype(z),
        (None, to) => to.unwrap_or(DType::U8),
    };
    let scale = spread(cx, x, scale, axis, block)?;
    let zero = match zero {
        Some(z) => Some(spread(cx, x, z, axis, block)?),
        None => None,
    };
    let x = match (cx.dtype_if_set("precision")?, cx.dtype(x), cx.dtype(scale)) {
        (Some(p), _, _) => cx.cast(x, p)?,
        (None, a, b) if a == b => x,
        (None, a, b) if a.size() >= b.size() && a.is_float() => x,
        (None, _, b) => cx.cast(x, b)?,
    };
    let scale = cx.cast(scale, cx.dtype(x))?;
    if to.is_float() && !cx.flag("saturate", true)? {
        let ratio = cx.over(x, scale)?;
        let moved = moved(cx, ratio, zero)?;
        return cast_unsaturated(cx, moved, to);
    }
    quantized(cx, x, scale, zero, to)
}

/// `x + zero` in the type of `x`.
fn moved(cx: &mut Context, x: Value, zero: Option<Value>) -> Built {
    match zero {
        Some(z) if !is_zero(cx, z) => {
            let z = cx.cast(z, cx.dtype(x))?;
            cx.plus(x, z)
        }
        _ => Ok(x),
    }
}

/// `saturate(round(x / scale) + zero)`; halves are computed as singles, which hold every zero point.
pub(super) fn quantized(cx: &mut Context, x: Value, scale: Value, zero: Option<Value>, to: DType) -> Built {
    let ratio = cx.over(x, scale)?;
    if to.is_float() {
        let moved = moved(cx, ratio, zero)?;
        return cx.cast(moved, to);
    }
    let ratio =
        if matches!(cx.dtype(ratio), DType::F16 | DType::BF16) { cx.cast(ratio, DType::F32)? } else { ratio };
    let whole = cx.round(ratio)?;
    let moved = moved(cx, whole, zero)?;
    let (min, max) = to.int_range();
    let clipped = cx.add(Op::Clip { min: min as f64, max: max as f64 }, &[moved])?;
    cx.cast(clipped, to)
}

pub(super) fn is_zero(cx: &Context, v: Value) -> bool {
    cx.constant_of(v).is_some_and(|t| t.to_f64s().iter().all(|&x| x == 0.0))
}

pub(super) fn dequantize(cx: &mut Context) -> Built {
    let (x, scale, zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let (axis, block) = blocks(cx)?;
    let to = cx.dtype_if_set("output_dtype")?.unwrap_or(cx.dtype(scale));
    let scale = spread(cx, x, scale, axis, block)?;
    let zero = match zero {
        Some(z) if !is_zero(cx, z) => Some(spread(cx, x, z, axis, block)?),
        _ => None,
    };
    let result = dequantized(cx, x, scale, zero)?;
    cx.cast(result, to)
}

/// `(x - zero) * scale` in the type of the scale.
pub(super) fn dequantized(cx: &mut Context, x: Value, scale: Value, zero: Option<Value>) -> Built {
    let to = if cx.dtype(scale) == DType::F8E8M0 { DType::F32 } else { cx.dtype(scale) };
    let scale = cx.cast(scale, to)?;
    let wide = match zero {
        Some(zero) if !cx.dtype(x).is_float() => {
            let (x, zero) = (cx.cast(x, DType::I32)?, cx.cast(zero, DType::I32)?);
            let away = cx.minus(x, zero)?;
            cx.cast(away, to)?
        }
        Some(zero) => {
            let (x, zero) = (cx.cast(x, to)?, cx.cast(zero, to)?);
            cx.minus(x, zero)?
        }
        None => cx.cast(x, to)?,
    };
    cx.times(wide, scale)
}

pub(super) fn dynamic_quantize(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let axes: Vec<i64> = (0..cx.rank(x) as i64).collect();
    let (low, high) =
        (cx.add(Op::ReduceMin { axes: axes.clone() }, &[x])?, cx.add(Op::ReduceMax { axes }, &[x])?);
    let zero = cx.like(x, 0.0);
    let (low, high) = (cx.as_scalar(low)?, cx.as_scalar(high)?);
    let (low, high) = (cx.min(low, zero)?, cx.max(high, zero)?);
    let span = cx.minus(high, low)?;
    let levels = cx.like(x, 255.0);
    let scale = cx.over(span, levels)?;
    // A tensor of zeros has no span; any scale does.
    let (flat, one) = (cx.eq(scale, zero)?, cx.like(x, 1.0));
    let divisor = cx.select(flat, one, scale)?;
    let down = cx.neg(low)?;
    let point = quantized(cx, down, divisor, None, DType::U8)?;
    let y = quantized(cx, x, divisor, Some(point), DType::U8)?;
    Ok(vec![y, scale, point])
}

/// The operand as i32, less its zero point, which is one value or one a row (or column) of the matrix.
pub(super) fn centered(cx: &mut Context, x: Value, zero: Option<Value>, rows: bool) -> Built {
    let wide = cx.cast(x, DType::I32)?;
    let Some(zero) = zero.filter(|&z| !is_zero(cx, z)) else { return Ok(wide) };
    let zero = cx.cast(zero, DType::I32)?;
    let zero = match cx.shape(zero).as_slice() {
        [] => zero,
        [n] if *n == 1 => cx.as_scalar(zero)?,
        [_] if rows => cx.unsqueeze(zero, &[1])?,
        _ => zero,
    };
    cx.minus(wide, zero)
}

fn matmul_integer(cx: &mut Context) -> Built {
    let (a, b) = (cx.operand(0)?, cx.operand(1)?);
    let (a_zero, b_zero) = (cx.operand_if(2)?, cx.operand_if(3)?);
    let (a, b) = (centered(cx, a, a_zero, true)?, centered(cx, b, b_zero, false)?);
    matmul(cx, a, b)
}

/// A parameter for each output channel of a weight, so that it broadcasts to a tensor of this rank.
pub(super) fn per_channel(cx: &mut Context, parameter: Value, axis: usize, rank: usize) -> Built {
    match cx.shape(parameter).as_slice() {
        [] => Ok(parameter),
        [n] if *n == 1 => cx.as_scalar(parameter),
        [n] => {
            let mut column = vec![Dim::ONE; rank.max(axis + 1)];
            column[axis] = n.clone();
            cx.reshape(parameter, column)
        }
        _ => invalid("a parameter of more than one dimension"),
    }
}

/// The convolution of the centered operands, in i32.
pub(super) fn integer_conv(
    cx: &mut Context,
    [x, w]: [Value; 2],
    zeros: [Option<Value>; 2],
    bias: Option<Value>,
) -> Built {
    let x = centered(cx, x, zeros[0], false)?;
    let rank = cx.rank(w);
    let zero = match zeros[1] {
        Some(z) => Some(per_channel(cx, z, 0, rank)?),
        None => None,
    };
    let w = centered(cx, w, zero, false)?;
    convolved(cx, x, w, bias)
}

fn conv_integer(cx: &mut Context) -> Built {
    let (x, w) = (cx.operand(0)?, cx.operand(1)?);
    let zeros = [cx.operand_if(2)?, cx.operand_if(3)?];
    integer_conv(cx, [x, w], zeros, None)
}

/// `acc * (a_scale * b_scale / y_scale)`, rounded into the output's type.
pub(super) fn requantized(
    cx: &mut Context,
    acc: Value,
    scales: [Value; 2],
    y_scale: Value,
    y_zero: Value,
) -> Built {
    let y_scale = cx.as_scalar(y_scale)?;
    let y_zero = cx.as_scalar(y_zero)?;
    let dtype = cx.dtype(scales[0]);
    let wide = if dtype == DType::F64 { dtype } else { DType::F32 };
    let (a, b) = (cx.cast(scales[0], wide)?, cx.cast(scales[1], wide)?);
    let factor = cx.times(a, b)?;
    let float = cx.cast(acc, wide)?;
    let value = cx.times(float, factor)?;
    let y_scale = cx.cast(y_scale, wide)?;
    let to = cx.dtype(y_zero);
    quantized(cx, value, y_scale, Some(y_zero), to)
}

pub(super) fn qlinear_conv(cx: &mut Context) -> Built {
    let (x, x_scale, x_zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (w, w_scale, w_zero) = (cx.operand(3)?, cx.operand(4)?, cx.operand(5)?);
    let (y_scale, y_zero, bias) = (cx.operand(6)?, cx.operand(7)?, cx.operand_if(8)?);
    let acc = integer_conv(cx, [x, w], [Some(x_zero), Some(w_zero)], bias)?;
    let x_scale = cx.as_scalar(x_scale)?;
    let rank = cx.rank(acc);
    let w_scale = per_channel(cx, w_scale, 1, rank)?;
    requantized(cx, acc, [x_scale, w_scale], y_scale, y_zero)
}

fn qlinear_matmul(cx: &mut Context) -> Built {
    let (a, a_scale, a_zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (b, b_scale, b_zero) = (cx.operand(3)?, cx.operand(4)?, cx.operand(5)?);
    let (y_scale, y_zero) = (cx.operand(6)?, cx.operand(7)?);
    let (left, right) = (centered(cx, a, Some(a_zero), true)?, centered(cx, b, Some(b_zero), false)?);
    let acc = matmul(cx, left, right)?;
    let a_scale = match cx.shape(a_scale).as_slice() {
        [n] if *n == 1 => cx.as_scalar(a_scale)?,
        [_] => cx.unsqueeze(a_scale, &[1])?,
        _ => a_scale,
    };
    let b_scale = match cx.shape(b_scale).as_slice() {
        [n] if *n == 1 => cx.as_scalar(b_scale)?,
        _ => b_scale,
    };
    requantized(cx, acc, [a_scale, b_scale], y_scale, y_zero)
}
