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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interp, text, verify};
    use sardonyx_tensor::DType;

    fn sizes(b: i64) -> BTreeMap<String, i64> {
        BTreeMap::from([("b".to_string(), b)])
    }

    #[test]
    fn types_and_attributes_have_the_sizes() {
        let source = "graph(%x: f32[b,s], %y: f32[b,1]) {
  %0 = add(%x, %y)
  %1 = reshape(%0) {shape=[s, b]}
  return %1
}";
        let g = text::parse(source).expect("a graph");
        let fixed = at_sizes(&g, &sizes(4)).expect("sizes that fit");
        verify::verify(&fixed).expect("a graph");
        assert_eq!(
            text::print(&fixed).lines().map(str::trim).collect::<Vec<_>>(),
            [
                "graph(%x: f32[4,s], %y: f32[4,1]) {",
                "%0 = add(%x, %y) : f32[4,s]",
                "%1 = reshape(%0) {shape=[s, 4]} : f32[s,4]",
                "return %1",
                "}"
            ]
        );
        let inputs = [interp::sample(DType::F32, &[4, 3], 1), interp::sample(DType::F32, &[4, 1], 2)];
        let eval = |g: &Graph| interp::eval(g, &inputs).expect("values");
        assert_eq!(eval(&g), eval(&fixed));
    }

    #[test]
    fn sizes_that_contradict_are_refused() {
        let source = "graph(%x: f32[b,8], %y: f32[c,8]) {
  require b == c
  %0 = add(%x, %y)
  return %0
}";
        let g = text::parse(source).expect("a graph");
        let both = |b, c| BTreeMap::from([("b".to_string(), b), ("c".to_string(), c)]);
        assert!(at_sizes(&g, &both(3, 3)).is_ok());
        let error = at_sizes(&g, &both(3, 2)).expect_err("sizes that differ");
        assert!(error.contains('3') && error.contains('2'), "{error}");
    }
}
