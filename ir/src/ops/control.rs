//! Ops with sub-graphs: choice, repetition, fused regions.
//!
//! A sub-graph is closed: what it uses from outside is an operand and an input of it. A symbol that is a
//! whole dimension of one of its inputs stands for that of the operand; other symbols are those outside.
//! Where the shape of a result depends on the branch taken or the number of iterations, the op declares the
//! types of its results, with new symbols.
use super::{Definition, Infer, Op};
use crate::graph::Graph;
use crate::interp::eval_with;
use crate::types::Type;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};
use std::collections::{BTreeSet, HashMap};

/// The declared types of the results, where the op has any.
fn declared(op: &Op) -> &[Type] {
    match op {
        Op::If { types, .. } | Op::Loop { types, .. } => types,
        _ => &[],
    }
}

/// What the symbols of a region's inputs stand for, given the operands.
fn names(region: &Graph, operands: &[Type]) -> Result<HashMap<String, Dim>, String> {
    if region.inputs().len() != operands.len() {
        return Err(format!("{} operands for a region of {} inputs", operands.len(), region.inputs().len()));
    }
    let mut names = HashMap::new();
    for (v, t) in region.inputs().zip(operands) {
        let ty = region.ty(v);
        if ty.dtype != t.dtype || ty.rank() != t.rank() {
            return Err(format!("operand {t} for region input {} of type {ty}", region.input_name(v)));
        }
        for (d, actual) in ty.shape.iter().zip(&t.shape) {
            if let Some(s) = d.as_symbol() {
                names.entry(s.to_string()).or_insert_with(|| actual.clone());
            }
        }
    }
    Ok(names)
}

fn renamed(ty: &Type, names: &HashMap<String, Dim>) -> Type {
    ty.with_shape(ty.shape.iter().map(|d| d.substitute(|s| names.get(s).cloned())).collect())
}

/// The types of a region's outputs, given the operands.
fn results(region: &Graph, operands: &[Type], cx: &mut Infer) -> Result<Vec<Type>, String> {
    let names = names(region, operands)?;
    for (v, t) in region.inputs().zip(operands) {
        for (a, b) in renamed(region.ty(v), &names).shape.iter().zip(&t.shape) {
            cx.same(a, b).map_err(|e| format!("operand {t} for {}: {e}", region.input_name(v)))?;
        }
    }
    Ok(region.outputs().iter().map(|&o| renamed(region.ty(o), &names)).collect())
}

/// Fails where a result can never be of the type that is declared for it.
fn check_declared(actual: &[Type], declared: &[Type]) -> Result<(), String> {
    let fits = |(a, d): (&Type, &Type)| {
        let dims = |(a, d): (&Dim, &Dim)| a.known().is_none() || d.known().is_none() || a == d;
        a.dtype == d.dtype && a.rank() == d.rank() && a.shape.iter().zip(&d.shape).all(dims)
    };
    if actual.len() == declared.len() && actual.iter().zip(declared).all(fits) {
        return Ok(());
    }
    let list = |t: &[Type]| t.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
    Err(format!("results {} declared as {}", list(actual), list(declared)))
}

fn check_scalar(t: &Type, dtype: DType) -> Result<(), String> {
    if *t == Type::scalar(dtype) { Ok(()) } else { Err(format!("expected {dtype}[], got {t}")) }
}

pub(super) const FUSED: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Fused { body });
        results(body, cx.operands(), cx)
    },
    eval: |op, operands, _| eval(op, operands, &Bindings::default()),
};

pub(super) const IF: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, If { then, otherwise, types });
        let (condition, captures) = cx.operands().split_first().ok_or("needs a condition")?;
        check_scalar(condition, DType::Bool)?;
        let (a, b) = (results(then, captures, cx)?, results(otherwise, captures, cx)?);
        if types.is_empty() {
            return if a == b {
                Ok(a)
            } else {
                Err("the branches' types differ and none are declared".into())
            };
        }
        check_declared(&a, types).and_then(|()| check_declared(&b, types))?;
        Ok(types.clone())
    },
    eval: |op, operands, _| eval(op, operands, &Bindings::default()),
};

