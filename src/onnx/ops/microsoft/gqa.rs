//! Attention whose queries share heads of keys and values, over a cache that every sequence of the batch
//! fills to a place of its own.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::super::attention::{heads, repeated_heads, rotated};
use super::attention::{joined_heads, scale};
use super::many;
use super::rotary::angles;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[many("GroupQueryAttention", group_query)];

/// Heads `[b, n, s, h]` of one run.
struct Heads {
    q: Value,
    k: Value,
    v: Value,
}

/// Where the tokens of a run stand in their sequences.
struct Places {
    /// Of the cache with this run's tokens.
    length: Dim,
    /// Tokens of the longest sequence with those of this run.
    total: Dim,
    /// Whether no token is in the cache yet, bool without dimensions.
    first: Value,
    /// Tokens before those of this run, i64 `[b, 1, 1, 1]`.
    before: Value,
    /// Tokens with those of this run, i64 `[b, 1, 1, 1]`.
    after: Value,
}

fn group_query(cx: &mut Context) -> Built<Vec<Value>> {
    refuse(cx)?;
    let Heads { q, k, v } = split(cx)?;
    let (batch, s) = (cx.shape(q)[0].clone(), cx.shape(q)[2].clone());
    let past = match (cx.operand_if(3)?, cx.operand_if(4)?) {
        (Some(k), Some(v)) => Some((cx.ranked(k, 4)?, cx.ranked(v, 4)?)),
        (None, None) => None,
        _ => return invalid("only one of the past's keys and values"),
    };
    let places = places(cx, past.map(|(k, _)| k), &batch, &s)?;
    let (q, k) = if cx.flag("do_rotary", false)? { turned(cx, [q, k], &places)? } else { (q, k) };
    let keys = cache(cx, past.map(|(k, _)| k), k, &places)?;
    let values = cache(cx, past.map(|(_, v)| v), v, &places)?;
    let seen = seen(cx, &places, &s)?;
    let (y, scores) = attended(cx, [q, keys, values], seen, &places)?;
    Ok([joined_heads(cx, y)?, keys, values].into_iter().chain(scores).collect())
}

/// Fails for what is not built.
fn refuse(cx: &Context) -> Built<()> {
    let quantized = ["k_quant_type", "v_quant_type"].map(|name| cx.string(name, "NONE"));
    for kind in quantized {
        if kind? != "NONE" {
            return unsupported("a quantized cache");
        }
    }
    if cx.flag("sliding_window_cache", false)? {
        return unsupported("a cache that slides");
    }
    if (12..16).any(|i| cx.entity_if(i).is_some()) {
        return unsupported("scales of the cache and norms of queries and keys");
    }
    Ok(())
}

/// The heads, from separate operands or from one.
fn split(cx: &mut Context) -> Built<Heads> {
    let (q, k, v) = (cx.operand(0)?, cx.operand_if(1)?, cx.operand_if(2)?);
    let (count, groups) = (cx.int("num_heads", 0)?, cx.int("kv_num_heads", 0)?);
    if !(1..1 << 20).contains(&count) || groups < 1 || count % groups != 0 {
        return invalid(format!("{count} heads in {groups} groups"));
    }
    if let (Some(k), Some(v)) = (k, v) {
        return Ok(Heads { q: heads(cx, q, count)?, k: heads(cx, k, groups)?, v: heads(cx, v, groups)? });
    }
    let all = heads(cx, q, count + 2 * groups)?;
    let mut part = |start: i64, size: i64| cx.slice_axis(all, 1, Dim::from(start), Dim::from(size), 1);
    Ok(Heads { q: part(0, count)?, k: part(count, groups)?, v: part(count + groups, groups)? })
}

