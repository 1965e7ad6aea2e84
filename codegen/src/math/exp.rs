//! exp, expm1 and the hyperbolic functions made of them.
//!
//! `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `exp(r) - 1 = r + r² E(r)`.
use super::{at_least, at_most, layout, polynomial, to_nearest, with_sign};
use crate::nest::{Builder, Expr};
use sardonyx_tensor::DType;
use std::f64::consts::{LN_2, LOG2_E};

const E_F32: &[f64] =
    &[0.5, 0.166665181517601, 0.04166620224714279, 0.008368889801204205, 0.0013950590509921312];
const E_F64: &[f64] = &[
    0.5,
    0.166666666666667,
    0.04166666666651542,
    0.008333333333307148,
    0.0013888888947016197,
    0.00019841269917509537,
    2.4801489941426248e-05,
    2.7557216193028654e-06,
    2.763128072353569e-07,
    2.5117893221987734e-08,
];
/// `tanh(x) = x + x³ T(x²)` for `|x| <= 0.625`.
const T_F32: &[f64] = &[
    -0.3333328366279602,
    0.13331469893455505,
    -0.05374162271618843,
    0.020644139498472214,
    -0.005709499586373568,
];

/// ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
pub(super) fn ln2(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F32 => (0.693115234375, 3.194618329871446e-05),
        _ => (0.6931471803691238, 1.9082149292705877e-10),
    }
}

/// n, an integer, and `exp(r) - 1` for `x + low = n ln 2 + r`.
fn reduced<'b>(b: &'b Builder, x: Expr<'b>, low: Option<Expr<'b>>) -> (Expr<'b>, Expr<'b>) {
    let dtype = x.ty().dtype;
    let (n, rounded) = to_nearest(b, x, LOG2_E);
    let (high, rest) = ln2(dtype);
    let r = b.fma(rounded, -rest, b.fma(rounded, -high, x));
    let r = low.map_or(r, |low| r + low);
    let e = polynomial(b, r, if dtype == DType::F32 { E_F32 } else { E_F64 });
    (n, b.fma(r * r, e, r))
}

/// 2^n for an integer n within the normal exponents.
fn power_of_two<'b>(n: Expr<'b>, dtype: DType) -> Expr<'b> {
    let l = layout(n.ty().with_dtype(dtype));
    (n + l.bias).shl(l.mantissa).bitcast(dtype)
}

/// `exp(x + low)`; `low` is small against 1.
pub(super) fn exp_of_sum<'b>(b: &'b Builder, x: Expr<'b>, low: Option<Expr<'b>>) -> Expr<'b> {
    let dtype = x.ty().dtype;
    let (least, greatest) = if dtype == DType::F32 { (-104.0, 89.0) } else { (-746.0, 710.0) };
    let (n, p) = reduced(b, at_most(at_least(x, least), greatest), low);
    // The power of two in two factors: the result may be subnormal, or overflow where n is one too large.
    let half = n.shr(1);
    (p + 1.0) * power_of_two(half, dtype) * power_of_two(n - half, dtype)
}

/// `exp(x)`.
pub(super) fn exp<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    exp_of_sum(b, x, None)
}

/// `exp(x)` for `x` whose result is a normal number.
pub(super) fn exp_normal<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (n, p) = reduced(b, x, None);
    let scale = power_of_two(n, x.ty().dtype);
    b.fma(scale, p, scale)
}

/// `exp(x) - 1`.
pub(super) fn expm1<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let dtype = x.ty().dtype;
    let (least, greatest) = if dtype == DType::F32 { (-30.0, 89.0) } else { (-60.0, 710.0) };
    let (n, p) = reduced(b, at_most(at_least(x, least), greatest), None);
    let half = power_of_two(n - 1, dtype);
    b.fma(half, p, half - 0.5) * 2.0
}

/// `tanh(x)`: in `f32` `x + x³ T(x²)` below 0.625, else `1 - 2 / (exp(2|x|) + 1)`; in `f64`
/// `(exp(2|x|) - 1) / (exp(2|x|) + 1)`. With the sign of `x`; `exp` is that of normal numbers.
pub(super) fn tanh<'b>(b: &'b Builder, x: Expr<'b>, exp: &dyn Fn(Expr<'b>) -> Expr<'b>) -> Expr<'b> {
    if x.ty().dtype == DType::F64 {
        let a = at_most(x.abs(), 20.0);
        let e = expm1(b, a + a);
        return with_sign(e / (e + 2.0), x);
    }
    let a = at_most(x.abs(), 10.0);
    let z = a * a;
    let small = b.fma(a * z, polynomial(b, z, T_F32), a);
    let large = 1.0 - 2.0 / (exp(a + a) + 1.0);
    with_sign(a.lt(0.625).select(small, large), x)
}

/// `sinh(x)` in `f64`.
pub(super) fn sinh<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let a = x.abs();
    let e = expm1(b, a);
    let small = (e + e / (e + 1.0)) * 0.5;
    with_sign(a.gt(700.0).select(half_exp(b, a), small), x)
}

/// `cosh(x)` in `f64`.
pub(super) fn cosh<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let a = x.abs();
    let e = exp(b, a);
    a.gt(700.0).select(half_exp(b, a), b.fma(e, 0.5, 0.5 / e))
}

/// `exp(x) / 2` where `exp(x)` may overflow.
fn half_exp<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (high, low) = ln2(DType::F64);
    debug_assert!((high + low - LN_2).abs() < 1e-15);
    let reduced = x - high;
    exp_of_sum(b, reduced, Some(b.constant(x.ty(), -low)))
}
