//! What a vendor's library can compute in place of a kernel.

use serde::{Deserialize, Serialize};

use super::{Convolution, Product};

/// What a launch computes, in the terms of a vendor's library.
///
/// The kernel of the launch computes the same. A session may let the library do it, where that is there and
/// faster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LibraryCall {
    /// By rocBLAS or cuBLAS.
    Product(Box<Product>),
    /// By MIOpen or cuDNN.
    Convolution(Box<Convolution>),
}
