//! The runtime of the Sardonyx compiler: opens and runs program files.
//!
//! This is all that an application embeds: no compiler, no LLVM, no protobuf. A [`Program`] is a file mapped
//! into memory; a [`Session`] runs it on a [`Device`], with memory and threads of its own.
//!
//! ```no_run
//! use sardonyx_runtime::{Device, Program, tensor::Tensor};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let program = Program::open("model.sdx")?;
//! let mut session = program.session(Device::cpu().threads(4))?;
//! let image = Tensor::from_slice([1, 3, 224, 224], &vec![0.5f32; 3 * 224 * 224]);
//! let outputs = session.run([("image", image)])?;
//! println!("{:?}", outputs[0]);
//! # Ok(()) }
//! ```
//!
//! The border to machine code (pointers, mapping, relocation) is in `cpu` and `elf`, that to the drivers of GPUs
//! in `sys` and `gpu`; the rest is safe code. Drivers are loaded at run time, where they are there.

mod cpu;
mod device;
mod elf;
mod error;
mod golden;
mod gpu;
mod host;
pub mod manifest;
mod memory;
pub mod panels;
pub mod plan;
mod program;
mod session;
mod sys;

pub use sardonyx_tensor as tensor;

pub use cpu::MappedFile;
pub use device::{Device, Platform};
pub use error::{Error, Result};
pub use gpu::{DeviceBuffer, DeviceInfo};
pub use program::{Program, ProgramBuilder};
pub use session::{DeviceInput, DeviceOutput, Input, Output, Session, StepProfile};
