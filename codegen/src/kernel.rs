//! Kernels: what is computed, with which layouts, and nothing about threads or loops.
pub mod attention;
pub mod body;
pub mod contract;
pub mod dot;
pub mod index;
mod merge;
mod pack;
pub mod pointwise;
pub mod recurrent;
mod simpler;
pub mod window;

use crate::nest::Nest;
use crate::nests;
use crate::target::{Target, TargetSpec};
use crate::template;
use crate::unit::Unit;
use sardonyx_ir::{Op, Type};
use sardonyx_tensor::Dim;
use std::fmt;

/// What a launch computes.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Kernel {
    /// A function of every point of a domain.
    Map(pointwise::Map),
    /// Reductions of rows, and functions of them.
    Rows(pointwise::Rows),
    /// A matrix product.
    Gemm(contract::Gemm),
    /// A convolution.
    Conv(contract::Conv),
    /// A matrix product or convolution of bytes.
    Dot(dot::Dot),
    /// Pooling or depthwise convolution.
    Window(window::Window),
    /// Attention.
    Attention(attention::Attention),
    /// A recurrent layer in one direction.
    Recurrent(recurrent::Recurrent),
    /// An op with loops of its own, on row-major tensors.
    Special {
        /// The op.
        op: Op,
        /// The types of its operands.
        operands: Vec<Type>,
        /// The types of its results.
        results: Vec<Type>,
    },
}

impl Kernel {
    /// What a launch runs on a target. Fails where the target has no kernel for it.
    pub fn unit(&self, name: &str, target: &Target) -> Result<Unit, String> {
        match target {
            Target::Cpu(spec) => self.nest(name, spec).map(Unit::Nest),
            Target::Gpu(spec) => match template::instantiate(self, name, spec) {
                Some(template) => Ok(Unit::Template(template)),
                None => nests::gpu::nest(self, name, spec).map(Unit::Nest),
            },
        }
    }

    /// The loops on a processor. Fails for an op whose attributes have no loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Result<Nest, String> {
        Ok(match self {
            Kernel::Map(map) => nests::map::nest(map, name, target),
            Kernel::Rows(rows) => nests::rows::nest(rows, name),
            Kernel::Gemm(gemm) => gemm.nest(name, target),
            Kernel::Conv(conv) => conv.nest(name, target),
            Kernel::Dot(dot) => dot.nest(name, target),
            Kernel::Window(window) => window.nest(name, target),
            Kernel::Attention(attention) => attention.nest(name, target),
            Kernel::Recurrent(recurrent) => recurrent.nest(name, target),
            Kernel::Special { op, operands, results } => nests::special::nest(op, operands, results)
                .ok_or_else(|| format!("no loops for {} with these attributes", op.name()))?,
        })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kernel::Map(map) => map.fmt(f),
            Kernel::Rows(rows) => rows.fmt(f),
            Kernel::Gemm(gemm) => write!(f, "{gemm:#?}"),
            Kernel::Conv(conv) => write!(f, "{conv:#?}"),
            Kernel::Dot(dot) => write!(f, "{dot:#?}"),
            Kernel::Window(window) => write!(f, "{window:#?}"),
            Kernel::Attention(attention) => write!(f, "{attention:#?}"),
            Kernel::Recurrent(recurrent) => write!(f, "{recurrent:#?}"),
            Kernel::Special { op, operands, results } => {
                let mut attributes = String::new();
                op.print_attributes(&mut attributes);
                let list = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "{}({}){attributes} : {}", op.name(), list(operands), list(results))
            }
        }
    }
}

/// The strides, in elements, of a row-major tensor of this shape.
pub fn row_major(shape: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::ONE; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = &strides[k] * &shape[k];
    }
    strides
}
