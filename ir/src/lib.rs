//! The graph IR of the Sardonyx compiler: types, op table, text form, verifier, reference interpreter.
//!
//! Must not know: targets, ONNX, kernels.
pub mod erf;
pub mod facts;
pub mod graph;
mod index;
pub mod interp;
pub mod ops;
pub mod rewrite;
pub mod scalar;
mod sizes;
mod symbols;
pub mod text;
pub mod types;
pub mod verify;

pub use graph::{Graph, NodeId, Origin, Requirement, Value};
pub use ops::{Op, OpBuilder};
pub use sizes::at_sizes;
pub use types::Type;
