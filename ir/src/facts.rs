//! Facts: the elements of small integer tensors, as far as they are known symbolically.
//!
//! A shape computed in a model (`Shape → Gather → Mul → Concat → Reshape`) is known here as a list of
//! [`Dim`]s without knowing the batch. Facts are inferred as nodes are added to a graph.
use crate::interp;
use crate::ops::Op;
use crate::scalar::{Node, Scalar};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// The elements of a tensor in row-major order.
pub type Fact = Vec<Dim>;

/// The most elements a fact has.
pub const MAX_ELEMENTS: usize = 128;

/// The facts of the results of an op, given those of its operands.
pub fn infer(op: &Op, types: &[Type], operands: &[Option<&Fact>], results: &[Type]) -> Vec<Option<Fact>> {
    let mut facts = vec![None; results.len()];
    if results.len() == 1 && small_integer(&results[0]).is_some() {
        facts[0] = result(op, types, operands, &results[0]);
    }
    facts
}

/// The shape of an integer or bool tensor with known dimensions and few elements.
fn small_integer(ty: &Type) -> Option<Vec<usize>> {
    let sizes = ty.sizes().filter(|_| ty.dtype.is_int() || ty.dtype == DType::Bool)?;
    (sizes.iter().try_fold(1usize, |a, &b| a.checked_mul(b))? <= MAX_ELEMENTS).then_some(sizes)
}

fn result(op: &Op, types: &[Type], operands: &[Option<&Fact>], ty: &Type) -> Option<Fact> {
    match op {
        Op::Const { value } => constant(value.tensor()),
        Op::Dims { values } => Some(values.clone()),
        Op::Bind { dims } => Some(dims.clone()),
        Op::ReduceProd { .. } if ty.elements() == Dim::from(1) => Some(vec![Dim::product(operands[0]?)]),
        Op::ReduceSum { .. } if ty.elements() == Dim::from(1) => {
            Some(vec![operands[0]?.iter().fold(Dim::from(0), |a, d| a + d)])
        }
        Op::ReduceMax { .. } | Op::ReduceMin { .. } if ty.elements() == Dim::from(1) => {
            let max = matches!(op, Op::ReduceMax { .. });
            operands[0]?
                .iter()
                .cloned()
                .reduce(|a, b| if max { a.max(&b) } else { a.min(&b) })
                .map(|d| vec![d])
        }
        _ => match op.scalar() {
            Some(f) => mapped(&f, types, operands, ty),
            None => moved(op, types, operands),
        },
    }
}

fn constant(t: &Tensor) -> Option<Fact> {
    t.to_i128s().into_iter().map(|x| i64::try_from(x).ok().map(Dim::from)).collect()
}

/// A pointwise op on dimensions.
fn mapped(f: &Scalar, types: &[Type], operands: &[Option<&Fact>], ty: &Type) -> Option<Fact> {
    let shape = ty.sizes()?;
    let mut indices = Vec::new();
    for (i, t) in types.iter().enumerate() {
        operands[i]?;
        indices.push(interp::indices(&t.sizes()?, &shape).collect::<Vec<_>>());
    }
    let elements = shape.iter().product();
    (0..elements)
        .map(|e| {
            let mut values: Vec<Dim> = Vec::with_capacity(f.nodes.len());
            for n in &f.nodes {
                values.push(match n {
                    Node::Arg(i) => operands[*i]?[indices[*i][e]].clone(),
                    Node::Num(x) if x.fract() == 0.0 && x.abs() < 1e15 => Dim::from(*x as i64),
                    Node::Num(_) => return None,
                    Node::Cast(t, a) if t.is_int() => values[*a].clone(),
                    Node::Cast(DType::Bool, a) => Dim::from(i64::from(values[*a].known()? != 0)),
                    Node::Cast(..) => return None,
                    Node::Prim(p, a) => p.dim(&a.iter().map(|&i| values[i].clone()).collect::<Vec<_>>())?,
                });
            }
            Some(values[f.root].clone())
        })
        .collect()
}

/// An op that only moves elements: run on the positions of its operands' elements.
fn moved(op: &Op, types: &[Type], operands: &[Option<&Fact>]) -> Option<Fact> {
    let data = op.moved_operands(operands.len())?;
    let mut elements: Vec<Dim> = Vec::new();
    let mut positions = Vec::with_capacity(operands.len());
    for (i, (t, fact)) in types.iter().zip(operands).enumerate() {
        let shape = t.sizes()?;
        if !data.contains(&i) {
            let known: Option<Vec<i128>> = (*fact)?.iter().map(|d| d.known().map(i128::from)).collect();
            positions.push(Tensor::from_i128s(t.dtype, shape, known?));
            continue;
        }
        let first = elements.len() as i128;
        elements.extend((*fact)?.iter().cloned());
        positions.push(Tensor::from_i128s(
            DType::I64,
            shape,
            (first..elements.len() as i128).collect::<Vec<_>>(),
        ));
    }
    let mut op = op.clone();
    let mut known = true;
    op.map_dims(&mut |d| {
        known &= d.is_known();
        d.clone()
    });
    let moved = known.then(|| interp::eval_op(&op, &positions).ok())??;
    moved[0].to_i64s().into_iter().map(|p| elements.get(usize::try_from(p).ok()?).cloned()).collect()
}
