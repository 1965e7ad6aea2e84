//! Tensors of the file format as tensors of the compiler.
use super::file::{ExternalData, Files};
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{SparseTensorProto, TensorProto};
use bytes::Bytes;
use sardonyx_tensor::{DType, Tensor};
use std::sync::Arc;

/// The largest sparse tensor that is made dense, in bytes.
const MAX_DENSE: usize = 1 << 30;

/// The element type with this number in the file format.
pub(crate) fn dtype(number: i32) -> Result<DType, String> {
    Ok(match DataType::try_from(number).map_err(|_| format!("element type {number}"))? {
        DataType::Float => DType::F32,
        DataType::Uint8 => DType::U8,
        DataType::Int8 => DType::I8,
        DataType::Uint16 => DType::U16,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::Bool => DType::Bool,
        DataType::Float16 => DType::F16,
        DataType::Double => DType::F64,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bfloat16 => DType::BF16,
        DataType::Float8e4m3fn => DType::F8E4M3FN,
        DataType::Float8e4m3fnuz => DType::F8E4M3FNUZ,
        DataType::Float8e5m2 => DType::F8E5M2,
        DataType::Float8e5m2fnuz => DType::F8E5M2FNUZ,
        DataType::Uint4 => DType::U4,
        DataType::Int4 => DType::I4,
        DataType::Float4e2m1 => DType::F4E2M1,
        DataType::Float8e8m0 => DType::F8E8M0,
        DataType::Uint2 => DType::U2,
        DataType::Int2 => DType::I2,
        DataType::String => DType::String,
        other => return Err(format!("element type {}", other.as_str_name().to_lowercase())),
    })
}

/// The tensor; its bytes stay in the file where they are aligned.
pub(crate) fn tensor(t: &TensorProto, files: &mut Files) -> Result<Tensor, String> {
    let dtype = dtype(t.data_type)?;
    let (shape, count) = shape(&t.dims)?;
    if dtype == DType::String {
        return texts(t, shape, count);
    }
    let packed = packed_bytes(dtype, count).ok_or("the tensor is too large")?;
    if t.data_location == DataLocation::External as i32 {
        let bytes = files.external(&ExternalData::parse(&t.external_data)?, packed)?;
        return from_raw(dtype, shape, count, bytes);
    }
    if !t.raw_data.is_empty() {
        if t.raw_data.len() != packed {
            return Err(format!("{} bytes of data, its shape {shape:?} takes {packed}", t.raw_data.len()));
        }
        return from_raw(dtype, shape, count, t.raw_data.clone());
    }
    from_fields(t, dtype, shape, count)
}

fn texts(t: &TensorProto, shape: Vec<usize>, count: usize) -> Result<Tensor, String> {
    if t.string_data.len() != count {
        return Err(format!("{} texts, its shape {shape:?} has {count}", t.string_data.len()));
    }
    let texts: Result<Vec<&str>, _> = t.string_data.iter().map(|text| std::str::from_utf8(text)).collect();
    Ok(Tensor::from_texts(shape, &texts.map_err(|e| format!("a text that is not UTF-8: {e}"))?))
}

/// The sizes, and the number of elements.
fn shape(dims: &[i64]) -> Result<(Vec<usize>, usize), String> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let sizes = sizes.ok_or_else(|| format!("negative size in {dims:?}"))?;
    if sizes.contains(&0) {
        return Ok((sizes, 0));
    }
    let count = sizes.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.map(|n| (sizes, n)).ok_or_else(|| format!("{dims:?} is too large"))
}

/// The bytes that the elements take in the file.
fn packed_bytes(dtype: DType, count: usize) -> Option<usize> {
    match dtype.bits() {
        4 => Some(count.div_ceil(2)),
        2 => Some(count.div_ceil(4)),
        _ => count.checked_mul(dtype.size()),
    }
}

fn from_raw(dtype: DType, shape: Vec<usize>, count: usize, bytes: Bytes) -> Result<Tensor, String> {
    if matches!(dtype.bits(), 2 | 4) {
        return Tensor::new(dtype, shape, unpacked(dtype, &bytes, count)).map_err(|e| e.to_string());
    }
    if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
        let bytes: Vec<u8> = bytes.iter().map(|&b| u8::from(b != 0)).collect();
        return Tensor::new(dtype, shape, bytes).map_err(|e| e.to_string());
    }
    if !(bytes.as_ptr() as usize).is_multiple_of(dtype.size()) {
        return Tensor::new(dtype, shape, &bytes).map_err(|e| e.to_string());
    }
    let range = 0..bytes.len();
    Tensor::mapped(Arc::new(bytes), range, dtype, shape).map_err(|e| e.to_string())
}

