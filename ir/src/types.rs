//! Tensor types: an element type and a shape of symbolic dimensions.
use sardonyx_tensor::{DType, Dim};
use std::fmt;

/// The type of a value: `f32[b,128]`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Type {
    /// The element type.
    pub dtype: DType,
    /// The dimensions, outermost first.
    pub shape: Vec<Dim>,
}

impl Type {
    /// A tensor type; dims may be given as numbers.
    pub fn new<D: Into<Dim>>(dtype: DType, shape: impl IntoIterator<Item = D>) -> Type {
        Type { dtype, shape: shape.into_iter().map(Into::into).collect() }
    }
    /// The type of a tensor of rank 0.
    pub fn scalar(dtype: DType) -> Type {
        Type { dtype, shape: Vec::new() }
    }
    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    /// The sizes, if all are known.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|d| d.known().and_then(|n| usize::try_from(n).ok())).collect()
    }
    /// The number of elements.
    pub fn elements(&self) -> Dim {
        self.shape.iter().fold(Dim::from(1), |a, d| a * d)
    }
    /// This element type with another shape.
    pub fn with_shape(&self, shape: Vec<Dim>) -> Type {
        Type { dtype: self.dtype, shape }
    }
    /// This shape with another element type.
    pub fn with_dtype(&self, dtype: DType) -> Type {
        Type { dtype, shape: self.shape.clone() }
    }
    /// `axis` counted from the front, if it is in `-rank..rank`.
    pub fn axis(&self, axis: i64) -> Result<usize, String> {
        let rank = self.rank() as i64;
        let a = if axis < 0 { axis + rank } else { axis };
        usize::try_from(a)
            .ok()
            .filter(|_| a < rank)
            .ok_or_else(|| format!("axis {axis} is outside of {self}, which has rank {rank}"))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("]")
    }
}
