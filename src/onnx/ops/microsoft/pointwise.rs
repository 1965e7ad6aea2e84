//! Activations, with and without a bias before them, and other pointwise operators.
use super::super::super::context::{Built, Context};
use super::super::super::error::invalid;
use super::super::Row;
use super::{many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("BiasAdd", bias_add),
    one("BiasGelu", |cx| {
        let (x, bias) = (cx.operand(0)?, cx.operand(1)?);
        let x = cx.plus(x, bias)?;
        cx.add(Op::Gelu {}, &[x])
    }),
    one("BiasSplitGelu", bias_split_gelu),
    one("FastGelu", |cx| {
        let (x, bias) = (cx.operand(0)?, cx.operand_if(1)?);
        let x = bias.map_or(Ok(x), |bias| cx.plus(x, bias))?;
        cx.add(Op::GeluTanh {}, &[x])
    }),
    one("GatedAdd", |cx| {
        let (x, y, gate) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
        let scaled = cx.times(y, gate)?;
        cx.plus(x, scaled)
    }),
    one("Gelu", |cx| cx.on_first(Op::Gelu {})),
    many("LinearAttentionGate", linear_attention_gate),
    one("QuickGelu", |cx| {
        let alpha = cx.float("alpha", 1.702)?;
        cx.on_first(Op::Silu { alpha })
    }),
    one("SampleOp", |cx| cx.operand(0)),
    one("ScaledSiLU", scaled_silu),
];

/// `x + bias + skip`.
fn bias_add(cx: &mut Context) -> Built {
    let (x, bias, skip) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let x = cx.plus(x, bias)?;
    cx.plus(x, skip)
}

/// The halves of `x + bias` along the last axis: the first times the GELU of the second.
fn bias_split_gelu(cx: &mut Context) -> Built {
    let (x, bias) = (cx.operand(0)?, cx.operand(1)?);
    let x = cx.plus(x, bias)?;
    let (left, right) = halves(cx, x)?;
    let gate = cx.add(Op::Gelu {}, &[right])?;
    cx.times(left, gate)
}

/// The halves of the last axis.
pub(super) fn halves(cx: &mut Context, x: Value) -> Built<(Value, Value)> {
    let Some(last) = cx.rank(x).checked_sub(1) else { return invalid("a scalar has no halves") };
    let half =
        cx.shape(x)[last].exact_div(&Dim::from(2)).ok_or("the last axis does not divide into halves")?;
    let left = cx.slice_axis(x, last, Dim::ZERO, half.clone(), 1)?;
    Ok((left, cx.slice_axis(x, last, half.clone(), half, 1)?))
}

/// `decay_scale * softplus(a + dt_bias)`, and the sigmoid of `b`.
fn linear_attention_gate(cx: &mut Context) -> Built<Vec<Value>> {
    let (a, bias, scale, b) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?, cx.operand_if(3)?);
    let dtype = cx.dtype(a);
    let wide = cx.cast(a, DType::F32)?;
    let moved = cx.plus(wide, bias)?;
    let soft = cx.add(Op::Softplus {}, &[moved])?;
    let decay = cx.times(soft, scale)?;
    let mut results = vec![cx.cast(decay, dtype)?];
    if let Some(b) = b {
        results.push(cx.add(Op::Sigmoid {}, &[b])?);
    }
    Ok(results)
}

/// SiLU of `x` times a scalar operand, or times `alpha`.
fn scaled_silu(cx: &mut Context) -> Built {
    let (x, scale) = (cx.operand(0)?, cx.operand_if(1)?);
    let x = match scale {
        Some(scale) => {
            let (scale, to) = (cx.as_scalar(scale)?, cx.dtype(x));
            let (scale, wide) = (cx.cast(scale, DType::F32)?, cx.cast(x, DType::F32)?);
            let scaled = cx.times(wide, scale)?;
            cx.cast(scaled, to)?
        }
        None => {
            let alpha = cx.float("alpha", 1.0)?;
            cx.times_number(x, alpha)?
        }
    };
    cx.add(Op::Silu { alpha: 1.0 }, &[x])
}
