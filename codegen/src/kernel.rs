//! Kernels: what is computed, with which layouts, and nothing about threads or loops.
pub mod attention;
pub mod body;
pub mod contract;
pub mod index;
mod merge;
mod pack;
pub mod pointwise;
pub mod recurrent;
mod simpler;
pub mod window;

use sardonyx_tensor::Dim;

/// The strides, in elements, of a row-major tensor of this shape.
pub fn row_major(shape: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::ONE; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = &strides[k] * &shape[k];
    }
    strides
}
