//! Integer contractions: products of `u8` rows with constant `i8` columns, summed in `i32`.
//!
//! Columns stand in panels of groups of four, as the dot-product instructions of processors take them:
//! group `g` of panel `p` holds for each of its columns the elements `4g` to `4g + 3`, zeros beyond the end.
//! Rows are read as they stand, or gathered: those of a convolution are the neighbourhoods of the output's
//! pixels, all channels of the first tap, then those of the next.
use super::contract::{Access, Epilogue, Gemm, Operand, Panels};
use crate::nests::tile::{Shape, VectorUnit, ceil_div};
use crate::target::TargetSpec;
use crate::weight::{Packed, Part};
use sardonyx_runtime::panels::ZERO;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::sync::Arc;

/// `out[batch.., i, j] = f(Σ_k rows[batch.., i, k] · b[batch.., k, j], …)`
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    /// Batch sizes, outermost first; the images of a convolution.
    pub batch: Vec<Dim>,
    /// Rows of the result; the pixels of a convolution.
    pub m: Dim,
    /// Columns of the result.
    pub n: i64,
    /// The length of the sums.
    pub k: i64,
    /// The left operand.
    pub rows: Rows,
    /// The right one, of `i8`; `width` columns a panel.
    pub b: Panels,
    /// Over `batch.., m, n`.
    pub epilogue: Epilogue,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Rows {
    /// Elements of a buffer, over `batch.., m, k`.
    Strided(Access),
    /// Neighbourhoods of pixels.
    Windows(Box<Windows>),
}

/// The neighbourhoods that a convolution sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Over `n, channel, spatial..`; channels side by side.
    pub x: Access,
    /// Channels.
    pub channels: i64,
    /// Spatial sizes of the input.
    pub input: Vec<Dim>,
    /// Spatial sizes of the output.
    pub output: Vec<Dim>,
    /// Taps per spatial dimension.
    pub kernel: Vec<i64>,
    /// Strides per spatial dimension.
    pub strides: Vec<i64>,
    /// Padding before the first element, per spatial dimension.
    pub pads: Vec<i64>,
    /// Dilations per spatial dimension.
    pub dilations: Vec<i64>,
    /// The element that is padded, over nothing; 0 if none.
    pub pad: Option<Access>,
}

/// Constant matrices of `i8` in panels, in which four elements of a column stand side by side: where in the tensor the
/// matrices begin, and how far from there the elements of a column, and the columns, stand.
pub fn packed(tensor: &Tensor, places: &[i64], depth: Vec<i64>, mut wide: Vec<i64>, width: i64) -> Packed {
    let width = width as usize;
    wide.resize(wide.len().next_multiple_of(width), ZERO);
    let (depth, columns): (Arc<[i64]>, Arc<[i64]>) = (depth.into(), wide.into());
    let part =
        |&place: &i64| Part { place, depth: depth.clone(), columns: columns.clone(), width, beside: 4 };
    Packed { source: tensor.clone(), dtype: DType::I8, parts: places.iter().map(part).collect() }
}

impl Dot {
    /// The shape of the tiles of so many rows and columns.
    pub fn shape(target: &TargetSpec, m: &Dim, n: i64) -> Shape {
        let unit = VectorUnit::of(target);
        Shape::choose(unit, DType::I32, m.known(), Some(n), 1..=8, &unit.vectors())
    }

    /// The integer contraction that a matrix product of `u8` with a constant of `i8` is, and the tensor that
    /// takes the constant's place; `None` where sizes are not known.
    pub fn of(gemm: &Gemm, constant: &Tensor, target: &TargetSpec) -> Option<(Dot, Packed)> {
        let gemm = gemm.merged();
        let (Operand::Strided(a), Operand::Strided(b)) = (&gemm.a, &gemm.b) else { return None };
        if a.dtype != DType::U8 || b.dtype != DType::I8 {
            return None;
        }
        let (n, k) = (gemm.n.known()?, gemm.k.known()?);
        let strides = b.strides.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
        let rank = gemm.batch.len();
        let width = Dot::shape(target, &gemm.m, n).width();
        let one = ceil_div(n, width) * ceil_div(k, 4) * width * 4;
        let (mut places, mut panel_strides) = (vec![b.offset.known()?], vec![0; rank]);
        for at in (0..rank).rev().filter(|&at| strides[at] != 0) {
            panel_strides[at] = one * places.len() as i64;
            let (size, stride) = (gemm.batch[at].known()?, strides[at]);
            places = (0..size).flat_map(|i| places.iter().map(move |p| p + i * stride)).collect();
        }
        let along = |count: i64, stride: i64| (0..count).map(|i| i * stride).collect();
        let (depth, wide) = (along(k, strides[rank]), along(n, strides[rank + 1]));
        let packed = packed(constant, &places, depth, wide, width);
        let panels = Panels { arg: b.arg, dtype: DType::I8, width, strides: panel_strides };
        let rows = Rows::Strided(a.clone());
        Some((
            Dot {
                batch: gemm.batch.clone(),
                m: gemm.m.clone(),
                n,
                k,
                rows,
                b: panels,
                epilogue: gemm.epilogue.clone(),
            },
            packed,
        ))
    }
}
