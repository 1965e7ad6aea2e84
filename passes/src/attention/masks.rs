//! All masks of the scores as one operand.
use super::operands::Views;
use super::scores::{Change, Mask};
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Tensor};

/// The least finite number of f32: what is added to it is lost, so that where nothing is seen, everything
/// weighs the same.
const LEAST: f64 = f32::MIN as f64;

/// What the changes add to the scores, or which scores they keep.
pub(super) fn combined(g: &mut Graph, views: &Views, masks: &[Mask]) -> Option<Value> {
    let mut made = None;
    for Mask { change, shape } in masks {
        made = match *change {
            Change::Add(v) => {
                let v = views.mask(g, v, shape);
                Some(plus(g, made, v))
            }
            Change::Keep(condition, hidden) => {
                let condition = views.mask(g, condition, shape);
                Some(kept(g, made, condition, hidden))
            }
            Change::Hide(condition, hidden) => {
                let condition = views.mask(g, condition, shape);
                let condition = add(g, Op::Not {}, &[condition]);
                Some(kept(g, made, condition, hidden))
            }
            Change::Floor(least) => made.map(|mask| {
                let mask = additive(g, mask, f64::NEG_INFINITY);
                add(g, Op::Clip { min: least, max: f64::INFINITY }, &[mask])
            }),
        };
    }
    made
}

fn add(g: &mut Graph, op: Op, operands: &[Value]) -> Value {
    g.add(op, operands).expect("masks should broadcast as the scores do")
}

fn number(g: &mut Graph, dtype: DType, x: f64) -> Value {
    g.constant(Tensor::from_f64s(dtype, [], [x]))
}

fn is_bool(g: &Graph, v: Value) -> bool {
    g.ty(v).dtype == DType::Bool
}

/// A mask as something to be added.
fn additive(g: &mut Graph, mask: Value, hidden: f64) -> Value {
    if !is_bool(g, mask) {
        return mask;
    }
    let (zero, hidden) = (number(g, DType::F32, 0.0), number(g, DType::F32, hidden));
    add(g, Op::Select {}, &[mask, zero, hidden])
}

fn plus(g: &mut Graph, mask: Option<Value>, v: Value) -> Value {
    let Some(mask) = mask else { return v };
    let hidden = g.ty(v).dtype;
    if is_bool(g, mask) {
        let hidden = number(g, hidden, f64::NEG_INFINITY);
        return add(g, Op::Select {}, &[mask, v, hidden]);
    }
    let (mask, v) = same_dtype(g, mask, v);
    add(g, Op::Add {}, &[mask, v])
}

/// Two masks in the wider of their types.
fn same_dtype(g: &mut Graph, a: Value, b: Value) -> (Value, Value) {
    let (x, y) = (g.ty(a).dtype, g.ty(b).dtype);
    match (x.size() >= y.size(), x == y) {
        (_, true) => (a, b),
        (true, _) => (a, add(g, Op::Cast { to: x }, &[b])),
        (false, _) => (add(g, Op::Cast { to: y }, &[a]), b),
    }
}

/// Scores under a mask, of which those that do not meet the condition become the number `hidden`.
fn kept(g: &mut Graph, mask: Option<Value>, condition: Value, hidden: f64) -> Value {
    if hidden == f64::NEG_INFINITY {
        return match mask {
            None => condition,
            Some(mask) if is_bool(g, mask) => add(g, Op::And {}, &[mask, condition]),
            Some(mask) => {
                let hidden = number(g, g.ty(mask).dtype, f64::NEG_INFINITY);
                add(g, Op::Select {}, &[condition, mask, hidden])
            }
        };
    }
    match mask {
        None => additive(g, condition, LEAST),
        Some(mask) => {
            let mask = additive(g, mask, f64::NEG_INFINITY);
            let least = number(g, DType::F32, LEAST);
            let (mask, least) = same_dtype(g, mask, least);
            add(g, Op::Select {}, &[condition, mask, least])
        }
    }
}
