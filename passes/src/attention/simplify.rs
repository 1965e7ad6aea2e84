//! What an attention op can do itself: scales, heads that share keys and values, broadcasting and causal
//! masks.
use super::band::{Band, band, band_of_numbers};
use super::scores::{HIDDEN, unscaled};
use crate::Options;
use crate::pattern::{number, uniform};
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::equal_dims;
use sardonyx_ir::{Graph, NodeId, Origin, Value};
use sardonyx_tensor::Dim;

pub(super) fn run(g: &mut Graph, options: &Options) {
    for id in g.order() {
        let mut at = Some(id);
        while let Some(id) = at.filter(|_| options.trace.permits()) {
            at = step(g, id, options);
        }
    }
}

/// An attention op, taken apart.
struct Attention {
    scale: f64,
    causal: bool,
    softcap: f64,
    operands: Vec<Value>,
}

/// Simplifies an attention op once; the new node.
fn step(g: &mut Graph, id: NodeId, options: &Options) -> Option<NodeId> {
    let Op::Attention { scale, causal, softcap } = g.node(id).op else { return None };
    let operands: Vec<Value> = g.operands(id).collect();
    let mut a = Attention { scale, causal, softcap, operands };
    g.origin = g.node(id).origin.clone();
    let rule = scaled(g, &mut a).or_else(|| grouped(g, &mut a)).or_else(|| mask(g, &mut a))?;
    let removed = g.operands(id).filter(|v| !a.operands.contains(v)).map(|v| v.node);
    let origin = Origin::union(removed.chain([id]).map(|n| &g.node(n).origin));
    g.origin = origin.clone();
    let op = Op::Attention { scale: a.scale, causal: a.causal, softcap: a.softcap };
    let new = g.add(op, &a.operands).expect("a simpler attention should be well typed");
    let old = Value { node: id, port: 0 };
    assert_eq!(g.ty(new), g.ty(old), "bug: {rule} changes the type");
    g.replace(old, new);
    g.prune(id);
    options.trace.made(rule, origin);
    Some(new.node)
}

/// Queries or keys that are multiplied by a number.
fn scaled(g: &Graph, a: &mut Attention) -> Option<&'static str> {
    let i = (0..2).find(|&i| unscaled(g, a.operands[i]).0 != a.operands[i])?;
    let (x, c) = unscaled(g, a.operands[i]);
    a.operands[i] = x;
    a.scale *= c;
    Some("attention_scale")
}

/// Keys and values whose heads are repeated.
fn grouped(g: &mut Graph, a: &mut Attention) -> Option<&'static str> {
    let (k, v) = (repeated(g, a.operands[1])?, repeated(g, a.operands[2])?);
    if k.groups != v.groups {
        return None;
    }
    a.operands[1] = k.once(g);
    a.operands[2] = v.once(g);
    Some("grouped_heads")
}

/// Heads that are each repeated so that there are `[b, h, …]` of them.
struct Repeated {
    source: Value,
    groups: Dim,
    /// The shape without repetition, before the transpose.
    shape: Vec<Dim>,
    transposed: bool,
}

impl Repeated {
    fn once(self, g: &mut Graph) -> Value {
        let mut v = self.source;
        if g.ty(v).shape != self.shape {
            v = g.add(Op::Reshape { shape: self.shape }, &[v]).expect("an axis of 1 should go");
        }
        if self.transposed {
            v = g.add(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[v]).expect("four axes");
        }
        v
    }
}

fn repeated(g: &Graph, v: Value) -> Option<Repeated> {
    let (inner, axis, transposed) = match g.op(v) {
        Op::Transpose { perm } if *perm == [0, 2, 1, 3] => (g.operand(v.node, 0), 2, true),
        _ => (v, 1, false),
    };
    let shape = &g.ty(inner).shape;
    let (source, once) = match g.op(inner) {
        Op::Expand { .. } => {
            let source = g.operand(inner.node, 0);
            let own = &g.ty(source).shape;
            let one = own.len() == 4 && own[axis] == Dim::ONE && shape[axis] != Dim::ONE;
            (one && others_equal(own, shape, axis)).then(|| (source, own.clone()))?
        }
        Op::Reshape { .. } => {
            let wide = g.operand(inner.node, 0);
            let Op::Expand { shape: expanded } = g.op(wide) else { return None };
            let source = g.operand(wide.node, 0);
            let own = &g.ty(source).shape;
            let inserted = expanded.len() == 5 && own.len() == 5 && own[axis + 1] == Dim::ONE;
            if !inserted || !others_equal(own, expanded, axis + 1) {
                return None;
            }
            let mut once = own.clone();
            once.remove(axis + 1);
            others_equal(&once, shape, axis).then_some((source, once))?
        }
        _ => return None,
    };
    let (heads, groups) = (shape[axis].known()?, once[axis].known()?);
    (heads % groups == 0).then(|| Repeated { source, groups: groups.into(), shape: once, transposed })
}

