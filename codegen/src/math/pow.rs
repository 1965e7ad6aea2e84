//! Powers of floats: `|x|^y = exp(y log|x|)` in `f64`, with the special cases of IEEE 754.
use super::exp::exp_of_sum;
use super::log::{log, log_of_two_parts};
use super::{in_f64, layout};
use crate::nest::{Builder, Expr};
use sardonyx_tensor::DType;

/// `x` to the power `y`.
pub(super) fn pow<'b>(b: &'b Builder, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    y.as_num().and_then(|y| known(b, x, y)).unwrap_or_else(|| general(b, x, y))
}

/// Exponents for which there is something shorter.
fn known<'b>(b: &'b Builder, x: Expr<'b>, y: f64) -> Option<Expr<'b>> {
    let root = || {
        let infinite = x.eq(f64::NEG_INFINITY);
        infinite.select(b.constant(x.ty(), f64::INFINITY), x.sqrt().abs())
    };
    Some(match y {
        0.0 => b.constant(x.ty(), 1.0),
        1.0 => x,
        2.0 => x * x,
        3.0 => in_f64(x, |x| x * x * x),
        -1.0 => 1.0 / x,
        -2.0 => in_f64(x, |x| 1.0 / (x * x)),
        0.5 => root(),
        -0.5 => in_f64(root(), |r| 1.0 / r),
        _ => return None,
    })
}

fn general<'b>(b: &'b Builder, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    let (ty, l) = (x.ty(), layout(x.ty()));
    let number = |v: f64| b.constant(ty, v);
    let a = x.abs();
    let magnitude = if ty.dtype == DType::F64 {
        wide_power(b, a, y)
    } else {
        let log = log(b, a.cast(DType::F64));
        exp_of_sum(b, log * y.cast(DType::F64), None).cast(DType::F32)
    };
    // 1 to any power that is a number, then anything to the power 0, and 1 to any power.
    let magnitude = a.eq(1.0).and(y.is_nan().not()).select(number(1.0), magnitude);
    let integer = y.trunc().eq(y);
    let odd = integer.and((y * 0.5).trunc().eq(y * 0.5).not());
    let negative = x.bitcast(l.int).lt(0);
    let signed = negative.and(odd).select(-magnitude, magnitude);
    let undefined = x.lt(0.0).and(x.gt(f64::NEG_INFINITY)).and(integer.not());
    let value = undefined.select(number(f64::NAN), signed);
    let value = x.is_nan().or(y.is_nan()).select(number(f64::NAN), value);
    x.eq(1.0).or(y.eq(0.0)).select(number(1.0), value)
}

/// `a^y` for `a >= 0` in `f64`, the logarithm and the product carried to twice the precision.
fn wide_power<'b>(b: &'b Builder, a: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    let (high, low) = log_of_two_parts(b, a);
    // Zero and infinity have the logarithms -infinity and infinity.
    let regular = a.gt(0.0).and(a.lt(f64::INFINITY));
    let zero = b.constant(a.ty(), 0.0);
    let edge = a.eq(0.0).select(b.constant(a.ty(), f64::NEG_INFINITY), b.constant(a.ty(), f64::INFINITY));
    let (high, low) = (regular.select(high, edge), regular.select(low, zero));
    let product = high * y;
    let rest = b.fma(high, y, -product) + low * y;
    let rest = rest.abs().lt(1.0).select(rest, zero);
    exp_of_sum(b, product, Some(rest))
}
