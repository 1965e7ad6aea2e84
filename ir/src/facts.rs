//! Facts: the elements of small tensors, as far as they are known symbolically.
//!
//! A shape computed in a model (`Shape → Gather → Mul → Concat → Reshape`) is known here as a list of
//! [`Dim`]s without knowing the batch. Facts are inferred as nodes are added to a graph. Sizes that take the
//! way through floating point (`Cast → Mul 0.5 → Floor → Cast`) are followed as ratios: exact, where the
//! run rounds, so they agree for sizes a float holds exactly.
use crate::interp;
use crate::ops::Op;
use crate::scalar::{Node, Prim, Rule, Scalar};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};
use smallvec::SmallVec;

/// The elements of a tensor in row-major order.
pub type Fact = Vec<Dim>;

/// The most elements a fact has.
pub const MAX_ELEMENTS: usize = 128;

/// A number as a quotient of dimensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ratio {
    num: Dim,
    /// Positive in every run in which the number exists; 1 for an integer.
    den: Dim,
}

/// What is known of a tensor's elements.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// Nothing.
    #[default]
    No,
    /// They are these integers.
    Integers(Fact),
    /// They are these numbers, not all of which are integers.
    Ratios(Vec<Ratio>),
}

impl Known {
    /// The elements, if they are integers.
    pub(crate) fn integers(&self) -> Option<&Fact> {
        match self {
            Known::Integers(fact) => Some(fact),
            _ => None,
        }
    }
    fn elements(&self) -> Option<Vec<Ratio>> {
        match self {
            Known::No => None,
            Known::Integers(fact) => Some(fact.iter().cloned().map(Ratio::whole).collect()),
            Known::Ratios(all) => Some(all.clone()),
        }
    }
    fn new(elements: Vec<Ratio>, dtype: DType) -> Known {
        if elements.iter().all(Ratio::is_whole) {
            Known::Integers(elements.into_iter().map(|r| r.num).collect())
        } else if dtype.is_float() {
            Known::Ratios(elements)
        } else {
            Known::No
        }
    }
}

impl Ratio {
    fn whole(num: Dim) -> Ratio {
        Ratio { num, den: Dim::ONE }
    }
    fn new(num: Dim, den: Dim) -> Ratio {
        match num.exact_div(&den) {
            Some(whole) => Ratio::whole(whole),
            None => Ratio { num, den },
        }
    }
    fn is_whole(&self) -> bool {
        self.den == Dim::ONE
    }
    /// A number that has few binary digits.
    fn of(x: f64) -> Option<Ratio> {
        let mut den = 1i64;
        while (x * den as f64).fract() != 0.0 && den < 1 << 20 {
            den *= 2;
        }
        let num = x * den as f64;
        let exact =
            num.fract() == 0.0 && num.abs() < (1u64 << 40) as f64 && (x != 0.0 || x.is_sign_positive());
        exact.then(|| Ratio { num: Dim::from(num as i64), den: Dim::from(den) })
    }
    fn number(&self) -> Option<f64> {
        Some(self.num.known()? as f64 / self.den.known()? as f64)
    }
}

/// What is known of the results of an op, given what is known of its operands.
pub(crate) fn infer(op: &Op, types: &[Type], operands: &[&Known], results: &[Type]) -> Vec<Known> {
    let mut facts = vec![Known::No; results.len()];
    if let ([result], true) = (results, op.regions().is_empty())
        && let Some(count) = small(result)
    {
        let elements = elements(op, types, operands, result).filter(|all| all.len() == count);
        facts[0] = elements.map_or(Known::No, |all| Known::new(all, result.dtype));
    }
    facts
}

/// The number of elements of a tensor of numbers with known dimensions and few elements.
fn small(ty: &Type) -> Option<usize> {
    if ty.dtype.is_reference() {
        return None;
    }
    let count = ty.sizes()?.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
    (count <= MAX_ELEMENTS).then_some(count)
}

