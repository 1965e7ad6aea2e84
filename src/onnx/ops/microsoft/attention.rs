//! Attention with its projections (`Attention`, `QAttention`) and on projected heads (`MultiHeadAttention`,
//! `DecoderMaskedMultiHeadAttention`), with padding masks, biases and a cache of past keys and values.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::super::attention::{both, causal_mask, heads, repeated_heads};
use super::super::math::matmul;
use super::{many, quantized};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    many("Attention", attention),
    many("DecoderMaskedMultiHeadAttention", decoder),
    many("MultiHeadAttention", multi_head),
    many("QAttention", quantized_attention),
];

/// What the scores and the values are made from: heads `[b, n, s, h]`, and what is known of the keys.
struct Attended {
    q: Value,
    k: Value,
    v: Value,
    /// Keys and values before those of this run, `[b, n, p, h]`.
    past: Option<(Value, Value)>,
    /// Added to the scores, `[b or 1, n or 1, s, t]`.
    bias: Option<Value>,
    /// Which keys count: an operand in one of the forms of [`padding`].
    mask: Option<Value>,
    causal: bool,
}

/// What [`Attended::build`] makes.
struct Results {
    /// `[b, s, n * h]`.
    output: Value,
    keys: Value,
    values: Value,
    /// The scores before the softmax, if they are asked for, `[b, n, s, t]`.
    scores: Option<Value>,
}

impl Attended {
    fn build(self, cx: &mut Context, scores: bool) -> Built<Results> {
        let (q, batch) = (self.q, cx.shape(self.q)[0].clone());
        let (keys, values, past) = match self.past {
            Some((k, v)) => {
                (cx.concat(&[k, self.k], 2)?, cx.concat(&[v, self.v], 2)?, cx.shape(k)[2].clone())
            }
            None => (self.k, self.v, Dim::ZERO),
        };
        let (s, t) = (cx.shape(q)[2].clone(), cx.shape(keys)[2].clone());
        let scale = scale(cx, &cx.shape(q)[3])?;
        let mut mask = match self.mask {
            Some(mask) => Some(padding(cx, mask, &batch, &t, cx.dtype(q))?),
            None => None,
        };
        if let Some(bias) = self.bias {
            mask = Some(mask.map_or(Ok(bias), |mask| cx.plus(bias, mask))?);
        }
        let causal = self.causal && s != 1;
        // The op's causal mask ends at the last key; this one begins after the past.
        let ends = &t - &s == past;
        if causal && (!ends || scores) {
            let seen = causal_mask(cx, &s, &t, &past)?;
            mask = Some(both(cx, mask, seen)?);
        }
        let op = Op::Attention { scale, causal: causal && ends && !scores, softcap: 0.0 };
        let operands: Vec<Value> = [q, keys, values].into_iter().chain(mask).collect();
        let y = cx.add(op, &operands)?;
        let scores = match scores {
            true => Some(scored(cx, q, keys, mask, scale)?),
            false => None,
        };
        Ok(Results { output: joined_heads(cx, y)?, keys, values, scores })
    }
}

/// The attribute, or one over the root of the width.
pub(super) fn scale(cx: &Context, width: &Dim) -> Built<f64> {
    match (cx.float("scale", 0.0)?, width.known()) {
        (0.0, Some(n)) => Ok(1.0 / (n.max(1) as f64).sqrt()),
        (0.0, None) => unsupported("heads of symbolic width without a scale"),
        (scale, _) => Ok(scale),
    }
}

/// `[b, n, s, h]` as `[b, s, n * h]`.
pub(super) fn joined_heads(cx: &mut Context, y: Value) -> Built {
    let shape = cx.shape(y);
    let rows = cx.transpose(y, &[0, 2, 1, 3])?;
    cx.reshape(rows, vec![shape[0].clone(), shape[2].clone(), &shape[1] * &shape[3]])
}

/// The scores of all keys, with the mask.
pub(super) fn scored(cx: &mut Context, q: Value, keys: Value, mask: Option<Value>, scale: f64) -> Built {
    let keys = repeated_heads(cx, keys, &cx.shape(q)[1].clone())?;
    let turned = cx.transpose(keys, &[0, 1, 3, 2])?;
    let product = cx.add(Op::Matmul {}, &[q, turned])?;
    let scores = cx.times_number(product, scale)?;
    match mask {
        None => Ok(scores),
        Some(mask) if cx.dtype(mask) == DType::Bool => {
            let hidden = cx.like(scores, f64::from(f32::MIN));
            cx.select(mask, scores, hidden)
        }
        Some(mask) => cx.plus(scores, mask),
    }
}

