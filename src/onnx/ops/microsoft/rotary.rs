//! Rotary position embedding, of one position a token or of three.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::super::attention::{heads, rotated};
use super::attention::joined_heads;
use super::one;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[one("MRotaryEmbedding", multiple), one("RotaryEmbedding", rotary)];

/// The rows of both caches at these places, `[b or 1, s, 1, half]`.
pub(super) fn angles(cx: &mut Context, caches: [Value; 2], places: Value) -> Built<[Value; 2]> {
    let mut all = caches;
    for cache in &mut all {
        let rows = cx.add(Op::Gather { axis: 0 }, &[*cache, places])?;
        *cache = cx.unsqueeze(rows, &[2])?;
    }
    Ok(all)
}

/// Places of tokens, `[b, s]`, from operand 1: one for each, or the place of the first.
fn places(cx: &mut Context, length: &Dim) -> Built {
    let places = cx.operand(1)?;
    if cx.rank(places) == 2 {
        return Ok(places);
    }
    let first = cx.reshape(places, vec![Dim::ONE, Dim::ONE])?;
    let steps = cx.iota(length.clone(), cx.dtype(places), 1, 2)?;
    cx.plus(first, steps)
}

/// `[b, s, n, h]` of `[b, n, s, h]` or `[b, s, n * h]`, whose heads are as wide as the cache says.
fn tokens(cx: &mut Context, x: Value, cache: Value) -> Built {
    if cx.rank(x) == 4 {
        return cx.transpose(x, &[0, 2, 1, 3]);
    }
    cx.ranked(x, 3)?;
    let (count, turned) = (cx.int("num_heads", 0)?, cx.int("rotary_embedding_dim", 0)?);
    let split = match (count, turned) {
        (0, 0) => {
            let width = (cx.shape(cx.ranked(cache, 2)?)[1].clone() * 2).known();
            let all = cx.shape(x)[2].known();
            match (all, width) {
                (Some(all), Some(width)) if width > 0 && all % width == 0 => all / width,
                _ => return unsupported("heads of symbolic width"),
            }
        }
        (0, _) => return invalid("rotary_embedding_dim without num_heads"),
        (count, _) => count,
    };
    let x = heads(cx, x, split)?;
    cx.transpose(x, &[0, 2, 1, 3])
}

/// Turns the tokens of operand 0 by angles, back in their own shape.
fn turned(cx: &mut Context, x: Value, angles: [Value; 2]) -> Built {
    let flat = cx.rank(cx.operand(0)?) == 3;
    let dim = match cx.int("rotary_embedding_dim", 0)? {
        0 => cx.shape(x)[3].clone(),
        n => Dim::from(n),
    };
    let interleaved = cx.flag("interleaved", false)?;
    let y = rotated(cx, x, angles, dim, interleaved)?;
    let y = cx.transpose(y, &[0, 2, 1, 3])?;
    if flat { joined_heads(cx, y) } else { Ok(y) }
}

fn rotary(cx: &mut Context) -> Built {
    let (x, cos, sin) = (cx.operand(0)?, cx.operand(2)?, cx.operand(3)?);
    if cx.flag("is_packed_batching", false)? {
        return unsupported("packed batches");
    }
    let x = tokens(cx, x, cos)?;
    let places = places(cx, &cx.shape(x)[1].clone())?;
    let angles = angles(cx, [cos, sin], places)?;
    turned(cx, x, angles)
}

/// Three positions a token: each angle is that of the position that its section names.
fn multiple(cx: &mut Context) -> Built {
    let (x, places, cos, sin) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?, cx.operand(3)?);
    let sections = cx.ints("mrope_section")?.ok_or("the attribute `mrope_section` is missing")?;
    let [t, h, w] = sections[..] else { return invalid(format!("sections {sections:?}")) };
    if [t, h, w].iter().any(|n| !(0..1 << 20).contains(n)) {
        return invalid(format!("sections {sections:?}"));
    }
    let half = t + h + w;
    let stream = |i: i64| match cx.int("mrope_layout", 0) {
        Ok(0) => Ok(f64::from(u8::from(i >= t) + u8::from(i >= t + h))),
        Ok(1) => Ok(f64::from(u8::from(i % 3 == 1 && i < h * 3) + 2 * u8::from(i % 3 == 2 && i < w * 3))),
        Ok(other) => invalid(format!("unknown layout {other}")),
        Err(fault) => Err(fault),
    };
    let streams: Vec<f64> = (0..half).map(stream).collect::<Result<_, _>>()?;
    let streams = sardonyx_tensor::Tensor::from_f64s(DType::I64, [half as usize], streams);
    let streams = cx.constant(streams);
    let x = tokens(cx, x, cos)?;
    cx.ranked(places, 3)?;
    let mut all = [cos, sin];
    for cache in &mut all {
        // [3, b, s, half], of which each angle takes one.
        let rows = cx.add(Op::Gather { axis: 0 }, &[*cache, places])?;
        let mut shape = cx.shape(rows);
        shape[0] = Dim::ONE;
        let own = cx.expand(streams, shape)?;
        let chosen = cx.add(Op::GatherElements { axis: 0 }, &[rows, own])?;
        let chosen = cx.squeeze(chosen, &[0])?;
        *cache = cx.unsqueeze(chosen, &[2])?;
    }
    turned(cx, x, all)
}
