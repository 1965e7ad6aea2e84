//! GPUs: the border between checked programs and the drivers of AMD and NVIDIA.
//!
//! HIP and CUDA share all of it: what they do differently is in `driver`. What is offered to the rest of the
//! crate is safe as long as kernels keep to their contract: they read and write the elements of their
//! arguments and their scratch memory, nothing else.

mod blas;
mod buffer;
mod context;
mod cudnn;
mod dnn;
mod driver;
mod image;
mod library;
mod loaded;
mod memory;
mod miopen;
mod objects;
mod replay;
mod state;

pub use buffer::DeviceBuffer;
pub use context::DeviceInfo;
pub(crate) use context::{Context, list};
pub(crate) use loaded::{Loaded, Weights};
pub(crate) use memory::Running;
pub(crate) use replay::Replays;
pub(crate) use state::State;