pub(super) const LOOP: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Loop { body, types });
        let (first, scans) = loop_shape(op, cx.operands())?;
        let outputs: Vec<Type> = body.outputs().iter().map(|&o| body.ty(o).clone()).collect();
        check_scalar(&outputs[0], DType::Bool)?;
        if !types.is_empty() {
            let stacked = |t: &Type| t.with_shape([&[Dim::symbol("")], &t.shape[..]].concat());
            let names = names(body, cx.operands())?;
            let bare = |t: &Type| {
                let inner = |d: &Dim| if d.is_known() { d.clone() } else { Dim::symbol("") };
                renamed(t, &names).with_shape(t.shape.iter().map(inner).collect())
            };
            let carried = outputs[1..=first].iter().map(bare);
            let all: Vec<Type> =
                carried.chain(outputs[1 + first..].iter().map(|t| stacked(&bare(t)))).collect();
            check_declared(&all, types)?;
            return Ok(types.clone());
        }
        if scans > 0 {
            return Err("the types of stacked results are not declared".into());
        }
        let results = results(body, cx.operands(), cx)?;
        if results[1..] != cx.operands()[2..2 + first] {
            return Err("a carried value changes its shape and its type is not declared".into());
        }
        Ok(results[1..].to_vec())
    },
    eval: |op, operands, _| eval(op, operands, &Bindings::default()),
};

/// The number of carried values and of stacked results.
fn loop_shape(op: &Op, operands: &[Type]) -> Result<(usize, usize), String> {
    attributes!(op, Loop { body, carried });
    let (outputs, inputs) = (body.outputs().len(), body.inputs().len());
    let carried = usize::try_from(*carried).ok().filter(|&n| n < outputs && n + 2 <= inputs);
    let carried = carried.ok_or_else(|| format!("a body of {inputs} inputs and {outputs} outputs"))?;
    if operands.len() != inputs {
        return Err(format!("{} operands for a body of {inputs} inputs", operands.len()));
    }
    check_scalar(&operands[0], DType::I64)?;
    check_scalar(&operands[1], DType::Bool)?;
    Ok((carried, outputs - 1 - carried))
}

impl Op {
    /// Declares the types of the results of an `if` or `loop`: dimensions that depend on the branch or the
    /// iteration become symbols that `fresh` makes. Fails where no types would do.
    pub fn declare_types(&mut self, operands: &[Type], fresh: &mut dyn FnMut() -> Dim) -> Result<(), String> {
        let new = match self {
            Op::If { then, otherwise, .. } => {
                let captures = operands.get(1..).ok_or("needs a condition")?;
                let cx = &mut Infer::new(operands);
                let (a, b) = (results(then, captures, cx)?, results(otherwise, captures, cx)?);
                if a.len() != b.len() {
                    return Err(format!("branches of {} and {} results", a.len(), b.len()));
                }
                a.iter()
                    .zip(&b)
                    .map(|(a, b)| merged(a, b, &symbols(operands), fresh))
                    .collect::<Result<_, _>>()?
            }
            Op::Loop { body, .. } => {
                let body = body.clone();
                let (carried, _) = loop_shape(self, operands)?;
                loop_types(&body, carried, operands, fresh)?
            }
            _ => return Ok(()),
        };
        if let Op::If { types, .. } | Op::Loop { types, .. } = self {
            *types = new;
        }
        Ok(())
    }
}

fn symbols(types: &[Type]) -> BTreeSet<String> {
    types.iter().flat_map(|t| &t.shape).flat_map(|d| d.symbols()).collect()
}

/// The type that both are, with new symbols where they differ or know more than the outside does.
fn merged(
    a: &Type,
    b: &Type,
    outside: &BTreeSet<String>,
    fresh: &mut dyn FnMut() -> Dim,
) -> Result<Type, String> {
    if a.dtype != b.dtype || a.rank() != b.rank() {
        return Err(format!("a result is both {a} and {b}"));
    }
    let dims = a.shape.iter().zip(&b.shape);
    let shape = dims.map(|(a, b)| if a == b && a.symbols().is_subset(outside) { a.clone() } else { fresh() });
    Ok(a.with_shape(shape.collect()))
}

