//! Convolutions by cuDNN, in one call.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::{Arc, OnceLock};

use sardonyx_tensor::DType;

use super::context::Context;
use super::dnn::{Descriptor, Places, Prepared, describe, factors};
use super::objects::{Allocation, Stream};
use crate::plan::{PlannedConvolution, PlannedTensor, optional};
use crate::sys::{self, Handle, cudnn};

/// cuDNN, ready for the stream of a session.
pub(super) struct Cudnn {
    functions: &'static sys::Cudnn,
    handle: Handle,
    context: Arc<Context>,
}

// SAFETY: the handle is only passed to the library, by one thread at a time.
unsafe impl Send for Cudnn {}

impl Cudnn {
    pub fn new(context: &Arc<Context>, stream: &Stream) -> Option<Cudnn> {
        static LOADED: OnceLock<Option<sys::Cudnn>> = OnceLock::new();
        let functions = LOADED.get_or_init(|| sys::Cudnn::load().ok()).as_ref()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle.
        if unsafe { (functions.create)(&raw mut handle) } != 0 {
            return None;
        }
        let cudnn = Cudnn { functions, handle, context: context.clone() };
        // SAFETY: the stream outlives the handle.
        let set = unsafe { (functions.set_stream)(handle, stream.handle()) };
        (set == 0).then_some(cudnn)
    }

    /// The ways that sum products, which others than these do not.
    pub fn prepare(&self, convolution: &PlannedConvolution, workspace: &Allocation) -> Vec<Prepared> {
        let followed = convolution.bias.is_some();
        // What follows the sum comes with a bias, or not at all.
        if !followed && (convolution.residual.is_some() || convolution.relu) {
            return Vec::new();
        }
        let identity = followed && !convolution.relu;
        let algorithms =
            if identity { &[cudnn::PRECOMPUTED][..] } else { &[cudnn::PRECOMPUTED, cudnn::IMPLICIT] };
        let ways = algorithms.iter().filter_map(|&algorithm| self.describe(convolution, algorithm));
        ways.filter(|way| way.workspace <= workspace.size()).collect()
    }

    fn describe(&self, convolution: &PlannedConvolution, algorithm: c_int) -> Option<Prepared> {
        let f = self.functions;
        let dtype = sys::Cudnn::dtype(convolution.dtype);
        // SAFETY: the functions are those of tensors.
        let tensor = |tensor: &PlannedTensor| unsafe { describe(f.tensor, f.set_tensor, dtype, tensor) };
        let layout = if convolution.by_channels { cudnn::BY_CHANNELS } else { cudnn::BY_PLANES };
        let [out_channels, in_channels, height, width] = convolution.w.shape;
        // SAFETY: the handle is that of weights.
        let weights = |handle| unsafe {
            (f.set_filter)(handle, dtype, layout, out_channels, in_channels, height, width)
        };
        let PlannedConvolution { strides, pads, dilations, groups, .. } = *convolution;
        let math = if convolution.dtype == DType::F32 { cudnn::MULTIPLY_ADD } else { cudnn::MATRIX_UNITS };
        // SAFETY: the handle is that of a convolution.
        let set = |handle| unsafe {
            let (mode, accumulated) = (cudnn::CORRELATION, sys::Cudnn::dtype(DType::F32));
            let codes = [
                (f.set_convolution)(
                    handle,
                    pads[0],
                    pads[1],
                    strides[0],
                    strides[1],
                    dilations[0],
                    dilations[1],
                    mode,
                    accumulated,
                ),
                (f.set_groups)(handle, groups),
                (f.set_math)(handle, math),
            ];
            codes.into_iter().find(|&code| code != 0).unwrap_or(0)
        };
        let mode = if convolution.relu { cudnn::RELU } else { cudnn::IDENTITY };
        let activation = match convolution.bias {
            // SAFETY: the functions are those of activations.
            Some(_) => Some(unsafe {
                Descriptor::new(f.activation, |handle| (f.set_activation)(handle, mode, cudnn::KEEP_NAN, 0.0))
            }?),
            None => None,
        };
        let mut prepared = Prepared {
            x: tensor(&convolution.x)?,
            // SAFETY: the functions are those of weights.
            w: unsafe { Descriptor::new(f.filter, weights) }?,
            bias: optional(convolution.bias.as_ref().map(tensor))?,
            residual: optional(convolution.residual.as_ref().map(tensor))?,
            out: tensor(&convolution.out)?,
            // SAFETY: the functions are those of convolutions.
            convolution: unsafe { Descriptor::new(f.convolution, set) }?,
            activation,
            algorithm,
            workspace: 0,
        };
        let [x, w, out] = [&prepared.x, &prepared.w, &prepared.out].map(Descriptor::handle);
        let (all, size) = (prepared.convolution.handle(), &raw mut prepared.workspace);
        // SAFETY: the function writes a size.
        let code = unsafe { (f.workspace_size)(self.handle, x, w, all, out, algorithm, size) };
        (code == 0).then_some(prepared)
    }

    /// Computes; false where the library refuses.
    pub fn convolve(&self, prepared: &Prepared, places: &Places, workspace: &Allocation) -> bool {
        let (one, zero) = factors();
        let (out, to) = (prepared.out.handle(), places.out);
        let (x, w) = (prepared.x.handle(), prepared.w.handle());
        let convolution = prepared.convolution.handle();
        let Prepared { algorithm, workspace: size, .. } = *prepared;
        let between = workspace.start();
        let (Some(bias), Some(added), Some(activation)) = (&prepared.bias, places.bias, &prepared.activation)
        else {
            // SAFETY: the descriptions are those of the places, which are valid until the stream is done, and which
            // the library has a workspace beside.
            let code = unsafe {
                (self.functions.forward)(
                    self.handle,
                    one,
                    x,
                    places.x,
                    w,
                    places.w,
                    convolution,
                    algorithm,
                    between,
                    size,
                    zero,
                    out,
                    to,
                )
            };
            return code == 0;
        };
        // Where nothing is added, the factor says that the output is not read.
        let (factor, residual, from) = match (&prepared.residual, places.residual) {
            (Some(residual), Some(from)) => (one, residual.handle(), from),
            _ => (zero, out, to),
        };
        // SAFETY: as above.
        let code = unsafe {
            (self.functions.forward_activated)(
                self.handle,
                one,
                x,
                places.x,
                w,
                places.w,
                convolution,
                algorithm,
                between,
                size,
                factor,
                residual,
                from,
                bias.handle(),
                added,
                activation.handle(),
                out,
                to,
            )
        };
        code == 0
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the handle is ours, and given back once.
            unsafe { (self.functions.destroy)(self.handle) };
        }
    }
}
