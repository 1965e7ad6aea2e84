//! Contractions of quantized values as contractions of bytes.
//!
//! ```text
//! %0 = cast(%x) {to=i32}                          // %x: u8, its zero point 3
//! %1 = sub(%0, 3:i32)
//! %2 = cast(%1)                                   %0 = integer_matmul(%x, %w)
//! %3 = mul(%2, 0.5:f32)                           %1 = cast(%w) {to=i32}
//! %4 = cast(%w)                                   %2 = reduce_sum(%1) {axes=[-2]}
//! %5 = mul(%4, %scales)                    →      %3 = mul(%2, 3:i32)
//! %6 = matmul(%3, %5)                             %4 = sub(%0, %3)
//!                                                 %5 = cast(%4)
//!                                                 %6 = mul(%scales, 0.5:f32)
//!                                                 %7 = mul(%5, %6)
//! ```
//! This is the one form of quantized networks; importers of other operators write theirs so:
//!
//! - **centered**: `cast(x) {to=i32}` of bytes, and `sub` of a zero point of i32 where there is one;
//! - **dequantized**: `mul` of a scale of f32 with `cast` to f32 of a centered value, or of the bytes;
//! - **quantized**: `cast` to bytes of `clip` to their range of `add` of a zero point (if there is one) to
//!   `round` of a quotient by the scale;
//! - a contraction (`matmul`, `conv`) of two dequantized values, or of two centered ones in i32. Transposes may
//!   stand in between. The second operand is made of constants; its parameters are one or one per column or
//!   output channel, those of the first one or one per row.
//!
//! Operands become `u8` and `i8`, as processors multiply them: the other signedness is the same byte with its
//! first bit exchanged and a zero point moved by 128. Zero points become sums of columns, and of rows, that are
//! subtracted afterwards; `fold` computes what is constant of them, and what follows a contraction is part of
//! its kernel after grouping. Dequantization moves below ops that do not change values, and one that meets a
//! quantization with the same parameters vanishes. Must run before `fold`, which would dequantize weights.
mod quantized;
mod sums;

use crate::Options;
use crate::pattern::is_constant;
use quantized::{Bytes, Quantized, same};
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Value};
use sardonyx_tensor::{DType, Dim};

pub(crate) const NAMES: &[&str] = &["integer_matmul", "integer_conv", "dequantize_down", "requantize"];

/// The longest sums that cannot overflow: `255 · 128 · 2^16` is less than `2^31`.
const MAX_DEPTH: i64 = 1 << 16;

pub(crate) fn run(g: &mut Graph, options: &Options) {
    for id in g.order() {
        if !options.trace.permits() {
            return;
        }
        if !g.contains(id) {
            continue;
        }
        let rule = match g.node(id).op {
            Op::Matmul {} => matmul(g, id),
            Op::Conv { .. } => conv(g, id),
            Op::Cast { .. } => requantize(g, id),
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::MaxPool { .. } => down(g, id),
            _ => None,
        };
        if let Some(rule) = rule {
            options.trace.made(rule, g.node(id).origin.clone());
        }
    }
}

fn add(g: &mut Graph, op: Op, operands: &[Value]) -> Value {
    g.add(op, operands).unwrap_or_else(|e| panic!("bug: {e}"))
}

fn is_one(g: &Graph, v: Value) -> bool {
    g.ty(v).elements() == Dim::ONE
}

/// Whether a parameter is the same for all elements along an axis counted from the end, 1 the last.
fn constant_along(g: &Graph, v: Value, from_end: usize) -> bool {
    let shape = &g.ty(v).shape;
    shape.len() < from_end || shape[shape.len() - from_end] == Dim::ONE
}

/// The product of two operands that are dequantized, or centered in i32.
fn matmul(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let result = Value { node: id, port: 0 };
    let float = g.ty(result).dtype == DType::F32;
    let [a, b] = [0, 1].map(|i| {
        let v = g.operand(id, i);
        if float { quantized::dequantized(g, v) } else { quantized::centered(g, v) }
    });
    let (a, b) = (a?, b?);
    let depth = g.ty(g.operand(id, 1)).shape.iter().rev().nth(1)?.known()?;
    if !is_constant(g, b.bytes.x) || depth > MAX_DEPTH {
        return None;
    }
    g.origin = g.node(id).origin.clone();
    let (a, b) = (a.turned(g), b.turned(g));
    let fits = |g: &Graph, q: &Quantized, from_end: usize| {
        q.parameters().all(|p| is_one(g, p) || constant_along(g, p, from_end))
    };
    if !fits(g, &a, 1) || !fits(g, &b, 2) {
        return None;
    }
    let (left, right) = (sums::unsigned(g, &a.bytes), sums::signed(g, &b.bytes));
    let sum = sums::product(g, &left, &right, depth);
    let value = scaled(g, sum, a.scale, b.scale);
    finish(g, result, value, "integer_matmul")
}

