//! Loops of ops that are kernels of their own: scattering, scans, resampling, regions, matrices.
//!
//! Operands and results are row-major tensors, one argument each: operands, then results.
mod deform;
mod detection;
mod linear_attention;
mod matrix;
mod pool;
mod resize;
mod sample;
mod scan;
mod scatter;
mod trees;

use crate::nest::{Buf, Builder, Expr, Nest};
use sardonyx_ir::{Op, Type};
use sardonyx_tensor::Dim;

/// A kernel under construction: the arguments of an op, declared in order.
struct Special<'t> {
    b: Builder,
    operands: &'t [Type],
    results: &'t [Type],
    inputs: Vec<Buf>,
    outputs: Vec<Buf>,
}

impl<'t> Special<'t> {
    fn new(op: &Op, operands: &'t [Type], results: &'t [Type]) -> Special<'t> {
        let b = Builder::new(op.name());
        let inputs = (0..operands.len()).map(|i| b.input(&format!("in{i}"), operands[i].dtype)).collect();
        let outputs = (0..results.len()).map(|i| b.output(&format!("out{i}"), results[i].dtype)).collect();
        Special { b, operands, results, inputs, outputs }
    }
}

/// The loops of an op on operands of these types; `None` if the op is no kernel of this kind.
pub fn nest(op: &Op, operands: &[Type], results: &[Type]) -> Option<Nest> {
    let s = Special::new(op, operands, results);
    let grid = match op {
        Op::ScatterElements { axis, reduction } => scatter::elements(&s, *axis, *reduction),
        Op::ScatterNd { reduction } => scatter::slices(&s, *reduction),
        Op::CumSum { axis, exclusive, reverse } => {
            scan::cumulative(&s, *axis, *exclusive, *reverse, scan::Kind::Sum)
        }
        Op::CumProd { axis, exclusive, reverse } => {
            scan::cumulative(&s, *axis, *exclusive, *reverse, scan::Kind::Product)
        }
        Op::Lrn { size, alpha, beta, bias } => scan::lrn(&s, *size, [*alpha, *beta, *bias]),
        Op::Resize { .. } => resize::resize(&s, op)?,
        Op::GridSample { mode, padding, align_corners } => {
            sample::grid_sample(&s, *mode, *padding, *align_corners)?
        }
        Op::RoiAlign { .. } => detection::roi_align(&s, op)?,
        Op::MaxRoiPool { .. } => detection::max_roi_pool(&s, op)?,
        Op::Det { .. } => matrix::det(&s),
        Op::Inverse { .. } => matrix::inverse(&s),
        Op::DeformConv { .. } => deform::deform_conv(&s, op)?,
        Op::MaxPoolIndices { .. } => pool::max_pool_indices(&s, op)?,
        Op::LinearAttention { .. } => linear_attention::linear_attention(&s, op)?,
        Op::Trees { reduction, .. } => trees::trees(&s, *reduction),
        _ => return None,
    };
    Some(s.b.finish(grid))
}

/// The elements before an axis, along it, and behind it.
fn split(ty: &Type, axis: i64) -> [Dim; 3] {
    let a = ty.axis(axis).expect("the type rule should have accepted the axis");
    [Dim::product(&ty.shape[..a]), ty.shape[a].clone(), Dim::product(&ty.shape[a + 1..])]
}

/// An index that counts from the end where it is negative.
fn wrapped<'b>(index: Expr<'b>, size: &Dim) -> Expr<'b> {
    let b = index.builder();
    let index = index.cast(sardonyx_tensor::DType::I64);
    index.lt(0).select(index + b.dim(size), index)
}

/// As [`wrapped`], kept inside `0..size` so that no memory outside is touched.
fn inside<'b>(index: Expr<'b>, size: &Dim) -> Expr<'b> {
    let b = index.builder();
    wrapped(index, size).max(0).min(b.dim(size) - 1)
}
