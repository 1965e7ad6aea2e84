//! What every pass may rely on, checked after each of them.
//!
//! - Operand edges form no cycle.
//! - Every node's result types are what its op infers from its operands' types.
//! - Graph outputs and operands name results that exist.
//! - Sub-graphs hold to the same, and use nothing from outside.
//! - Every symbol in a type is named by an input's shape, by a `bind`, or as a whole dimension of a result.
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Infer, Op};
use crate::types::Type;
use std::collections::BTreeSet;

/// Checks the invariants; the text says which node breaks which.
pub fn verify(g: &Graph) -> Result<(), String> {
    if g.is_cyclic() {
        return Err("operand edges form a cycle".into());
    }
    let mut symbols: BTreeSet<String> = BTreeSet::new();
    for v in g.inputs() {
        symbols.extend(g.ty(v).shape.iter().flat_map(|d| d.symbols()));
    }
    verify_nodes(g, symbols)
}

fn verify_nodes(g: &Graph, mut symbols: BTreeSet<String>) -> Result<(), String> {
    for v in g.outputs() {
        if g.node(v.node).types.len() <= usize::from(v.port) {
            return Err(format!("an output names result {} of {}", v.port, g.op(*v).name()));
        }
    }
    for id in g.order() {
        let n = g.node(id);
        if matches!(n.op, Op::Input { .. }) {
            continue;
        }
        verify_types(g, id)?;
        if let Op::Bind { dims } = &n.op {
            symbols.extend(dims.iter().flat_map(|d| d.symbols()));
        }
        for d in n.types.iter().flat_map(|t| &t.shape) {
            symbols.extend(d.as_symbol().map(str::to_string));
            if let Some(s) = d.symbols().iter().find(|s| !symbols.contains(*s)) {
                return Err(format!("{}: nothing gives symbol {s} a value", describe(g, id)));
            }
        }
        for (name, region) in n.op.regions() {
            let mut inner = symbols.clone();
            inner.extend(region.inputs().flat_map(|v| region.ty(v).shape.iter().flat_map(|d| d.symbols())));
            if region.is_cyclic() {
                return Err(format!("{}: {name}: operand edges form a cycle", describe(g, id)));
            }
            verify_nodes(region, inner).map_err(|e| format!("{}: {name}: {e}", describe(g, id)))?;
        }
    }
    Ok(())
}

fn verify_types(g: &Graph, id: NodeId) -> Result<(), String> {
    let n = g.node(id);
    let mut operands: Vec<Type> = Vec::new();
    for v in g.operands(id) {
        let ty = g.node(v.node).types.get(usize::from(v.port));
        operands.push(ty.cloned().ok_or_else(|| format!("{}: an operand names no result", describe(g, id)))?);
    }
    let types = n.op.infer(&mut Infer::new(&operands)).map_err(|e| format!("{}: {e}", describe(g, id)))?;
    if types != n.types.to_vec() {
        let listed = |t: &[Type]| t.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "{} has type {}, should be {}",
            describe(g, id),
            listed(&n.types),
            listed(&types)
        ));
    }
    Ok(())
}

fn describe(g: &Graph, id: NodeId) -> String {
    let origin: Vec<&str> = g.node(id).origin.names().collect();
    let name = g.op(Value { node: id, port: 0 }).name();
    if origin.is_empty() { name.to_string() } else { format!("{name} ({})", origin.join(", ")) }
}
