//! Operators that carry a state from one call to the next: linear attention, causal convolution.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, many};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::Dim;

pub(super) const ROWS: &[Row] =
    &[many("CausalConvWithState", 27, causal_conv), many("LinearAttention", 27, linear_attention)];

/// Fails where the states of several steps are kept.
fn one_state(cx: &Context) -> Built<()> {
    if cx.int("state_window", 0)? == 0 { Ok(()) } else { unsupported("a window of states") }
}

/// `[b, t, channels…]` as `[b, channels, t]`.
fn channels_first(cx: &mut Context, x: Value) -> Built {
    let shape = cx.shape(x);
    if shape.len() < 3 {
        return invalid(format!("{} has no channels", cx.ty(x)));
    }
    let x = cx.reshape(x, vec![shape[0].clone(), shape[1].clone(), Dim::product(&shape[2..])])?;
    cx.transpose(x, &[0, 2, 1])
}

/// A depthwise convolution that sees what came before; the state is the end of what it has seen.
pub(super) fn causal_conv(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, w, bias, past) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?, cx.operand_if(3)?);
    one_state(cx)?;
    if cx.int("ndim", 1)? != 1 {
        return unsupported("more than one axis of positions");
    }
    let last = cx.flag("channels_last", false)?;
    let (given, w) = (x, cx.ranked(w, 3)?);
    let x = if last { channels_first(cx, x)? } else { cx.ranked(x, 3)? };
    let past = match past {
        Some(past) if last => Some(channels_first(cx, past)?),
        past => past,
    };
    let dilation = cx.int("dilation", 1)?;
    if !(1..1 << 20).contains(&dilation) {
        return invalid(format!("dilation {dilation}"));
    }
    let Some(k) = cx.shape(w)[2].known().filter(|&k| k >= 1) else {
        return unsupported("a kernel of symbolic size");
    };
    let Some(group) = cx.shape(w)[0].known() else { return unsupported("a symbolic number of channels") };
    let before_first = (k - 1) * dilation;
    let seen = match past {
        Some(past) => cx.concat(&[past, x], 2)?,
        None => {
            let mut before = vec![Dim::ZERO; 3];
            before[2] = Dim::from(before_first);
            let zero = cx.like(x, 0.0);
            cx.add(Op::Pad { before, after: vec![Dim::ZERO; 3], mode: Default::default() }, &[x, zero])?
        }
    };
    let operands: Vec<Value> = [seen, w].into_iter().chain(bias).collect();
    let op = Op::Conv { strides: vec![1], pads: vec![0, 0], dilations: vec![dilation], group };
    let y = cx.add(op, &operands)?;
    let y = match cx.string("activation", "none")?.as_str() {
        "none" | "" => y,
        "silu" | "swish" => cx.add(Op::Silu { alpha: 1.0 }, &[y])?,
        other => return invalid(format!("unknown activation `{other}`")),
    };
    let length = cx.shape(x)[2].clone();
    let state = cx.slice_axis(seen, 2, length, Dim::from(before_first), 1)?;
    if !last {
        return Ok(vec![y, state]);
    }
    let mut results = Vec::new();
    for v in [y, state] {
        let mut shape = cx.shape(given);
        shape[1] = cx.shape(v)[2].clone();
        let v = cx.transpose(v, &[0, 2, 1])?;
        results.push(cx.reshape(v, shape)?);
    }
    Ok(results)
}

/// `[b, t, heads * width]` as `[b, t, heads, width]`.
fn heads(cx: &mut Context, x: Value, heads: i64) -> Built {
    let shape = cx.shape(x);
    if shape.len() != 3 || heads < 1 {
        return invalid(format!("{heads} heads in {}", cx.ty(x)));
    }
    let width =
        shape[2].exact_div(&Dim::from(heads)).ok_or_else(|| format!("{} in {heads} heads", shape[2]))?;
    cx.reshape(x, vec![shape[0].clone(), shape[1].clone(), Dim::from(heads), width])
}

pub(super) fn linear_attention(cx: &mut Context) -> Built<Vec<Value>> {
    one_state(cx)?;
    let (q, k, v) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (q_heads, kv_heads) = (cx.int("q_num_heads", 0)?, cx.int("kv_num_heads", 0)?);
    let (q, k, v) = (heads(cx, q, q_heads)?, heads(cx, k, kv_heads)?, heads(cx, v, kv_heads)?);
    let (gated, delta) = match cx.string("update_rule", "gated_delta")?.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return invalid(format!("unknown update_rule `{other}`")),
    };
    let (shape, width) = (cx.shape(k), cx.shape(v)[3].clone());
    let scale = match (cx.float("scale", 0.0)?, shape[3].known()) {
        (0.0, Some(d)) => 1.0 / (d.max(1) as f64).sqrt(),
        (0.0, None) => return unsupported("heads of symbolic width without a scale"),
        (scale, _) => scale,
    };
    let state = match cx.operand_if(3)? {
        Some(state) => state,
        None => {
            let zero = cx.like(q, 0.0);
            cx.expand(zero, vec![shape[0].clone(), shape[2].clone(), shape[3].clone(), width])?
        }
    };
    let mut operands = vec![q, k, v, state];
    let gates = [shape[0].clone(), shape[1].clone(), shape[2].clone(), Dim::ONE];
    if gated {
        let decay = cx.operand(4)?;
        operands.push(heads(cx, decay, kv_heads)?);
    } else if delta {
        let zero = cx.like(q, 0.0);
        operands.push(cx.expand(zero, gates.to_vec())?);
    }
    if delta {
        let beta = cx.operand(5)?;
        let beta = cx.ranked(beta, 3)?;
        let beta = cx.unsqueeze(beta, &[3])?;
        operands.push(cx.expand(beta, gates.to_vec())?);
    }
    let y = cx.add(Op::LinearAttention { delta, scale }, &operands)?;
    let out = cx.shape(y);
    let rows = cx.reshape(y, vec![out[0].clone(), out[1].clone(), &out[2] * &out[3]])?;
    Ok(vec![rows, y.port(1)])
}
