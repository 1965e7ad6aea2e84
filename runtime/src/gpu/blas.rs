//! Matrix products by the vendor's library, where it is there and faster than the kernel.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::context::Context;
use super::objects::{Allocation, Event, Stream};
use super::state::{Span, State};
use crate::device::Platform;
use crate::manifest::BufferIndex;
use crate::memory::Done;
use crate::plan::PlannedProduct;
use crate::sys::{self, Columns, Handle};

/// Bytes that the library may use between, as cuBLAS recommends for Hopper.
const WORKSPACE: usize = 32 << 20;
/// How often each way is timed.
const ROUNDS: usize = 5;

/// A library, ready for the stream of a session.
pub(super) struct Blas {
    functions: &'static sys::Blas,
    handle: Handle,
    context: Arc<Context>,
    /// Keeps what the handle uses.
    _workspace: Allocation,
    /// Whether the library was faster, by step and sizes.
    choices: HashMap<(usize, PlannedProduct), bool>,
}

// SAFETY: the handle is only passed to the library, by one thread at a time.
unsafe impl Send for Blas {}

impl Blas {
    /// `None` where the library is not there or does not start: kernels do its work.
    pub fn new(context: &Arc<Context>, stream: &Stream) -> Option<Blas> {
        let functions = load(context.driver.platform)?;
        context.enter().ok()?;
        let workspace = Allocation::new(context, WORKSPACE, || "a library".into()).ok()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        if unsafe { (functions.create)(&raw mut handle) } != 0 {
            return None;
        }
        let (context, choices) = (context.clone(), HashMap::new());
        let start = workspace.start();
        let blas = Blas { functions, handle, context, _workspace: workspace, choices };
        // SAFETY: stream and workspace live as long as the handle.
        let set = unsafe {
            (functions.set_stream)(handle, stream.handle()) == 0
                && (functions.set_workspace)(handle, start, WORKSPACE) == 0
        };
        set.then_some(blas)
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

impl State {
    /// The library's name, and how many of the products that were run it computes.
    pub fn library(&self) -> Option<(&'static str, usize)> {
        let blas = self.blas.as_ref()?;
        Some((blas.functions.name, blas.choices.values().filter(|&&faster| faster).count()))
    }

    /// Computes a product by the library, if it was found to be faster than `kernel`; else false. What is not
    /// known yet is measured, unless the stream records.
    pub(super) fn by_library(
        &mut self,
        step: usize,
        product: &PlannedProduct,
        buffers: &[BufferIndex],
        kernel: &mut dyn FnMut(&mut State) -> Done,
    ) -> Done<bool> {
        let Some(blas) = &self.blas else { return Ok(false) };
        // Nothing is allocated where the choice is known.
        let known = blas.choices.iter().find(|((at, sizes), _)| *at == step && sizes == product);
        let faster = match known {
            Some((_, &faster)) => faster,
            None if self.recording => false,
            None => {
                let faster = self.measure(product, buffers, kernel)?;
                if let Some(blas) = &mut self.blas {
                    blas.choices.insert((step, product.clone()), faster);
                }
                faster
            }
        };
        Ok(faster && self.multiply(product, buffers))
    }

    /// Whether the library is faster; both compute the result.
    fn measure(
        &mut self,
        product: &PlannedProduct,
        buffers: &[BufferIndex],
        kernel: &mut dyn FnMut(&mut State) -> Done,
    ) -> Done<bool> {
        if !self.multiply(product, buffers) {
            return Ok(false);
        }
        kernel(self)?;
        let ours = self.time(&mut |state| kernel(state).map(|()| true))?;
        let theirs = self.time(&mut |state| Ok(state.multiply(product, buffers)))?;
        Ok(matches!((ours, theirs), (Some(ours), Some(theirs)) if theirs < ours))
    }

    /// What some runs take together; `None` where one was refused.
    fn time(&mut self, run: &mut dyn FnMut(&mut State) -> Done<bool>) -> Done<Option<Duration>> {
        let events = [Event::new(&self.context)?, Event::new(&self.context)?];
        let failed = |state: &State, failure| state.error(&failure, "measure a product");
        self.stream.record(&events[0]).map_err(|failure| failed(self, failure))?;
        for _ in 0..ROUNDS {
            if !run(self)? {
                return Ok(None);
            }
        }
        self.stream.record(&events[1]).map_err(|failure| failed(self, failure))?;
        self.stream.synchronize().map_err(|failure| failed(self, failure))?;
        Ok(events[0].until(&events[1]).ok())
    }

    /// Lets the library multiply; false where it refuses, or where a buffer is too small for the product.
    fn multiply(&mut self, product: &PlannedProduct, buffers: &[BufferIndex]) -> bool {
        let Some(blas) = &self.blas else { return false };
        let place = |index: usize| -> Option<Columns> {
            let matrix = &product.matrices[index];
            let Span { start, size, writable } = self.spans[*buffers.get(matrix.arg)?]?;
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
        unsafe { blas.functions.product(blas.handle, sizes, [b, a, out]) == 0 }
    }
}
