//! The constants that a program holds: tensors of the graph, which share the bytes of the model's file, and others
//! that are made of them only when they are written, so that one at a time is in memory.
use sardonyx_tensor::{DType, Tensor};
use std::fmt;
use std::sync::Arc;

/// A constant of a program.
#[derive(Clone, Debug)]
pub enum Weight {
    /// A tensor of the graph.
    Tensor(Tensor),
    /// One that is made of such.
    Made(Made),
}

/// A tensor that is made whenever it is asked for: always the same.
#[derive(Clone)]
pub struct Made {
    dtype: DType,
    shape: Vec<usize>,
    make: Arc<dyn Fn() -> Tensor + Send + Sync>,
}

impl Made {
    /// A tensor of this type and shape.
    pub fn new(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        make: impl Fn() -> Tensor + Send + Sync + 'static,
    ) -> Made {
        Made { dtype, shape: shape.into(), make: Arc::new(make) }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Makes the tensor.
    pub fn tensor(&self) -> Tensor {
        let tensor = (self.make)();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (self.dtype, &*self.shape),
            "bug: another tensor was made"
        );
        tensor
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made {} {:?}", self.dtype, self.shape)
    }
}

impl From<&Tensor> for Weight {
    fn from(tensor: &Tensor) -> Weight {
        Weight::Tensor(tensor.clone())
    }
}

impl Weight {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Weight::Tensor(tensor) => tensor.dtype(),
            Weight::Made(made) => made.dtype,
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Weight::Tensor(tensor) => tensor.shape(),
            Weight::Made(made) => &made.shape,
        }
    }

    /// The size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape().iter().product::<usize>() * self.dtype().size()
    }

    /// The tensor, made now if it has to be.
    pub fn tensor(&self) -> Tensor {
        match self {
            Weight::Tensor(tensor) => tensor.clone(),
            Weight::Made(made) => made.tensor(),
        }
    }
}
