//! Sardonyx: an ahead-of-time graph compiler for ONNX models.
pub mod compare;
pub mod onnx;
#[cfg(feature = "ort")]
pub mod ort;
pub mod pipeline;