fn elements(op: &Op, types: &[Type], operands: &[&Known], ty: &Type) -> Option<Vec<Ratio>> {
    let whole = |i: usize| operands.get(i).and_then(|k: &&Known| k.integers());
    let one = |d: Dim| Some(vec![Ratio::whole(d)]);
    let to_one = ty.elements() == Dim::ONE;
    match op {
        Op::Const { value } => tensor(value.tensor()),
        Op::Dims { values } => Some(values.iter().cloned().map(Ratio::whole).collect()),
        Op::Bind { dims } => Some(dims.iter().cloned().map(Ratio::whole).collect()),
        Op::Input { .. } => None,
        _ if !operands.is_empty() && operands.iter().all(|k| **k == Known::No) => None,
        Op::ReduceProd { .. } if to_one => one(Dim::product(whole(0)?)),
        Op::ReduceSum { .. } if to_one => one(whole(0)?.iter().cloned().sum()),
        Op::ReduceMax { .. } if to_one => one(whole(0)?.iter().cloned().reduce(|a, b| a.max(&b))?),
        Op::ReduceMin { .. } if to_one => one(whole(0)?.iter().cloned().reduce(|a, b| a.min(&b))?),
        Op::CumSum { axis: 0 | -1, exclusive: false, reverse: false } if ty.rank() == 1 => {
            let mut sum = Dim::ZERO;
            let sums = whole(0)?.iter().map(|d| {
                sum += d;
                Ratio::whole(sum.clone())
            });
            Some(sums.collect())
        }
        _ => evaluated(op, types, operands).or_else(|| match op.scalar() {
            Some(f) => mapped(&f, types, operands, ty),
            None => moved(op, types, operands),
        }),
    }
}

/// The elements of a tensor, if they are integers or have few binary digits.
fn tensor(t: &Tensor) -> Option<Vec<Ratio>> {
    if t.len() > MAX_ELEMENTS {
        None
    } else if t.dtype().is_float() {
        t.to_f64s().into_iter().map(Ratio::of).collect()
    } else {
        t.to_i128s().into_iter().map(|x| i64::try_from(x).ok().map(|x| Ratio::whole(x.into()))).collect()
    }
}

/// An op whose operands and attributes are all numbers.
fn evaluated(op: &Op, types: &[Type], operands: &[&Known]) -> Option<Vec<Ratio>> {
    let all_known = has_known_dims(op);
    let mut tensors = Vec::with_capacity(operands.len());
    for (ty, known) in types.iter().zip(operands) {
        small(ty).filter(|_| all_known)?;
        let numbers: Option<Vec<f64>> = known.elements()?.iter().map(Ratio::number).collect();
        tensors.push(match known {
            Known::Integers(all) => {
                let values: Option<Vec<i64>> = all.iter().map(Dim::known).collect();
                Tensor::from_i64s(ty.dtype, ty.sizes()?, values?)
            }
            _ => Tensor::from_f64s(ty.dtype, ty.sizes()?, numbers?),
        });
    }
    tensor(interp::eval_op(op, &tensors).ok()?.first()?)
}

fn has_known_dims(op: &Op) -> bool {
    let mut known = true;
    op.visit_dims(&mut |d| known &= d.is_known());
    known
}

/// A pointwise op on ratios of dimensions.
fn mapped(f: &Scalar, types: &[Type], operands: &[&Known], ty: &Type) -> Option<Vec<Ratio>> {
    let shape = ty.sizes()?;
    let dtypes: Vec<DType> = types.iter().map(|t| t.dtype).collect();
    let node_types = f.types(&dtypes).ok()?;
    let mut arguments = Vec::new();
    for (known, t) in operands.iter().zip(types) {
        let all = known.elements()?;
        arguments.push(interp::indices(&t.sizes()?, &shape).map(|i| all[i].clone()).collect::<Vec<_>>());
    }
    let count = shape.iter().product();
    (0..count)
        .map(|e| {
            let mut values: Vec<Ratio> = Vec::with_capacity(f.nodes.len());
            for n in &f.nodes {
                values.push(match n {
                    Node::Arg(i) => arguments[*i][e].clone(),
                    Node::Num(x) => Ratio::of(*x)?,
                    Node::Cast(t, a) => cast(&values[*a], *t)?,
                    Node::Prim(p, args) => {
                        let float = args.iter().find_map(|&a| node_types[a]).is_none_or(|t| t.is_float());
                        primitive(*p, &args.iter().map(|&a| &values[a]).collect::<SmallVec<[_; 3]>>(), float)?
                    }
                });
            }
            Some(values[f.root].clone())
        })
        .collect()
}