/// From the lengths (less one) in operand 5 and the greatest of them in operand 6.
fn places(cx: &mut Context, past: Option<Value>, batch: &Dim, s: &Dim) -> Built<Places> {
    let (lengths, total) = (cx.operand(5)?, cx.operand(6)?);
    let total = cx.reshape(total, vec![Dim::ONE])?;
    let total = cx.cast(total, DType::I64)?;
    let total = cx.shape_from(total)?.remove(0);
    let lengths = cx.cast(lengths, DType::I64)?;
    let lengths = cx.reshape(lengths, vec![batch.clone(), Dim::ONE, Dim::ONE, Dim::ONE])?;
    let after = cx.plus_number(lengths, 1.0)?;
    let (own, all) = (cx.dim(s.clone(), DType::I64)?, cx.dim(total.clone(), DType::I64)?);
    // The first tokens of all sequences come in one run, some perhaps with padding behind them.
    let (first, zero) = (cx.eq(own, all)?, cx.like(after, 0.0));
    let before = cx.minus(after, own)?;
    let before = cx.select(first, zero, before)?;
    let length = match past {
        Some(past) => cx.shape(past)[2].max(&total),
        None => total.clone(),
    };
    Ok(Places { length, total, first, before, after })
}

/// Queries and keys turned by the angles of their places.
fn turned(cx: &mut Context, heads: [Value; 2], places: &Places) -> Built<(Value, Value)> {
    let (cos, sin) = (cx.operand(7)?, cx.operand(8)?);
    let s = cx.shape(heads[0])[2].clone();
    let steps = cx.iota(s, DType::I64, 1, 2)?;
    let at = match cx.operand_if(9)? {
        Some(at) => {
            // Of the first run only the first place counts; the others follow it.
            let start = cx.slice_axis(cx.ranked(at, 2)?, 0, Dim::ZERO, Dim::ONE, 1)?;
            let start = cx.slice_axis(start, 1, Dim::ZERO, Dim::ONE, 1)?;
            let all = cx.plus(start, steps)?;
            cx.select(places.first, all, at)?
        }
        None => {
            let before = cx.squeeze(places.before, &[2, 3])?;
            cx.plus(before, steps)?
        }
    };
    let angles = angles(cx, [cos, sin], at)?;
    let width = cx.shape(cos)[1].clone() * 2;
    let interleaved = cx.flag("rotary_interleaved", false)?;
    let mut all = heads;
    for v in &mut all {
        let rows = cx.transpose(*v, &[0, 2, 1, 3])?;
        let rows = rotated(cx, rows, angles, width.clone(), interleaved)?;
        *v = cx.transpose(rows, &[0, 2, 1, 3])?;
    }
    Ok((all[0], all[1]))
}

/// The cache with this run's rows behind those before; zeros fill it.
fn cache(cx: &mut Context, past: Option<Value>, new: Value, places: &Places) -> Built {
    let Some(past) = past else { return Ok(new) };
    let mut shape = cx.shape(new);
    let (s, held) = (shape[2].clone(), cx.shape(past)[2].clone());
    shape[2] = places.length.clone();
    let both = cx.concat(&[past, new], 2)?;
    let at = cx.iota(places.length.clone(), DType::I64, 2, 4)?;
    let (held, s) = (cx.dim(held, DType::I64)?, cx.dim(s, DType::I64)?);
    let own = cx.minus(at, places.before)?;
    let (old, fits) = (cx.lt(at, places.before)?, cx.lt(own, s)?);
    let zero = cx.like(own, 0.0);
    let moved = cx.plus(own, held)?;
    let from = cx.select(old, at, moved)?;
    let filled = cx.add(Op::Or {}, &[old, fits])?;
    let from = cx.select(filled, from, zero)?;
    let from = cx.expand(from, shape)?;
    let rows = cx.add(Op::GatherElements { axis: 2 }, &[both, from])?;
    let nothing = cx.like(rows, 0.0);
    cx.select(filled, rows, nothing)
}

/// True where a query may see a key, `[b, 1, s, t]`.
fn seen(cx: &mut Context, places: &Places, s: &Dim) -> Built {
    let window = cx.int("local_window_size", -1)?;
    let keys = cx.iota(places.length.clone(), DType::I64, 3, 4)?;
    if !cx.flag("causal", true)? {
        if window > 0 {
            return invalid("a window without a causal mask");
        }
        return cx.lt(keys, places.after);
    }
    let steps = cx.iota(s.clone(), DType::I64, 2, 4)?;
    let query = cx.plus(steps, places.before)?;
    let past = cx.le(keys, query)?;
    if window < 1 {
        return Ok(past);
    }
    let first = cx.plus_number(query, -(window as f64))?;
    let near = cx.gt(keys, first)?;
    cx.and(past, near)
}

