//! Code objects of GPUs: one per distinct kernel, cached by text and toolchain.
use super::{Objects, Options, ToolchainError};
use crate::emit;
use crate::target::GpuSpec;
use crate::unit::Unit;

/// The code objects of distinct units; `which` says which of them each unit of the program is.
pub(super) fn objects(
    unique: &[Unit],
    which: &[usize],
    target: &GpuSpec,
    _options: &Options<'_>,
) -> Result<Objects, ToolchainError> {
    let _texts: Vec<String> = unique.iter().map(|unit| emit::hip::text(unit, target)).collect();
    let _ = which;
    Err(ToolchainError::NoGpuToolchain { arch: target.arch.to_string() })
}
