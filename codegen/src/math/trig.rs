//! Circular functions and their inverses.
//!
//! `x = q pi/2 + r` with `|r| <= pi/4`. Moderate arguments are reduced with pi/2 in four parts whose
//! products with q are exact; `f32` arguments beyond are multiplied by the bits of 2/pi that matter (the
//! method of Payne and Hanek), so `sin` and `cos` hold for all of `f32`. In `f64` they hold up to about 1e6
//! and lose accuracy slowly beyond.
use super::{layout, polynomial, to_nearest, with_sign};
use crate::nest::{Builder, Expr, Ty};
use sardonyx_tensor::DType;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4};

const HALF_PI_F32: [f64; 4] =
    [1.5703125, 0.0004837512969970703, 7.549533620476723e-08, 2.5633440682570896e-12];
const HALF_PI_F64: [f64; 4] =
    [1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32];
/// The largest `f32` that is reduced in four parts: q stays below 2^13.
const MODERATE_F32: f64 = 12_800.0;
/// A zero word, then the bits of 2/pi after the point.
const TWO_OVER_PI: [u32; 8] =
    [0, 0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab];

/// `sin(r) = r + r³ S(r²)`, `cos(r) = 1 - r²/2 + r⁴ C(r²)`.
const S_F32: &[f64] = &[-0.16666655242443085, 0.008332173340022564, -0.00019516656175255775];
const C_F32: &[f64] = &[0.04166664555668831, -0.001388736185617745, 2.4437740648863837e-05];
const S_F64: &[f64] = &[
    -0.16666666666666632,
    0.008333333333322316,
    -0.00019841269829725235,
    2.7557313662044037e-06,
    -2.5050753260293735e-08,
    1.589650462071452e-10,
];
const C_F64: &[f64] = &[
    0.0416666666666666,
    -0.001388888888887399,
    2.4801587289395065e-05,
    -2.7557314326064203e-07,
    2.0875719562330477e-09,
    -1.1359448823213782e-11,
];
/// `atan(t) = t + t³ A(t²)` for `|t| <= tan(pi/8)`.
const A_F64: &[f64] = &[
    -0.33333333333333326,
    0.1999999999999767,
    -0.1428571428538813,
    0.11111111088184947,
    -0.09090908144772028,
    0.07692282763847975,
    -0.06666226829408518,
    0.05877022459978883,
    -0.05218408375257296,
    0.04503564534977637,
    -0.03347478329322024,
    0.015195459260789025,
];

/// q, an integer of which the two low bits count, and r; r is NaN for infinities.
fn reduced<'b>(b: &'b Builder, x: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let ty = x.ty();
    let parts = if ty.dtype == DType::F32 { HALF_PI_F32 } else { HALF_PI_F64 };
    let (q, rounded) = to_nearest(b, x, FRAC_2_PI);
    let [first, second, third, fourth] = parts;
    let near = b.fma(rounded, -second, b.fma(rounded, -first, x));
    // What the third difference loses is taken off with the fourth part.
    let step = rounded * third;
    let closer = near - step;
    let lost = step - (near - closer);
    let r = closer - b.fma(rounded, fourth, lost);
    let (q, r) = if ty.dtype == DType::F32 {
        let moderate = x.abs().le(MODERATE_F32);
        let (far_q, far_r) = far(b, x);
        (moderate.select(q, far_q), moderate.select(r, far_r))
    } else {
        (q, r)
    };
    (q, x.abs().lt(f64::INFINITY).select(r, b.constant(ty, f64::NAN)))
}

