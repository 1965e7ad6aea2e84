//! Matrix products that a vendor's library can compute in place of a kernel.

use serde::{Deserialize, Serialize};

use sardonyx_tensor::{DType, Dim};

/// A batch of matrix products and no more: `out[z, i, j] = Σ_k a[z, i, k] · b[z, k, j]`, accumulated in f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The type of the operands: f16, bf16 or f32.
    pub dtype: DType,
    /// The type of the result: that of the operands, or f32.
    pub out_dtype: DType,
    /// How many products.
    pub batch: Dim,
    /// Rows of the result.
    pub m: Dim,
    /// Columns of the result.
    pub n: Dim,
    /// The length of the sums.
    pub k: Dim,
    /// The first operand, rows of `k` elements.
    pub a: Matrix,
    /// The second operand, rows of `n` elements.
    pub b: Matrix,
    /// The result, rows of `n` elements, which are neighbours in memory.
    pub out: Matrix,
}

/// Where the elements of a batch of matrices are, counted in elements: those of a row are neighbours, or those
/// of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The argument of the launch that holds it.
    pub arg: usize,
    /// The place of the first element.
    #[serde(default)]
    pub offset: Dim,
    /// From a row to the next, or from a column to the next.
    pub pitch: Dim,
    /// From a matrix to the next.
    #[serde(default)]
    pub slice: Dim,
    /// Whether the elements of a column are neighbours.
    #[serde(default)]
    pub columns: bool,
}
