//! Constant operands laid out in panels at compile time.
use super::contract::{Access, Conv, Gemm, Operand, Panels};
use crate::nests::tile::{VectorUnit, ceil_div};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim, Tensor};

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
    pub fn pack_b(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Tensor> {
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
    pub fn pack_a(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Tensor> {
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
    /// takes their place, or `None` where they are packed already.
    pub fn pack(&mut self, constant: &Tensor, target: &TargetSpec) -> Option<Tensor> {
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
        let depths: Vec<Vec<i64>> = depths.collect();
        let offset = access.offset.known()?;
        let group = |g: i64| {
            let place = offset + g * strides[0];
            depths.iter().map(move |depth| Matrix { place, depth })
        };
        let matrices: Vec<Matrix<'_>> = (0..self.groups).flat_map(group).collect();
        let wide = Axis { size: self.out_channels, stride: strides[1] };
        let width = self.shape_with(VectorUnit::of(target), 1..=14).rows;
        let tensor = pack(constant, self.accumulator(), &matrices, wide, width);
        let phase = tensor.len() as i64 / matrices.len().max(1) as i64;
        let strides = vec![phase * depths.len() as i64, phase];
        self.w = Operand::Packed(Panels { arg: access.arg, dtype: tensor.dtype(), width, strides });
        Some(tensor)
    }
}

/// A place in the depth of a matrix that holds zeros.
const ZERO: i64 = i64::MIN;

/// A matrix in a tensor: where it begins, and the distance from there for each step of its depth.
struct Matrix<'a> {
    place: i64,
    depth: &'a [i64],
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
) -> Option<(Panels, Tensor)> {
    let outer =
        batch.iter().zip(&access.strides).map(|(d, s)| Axis::of(d, s)).collect::<Option<Vec<Axis>>>()?;
    let panels = ceil_div(wide.size, width) * width * depth.size;
    let (mut strides, mut count) = (vec![0; outer.len()], 1);
    for (stride, axis) in strides.iter_mut().zip(&outer).rev().filter(|(_, axis)| axis.stride != 0) {
        *stride = count * panels;
        count *= axis.size;
    }
    let own: Vec<Axis> = outer.into_iter().filter(|axis| axis.stride != 0).collect();
    let (depth, offset) = (offsets(&[depth]), access.offset.known()?);
    let matrices: Vec<Matrix<'_>> =
        offsets(&own).iter().map(|o| Matrix { place: offset + o, depth: &depth }).collect();
    let tensor = pack(constant, dtype, &matrices, wide, width);
    Some((Panels { arg: access.arg, dtype, width, strides }, tensor))
}

/// Panels of matrices, one after the other.
fn pack(constant: &Tensor, dtype: DType, matrices: &[Matrix<'_>], wide: Axis, width: i64) -> Tensor {
    let source = constant.cast(dtype);
    let elements: i64 =
        matrices.iter().map(|m| m.depth.len() as i64 * ceil_div(wide.size, width) * width).sum();
    let mut packed = Tensor::zeros(dtype, [elements as usize]);
    match dtype.size() {
        8 => copy::<8>(source.bytes(), packed.bytes_mut(), matrices, wide, width as usize),
        _ => copy::<4>(source.bytes(), packed.bytes_mut(), matrices, wide, width as usize),
    }
    packed
}

/// The places of all elements of a box, the last axis fastest.
fn offsets(axes: &[Axis]) -> Vec<i64> {
    axes.iter().fold(vec![0], |list, axis| {
        list.iter().flat_map(|&o| (0..axis.size).map(move |i| o + i * axis.stride)).collect()
    })
}

/// Copies elements of `S` bytes.
fn copy<const S: usize>(from: &[u8], to: &mut [u8], matrices: &[Matrix<'_>], wide: Axis, width: usize) {
    let mut rows = to.chunks_exact_mut(width * S);
    for matrix in matrices {
        for column in (0..wide.size).step_by(width) {
            let columns = width.min((wide.size - column) as usize);
            for (&deep, row) in matrix.depth.iter().zip(rows.by_ref()).filter(|(deep, _)| **deep != ZERO) {
                let mut at = matrix.place + deep + column * wide.stride;
                for element in row.chunks_exact_mut(S).take(columns) {
                    element.copy_from_slice(&from[at as usize * S..][..S]);
                    at += wide.stride;
                }
            }
        }
    }
}
