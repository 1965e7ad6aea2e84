//! Dimensions that are required to be equal get one form, so that types which are equal look equal.
//!
//! ```text
//! graph(%x: f32[n,8], %y: f32[m,8]) {          graph(%x: f32[n,8], %y: f32[m,8]) {
//!   require m == n                               require m == n
//!   %0 = add(%x, %y) : f32[n,8]          →       %0 = reshape(%y) {shape=[n, 8]}
//!   %1 = exp(%y) : f32[m,8]                      %1 = add(%x, %0) : f32[n,8]
//!                                                %2 = exp(%0) : f32[n,8]
//! ```
//! Inputs and outputs keep their types, and the requirements stay: the run checks them. Symbols that the run
//! finds later than the inputs' are replaced by those of inputs, never the other way.
use crate::Options;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Type, Value};
use sardonyx_tensor::{Dim, Equalities};
use std::collections::BTreeSet;

pub(crate) const NAMES: &[&str] = &["equal_dims"];

pub(crate) fn run(g: &mut Graph, options: &Options) {
    let given: BTreeSet<String> = g
        .inputs()
        .flat_map(|v| g.ty(v).shape.iter().filter_map(Dim::as_symbol).map(str::to_string))
        .collect();
    let pairs = g.requirements().map(|r| (r.left.clone(), r.right.clone()));
    let equal = Equalities::solve(pairs, &|s| given.contains(s));
    if equal.is_empty() || !options.trace.permits() {
        return;
    }
    let Ok(new) = renamed(g, &equal) else { return };
    if !same(g, &new) {
        *g = new;
        options.trace.made(NAMES[0], Default::default());
    }
}

/// The graph with every dimension in its one form. Fails where a type rule cannot see that.
fn renamed(g: &Graph, equal: &Equalities) -> Result<Graph, String> {
    let mut new = g.rebuild(|new, _, node, operands| {
        let mut op = node.op.clone();
        let first = match &op {
            Op::Input { name } => new.input(name, node.types[0].clone()),
            _ => {
                if !gives_symbols(&op) {
                    op.map_dims(&mut |d| equal.apply(d));
                }
                if let Op::Reshape { shape } = &op
                    && *shape == new.ty(operands[0]).shape
                {
                    return Ok(operands[0]);
                }
                new.add(op, operands)?
            }
        };
        let [ty] = &new.node(first.node).types[..] else { return Ok(first) };
        let wanted = applied(ty, equal);
        match wanted == *ty {
            true => Ok(first),
            false => new.add(Op::Reshape { shape: wanted.shape }, &[first]),
        }
    })?;
    let outputs: Vec<Value> = g
        .outputs()
        .iter()
        .zip(new.outputs().to_vec())
        .map(|(&old, v)| match new.ty(v) == g.ty(old) {
            true => Ok(v),
            false => new.add(Op::Reshape { shape: g.ty(old).shape.clone() }, &[v]),
        })
        .collect::<Result<_, String>>()?;
    new.set_outputs(outputs, g.output_names().to_vec());
    g.requirements().for_each(|r| new.require(r.left.clone(), r.right.clone()));
    Ok(new)
}

/// Whether two graphs have the same ops and types.
fn same(a: &Graph, b: &Graph) -> bool {
    let lines = |g: &Graph| {
        let line = |&id: &NodeId| {
            let node = g.node(id);
            let mut text = String::from(node.op.name());
            if !matches!(node.op, Op::Const { .. }) {
                node.op.print_attributes(&mut text);
            }
            (text, node.types.clone())
        };
        g.order().iter().map(line).collect::<Vec<_>>()
    };
    lines(a) == lines(b)
}

/// Whether an op's attributes name symbols, or it has sub-graphs, which have names of their own.
fn gives_symbols(op: &Op) -> bool {
    matches!(op, Op::Bind { .. }) || op.sizes_are_found()
}

fn applied(ty: &Type, equal: &Equalities) -> Type {
    ty.with_shape(ty.shape.iter().map(|d| equal.apply(d)).collect())
}
