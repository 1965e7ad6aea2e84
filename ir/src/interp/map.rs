//! Evaluates a scalar expression over broadcast tensors: a block of elements at a time, in the block a node
//! of the expression at a time.
use crate::ops::broadcast;
use crate::scalar::{Node, Prim, Rule, Scalar};
use crate::types::Type;
use sardonyx_tensor::{DType, Tensor};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ops::Range;

/// Elements that are computed together: few enough for all columns to stay in cache.
const BLOCK: usize = 512;

/// The values of one node of the expression for a block.
enum Column {
    Floats(Vec<f64>),
    Ints(Vec<i128>),
    /// The same number everywhere, of whatever type it meets.
    Literal {
        float: Vec<f64>,
        int: Vec<i128>,
    },
}

impl Column {
    fn literal(x: f64) -> Column {
        Column::Literal { float: vec![x; BLOCK], int: vec![x as i128; BLOCK] }
    }
    fn floats(&self) -> Cow<'_, [f64]> {
        match self {
            Column::Floats(v) => v.into(),
            Column::Literal { float, .. } => float.into(),
            // A choice between literals, whose type was open.
            Column::Ints(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }
    fn ints(&self) -> Cow<'_, [i128]> {
        match self {
            Column::Ints(v) => v.into(),
            Column::Literal { int, .. } => int.into(),
            Column::Floats(v) => v.iter().map(|&x| x as i128).collect(),
        }
    }
    fn is_literal(&self) -> bool {
        matches!(self, Column::Literal { .. })
    }
}

/// The elements of an operand, and which of them the next elements of the result take.
struct Source<'a> {
    values: Values,
    order: Order<'a>,
}

/// Which elements of an operand come next.
enum Order<'a> {
    /// As they stand, from this one on.
    Same(usize),
    /// The only one, again and again.
    Only,
    /// These.
    Broadcast(Box<dyn Iterator<Item = usize> + 'a>),
}

enum Values {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
    /// `u64` does not fit `i64`.
    Wide(Vec<i128>),
}

impl Values {
    fn run(&self, range: Range<usize>) -> Column {
        match self {
            Values::Floats(v) => Column::Floats(v[range].to_vec()),
            Values::Ints(v) => Column::Ints(v[range].iter().map(|&x| x.into()).collect()),
            Values::Wide(v) => Column::Ints(v[range].to_vec()),
        }
    }
    fn only(&self, n: usize) -> Column {
        match self {
            Values::Floats(v) => Column::Floats(vec![v[0]; n]),
            Values::Ints(v) => Column::Ints(vec![v[0].into(); n]),
            Values::Wide(v) => Column::Ints(vec![v[0]; n]),
        }
    }
}

impl Source<'_> {
    fn new(t: &Tensor, shape: &[usize]) -> Source<'static> {
        let values = match t.dtype() {
            dtype if dtype.is_float() => Values::Floats(t.to_f64s()),
            DType::U64 => Values::Wide(t.to_i128s()),
            _ => Values::Ints(t.to_i64s()),
        };
        let order = match t.len() {
            _ if t.shape() == shape => Order::Same(0),
            1 => Order::Only,
            _ => Order::Broadcast(Box::new(indices(t.shape(), shape))),
        };
        Source { values, order }
    }
    fn block(&mut self, n: usize) -> Column {
        let order = match &mut self.order {
            Order::Same(start) => {
                let here = *start..*start + n;
                *start = here.end;
                return self.values.run(here);
            }
            Order::Only => return self.values.only(n),
            Order::Broadcast(order) => order.by_ref().take(n),
        };
        match &self.values {
            Values::Floats(v) => Column::Floats(order.map(|i| v[i]).collect()),
            Values::Ints(v) => Column::Ints(order.map(|i| v[i].into()).collect()),
            Values::Wide(v) => Column::Ints(order.map(|i| v[i]).collect()),
        }
    }
}

/// The tensor of type `ty` whose elements are `f` of the operands' elements.
pub fn eval(f: &Scalar, operands: &[Tensor], ty: &Type) -> Tensor {
    let shape = ty.sizes().expect("a result of evaluation should have known dimensions");
    let dtypes: Vec<DType> = operands.iter().map(Tensor::dtype).collect();
    let types = f.types(&dtypes).expect("the type rule should have accepted the operands");
    let mut sources: Vec<Source> = operands.iter().map(|t| Source::new(t, &shape)).collect();
    let count: usize = shape.iter().product();
    let (mut floats, mut ints) = (Vec::new(), Vec::new());
    for start in (0..count).step_by(BLOCK) {
        let n = BLOCK.min(count - start);
        let columns = columns(f, &types, &mut sources, n);
        let root = &columns[f.root];
        if ty.dtype.is_float() {
            floats.extend_from_slice(&root.floats()[..n]);
        } else {
            ints.extend_from_slice(&root.ints()[..n]);
        }
    }
    match ty.dtype.is_float() {
        true => Tensor::from_f64s(ty.dtype, shape, floats),
        false => Tensor::from_i128s(ty.dtype, shape, ints),
    }
}

fn columns(f: &Scalar, types: &[Option<DType>], sources: &mut [Source], n: usize) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::with_capacity(f.nodes.len());
    for (node, ty) in f.nodes.iter().zip(types) {
        let column = match node {
            Node::Arg(i) => sources[*i].block(n),
            Node::Num(x) => Column::literal(*x),
            Node::Cast(to, a) => cast(&columns[*a], *to, n),
            Node::Prim(p, args) => {
                let operand = args.iter().rev().find_map(|&a| types[a]).or(*ty);
                let args: SmallVec<[&Column; 3]> = args.iter().map(|&i| &columns[i]).collect();
                primitive(*p, &args, operand, n)
            }
        };
        columns.push(column);
    }
    columns
}

