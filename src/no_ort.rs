//! What stands for `ort` in a build without the cargo feature `ort`: it says so.
use sardonyx_tensor::Tensor;
use std::convert::Infallible;
use std::path::Path;

/// ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("ONNX Runtime was left out of this build (cargo feature `ort`)")]
pub struct OrtError;

/// A model loaded in ONNX Runtime, of which there are none.
pub struct Ort(Infallible);

impl Ort {
    /// Fails.
    pub fn open(_: &Path, _: usize, _: Option<&Path>) -> Result<Ort, OrtError> {
        Err(OrtError)
    }

    /// Cannot be called.
    pub fn run(&mut self, _: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, OrtError> {
        match self.0 {}
    }
}
