//! Attention and rotary position embedding.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::super::scope::{Binding, Entity};
use super::{Import, Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    many("Attention", 23, attention),
    Row { domain: "ai.onnx.preview", name: "FlexAttention", since: 1, import: Import::One(flex_attention) },
    one("RotaryEmbedding", 23, rotary),
];

fn attention(cx: &mut Context) -> Built<Vec<Value>> {
    let (q, k, v) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let flat = cx.rank(q) == 3;
    let (q_heads, kv_heads) = (cx.int("q_num_heads", 0)?, cx.int("kv_num_heads", 0)?);
    let (q, k, v) = match flat {
        true => (heads(cx, q, q_heads)?, heads(cx, k, kv_heads)?, heads(cx, v, kv_heads)?),
        false => (q, k, v),
    };
    for v in [q, k, v].into_iter().chain(cx.operand_if(4)?).chain(cx.operand_if(5)?) {
        cx.ranked(v, 4)?;
    }
    let (past_k, past_v) = (cx.operand_if(4)?, cx.operand_if(5)?);
    let past = past_k.map_or(Dim::ZERO, |p| cx.shape(p)[2].clone());
    let keys = past_k.map_or(Ok(k), |p| cx.concat(&[p, k], 2))?;
    let values = past_v.map_or(Ok(v), |p| cx.concat(&[p, v], 2))?;
    let (s, t) = (cx.shape(q)[2].clone(), cx.shape(keys)[2].clone());

    let width = cx.shape(q)[3].clone();
    let scale = match (cx.float_if("scale")?, width.known()) {
        (Some(scale), _) => scale,
        (None, Some(d)) => 1.0 / (d.max(1) as f64).sqrt(),
        (None, None) => return unsupported("heads of symbolic width without a scale"),
    };
    let mut causal = cx.flag("is_causal", false)?;
    let mut mask = cx.operand_if(3)?;
    if let Some(m) = mask {
        mask = Some(padded_mask(cx, m, &t)?);
    }
    // The op's causal mask ends at the last key; ONNX's begins after the past.
    if causal && &t - &s != past {
        causal = false;
        let own = causal_mask(cx, &s, &t, &past)?;
        mask = Some(both(cx, mask, own)?);
    }
    if let Some(lengths) = cx.operand_if(6)? {
        let own = length_mask(cx, lengths, &t)?;
        mask = Some(both(cx, mask, own)?);
    }
    let softcap = cx.float("softcap", 0.0)?;
    let mut y = attended(cx, [q, keys, values], mask, scale, causal, softcap)?;
    if flat {
        let shape = cx.shape(y);
        let rows = cx.transpose(y, &[0, 2, 1, 3])?;
        y = cx.reshape(rows, vec![shape[0].clone(), shape[2].clone(), &shape[1] * &shape[3]])?;
    }
    let mut results = vec![y, keys, values];
    if cx.wants(3) {
        if causal {
            let own = causal_mask(cx, &s, &t, &past)?;
            mask = Some(both(cx, mask, own)?);
        }
        results.push(scores(cx, q, keys, mask, scale, softcap)?);
    }
    Ok(results)
}

fn attended(
    cx: &mut Context,
    [q, k, v]: [Value; 3],
    mask: Option<Value>,
    scale: f64,
    causal: bool,
    softcap: f64,
) -> Built {
    let operands: Vec<Value> = [q, k, v].into_iter().chain(mask).collect();
    cx.add(Op::Attention { scale, causal, softcap }, &operands)
}

/// `[b, s, heads * d]` as `[b, heads, s, d]`.
pub(super) fn heads(cx: &mut Context, x: Value, heads: i64) -> Built {
    let shape = cx.shape(x);
    if shape.len() != 3 || heads < 1 {
        return invalid(format!("{heads} heads in {}", cx.ty(x)));
    }
    let width =
        shape[2].exact_div(&Dim::from(heads)).ok_or_else(|| format!("{} in {heads} heads", shape[2]))?;
    let x = cx.reshape(x, vec![shape[0].clone(), shape[1].clone(), Dim::from(heads), width])?;
    cx.transpose(x, &[0, 2, 1, 3])
}

/// A mask for fewer keys than there are: the others are not seen.
fn padded_mask(cx: &mut Context, mask: Value, keys: &Dim) -> Built {
    let shape = cx.shape(mask);
    let Some(last) = shape.last() else { return Ok(mask) };
    let missing = keys - last;
    if *last == 1 || !missing.provably_ge(1) {
        return Ok(mask);
    }
    let off = if cx.dtype(mask) == DType::Bool { 0.0 } else { f64::NEG_INFINITY };
    let value = cx.like(mask, off);
    let before = vec![Dim::ZERO; shape.len()];
    let mut after = before.clone();
    after[shape.len() - 1] = missing;
    cx.add(Op::Pad { before, after, mode: Default::default() }, &[mask, value])
}

