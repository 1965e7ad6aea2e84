//! Casts between element types, of values and of bits.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] =
    &[one("BitCast", 26, bit_cast), one("Cast", 6, cast), one("CastLike", 15, cast_like)];

fn cast(cx: &mut Context) -> Built {
    let to = cx.dtype_if("to")?.ok_or("the attribute `to` is missing")?;
    let x = cx.operand(0)?;
    cast_to(cx, x, to)
}

fn cast_like(cx: &mut Context) -> Built {
    let (x, to) = (cx.operand(0)?, cx.operand(1)?);
    let to = cx.dtype(to);
    cast_to(cx, x, to)
}

fn cast_to(cx: &mut Context, x: Value, to: DType) -> Built {
    match (cx.dtype(x), to) {
        (from, to) if from == to => return Ok(x),
        (DType::Bool, DType::String) | (DType::String, DType::Bool) => {
            return unsupported("casts between texts and truth values");
        }
        (_, DType::String) => return cx.add(Op::TextOf {}, &[x]),
        (DType::String, _) => return cx.add(Op::NumberOf { to }, &[x]),
        _ => {}
    }
    let eight = matches!(to, DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ);
    if eight && cx.dtype(x).is_float() && !cx.flag("saturate", true)? {
        return cast_unsaturated(cx, x, to);
    }
    if to == DType::F8E8M0 {
        return cast_scale(cx, x);
    }
    let narrow = matches!(to, DType::I4 | DType::U4 | DType::I2 | DType::U2);
    if narrow && cx.dtype(x).is_float() {
        // A float out of range wraps, as an integer does.
        let whole = cx.cast(x, DType::I32)?;
        return cx.cast(whole, to);
    }
    if to == DType::F4E2M1 && cx.dtype(x).is_float() {
        // The type has no NaN; ONNX's reference makes it zero.
        let (nan, zero) = (cx.add(Op::IsNan {}, &[x])?, cx.like(x, -0.0));
        let x = cx.select(nan, zero, x)?;
        return cx.cast(x, to);
    }
    cx.cast(x, to)
}

/// Into an eight-bit float, where what is too large becomes infinite, or NaN where there is no infinity.
pub(super) fn cast_unsaturated(cx: &mut Context, x: Value, to: DType) -> Built {
    // From here on a number rounds away from the greatest finite one.
    let (limit, and_limit) = match to {
        DType::F8E4M3FN => (464.0, false),
        DType::F8E4M3FNUZ => (248.0, true),
        _ => (61440.0, true),
    };
    let wide = cx.cast(x, DType::F32)?;
    let (size, limit) = (cx.abs(wide)?, cx.scalar(DType::F32, limit));
    let over = if and_limit { cx.ge(size, limit)? } else { cx.gt(size, limit)? };
    if to == DType::F8E5M2 {
        // The cast itself saturates, so infinities are written as bits.
        let finite = cx.cast(wide, to)?;
        let finite = bits(cx, finite, DType::U8)?;
        let zero = cx.like(wide, 0.0);
        let below = cx.lt(wide, zero)?;
        let (minus, plus) = (cx.scalar(DType::U8, 252.0), cx.scalar(DType::U8, 124.0));
        let infinite = cx.select(below, minus, plus)?;
        let chosen = cx.select(over, infinite, finite)?;
        return bits(cx, chosen, to);
    }
    let nan = cx.scalar(DType::F32, f64::NAN);
    let value = cx.select(over, nan, wide)?;
    cx.cast(value, to)
}

/// Into a power of two, whose bits are the exponent of a single.
fn cast_scale(cx: &mut Context, x: Value) -> Built {
    let single = cx.cast(x, DType::F32)?;
    let all = bits(cx, single, DType::U32)?;
    let int = |cx: &mut Context, n: u32| cx.scalar(DType::U32, f64::from(n));
    let (shift, mask, zero) = (int(cx, 23), int(cx, 0xff), int(cx, 0));
    let exponent = cx.add(Op::ShiftRight {}, &[all, shift])?;
    let exponent = cx.and(exponent, mask)?;
    let up = match cx.string("round_mode", "up")?.as_str() {
        "up" => {
            let fraction = int(cx, 0x7f_ffff);
            let rest = cx.and(all, fraction)?;
            cx.gt(rest, zero)?
        }
        // From half on, but for the subnormal numbers, of which the half itself goes down.
        "nearest" => {
            let (half, rest) = (int(cx, 0x40_0000), int(cx, 0x3f_ffff));
            let (half, rest) = (cx.and(all, half)?, cx.and(all, rest)?);
            let (half, rest, normal) = (cx.gt(half, zero)?, cx.gt(rest, zero)?, cx.gt(exponent, zero)?);
            let beyond = cx.add(Op::Or {}, &[rest, normal])?;
            cx.and(half, beyond)?
        }
        "down" => cx.scalar(DType::Bool, 0.0),
        other => return invalid(format!("unknown round_mode `{other}`")),
    };
    // 254 is the greatest power, 255 is NaN.
    let top = int(cx, if cx.flag("saturate", true)? { 254 } else { 255 });
    let inside = cx.lt(exponent, top)?;
    let (up, one) = (cx.and(up, inside)?, int(cx, 1));
    let more = cx.plus(exponent, one)?;
    let power = cx.select(up, more, exponent)?;
    let power = cx.cast(power, DType::U8)?;
    bits(cx, power, DType::F8E8M0)
}

/// The same bits as another type.
fn bits(cx: &mut Context, x: Value, to: DType) -> Built {
    if cx.dtype(x) == to { Ok(x) } else { cx.add(Op::Bitcast { to }, &[x]) }
}

fn bit_cast(cx: &mut Context) -> Built {
    let to = cx.dtype_if("to")?.ok_or("the attribute `to` is missing")?;
    let x = cx.operand(0)?;
    bits(cx, x, to)
}
