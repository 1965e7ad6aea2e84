//! Expansion of a nest into basic operations that every emitter prints as instructions.
//!
//! Transcendental primitives become branch-free polynomials of multiply-adds, selects and bit operations,
//! so that loops over them vectorize; types that exist in memory only are converted by integer operations.
//! The coefficients are minimax fits rounded to the type; `codegen/tests/math.rs` measures the errors.
mod erf;
mod exp;
mod integer;
mod log;
mod narrow;
mod pow;
mod remainder;
mod trig;

use crate::nest::{Builder, Expr, Nest, Op, Rules, Ty, rewrite};
use crate::target::TargetSpec;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;

/// The nest with transcendental primitives, powers, float remainders and the conversions that the target
/// lacks written out.
pub fn expand(nest: &Nest, target: &TargetSpec) -> Nest {
    expanded(nest, target.f16c, false)
}

/// The same for GPUs, all of which convert `f16`.
pub fn expand_gpu(nest: &Nest) -> Nest {
    expanded(nest, true, false)
}

/// The same for values of `f32` that are stored in 16 bits: `exp` stays, and is what the hardware takes for it.
pub fn expand_coarse(nest: &Nest) -> Nest {
    expanded(nest, true, true)
}

fn expanded(nest: &Nest, half: bool, coarse: bool) -> Nest {
    rewrite(
        nest,
        &Rules {
            dtype: &|t| narrow::storage(t, half),
            op: &|b, ty, op| b.exactly(|| operation(b, ty, op, half, coarse)),
            load: &|b, t, x| b.exactly(|| narrow::widen(b, t, half, x)),
            store: &|b, t, x| b.exactly(|| narrow::narrow(b, t, half, x)),
        },
    )
}

fn operation<'b>(b: &'b Builder, _: Ty, op: &Op, half: bool, coarse: bool) -> Option<Expr<'b>> {
    match op {
        Op::Prim(p, args) => {
            let args: Vec<Expr<'b>> = args.iter().map(|&r| b.wrap(r)).collect();
            match args[0].ty().dtype {
                DType::F32 if coarse && *p == Prim::Exp => None,
                t if t.is_float() => float(b, *p, &args, coarse && t == DType::F32),
                _ => integer::prim(*p, &args),
            }
        }
        Op::Narrow(t, x) => {
            let bits = narrow::narrow(b, *t, half, b.wrap(*x))?;
            narrow::widen(b, *t, half, bits).or(Some(bits))
        }
        _ => None,
    }
}

/// A primitive of floats; `None` for those that are instructions.
fn float<'b>(b: &'b Builder, p: Prim, args: &[Expr<'b>], coarse: bool) -> Option<Expr<'b>> {
    let x = args[0];
    let normal = |x| if coarse { b.prim(Prim::Exp, &[x]) } else { exp::exp_normal(b, x) };
    Some(match p {
        Prim::Sign => {
            x.gt(0.0).select(b.constant(x.ty(), 1.0), x.lt(0.0).select(b.constant(x.ty(), -1.0), x))
        }
        Prim::Rem => remainder::remainder(b, x, args[1]),
        Prim::Mod => remainder::modulo(b, x, args[1]),
        Prim::Pow => pow::pow(b, x, args[1]),
        Prim::Exp => exp::exp(b, x),
        Prim::Expm1 => exp::expm1(b, x),
        Prim::Tanh => exp::tanh(b, x, &normal),
        Prim::Sinh => in_f64(x, |x| exp::sinh(b, x)),
        Prim::Cosh => in_f64(x, |x| exp::cosh(b, x)),
        Prim::Log => log::log(b, x),
        Prim::Log1p => log::log1p(b, x),
        Prim::Asinh => in_f64(x, |x| log::asinh(b, x)),
        Prim::Acosh => in_f64(x, |x| log::acosh(b, x)),
        Prim::Atanh => in_f64(x, |x| log::atanh(b, x)),
        Prim::Sin => trig::sin(b, x),
        Prim::Cos => trig::cos(b, x),
        Prim::Tan => trig::tan(b, x),
        Prim::Asin => in_f64(x, |x| trig::asin(b, x)),
        Prim::Acos => in_f64(x, |x| trig::acos(b, x)),
        Prim::Atan => in_f64(x, |x| trig::atan(b, x)),
        Prim::Erf => erf::erf(b, x, &normal),
        _ => return None,
    })
}

/// Computes a function in `f64` whatever the type of its argument.
fn in_f64<'b>(x: Expr<'b>, f: impl FnOnce(Expr<'b>) -> Expr<'b>) -> Expr<'b> {
    f(x.cast(DType::F64)).cast(x.ty().dtype)
}

