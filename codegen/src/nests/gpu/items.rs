//! The form that every kernel has on a GPU: a thread runs what a processor's thread runs, item by item.
//!
//! Scratch memory is the thread's own, in global memory; arrays of the work item become arrays of the thread.
use crate::kernel::Kernel;
use crate::nest::{Blocks, Nest, Worker};
use crate::target::{GpuSpec, TargetSpec};

/// Threads of a block where an item is much work: a wave of the widest GPUs.
pub const THREADS: u32 = 64;

/// Blocks per compute unit where every thread has scratch memory, which bounds its size.
const BLOCKS_WITH_SCRATCH: i64 = 4;

/// The nest of a kernel with its work items spread over threads.
pub fn nest(kernel: &Kernel, name: &str, target: &GpuSpec) -> Result<Nest, String> {
    Ok(spread(kernel.nest(name, &processor(target))?, target, THREADS))
}

/// A nest whose items are run by blocks of so many threads.
pub fn spread(mut nest: Nest, target: &GpuSpec, threads: u32) -> Nest {
    let every = nest.grid.ceil_div(i64::from(threads));
    let count = match nest.scratch.known() {
        Some(0) => every,
        _ => every.min(&(BLOCKS_WITH_SCRATCH * i64::from(target.units)).into()),
    };
    let scratch = &nest.scratch * i64::from(threads);
    for dim in [&nest.grid, &nest.scratch, &count] {
        if !dim.is_known() && !nest.dims.contains(dim) {
            nest.dims.push(dim.clone());
        }
    }
    nest.blocks = Some(Blocks { worker: Worker::Thread, threads, count, scratch });
    nest
}

/// A thread as a processor: short vectors, which become registers, and tiles to match.
fn processor(target: &GpuSpec) -> TargetSpec {
    TargetSpec {
        cpu: target.arch.to_string(),
        features: String::new(),
        vector_bytes: 16,
        vector_registers: 8,
        fma: true,
        f16c: true,
        vnni: false,
        l1_bytes: 32 << 10,
        l2_bytes: 256 << 10,
    }
}
