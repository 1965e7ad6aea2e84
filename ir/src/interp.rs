//! Reference evaluation: slow, plain, the judge of everything else.
//!
//! Every op is computed in f64 (integers exactly, wrapped to their width) and rounded once to its result's
//! dtype. Symbols get their values from the inputs' shapes and, for values only the run knows, from `bind`
//! and from results whose type names a new symbol.
mod map;

pub use map::indices;

use crate::graph::{Graph, Value};
use crate::ops::{Infer, MAX_ELEMENTS, Op, control};
use crate::types::Type;
use sardonyx_tensor::{Bindings, DType, Dim, Heap, Tensor};
use std::collections::HashMap;

/// Why a graph cannot be evaluated on given inputs.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The number of inputs is wrong.
    #[error("the graph has {expected} inputs, {given} were given")]
    InputCount {
        /// Inputs of the graph.
        expected: usize,
        /// Tensors given.
        given: usize,
    },
    /// An input, or what it implies, has the wrong type.
    #[error("{what}: {reason}")]
    Shape {
        /// The input or node.
        what: String,
        /// What does not fit.
        reason: String,
    },
}

/// The outputs of a graph on these inputs.
pub fn eval(g: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let mut bindings = Bindings::default();
    eval_with(g, inputs, &mut bindings, &mut |_, _| {})
}

/// As [`eval`], in a given environment of symbols, which is extended; `seen` is told every value.
pub fn eval_with(
    g: &Graph,
    inputs: &[Tensor],
    bindings: &mut Bindings,
    seen: &mut dyn FnMut(Value, &Tensor),
) -> Result<Vec<Tensor>, EvalError> {
    if inputs.len() != g.inputs().len() {
        return Err(EvalError::InputCount { expected: g.inputs().len(), given: inputs.len() });
    }
    let mut values: HashMap<Value, Tensor> = HashMap::new();
    for (v, t) in g.inputs().zip(inputs) {
        let reason = |reason| EvalError::Shape { what: format!("input {}", g.input_name(v)), reason };
        unify(g.ty(v), t, bindings).map_err(reason)?;
        values.insert(v, t.clone());
    }
    let mut uses: HashMap<Value, usize> = HashMap::new();
    let order = g.order();
    for v in order.iter().flat_map(|&id| g.operands(id)).chain(g.outputs().iter().copied()) {
        *uses.entry(v).or_default() += 1;
    }
    for id in order {
        if matches!(g.node(id).op, Op::Input { .. }) {
            continue;
        }
        let operands: Vec<Tensor> = g.operands(id).map(|v| values[&v].clone()).collect();
        let first = Value { node: id, port: 0 };
        let results = eval_node(g, first, &operands, bindings)?;
        for v in g.operands(id) {
            let left = uses.get_mut(&v).expect("an operand should be counted");
            *left -= 1;
            if *left == 0 {
                values.remove(&v);
            }
        }
        for (port, t) in results.into_iter().enumerate() {
            seen(first.port(port), &t);
            values.insert(first.port(port), t);
        }
    }
    Ok(g.outputs().iter().map(|o| values[o].clone()).collect())
}

fn eval_node(
    g: &Graph,
    v: Value,
    operands: &[Tensor],
    bindings: &mut Bindings,
) -> Result<Vec<Tensor>, EvalError> {
    let node = g.node(v.node);
    let what = || {
        let origin: Vec<&str> = node.origin.names().collect();
        format!("{} ({})", node.op.name(), origin.join(", "))
    };
    let failed = |reason| EvalError::Shape { what: what(), reason };
    if !node.op.regions().is_empty() {
        let results = control::eval(&node.op, operands, bindings).map_err(failed)?;
        return unified(&node.types, results, bindings).map_err(failed);
    }
    let mut op = node.op.clone();
    if let Op::Bind { dims } = &op {
        for (d, x) in dims.iter().zip(operands[0].to_i64s()) {
            bind(d, x, bindings).map_err(failed)?;
        }
    }
    op.map_dims(&mut |d| d.substitute(|s| bindings.get(s).map(Dim::from)));
    let results = eval_op(&op, operands).map_err(failed)?;
    unified(&node.types, results, bindings).map_err(failed)
}

/// Results that have these types; symbols that have no value yet get one.
fn unified(types: &[Type], results: Vec<Tensor>, bindings: &mut Bindings) -> Result<Vec<Tensor>, String> {
    types.iter().zip(&results).try_for_each(|(ty, t)| unify(ty, t, bindings))?;
    Ok(results)
}