/// Whether shapes are equal in all axes but one.
fn others_equal(a: &[Dim], b: &[Dim], axis: usize) -> bool {
    a.len() == b.len() && (0..a.len()).all(|i| i == axis || a[i] == b[i])
}

fn mask(g: &mut Graph, a: &mut Attention) -> Option<&'static str> {
    let mask = *a.operands.get(3)?;
    if let Op::Expand { .. } = g.op(mask) {
        a.operands[3] = g.operand(mask.node, 0);
        return Some("mask_expand");
    }
    if let Some(inner) = only_leading_ones(g, mask) {
        a.operands[3] = inner;
        return Some("mask_reshape");
    }
    let nothing = if g.ty(mask).dtype.is_float() { 0.0 } else { 1.0 };
    if g.const_value(mask).and_then(uniform) == Some(nothing) {
        a.operands.truncate(3);
        return Some("mask_none");
    }
    if let Some(rest) = causal(g, a, mask) {
        a.causal = true;
        a.operands.truncate(3);
        a.operands.extend(rest);
        return Some("causal");
    }
    a.operands[3] = as_bool(g, mask, f64::NEG_INFINITY)?.made(g);
    Some("mask_bool")
}

/// What a reshape puts axes of 1 in front of: masks broadcast without them.
fn only_leading_ones(g: &Graph, mask: Value) -> Option<Value> {
    let Op::Reshape { .. } = g.op(mask) else { return None };
    let inner = g.operand(mask.node, 0);
    let (wide, own) = (&g.ty(mask).shape, &g.ty(inner).shape);
    let more = wide.len().checked_sub(own.len())?;
    (wide[..more].iter().all(|d| *d == Dim::ONE) && wide[more..] == own[..]).then_some(inner)
}

/// A condition or its opposite.
#[derive(Clone, Copy)]
struct Condition {
    value: Value,
    negated: bool,
}

impl Condition {
    fn made(self, g: &mut Graph) -> Value {
        match self.negated {
            true => g.add(Op::Not {}, &[self.value]).expect("a bool"),
            false => self.value,
        }
    }
}

/// The condition of a float mask that is 0 where it holds and at most `hidden` elsewhere.
fn as_bool(g: &Graph, mask: Value, hidden: f64) -> Option<Condition> {
    let Op::Select {} = g.op(mask) else { return None };
    let [value, a, b] = [0, 1, 2].map(|i| g.operand(mask.node, i));
    let negated = match (number(g, a)?, number(g, b)?) {
        (0.0, x) if x <= hidden => false,
        (x, 0.0) if x <= hidden => true,
        _ => return None,
    };
    Some(Condition { value, negated })
}

/// If the mask hides the keys after the query, what else it hides.
fn causal(g: &Graph, a: &Attention, mask: Value) -> Option<Option<Value>> {
    let (s, t) = (&g.ty(a.operands[0]).shape[2], &g.ty(a.operands[1]).shape[2]);
    let is_limit = |found: Option<Band>, v: Value, negated: bool| {
        let Some(Band { lower, offset }) = found else { return false };
        let size = &g.ty(v).shape;
        let whole = size.len() >= 2
            && equal_dims(g, &size[size.len() - 2], s)
            && equal_dims(g, &size[size.len() - 1], t);
        lower != negated && whole && equal_dims(g, &(offset + s), t)
    };
    let is_causal = |v: Value, negated: bool| is_limit(band(g, v), v, negated);
    if g.ty(mask).dtype.is_float() {
        // A number that is not `-inf` hides as well where a query sees at least one key.
        let sees = (t - s).provably_ge(0);
        let hidden = if sees { HIDDEN } else { f64::NEG_INFINITY };
        if let Some(tensor) = g.const_value(mask) {
            return is_limit(band_of_numbers(tensor, hidden), mask, false).then_some(None);
        }
        let c = as_bool(g, mask, hidden)?;
        return is_causal(c.value, c.negated).then_some(None);
    }
    if is_causal(mask, false) {
        return Some(None);
    }
    let Op::And {} = g.op(mask) else { return None };
    let [x, y] = [0, 1].map(|i| g.operand(mask.node, i));
    match () {
        _ if is_causal(x, false) => Some(Some(y)),
        _ if is_causal(y, false) => Some(Some(x)),
        _ => None,
    }
}
