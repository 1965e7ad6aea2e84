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

/// How much ONNX Runtime may change a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As far as it can.
    All,
}

impl Level {
    /// Every level, the highest last.
    pub const EVERY: [Level; 1] = [Level::All];
}

impl Ort {
    /// Fails.
    pub fn open_at(_: &Path, _: usize, _: Option<&Path>, _: Level) -> Result<Ort, OrtError> {
        Err(OrtError)
    }

    /// Fails.
    pub fn open(_: &Path, _: usize, _: Option<&Path>) -> Result<Ort, OrtError> {
        Err(OrtError)
    }

    /// Cannot be called.
    pub fn run(&mut self, _: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, OrtError> {
        match self.0 {}
    }
}
