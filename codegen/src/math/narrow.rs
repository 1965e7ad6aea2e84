//! Types that exist in memory only, converted by integer operations.
//!
//! Floats round to nearest, ties to even. The 8- and 4-bit ones saturate, infinities too, as ONNX's `Cast`
//! does by default; `f16` and `bf16` overflow to infinity. Small integers keep their low bits.
use crate::nest::{Builder, Expr, Ty};
use sardonyx_tensor::DType;

/// The type under which elements of `dtype` are accessed; `half` if `f16` needs no expansion.
pub(super) fn storage(dtype: DType, half: bool) -> DType {
    match dtype {
        DType::F16 if half => DType::F16,
        DType::F16 | DType::BF16 => DType::U16,
        DType::F64 | DType::F32 => dtype,
        t if t.is_float() => DType::U8,
        t if t.is_reference() => DType::U64,
        DType::I4 | DType::I2 => DType::I8,
        DType::U4 | DType::U2 => DType::U8,
        t => t,
    }
}

/// A small floating-point format.
struct Format {
    mantissa: i64,
    bias: i64,
    /// The code of the greatest number.
    greatest: i64,
    /// What lies beyond it.
    overflow: Overflow,
    /// The code of NaN; with `unsigned_zero`, the one with the sign.
    nan: i64,
    /// The sign bit.
    sign: i64,
    /// Whether there is no negative zero.
    unsigned_zero: bool,
}

/// What becomes of numbers beyond the greatest.
#[derive(PartialEq)]
enum Overflow {
    Saturates,
    /// Infinity, which has the next code.
    Infinity,
}

fn format(dtype: DType) -> Option<Format> {
    use Overflow::{Infinity, Saturates};
    let f = |mantissa, bias, greatest, overflow, nan, sign, unsigned_zero| {
        Some(Format { mantissa, bias, greatest, overflow, nan, sign, unsigned_zero })
    };
    match dtype {
        DType::F16 => f(10, 15, 0x7bff, Infinity, 0x7e00, 0x8000, false),
        DType::F8E4M3FN => f(3, 7, 0x7e, Saturates, 0x7f, 0x80, false),
        DType::F8E4M3FNUZ => f(3, 8, 0x7f, Saturates, 0x80, 0x80, true),
        DType::F8E5M2 => f(2, 15, 0x7b, Saturates, 0x7f, 0x80, false),
        DType::F8E5M2FNUZ => f(2, 16, 0x7f, Saturates, 0x80, 0x80, true),
        DType::F4E2M1 => f(1, 1, 0x7, Saturates, 0x7, 0x8, false),
        _ => None,
    }
}

/// The register value of a stored element; `None` if it needs no conversion.
pub(super) fn widen<'b>(b: &'b Builder, dtype: DType, half: bool, x: Expr<'b>) -> Option<Expr<'b>> {
    match dtype {
        DType::F16 if half => None,
        DType::BF16 => Some(x.cast(DType::U32).shl(16).bitcast(DType::F32)),
        DType::F8E8M0 => Some(widen_scale(b, x)),
        _ => format(dtype).map(|f| widen_float(b, dtype, &f, x)),
    }
}

/// The element to store of a register value; `None` if it needs no conversion.
pub(super) fn narrow<'b>(b: &'b Builder, dtype: DType, half: bool, x: Expr<'b>) -> Option<Expr<'b>> {
    let low_bits = |x: Expr<'b>| x.shl(i64::from(8 - dtype.bits())).shr(i64::from(8 - dtype.bits()));
    match dtype {
        DType::F16 if half => None,
        DType::I4 | DType::I2 | DType::U4 | DType::U2 => Some(low_bits(x)),
        DType::BF16 => Some(narrow_bfloat(x)),
        DType::F8E8M0 => Some(narrow_scale(b, x)),
        _ => format(dtype).map(|f| narrow_float(b, dtype, &f, x)),
    }
}

fn number(b: &Builder, like: Ty, dtype: DType, v: i64) -> Expr<'_> {
    b.constant(Ty { dtype, ..like }, v)
}

