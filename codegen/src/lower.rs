//! Lowering: nodes of a graph as kernels.
mod moved;
pub mod trace;
