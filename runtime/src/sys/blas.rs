//! The vendors' libraries of linear algebra: rocBLAS and cuBLAS.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use sardonyx_tensor::DType;

use super::{Address, Code, Create, Destroy, Handle, Library, LoadError};
use crate::device::Platform;

const ROCBLAS: &[&str] = &["librocblas.so.5", "librocblas.so.4", "librocblas.so.0", "librocblas.so"];
const CUBLAS: &[&str] = &["libcublas.so.13", "libcublas.so.12", "libcublas.so"];

/// `rocblas_gemm_strided_batched_ex`: operations, sizes, factors, matrices with type, pitch and slice, then the
/// type to compute in, the algorithm, its number and flags. The result goes to a matrix of its own.
type RocProduct = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    Address,
    c_int,
    c_int,
    i64,
    Address,
    c_int,
    c_int,
    i64,
    *const c_void,
    Address,
    c_int,
    c_int,
    i64,
    Address,
    c_int,
    c_int,
    i64,
    c_int,
    c_int,
    c_int,
    i32,
    u32,
) -> Code;
/// `cublasGemmStridedBatchedEx`: as above; the result overwrites the third matrix.
type CudaProduct = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    Address,
    c_int,
    c_int,
    i64,
    Address,
    c_int,
    c_int,
    i64,
    *const c_void,
    Address,
    c_int,
    c_int,
    i64,
    c_int,
    c_int,
    c_int,
) -> Code;

enum Function {
    Roc(RocProduct),
    Cuda(CudaProduct),
}

/// Matrices by columns, as the libraries take them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub address: Address,
    pub dtype: DType,
    pub transposed: bool,
    pub pitch: i32,
    pub slice: i64,
}

/// The functions of a library.
pub(crate) struct Blas {
    pub create: Create,
    pub destroy: Destroy,
    pub set_stream: unsafe extern "C" fn(Handle, Handle) -> Code,
    pub set_workspace: unsafe extern "C" fn(Handle, Address, usize) -> Code,
    product: Function,
    /// The library's name.
    pub name: &'static str,
}

impl Blas {
    pub fn load(platform: Platform) -> Result<Blas, LoadError> {
        match platform {
            Platform::Hip => {
                let library = Library::load(ROCBLAS)?;
                Ok(Blas {
                    create: library.function("rocblas_create_handle")?,
                    destroy: library.function("rocblas_destroy_handle")?,
                    set_stream: library.function("rocblas_set_stream")?,
                    set_workspace: library.function("rocblas_set_workspace")?,
                    product: Function::Roc(library.function("rocblas_gemm_strided_batched_ex")?),
                    name: "rocBLAS",
                })
            }
            Platform::Cuda => {
                let library = Library::load(CUBLAS)?;
                Ok(Blas {
                    create: library.function("cublasCreate_v2")?,
                    destroy: library.function("cublasDestroy_v2")?,
                    set_stream: library.function("cublasSetStream_v2")?,
                    set_workspace: library.function("cublasSetWorkspace_v2")?,
                    product: Function::Cuda(library.function("cublasGemmStridedBatchedEx")?),
                    name: "cuBLAS",
                })
            }
        }
    }

    /// `out = a · b`, of `m` rows and `n` columns, summed over `k` in f32.
    ///
    /// # Safety
    /// The handle must be of this library, and the matrices valid for these sizes until its stream is done.
    pub unsafe fn product(
        &self,
        handle: Handle,
        [batch, m, n, k]: [c_int; 4],
        [a, b, out]: [Columns; 3],
    ) -> Code {
        let (one, zero) = (&raw const ONE, &raw const ZERO);
        let (one, zero) = (one.cast::<c_void>(), zero.cast::<c_void>());
        match &self.product {
            Function::Roc(product) => {
                // rocblas_operation_none and _transpose.
                let operation = |matrix: &Columns| if matrix.transposed { 112 } else { 111 };
                // SAFETY: the caller's promise.
                unsafe {
                    product(
                        handle,
                        operation(&a),
                        operation(&b),
                        m,
                        n,
                        k,
                        one,
                        a.address,
                        roc_type(a.dtype),
                        a.pitch,
                        a.slice,
                        b.address,
                        roc_type(b.dtype),
                        b.pitch,
                        b.slice,
                        zero,
                        out.address,
                        roc_type(out.dtype),
                        out.pitch,
                        out.slice,
                        out.address,
                        roc_type(out.dtype),
                        out.pitch,
                        out.slice,
                        batch,
                        roc_type(DType::F32),
                        0,
                        0,
                        0,
                    )
                }
            }
            Function::Cuda(product) => {
                // CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT.
                let (compute, algorithm) = (68, -1);
                // SAFETY: the caller's promise.
                unsafe {
                    product(
                        handle,
                        c_int::from(a.transposed),
                        c_int::from(b.transposed),
                        m,
                        n,
                        k,
                        one,
                        a.address,
                        cuda_type(a.dtype),
                        a.pitch,
                        a.slice,
                        b.address,
                        cuda_type(b.dtype),
                        b.pitch,
                        b.slice,
                        zero,
                        out.address,
                        cuda_type(out.dtype),
                        out.pitch,
                        out.slice,
                        batch,
                        compute,
                        algorithm,
                    )
                }
            }
        }
    }
}

static ONE: f32 = 1.0;
static ZERO: f32 = 0.0;

/// `rocblas_datatype`; -1 where there is none.
fn roc_type(dtype: DType) -> c_int {
    match dtype {
        DType::F16 => 150,
        DType::F32 => 151,
        DType::BF16 => 168,
        _ => -1,
    }
}

/// `cudaDataType`; -1 where there is none.
fn cuda_type(dtype: DType) -> c_int {
    match dtype {
        DType::F16 => 2,
        DType::F32 => 0,
        DType::BF16 => 14,
        _ => -1,
    }
}
