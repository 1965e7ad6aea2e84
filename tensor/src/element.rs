//! Rust types that are elements of tensors, and reading and writing single elements of every type.

use half::{bf16, f16};
use microfloat::{f4e2m1fn, f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz, f8e8m0fnu};

use crate::DType;

/// A Rust type with the memory layout of an element type.
pub trait Element: Copy + Send + Sync + 'static {
    /// The element type.
    const DTYPE: DType;

    /// The bytes of elements.
    fn bytes_of(elements: &[Self]) -> &[u8];

    /// Bytes as elements; `None` where length or alignment do not fit, or a `bool` is neither 0 nor 1.
    fn from_bytes(bytes: &[u8]) -> Option<&[Self]>;
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;

            fn bytes_of(elements: &[Self]) -> &[u8] {
                bytemuck::cast_slice(elements)
            }

            fn from_bytes(bytes: &[u8]) -> Option<&[Self]> {
                bytemuck::try_cast_slice(bytes).ok()
            }
        }
    )*};
}
elements!(f64 => F64, f32 => F32, f16 => F16, bf16 => BF16, i64 => I64, i32 => I32, i16 => I16, i8 => I8,
          u64 => U64, u32 => U32, u16 => U16, u8 => U8);

impl Element for bool {
    const DTYPE: DType = DType::Bool;

    fn bytes_of(elements: &[bool]) -> &[u8] {
        bytemuck::cast_slice(elements)
    }

    fn from_bytes(bytes: &[u8]) -> Option<&[bool]> {
        bytemuck::checked::try_cast_slice(bytes).ok()
    }
}

/// Calls the macro `$read` with the Rust type whose layout `$dtype` has in memory, for integers and `bool`.
macro_rules! with_integer {
    ($dtype:expr, $run:ident, $float:expr) => {
        match $dtype {
            DType::I64 => $run!(i64),
            DType::I32 => $run!(i32),
            DType::I16 => $run!(i16),
            DType::I8 | DType::I4 | DType::I2 => $run!(i8),
            DType::U64 | DType::String | DType::List => $run!(u64),
            DType::U32 => $run!(u32),
            DType::U16 => $run!(u16),
            DType::U8 | DType::U4 | DType::U2 | DType::Bool => $run!(u8),
            _ => $float,
        }
    };
}

/// Calls `each` with the value of every element as a double; 64-bit integers are rounded.
pub(crate) fn each_f64(dtype: DType, bytes: &[u8], mut each: impl FnMut(f64)) {
    macro_rules! wide {
        ($type:ty) => {
            bytes.chunks_exact(size_of::<$type>()).for_each(|chunk| {
                each(<$type>::from_le_bytes(chunk.try_into().expect("a chunk should have its size")) as f64)
            })
        };
    }
    macro_rules! half {
        ($type:ty) => {
            bytes
                .chunks_exact(2)
                .for_each(|chunk| each(<$type>::from_le_bytes([chunk[0], chunk[1]]).to_f64()))
        };
    }
    macro_rules! small {
        ($type:ty) => {
            bytes.iter().for_each(|&byte| each(f64::from(<$type>::from_bits(byte).to_f32())))
        };
    }
    with_integer!(
        dtype,
        wide,
        match dtype {
            DType::F64 => wide!(f64),
            DType::F32 => wide!(f32),
            DType::F16 => half!(f16),
            DType::BF16 => half!(bf16),
            DType::F8E4M3FN => small!(f8e4m3fn),
            DType::F8E4M3FNUZ => small!(f8e4m3fnuz),
            DType::F8E5M2 => small!(f8e5m2),
            DType::F8E5M2FNUZ => small!(f8e5m2fnuz),
            DType::F8E8M0 => small!(f8e8m0fnu),
            _ => small!(f4e2m1fn),
        }
    )
}

