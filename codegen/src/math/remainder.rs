//! Remainders of floats, exact for every quotient.
//!
//! Long division: while `r >= d`, the divisor is scaled up to at most 26 bits below `r`, and a whole
//! quotient times it is taken off. The divisor stands in two halves of 26 bits, so all products are exact.
use super::{each_lane, layout, with_sign};
use crate::nest::{Builder, Expr};
use sardonyx_tensor::DType;

/// The remainder with the sign of the dividend.
pub(super) fn remainder<'b>(b: &'b Builder, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    each_lane(b, x, y, |x, y| of_numbers(b, x, y))
}

fn of_numbers<'b>(b: &'b Builder, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    let dtype = x.ty().dtype;
    let (a, d) = (x.cast(DType::F64).abs(), y.cast(DType::F64).abs());
    let defined = a.lt(f64::INFINITY).and(d.gt(0.0));
    let number = |v: f64| b.constant(a.ty(), v);
    let r = b.var(defined.select(a, number(0.0)));
    let divisor = defined.select(d, number(1.0));
    b.while_(|| r.get().ge(divisor), || r.update(|r| step(b, r, divisor)));
    let value = with_sign(r.get().cast(dtype), x);
    let value = defined.select(value, b.constant(x.ty(), f64::NAN));
    y.is_nan().select(y, value)
}

/// `r` less a multiple of `d`, between 0 and `r`; `r >= d`.
fn step<'b>(b: &'b Builder, r: Expr<'b>, d: Expr<'b>) -> Expr<'b> {
    let l = layout(r.ty());
    let exponent = |x: Expr<'b>| x.bitcast(l.int).shr(l.mantissa);
    // How far the divisor is scaled; an infinite divisor never gets here.
    let up = (exponent(r) - exponent(d) - 25).max(0);
    let scale = |n: Expr<'b>| (n + l.bias).shl(l.mantissa).bitcast(DType::F64);
    let first = up.min(1000);
    let d = d * scale(first) * scale((up - first).min(1000));
    let quotient = (r / d).trunc();
    let high = d.bitcast(DType::I64).and(-(1i64 << 27)).bitcast(DType::F64);
    let left = (r - quotient * high) - quotient * (d - high);
    left.lt(0.0).select(left + d, left).min(r).max(b.constant(r.ty(), 0.0))
}

/// The remainder with the sign of the divisor.
pub(super) fn modulo<'b>(b: &'b Builder, x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    let r = remainder(b, x, y);
    let differs = r.lt(0.0).xor(y.lt(0.0));
    let value = r.ne(0.0).and(differs).select(r + y, r);
    r.is_nan().select(r, value)
}
