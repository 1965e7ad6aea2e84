//! Construction of operations: type checks, lanes made equal, constants folded, identities removed.
use super::build::regs;
use super::{Builder, Expr, Op, Ty, register_dtype};
use sardonyx_ir::scalar::{Prim, Rule};
use sardonyx_tensor::DType;

/// A primitive of `args` as an expression.
pub(super) fn prim<'b>(b: &'b Builder, p: Prim, args: &[Expr<'b>]) -> Expr<'b> {
    assert_eq!(args.len(), p.arity(), "bug: operands of {}", p.name());
    let lanes = args.iter().map(|a| a.ty().lanes).max().unwrap_or(1);
    let args: Vec<Expr<'b>> = args.iter().map(|a| a.splat(lanes)).collect();
    let ty = result(p, &args);
    if let Some(folded) = fold(b, p, ty, &args).or_else(|| identity(p, &args)) {
        return folded;
    }
    b.push(ty, Op::Prim(p, regs(&args)))
}

fn result(p: Prim, args: &[Expr<'_>]) -> Ty {
    let operands = if p.rule() == Rule::Select { &args[1..] } else { args };
    let ty = operands[0].ty();
    let types = || args.iter().map(|a| a.ty().dtype.name()).collect::<Vec<_>>().join(", ");
    let (float, bool) = (ty.dtype.is_float(), ty.dtype == DType::Bool);
    let allowed = match p.rule() {
        Rule::Same => !bool,
        Rule::Float | Rule::Classify => float,
        Rule::Bits => !float,
        Rule::Compare => true,
        Rule::Select => args[0].ty().dtype == DType::Bool,
    };
    assert!(allowed && operands.iter().all(|o| o.ty() == ty), "bug: {} of {}", p.name(), types());
    match p.rule() {
        Rule::Compare | Rule::Classify => ty.with_dtype(DType::Bool),
        _ => ty,
    }
}

/// The value of an operation on constants: integers, and selections by a constant.
fn fold<'b>(b: &'b Builder, p: Prim, ty: Ty, args: &[Expr<'b>]) -> Option<Expr<'b>> {
    if p == Prim::Select {
        return args[0].as_int().map(|c| if c != 0 { args[1] } else { args[2] });
    }
    let of = args[0].ty().dtype;
    if of.is_float() {
        let values: Option<Vec<f64>> = args.iter().map(|a| a.as_num()).collect();
        let exact =
            matches!(p, Prim::Neg | Prim::Abs | Prim::Eq | Prim::Lt | Prim::Le | Prim::IsNan | Prim::IsInf);
        return values.filter(|_| exact).and_then(|v| p.float(&v)).map(|x| b.constant(ty, x));
    }
    let values: Option<Vec<i128>> = args
        .iter()
        .map(|a| a.as_int().map(|x| if of == DType::U64 { i128::from(x as u64) } else { i128::from(x) }))
        .collect();
    let x = p.int(&values?)?;
    Some(b.constant(ty, wrap(x, ty.dtype)))
}

/// An integer wrapped to the values of `dtype`, as the bits of a constant.
pub(super) fn wrap(x: i128, dtype: DType) -> i64 {
    if dtype == DType::Bool {
        return (x & 1) as i64;
    }
    let shift = 128 - dtype.bits();
    (if dtype.is_signed() { (x << shift) >> shift } else { ((x as u128) << shift >> shift) as i128 }) as i64
}

/// `x + 0`, `x * 1`, `x - 0`, `x / 1`, and `x * 0` of integers.
fn identity<'b>(p: Prim, args: &[Expr<'b>]) -> Option<Expr<'b>> {
    let [a, c] = args else { return None };
    if a.ty().dtype.is_float() {
        return (matches!(p, Prim::Mul | Prim::Div) && c.as_num() == Some(1.0))
            .then_some(*a)
            .or((p == Prim::Mul && a.as_num() == Some(1.0)).then_some(*c));
    }
    match (p, a.as_int(), c.as_int()) {
        (Prim::Add | Prim::Sub | Prim::Shl | Prim::Shr, _, Some(0)) | (Prim::Mul | Prim::Div, _, Some(1)) => {
            Some(*a)
        }
        (Prim::Add, Some(0), _) | (Prim::Mul, Some(1), _) | (Prim::Mul, _, Some(0)) => Some(*c),
        (Prim::Mul, Some(0), _) => Some(*a),
        (Prim::And, Some(1), _) if a.ty().dtype == DType::Bool => Some(*c),
        (Prim::And, _, Some(1)) if a.ty().dtype == DType::Bool => Some(*a),
        _ => None,
    }
}

