//! Which kernels a vendor's library can compute instead: matrix products with nothing after the sum, and convolutions.
mod convolution;

use crate::kernel::Kernel;
use crate::kernel::contract::{Access, Epilogue, Gemm, Operand};
use sardonyx_runtime::manifest::{LibraryCall, Matrix, Product};
use sardonyx_tensor::{DType, Dim};

/// What a kernel computes, for libraries; `None` where it is more, or stands in a form that libraries do not take.
pub fn call(kernel: &Kernel) -> Option<LibraryCall> {
    match kernel {
        Kernel::Gemm(gemm) => product(gemm).map(|product| LibraryCall::Product(Box::new(product))),
        Kernel::Conv(conv) => {
            convolution::convolution(conv).map(|convolution| LibraryCall::Convolution(Box::new(convolution)))
        }
        _ => None,
    }
}

/// The plain product that a contraction is.
fn product(gemm: &Gemm) -> Option<Product> {
    let gemm = gemm.merged();
    let (Operand::Strided(a), Operand::Strided(b)) = (&gemm.a, &gemm.b) else { return None };
    let out = &gemm.epilogue.out;
    let served = matches!(a.dtype, DType::F16 | DType::BF16 | DType::F32) && a.dtype == b.dtype;
    let stored = out.dtype == a.dtype || out.dtype == DType::F32;
    if !served || !stored || gemm.epilogue != Epilogue::store(out.clone()) {
        return None;
    }
    let mut batch = gemm.batch.clone();
    let mut accesses = [a.clone(), b.clone(), out.clone()];
    while let [.., _, inner] = batch.as_slice() {
        let (at, inner) = (batch.len() - 2, inner.clone());
        if accesses.iter().any(|x| x.strides[at] != &x.strides[at + 1] * &inner) {
            return None;
        }
        accesses.iter_mut().for_each(|x| drop(x.strides.remove(at)));
        batch.remove(at + 1);
        batch[at] *= inner;
    }
    let (dtype, out_dtype) = (a.dtype, out.dtype);
    let [a, b, out] = [matrix(&accesses[0])?, matrix(&accesses[1])?, matrix(&accesses[2])?];
    let batch = batch.first().cloned().unwrap_or(Dim::ONE);
    let (m, n, k) = (gemm.m.clone(), gemm.n.clone(), gemm.k.clone());
    Some(match out.columns {
        false => Product { dtype, out_dtype, batch, m, n, k, a, b, out },
        // The transposed product: outᵀ = bᵀ · aᵀ.
        true => {
            let [a, b, out] = [b, a, out].map(|matrix| Matrix { columns: !matrix.columns, ..matrix });
            Product { dtype, out_dtype, batch, m: n, n: m, k, a, b, out }
        }
    })
}

/// An access over `batch?, row, column` as matrices.
fn matrix(access: &Access) -> Option<Matrix> {
    let (batch, [down, along]) = access.strides.split_last_chunk()?;
    let (pitch, columns) = match () {
        () if *along == Dim::ONE => (down, false),
        () if *down == Dim::ONE => (along, true),
        () => return None,
    };
    let (arg, offset, pitch) = (access.arg, access.offset.clone(), pitch.clone());
    Some(Matrix { arg, offset, pitch, slice: batch.first().cloned().unwrap_or(Dim::ZERO), columns })
}
