//! Kernels, schedules, emitters and toolchains of the Sardonyx compiler.
pub mod compile;
pub mod emit;
pub mod kernel;
pub mod library;
pub mod lower;
pub mod math;
pub mod nest;
pub mod nests;
pub mod plan;
mod sharing;
pub mod target;
pub mod template;
pub mod toolchain;
pub mod unit;
pub mod weight;