/// Quotient or remainder of indices.
pub(super) fn index<'b>(a: Expr<'b>, c: Expr<'b>, remainder: bool) -> Expr<'b> {
    let b = a.b;
    assert!(a.ty() == Ty::INDEX && c.ty() == Ty::INDEX, "bug: index division of {:?}, {:?}", a.ty(), c.ty());
    match (a.as_int(), c.as_int()) {
        (Some(x), Some(y)) => b.int(if remainder { x % y } else { x / y }),
        (_, Some(1)) => {
            if remainder {
                b.int(0)
            } else {
                a
            }
        }
        (Some(0), _) => a,
        _ if remainder => b.push(Ty::INDEX, Op::IndexRem(a.reg, c.reg)),
        _ => b.push(Ty::INDEX, Op::IndexDiv(a.reg, c.reg)),
    }
}

/// `x` converted to `dtype`, held in its register type.
pub(super) fn cast<'b>(x: Expr<'b>, dtype: DType) -> Expr<'b> {
    let (b, from, to) = (x.b, x.ty(), x.ty().with_dtype(dtype));
    let converted = match x.as_const() {
        _ if from == to => x,
        Some(bits) if from.dtype.is_float() && to.dtype.is_float() => b.constant(to, f64::from_bits(bits)),
        Some(bits) if !from.dtype.is_float() && !to.dtype.is_float() && from.dtype != DType::U64 => b
            .constant(
                to,
                if to.dtype == DType::Bool {
                    i64::from(bits != 0)
                } else {
                    wrap(i128::from(bits as i64), to.dtype)
                },
            ),
        _ if to.dtype == DType::Bool => {
            x.ne(if from.dtype.is_float() { b.constant(from, 0.0) } else { b.constant(from, 0i64) })
        }
        _ if is_inside(x, to.dtype) => b.push(to, Op::CastInside(x.reg)),
        _ => b.push(to, Op::Cast(x.reg)),
    };
    if dtype == register_dtype(dtype) || dtype.is_reference() {
        converted
    } else {
        b.push(to, Op::Narrow(dtype, converted.reg))
    }
}

/// Whether a float was limited to the range of a narrow integer.
fn is_inside(x: Expr<'_>, to: DType) -> bool {
    if !x.ty().dtype.is_float() || to.is_float() || to == DType::Bool || to.size() > 2 {
        return false;
    }
    let (least, greatest) = to.int_range();
    let limit = |x: Expr<'_>, p: Prim| -> Option<(f64, Option<f64>)> {
        let state = x.b.state.borrow();
        let number = |r: super::Reg| match state.defs[r.0 as usize] {
            Some(Op::Const(bits)) => Some(f64::from_bits(bits)),
            _ => None,
        };
        let pair = |r: super::Reg, p: Prim| match &state.defs[r.0 as usize] {
            Some(Op::Prim(q, args)) if *q == p => Some((args[0], args[1])),
            _ => None,
        };
        let (a, c) = pair(x.reg, p)?;
        let (inner, outer) = match (number(a), number(c)) {
            (_, Some(n)) => (a, n),
            (Some(n), _) => (c, n),
            _ => return None,
        };
        let other = if p == Prim::Min { Prim::Max } else { Prim::Min };
        let second = pair(inner, other).and_then(|(a, c)| number(a).or(number(c)));
        Some((outer, second))
    };
    let fits = |low: f64, high: f64| low >= least as f64 && high <= greatest as f64;
    match (limit(x, Prim::Min), limit(x, Prim::Max)) {
        (Some((high, Some(low))), _) => fits(low, high) && low <= high,
        (_, Some((low, Some(high)))) => fits(low, high) && low <= high,
        _ => false,
    }
}