/// One element a byte, sign-extended where signed.
fn unpacked(dtype: DType, bytes: &[u8], count: usize) -> Vec<u8> {
    let bits = dtype.bits();
    let per_byte = (8 / bits) as usize;
    let unused = 8 - bits;
    (0..count)
        .map(|i| {
            let raised = bytes[i / per_byte] << (unused - (i % per_byte) as u32 * bits);
            if dtype.is_signed() { ((raised as i8) >> unused) as u8 } else { raised >> unused }
        })
        .collect()
}

fn from_fields(t: &TensorProto, dtype: DType, shape: Vec<usize>, count: usize) -> Result<Tensor, String> {
    let given = |n: usize, expected: usize| {
        if n == expected {
            Ok(())
        } else {
            Err(format!("{n} elements of data, its shape {shape:?} has {expected}"))
        }
    };
    match dtype {
        DType::F32 => {
            given(t.float_data.len(), count)?;
            Ok(Tensor::from_slice(shape, &t.float_data))
        }
        DType::F64 => {
            given(t.double_data.len(), count)?;
            Ok(Tensor::from_slice(shape, &t.double_data))
        }
        DType::I64 => {
            given(t.int64_data.len(), count)?;
            Ok(Tensor::from_slice(shape, &t.int64_data))
        }
        DType::U64 | DType::U32 => {
            given(t.uint64_data.len(), count)?;
            Ok(Tensor::from_i128s(dtype, shape, t.uint64_data.iter().map(|&x| x.into())))
        }
        _ if matches!(dtype.bits(), 2 | 4) => {
            given(t.int32_data.len(), count.div_ceil(8 / dtype.bits() as usize))?;
            let bytes: Vec<u8> = t.int32_data.iter().map(|&x| x as u8).collect();
            Tensor::new(dtype, shape, unpacked(dtype, &bytes, count)).map_err(|e| e.to_string())
        }
        _ if dtype.is_float() => {
            given(t.int32_data.len(), count)?;
            let bits = t.int32_data.iter().flat_map(|x| x.to_le_bytes().into_iter().take(dtype.size()));
            Tensor::new(dtype, shape, bits.collect::<Vec<u8>>()).map_err(|e| e.to_string())
        }
        _ => {
            given(t.int32_data.len(), count)?;
            Ok(Tensor::from_i64s(dtype, shape, t.int32_data.iter().map(|&x| x.into())))
        }
    }
}

/// A sparse tensor with its zeros.
pub(crate) fn dense(t: &SparseTensorProto, files: &mut Files) -> Result<Tensor, String> {
    let values = tensor(t.values.as_ref().ok_or("a sparse tensor without values")?, files)?;
    let indices = tensor(t.indices.as_ref().ok_or("a sparse tensor without indices")?, files)?;
    let (shape, count) = shape(&t.dims)?;
    let width = values.dtype().size();
    if count.checked_mul(width).is_none_or(|n| n > MAX_DENSE) {
        return Err(format!("a sparse tensor of {shape:?} is too large"));
    }
    let coordinates = match indices.shape() {
        [n] if *n == values.len() => 1,
        [n, rank] if *n == values.len() && *rank == shape.len() => *rank,
        other => return Err(format!("{} values with indices of shape {other:?}", values.len())),
    };
    if values.dtype().is_reference() {
        return Err(format!("a sparse tensor of {}", values.dtype()));
    }
    let mut result = Tensor::zeros(values.dtype(), shape.clone());
    let strides = result.strides();
    let (bytes, all) = (result.bytes_mut(), indices.to_i64s());
    for (i, at) in all.chunks_exact(coordinates.max(1)).enumerate() {
        let flat = match coordinates {
            1 if shape.len() != 1 => usize::try_from(at[0]).ok(),
            _ => at.iter().zip(&shape).zip(&strides).try_fold(0, |sum, ((&a, &d), s)| {
                Some(sum + usize::try_from(a).ok().filter(|&a| a < d)? * s)
            }),
        };
        let flat =
            flat.filter(|&f| f < count).ok_or_else(|| format!("index {at:?} is outside of {shape:?}"))?;
        bytes[flat * width..(flat + 1) * width].copy_from_slice(&values.bytes()[i * width..(i + 1) * width]);
    }
    Ok(result)
}
