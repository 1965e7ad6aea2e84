//! The CPU: the border between checked programs and machine code.
//!
//! The parts that hold raw pointers are below this module; what they offer to the rest of the crate is safe
//! as long as kernels keep to their contract: they read and write the elements of their arguments and their
//! scratch memory, nothing else.

mod builtins;
mod features;
mod file;
mod memory;
mod packed;
mod pool;
mod region;

use crate::elf;
use crate::error::{Error, Result};
use crate::manifest::TargetProgram;

pub(crate) use builtins::address as builtin_address;
pub(crate) use features::has_feature;
pub use file::MappedFile;
pub(crate) use memory::{Running, State};
pub(crate) use packed::Constants;

/// A kernel: it computes the work items `begin..end` of its grid.
///
/// The arguments: a pointer per buffer, the run-time dimension parameters, `begin`, `end`, scratch memory.
pub(crate) type KernelFn =
    unsafe extern "C" fn(args: *const *mut u8, dims: *const i64, begin: i64, end: i64, scratch: *mut u8);

/// The loaded code of a target.
pub(crate) struct Code {
    /// One per kernel of the target.
    kernels: Vec<KernelFn>,
    /// Keeps the code mapped.
    _objects: Vec<elf::Object>,
}

impl Code {
    pub fn kernel(&self, index: usize) -> KernelFn {
        self.kernels[index]
    }
}

/// Loads the code objects of a target and finds its kernels in them.
pub(crate) fn load<'a>(target: &TargetProgram, objects: impl Iterator<Item = &'a [u8]>) -> Result<Code> {
    let bad = |reason: String| Error::Code { target: target.name.clone(), reason };
    let objects = objects.map(elf::Object::load).collect::<std::result::Result<Vec<_>, _>>().map_err(bad)?;
    let kernel = |kernel: &crate::manifest::Kernel| {
        let found = objects[kernel.code].function(&kernel.symbol);
        found.ok_or_else(|| bad(format!("kernel `{}` is not in its code object", kernel.symbol)))
    };
    let kernels = target.kernels.iter().map(kernel).collect::<Result<_>>()?;
    Ok(Code { kernels, _objects: objects })
}
