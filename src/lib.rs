//! Sardonyx: an ahead-of-time graph compiler for ONNX models.
