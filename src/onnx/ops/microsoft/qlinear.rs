//! Operators on quantized tensors that are not products: each is the float operator between a dequantization
//! and a quantization.
use super::super::super::context::{Built, Context};
use super::super::super::error::invalid;
use super::super::Row;
use super::super::conv::pooled_average;
use super::super::quant::{dequantized, quantized};
use super::product::{channels_first, channels_last};
use super::{many, one};
use sardonyx_ir::{Op, Value};

pub(super) const ROWS: &[Row] = &[
    many("NhwcMaxPool", |cx| {
        let x = cx.operand(0)?;
        let x = channels_first(cx, x)?;
        let y = super::super::conv::pooled_max(cx, x)?;
        Ok(vec![channels_last(cx, y)?])
    }),
    one("QLinearAdd", |cx| binary(cx, Op::Add {})),
    one("QLinearAveragePool", |cx| spatial(cx, pooled_average)),
    one("QLinearConcat", concat),
    one("QLinearGlobalAveragePool", |cx| {
        spatial(cx, |cx, x| {
            let axes: Vec<usize> = (2..cx.rank(x)).collect();
            cx.reduce_mean(x, &axes)
        })
    }),
    one("QLinearLeakyRelu", |cx| {
        let alpha = cx.float("alpha", 0.01)?;
        unary(cx, Op::LeakyRelu { alpha })
    }),
    one("QLinearMul", |cx| binary(cx, Op::Mul {})),
    one("QLinearReduceMean", reduce_mean),
    one("QLinearSigmoid", |cx| unary(cx, Op::Sigmoid {})),
    one("QLinearSoftmax", softmax),
    one("QLinearWhere", select),
];

/// Operand `i` as a float, by the scale and the zero point that follow it.
fn float(cx: &mut Context, i: usize) -> Built {
    let (x, scale, zero) = (cx.operand(i)?, cx.operand(i + 1)?, cx.operand_if(i + 2)?);
    let scale = cx.as_scalar(scale)?;
    let zero = match zero {
        Some(zero) => Some(cx.as_scalar(zero)?),
        None => None,
    };
    dequantized(cx, x, scale, zero)
}

/// A float quantized by the scale and the zero point at `i`; without one it has the type of `like`.
fn whole(cx: &mut Context, y: Value, i: usize, like: usize) -> Built {
    let (scale, zero, like) = (cx.operand(i)?, cx.operand_if(i + 1)?, cx.operand(like)?);
    let scale = cx.as_scalar(scale)?;
    let to = cx.dtype(zero.unwrap_or(like));
    let zero = match zero {
        Some(zero) => Some(cx.as_scalar(zero)?),
        None => None,
    };
    quantized(cx, y, scale, zero, to)
}

fn unary(cx: &mut Context, op: Op) -> Built {
    let x = float(cx, 0)?;
    let y = cx.add(op, &[x])?;
    whole(cx, y, 3, 0)
}

fn binary(cx: &mut Context, op: Op) -> Built {
    let (a, b) = (float(cx, 0)?, float(cx, 3)?);
    let y = cx.add(op, &[a, b])?;
    whole(cx, y, 6, 0)
}

/// A function of `[n, c, …]`, whose channels may be last.
fn spatial(cx: &mut Context, f: fn(&mut Context, Value) -> Built) -> Built {
    let last = cx.flag("channels_last", false)?;
    let x = float(cx, 0)?;
    let x = if last { channels_first(cx, x)? } else { x };
    let y = f(cx, x)?;
    let y = if last { channels_last(cx, y)? } else { y };
    whole(cx, y, 3, 0)
}

/// Operands: scale and zero point of the result, then every part with its own.
fn concat(cx: &mut Context) -> Built {
    if cx.count() < 5 || !(cx.count() - 2).is_multiple_of(3) {
        return invalid(format!("{} operands", cx.count()));
    }
    let parts: Vec<Value> = (2..cx.count()).step_by(3).map(|i| float(cx, i)).collect::<Result<_, _>>()?;
    let axis = cx.axis(parts[0], cx.int("axis", 1)?)?;
    let y = cx.concat(&parts, axis)?;
    whole(cx, y, 0, 2)
}

fn reduce_mean(cx: &mut Context) -> Built {
    let x = float(cx, 0)?;
    let rank = cx.rank(x);
    let axes = match cx.ints("axes")? {
        Some(axes) => cx.axes(rank, &axes)?,
        None => (0..rank).collect(),
    };
    let mut y = cx.reduce_mean(x, &axes)?;
    if !cx.flag("keepdims", true)? {
        y = cx.squeeze(y, &axes)?;
    }
    whole(cx, y, 3, 0)
}

/// The attribute `opset` says whether all axes from `axis` on are one (before 13).
fn softmax(cx: &mut Context) -> Built {
    let x = float(cx, 0)?;
    let (shape, old) = (cx.shape(x), cx.int("opset", 13)? < 13);
    let axis = cx.axis(x, cx.int("axis", if old { 1 } else { -1 })?)?;
    let y = if old {
        use sardonyx_tensor::Dim;
        let flat = cx.reshape(x, vec![Dim::product(&shape[..axis]), Dim::product(&shape[axis..])])?;
        let y = cx.add(Op::Softmax { axis: 1 }, &[flat])?;
        cx.reshape(y, shape)?
    } else {
        cx.add(Op::Softmax { axis: axis as i64 }, &[x])?
    };
    whole(cx, y, 3, 0)
}

fn select(cx: &mut Context) -> Built {
    let (condition, a, b) = (cx.operand(0)?, float(cx, 1)?, float(cx, 4)?);
    let y = cx.select(condition, a, b)?;
    whole(cx, y, 7, 1)
}
