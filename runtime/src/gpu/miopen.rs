//! Convolutions by MIOpen: the sum first, then one call for each of bias, residual and activation, in place.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::{Arc, OnceLock};

use super::context::Context;
use super::dnn::{Descriptor, Places, Prepared, describe, factors};
use super::objects::{Allocation, Stream};
use crate::plan::{PlannedConvolution, PlannedTensor, optional};
use crate::sys::{self, Handle, miopen};

/// How many algorithms are asked for.
const ALGORITHMS: usize = 8;

/// MIOpen, ready for the stream of a session.
pub(super) struct Miopen {
    functions: &'static sys::Miopen,
    handle: Handle,
    context: Arc<Context>,
}

// SAFETY: the handle is only passed to the library, by one thread at a time.
unsafe impl Send for Miopen {}

impl Miopen {
    pub fn new(context: &Arc<Context>, stream: &Stream) -> Option<Miopen> {
        static LOADED: OnceLock<Option<sys::Miopen>> = OnceLock::new();
        let functions = LOADED.get_or_init(|| sys::Miopen::load().ok()).as_ref()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes a handle; the stream outlives it.
        let code = unsafe { (functions.create)(&raw mut handle, stream.handle()) };
        (code == 0).then(|| Miopen { functions, handle, context: context.clone() })
    }

    /// The fastest way by the library's own measurement that sums products.
    pub fn prepare(
        &self,
        convolution: &PlannedConvolution,
        places: &Places,
        workspace: &Allocation,
    ) -> Option<Prepared> {
        let mut prepared = self.describe(convolution)?;
        let [x, w, out] = [&prepared.x, &prepared.w, &prepared.out].map(Descriptor::handle);
        let convolution = prepared.convolution.handle();
        let (mut size, mut count) = (0, 0);
        let mut found = [miopen::Found::default(); ALGORITHMS];
        // SAFETY: the descriptions are those of the places, which are valid until the stream is done; the counts are
        // those of the memory behind. An algorithm may only be looked for after the first call.
        let code = unsafe {
            match (self.functions.workspace_size)(self.handle, w, x, convolution, out, &raw mut size) {
                0 => (self.functions.find)(
                    self.handle,
                    x,
                    places.x,
                    w,
                    places.w,
                    convolution,
                    out,
                    places.out,
                    ALGORITHMS as c_int,
                    &raw mut count,
                    found.as_mut_ptr(),
                    workspace.start(),
                    workspace.size(),
                    false,
                ),
                code => code,
            }
        };
        let count = usize::try_from(count).ok().filter(|_| code == 0)?;
        let sums = |found: &&miopen::Found| {
            let transforms = [miopen::FOURIER, miopen::WINOGRAD].contains(&found.algorithm);
            !transforms && found.workspace <= workspace.size()
        };
        let best = found.iter().take(count).filter(sums).min_by(|a, b| a.time.total_cmp(&b.time))?;
        (prepared.algorithm, prepared.workspace) = (best.algorithm, best.workspace);
        Some(prepared)
    }

    fn describe(&self, convolution: &PlannedConvolution) -> Option<Prepared> {
        let f = self.functions;
        let dtype = sys::Miopen::dtype(convolution.dtype);
        // SAFETY: the functions are those of tensors.
        let tensor = |tensor: &PlannedTensor| unsafe { describe(f.tensor, f.set_tensor, dtype, tensor) };
        let PlannedConvolution { strides, pads, dilations, groups, .. } = *convolution;
        // SAFETY: the handle is that of a convolution.
        let set = |handle| unsafe {
            let mode = miopen::CORRELATION;
            let code = (f.set_convolution)(
                handle,
                mode,
                pads[0],
                pads[1],
                strides[0],
                strides[1],
                dilations[0],
                dilations[1],
            );
            if code == 0 && groups > 1 { (f.set_groups)(handle, groups) } else { code }
        };
        // SAFETY: the handle is that of an activation.
        let relu = |handle| unsafe { (f.set_activation)(handle, miopen::RELU, 0.0, 0.0, 0.0) };
        let activation = match convolution.relu {
            // SAFETY: the functions are those of activations.
            true => Some(unsafe { Descriptor::new(f.activation, relu) }?),
            false => None,
        };
        Some(Prepared {
            x: tensor(&convolution.x)?,
            w: tensor(&convolution.w)?,
            bias: optional(convolution.bias.as_ref().map(tensor))?,
            residual: optional(convolution.residual.as_ref().map(tensor))?,
            out: tensor(&convolution.out)?,
            // SAFETY: the functions are those of convolutions.
            convolution: unsafe { Descriptor::new(f.convolution, set) }?,
            activation,
            algorithm: 0,
            workspace: 0,
        })
    }

    /// Computes; false where the library refuses.
    pub fn convolve(&self, prepared: &Prepared, places: &Places, workspace: &Allocation) -> bool {
        let (f, (one, zero)) = (self.functions, factors());
        let (out, to) = (prepared.out.handle(), places.out);
        // SAFETY: the descriptions are those of the places, which are valid until the stream is done, and which the
        // library has a workspace beside.
        let summed = unsafe {
            (f.forward)(
                self.handle,
                one,
                prepared.x.handle(),
                places.x,
                prepared.w.handle(),
                places.w,
                prepared.convolution.handle(),
                prepared.algorithm,
                zero,
                out,
                to,
                workspace.start(),
                prepared.workspace,
            )
        };
        let add = |descriptor: &Option<Descriptor>, place: Option<u64>| match (descriptor, place) {
            // SAFETY: as above.
            (Some(other), Some(place)) => unsafe {
                let handle = other.handle();
                (f.combine)(self.handle, miopen::ADD, one, out, to, one, handle, place, zero, out, to) == 0
            },
            _ => true,
        };
        let activate = || match &prepared.activation {
            // SAFETY: as above.
            Some(activation) => unsafe {
                (f.activate)(self.handle, activation.handle(), one, out, to, zero, out, to) == 0
            },
            None => true,
        };
        summed == 0
            && add(&prepared.bias, places.bias)
            && add(&prepared.residual, places.residual)
            && activate()
    }
}

impl Drop for Miopen {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: the handle is ours, and given back once.
            unsafe { (self.functions.destroy)(self.handle) };
        }
    }
}
