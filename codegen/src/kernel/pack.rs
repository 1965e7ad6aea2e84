//! Constant operands laid out in panels at compile time.
use super::contract::{Access, Conv, Gemm, Operand, Panels};
use super::recurrent::Recurrent;
use crate::nests::recurrent::Product;
use crate::nests::tile::{VectorUnit, ceil_div};
use crate::target::TargetSpec;
use crate::weight::{Packed, Part};
use sardonyx_runtime::panels::ZERO;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::sync::Arc;

/// A dimension of a matrix that is packed: its size, and the distance of its elements.
#[derive(Clone, Copy)]
struct Axis {
    size: i64,
    stride: i64,
}

impl Axis {
    fn of(size: &Dim, stride: &Dim) -> Option<Axis> {
        match (size.known(), stride.known()) {
            (Some(size), Some(stride)) => Some(Axis { size, stride }),
            (None, Some(0)) => Some(Axis { size: 1, stride: 0 }),
            _ => None,
        }
    }
}

impl Gemm {
    /// Lays out a constant `b` in panels of columns: the tensor that takes its place, or `None` where sizes
    /// are not known or it is packed already.
    pub fn pack_b(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Packed> {
        let Operand::Strided(access) = self.b.clone() else { return None };
        let (wide, depth) = (
            Axis::of(&self.n, &access.strides[self.batch.len() + 1])?,
            Axis::of(&self.k, &access.strides[self.batch.len()])?,
        );
        let width = self.merged().shape(VectorUnit::of(target)).width();
        let (panels, tensor) =
            batched(&access, constant, self.accumulator(), &self.batch, depth, wide, width)?;
        self.b = Operand::Packed(panels);
        Some(tensor)
    }

    /// Lays out a constant `a` in panels of rows; as [`Gemm::pack_b`].
    pub fn pack_a(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Packed> {
        let Operand::Strided(access) = self.a.clone() else { return None };
        let (wide, depth) = (
            Axis::of(&self.m, &access.strides[self.batch.len()])?,
            Axis::of(&self.k, &access.strides[self.batch.len() + 1])?,
        );
        let width = self.shape_with(VectorUnit::of(target), 1..=14).rows;
        let (panels, tensor) =
            batched(&access, constant, self.accumulator(), &self.batch, depth, wide, width)?;
        self.a = Operand::Packed(panels);
        Some(tensor)
    }
}

impl Conv {
    /// Lays out constant weights in panels of output channels, for each group and phase: the tensor that
    /// takes their place, or `None` where they are packed already or, depthwise, better read as they are.
    pub fn pack(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Packed> {
        if self.as_window().is_some() {
            return None;
        }
        if let Some(mut gemm) = self.as_gemm() {
            let tensor = gemm.pack_b(constant, target)?;
            self.w = gemm.b;
            return Some(tensor);
        }
        let Operand::Strided(access) = self.w.clone() else { return None };
        let strides = access.strides.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
        let axes = self.axes();
        let phases = axes.iter().fold(vec![vec![]], |list, axis| {
            let all =
                |l: Vec<i64>| (0..axis.first.len()).map(move |r| [l.clone(), vec![axis.first[r]]].concat());
            list.into_iter().flat_map(all).collect()
        });
        let depths = phases.iter().map(|first| {
            let channels = offsets(&[Axis { size: self.in_channels, stride: strides[2] }]);
            axes.iter().zip(first).enumerate().fold(channels, |list, (i, (axis, first))| {
                let tap = |u: i64| first + u * axis.tap_period;
                let place = |o: i64, t: i64| {
                    if t < self.kernel[i] && o != ZERO { o + t * strides[3 + i] } else { ZERO }
                };
                list.into_iter().flat_map(|o| (0..axis.taps).map(move |u| place(o, tap(u)))).collect()
            })
        });
        let depths: Vec<Arc<[i64]>> = depths.map(Into::into).collect();
        let offset = access.offset.known()?;
        let width = self.shape_with(VectorUnit::of(target), 1..=14).rows;
        let columns: Arc<[i64]> = columns(Axis { size: self.out_channels, stride: strides[1] }, width).into();
        let group = |g: i64| {
            let place = offset + g * strides[0];
            let columns = columns.clone();
            depths.iter().map(move |depth| part(place, depth.clone(), columns.clone(), width))
        };
        let parts: Vec<Part> = (0..self.groups).flat_map(group).collect();
        let count = parts.len().max(1) as i64;
        let tensor = Packed { source: constant.clone(), dtype: self.accumulator(), parts };
        let phase = tensor.elements() as i64 / count;
        let strides = vec![phase * depths.len() as i64, phase];
        self.w = Operand::Packed(Panels { arg: access.arg, dtype: tensor.dtype, width, strides });
        Some(tensor)
    }
}

impl Recurrent {
    /// Lays out constant recurrent weights in panels, for each product of a step: the gates of the same
    /// hidden units side by side. The tensor takes their place; `None` where they are packed already.
    pub fn pack(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Packed> {
        let Operand::Strided(access) = self.r.clone() else { return None };
        let strides = access.strides.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
        let place = access.offset.known()?;
        let depth: Arc<[i64]> = offsets(&[Axis { size: self.hidden, stride: strides[2] }]).into();
        let products = self.products(VectorUnit::of(target));
        let places = |p: &Product| -> Vec<i64> {
            let place = |(gate, unit): (i64, i64)| {
                if unit < self.hidden { gate * strides[0] + unit * strides[1] } else { ZERO }
            };
            p.columns(self.hidden).map(place).collect()
        };
        let part = |p: &Product| part(place, depth.clone(), places(p).into(), p.width());
        let parts = products.iter().map(part).collect();
        let tensor = Packed { source: constant.clone(), dtype: DType::F32, parts };
        let width = products[0].width();
        self.r = Operand::Packed(Panels { arg: access.arg, dtype: DType::F32, width, strides: vec![] });
        Some(tensor)
    }
}

/// A matrix with one row after the other.
fn part(place: i64, depth: Arc<[i64]>, columns: Arc<[i64]>, width: i64) -> Part {
    Part { place, depth, columns, width: width as usize, beside: 1 }
}

/// Panels of a batch of matrices of one depth, with the operand that reads them.
fn batched(
    access: &Access,
    constant: &Tensor,
    dtype: DType,
    batch: &[Dim],
    depth: Axis,
    wide: Axis,
    width: i64,
) -> Option<(Panels, Packed)> {
    let outer =
        batch.iter().zip(&access.strides).map(|(d, s)| Axis::of(d, s)).collect::<Option<Vec<Axis>>>()?;
    let panels = ceil_div(wide.size, width) * width * depth.size;
    let (mut strides, mut count) = (vec![0; outer.len()], 1);
    for (stride, axis) in strides.iter_mut().zip(&outer).rev().filter(|(_, axis)| axis.stride != 0) {
        *stride = count * panels;
        count *= axis.size;
    }
    let own: Vec<Axis> = outer.into_iter().filter(|axis| axis.stride != 0).collect();
    let offset = access.offset.known()?;
    let (depth, columns): (Arc<[i64]>, Arc<[i64]>) = (offsets(&[depth]).into(), columns(wide, width).into());
    let part = |o: &i64| part(offset + o, depth.clone(), columns.clone(), width);
    let packed = Packed { source: constant.clone(), dtype, parts: offsets(&own).iter().map(part).collect() };
    Some((Panels { arg: access.arg, dtype, width, strides }, packed))
}

/// The places of all elements of a box, the last axis fastest.
fn offsets(axes: &[Axis]) -> Vec<i64> {
    axes.iter().fold(vec![0], |list, axis| {
        list.iter().flat_map(|&o| (0..axis.size).map(move |i| o + i * axis.stride)).collect()
    })
}

/// The places of columns, filled up to whole panels.
fn columns(wide: Axis, width: i64) -> Vec<i64> {
    let place = |i: i64| if i < wide.size { i * wide.stride } else { ZERO };
    (0..ceil_div(wide.size, width) * width).map(place).collect()
}
