//! Operations that the runtime does itself: those whose result sizes depend on the data, and those that are
//! no loops over indices.
//!
//! To add one: a function in a file of this folder, and a row of its list or of [`OPS`]. Element types and shapes of its
//! inputs are the compiler's promise; what the data can get wrong is an error.

mod lists;
mod nms;
mod nonzero;
mod texts;
mod topk;
mod unique;

use std::cmp::Ordering;

use serde_json::Value;

use sardonyx_tensor::{DType, Heap, Tensor};

/// An input of an operation.
pub(crate) struct View<'a> {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub bytes: &'a [u8],
}

impl View<'_> {
    /// A tensor with a copy of the elements.
    pub fn to_tensor(&self) -> Result<Tensor, String> {
        Tensor::new(self.dtype, self.shape.clone(), self.bytes).map_err(|error| error.to_string())
    }
}

/// What an operation is given.
pub(crate) struct Call<'a> {
    pub inputs: &'a [View<'a>],
    pub attrs: &'a Value,
    /// The shapes of the outputs; none where the operation decides them.
    pub outputs: &'a [Option<Vec<usize>>],
}

/// Computes the outputs.
pub(crate) type HostOp = fn(&Call) -> Result<Vec<Tensor>, String>;

/// All operations, by name.
const OPS: &[(&str, HostOp)] =
    &[("nms", nms::nms), ("nonzero", nonzero::nonzero), ("topk", topk::topk), ("unique", unique::unique)];

/// Computes the outputs from whole tensors, with the attributes.
pub(crate) type Whole = fn(&[Tensor], &Value) -> Result<Vec<Tensor>, String>;

/// An operation, by what it is given.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    /// Elements where they are.
    Views(HostOp),
    /// Tensors, texts with a heap of their own.
    Tensors(Whole),
}

/// The operation of this name.
pub(crate) fn find(name: &str) -> Option<Operation> {
    let of_views = OPS.iter().find(|(op, _)| *op == name).map(|(_, run)| Operation::Views(*run));
    let mut whole = texts::OPS.iter().chain(lists::OPS);
    let of_texts = || whole.find(|(op, _)| *op == name).map(|(_, run)| Operation::Tensors(*run));
    of_views.or_else(of_texts)
}

/// An input of an operation on whole tensors.
fn at(x: &[Tensor], index: usize) -> Result<&Tensor, String> {
    x.get(index).ok_or_else(|| format!("input {index} is missing"))
}

/// Runs an operation; texts of its inputs are numbers in `heap`, those of the results are in heaps of their own.
pub(crate) fn run(operation: Operation, call: &Call, heap: &Heap) -> Result<Vec<Tensor>, String> {
    match operation {
        Operation::Views(run) => run(call),
        Operation::Tensors(run) => {
            let released = |view: &View| Ok(heap.released(&view.to_tensor()?));
            run(&call.inputs.iter().map(released).collect::<Result<Vec<_>, String>>()?, call.attrs)
        }
    }
}

impl<'a> Call<'a> {
    /// Input `index`, which the operation needs.
    fn input(&self, index: usize) -> Result<&'a View<'a>, String> {
        self.inputs.get(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// An integer attribute; `default` where it is not given.
    fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.attrs.get(name) {
            None => Ok(default),
            Some(value) => value.as_i64().ok_or_else(|| format!("attribute `{name}` should be an integer")),
        }
    }

    /// A truth value among the attributes; `default` where it is not given.
    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.attrs.get(name) {
            None => Ok(default),
            Some(value) => {
                value.as_bool().ok_or_else(|| format!("attribute `{name}` should be true or false"))
            }
        }
    }

    /// An axis from 0, from one that may count from the end.
    fn axis(&self, default: i64, rank: usize) -> Result<usize, String> {
        let given = self.int("axis", default)?;
        let axis = if given < 0 { given + rank as i64 } else { given };
        usize::try_from(axis)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| format!("there is no axis {given}"))
    }
}

/// Elements in a form that compares exactly; NaN is greater than all numbers.
enum Keys {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

impl Keys {
    fn new(view: &View) -> Result<Keys, String> {
        let tensor = view.to_tensor()?;
        Ok(match view.dtype {
            DType::I64 | DType::U64 => Keys::Integers(tensor.to_i128s()),
            _ => Keys::Floats(tensor.to_f64s()),
        })
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Keys::Integers(keys) => keys[a].cmp(&keys[b]),
            Keys::Floats(keys) => {
                let (a, b) = (keys[a], keys[b]);
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
        }
    }
}