/// True where query `i` may see key `j`: `j <= i + past`.
pub(super) fn causal_mask(cx: &mut Context, s: &Dim, t: &Dim, past: &Dim) -> Built {
    let (rows, columns) = (cx.iota(s.clone(), DType::I64, 0, 2)?, cx.iota(t.clone(), DType::I64, 1, 2)?);
    let past = cx.dim(past.clone(), DType::I64)?;
    let last = cx.plus(rows, past)?;
    cx.le(columns, last)
}

/// True for the first `lengths[b]` keys.
fn length_mask(cx: &mut Context, lengths: Value, t: &Dim) -> Built {
    let lengths = cx.unsqueeze(lengths, &[1, 2, 3])?;
    let keys = cx.iota(t.clone(), DType::I64, 3, 4)?;
    cx.lt(keys, lengths)
}

/// What both masks let through; the second is boolean.
pub(super) fn both(cx: &mut Context, mask: Option<Value>, seen: Value) -> Built {
    match mask {
        None => Ok(seen),
        Some(mask) if cx.dtype(mask) == DType::Bool => cx.and(mask, seen),
        Some(mask) => {
            let hidden = cx.like(mask, f64::NEG_INFINITY);
            cx.select(seen, mask, hidden)
        }
    }
}

/// `scale * q kᵀ` for every head.
fn products(cx: &mut Context, q: Value, k: Value, scale: f64) -> Built {
    let heads = cx.shape(q)[1].clone();
    let k = repeated_heads(cx, k, &heads)?;
    let turned = cx.transpose(k, &[0, 1, 3, 2])?;
    let product = cx.add(Op::Matmul {}, &[q, turned])?;
    cx.times_number(product, scale)
}

/// The scores at the stage that `qk_matmul_output_mode` asks for.
fn scores(cx: &mut Context, q: Value, k: Value, mask: Option<Value>, scale: f64, softcap: f64) -> Built {
    let mode = cx.int("qk_matmul_output_mode", 0)?;
    let mut x = products(cx, q, k, scale)?;
    if mode == 0 {
        return Ok(x);
    }
    if softcap > 0.0 {
        let small = cx.times_number(x, 1.0 / softcap)?;
        let flat = cx.add(Op::Tanh {}, &[small])?;
        x = cx.times_number(flat, softcap)?;
    }
    if mode == 1 {
        return Ok(x);
    }
    if let Some(mask) = mask {
        x = match cx.dtype(mask) {
            DType::Bool => {
                let hidden = cx.like(x, f64::NEG_INFINITY);
                cx.select(mask, x, hidden)?
            }
            _ => cx.plus(x, mask)?,
        };
    }
    if mode == 2 { Ok(x) } else { cx.add(Op::Softmax { axis: -1 }, &[x]) }
}

/// Keys or values `[b, g, t, d]` of groups, once for every one of the heads.
pub(super) fn repeated_heads(cx: &mut Context, k: Value, heads: &Dim) -> Built {
    let own = cx.shape(k);
    let each = heads.exact_div(&own[1]).ok_or("heads that do not divide into the groups")?;
    if each == 1 {
        return Ok(k);
    }
    let wide = cx.unsqueeze(k, &[2])?;
    let [b, g, t, d] = [0, 1, 2, 3].map(|i| own[i].clone());
    let wide = cx.expand(wide, vec![b.clone(), g, each, t.clone(), d.clone()])?;
    cx.reshape(wide, vec![b, heads.clone(), t, d])
}

/// Attention whose scores and probabilities go through sub-graphs.
fn flex_attention(cx: &mut Context) -> Built {
    let [q, k, v] = [cx.operand(0)?, cx.operand(1)?, cx.operand(2)?];
    for x in [q, k, v] {
        cx.ranked(x, 4)?;
    }
    let scale = match (cx.float_if("scale")?, cx.shape(q)[3].known()) {
        (Some(scale), _) => scale,
        (None, Some(d)) => 1.0 / (d.max(1) as f64).sqrt(),
        (None, None) => return unsupported("heads of symbolic width without a scale"),
    };
    if !cx.has("score_mod") && !cx.has("prob_mod") && !cx.has("softmax_precision") {
        return attended(cx, [q, k, v], None, scale, false, 0.0);
    }
    let to = cx.dtype(q);
    let wide = if to == DType::F64 { DType::F64 } else { DType::F32 };
    let precision = cx.dtype_if("softmax_precision")?.unwrap_or(wide);
    let scores = products(cx, q, k, scale)?;
    let scores = cx.cast(scores, precision)?;
    let scores = modified(cx, "score_mod", scores)?;
    let shares = cx.add(Op::Softmax { axis: -1 }, &[scores])?;
    let shares = modified(cx, "prob_mod", shares)?;
    let shares = cx.cast(shares, to)?;
    let heads = cx.shape(q)[1].clone();
    let v = repeated_heads(cx, v, &heads)?;
    cx.add(Op::Matmul {}, &[shares, v])
}

