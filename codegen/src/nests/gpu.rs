//! Loops of kernels on GPUs.
pub mod items;
