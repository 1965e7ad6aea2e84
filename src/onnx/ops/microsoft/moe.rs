//! Mixtures of experts. Every expert sees every token, and the router's weights, most of them 0, sum the
//! results: the work of all experts, whatever `k` is.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::blocks::unpacked;
use super::one;
use sardonyx_ir::ops::attribute::Reduction;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("MoE", |cx| {
        refuse(cx, 6..8)?;
        let (first, second) = (cx.operand(2)?, cx.operand(4)?);
        let normalized = cx.flag("normalize_routing_weights", false)?;
        mixture(cx, [first, second], [3, 5], normalized)
    }),
    one("QMoE", |cx| {
        refuse(cx, 8..11)?;
        let (first, second) = (weights(cx, [2, 3, 11])?, weights(cx, [5, 6, 12])?);
        // ONNX Runtime's CPU provider takes the softmax of the chosen `k` here, whatever the attribute says.
        mixture(cx, [first, second], [4, 7], true)
    }),
];

/// Fails for what ONNX Runtime's CPU provider does not have either.
fn refuse(cx: &Context, third: std::ops::Range<usize>) -> Built<()> {
    if third.into_iter().any(|i| cx.entity_if(i).is_some()) {
        return unsupported("a third layer of experts");
    }
    if cx.flag("use_sparse_mixer", false)? {
        return unsupported("a sparse mixer");
    }
    if cx.count() > 14 {
        return unsupported("weights of the router");
    }
    Ok(())
}

/// Weights `[experts, rows, columns]` as floats of their scales' type, from operands: packed numbers, scales
/// of rows `[experts, rows]` or of blocks `[experts, rows, blocks]`, packed zero points of the blocks.
fn weights(cx: &mut Context, [numbers, scales, zeros]: [usize; 3]) -> Built {
    let bits = cx.int("expert_weight_bits", 4)?;
    if !matches!(bits, 4 | 8) {
        return unsupported(format!("weights of {bits} bits"));
    }
    let (packed, scales, zeros) = (cx.operand(numbers)?, cx.operand(scales)?, cx.operand_if(zeros)?);
    let numbers = unpacked(cx, packed, bits)?;
    let numbers = cx.ranked(numbers, 3)?;
    let scales = if cx.rank(scales) == 2 { cx.unsqueeze(scales, &[2])? } else { cx.ranked(scales, 3)? };
    let dtype = cx.dtype(scales);
    let (shape, blocks) = (cx.shape(numbers), cx.shape(scales)[2].clone());
    let Some(block) = shape[2].exact_div(&blocks) else {
        return invalid(format!("{} in blocks of {}", cx.ty(numbers), cx.ty(scales)));
    };
    let zeros = match zeros {
        Some(zeros) => {
            let zeros = unpacked(cx, zeros, bits)?;
            let zeros = if cx.rank(zeros) == 2 { cx.unsqueeze(zeros, &[2])? } else { cx.ranked(zeros, 3)? };
            let zeros = cx.slice_axis(zeros, 2, Dim::ZERO, blocks.clone(), 1)?;
            cx.cast(zeros, dtype)?
        }
        None => cx.scalar(dtype, (1i64 << (bits - 1)) as f64),
    };
    let wide = cx.cast(numbers, dtype)?;
    let wide = cx.reshape(wide, vec![shape[0].clone(), shape[1].clone(), blocks, block])?;
    let scales = cx.unsqueeze(scales, &[3])?;
    let zeros = if cx.rank(zeros) == 3 { cx.unsqueeze(zeros, &[3])? } else { zeros };
    let moved = cx.minus(wide, zeros)?;
    let floats = cx.times(moved, scales)?;
    cx.reshape(floats, shape)
}

