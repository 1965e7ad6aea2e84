//! Tables of n-grams (Engram), several residual streams (hyper-connections), and what carries a state.
use super::super::super::context::{Built, Context};
use super::super::super::error::invalid;
use super::super::{Row, state};
use super::{many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    many("EngramGate", gate),
    many("CausalConvWithState", state::causal_conv),
    one("HyperConnectionPostMix", after_branch),
    one("HyperConnectionPreMix", before_branch),
    many("LinearAttention", state::linear_attention),
    many("NGramHashMapping", hashes),
];

/// The longest n-grams.
const MAX_ORDER: i64 = 64;

/// Rows over their root mean square, times a scale that broadcasts.
fn normed(cx: &mut Context, x: Value, scale: Value, epsilon: f64) -> Built {
    let square = cx.times(x, x)?;
    let last = cx.rank(x) - 1;
    let mean = cx.reduce_mean(square, &[last])?;
    let mean = cx.plus_number(mean, epsilon)?;
    let root = cx.sqrt(mean)?;
    let x = cx.over(x, root)?;
    cx.times(x, scale)
}

/// How far a value `[b, s, h]` passes to each stream: by the agreement of its keys and queries `[b, s, streams, h]`.
fn gate(cx: &mut Context) -> Built<Vec<Value>> {
    let dtype = cx.dtype(cx.operand(0)?);
    let epsilon = cx.float("epsilon", 1e-5)?;
    let wide = |cx: &mut Context, i: usize| {
        let v = cx.operand(i)?;
        cx.cast(v, DType::F32)
    };
    let (key, query, value) = (wide(cx, 0)?, wide(cx, 1)?, wide(cx, 2)?);
    let (key, query, value) = (cx.ranked(key, 4)?, cx.ranked(query, 4)?, cx.ranked(value, 3)?);
    let scales = (wide(cx, 3)?, wide(cx, 4)?);
    let (key, query) = (normed(cx, key, scales.0, epsilon)?, normed(cx, query, scales.1, epsilon)?);
    let product = cx.times(key, query)?;
    let dot = cx.reduce_sum(product, &[3])?;
    let width = cx.shape(product)[3].clone();
    let width = cx.dim(width, DType::F32)?;
    let width = cx.sqrt(width)?;
    let dot = cx.over(dot, width)?;
    let size = cx.abs(dot)?;
    let least = cx.like(size, 1e-6);
    let size = cx.max(size, least)?;
    let (root, sign) = (cx.sqrt(size)?, cx.add(Op::Sign {}, &[dot])?);
    let signed = cx.times(root, sign)?;
    let gate = cx.add(Op::Sigmoid {}, &[signed])?;
    let value = cx.unsqueeze(value, &[2])?;
    let y = cx.times(gate, value)?;
    let mut results = vec![cx.cast(y, dtype)?];
    if cx.wants(1) {
        let scale = wide(cx, 5)?;
        let y = normed(cx, y, scale, epsilon)?;
        results.push(cx.cast(y, dtype)?);
    }
    Ok(results)
}

/// Operand 0 in singles as streams `[…, streams, h]`, also where it is flat.
fn streams(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let x = cx.cast(x, DType::F32)?;
    let count = cx.int("num_branches", 0)?;
    let mut shape = cx.shape(x);
    if count > 0 {
        let Some(last) = shape.pop() else { return invalid("streams without dimensions") };
        let Some(width) = last.exact_div(&Dim::from(count)) else {
            return invalid(format!("{} as {count} streams", cx.ty(x)));
        };
        shape.extend([Dim::from(count), width]);
    }
    if shape.len() < 2 { invalid(format!("{} are no streams", cx.ty(x))) } else { cx.reshape(x, shape) }
}

/// Operand `i` as weights of streams: one for each, or one for each element.
fn weights(cx: &mut Context, i: usize, streams: Value) -> Built {
    let v = cx.operand(i)?;
    let v = cx.cast(v, DType::F32)?;
    let (shape, rank) = (cx.shape(streams), cx.rank(streams));
    if cx.rank(v) == rank {
        return Ok(v);
    }
    let v = cx.ranked(v, rank - 1)?;
    if cx.shape(v)[rank - 2] == shape[rank - 2] { cx.unsqueeze(v, &[rank - 1]) } else { cx.reshape(v, shape) }
}

/// The weighted sum of the streams.
fn before_branch(cx: &mut Context) -> Built {
    let dtype = cx.dtype(cx.operand(0)?);
    let x = streams(cx)?;
    let weights = weights(cx, 1, x)?;
    let axis = cx.rank(x) - 2;
    let y = cx.times(x, weights)?;
    let y = cx.reduce_sum(y, &[axis])?;
    let y = cx.squeeze(y, &[axis])?;
    let scale = cx.float("reduction_scale", 1.0)?;
    let y = cx.times_number(y, scale)?;
    cx.cast(y, dtype)
}

/// The streams, mixed, and the weighted result of a branch added to each.
fn after_branch(cx: &mut Context) -> Built {
    let given = cx.operand(0)?;
    let x = streams(cx)?;
    let weights = weights(cx, 2, x)?;
    let branch = cx.operand(1)?;
    let branch = cx.cast(branch, DType::F32)?;
    let rank = cx.rank(x);
    let branch = cx.ranked(branch, rank - 1)?;
    let branch = cx.unsqueeze(branch, &[rank - 2])?;
    let injected = cx.times(weights, branch)?;
    let kept = match cx.operand_if(3)? {
        Some(mix) => {
            let mix = cx.cast(mix, DType::F32)?;
            let mix = cx.ranked(mix, rank)?;
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(rank - 2, rank - 1);
            let mix = cx.transpose(mix, &order)?;
            cx.add(Op::Matmul {}, &[mix, x])?
        }
        None => x,
    };
    let y = cx.plus(kept, injected)?;
    let shape = cx.shape(given);
    let y = cx.reshape(y, shape)?;
    cx.cast(y, cx.dtype(given))
}

