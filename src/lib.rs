//! Sardonyx: an ahead-of-time graph compiler for ONNX models.
pub mod cli;
pub mod compare;
pub mod compile;
pub mod images;
pub mod inputs;
pub mod onnx;
#[cfg(feature = "ort")]
pub mod ort;
#[cfg(not(feature = "ort"))]
#[path = "no_ort.rs"]
pub mod ort;
pub mod pipeline;
pub mod statistics;
