//! What running steps needs of a device: memory of buffers, and kernels that work on it.
//!
//! The CPU (`cpu`) and GPUs (`gpu`) implement it; binding, planning and steps (`session`) use nothing else.

use crate::error::{Error, Result};
use crate::manifest::BufferIndex;
use crate::plan::PlannedCall;

/// The memory of a session during a run. A buffer has no memory until it is placed.
pub(crate) trait Memory {
    /// The buffer is a range of the workspace, which has been reserved for the plan.
    fn place_workspace(&mut self, buffer: BufferIndex, offset: usize, size: usize);

    /// The buffer is a part of another one; false, and it has no memory, where that has none or is smaller.
    #[must_use]
    fn place_part(&mut self, buffer: BufferIndex, of: BufferIndex, offset: usize, size: usize) -> bool;

    /// The buffer is `size` bytes of its own. What it held stays, as far as it fits. Parts of the buffer have
    /// to be placed again.
    fn place_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()>;

    /// As [`Memory::place_own`], with room for more, for buffers that grow slice by slice.
    fn extend_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()>;

    /// The size of a buffer in bytes; `None` while it has no memory.
    fn size(&self, buffer: BufferIndex) -> Option<usize>;

    /// Copies `size` bytes; false where one of the buffers has no memory, is smaller, or is only read.
    fn copy(&mut self, src: (BufferIndex, usize), dst: (BufferIndex, usize), size: usize) -> Result<bool>;

    /// Makes the first bytes of buffers, as many as are asked for, readable to the host. A GPU is waited for.
    fn bring(&mut self, parts: &[(BufferIndex, usize)]) -> Result<()>;

    /// What was brought of a buffer, or more; `None` where it has no memory.
    fn bytes(&self, buffer: BufferIndex) -> Option<&[u8]>;

    /// Writes the first bytes of a buffer; false where it has no memory, is smaller, or is only read.
    fn write(&mut self, buffer: BufferIndex, bytes: &[u8]) -> Result<bool>;

    /// Turns the first `count` slices of `slice` bytes around; false where the buffer is smaller or only read.
    fn reverse(&mut self, buffer: BufferIndex, slice: usize, count: usize) -> Result<bool>;

    /// Makes scratch memory for a launch whose sizes were not known when the run began.
    fn reserve_scratch(&mut self, launch: &Launch) -> Result<()>;

    /// Runs a kernel of the target on buffers.
    fn launch(&mut self, kernel: usize, buffers: &[BufferIndex], launch: &Launch) -> Done;

    /// Starts measuring a launch or a copy; false where the host's clock measures it.
    fn start_timing(&mut self) -> Result<bool>;

    /// Ends measuring the step of this number.
    fn stop_timing(&mut self, step: usize) -> Result<()>;
}

/// A launch, without its buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    /// The number of the step.
    pub step: usize,
    /// The run-time dimension parameters.
    pub dims: &'a [i64],
    /// The number of work items; on a GPU of blocks.
    pub grid: i64,
    /// Bytes of scratch memory per thread; on a GPU per block.
    pub scratch: usize,
    /// About how many operations or bytes it is; 0 where that is not known.
    pub work: i64,
    /// What a library may compute in its place.
    pub library: Option<&'a PlannedCall>,
}

/// Why a step cannot be run: in words, which get the step's name, or an error that has one.
pub(crate) enum Fault {
    Reason(String),
    Error(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Reason(reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Error(error)
    }
}

/// How running a step ended.
pub(crate) type Done<T = ()> = std::result::Result<T, Fault>;

/// The buffer that a step needs has no memory.
pub(crate) fn unplaced(buffer: BufferIndex) -> Fault {
    Fault::Reason(format!("buffer {buffer} has no memory: its size is not known yet, or it does not fit"))
}