/// What is added to scores so that keys do not count, `[b, 1, 1 or s, t]`, from one of these: `[b, t]` and
/// `[b, s, t]`, positive where a key counts; `[b]`, the number of keys that count; `[2 * b]`, their ends,
/// then their starts.
fn padding(cx: &mut Context, mask: Value, batch: &Dim, keys: &Dim, dtype: DType) -> Built {
    let shape = cx.shape(mask);
    let counts = match shape.as_slice() {
        [n] if *n == batch * 2 && *n != *batch => {
            let ends = cx.slice_axis(mask, 0, Dim::ZERO, batch.clone(), 1)?;
            let starts = cx.slice_axis(mask, 0, batch.clone(), batch.clone(), 1)?;
            let (before, from) = (before(cx, ends, keys)?, before(cx, starts, keys)?);
            let from = cx.not(from)?;
            cx.and(before, from)?
        }
        [n] if n.known().zip(batch.known()).is_none_or(|(n, b)| n == b) => before(cx, mask, keys)?,
        [_, t] if n_fits(t, keys) => {
            let zero = cx.like(mask, 0.0);
            let seen = cx.gt(mask, zero)?;
            cx.unsqueeze(seen, &[1, 2])?
        }
        [_, _, t] if n_fits(t, keys) => {
            let zero = cx.like(mask, 0.0);
            let seen = cx.gt(mask, zero)?;
            cx.unsqueeze(seen, &[1])?
        }
        _ => return unsupported(format!("a mask {} for {keys} keys", cx.ty(mask))),
    };
    let filter = cx.float("mask_filter_value", -10000.0)?;
    let (zero, hidden) = (cx.scalar(dtype, 0.0), cx.scalar(dtype, filter));
    cx.select(counts, zero, hidden)
}

/// Whether a size may be that of the keys.
fn n_fits(n: &Dim, keys: &Dim) -> bool {
    n.known().zip(keys.known()).is_none_or(|(n, t)| n == t)
}

/// True for keys before `ends[b]`, `[b, 1, 1, t]`.
fn before(cx: &mut Context, ends: Value, keys: &Dim) -> Built {
    let ends = cx.unsqueeze(ends, &[1, 2, 3])?;
    let at = cx.iota(keys.clone(), cx.dtype(ends), 3, 4)?;
    cx.lt(at, ends)
}

/// The parts of the last axis that these widths give.
fn parts(cx: &mut Context, x: Value, widths: &[Dim]) -> Built<Vec<Value>> {
    let axis = cx.rank(x).checked_sub(1).ok_or("a projection without axes")?;
    let mut start = Dim::ZERO;
    let mut all = Vec::new();
    for width in widths {
        all.push(cx.slice_axis(x, axis, start.clone(), width.clone(), 1)?);
        start += width;
    }
    Ok(all)
}

/// Queries, keys and values side by side, `[b, s, d]`, as heads.
fn split_heads(cx: &mut Context, joined: Value, count: i64) -> Built<[Value; 3]> {
    let width = cx.shape(joined).last().cloned().ok_or("a projection without axes")?;
    let widths = match cx.ints("qkv_hidden_sizes")?.filter(|w| !w.is_empty()) {
        Some(widths) if widths.len() == 3 && widths.iter().all(|&w| w > 0) => {
            widths.into_iter().map(Dim::from).collect()
        }
        Some(widths) => return invalid(format!("qkv_hidden_sizes {widths:?}")),
        None => vec![width.exact_div(&Dim::from(3)).ok_or("the projection does not divide into three")?; 3],
    };
    let all = parts(cx, joined, &widths)?;
    Ok([heads(cx, all[0], count)?, heads(cx, all[1], count)?, heads(cx, all[2], count)?])
}

/// Both halves of a cache `[2, b, n, p, h]`.
fn past_pair(cx: &mut Context, i: usize) -> Built<Option<(Value, Value)>> {
    let Some(past) = cx.operand_if(i)? else { return Ok(None) };
    cx.ranked(past, 5)?;
    Ok(Some((cx.pick(past, 0, 0)?, cx.pick(past, 0, 1)?)))
}

/// Attention over a projection; the second result is the cache with the new keys and values.
fn projected(
    cx: &mut Context,
    joined: Value,
    mask: Option<Value>,
    past: Option<(Value, Value)>,
    bias: Option<Value>,
) -> Built<Vec<Value>> {
    if cx.flag("do_rotary", false)? || cx.flag("past_present_share_buffer", false)? {
        return unsupported("rotary positions and shared buffers");
    }
    let [q, k, v] = split_heads(cx, joined, cx.int("num_heads", 0)?)?;
    let causal = cx.flag("unidirectional", false)?;
    let results = Attended { q, k, v, past, bias, mask, causal }.build(cx, false)?;
    let mut all = vec![results.output];
    if cx.wants(1) {
        let (k, v) = (cx.unsqueeze(results.keys, &[0])?, cx.unsqueeze(results.values, &[0])?);
        all.push(cx.concat(&[k, v], 0)?);
    }
    Ok(all)
}