/// The weight of every expert for every token, `[tokens, experts]`: the greatest `k` of a softmax, with a sum
/// of 1 if they are normalized.
fn routed(cx: &mut Context, normalized: bool) -> Built {
    let logits = cx.operand(1)?;
    let logits = cx.ranked(logits, 2)?;
    let k = cx.int("k", 1)?;
    if k < 1 || cx.shape(logits)[1].provably_le(k - 1) {
        return invalid(format!("{k} experts of {}", cx.ty(logits)));
    }
    let all = cx.add(Op::Softmax { axis: 1 }, &[logits])?;
    let top = cx.add(Op::TopK { axis: 1, k: Dim::from(k), largest: true, sorted: true }, &[all])?;
    let mut best = top;
    if normalized {
        let sum = cx.reduce_sum(best, &[1])?;
        best = cx.over(best, sum)?;
    }
    let (zero, shape) = (cx.like(all, 0.0), cx.shape(all));
    let zeros = cx.expand(zero, shape)?;
    let scatter = Op::ScatterElements { axis: 1, reduction: Reduction::Replace };
    cx.add(scatter, &[zeros, top.port(1), best])
}

/// What stands between the two layers of an expert.
fn activated(cx: &mut Context, x: Value) -> Built {
    match cx.string("activation_type", "relu")?.as_str() {
        "relu" => cx.add(Op::Relu {}, &[x]),
        "gelu" => cx.add(Op::GeluTanh {}, &[x]),
        "silu" => cx.add(Op::Silu { alpha: 1.0 }, &[x]),
        "identity" => Ok(x),
        "swiglu" => gated(cx, x),
        other => unsupported(format!("experts with `{other}`")),
    }
}

/// SiLU of the even columns times the odd ones.
fn gated(cx: &mut Context, x: Value) -> Built {
    if cx.int("swiglu_fusion", 0)? != 1 {
        return unsupported("gates that do not alternate with what they gate");
    }
    let Some(half) = cx.shape(x)[2].exact_div(&Dim::from(2)) else {
        return invalid("an odd number of columns for gates");
    };
    let gate = cx.slice_axis(x, 2, Dim::ZERO, half.clone(), 2)?;
    let linear = cx.slice_axis(x, 2, Dim::ONE, half, 2)?;
    let (gate, linear) = match cx.float_if("swiglu_limit")? {
        Some(max) => (
            cx.add(Op::Clip { min: f64::NEG_INFINITY, max }, &[gate])?,
            cx.add(Op::Clip { min: -max, max }, &[linear])?,
        ),
        None => (gate, linear),
    };
    let alpha = cx.float("activation_alpha", 1.0)?;
    let beta = cx.float("activation_beta", 0.0)?;
    let gate = cx.add(Op::Silu { alpha }, &[gate])?;
    let linear = cx.plus_number(linear, beta)?;
    cx.times(gate, linear)
}

/// `x` `[1 or experts, tokens, in]` times weights `[experts, out, in]`, and the bias in an operand.
fn layer(cx: &mut Context, x: Value, weights: Value, bias: usize) -> Built {
    let weights = cx.ranked(weights, 3)?;
    let turned = cx.transpose(weights, &[0, 2, 1])?;
    let y = cx.add(Op::Matmul {}, &[x, turned])?;
    match cx.operand_if(bias)? {
        Some(bias) => {
            let bias = cx.ranked(bias, 2)?;
            let bias = cx.unsqueeze(bias, &[1])?;
            cx.plus(y, bias)
        }
        None => Ok(y),
    }
}

/// The mixture of experts of two layers each.
fn mixture(cx: &mut Context, layers: [Value; 2], biases: [usize; 2], normalized: bool) -> Built {
    let x = cx.operand(0)?;
    let (dtype, shape) = (cx.dtype(x), cx.shape(x));
    let Some((width, rows)) = shape.split_last() else { return invalid("a scalar has no tokens") };
    let tokens = cx.reshape(x, vec![Dim::ONE, Dim::product(rows), width.clone()])?;
    let [first, second] = layers.map(|w| cx.cast(w, dtype));
    let hidden = layer(cx, tokens, first?, biases[0])?;
    let hidden = activated(cx, hidden)?;
    let all = layer(cx, hidden, second?, biases[1])?;
    let routed = routed(cx, normalized)?;
    let routed = cx.cast(routed, DType::F32)?;
    let routed = cx.transpose(routed, &[1, 0])?;
    let routed = cx.unsqueeze(routed, &[2])?;
    let all = cx.cast(all, DType::F32)?;
    let weighted = cx.times(all, routed)?;
    let sum = cx.reduce_sum(weighted, &[0])?;
    let sum = cx.cast(sum, dtype)?;
    cx.reshape(sum, shape)
}
