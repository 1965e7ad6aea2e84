//! What is known at compile time is computed: by the reference interpreter where operands are constants,
//! and through facts where integers are known symbolically.
//!
//! ```text
//! graph(%x: f32[b,4]) {
//!   %0 = const [1, 2] : i64[2]              %0 = const [2, 4] : i64[2]
//!   %1 = mul(%0, 2:i64)               →     %1 = dims() {values=[b]}
//!   %2 = dims() {values=[b, 4]}
//!   %3 = slice(%2) {starts=[0], sizes=[1], steps=[1]}
//! ```
//! A constant of equal elements becomes a scalar where a pointwise op broadcasts it all the same. Expanded
//! constants stay expressions: they would only take memory.
use crate::Options;
use crate::pattern::uniform;
use sardonyx_ir::ops::{Infer, Op};
use sardonyx_ir::{Graph, NodeId, Type, Value, interp};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(crate) const NAMES: &[&str] = &["constant", "known", "dims", "uniform"];

/// Results of moving or pointwise ops may have this many elements.
const MAX_MOVED: usize = 1 << 28;
/// Results and operands of other ops may have this many elements.
const MAX_COMPUTED: usize = 1 << 20;
/// Results of up to this many elements may be larger than all operands together.
const MAX_GROWN: usize = 1 << 12;

pub(crate) fn run(g: &mut Graph, options: &Options) {
    for id in g.order() {
        if !options.trace.permits() {
            return;
        }
        let rule = by_facts(g, id).or_else(|| by_evaluation(g, id)).or_else(|| uniform_operands(g, id));
        if let Some(rule) = rule {
            options.trace.made(rule, g.node(id).origin.clone());
        }
    }
}

/// Replaces integers that are known, symbolically or as numbers.
fn by_facts(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let v = Value { node: id, port: 0 };
    if matches!(g.op(v), Op::Const { .. } | Op::Input { .. } | Op::Dims { .. } | Op::Bind { .. })
        || is_dims(g, v)
    {
        return None;
    }
    let (ty, fact) = (g.ty(v).clone(), g.fact(v)?.clone());
    let sizes = ty.sizes()?;
    g.origin = g.node(id).origin.clone();
    if let Some(known) = fact.iter().map(Dim::known).collect::<Option<Vec<i64>>>() {
        let known: Vec<i128> = known.into_iter().map(i128::from).collect();
        let new = g.constant(Tensor::from_i128s(ty.dtype, sizes, known));
        g.replace(v, new);
        return Some("known");
    }
    if ty.dtype != DType::I64 {
        return None;
    }
    let mut new = g.add(Op::Dims { values: fact }, &[]).expect("dims should take any values");
    if ty.rank() != 1 {
        new = g.add(Op::Reshape { shape: ty.shape }, &[new]).expect("as many elements as before");
    }
    g.replace(v, new);
    Some("dims")
}

/// Whether a value is symbolic dimensions in another shape.
fn is_dims(g: &Graph, v: Value) -> bool {
    matches!(g.op(v), Op::Reshape { .. }) && matches!(g.op(g.operand(v.node, 0)), Op::Dims { .. })
}

/// Evaluates a node whose operands are constants.
fn by_evaluation(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    let op = g.node(id).op.clone();
    if matches!(op, Op::Const { .. } | Op::Input { .. } | Op::Dims { .. } | Op::Bind { .. })
        || !op.regions().is_empty()
        || op.name().starts_with("random")
    {
        return None;
    }
    let operands: Vec<Tensor> = g.operands(id).map(|v| g.const_value(v).cloned()).collect::<Option<_>>()?;
    let sizes: Vec<Vec<usize>> = g.node(id).types.iter().map(Type::sizes).collect::<Option<_>>()?;
    let mut known = true;
    op.clone().map_dims(&mut |d| {
        known &= d.is_known();
        d.clone()
    });
    if !known || !worthwhile(&op, &operands, &sizes) {
        return None;
    }
    let results = interp::eval_op(&op, &operands).ok()?;
    if results.iter().any(|t| t.dtype() == DType::List) {
        return None;
    }
    g.origin = g.node(id).origin.clone();
    for (port, t) in results.into_iter().enumerate() {
        let new = g.constant(t);
        g.replace(Value { node: id, port: 0 }.port(port), new);
    }
    Some("constant")
}

fn worthwhile(op: &Op, operands: &[Tensor], results: &[Vec<usize>]) -> bool {
    let elements =
        |shape: &[usize]| shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).unwrap_or(usize::MAX);
    let result = results.iter().map(|s| elements(s)).max().unwrap_or(0);
    let given = operands.iter().map(Tensor::len).max().unwrap_or(0);
    let grows = result > MAX_GROWN && result > operands.iter().map(Tensor::len).sum();
    let cheap = op.row().pointwise || op.moved_operands(operands.len()).is_some();
    !grows && result.max(given) <= if cheap { MAX_MOVED } else { MAX_COMPUTED }
}

/// Makes scalars of constant operands of pointwise ops whose elements are all equal.
fn uniform_operands(g: &mut Graph, id: NodeId) -> Option<&'static str> {
    if !g.node(id).op.row().pointwise {
        return None;
    }
    let operands: Vec<Value> = g.operands(id).collect();
    let mut made = None;
    for (i, &v) in operands.iter().enumerate() {
        let Some(t) = g.const_value(v).filter(|t| t.rank() > 0 && !t.is_empty()) else { continue };
        let mut types: Vec<Type> = g.operands(id).map(|v| g.ty(v).clone()).collect();
        types[i].shape.clear();
        let same = g.node(id).op.infer(&mut Infer::new(&types)).is_ok_and(|r| r[0] == g.node(id).types[0]);
        if !same || uniform(t).is_none() {
            continue;
        }
        let scalar =
            Tensor::new(t.dtype(), [], &t.bytes()[..t.dtype().size()]).expect("the bytes of one element");
        g.origin = g.node(v.node).origin.clone();
        let scalar = g.constant(scalar);
        g.set_operand(id, i, scalar);
        made = Some("uniform");
    }
    made
}