fn widen_float<'b>(b: &'b Builder, dtype: DType, f: &Format, x: Expr<'b>) -> Expr<'b> {
    let code = x.cast(DType::I32);
    let magnitude = code.and(f.sign - 1);
    // The bits at the place of an f32's are the number scaled by 2^(bias - 127), subnormals too.
    let scaled = magnitude.shl(23 - f.mantissa).bitcast(DType::F32);
    let value = scaled * 2f64.powi(127 - f.bias as i32);
    let value = code.and(f.sign).eq(0).select(value, -value);
    let nan = b.constant(value.ty(), f64::NAN);
    match dtype {
        DType::F4E2M1 => value,
        _ if f.unsigned_zero => code.eq(f.nan).select(nan, value),
        DType::F8E4M3FN => magnitude.eq(f.nan).select(nan, value),
        _ => {
            // The greatest exponent holds infinity and NaN.
            let infinity = b.constant(value.ty(), f64::INFINITY);
            let infinity = code.and(f.sign).eq(0).select(infinity, -infinity);
            let first = f.greatest + 1;
            magnitude.lt(first).select(value, magnitude.eq(first).select(infinity, nan))
        }
    }
}

fn narrow_float<'b>(b: &'b Builder, dtype: DType, f: &Format, x: Expr<'b>) -> Expr<'b> {
    let ty = x.ty();
    let int = |v: i64| number(b, ty, DType::I32, v);
    let (bits, a) = (x.bitcast(DType::I32), x.abs());
    // Normal numbers: half of the last place is added, less one where the bit above is 0.
    let (shift, magnitude) = (23 - f.mantissa, a.bitcast(DType::I32));
    let last = magnitude.shr(shift).and(1);
    let normal = (magnitude + last + ((1i64 << (shift - 1)) - 1)).shr(shift) - ((127 - f.bias) << f.mantissa);
    // Subnormal numbers: added to a power of two whose last place is theirs.
    let least_exponent = 1 - f.bias;
    let aligner = 2f64.powi((23 + least_exponent - f.mantissa) as i32);
    let aligner_bits = i64::from((aligner as f32).to_bits());
    let subnormal = (a + aligner).bitcast(DType::I32) - aligner_bits;
    let code = a.lt(2f64.powi(least_exponent as i32)).select(subnormal, normal);
    let beyond = if f.overflow == Overflow::Infinity { f.greatest + 1 } else { f.greatest };
    let code = code.gt(f.greatest).select(int(beyond), code);
    let sign = bits.lt(0).select(int(f.sign), int(0));
    let sign = if f.unsigned_zero { code.eq(0).select(int(0), sign) } else { sign };
    let code = x.is_nan().select(int(f.nan), code.or(sign));
    code.cast(storage(dtype, false))
}

fn narrow_bfloat(x: Expr<'_>) -> Expr<'_> {
    let bits = x.bitcast(DType::U32);
    let rounded = (bits + bits.shr(16).and(1) + 0x7fff).shr(16);
    let quiet = bits.shr(16).or(0x40);
    x.is_nan().select(quiet, rounded).cast(DType::U16)
}

/// 2^(code - 127); 255 is NaN.
fn widen_scale<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let code = x.cast(DType::I32);
    let value = code.shl(23).bitcast(DType::F32);
    let value = code.eq(0).select(b.constant(value.ty(), 2f64.powi(-127)), value);
    code.eq(255).select(b.constant(value.ty(), f64::NAN), value)
}

/// The power of two that is not below the magnitude, as ONNX's `Cast` rounds by default.
fn narrow_scale<'b>(b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
    let ty = x.ty();
    let int = |v: i64| number(b, ty, DType::I32, v);
    let magnitude = x.abs().bitcast(DType::I32);
    let code = (magnitude + 0x007f_ffff).shr(23).min(254);
    // Below 2^-127 the exponent of a subnormal says nothing: code 0 is 2^-127.
    let code = x.abs().le(2f64.powi(-127)).select(int(0), code);
    x.abs().lt(f64::INFINITY).select(code, int(255)).cast(DType::U8)
}
