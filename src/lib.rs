//! Sardonyx: an ahead-of-time graph compiler for ONNX models.
pub mod compare;
#[cfg(feature = "ort")]
pub mod ort;
pub mod pipeline;