/// Attention over the cache, and the scores if they are asked for.
fn attended(
    cx: &mut Context,
    [q, keys, values]: [Value; 3],
    seen: Value,
    places: &Places,
) -> Built<(Value, Option<Value>)> {
    let (scale, softcap) = (scale(cx, &cx.shape(q)[3].clone())?, cx.float("softcap", 0.0)?);
    let (bias, sink) = (cx.operand_if(10)?, cx.operand_if(11)?);
    let mut mask = seen;
    if let Some(bias) = bias {
        // The bias may be shorter than the cache; the rest is never seen.
        let missing = &places.length - &cx.shape(cx.ranked(bias, 4)?)[3];
        let bias = if missing == 0 { bias } else { extended(cx, bias, 3, missing)? };
        let hidden = cx.like(bias, f64::NEG_INFINITY);
        mask = cx.select(seen, bias, hidden)?;
    }
    let scores = match cx.wants(3) {
        false => None,
        true => Some(scores(cx, q, keys, (seen, mask), places, (scale, softcap))?),
    };
    let op = Op::Attention { scale, causal: false, softcap };
    if sink.is_none() && cx.int("smooth_softmax", -1)? < 1 {
        return Ok((cx.add(op, &[q, keys, values, mask])?, scores));
    }
    // A key of zeros, whose value is zero, adds its own term to the sum below.
    let dtype = cx.dtype(q);
    if cx.dtype(mask) == DType::Bool {
        let (on, off) = (cx.scalar(dtype, 0.0), cx.scalar(dtype, f64::NEG_INFINITY));
        mask = cx.select(mask, on, off)?;
    }
    let heads = cx.shape(q)[1].clone();
    let mut shape = cx.shape(mask);
    if sink.is_some() {
        shape[1] = heads.clone();
        mask = cx.expand(mask, shape.clone())?;
    }
    shape[3] = Dim::ONE;
    let sink = match sink {
        Some(sink) => cx.reshape(sink, vec![Dim::ONE, heads, Dim::ONE, Dim::ONE])?,
        None => cx.scalar(dtype, 0.0),
    };
    let sink = cx.expand(sink, shape)?;
    let mask = cx.concat(&[mask, sink], 3)?;
    let (keys, values) = (extended(cx, keys, 2, Dim::ONE)?, extended(cx, values, 2, Dim::ONE)?);
    Ok((cx.add(op, &[q, keys, values, mask])?, scores))
}

/// `count` zeros behind the last element of an axis.
fn extended(cx: &mut Context, x: Value, axis: usize, count: Dim) -> Built {
    let zero = cx.like(x, 0.0);
    let before = vec![Dim::ZERO; cx.rank(x)];
    let mut after = before.clone();
    after[axis] = count;
    cx.add(Op::Pad { before, after, mode: Default::default() }, &[x, zero])
}

/// The scores of the keys in use before (1) or after (2) the softmax; those that are not seen are 0.
fn scores(
    cx: &mut Context,
    q: Value,
    keys: Value,
    (seen, mask): (Value, Value),
    places: &Places,
    (scale, softcap): (f64, f64),
) -> Built {
    let keys = repeated_heads(cx, keys, &cx.shape(q)[1].clone())?;
    let turned = cx.transpose(keys, &[0, 1, 3, 2])?;
    let product = cx.add(Op::Matmul {}, &[q, turned])?;
    let mut x = cx.times_number(product, scale)?;
    if softcap > 0.0 {
        let small = cx.times_number(x, 1.0 / softcap)?;
        let flat = cx.add(Op::Tanh {}, &[small])?;
        x = cx.times_number(flat, softcap)?;
    }
    let hidden = cx.like(x, f64::NEG_INFINITY);
    let biased = cx.dtype(mask) != DType::Bool;
    let masked = if biased { cx.plus(x, mask)? } else { cx.select(mask, x, hidden)? };
    let x = match cx.int("qk_output", 0)? {
        2 => cx.add(Op::Softmax { axis: -1 }, &[masked])?,
        1 => {
            let zero = cx.like(x, 0.0);
            cx.select(seen, masked, zero)?
        }
        other => return invalid(format!("qk_output {other}")),
    };
    cx.slice_axis(x, 3, Dim::ZERO, places.total.clone(), 1)
}