/// q and r of a large `f32`: its mantissa times the bits of 2/pi with weights 2, 1, 1/2, … in the product.
fn far<'b>(b: &'b Builder, x: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let ty = x.ty();
    let bits = x.bitcast(DType::U32);
    let mantissa = bits.and(0x007f_ffff).or(0x0080_0000).cast(DType::U64);
    // The first bit that matters has weight 2^(1 - (exponent - 23)); the table starts 32 bits early.
    let position = bits.shr(23).and(255) - 120;
    let (word, shift) = (position.shr(5), position.and(31).cast(DType::U64));
    let at = |j: usize| {
        let entry = |i: usize| b.constant(Ty { dtype: DType::U32, ..ty }, i64::from(TWO_OVER_PI[i]));
        let picked = (0..4).fold(entry(4 + j), |rest, k| word.eq(k).select(entry(k as usize + j), rest));
        picked.cast(DType::U64)
    };
    let (first, second) = (at(0).shl(32).or(at(1)), at(2).shl(32).or(at(3)));
    let window = first.shl(shift).or(second.shr(64 - shift));
    let next = second.shl(shift).shr(32);
    let product = mantissa * window + (mantissa * next).shr(32);
    let quarter = (product + (1i64 << 61)).shr(62);
    let fraction = (product - quarter.shl(62)).bitcast(DType::I64);
    let r = (fraction.cast(DType::F64) * (FRAC_PI_2 / 2f64.powi(62))).cast(DType::F32);
    let (q, negative) = (quarter.cast(DType::I32), x.lt(0.0));
    (negative.select(-q, q), negative.select(-r, r))
}

/// The sine and the cosine of `|r| <= pi/4`.
fn kernel<'b>(b: &'b Builder, r: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let (s, c) = if r.ty().dtype == DType::F32 { (S_F32, C_F32) } else { (S_F64, C_F64) };
    let z = r * r;
    let sine = b.fma(r * z, polynomial(b, z, s), r);
    let cosine = b.fma(z * z, polynomial(b, z, c), b.fma(z, -0.5, 1.0));
    (sine, cosine)
}

/// `sin(r + q pi/2)`.
fn rotated<'b>(q: Expr<'b>, (sine, cosine): (Expr<'b>, Expr<'b>)) -> Expr<'b> {
    let (ty, l) = (sine.ty(), layout(sine.ty()));
    let value = q.and(1).eq(0).select(sine, cosine);
    let sign = q.shl(l.int.bits() as i64 - 2).and(l.sign());
    value.bitcast(l.int).xor(sign).bitcast(ty.dtype)
}

/// `sin(x)`.
pub(super) fn sin<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (q, r) = reduced(b, x);
    rotated(q, kernel(b, r))
}

/// `cos(x)`.
pub(super) fn cos<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (q, r) = reduced(b, x);
    rotated(q + 1, kernel(b, r))
}

/// `tan(x)`.
pub(super) fn tan<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (q, r) = reduced(b, x);
    let (sine, cosine) = kernel(b, r);
    let even = q.and(1).eq(0);
    even.select(sine, -cosine) / even.select(cosine, sine)
}

/// `atan(x)` in `f64`: the argument is turned by pi/4 or pi/2 to be at most `tan(pi/8)`.
pub(super) fn atan<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let (ty, a) = (x.ty(), x.abs());
    let number = |v: f64| b.constant(ty, v);
    let (turn, half_turn) = (a.gt((FRAC_PI_4 * 0.5).tan()), a.gt((FRAC_PI_4 * 1.5).tan()));
    let pick = |large, middle, small| half_turn.select(large, turn.select(middle, small));
    let t = pick(number(-1.0), a - 1.0, a) / pick(a, a + 1.0, number(1.0));
    let z = t * t;
    // The parts of pi/4 and pi/2 below the last bit of an f64.
    let low = 3.061616997868383e-17;
    let tail = b.fma(t * z, polynomial(b, z, A_F64), pick(number(2.0 * low), number(low), number(0.0)));
    with_sign(pick(number(FRAC_PI_2), number(FRAC_PI_4), number(0.0)) + (t + tail), x)
}

/// `asin(x)` in `f64`.
pub(super) fn asin<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    atan(b, x / ((1.0 - x) * (x + 1.0)).sqrt())
}

/// `acos(x)` in `f64`.
pub(super) fn acos<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    atan(b, ((1.0 - x) / (x + 1.0)).sqrt()) * 2.0
}