/// A primitive of operands of type `ty` (but for the condition of a select), or of literals only.
fn primitive(p: Prim, args: &[&Column], ty: Option<DType>, n: usize) -> Column {
    let float = ty.is_none_or(|t| t.is_float());
    let defined = "a primitive should have passed its type rule";
    if float && args.iter().all(|a| a.is_literal()) {
        let first: SmallVec<[f64; 3]> = args.iter().map(|a| a.floats()[0]).collect();
        return Column::literal(p.float(&first).expect(defined));
    }
    match p.rule() {
        Rule::Select => select(args, float, n),
        rule if float => {
            let args: SmallVec<[Cow<[f64]>; 3]> = args.iter().map(|a| a.floats()).collect();
            let args: SmallVec<[&[f64]; 3]> = args.iter().map(|a| &a[..n]).collect();
            let mut out = vec![0.0; n];
            p.floats(&args, &mut out).expect(defined);
            match rule {
                Rule::Compare | Rule::Classify => Column::Ints(out.into_iter().map(|x| x as i128).collect()),
                _ => Column::Floats(out),
            }
        }
        rule => {
            let args: SmallVec<[Cow<[i128]>; 3]> = args.iter().map(|a| a.ints()).collect();
            let args: SmallVec<[&[i128]; 3]> = args.iter().map(|a| &a[..n]).collect();
            let mut out = vec![0; n];
            p.ints(&args, &mut out).expect(defined);
            if rule != Rule::Compare {
                let t = ty.expect("an integer type should be known");
                out.iter_mut().for_each(|x| *x = wrapped(*x, t));
            }
            Column::Ints(out)
        }
    }
}

fn select(args: &[&Column], float: bool, n: usize) -> Column {
    fn chosen<T: Copy>(condition: &[i128], a: &[T], b: &[T]) -> Vec<T> {
        condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
    }
    let condition = &args[0].ints()[..n];
    match float {
        true => Column::Floats(chosen(condition, &args[1].floats(), &args[2].floats())),
        false => Column::Ints(chosen(condition, &args[1].ints(), &args[2].ints())),
    }
}

/// `x` modulo the width of the dtype.
fn wrapped(x: i128, t: DType) -> i128 {
    let unused = 128 - t.bits();
    match t {
        DType::Bool => x & 1,
        _ if t.is_signed() => x << unused >> unused,
        _ => x & ((1 << t.bits()) - 1),
    }
}

fn cast(a: &Column, to: DType, n: usize) -> Column {
    match (a, to) {
        (Column::Ints(v), DType::Bool) => Column::Ints(v.iter().map(|&x| i128::from(x != 0)).collect()),
        (Column::Ints(v), t) if !t.is_float() => Column::Ints(v.iter().map(|&x| wrapped(x, t)).collect()),
        (Column::Ints(v), t) => Column::Floats(rounded(v.iter().map(|&x| float(x)).collect(), t)),
        (v, DType::Bool) => Column::Ints(v.floats()[..n].iter().map(|&x| i128::from(x != 0.0)).collect()),
        (v, t) if t.is_float() => Column::Floats(rounded(v.floats()[..n].to_vec(), t)),
        (v, t) => Column::Ints(v.floats()[..n].iter().map(|&x| integer(x, t)).collect()),
    }
}

fn float(x: i128) -> f64 {
    i64::try_from(x).map_or(x as f64, |x| x as f64)
}

fn rounded(mut v: Vec<f64>, t: DType) -> Vec<f64> {
    match t {
        DType::F64 => v,
        DType::F32 => {
            v.iter_mut().for_each(|x| *x = f64::from(*x as f32));
            v
        }
        _ => Tensor::from_f64s(t, vec![v.len()], v).to_f64s(),
    }
}

/// A float toward zero; NaN is 0. What does not fit wraps, as numpy's and ONNX Runtime's conversions do on
/// x86: it goes through 32 or 64 bits, where it saturates.
fn integer(x: f64, t: DType) -> i128 {
    // The conversion to 64 bits is an instruction, that to 128 a call.
    let x_wide = if x.abs() < 1e18 { i128::from(x as i64) } else { x as i128 };
    let saturated = |through: DType| {
        let (min, max) = through.int_range();
        x_wide.clamp(min, max)
    };
    match t {
        DType::U64 if x >= 0.0 => saturated(DType::U64),
        DType::I64 | DType::U64 | DType::U32 => wrapped(saturated(DType::I64), t),
        _ => wrapped(saturated(DType::I32), t),
    }
}

/// For every element of `to`, in order, the index of the element of `from` that broadcasts to it.
pub fn indices<'a>(from: &'a [usize], to: &'a [usize]) -> impl Iterator<Item = usize> + use<> {
    debug_assert_eq!(broadcast(&[from, to]), to);
    let lead = to.len() - from.len();
    let mut stride = 1usize;
    let mut strides = vec![0; to.len()];
    for d in (0..from.len()).rev() {
        strides[lead + d] = if from[d] == 1 { 0 } else { stride };
        // What has no elements may have axes of any size.
        stride = stride.saturating_mul(from[d]);
    }
    crate::index::walk(to, &strides, 0)
}
