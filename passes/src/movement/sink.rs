//! Rewrites that need more than a rule: expansions that broadcasting makes needless, concatenations, and
//! reshapes that move down.
use crate::Options;
use sardonyx_ir::ops::{Infer, Op};
use sardonyx_ir::{Graph, NodeId, Origin, Type, Value};
use sardonyx_tensor::Dim;

pub(super) const NAMES: &[&str] = &[
    "needless_expand",
    "concat_one",
    "concat_concat",
    "concat_slices",
    "reshape_back",
    "reshape_down",
    "flat_matmul",
];

/// Looks at every node once; says whether anything changed.
pub(super) fn run(g: &mut Graph, options: &Options) -> bool {
    let before = options.trace.len();
    for id in g.order() {
        while g.contains(id) && options.trace.permits() {
            let Some(rule) = step(g, id) else { break };
            options.trace.made(rule, g.node(id).origin.clone());
            g.prune(id);
        }
    }
    options.trace.len() > before
}

fn step(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let op = g.node(id).op.clone();
    match &op {
        _ if op.row().pointwise => {
            needless_expand(g, id).or_else(|| back(g, id)).or_else(|| reshape_down(g, id, &op))
        }
        Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::LayerNorm { .. } | Op::RmsNorm { .. } => {
            rows_down(g, id, &op)
        }
        Op::Matmul { .. } => needless_expand(g, id).or_else(|| flat_matmul(g, id)),
        Op::Concat { axis } => concat(g, id, *axis),
        _ => None,
    }
}

/// Operands that are expanded to what broadcasting does anyway.
fn needless_expand(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let operands: Vec<Value> = g.operands(id).collect();
    for (i, v) in operands.into_iter().enumerate() {
        if !matches!(g.op(v), Op::Expand { .. }) {
            continue;
        }
        let source = g.operand(v.node, 0);
        let mut types: Vec<Type> = g.operands(id).map(|v| g.ty(v).clone()).collect();
        types[i] = g.ty(source).clone();
        if g.node(id).op.infer(&mut Infer::new(&types)).is_ok_and(|r| r[0] == g.node(id).types[0]) {
            g.set_operand(id, i, source);
            g.prune(v.node);
            return Some("needless_expand");
        }
    }
    None
}

/// Adds the op of `id` on other operands, and after it the reshape that stood before it. Each keeps its own
/// origin: a reshape that moves far down does not gather what it passes.
fn put(g: &mut Graph, id: NodeId, op: Op, operands: &[Value], reshape: Value) -> Value {
    let shape = g.node(id).types[0].shape.clone();
    g.origin = g.node(id).origin.clone();
    let new = g.add(op, operands).expect("moved reshapes should fit");
    g.origin = g.node(reshape.node).origin.clone();
    g.add(Op::Reshape { shape }, &[new]).expect("as many elements as before")
}

/// The value that `v` is a reshape of, through reshapes of reshapes.
fn unshaped(g: &Graph, mut v: Value) -> Value {
    while matches!(g.op(v), Op::Reshape { .. }) {
        v = g.operand(v.node, 0);
    }
    v
}

/// An operand that is reshaped there and back is what it was before.
fn back(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let operands: Vec<Value> = g.operands(id).collect();
    let (i, v) = operands.into_iter().enumerate().find(|&(_, v)| {
        let x = unshaped(g, v);
        x != v && g.ty(x) == g.ty(v)
    })?;
    let x = unshaped(g, v);
    g.set_operand(id, i, x);
    g.prune(v.node);
    Some("reshape_back")
}

/// `f(reshape(x), y)` becomes `reshape(f(x, y'))`, where `y'` needs no elements to move.
fn reshape_down(g: &mut Graph, id: NodeId, op: &Op) -> Option<&'static str> {
    let result = Value { node: id, port: 0 };
    let shape = g.ty(result).shape.clone();
    let reshaped = |g: &Graph, v: Value| {
        let is = matches!(g.op(v), Op::Reshape { .. }) && g.ty(v).shape == shape;
        is.then(|| unshaped(g, v))
    };
    let operands: Vec<Value> = g.operands(id).collect();
    let alone = |&v: &Value| reshaped(g, v).is_some() && g.use_count(v) == uses(&operands, v);
    let reshape = operands.iter().copied().find(alone)?;
    let source = unshaped(g, reshape);
    let from = g.ty(source).shape.clone();
    let kept = shape.iter().rev().zip(from.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut moved = Vec::with_capacity(operands.len());
    for &v in &operands {
        let ty = g.ty(v);
        let bare: Vec<Dim> = ty.shape.iter().skip_while(|d| **d == Dim::ONE).cloned().collect();
        moved.push(match reshaped(g, v) {
            Some(x) if g.ty(x).shape == from => x,
            _ if ty.rank() <= kept || ty.rank() == 0 => v,
            _ => {
                let short = (bare.len() <= kept && bare.len() < shape.len()).then_some(bare);
                let shape = short.or_else(|| squeezed(&ty.shape, &shape, &from))?;
                g.origin = g.node(v.node).origin.clone();
                g.add(Op::Reshape { shape }, &[v]).ok()?
            }
        });
    }
    let new = put(g, id, op.clone(), &moved, reshape);
    g.replace(result, new);
    Some("reshape_down")
}