/// Fails where an attribute or the size of a result is not known, or does not fit in memory. The size of a
/// result that depends on the elements of the operands comes with it.
fn check_sizes(op: &Op, operands: &[Type], results: &[Type]) -> Result<(), String> {
    let found = op.sizes_are_found();
    let mut unknown = None;
    op.visit_dims(&mut |d| unknown = unknown.take().or_else(|| (!d.is_known()).then(|| d.clone())));
    if let Some(d) = unknown.filter(|_| !found && !matches!(op, Op::Bind { .. })) {
        return Err(format!("the value of {d} is not known"));
    }
    for t in operands.iter().chain(results) {
        // Dimensions beside one of size 0 count too: they are multiplied on the way.
        let dims = t.shape.iter().map(|d| d.known().map_or(1, |n| n.max(1)));
        let count = dims.into_iter().try_fold(1i64, i64::checked_mul);
        if count.is_none_or(|n| n > MAX_ELEMENTS as i64) {
            return Err(format!("{t} is too large"));
        }
        if !found && t.sizes().is_none() {
            return Err(format!("the size of {t} is not known"));
        }
    }
    Ok(())
}

/// What generated texts are made of.
const SAMPLE_TEXTS: &[&str] = &["a", "B ", ",", "é", "07", " x"];

/// The results of one op, all dimensions in its attributes known.
pub fn eval_op(op: &Op, operands: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let types: Vec<Type> = operands.iter().map(type_of).collect();
    let results = op.infer(&mut Infer::new(&types))?;
    check_sizes(op, &types, &results)?;
    let evaluated = |operands: &[Tensor]| match op.definition() {
        Some(d) => (d.eval)(op, operands, &results),
        None => {
            let f = op.scalar().expect("an op without a definition should have an expression");
            Ok(vec![map::eval(&f, operands, &results[0])])
        }
    };
    if !types.iter().any(|t| t.dtype.is_reference()) {
        return evaluated(operands);
    }
    // Moved and compared as numbers of one heap.
    let (operands, heap) = Heap::shared(operands);
    let held = |t: Tensor| match t.dtype().is_reference() && t.heap().is_none() {
        true => t.with_heap(heap.clone()),
        false => t,
    };
    Ok(evaluated(&operands)?.into_iter().map(held).collect())
}

fn type_of(t: &Tensor) -> Type {
    Type::new(t.dtype(), t.shape().iter().map(|&n| n as i64))
}

/// Matches a tensor with a type: symbols that have no value yet get one.
fn unify(ty: &Type, t: &Tensor, bindings: &mut Bindings) -> Result<(), String> {
    let actual = type_of(t);
    if ty.dtype != actual.dtype || ty.rank() != actual.rank() {
        return Err(format!("expected {ty}, got {actual}"));
    }
    for (d, &n) in ty.shape.iter().zip(t.shape()) {
        bind(d, n as i64, bindings).map_err(|e| format!("expected {ty}, got {actual}: {e}"))?;
    }
    Ok(())
}

fn bind(d: &Dim, n: i64, bindings: &mut Bindings) -> Result<(), String> {
    if let Some(s) = d.as_symbol().filter(|s| bindings.get(s).is_none()) {
        bindings.set(s, n);
        return Ok(());
    }
    match d.eval(bindings) {
        Ok(m) if m != n => Err(format!("dimension {d} is {m}, not {n}")),
        _ => Ok(()),
    }
}

/// Deterministic test data: floats in [-1, 1), small integers, bools of both kinds; never all zeros for
/// more than a few elements.
pub fn sample(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40
    };
    let count = shape.iter().product::<usize>();
    if dtype == DType::String {
        let texts: Vec<String> =
            (0..count).map(|_| SAMPLE_TEXTS[next() as usize % 6].repeat(next() as usize % 3)).collect();
        Tensor::from_texts(shape, &texts)
    } else if dtype.is_float() {
        let unit = f64::from(1u32 << 23);
        Tensor::from_f64s(
            dtype,
            shape.to_vec(),
            (0..count).map(|_| next() as f64 / unit - 1.0).collect::<Vec<_>>(),
        )
    } else {
        let (low, span) = match dtype {
            DType::Bool => (0, 2),
            t if t.is_signed() => (-4, 9),
            _ => (0, 9),
        };
        let (min, max) = dtype.int_range();
        let fit = |x: i128| x.clamp(min, max);
        Tensor::from_i128s(
            dtype,
            shape.to_vec(),
            (0..count).map(|_| fit(low + i128::from(next() % span))).collect::<Vec<_>>(),
        )
    }
}