/// A function with a loop that runs differently often for each lane of vectors: lane by lane.
fn each_lane<'b>(
    b: &'b Builder,
    x: Expr<'b>,
    y: Expr<'b>,
    f: impl Fn(Expr<'b>, Expr<'b>) -> Expr<'b>,
) -> Expr<'b> {
    let lanes = x.ty().lanes;
    if lanes == 1 {
        return f(x, y);
    }
    let lane = b.iota(DType::I32, lanes);
    (0..lanes).fold(b.constant(x.ty(), 0i64), |all, i| {
        lane.eq(i64::from(i)).select(f(x.lane(i), y.lane(i)).splat(lanes), all)
    })
}

/// The bits of a floating-point type.
struct Layout {
    /// The signed integer of the same size.
    int: DType,
    /// Bits of the mantissa.
    mantissa: i64,
    /// Bias of the exponent.
    bias: i64,
    /// 1.5 · 2^mantissa: adding it rounds to an integer, which then stands in the low bits.
    rounder: f64,
}

fn layout(ty: Ty) -> Layout {
    match ty.dtype {
        DType::F32 => Layout { int: DType::I32, mantissa: 23, bias: 127, rounder: 1.5 * 8_388_608.0 },
        DType::F64 => {
            Layout { int: DType::I64, mantissa: 52, bias: 1023, rounder: 1.5 * 4_503_599_627_370_496.0 }
        }
        t => panic!("bug: the layout of {t}"),
    }
}

impl Layout {
    /// The bits of a number, sign-extended.
    fn bits(&self, x: f64) -> i64 {
        if self.int == DType::I32 { i64::from((x as f32).to_bits() as i32) } else { x.to_bits() as i64 }
    }
    /// The sign bit alone.
    fn sign(&self) -> i64 {
        if self.int == DType::I32 { i64::from(i32::MIN) } else { i64::MIN }
    }
}

/// `c[0] + c[1] x + c[2] x² + …`
fn polynomial<'b>(b: &'b Builder, x: Expr<'b>, c: &[f64]) -> Expr<'b> {
    let (last, rest) = c.split_last().expect("a polynomial should have coefficients");
    rest.iter().rev().fold(b.constant(x.ty(), *last), |sum, &c| b.fma(sum, x, c))
}

/// `x` nearest to an integer, as that integer and as a float; `|x|` below 2^22 (2^51 for `f64`). `scale` is
/// multiplied first.
fn to_nearest<'b>(b: &'b Builder, x: Expr<'b>, scale: f64) -> (Expr<'b>, Expr<'b>) {
    let l = layout(x.ty());
    let shifted = b.fma(x, scale, l.rounder);
    (shifted.bitcast(l.int) - l.bits(l.rounder), shifted - l.rounder)
}

/// The lesser of `x` and a bound; NaN stays.
fn at_most<'b>(x: Expr<'b>, bound: f64) -> Expr<'b> {
    let bound = x.builder().constant(x.ty(), bound);
    bound.lt(x).select(bound, x)
}

/// The greater of `x` and a bound; NaN stays.
fn at_least<'b>(x: Expr<'b>, bound: f64) -> Expr<'b> {
    let bound = x.builder().constant(x.ty(), bound);
    x.lt(bound).select(bound, x)
}

/// `magnitude`, which is not negative, with the sign of `x`.
fn with_sign<'b>(magnitude: Expr<'b>, x: Expr<'b>) -> Expr<'b> {
    let l = layout(x.ty());
    magnitude.bitcast(l.int).or(x.bitcast(l.int).and(l.sign())).bitcast(x.ty().dtype)
}