fn attention(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, w, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    if cx.entity_if(6).is_some() {
        return unsupported("a length of the past");
    }
    let mut joined = matmul(cx, x, w)?;
    if let Some(bias) = bias {
        joined = cx.plus(joined, bias)?;
    }
    let (mask, past, bias) = (cx.operand_if(3)?, past_pair(cx, 4)?, cx.operand_if(5)?);
    projected(cx, joined, mask, past, bias)
}

fn quantized_attention(cx: &mut Context) -> Built<Vec<Value>> {
    let joined = quantized::to_float(cx, [0, 1], [3, 4], [6, 7], Some(2))?;
    let (mask, past) = (cx.operand_if(5)?, past_pair(cx, 8)?);
    projected(cx, joined, mask, past, None)
}

/// Two operands that are there together, or not at all.
fn pair(cx: &Context, i: usize) -> Built<Option<(Value, Value)>> {
    match (cx.operand_if(i)?, cx.operand_if(i + 1)?) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        _ => invalid(format!("of operands {i} and {} one is missing", i + 1)),
    }
}

/// Operand `i` as heads: `[b, s, n * h]`, or already `[b, n, s, h]`; with its part of the bias before.
fn own_heads(cx: &mut Context, x: Value, bias: Option<Value>, count: i64) -> Built {
    if cx.rank(x) == 4 {
        return Ok(x);
    }
    let x = bias.map_or(Ok(x), |bias| cx.plus(x, bias))?;
    heads(cx, x, count)
}

/// Element `i` of axis 3 of `[b, s, n, parts, h]`, as `[b, n, s, h]`.
fn packed_part(cx: &mut Context, x: Value, i: i64) -> Built {
    let part = cx.pick(x, 3, i)?;
    cx.transpose(part, &[0, 2, 1, 3])
}

/// Queries, keys and values as heads, from separate operands or packed ones.
fn given_heads(cx: &mut Context, bias: Option<Value>) -> Built<[Value; 3]> {
    let (q, k, v) = (cx.operand(0)?, cx.operand_if(1)?, cx.operand_if(2)?);
    let count = cx.int("num_heads", 0)?;
    if cx.rank(q) == 5 {
        if bias.is_some() {
            return unsupported("a bias of packed projections");
        }
        return Ok([packed_part(cx, q, 0)?, packed_part(cx, q, 1)?, packed_part(cx, q, 2)?]);
    }
    let Some(k) = k else {
        let q = bias.map_or(Ok(q), |bias| cx.plus(q, bias))?;
        return split_heads(cx, q, count);
    };
    let width = cx.shape(q).last().cloned().ok_or("a query without axes")?;
    let mut biases = [None; 3];
    if let Some(bias) = bias {
        let all = cx.ty(bias).elements();
        let widths = [width.clone(), width.clone(), all - &width * 2];
        for (to, part) in biases.iter_mut().zip(parts(cx, bias, &widths)?) {
            *to = Some(part);
        }
    }
    let q = own_heads(cx, q, biases[0], count)?;
    if cx.rank(k) == 5 {
        return Ok([q, packed_part(cx, k, 0)?, packed_part(cx, k, 1)?]);
    }
    let v = v.ok_or("the values are missing")?;
    Ok([q, own_heads(cx, k, biases[1], count)?, own_heads(cx, v, biases[2], count)?])
}

fn multi_head(cx: &mut Context) -> Built<Vec<Value>> {
    if cx.entity_if(8).is_some() || cx.entity_if(9).is_some() {
        return unsupported("shared buffers");
    }
    let bias = cx.operand_if(3)?;
    let [q, k, v] = given_heads(cx, bias)?;
    let (mask, bias, past) = (cx.operand_if(4)?, cx.operand_if(5)?, pair(cx, 6)?);
    let causal = cx.flag("unidirectional", false)?;
    let scores = cx.wants(3);
    let r = Attended { q, k, v, past, bias, mask, causal }.build(cx, scores)?;
    Ok([r.output, r.keys, r.values].into_iter().chain(r.scores).collect())
}

fn decoder(cx: &mut Context) -> Built<Vec<Value>> {
    if cx.flag("past_present_share_buffer", false)? || (8..10).any(|i| cx.entity_if(i).is_some()) {
        return unsupported("shared buffers and beams");
    }
    let bias = cx.operand_if(10)?;
    let [q, k, v] = given_heads(cx, bias)?;
    let (mask, bias, past) = (cx.operand_if(3)?, cx.operand_if(4)?, pair(cx, 5)?);
    let scores = cx.wants(3);
    let r = Attended { q, k, v, past, bias, mask, causal: false }.build(cx, scores)?;
    Ok([r.output, r.keys, r.values].into_iter().chain(r.scores).collect())
}