/// The convolution of two operands that are dequantized, or centered in i32.
fn conv(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let Op::Conv { strides, pads, dilations, group: 1 } = g.node(id).op.clone() else { return None };
    let result = Value { node: id, port: 0 };
    let float = g.ty(result).dtype == DType::F32;
    let [x, w] = [0, 1].map(|i| {
        let v = g.operand(id, i);
        if float { quantized::dequantized(g, v) } else { quantized::centered(g, v) }
    });
    let (x, w) = (x?, w?);
    let shape: Vec<i64> = g.ty(g.operand(id, 1)).shape.iter().map(Dim::known).collect::<Option<_>>()?;
    let rank = shape.len();
    let channel = |g: &Graph, p: Value| {
        is_one(g, p) || (g.ty(p).rank() == rank && g.ty(p).shape[1..].iter().all(|d| *d == Dim::ONE))
    };
    let depth = shape[1..].iter().product::<i64>();
    if !is_constant(g, w.bytes.x) || depth > MAX_DEPTH {
        return None;
    }
    g.origin = g.node(id).origin.clone();
    let (x, w) = (x.turned(g), w.turned(g));
    if !x.parameters().all(|p| is_one(g, p))
        || !w.parameters().all(|p| channel(g, p))
        || !quantized::centered_in_middle(g, &w.bytes)
    {
        return None;
    }
    let padded = pads.iter().any(|&p| p != 0);
    if padded && !quantized::zero_is_a_byte(g, &x.bytes) {
        return None;
    }
    let (left, right) = (sums::unsigned(g, &x.bytes), sums::signed(g, &w.bytes));
    let mut operands = vec![left.x, right.x];
    if let Some(zero) = left.zero.filter(|_| padded) {
        let pad = add(g, Op::Cast { to: DType::U8 }, &[zero]);
        operands.push(scalar(g, pad));
    }
    let sum = add(g, Op::IntegerConv { strides, pads, dilations, group: 1 }, &operands);
    let sum = sums::without_zero(g, sum, &left, right.x);
    let per_channel = |g: &mut Graph, p: Value| {
        if is_one(g, p) { scalar(g, p) } else { channels(g, p, rank) }
    };
    let (x_scale, w_scale) = (x.scale.map(|s| scalar(g, s)), w.scale.map(|s| per_channel(g, s)));
    let mut value = scaled(g, sum, x_scale, w_scale);
    let bias = g.operands(id).nth(2);
    if let Some(bias) = bias {
        let bias = channels(g, bias, rank);
        value = add(g, Op::Add {}, &[value, bias]);
    }
    finish(g, result, value, "integer_conv")
}

/// `sum` as f32 times both scales; as it is where there are none.
fn scaled(g: &mut Graph, sum: Value, a: Option<Value>, b: Option<Value>) -> Value {
    let (Some(a), Some(b)) = (a, b) else { return sum };
    let value = add(g, Op::Cast { to: DType::F32 }, &[sum]);
    if is_one(g, a) || is_one(g, b) {
        let scale = add(g, Op::Mul {}, &[b, a]);
        return add(g, Op::Mul {}, &[value, scale]);
    }
    let value = add(g, Op::Mul {}, &[value, b]);
    add(g, Op::Mul {}, &[value, a])
}

/// A value of one element without axes.
fn scalar(g: &mut Graph, v: Value) -> Value {
    if g.ty(v).rank() == 0 { v } else { add(g, Op::Reshape { shape: vec![] }, &[v]) }
}

/// One value per channel, as it broadcasts to images of this rank.
fn channels(g: &mut Graph, v: Value, rank: usize) -> Value {
    let mut shape = vec![Dim::ONE; rank - 1];
    shape[0] = g.ty(v).elements();
    add(g, Op::Reshape { shape }, &[v])
}

fn finish(g: &mut Graph, old: Value, new: Value, rule: &'static str) -> Option<&'static str> {
    crate::pattern::put(g, old, new).ok().map(|()| rule)
}

/// Quantization of what was dequantized with the same parameters.
fn requantize(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let result = Value { node: id, port: 0 };
    let q = quantized::quantization(g, result)?;
    let d = quantized::dequantized(g, q.value)?;
    let zeros = match (q.zero, d.bytes.zero) {
        (None, None) => true,
        (Some(a), Some(b)) => same(g, a, b),
        (Some(z), None) | (None, Some(z)) => quantized::is_zero(g, z),
    };
    if !zeros || !same(g, q.scale, d.scale?) || g.ty(d.bytes.x).dtype != g.ty(result).dtype {
        return None;
    }
    let x = d.turned(g).bytes.x;
    finish(g, result, x, "requantize")
}

/// `f(dequantized(x))` as `dequantized(f(x))`, for an op that only moves or picks elements.
fn down(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let op = g.node(id).op.clone();
    let d = quantized::dequantized(g, g.operand(id, 0)).filter(|d| d.perms.is_empty())?;
    let scale = d.scale?;
    let positive = || quantized::evaluated(g, scale).is_some_and(|t| t.get_f64(0) > 0.0);
    let picks = matches!(op, Op::MaxPool { .. });
    if !d.parameters().all(|p| is_one(g, p)) || is_constant(g, d.bytes.x) || (picks && !positive()) {
        return None;
    }
    let result = Value { node: id, port: 0 };
    g.origin = g.node(id).origin.clone();
    let x = add(g, op, &[d.bytes.x]);
    let zero = d.bytes.zero.map(|z| scalar(g, z));
    let wide = sums::centered(g, &Bytes { x, zero });
    let float = add(g, Op::Cast { to: DType::F32 }, &[wide]);
    let scale = scalar(g, scale);
    let value = add(g, Op::Mul {}, &[float, scale]);
    finish(g, result, value, "dequantize_down")
}
