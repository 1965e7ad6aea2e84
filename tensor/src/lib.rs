//! Element types, symbolic dimensions and tensors of the Sardonyx compiler.
//!
//! The bottom crate of the workspace: it knows neither graphs nor devices.
//!
//! ```
//! use sardonyx_tensor::{Bindings, Dim, Tensor};
//! let rows = (Dim::symbol("s") + 31).floor_div(32);
//! assert_eq!(rows.to_string(), "(s + 31) / 32");
//! assert_eq!(rows.eval(&Bindings::from([("s", 100)])).unwrap(), 4);
//! let tensor = Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
//! assert_eq!(tensor.to_f64s(), [1.0, 2.0, 3.0, 4.0]);
//! ```

mod dim;
mod dtype;
mod element;
mod heap;
mod npy;
mod storage;
mod tensor;

pub use dim::{Bindings, Dim, DimError, Equalities};
pub use dtype::{DType, UnknownDType};
pub use element::Element;
pub use half::{bf16, f16};
pub use heap::Heap;
pub use npy::NpyError;
pub use tensor::{Tensor, TensorError};