fn cast(x: &Ratio, to: DType) -> Option<Ratio> {
    match to {
        DType::Bool if x.is_whole() => {
            let zero = x.num.compare(&Dim::ZERO)?.is_eq();
            Some(Ratio::whole(Dim::from(i64::from(!zero))))
        }
        DType::F64 | DType::F32 => Some(x.clone()),
        // To an integer is toward zero.
        t if t.is_int() && x.num.provably_ge(0) => Some(Ratio::whole(x.num.floor_div(&x.den))),
        t if t.is_int() && x.is_whole() => Some(x.clone()),
        _ => None,
    }
}

fn primitive(p: Prim, args: &[&Ratio], float: bool) -> Option<Ratio> {
    let all_whole = args.iter().all(|a| a.is_whole());
    match (p, args) {
        (Prim::Div, [a, b]) if float => {
            // The sign of a symbolic divisor is known only if it is a size.
            (b.num.provably_ge(0) && b.num != Dim::ZERO).then(|| Ratio::new(&a.num * &b.den, &a.den * &b.num))
        }
        (Prim::Round, [x]) if !x.is_whole() => None,
        (Prim::Trunc, [x]) if !x.num.provably_ge(0) && !x.is_whole() => None,
        (Prim::Floor | Prim::Trunc, [x]) => Some(Ratio::whole(x.num.floor_div(&x.den))),
        (Prim::Ceil, [x]) => Some(Ratio::whole(x.num.ceil_div(&x.den))),
        (Prim::Mul, [a, b]) => Some(Ratio::new(&a.num * &b.num, &a.den * &b.den)),
        (Prim::Select, [c, a, b]) => Some(if c.num.known()? != 0 { (*a).clone() } else { (*b).clone() }),
        _ if all_whole => {
            let dims: SmallVec<[Dim; 3]> = args.iter().map(|a| a.num.clone()).collect();
            p.dim(&dims).map(Ratio::whole)
        }
        (Prim::Add | Prim::Sub, [a, b]) => {
            let (x, y) = (&a.num * &b.den, &b.num * &a.den);
            Some(Ratio::new(if p == Prim::Add { x + y } else { x - y }, &a.den * &b.den))
        }
        (Prim::Min | Prim::Max, [a, b]) if a.den == b.den => {
            Some(Ratio::new(p.dim(&[a.num.clone(), b.num.clone()])?, a.den.clone()))
        }
        (p, [a, b]) if p.rule() == Rule::Compare => {
            p.dim(&[&a.num * &b.den, &b.num * &a.den]).map(Ratio::whole)
        }
        _ => None,
    }
}

/// An op that only moves elements: run on the positions of its operands' elements.
fn moved(op: &Op, types: &[Type], operands: &[&Known]) -> Option<Vec<Ratio>> {
    let data = op.moved_operands(operands.len()).filter(|_| has_known_dims(op))?;
    let mut elements: Vec<Ratio> = Vec::new();
    let mut positions = Vec::with_capacity(operands.len());
    for (i, (t, known)) in types.iter().zip(operands).enumerate() {
        let shape = t.sizes()?;
        if !data.contains(&i) {
            let indices: Option<Vec<i64>> = known.integers()?.iter().map(Dim::known).collect();
            positions.push(Tensor::from_i64s(t.dtype, shape, indices?));
            continue;
        }
        let first = elements.len() as i64;
        elements.extend(known.elements()?);
        positions.push(Tensor::from_i64s(DType::I64, shape, first..elements.len() as i64));
    }
    let moved = interp::eval_op(op, &positions).ok()?;
    moved[0].to_i64s().into_iter().map(|p| elements.get(usize::try_from(p).ok()?).cloned()).collect()
}
