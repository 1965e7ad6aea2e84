//! Normalizations: after a sum with a skip connection, of embeddings, by branches and by groups.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::{Import, Row};
use super::product::{channels_first, channels_last};
use super::{many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("BranchwiseRMSNorm", branchwise),
    many("EmbedLayerNormalization", embed),
    one("GatedRMSNorm", gated),
    one("GroupNorm", |cx| {
        let x = cx.operand(0)?;
        group(cx, x)
    }),
    many("QEmbedLayerNormalization", quantized_embed),
    // ONNX Runtime writes it into the standard domain.
    Row { domain: "", name: "SimplifiedLayerNormalization", since: 1, import: Import::Many(simplified) },
    many("SimplifiedLayerNormalization", simplified),
    many("SkipGroupNorm", skip_group),
    many("SkipLayerNormalization", |cx| {
        skip(
            cx,
            |cx, x| {
                let (scale, bias) = (cx.operand(2)?, cx.operand_if(3)?);
                let epsilon = cx.float("epsilon", 1e-12)?;
                let operands: Vec<Value> = [x, scale].into_iter().chain(bias).collect();
                cx.add(Op::LayerNorm { axes: 1, epsilon }, &operands)
            },
            4,
        )
    }),
    many("SkipSimplifiedLayerNormalization", |cx| {
        skip(
            cx,
            |cx, x| {
                let (scale, epsilon) = (cx.operand(2)?, cx.float("epsilon", 1e-12)?);
                cx.add(Op::RmsNorm { axes: 1, epsilon }, &[x, scale])
            },
            3,
        )
    }),
];

/// The normalized sum of the first two operands and of the bias at `bias`; the fourth result is the sum.
fn skip(cx: &mut Context, norm: fn(&mut Context, Value) -> Built, bias: usize) -> Built<Vec<Value>> {
    if cx.wants(1) || cx.wants(2) {
        return unsupported("statistics as results");
    }
    let (x, skip) = (cx.operand(0)?, cx.operand(1)?);
    let mut sum = cx.plus(x, skip)?;
    if let Some(bias) = cx.operand_if(bias)? {
        sum = cx.plus(sum, bias)?;
    }
    let y = norm(cx, sum)?;
    Ok(vec![y, sum, sum, sum])
}

/// RMS normalization over the axes from `axis` on; the second result is the factor.
fn simplified(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, scale) = (cx.operand(0)?, cx.operand(1)?);
    let (axis, epsilon) = (cx.axis(x, cx.int("axis", -1)?)?, cx.float("epsilon", 1e-5)?);
    let rank = cx.rank(x);
    let y = cx.add(Op::RmsNorm { axes: (rank - axis) as i64, epsilon }, &[x, scale])?;
    let to = cx.dtype(scale);
    let mut results = vec![cx.cast(y, to)?];
    if cx.wants(1) {
        let stash = if cx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
        let wide = cx.cast(x, stash)?;
        let square = cx.times(wide, wide)?;
        let mean = cx.reduce_mean(square, &(axis..rank).collect::<Vec<_>>())?;
        let mean = cx.plus_number(mean, epsilon)?;
        results.push(cx.add(Op::Rsqrt {}, &[mean])?);
    }
    Ok(results)
}

/// The rows of the tables that the ids choose.
struct Embedding {
    words: Value,
    positions: Value,
    segments: Option<Value>,
    scale: Value,
    bias: Value,
}

fn embed(cx: &mut Context) -> Built<Vec<Value>> {
    let tables = Embedding {
        words: cx.operand(2)?,
        positions: cx.operand(3)?,
        segments: cx.operand_if(4)?,
        scale: cx.operand(5)?,
        bias: cx.operand(6)?,
    };
    embedded(cx, tables, 7, Some(8))
}

/// The layer-normalized sum of the rows of all tables; the number of words that `mask` keeps; the sum.
fn embedded(cx: &mut Context, tables: Embedding, mask: usize, places: Option<usize>) -> Built<Vec<Value>> {
    let (ids, segments, mask) = (cx.operand(0)?, cx.operand_if(1)?, cx.operand_if(mask)?);
    cx.ranked(ids, 2)?;
    let (batch, length) = (cx.shape(ids)[0].clone(), cx.shape(ids)[1].clone());
    let row = Op::Gather { axis: 0 };
    let mut sum = cx.add(row.clone(), &[tables.words, ids])?;
    let places = match places {
        Some(i) => cx.operand_if(i)?,
        None => None,
    };
    let position = match places {
        Some(places) => cx.add(row.clone(), &[tables.positions, places])?,
        None => cx.slice_axis(tables.positions, 0, Dim::ZERO, length, 1)?,
    };
    sum = cx.plus(sum, position)?;
    if let (Some(table), Some(segments)) = (tables.segments, segments) {
        let segment = cx.add(row, &[table, segments])?;
        sum = cx.plus(sum, segment)?;
    }
    let epsilon = cx.float("epsilon", 1e-12)?;
    let y = cx.add(Op::LayerNorm { axes: 1, epsilon }, &[sum, tables.scale, tables.bias])?;
    let count = match mask {
        Some(mask) => {
            let one = cx.like(mask, 1.0);
            let kept = cx.eq(mask, one)?;
            let kept = cx.cast(kept, DType::I32)?;
            let count = cx.reduce_sum(kept, &[1])?;
            cx.squeeze(count, &[1])?
        }
        None => {
            let zero = cx.scalar(DType::I32, 0.0);
            cx.expand(zero, vec![batch])?
        }
    };
    Ok(vec![y, count, sum])
}

