//! Convolutions by the vendor's library.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use super::context::Context;
use super::cudnn::Cudnn;
use super::library::Spans;
use super::miopen::Miopen;
use super::objects::{Allocation, Stream};
use crate::device::Platform;
use crate::plan::{PlannedConvolution, PlannedTensor, optional};
use crate::sys::{Address, Code, Create, Destroy, Handle};

/// The bytes that libraries load at once.
const ALIGN: u64 = 16;

/// MIOpen or cuDNN, ready for the stream of a session.
pub(super) enum Dnn {
    Miopen(Miopen),
    Cudnn(Cudnn),
}

impl Dnn {
    /// `None` where the library is not there or does not start. The context is entered; the stream has to outlive
    /// what is returned.
    pub fn new(context: &Arc<Context>, stream: &Stream) -> Option<Dnn> {
        match context.driver.platform {
            Platform::Hip => Miopen::new(context, stream).map(Dnn::Miopen),
            Platform::Cuda => Cudnn::new(context, stream).map(Dnn::Cudnn),
        }
    }

    /// The library's name.
    pub fn name(&self) -> &'static str {
        match self {
            Dnn::Miopen(_) => "MIOpen",
            Dnn::Cudnn(_) => "cuDNN",
        }
    }

    /// The ways to compute a convolution that need no more than this workspace. Where the library looks for them, it
    /// computes: the stream must not record.
    pub fn prepare(
        &self,
        convolution: &PlannedConvolution,
        span: &Spans<'_>,
        workspace: &Allocation,
    ) -> Vec<Prepared> {
        let Some(places) = places(convolution, span) else { return Vec::new() };
        match self {
            Dnn::Miopen(miopen) => miopen.prepare(convolution, &places, workspace).into_iter().collect(),
            Dnn::Cudnn(cudnn) => cudnn.prepare(convolution, workspace),
        }
    }

    /// Computes; false where the library refuses, or where a buffer is too small for the convolution.
    pub fn convolve(
        &self,
        convolution: &PlannedConvolution,
        prepared: &Prepared,
        span: &Spans<'_>,
        workspace: &Allocation,
    ) -> bool {
        let Some(places) = places(convolution, span) else { return false };
        match self {
            Dnn::Miopen(miopen) => miopen.convolve(prepared, &places, workspace),
            Dnn::Cudnn(cudnn) => cudnn.convolve(prepared, &places, workspace),
        }
    }
}

/// A convolution as a library knows it, and how it computes it.
pub(super) struct Prepared {
    pub x: Descriptor,
    pub w: Descriptor,
    pub bias: Option<Descriptor>,
    pub residual: Option<Descriptor>,
    pub out: Descriptor,
    pub convolution: Descriptor,
    /// What follows the sum; none is nothing.
    pub activation: Option<Descriptor>,
    pub algorithm: c_int,
    /// Bytes that it needs between.
    pub workspace: usize,
}

/// A description that a library holds.
pub(super) struct Descriptor {
    handle: Handle,
    destroy: Destroy,
}

// SAFETY: the handle is only passed to the library, by one thread at a time.
unsafe impl Send for Descriptor {}

impl Descriptor {
    /// Makes one and fills it by `set`; `None` where the library refuses.
    ///
    /// # Safety
    /// The functions must be those of a library that make and give back such a description.
    pub unsafe fn new(
        (create, destroy): (Create, Destroy),
        set: impl FnOnce(Handle) -> Code,
    ) -> Option<Descriptor> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        if unsafe { create(&raw mut handle) } != 0 {
            return None;
        }
        let descriptor = Descriptor { handle, destroy };
        (set(handle) == 0).then_some(descriptor)
    }

    pub fn handle(&self) -> Handle {
        self.handle
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the description is ours, and given back once.
        unsafe { (self.destroy)(self.handle) };
    }
}

/// The description of a tensor by `set`, whose arguments are a type, four sizes and four strides.
///
/// # Safety
/// The functions must be those of a library for tensors, of which `dtype` is a type.
pub(super) unsafe fn describe(
    functions: (Create, Destroy),
    set: unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Code,
    dtype: c_int,
    tensor: &PlannedTensor,
) -> Option<Descriptor> {
    let ([n, c, h, w], [ns, cs, hs, ws]) = (tensor.shape, tensor.strides);
    // SAFETY: the caller's promise; the handle is that of a tensor.
    unsafe { Descriptor::new(functions, |handle| set(handle, dtype, n, c, h, w, ns, cs, hs, ws)) }
}

/// Where the operands of a convolution are.
pub(super) struct Places {
    pub x: Address,
    pub w: Address,
    pub bias: Option<Address>,
    pub residual: Option<Address>,
    pub out: Address,
}

/// `None` where a buffer is not there or too small, not aligned for libraries, or where the result overwrites an
/// operand.
fn places(convolution: &PlannedConvolution, span: &Spans<'_>) -> Option<Places> {
    let range = |tensor: &PlannedTensor| {
        let span = span(tensor.arg)?;
        let start = span.start + tensor.start as u64;
        let whole = tensor.end <= span.size && start.is_multiple_of(ALIGN);
        whole.then(|| start..span.start + tensor.end as u64)
    };
    let out = range(&convolution.out).filter(|_| span(convolution.out.arg).is_some_and(|s| s.writable))?;
    let operand = |tensor: &PlannedTensor| {
        let range = range(tensor)?;
        (range.end <= out.start || out.end <= range.start).then_some(range.start)
    };
    Some(Places {
        x: operand(&convolution.x)?,
        w: operand(&convolution.w)?,
        bias: optional(convolution.bias.as_ref().map(operand))?,
        residual: optional(convolution.residual.as_ref().map(operand))?,
        out: out.start,
    })
}

/// The factors of a result that overwrites what was there: of the new, and of the old.
pub(super) fn factors() -> (*const c_void, *const c_void) {
    static ONE: f32 = 1.0;
    static ZERO: f32 = 0.0;
    ((&raw const ONE).cast(), (&raw const ZERO).cast())
}