/// Calls `each` with the value of every element as an integer; floats are truncated towards zero and
/// saturate.
pub(crate) fn each_i128(dtype: DType, bytes: &[u8], mut each: impl FnMut(i128)) {
    macro_rules! wide {
        ($type:ty) => {
            bytes.chunks_exact(size_of::<$type>()).for_each(|chunk| {
                each(<$type>::from_le_bytes(chunk.try_into().expect("a chunk should have its size")).into())
            })
        };
    }
    with_integer!(dtype, wide, each_f64(dtype, bytes, |value| each(value as i128)))
}

/// Writes an integer, wrapped to the bits of the type, over the element `out`. Floats are rounded.
pub(crate) fn write_i128(dtype: DType, value: i128, out: &mut [u8]) {
    if dtype.is_float() {
        return write_f64(dtype, value as f64, out);
    }
    let unused = 128 - dtype.bits();
    let wrapped = match dtype {
        DType::Bool => i128::from(value != 0),
        _ if dtype.is_signed() => value << unused >> unused,
        _ => ((value as u128) << unused >> unused) as i128,
    };
    out.copy_from_slice(&wrapped.to_le_bytes()[..out.len()]);
}

/// Writes a double over the element `out`: rounded to nearest even for floats, where eight-bit floats
/// saturate (ONNX Cast with `saturate=1`); truncated and wrapped for integers; `!= 0` for `bool`.
#[inline]
pub(crate) fn write_f64(dtype: DType, value: f64, out: &mut [u8]) {
    match dtype {
        DType::F64 => out.copy_from_slice(&value.to_le_bytes()),
        DType::F32 => out.copy_from_slice(&(value as f32).to_le_bytes()),
        DType::F16 => out.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
        DType::BF16 => out.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
        DType::Bool => out[0] = u8::from(value != 0.0),
        _ if dtype.is_float() => out[0] = small_float(dtype, value),
        _ => write_i128(dtype, value as i128, out),
    }
}

/// The bits of a float of at most eight bits: nearest even, saturating.
fn small_float(dtype: DType, value: f64) -> u8 {
    let narrow = round_to_odd(value);
    macro_rules! saturating {
        ($type:ty, $nan:expr) => {{
            let limit = <$type>::MAX.to_f32();
            if value.is_nan() { $nan } else { <$type>::from_f32(narrow.clamp(-limit, limit)).to_bits() }
        }};
    }
    match dtype {
        DType::F8E4M3FN => saturating!(f8e4m3fn, <f8e4m3fn>::from_f32(f32::NAN).to_bits()),
        DType::F8E4M3FNUZ => saturating!(f8e4m3fnuz, 0x80),
        DType::F8E5M2 => saturating!(f8e5m2, <f8e5m2>::from_f32(f32::NAN).to_bits()),
        DType::F8E5M2FNUZ => saturating!(f8e5m2fnuz, 0x80),
        DType::F8E8M0 => scale_bits(narrow),
        _ => saturating!(f4e2m1fn, 0x07),
    }
}

/// The bits of a power of two: that of the size, the next larger one where it is none (ONNX Cast with
/// `round_mode="up"`, its default), the largest for all that is larger. Infinities and NaN are NaN.
fn scale_bits(value: f32) -> u8 {
    let size = value.to_bits() & 0x7fff_ffff;
    match (size >> 23, size & 0x7f_ffff != 0) {
        (0xff, _) => 0xff,
        (0xfe, _) => 0xfe,
        (exponent, has_fraction) => exponent as u8 + u8::from(has_fraction),
    }
}

/// A single from which rounding to fewer bits gives what rounding the double at once would.
fn round_to_odd(value: f64) -> f32 {
    let single = value as f32;
    if single.is_nan() || f64::from(single) == value || single.is_infinite() {
        return single;
    }
    // The nearest single may lie on either side; take the neighbour whose last bit is odd.
    let toward_zero =
        if f64::from(single).abs() > value.abs() { f32::from_bits(single.to_bits() - 1) } else { single };
    f32::from_bits(toward_zero.to_bits() | 1)
}
