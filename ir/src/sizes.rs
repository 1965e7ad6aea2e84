//! Graphs at sizes that are known.
use crate::graph::{Graph, Requirement};
use crate::ops::Op;
use crate::types::Type;
use sardonyx_tensor::Dim;
use std::collections::BTreeMap;

/// The graph in which symbols of input shapes have these sizes, sub-graphs included.
///
/// # Errors
/// When sizes that have to be equal are not, or a type rule does not hold at these sizes.
pub fn at_sizes(g: &Graph, sizes: &BTreeMap<String, i64>) -> Result<Graph, String> {
    let fixed = |d: &Dim| d.substitute(|symbol| sizes.get(symbol).map(|&size| Dim::from(size)));
    let mut new = g.rebuild(|new, _, node, operands| {
        let mut op = node.op.clone();
        if let Op::Input { name } = &op {
            let ty = &node.types[0];
            return Ok(
                new.input(name, Type { dtype: ty.dtype, shape: ty.shape.iter().map(&fixed).collect() })
            );
        }
        op.map_dims(&mut |d| fixed(d));
        for region in op.regions_mut() {
            *region = at_sizes(region, sizes)?;
        }
        let origin = node.origin.names().collect::<Vec<_>>().join(", ");
        new.add(op, operands).map_err(|e| format!("{} (from {origin}): {e}", node.op.name()))
    })?;
    for Requirement { left, right } in g.requirements() {
        let (left, right) = (fixed(left), fixed(right));
        if let (Some(a), Some(b)) = (left.known(), right.known())
            && a != b
        {
            return Err(format!("the model needs two sizes to be equal that are {a} and {b}"));
        }
        new.require(left, right);
    }
    Ok(new)
}
