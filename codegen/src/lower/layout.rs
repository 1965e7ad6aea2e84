//! Layouts on GPUs: images with their channels side by side, weights to match, and buffers whose alignment is known.
use super::contraction::Call;
use super::trace::Why;
use super::{Lowerer, View};
use crate::kernel::contract::Access;
use crate::kernel::row_major;
use crate::weight::{Packed, Part};
use sardonyx_ir::{Graph, Op, Type};
use sardonyx_runtime::manifest::{BufferIndex, Place};
use sardonyx_tensor::{DType, Dim, Tensor};
use std::sync::Arc;

/// Channels are a multiple of so many where they stand side by side.
const CHANNELS: i64 = 8;

impl Lowerer<'_> {
    /// The buffer that an alias is a part of, and where the part begins, in elements. On GPUs, which load several
    /// elements at once from the multiples of their size, an access says where it is in aligned memory.
    pub(super) fn root(&self, mut buffer: BufferIndex, dtype: DType) -> (BufferIndex, Dim) {
        let mut begin = Dim::ZERO;
        while self.target.gpu().is_some()
            && let Place::Alias { of, offset } = &self.out.buffers[buffer].place
            && let Some(elements) = offset.exact_div(&Dim::from(dtype.size() as i64))
        {
            (buffer, begin) = (*of, begin + elements);
        }
        (buffer, begin)
    }

    /// A view of aligned memory.
    pub(super) fn rooted(&self, view: &View) -> View {
        let (buffer, begin) = self.root(view.buffer, view.ty.dtype);
        View { buffer, offset: &view.offset + begin, ..view.clone() }
    }

    /// Lets a new result of a convolution or pooling stand with its channels side by side on a GPU.
    pub(super) fn image_of_gpu(&self, call: &mut Call<'_>, result: View) -> View {
        let shape = &call.g.ty(call.wire).shape;
        let out = &mut call.epilogue.out;
        let windows = matches!(
            call.g.op(call.wire),
            Op::Conv { .. }
                | Op::ConvTranspose { .. }
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::LpPool { .. }
        );
        let floats = matches!(out.dtype, DType::F16 | DType::BF16 | DType::F32);
        // Where there is one, its stride says nothing.
        let expected = row_major(shape);
        let in_order = |k: usize| shape[k] == Dim::ONE || out.strides[k] == expected[k];
        let plain = result.ty.shape == *shape && (0..shape.len()).all(in_order);
        let even = shape.get(1).and_then(Dim::known).is_some_and(|c| c % CHANNELS == 0);
        if self.target.gpu().is_none() || !(windows && floats && plain && even) {
            return result;
        }
        let mut turned = shape.clone();
        let channels = turned.remove(1);
        turned.push(channels);
        let mut strides = row_major(&turned);
        let channel = strides.pop().expect("an image should have channels");
        strides.insert(1, channel);
        out.strides.clone_from(&strides);
        View { strides, ..result }
    }

    /// Computes a region of pointwise ops whose images stand with their channels side by side into such an image. `None`
    /// where they do not, or where the result is `wanted` elsewhere.
    pub(super) fn pointwise_by_channels(
        &mut self,
        g: &Graph,
        inputs: &[View],
        label: &str,
    ) -> Option<Result<View, Why>> {
        let [core] = g.outputs()[..] else { return None };
        let ty = g.ty(core).clone();
        let rank = ty.rank() as i64;
        let even = ty.shape.get(1).and_then(Dim::known).is_some_and(|c| c % CHANNELS == 0);
        let turned = |view: &View| {
            let alike = view.ty.rank() == ty.rank() && view.ty.shape[2..] == ty.shape[2..];
            alike && view.strides[1] == 1 && !view.is_contiguous()
        };
        if self.target.gpu().is_none() || rank < 3 || !even || !inputs.iter().any(turned) {
            return None;
        }
        let last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let first: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let mut g = g.clone();
        let result = g.add(Op::Transpose { perm: last }, &[core]).ok()?;
        g.set_outputs(vec![result], vec![]);
        let whole = self.temporary(g.ty(result).clone());
        let view = whole.moved(&Op::Transpose { perm: first }, &ty)?;
        Some(self.map(&g, inputs, &[whole.buffer], label).map(|()| view))
    }

    /// An operand of a matrix product as GPUs want it: a constant whose lines 16-byte loads do not divide lies along its
    /// other axis, where they divide that.
    pub(super) fn in_whole_loads(&mut self, view: View) -> View {
        let per_load = match view.ty.dtype {
            DType::F16 | DType::BF16 => Dim::from(8),
            DType::F32 => Dim::from(4),
            _ => return view,
        };
        let whole = |d: &Dim| d.exact_div(&per_load).is_some();
        let (rank, shape) = (view.ty.rank(), &view.ty.shape);
        let last_along = view.strides[rank - 1] == 1;
        let (along, across) = if last_along { (rank - 1, rank - 2) } else { (rank - 2, rank - 1) };
        let apart = view.strides.iter().enumerate().filter(|(i, _)| *i != along).map(|(_, s)| s);
        let served =
            view.strides[along] == 1 && whole(&shape[along]) && apart.chain([&view.offset]).all(whole);
        if self.target.gpu().is_none() || served || !whole(&shape[across]) {
            return view;
        }
        let mut perm: Vec<i64> = (0..rank as i64).collect();
        let mut ty = view.ty.clone();
        if last_along {
            perm.swap(rank - 2, rank - 1);
            ty.shape.swap(rank - 2, rank - 1);
        }
        let turn = Op::Transpose { perm };
        let lines = view.moved(&turn, &ty).expect("a transpose should be a view");
        let packed = self.tensor(view.buffer).and_then(|t| gathered(t, &lines, rank - 1));
        let Some(packed) = packed else { return view };
        let whole = View::whole(self.packed(packed), ty);
        whole.moved(&turn, &view.ty).expect("a transpose should be a view")
    }

    /// The weights of a convolution, an access as `Conv::weights` makes it, as GPUs want them: the input channels of a
    /// tap side by side, or, where every channel is for itself and `beside` others, the channels of a tap.
    pub(super) fn weights_by_channels(
        &mut self,
        weights: &View,
        access: &Access,
        conv: (i64, i64, i64),
        kernel: &[i64],
        beside: bool,
    ) -> (View, Vec<Dim>) {
        let (groups, out, input) = conv;
        let taps = || kernel.iter().map(|&t| Dim::from(t));
        let apart = input == 1 && groups > 1 && out <= 2;
        let (shape, strides): (Vec<Dim>, Vec<Dim>) = if apart && beside {
            let shape = taps().chain([groups.into(), out.into()]).collect();
            (shape, access.strides[3..].iter().chain(&access.strides[..2]).cloned().collect())
        } else {
            let shape = [groups.into(), out.into()].into_iter().chain(taps()).chain([input.into()]).collect();
            let order = access.strides[..2].iter().chain(&access.strides[3..]).chain(&access.strides[2..3]);
            (shape, order.cloned().collect())
        };
        let ty = Type { dtype: weights.ty.dtype, shape };
        let view = View { buffer: weights.buffer, offset: access.offset.clone(), strides, ty };
        let rows = if apart && beside { kernel.len() } else { 2 };
        let packed = match self.tensor(view.buffer).and_then(|t| gathered(t, &view, rows)) {
            Some(packed) => View::whole(self.packed(packed), view.ty.clone()),
            None => self.contiguous(&view),
        };
        let mut own = packed.strides.clone();
        let strides = if apart && beside {
            let outer = own.split_off(kernel.len());
            outer.into_iter().chain([Dim::ZERO]).chain(own).collect()
        } else {
            let inner = own.pop().expect("weights should have channels");
            own.insert(2, inner);
            own
        };
        (packed, strides)
    }
}

/// The elements of a view of a constant, in order: those of the first `outer` dimensions as columns, each a panel; `None`
/// where it is not known which they are.
fn gathered(tensor: &Tensor, view: &View, outer: usize) -> Option<Packed> {
    let shape = view.ty.shape.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
    let strides = view.strides.iter().map(Dim::known).collect::<Option<Vec<i64>>>()?;
    let places = |axes: std::ops::Range<usize>| -> Arc<[i64]> {
        let all = axes.fold(vec![0], |places, axis| {
            let (size, stride) = (shape[axis], strides[axis]);
            places.iter().flat_map(|p| (0..size).map(move |i| p + i * stride)).collect()
        });
        all.into()
    };
    let (columns, depth) = (places(0..outer), places(outer..shape.len()));
    let part = Part { place: view.offset.known()?, depth, columns, width: 1, beside: 1 };
    let packed = Packed { source: tensor.clone(), dtype: tensor.dtype(), parts: vec![part] };
    packed.lies_in_source().then_some(packed)
}