/// An op over the last axis, which a reshape before it leaves alone, goes before the reshape.
fn rows_down(g: &mut Graph, id: NodeId, op: &Op) -> Option<&'static str> {
    let mut operands: Vec<Value> = g.operands(id).collect();
    let reshaped = operands[0];
    if !matches!(g.op(reshaped), Op::Reshape { .. }) || g.use_count(reshaped) != 1 {
        return None;
    }
    let shape = g.ty(reshaped).shape.clone();
    let source = g.operand(reshaped.node, 0);
    let (rank, from) = (shape.len(), g.ty(source).rank());
    let mut op = op.clone();
    let last = match &mut op {
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            let last = g.ty(reshaped).axis(*axis) == Ok(rank - 1);
            *axis = from as i64 - 1;
            last
        }
        Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => *axes == 1,
        _ => false,
    };
    if !last || from == 0 || g.ty(source).shape.last() != shape.last() {
        return None;
    }
    operands[0] = source;
    let result = Value { node: id, port: 0 };
    let new = put(g, id, op, &operands, reshaped);
    g.replace(result, new);
    Some("reshape_down")
}

/// The shape that broadcasts to `from` as `operand` does to `shape`, where those two differ by axes of 1.
/// `None` where an operand of that many elements would rather be moved itself.
fn squeezed(operand: &[Dim], shape: &[Dim], from: &[Dim]) -> Option<Vec<Dim>> {
    let wide = |dims: &[Dim]| dims.iter().filter(|d| **d != Dim::ONE).cloned().collect::<Vec<_>>();
    if wide(shape) != wide(from) || operand == shape {
        return None;
    }
    let missing = shape.len() - operand.len();
    let aligned = |i: usize| if i < missing { Dim::ONE } else { operand[i - missing].clone() };
    let mut kept = (0..shape.len()).filter(|&i| shape[i] != Dim::ONE).map(aligned);
    from.iter().map(|d| if *d == Dim::ONE { Some(Dim::ONE) } else { kept.next() }).collect()
}

/// How often a value stands in a list.
fn uses(list: &[Value], v: Value) -> usize {
    list.iter().filter(|&&o| o == v).count()
}

/// `matmul(reshape(x), w)` of rows that were flattened is the product with the rows as they were.
fn flat_matmul(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let (a, w) = (g.operand(id, 0), g.operand(id, 1));
    if !matches!(g.op(a), Op::Reshape { .. }) || g.ty(w).rank() != 2 || g.ty(a).rank() != 2 {
        return None;
    }
    let x = g.operand(a.node, 0);
    if g.ty(x).rank() < 3 || g.ty(x).shape.last() != g.ty(a).shape.last() {
        return None;
    }
    let result = Value { node: id, port: 0 };
    let new = put(g, id, Op::Matmul {}, &[x, w], a);
    g.replace(result, new);
    Some("flat_matmul")
}

fn concat(g: &mut Graph, id: NodeId, axis: i64) -> Option<&'static str> {
    let result = Value { node: id, port: 0 };
    let axis = g.ty(result).axis(axis).ok()?;
    let operands: Vec<Value> = g.operands(id).filter(|&v| g.ty(v).shape[axis] != Dim::ZERO).collect();
    if let [only] = operands[..]
        && g.ty(only) == g.ty(result)
    {
        g.replace(result, only);
        return Some("concat_one");
    }
    let flat: Vec<Value> = operands.iter().flat_map(|&v| parts(g, v, axis)).collect();
    if flat.len() > operands.len() {
        return again(g, id, axis, &flat, "concat_concat");
    }
    let merged = merged(g, axis, &operands)?;
    again(g, id, axis, &merged, "concat_slices")
}

/// The operands of a concat over the same axis that nothing else uses, or the value itself.
fn parts(g: &Graph, v: Value, axis: usize) -> Vec<Value> {
    match g.op(v) {
        Op::Concat { axis: inner } if g.ty(v).axis(*inner) == Ok(axis) && g.use_count(v) == 1 => {
            g.operands(v.node).collect()
        }
        _ => vec![v],
    }
}

fn again(
    g: &mut Graph,
    id: NodeId,
    axis: usize,
    operands: &[Value],
    rule: &'static str,
) -> Option<&'static str> {
    let result = Value { node: id, port: 0 };
    g.origin = g.node(id).origin.clone();
    let new = g.add(Op::Concat { axis: axis as i64 }, operands).ok()?;
    if g.ty(new) != g.ty(result) {
        g.prune(new.node);
        return None;
    }
    g.replace(result, new);
    Some(rule)
}

/// The operands with two neighbouring slices of one value as one slice.
fn merged(g: &mut Graph, axis: usize, operands: &[Value]) -> Option<Vec<Value>> {
    let (at, source, op) = (1..operands.len()).find_map(|i| {
        let (a, b) = (operands[i - 1], operands[i]);
        let Op::Slice { starts, sizes, steps } = g.op(a) else { return None };
        let Op::Slice { starts: next, sizes: more, steps: other } = g.op(b) else { return None };
        let source = g.operand(a.node, 0);
        let mut expected = starts.clone();
        expected[axis] = &starts[axis] + &sizes[axis];
        let follows =
            source == g.operand(b.node, 0) && steps == other && steps[axis] == 1 && *next == expected;
        let mut sizes = sizes.clone();
        sizes[axis] = &sizes[axis] + &more[axis];
        let whole = Op::Slice { starts: starts.clone(), sizes, steps: steps.clone() };
        follows.then_some((i, source, whole))
    })?;
    g.origin = Origin::union([operands[at - 1], operands[at]].iter().map(|v| &g.node(v.node).origin));
    let slice = g.add(op, &[source]).ok()?;
    let mut all = operands.to_vec();
    all.splice(at - 1..=at, [slice]);
    Some(all)
}