/// The tokens before each, `[b, s]` for 0, 1, … places back, and the last ones for the next call.
struct History {
    back: Vec<Value>,
    present: Value,
    /// What stands where there is no token.
    fill: Value,
}

fn history(cx: &mut Context, ids: Value, order: i64) -> Built<History> {
    let end = cx.operand_if(5)?;
    let fill = match end {
        Some(end) => cx.as_scalar(end)?,
        None => {
            let pad = cx.int_if("pad_id")?.ok_or("the attribute `pad_id` is missing")?;
            cx.like(ids, pad as f64)
        }
    };
    let [batch, length] = &cx.shape(ids)[..] else { return invalid(format!("{} are no rows", cx.ty(ids))) };
    let before = Dim::from(order - 1);
    let past = match cx.operand_if(3)? {
        Some(past) => past,
        None => cx.expand(fill, vec![batch.clone(), before.clone()])?,
    };
    let all = cx.concat(&[past, ids], 1)?;
    let mut back = Vec::new();
    for k in 0..order {
        back.push(cx.slice_axis(all, 1, &before - k, length.clone(), 1)?);
    }
    let present = cx.slice_axis(all, 1, length.clone(), before, 1)?;
    Ok(History { back, present, fill })
}

/// Where the tokens of a window belong to another text than the last: an end stands between, or the number of the
/// segment changes. One value for each place back; nothing where all belong together.
fn foreign(cx: &mut Context, h: &History) -> Built<Vec<Option<Value>>> {
    let either = |cx: &mut Context, a: Option<Value>, b: Option<Value>| -> Built<Option<Value>> {
        Ok(match (a, b) {
            (Some(a), Some(b)) => Some(cx.add(Op::Or {}, &[a, b])?),
            (a, b) => a.or(b),
        })
    };
    let end = if cx.flag("reset_on_eos", false)? { cx.operand_if(5)? } else { None };
    let changes = match cx.operand_if(6)? {
        None => None,
        Some(segments) => {
            let length = cx.shape(segments)[1].clone();
            let shifted = shifted(cx, segments, 1, length)?;
            let same = cx.eq(segments, shifted)?;
            Some(cx.not(same)?)
        }
    };
    let mut found = vec![None];
    for k in 1..h.back.len() {
        let mut here = found[k - 1];
        if end.is_some() {
            let ends = cx.eq(h.back[k], h.fill)?;
            here = either(cx, here, Some(ends))?;
        }
        if let Some(changes) = changes {
            let number = cx.cast(changes, DType::I32)?;
            let length = cx.shape(number)[1].clone();
            let (zero, first) = (cx.like(number, 0.0), k as i64 - 1);
            let padded = match first {
                0 => number,
                _ => {
                    let (before, mode) =
                        (vec![Dim::ZERO, Dim::from(first)], sardonyx_ir::ops::attribute::PadMode::Constant);
                    cx.add(Op::Pad { before, after: vec![Dim::ZERO; 2], mode }, &[number, zero])?
                }
            };
            let moved = cx.slice_axis(padded, 1, Dim::ZERO, length, 1)?;
            let moved = cx.cast(moved, DType::Bool)?;
            here = either(cx, here, Some(moved))?;
        }
        found.push(here);
    }
    Ok(found)
}

/// Rows moved by `by` places to the right, the first element in their place.
fn shifted(cx: &mut Context, x: Value, by: i64, length: Dim) -> Built {
    let mode = sardonyx_ir::ops::attribute::PadMode::Edge;
    let (before, after, zero) = (vec![Dim::ZERO, Dim::from(by)], vec![Dim::ZERO; 2], cx.like(x, 0.0));
    let padded = cx.add(Op::Pad { before, after, mode }, &[x, zero])?;
    cx.slice_axis(padded, 1, Dim::ZERO, length, 1)
}

/// Numbers of the n-grams that end at each token, `[b, s, (orders - 1) · heads]`.
fn hashes(cx: &mut Context) -> Built<Vec<Value>> {
    let (ids, multipliers, sizes) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (order, heads) = (cx.int("max_ngram_size", 0)?, cx.int("n_head_per_ngram", 0)?);
    if !(2..=MAX_ORDER).contains(&order) || !(1..1 << 20).contains(&heads) {
        return invalid(format!("{heads} numbers of n-grams of up to {order}"));
    }
    let h = history(cx, ids, order)?;
    let foreign = foreign(cx, &h)?;
    let (mut mix, mut all) = (None, Vec::new());
    for (k, (&back, foreign)) in h.back.iter().zip(foreign).enumerate() {
        let back = foreign.map_or(Ok(back), |f| cx.select(f, h.fill, back))?;
        let factor = cx.pick(multipliers, 0, k as i64)?;
        let term = cx.times(back, factor)?;
        let mixed = match mix {
            None => term,
            Some(mix) => cx.add(Op::Xor {}, &[mix, term])?,
        };
        mix = Some(mixed);
        if k > 0 {
            let first = (k as i64 - 1) * heads;
            let size = cx.slice_axis(sizes, 0, Dim::from(first), Dim::from(heads), 1)?;
            let mixed = cx.unsqueeze(mixed, &[2])?;
            all.push(cx.modulo(mixed, size)?);
        }
    }
    let mut y = cx.concat(&all, 2)?;
    if let Some(offsets) = cx.operand_if(4)? {
        y = cx.plus(y, offsets)?;
    }
    Ok(vec![y, h.present])
}