/// As [`embed`], of quantized tables and parameters.
fn quantized_embed(cx: &mut Context) -> Built<Vec<Value>> {
    let mut table = |i: usize, scale: usize| -> Built<Option<Value>> {
        let Some(x) = cx.operand_if(i)? else { return Ok(None) };
        let (scale, zero) = (cx.operand(scale)?, cx.operand(scale + 5)?);
        let (scale, zero) = (cx.as_scalar(scale)?, cx.as_scalar(zero)?);
        super::super::quant::dequantized(cx, x, scale, Some(zero)).map(Some)
    };
    let tables = Embedding {
        words: table(2, 8)?.ok_or("the table of words is missing")?,
        positions: table(3, 9)?.ok_or("the table of positions is missing")?,
        segments: table(4, 10)?,
        scale: table(5, 11)?.ok_or("the scale is missing")?,
        bias: table(6, 12)?.ok_or("the bias is missing")?,
    };
    embedded(cx, tables, 7, None)
}

/// `x` as `[…, branches, width]`, by the attribute where it is flat.
pub(super) fn branches(cx: &mut Context, x: Value) -> Built {
    let count = cx.int("num_branches", 0)?;
    if count < 1 {
        return Ok(x);
    }
    let mut shape = cx.shape(x);
    let Some(last) = shape.pop() else { return invalid("a scalar has no branches") };
    let width = last.exact_div(&Dim::from(count)).ok_or("the last axis does not divide into branches")?;
    shape.extend([Dim::from(count), width]);
    cx.reshape(x, shape)
}

/// RMS normalization of every branch, with an optional scale for all, for each, or for the flat axis.
fn branchwise(cx: &mut Context) -> Built {
    let (x, scale, epsilon) = (cx.operand(0)?, cx.operand_if(1)?, cx.float("epsilon", 1e-5)?);
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let split = branches(cx, x)?;
    let own = cx.shape(split);
    if own.len() < 2 {
        return invalid(format!("{} has no branches", cx.ty(x)));
    }
    let parameter = own[own.len() - 2..].to_vec();
    let wide = cx.cast(split, DType::F32)?;
    let ones = cx.scalar(DType::F32, 1.0);
    let ones = cx.expand(ones, vec![parameter[1].clone()])?;
    let mut y = cx.add(Op::RmsNorm { axes: 1, epsilon }, &[wide, ones])?;
    if let Some(scale) = scale {
        let flat = cx.rank(scale) == 1 && cx.shape(scale)[0] != parameter[1];
        let scale = if flat { cx.reshape(scale, parameter)? } else { scale };
        let scale = cx.cast(scale, DType::F32)?;
        y = cx.times(y, scale)?;
    }
    let y = cx.cast(y, dtype)?;
    cx.reshape(y, shape)
}

/// RMS normalization of groups as wide as the scale, times an activation of the gate.
fn gated(cx: &mut Context) -> Built {
    let (x, scale, gate) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (epsilon, dtype, shape) = (cx.float("epsilon", 1e-5)?, cx.dtype(x), cx.shape(x));
    let width = cx.shape(cx.ranked(scale, 1)?)[0].clone();
    let (Some(last), activation) = (shape.last(), cx.string("activation", "silu")?) else {
        return invalid("a scalar cannot be normalized");
    };
    let groups = last.exact_div(&width).ok_or("the last axis does not divide by the scale's")?;
    let split = [&shape[..shape.len() - 1], &[groups, width]].concat();
    let wide = cx.cast(x, DType::F32)?;
    let wide = cx.reshape(wide, split)?;
    let scale = cx.cast(scale, DType::F32)?;
    let y = cx.add(Op::RmsNorm { axes: 1, epsilon }, &[wide, scale])?;
    let y = cx.reshape(y, shape)?;
    let gate = cx.cast(gate, DType::F32)?;
    let gate = match activation.as_str() {
        "silu" | "swish" => cx.add(Op::Silu { alpha: 1.0 }, &[gate])?,
        "sigmoid" => cx.add(Op::Sigmoid {}, &[gate])?,
        other => return invalid(format!("unknown activation `{other}`")),
    };
    let y = cx.times(y, gate)?;
    cx.cast(y, dtype)
}

/// Group normalization of `x`, channels first or last, with the node's other operands and attributes.
fn group(cx: &mut Context, x: Value) -> Built {
    let (scale, bias) = (cx.operand(1)?, cx.operand(2)?);
    let (groups, epsilon) = (cx.int("groups", 0)?, cx.float("epsilon", 1e-5)?);
    let rank = cx.rank(x);
    if rank < 3 || groups < 1 {
        return invalid(format!("{groups} groups in {}", cx.ty(x)));
    }
    let last = cx.flag("channels_last", true)?;
    let x = if last { channels_first(cx, x)? } else { x };
    let mut y = cx.add(Op::GroupNorm { groups, epsilon }, &[x, scale, bias])?;
    match cx.int("activation", 0)? {
        0 => {}
        1 => y = cx.add(Op::Silu { alpha: 1.0 }, &[y])?,
        other => return invalid(format!("unknown activation {other}")),
    }
    if last { channels_last(cx, y) } else { Ok(y) }
}

/// Group normalization of a sum, which is the second result.
fn skip_group(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, mut skip, bias) = (cx.operand(0)?, cx.operand(3)?, cx.operand_if(4)?);
    if cx.rank(skip) == 2 {
        let between: Vec<usize> = (1..cx.rank(x).saturating_sub(1)).collect();
        skip = cx.unsqueeze(skip, &between)?;
    }
    let mut sum = cx.plus(x, skip)?;
    if let Some(bias) = bias {
        sum = cx.plus(sum, bias)?;
    }
    Ok(vec![group(cx, sum)?, sum])
}
