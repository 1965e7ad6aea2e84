//! Matrix products and convolutions of quantized operands.
use super::super::super::context::{Built, Context};
use super::super::Row;
use super::super::math::matmul;
use super::super::quant::{self, centered, per_channel};
use super::one;
use sardonyx_ir::Value;
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    one("DequantizeLinear", quant::dequantize),
    one("DynamicQuantizeMatMul", dynamic_product),
    one("MatMulInteger16", |cx| {
        let (a, b) = (cx.operand(0)?, cx.operand(1)?);
        let (a, b) = (cx.cast(a, DType::I32)?, cx.cast(b, DType::I32)?);
        matmul(cx, a, b)
    }),
    one("MatMulIntegerToFloat", |cx| to_float(cx, [0, 1], [2, 3], [4, 5], Some(6))),
    one("QGemm", gemm),
    one("QLinearConv", convolution),
    one("QuantizeLinear", quant::quantize),
];

/// A parameter for all columns, or one for each.
fn by_column(cx: &mut Context, v: Value) -> Built {
    if cx.ty(v).elements() == 1 { cx.as_scalar(v) } else { Ok(v) }
}

/// The product of two quantized matrices as a float: operands, their scales, their zero points, and a bias,
/// by number.
pub(super) fn to_float(
    cx: &mut Context,
    sides: [usize; 2],
    scales: [usize; 2],
    zeros: [usize; 2],
    bias: Option<usize>,
) -> Built {
    let (a, b) = (cx.operand(sides[0])?, cx.operand(sides[1])?);
    let (a_scale, b_scale) = (cx.operand(scales[0])?, cx.operand(scales[1])?);
    let zeros = [cx.operand_if(zeros[0])?, cx.operand_if(zeros[1])?];
    let bias = match bias {
        Some(i) => cx.operand_if(i)?,
        None => None,
    };
    scaled_product(cx, [a, b], [a_scale, b_scale], zeros, bias)
}

fn scaled_product(
    cx: &mut Context,
    [a, b]: [Value; 2],
    [a_scale, b_scale]: [Value; 2],
    zeros: [Option<Value>; 2],
    bias: Option<Value>,
) -> Built {
    let (a, b) = (centered(cx, a, zeros[0], false)?, centered(cx, b, zeros[1], false)?);
    let sum = matmul(cx, a, b)?;
    let (a_scale, b_scale) = (by_column(cx, a_scale)?, by_column(cx, b_scale)?);
    let factor = cx.times(a_scale, b_scale)?;
    let sum = cx.cast(sum, cx.dtype(factor))?;
    let y = cx.times(sum, factor)?;
    bias.map_or(Ok(y), |bias| cx.plus(y, bias))
}

/// The left operand is quantized by its own range first.
fn dynamic_product(cx: &mut Context) -> Built {
    let (b, b_scale) = (cx.operand(1)?, cx.operand(2)?);
    let (b_zero, bias) = (cx.operand_if(3)?, cx.operand_if(4)?);
    let quantized = quant::dynamic_quantize(cx)?;
    let [a, a_scale, a_zero] = quantized[..] else { panic!("bug: three results") };
    scaled_product(cx, [a, b], [a_scale, b_scale], [Some(a_zero), b_zero], bias)
}

/// `alpha * a_scale * b_scale * (a b + c)`, quantized if the result has a scale.
fn gemm(cx: &mut Context) -> Built {
    let (a, a_scale, a_zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (b, b_scale, b_zero) = (cx.operand(3)?, cx.operand(4)?, cx.operand(5)?);
    let (turn_a, turn_b) = (cx.flag("transA", false)?, cx.flag("transB", false)?);
    let a = centered(cx, a, Some(a_zero), false)?;
    let mut b = cx.cast(b, DType::I32)?;
    if turn_b {
        b = cx.transpose(cx.ranked(b, 2)?, &[1, 0])?;
    }
    let b = centered(cx, b, Some(b_zero), false)?;
    let a = if turn_a { cx.transpose(cx.ranked(a, 2)?, &[1, 0])? } else { a };
    let mut sum = matmul(cx, a, b)?;
    if let Some(c) = cx.operand_if(6)? {
        sum = cx.plus(sum, c)?;
    }
    let (a_scale, b_scale) = (by_column(cx, a_scale)?, by_column(cx, b_scale)?);
    let factor = cx.times(a_scale, b_scale)?;
    let factor = cx.times_number(factor, cx.float("alpha", 1.0)?)?;
    let sum = cx.cast(sum, DType::F32)?;
    let y = cx.times(sum, factor)?;
    let Some(y_scale) = cx.operand_if(7)? else { return Ok(y) };
    let y_scale = cx.as_scalar(y_scale)?;
    let (zero, to) = match cx.operand_if(8)? {
        Some(zero) => (Some(cx.as_scalar(zero)?), cx.dtype(zero)),
        None => (None, cx.dtype(cx.operand(0)?)),
    };
    quant::quantized(cx, y, y_scale, zero, to)
}

/// A convolution whose channels may be last; weights are `[oc, c / group, k…]`.
fn convolution(cx: &mut Context) -> Built {
    let last = cx.flag("channels_last", false)?;
    let (x, x_scale, x_zero) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (w, w_scale, w_zero) = (cx.operand(3)?, cx.operand(4)?, cx.operand(5)?);
    let (y_scale, y_zero, bias) = (cx.operand(6)?, cx.operand(7)?, cx.operand_if(8)?);
    let x = if last { super::product::channels_first(cx, x)? } else { x };
    let sum = quant::integer_conv(cx, [x, w], [Some(x_zero), Some(w_zero)], bias)?;
    let (x_scale, rank) = (cx.as_scalar(x_scale)?, cx.rank(sum));
    let w_scale = per_channel(cx, w_scale, 1, rank)?;
    let y = quant::requantized(cx, sum, [x_scale, w_scale], y_scale, y_zero)?;
    if last { super::product::channels_last(cx, y) } else { Ok(y) }
}
