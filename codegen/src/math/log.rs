//! log, log1p and the inverse hyperbolic functions made of them.
//!
//! `x = 2^e (1 + f)` with `1 + f` between `sqrt(1/2)` and `sqrt(2)`. In `f32`,
//! `log(1+f) = f - f²/2 + f³ L(f)`; in `f64`, with `s = f / (2+f)`, `log(1+f) = 2s + s³ Q(s²)`.
use super::exp::ln2;
use super::{layout, polynomial, with_sign};
use crate::nest::{Builder, Expr};
use sardonyx_tensor::DType;
use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

const L_F32: &[f64] = &[
    0.3333331346511841,
    -0.25000008940696716,
    0.2000211924314499,
    -0.1666799634695053,
    0.14219553768634796,
    -0.1240558996796608,
    0.11888153105974197,
    -0.11675631254911423,
    0.06746625900268555,
];
const Q_F64: &[f64] = &[
    0.6666666666666735,
    0.3999999999941111,
    0.2857142874325926,
    0.22222198476228383,
    0.18183569732374966,
    0.1531390331366899,
    0.14797508178647714,
];

/// The exponent e, as a float, and f of a positive finite `x`.
fn split<'b>(b: &'b Builder, x: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let (ty, l) = (x.ty(), layout(x.ty()));
    let (least, shift) =
        if ty.dtype == DType::F32 { (f64::from(f32::MIN_POSITIVE), 24) } else { (f64::MIN_POSITIVE, 54) };
    let subnormal = x.lt(least);
    let bits = subnormal.select(x * 2f64.powi(shift), x).bitcast(l.int);
    let e = (bits - l.bits(FRAC_1_SQRT_2)).shr(l.mantissa);
    let f = (bits - e.shl(l.mantissa)).bitcast(ty.dtype) - 1.0;
    let e = e - subnormal.select(b.constant(e.ty(), i64::from(shift)), b.constant(e.ty(), 0i64));
    (e.cast(ty.dtype), f)
}

/// `log(x)`.
pub(super) fn log<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (high, low) = ln2(x.ty().dtype);
    let (e, f) = split(b, x);
    let value = if x.ty().dtype == DType::F32 {
        let square = f * f;
        let tail = b.fma(e, low, polynomial(b, f, L_F32) * f * square);
        b.fma(e, high, f + b.fma(square, -0.5, tail))
    } else {
        let s = f / (f + 2.0);
        let (z, half) = (s * s, f * f * 0.5);
        let tail = s * b.fma(z, polynomial(b, z, Q_F64), half);
        b.fma(e, high, f - (half - b.fma(e, low, tail)))
    };
    edges(x, value)
}

/// The logarithm where `x` is not positive and finite: infinity, -infinity at 0, NaN below.
fn edges<'b>(x: Expr<'b>, value: Expr<'b>) -> Expr<'b> {
    let b = x.builder();
    let value = x.lt(f64::INFINITY).select(value, x);
    let value = x.lt(0.0).select(b.constant(x.ty(), f64::NAN), value);
    x.eq(0.0).select(b.constant(x.ty(), f64::NEG_INFINITY), value)
}

/// `log(x)` of a positive finite `f64` as a sum of two.
pub(super) fn log_of_two_parts<'b>(b: &'b Builder, x: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let (high, low) = ln2(DType::F64);
    let (e, f) = split(b, x);
    let divisor = f + 2.0;
    let divisor_low = f - (divisor - 2.0);
    let s = f / divisor;
    let s_low = (b.fma(-s, divisor, f) - s * divisor_low) / divisor;
    let z = s * s;
    let cube = z * s * polynomial(b, z, Q_F64);
    let (a, c) = (e * high, s + s);
    let sum = a + c;
    let rest = sum - a;
    let lost = (a - (sum - rest)) + (c - rest);
    let tail = b.fma(e, low, b.fma(s_low, 2.0, cube)) + lost;
    let total = sum + tail;
    (total, tail - (total - sum))
}

/// `log(1 + x)`.
pub(super) fn log1p<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let u = x + 1.0;
    // What the rounding of 1 + x lost, where that is not NaN (u = 0, infinity).
    let correction = (x - (u - 1.0)) / u;
    let zero = b.constant(x.ty(), 0.0);
    log(b, u) + correction.abs().lt(1.0).select(correction, zero)
}

/// `asinh(x)` in `f64`.
pub(super) fn asinh<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let a = x.abs();
    let square = a * a;
    let small = log1p(b, a + square / ((square + 1.0).sqrt() + 1.0));
    with_sign(a.gt(1e100).select(log(b, a) + LN_2, small), x)
}

/// `acosh(x)` in `f64`.
pub(super) fn acosh<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let t = x - 1.0;
    let small = log1p(b, b.fma(t.sqrt(), (t + 2.0).sqrt(), t));
    x.gt(1e100).select(log(b, x) + LN_2, small)
}

/// `atanh(x)` in `f64`.
pub(super) fn atanh<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let a = x.abs();
    let value = log1p(b, (a + a) / (1.0 - a)) * 0.5;
    // The sign by multiplication: a NaN stays one.
    value * with_sign(b.constant(x.ty(), 1.0), x)
}
