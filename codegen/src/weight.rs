//! The constants that a program holds: tensors of the graph, which share the bytes of the model's file, and panels,
//! which are laid out only when they are written, so that one at a time is in memory.
use sardonyx_runtime::panels::{self, Matrix, ZERO};
use sardonyx_tensor::{DType, Tensor};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A constant of a program.
#[derive(Clone, Debug)]
pub enum Weight {
    /// A tensor of the graph.
    Tensor(Tensor),
    /// Elements of such, laid out as kernels read them.
    Packed(Packed),
}

/// Where a matrix stands in a tensor, and the panels it becomes; see [`Matrix`].
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Where it begins.
    pub place: i64,
    /// How far from there its rows stand.
    pub depth: Arc<[i64]>,
    /// How far from there its columns stand.
    pub columns: Arc<[i64]>,
    /// Columns of a panel.
    pub width: usize,
    /// Rows that stand side by side in a panel.
    pub beside: usize,
}

impl Part {
    fn matrix(&self) -> Matrix<'_> {
        let Part { place, depth, columns, width, beside } = self;
        Matrix { place: *place, depth, columns, width: *width, beside: *beside }
    }

    /// The same elements, out of the panels of `of` in place of the tensor that those were made of. `None` where they
    /// do not have them, or not by rows and columns.
    fn out_of(&self, of: &Part) -> Option<Part> {
        // With panels of one column, an element of `of` stands at its column times the depth plus its row.
        if of.width != 1 || of.beside != 1 {
            return None;
        }
        let step = of.depth.len() as i64;
        let numbers = |list: &[i64], from: i64, step: i64| -> HashMap<i64, i64> {
            list.iter().enumerate().map(|(k, &offset)| (from + offset, k as i64 * step)).collect()
        };
        let (rows, columns) = (numbers(&of.depth, 0, 1), numbers(&of.columns, of.place, step));
        let (turned_rows, turned_columns) = (numbers(&of.columns, 0, step), numbers(&of.depth, of.place, 1));
        let found = |list: &[i64], from: i64, at: &HashMap<i64, i64>| -> Option<Vec<i64>> {
            let place = |&o: &i64| if o == ZERO { Some(ZERO) } else { at.get(&(from + o)).copied() };
            list.iter().map(place).collect()
        };
        let either = |rows: &HashMap<i64, i64>, columns: &HashMap<i64, i64>| {
            Some((found(&self.depth, 0, rows)?, found(&self.columns, self.place, columns)?))
        };
        let (depth, mut columns) =
            either(&rows, &columns).or_else(|| either(&turned_rows, &turned_columns))?;
        // From the first column on, so that equal groups have equal columns.
        let place = columns.iter().copied().find(|&c| c != ZERO).unwrap_or(0);
        columns.iter_mut().filter(|c| **c != ZERO).for_each(|c| *c -= place);
        Some(Part { place, depth: depth.into(), columns: columns.into(), ..*self })
    }
}

/// Matrices of a tensor as panels, one after the other.
#[derive(Clone)]
pub struct Packed {
    /// The tensor.
    pub source: Tensor,
    /// The element type of the panels.
    pub dtype: DType,
    /// The matrices.
    pub parts: Vec<Part>,
}

impl Packed {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.parts.iter().map(|part| part.matrix().elements()).sum()
    }

    /// Whether its elements are all in the tensor.
    pub fn lies_in_source(&self) -> bool {
        self.parts.iter().all(|part| part.matrix().lies_in(self.source.len()))
    }

    /// Lays the panels out.
    pub fn tensor(&self) -> Tensor {
        let mut panels = Tensor::zeros(self.dtype, [self.elements()]);
        let matrices: Vec<Matrix<'_>> = self.parts.iter().map(Part::matrix).collect();
        panels::pack(self.source.bytes(), self.source.dtype(), &matrices, self.dtype, panels.bytes_mut());
        panels
    }

    /// Whether two are made of the same tensor.
    pub fn shares_source(&self, other: &Packed) -> bool {
        same_tensor(&self.source, &other.source)
    }

    /// The same panels, made of other panels of the same tensor; see [`Part::out_of`].
    pub fn out_of(&self, other: &Packed) -> Option<Vec<Part>> {
        let [of] = &other.parts[..] else { return None };
        if !self.shares_source(other) || self.source.dtype() != other.dtype {
            return None;
        }
        self.parts.iter().map(|part| part.out_of(of)).collect()
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        self.shares_source(other) && self.dtype == other.dtype && self.parts == other.parts
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed {} [{}]", self.dtype, self.elements())
    }
}

/// Whether two tensors are the same bytes in memory.
pub fn same_tensor(a: &Tensor, b: &Tensor) -> bool {
    a.dtype() == b.dtype() && std::ptr::eq(a.bytes(), b.bytes())
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
            Weight::Packed(packed) => packed.dtype,
        }
    }

    /// The shape.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Weight::Tensor(tensor) => tensor.shape().to_vec(),
            Weight::Packed(packed) => vec![packed.elements()],
        }
    }

    /// The size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape().iter().product::<usize>() * self.dtype().size()
    }

    /// The tensor, laid out now if it has to be.
    pub fn tensor(&self) -> Tensor {
        match self {
            Weight::Tensor(tensor) => tensor.clone(),
            Weight::Packed(packed) => packed.tensor(),
        }
    }
}
