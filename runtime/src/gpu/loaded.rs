//! The code and the weights of a target on a device, shared by all sessions there.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::Arc;

use super::context::Context;
use super::image;
use super::objects::{Allocation, Module, Stream};
use crate::error::{Error, Result};
use crate::manifest::{Place, TargetProgram};
use crate::sys::{Address, Handle};

/// The alignment of weights.
const ALIGN: usize = 256;

/// A kernel, ready to be launched.
pub(crate) struct Function {
    pub handle: Handle,
    pub threads: u32,
    pub shared: u32,
    /// Whether its last parameter is scratch memory.
    pub scratch: bool,
    pub name: String,
}

// SAFETY: the handle is only passed to the driver, from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// What sessions of a target share on a device.
pub(crate) struct Loaded {
    /// One per kernel of the target.
    functions: Vec<Function>,
    /// Keeps the functions.
    _modules: Vec<Module>,
    weights: Arc<Weights>,
}

/// The weights of the programs of a target: that for all sizes, and those for some.
pub(crate) struct Weights {
    memory: Allocation,
    /// Where each weight that the programs use starts in `memory`, and its size.
    ranges: Vec<Option<(usize, usize)>>,
}

impl Loaded {
    /// Loads the code objects of a target, then its weights.
    pub fn new<'a>(
        context: &Arc<Context>,
        target: &TargetProgram,
        objects: impl Iterator<Item = &'a [u8]>,
        weights: impl FnOnce() -> Result<Arc<Weights>>,
    ) -> Result<Loaded> {
        context.enter()?;
        let mut modules = Vec::new();
        for (index, object) in objects.enumerate() {
            let bad = |reason: String| Error::Code {
                target: target.name.clone(),
                reason: format!("code object {index}: {reason}"),
            };
            image::check(object).map_err(bad)?;
            let refused = |failure| bad(format!("{} does not take it: {failure}", context.label));
            modules.push(Module::new(context, object).map_err(refused)?);
        }
        let functions = functions(context, target, &modules)?;
        Ok(Loaded { functions, _modules: modules, weights: weights()? })
    }

    pub fn function(&self, kernel: usize) -> &Function {
        &self.functions[kernel]
    }

    /// The weights, for other programs of the target.
    pub fn weights(&self) -> Arc<Weights> {
        self.weights.clone()
    }

    /// Where a weight of the target is, and its size.
    pub fn weight(&self, index: usize) -> (Address, usize) {
        let Weights { memory, ranges } = &*self.weights;
        let (start, size) =
            ranges.get(index).copied().flatten().expect("weights of the target should be there");
        (memory.start() + start as u64, size)
    }
}

impl Weights {
    /// Copies the weights that these programs use to the device.
    pub fn new<'a, 'p>(
        context: &Arc<Context>,
        programs: impl Iterator<Item = &'p TargetProgram>,
        weight: impl Fn(usize) -> &'a [u8],
    ) -> Result<Weights> {
        context.enter()?;
        let mut ranges: Vec<Option<(usize, usize)>> = Vec::new();
        let mut size = 0usize;
        for buffer in programs.flat_map(|program| &program.buffers) {
            let Place::Weight(index) = buffer.place else { continue };
            ranges.resize(ranges.len().max(index + 1), None);
            ranges[index].get_or_insert_with(|| {
                let start = size.next_multiple_of(ALIGN);
                size = start + weight(index).len();
                (start, weight(index).len())
            });
        }
        let memory = Allocation::new(context, size, || "the weights".into())?;
        let stream = Stream::new(context)?;
        for (index, range) in ranges.iter().enumerate() {
            let Some((start, size)) = *range else { continue };
            // SAFETY: the range is in the allocation, and both live until the stream is done, below.
            let copied =
                unsafe { stream.copy_to_device(memory.start() + start as u64, weight(index).as_ptr(), size) };
            if let Err(failure) = copied.and(if index % 64 == 63 { stream.synchronize() } else { Ok(()) }) {
                // Copies that are under way must not outlive the weights.
                let _ = stream.synchronize();
                return Err(context.error(&failure, "take the weights"));
            }
        }
        stream.synchronize().map_err(|failure| context.error(&failure, "take the weights"))?;
        Ok(Weights { memory, ranges })
    }
}

fn functions(context: &Context, target: &TargetProgram, modules: &[Module]) -> Result<Vec<Function>> {
    let mut functions = Vec::with_capacity(target.kernels.len());
    for kernel in &target.kernels {
        let bad = |reason: String| Error::Code { target: target.name.clone(), reason };
        let absent = || bad(format!("kernel `{}` is not in its code object", kernel.symbol));
        let name = CString::new(kernel.symbol.as_str()).map_err(|_| absent())?;
        let handle = modules[kernel.code].function(&name).map_err(|_| absent())?;
        if kernel.shared > 0 {
            // SAFETY: the function is of a module that is loaded.
            let allowed = unsafe { context.driver.allow_shared(handle, kernel.shared) };
            allowed.map_err(|failure| {
                let (symbol, bytes, device) = (&kernel.symbol, kernel.shared, &context.label);
                bad(format!("kernel `{symbol}` needs {bytes} bytes of shared memory, {device}: {failure}"))
            })?;
        }
        functions.push(Function {
            handle,
            threads: kernel.threads,
            shared: kernel.shared,
            scratch: kernel.scratch.known() != Some(0),
            name: kernel.symbol.clone(),
        });
    }
    Ok(functions)
}
