//! Loops of kernels on GPUs: maps and rows by blocks of threads, all others item by item.
pub mod items;
mod map;
mod reduce;
mod rows;
mod tiles;
pub mod vector;

use crate::kernel::Kernel;
use crate::nest::Nest;
use crate::target::GpuSpec;

/// The nest of a kernel on a GPU. Fails for an op whose attributes have no loops.
pub fn nest(kernel: &Kernel, name: &str, target: &GpuSpec) -> Result<Nest, String> {
    match kernel {
        Kernel::Map(map) => Ok(map::nest(map, name, target)),
        Kernel::Rows(rows) => Ok(rows::nest(rows, name, target)),
        _ => items::nest(kernel, name, target),
    }
}
