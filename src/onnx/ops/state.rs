//! Operators that carry a state from one call to the next: linear attention, causal convolution.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, many};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::Dim;

pub(super) const ROWS: &[Row] =
    &[many("CausalConvWithState", 27, causal_conv), many("LinearAttention", 27, linear_attention)];

/// A depthwise convolution that sees what came before; the state is the end of what it has seen.
fn causal_conv(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, w, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let (x, w) = (cx.ranked(x, 3)?, cx.ranked(w, 3)?);
    let Some(k) = cx.shape(w)[2].known().filter(|&k| k >= 1) else {
        return unsupported("a kernel of symbolic size");
    };
    let Some(group) = cx.shape(w)[0].known() else { return unsupported("a symbolic number of channels") };
    let seen = match cx.operand_if(3)? {
        Some(past) => cx.concat(&[past, x], 2)?,
        None => {
            let mut before = vec![Dim::ZERO; 3];
            before[2] = Dim::from(k - 1);
            let zero = cx.like(x, 0.0);
            cx.add(Op::Pad { before, after: vec![Dim::ZERO; 3], mode: Default::default() }, &[x, zero])?
        }
    };
    let operands: Vec<Value> = [seen, w].into_iter().chain(bias).collect();
    let op = Op::Conv { strides: vec![1], pads: vec![0, 0], dilations: vec![1], group };
    let y = cx.add(op, &operands)?;
    let y = match cx.string("activation", "none")?.as_str() {
        "none" | "" => y,
        "silu" | "swish" => cx.add(Op::Silu { alpha: 1.0 }, &[y])?,
        other => return invalid(format!("unknown activation `{other}`")),
    };
    let length = cx.shape(x)[2].clone();
    let state = cx.slice_axis(seen, 2, length, Dim::from(k - 1), 1)?;
    Ok(vec![y, state])
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

fn linear_attention(cx: &mut Context) -> Built<Vec<Value>> {
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
