//! Kernels, schedules, emitters and toolchains of the Sardonyx compiler.
pub mod nest;
pub mod kernel;