fn loop_types(
    body: &Graph,
    carried: usize,
    operands: &[Type],
    fresh: &mut dyn FnMut() -> Dim,
) -> Result<Vec<Type>, String> {
    let names = names(body, operands)?;
    let outside = symbols(operands);
    let mut types = Vec::new();
    for (i, (&out, input)) in body.outputs()[1..=carried].iter().zip(body.inputs().skip(2)).enumerate() {
        let (out, input) = (body.ty(out), body.ty(input));
        let initial = &operands[2 + i];
        let mut ty = merged(initial, &renamed(out, &names), &outside, fresh)?;
        // A dimension that the body takes as its own symbol and gives back changed differs by iteration.
        for (d, (a, b)) in out.shape.iter().zip(&input.shape).enumerate() {
            if a != b && ty.shape[d] == initial.shape[d] && !a.is_known() {
                ty.shape[d] = fresh();
            }
        }
        types.push(ty);
    }
    if body.outputs().len() > 1 + carried {
        let count = fresh();
        // What an element's shape takes from carried values may differ from the initial ones.
        let invariant: BTreeSet<String> = symbols(&operands[2 + carried..]);
        for &out in &body.outputs()[1 + carried..] {
            let ty = renamed(body.ty(out), &names);
            let ty = merged(&ty, &ty, &invariant, fresh)?;
            types.push(ty.with_shape([std::slice::from_ref(&count), &ty.shape[..]].concat()));
        }
    }
    Ok(types)
}

/// The results of an op with regions, in an environment of symbols.
pub(crate) fn eval(op: &Op, operands: &[Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, String> {
    match op {
        Op::Fused { body } => run(body, operands, bindings),
        Op::If { then, otherwise, .. } => {
            run(if operands[0].get_i64(0) != 0 { then } else { otherwise }, &operands[1..], bindings)
        }
        Op::Loop { .. } => repeated(op, operands, bindings),
        op => panic!("bug: {} has no regions", op.name()),
    }
}

fn run(region: &Graph, inputs: &[Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, String> {
    let mut inner = bindings.clone();
    for s in region.inputs().flat_map(|v| &region.ty(v).shape).filter_map(Dim::as_symbol) {
        inner.remove(s);
    }
    eval_with(region, inputs, &mut inner, &mut |_, _| {}).map_err(|e| e.to_string())
}

fn repeated(op: &Op, operands: &[Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, String> {
    attributes!(op, Loop { body, carried });
    let carried = *carried as usize;
    let (trip, mut go) = (operands[0].get_i64(0), operands[1].clone());
    let (mut state, captures) = (operands[2..2 + carried].to_vec(), &operands[2 + carried..]);
    let mut rows: Vec<Vec<Tensor>> = vec![Vec::new(); body.outputs().len() - 1 - carried];
    let mut i = 0;
    while i < trip && go.get_i64(0) != 0 {
        let inputs = [&[Tensor::scalar(i), go], &state[..], captures].concat();
        let mut outputs = run(body, &inputs, bindings)?;
        let scans = outputs.split_off(1 + carried);
        rows.iter_mut().zip(scans).for_each(|(rows, row)| rows.push(row));
        state = outputs.split_off(1);
        go = outputs.remove(0);
        i += 1;
    }
    let types = &declared(op)[carried.min(declared(op).len())..];
    for (k, rows) in rows.iter().enumerate() {
        let element = body.ty(body.outputs()[1 + carried + k]);
        state.push(stacked(rows, types.get(k).unwrap_or(element), element.dtype, bindings)?);
    }
    Ok(state)
}

/// Equal shapes as one tensor with a new first dimension; `ty` tells the shape where there are none.
fn stacked(rows: &[Tensor], ty: &Type, dtype: DType, bindings: &Bindings) -> Result<Tensor, String> {
    let Some(first) = rows.first() else {
        let inner =
            ty.shape.iter().skip(1).map(|d| d.eval(bindings).ok().and_then(|n| usize::try_from(n).ok()));
        let shape: Vec<usize> = std::iter::once(0).chain(inner.map(|n| n.unwrap_or(0))).collect();
        return Ok(Tensor::zeros(dtype, shape));
    };
    if let Some(other) = rows.iter().find(|r| r.shape() != first.shape()) {
        return Err(format!("a stacked result is {:?} and {:?}", first.shape(), other.shape()));
    }
    let shape = [&[rows.len()], first.shape()].concat();
    Tensor::joined(dtype, shape, rows).map_err(|e| e.to_string())
}