/// A value after the sub-graph of this name, if the node has it.
fn modified(cx: &mut Context, name: &str, x: Value) -> Built {
    if !cx.has(name) {
        return Ok(x);
    }
    let graph = cx.graph(name)?;
    let [input] = &graph.input[..] else { return invalid(format!("`{name}` should have one input")) };
    let opsets = cx.importer.scope.opsets().clone();
    cx.importer.scope.enter_block(opsets);
    cx.importer.scope.bind(&input.name, Binding::Entity(x.into()));
    let results = cx.importer.inlined(graph);
    cx.importer.scope.leave_function();
    match results?[..] {
        [Entity::Value(y)] if cx.shape(y) == cx.shape(x) => Ok(y),
        _ => invalid(format!("`{name}` does not give back a tensor of its operand's shape")),
    }
}

fn rotary(cx: &mut Context) -> Built {
    let (x, cos, sin) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (shape, heads) = (cx.shape(x), cx.int("num_heads", 0)?);
    // [b, s, h, d]
    let x = match shape.len() {
        4 => cx.transpose(x, &[0, 2, 1, 3])?,
        3 if heads > 0 => {
            let width =
                shape[2].exact_div(&Dim::from(heads)).ok_or("the width does not divide into heads")?;
            cx.reshape(x, vec![shape[0].clone(), shape[1].clone(), Dim::from(heads), width])?
        }
        rank => return invalid(format!("rank {rank} with {heads} heads")),
    };
    let (mut cos, mut sin) = (cos, sin);
    if let Some(places) = cx.operand_if(3)? {
        cos = cx.add(Op::Gather { axis: 0 }, &[cos, places])?;
        sin = cx.add(Op::Gather { axis: 0 }, &[sin, places])?;
    }
    let (cos, sin) = (cx.unsqueeze(cos, &[2])?, cx.unsqueeze(sin, &[2])?);
    let width = cx.shape(x)[3].clone();
    let turned = match cx.int("rotary_embedding_dim", 0)? {
        0 => width,
        n => Dim::from(n),
    };
    let interleaved = cx.flag("interleaved", false)?;
    let y = rotated(cx, x, [cos, sin], turned, interleaved)?;
    if shape.len() == 4 { cx.transpose(y, &[0, 2, 1, 3]) } else { cx.reshape(y, shape) }
}

/// The first `turned` elements of the last axis turned by angles, the others as they are.
pub(super) fn rotated(
    cx: &mut Context,
    x: Value,
    [cos, sin]: [Value; 2],
    turned: Dim,
    interleaved: bool,
) -> Built {
    let width = cx.shape(x)[3].clone();
    let part = cx.slice_axis(x, 3, Dim::ZERO, turned.clone(), 1)?;
    let y = turned_by(cx, part, cos, sin, interleaved)?;
    if turned == width {
        return Ok(y);
    }
    let rest = cx.slice_axis(x, 3, turned.clone(), width - turned, 1)?;
    cx.concat(&[y, rest], 3)
}

/// Pairs of elements turned by an angle: neighbours, or one of each half.
fn turned_by(cx: &mut Context, x: Value, cos: Value, sin: Value, interleaved: bool) -> Built {
    let shape = cx.shape(x);
    let half = shape[3].floor_div(2);
    let (a, b) = match interleaved {
        true => (
            cx.slice_axis(x, 3, Dim::ZERO, half.clone(), 2)?,
            cx.slice_axis(x, 3, Dim::ONE, half.clone(), 2)?,
        ),
        false => (
            cx.slice_axis(x, 3, Dim::ZERO, half.clone(), 1)?,
            cx.slice_axis(x, 3, half.clone(), half.clone(), 1)?,
        ),
    };
    let (ac, bs) = (cx.times(cos, a)?, cx.times(sin, b)?);
    let (as_, bc) = (cx.times(sin, a)?, cx.times(cos, b)?);
    let (real, imaginary) = (cx.minus(ac, bs)?, cx.plus(as_, bc)?);
    if !interleaved {
        return cx.concat(&[real, imaginary], 3);
    }
    let (real, imaginary) = (cx.unsqueeze(real, &[4])?, cx.unsqueeze(imaginary, &[4])?);
    let pairs = cx.concat(&[real, imaginary], 4)?;
    cx.reshape(pairs, shape)
}
