//! Evaluates a scalar expression over broadcast tensors, a node of the expression at a time.
use crate::ops::broadcast;
use crate::scalar::{Node, Rule, Scalar};
use crate::types::Type;
use sardonyx_tensor::{DType, Tensor};
use std::rc::Rc;

/// The values of one node of the expression for all elements, or one value for all of them.
#[derive(Clone)]
enum Column {
    Float(Rc<Vec<f64>>),
    Int(Rc<Vec<i128>>),
    Literal(f64),
}

impl Column {
    fn float(&self, i: usize) -> f64 {
        match self {
            Column::Float(v) => v[i],
            Column::Int(v) => v[i] as f64,
            Column::Literal(x) => *x,
        }
    }
    fn int(&self, i: usize) -> i128 {
        match self {
            Column::Float(v) => v[i] as i128,
            Column::Int(v) => v[i],
            Column::Literal(x) => *x as i128,
        }
    }
}

/// The tensor of type `ty` whose elements are `f` of the operands' elements.
pub fn eval(f: &Scalar, operands: &[Tensor], ty: &Type) -> Tensor {
    let shape = ty.sizes().expect("a result of evaluation should have known dimensions");
    let dtypes: Vec<DType> = operands.iter().map(Tensor::dtype).collect();
    let types = f.types(&dtypes).expect("the type rule should have accepted the operands");
    let count = shape.iter().product();
    let mut columns: Vec<Column> = Vec::with_capacity(f.nodes.len());
    for (n, t) in f.nodes.iter().zip(&types) {
        let column = match n {
            Node::Arg(i) => argument(&operands[*i], &shape),
            Node::Num(x) => Column::Literal(*x),
            Node::Cast(to, a) => cast(&columns[*a], *to, count),
            Node::Prim(p, args) => {
                let args: Vec<&Column> = args.iter().map(|&i| &columns[i]).collect();
                let by_operand = matches!(p.rule(), Rule::Compare | Rule::Classify);
                let operand = if by_operand { operand_type(n, &types) } else { *t };
                primitive(*p, &args, operand.or(*t), count)
            }
        };
        columns.push(column);
    }
    let root = &columns[f.root];
    if ty.dtype.is_float() {
        Tensor::from_f64s(ty.dtype, shape, (0..count).map(|i| root.float(i)).collect::<Vec<_>>())
    } else {
        Tensor::from_i128s(ty.dtype, shape, (0..count).map(|i| root.int(i)).collect::<Vec<_>>())
    }
}

fn operand_type(n: &Node, types: &[Option<DType>]) -> Option<DType> {
    let Node::Prim(_, args) = n else { return None };
    args.iter().find_map(|&a| types[a])
}

fn primitive(p: crate::scalar::Prim, args: &[&Column], ty: Option<DType>, count: usize) -> Column {
    let float = ty.is_none_or(|t| t.is_float());
    let undefined = || panic!("bug: {} of {ty:?} passed the type rule", p.name());
    if args.iter().all(|a| matches!(a, Column::Literal(_))) && float {
        let xs: Vec<f64> = args.iter().map(|a| a.float(0)).collect();
        return Column::Literal(p.float(&xs).unwrap_or_else(undefined));
    }
    if float {
        let mut xs = vec![0.0; args.len()];
        Column::Float(Rc::new(
            (0..count)
                .map(|i| {
                    xs.iter_mut().zip(args).for_each(|(x, a)| *x = a.float(i));
                    p.float(&xs).unwrap_or_else(undefined)
                })
                .collect(),
        ))
    } else {
        let mut xs = vec![0; args.len()];
        let compare = matches!(p.rule(), Rule::Compare);
        let wrap = if compare { DType::Bool } else { ty.expect("an integer type should be known") };
        let undefined = || panic!("bug: {} of {ty:?} passed the type rule", p.name());
        Column::Int(Rc::new(
            (0..count)
                .map(|i| {
                    xs.iter_mut().zip(args).for_each(|(x, a)| *x = a.int(i));
                    wrapped(p.int(&xs).unwrap_or_else(undefined), wrap)
                })
                .collect(),
        ))
    }
}

/// `x` modulo the width of the dtype.
fn wrapped(x: i128, t: DType) -> i128 {
    if t == DType::Bool {
        return x & 1;
    }
    let (min, max) = t.int_range();
    if (min..=max).contains(&x) { x } else { (x - min).rem_euclid(max - min + 1) + min }
}

fn cast(a: &Column, to: DType, count: usize) -> Column {
    let ints = matches!(a, Column::Int(_));
    match to {
        DType::Bool => Column::Int(Rc::new(
            (0..count).map(|i| i128::from(if ints { a.int(i) != 0 } else { a.float(i) != 0.0 })).collect(),
        )),
        t if t.is_float() => {
            let values: Vec<f64> = (0..count).map(|i| a.float(i)).collect();
            Column::Float(Rc::new(Tensor::from_f64s(t, vec![count], values).to_f64s()))
        }
        t if ints => Column::Int(Rc::new((0..count).map(|i| wrapped(a.int(i), t)).collect())),
        t => Column::Int(Rc::new((0..count).map(|i| saturated(a.float(i), t)).collect())),
    }
}

/// A float toward zero; out of range it saturates, NaN is 0.
fn saturated(x: f64, t: DType) -> i128 {
    let (min, max) = t.int_range();
    (x as i128).clamp(min, max)
}

/// An operand's elements in the order of the broadcast shape.
fn argument(t: &Tensor, shape: &[usize]) -> Column {
    let index = indices(t.shape(), shape);
    if t.dtype().is_float() {
        let v = t.to_f64s();
        Column::Float(Rc::new(index.map(|i| v[i]).collect()))
    } else {
        let v = t.to_i128s();
        Column::Int(Rc::new(index.map(|i| v[i]).collect()))
    }
}

/// For every element of `to`, in order, the index of the element of `from` that broadcasts to it.
pub fn indices<'a>(from: &'a [usize], to: &'a [usize]) -> impl Iterator<Item = usize> + use<> {
    debug_assert_eq!(broadcast(&[from, to]), to);
    let lead = to.len() - from.len();
    let mut stride = 1;
    let mut strides = vec![0; to.len()];
    for d in (0..from.len()).rev() {
        strides[lead + d] = if from[d] == 1 { 0 } else { stride };
        stride *= from[d];
    }
    crate::index::walk(to, &strides, 0)
}
