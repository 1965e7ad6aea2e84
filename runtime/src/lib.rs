//! The runtime of the Sardonyx compiler: opens and runs program files.

pub mod manifest;

pub use sardonyx_tensor as tensor;
