//! Matrix products by the vendor's library.
#![allow(unsafe_code)]

use std::sync::{Arc, OnceLock};

use super::context::Context;
use super::library::Spans;
use super::objects::{Allocation, Stream};
use super::state::Span;
use crate::device::Platform;
use crate::plan::PlannedProduct;
use crate::sys::{self, Columns, Handle};

/// rocBLAS or cuBLAS, ready for the stream of a session.
pub(super) struct Blas {
    functions: &'static sys::Blas,
    handle: Handle,
    context: Arc<Context>,
}

// SAFETY: the handle is only passed to the library, by one thread at a time.
unsafe impl Send for Blas {}

impl Blas {
    /// `None` where the library is not there or does not start. The context is entered; stream and workspace have
    /// to outlive what is returned.
    pub fn new(context: &Arc<Context>, stream: &Stream, workspace: &Allocation) -> Option<Blas> {
        let functions = load(context.driver.platform)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        if unsafe { (functions.create)(&raw mut handle) } != 0 {
            return None;
        }
        let blas = Blas { functions, handle, context: context.clone() };
        // SAFETY: stream and workspace live as long as the handle.
        let set = unsafe {
            (functions.set_stream)(handle, stream.handle()) == 0
                && (functions.set_workspace)(handle, workspace.start(), workspace.size()) == 0
        };
        set.then_some(blas)
    }

    /// The library's name.
    pub fn name(&self) -> &'static str {
        self.functions.name
    }

    /// Multiplies; false where the library refuses, or where a buffer is too small for the product.
    pub fn multiply(&self, product: &PlannedProduct, span: &Spans<'_>) -> bool {
        let place = |index: usize| -> Option<Columns> {
            let matrix = &product.matrices[index];
            let Span { start, size, writable } = span(matrix.arg)?;
            let is_out = index == 2;
            let dtype = if is_out { product.out_dtype } else { product.dtype };
            (matrix.end <= size && (writable || !is_out)).then_some(Columns {
                address: start + matrix.start as u64,
                dtype,
                transposed: matrix.columns,
                pitch: matrix.pitch,
                slice: matrix.slice,
            })
        };
        let (Some(a), Some(b), Some(out)) = (place(0), place(1), place(2)) else { return false };
        // By columns, rows become columns: outᵀ = bᵀ · aᵀ.
        let sizes = [product.batch, product.n, product.m, product.k];
        // SAFETY: the matrices lie in buffers that live until the stream is done.
        unsafe { self.functions.product(self.handle, sizes, [b, a, out]) == 0 }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the handle is ours, and given back once.
            unsafe { (self.functions.destroy)(self.handle) };
        }
    }
}

/// The library of a platform, loaded once; `None` where it is missing or too old.
fn load(platform: Platform) -> Option<&'static sys::Blas> {
    static HIP: OnceLock<Option<sys::Blas>> = OnceLock::new();
    static CUDA: OnceLock<Option<sys::Blas>> = OnceLock::new();
    let cell = match platform {
        Platform::Hip => &HIP,
        Platform::Cuda => &CUDA,
    };
    cell.get_or_init(|| sys::Blas::load(platform).ok()).as_ref()
}
