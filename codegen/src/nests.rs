//! Kernels written out as loops.
pub mod conv;
pub mod gemm;
mod neighbours;
pub mod tile;
pub mod write;
