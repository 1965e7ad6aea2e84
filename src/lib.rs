//! Sardonyx: an ahead-of-time graph compiler for ONNX models.
pub mod pipeline;
