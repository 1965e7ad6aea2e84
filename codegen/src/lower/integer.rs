//! Convolutions of bytes: as integer contractions with channels last, or written out in wider integers.
use super::contraction::{Call, Geometry};
use super::region::{core, moved_along, only_reshaped};
use super::trace::Why;
use super::{Lowerer, View};
use crate::kernel::Kernel;
use crate::kernel::contract::{Access, Epilogue, Panels};
use crate::kernel::dot::{self, Dot, Rows, Windows};
use crate::target::TargetSpec;
use sardonyx_ir::ops::attribute::PadMode;
use sardonyx_ir::{Graph, Op, Type, Value as Wire};
use sardonyx_runtime::manifest::BufferIndex;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::collections::HashMap;

impl Lowerer<'_> {
    /// The convolution `wire` of bytes with its epilogue. Where its weights are constant, the channels of input
    /// and result stand side by side; elsewhere it is written out.
    pub(super) fn integer_conv(
        &mut self,
        g: &Graph,
        wire: Wire,
        operands: &[View],
        inputs: &[View],
        buffer: Option<BufferIndex>,
        label: &str,
    ) -> Result<Vec<View>, Why> {
        let Op::IntegerConv { group, .. } = g.op(wire) else { panic!("bug: not a convolution of bytes") };
        let bytes = (operands[0].ty.dtype, operands[1].ty.dtype);
        let constant = self.tensor(operands[1].buffer).cloned().filter(|_| *group == 1);
        let (Some(weights), Some(cpu), (DType::U8, DType::I8)) = (constant, self.target.cpu(), bytes) else {
            return self.integer_conv_written_out(g, inputs, buffer);
        };
        let output = g.outputs()[0];
        let core = core(g, output);
        let whole = match buffer.filter(|_| only_reshaped(g, output)) {
            Some(buffer) => View::whole(buffer, g.ty(core).clone()),
            None if g.ty(core).shape == g.ty(wire).shape => self.channels_last(g.ty(core).clone()),
            None => self.temporary(g.ty(core).clone()),
        };
        let mut call = self.call(g, wire, core, inputs, DType::I32)?.ok_or("a result that is not affine")?;
        if g.ty(core).shape == g.ty(wire).shape {
            call.epilogue.out.strides = whole.strides.clone();
        }
        let mut call = call.into(whole.buffer);
        let x = self.with_channels_last(&operands[0])?;
        let (kernel, flops) = self.windows(&mut call, &x, operands, &weights, cpu)?;
        self.launch(kernel, label, call.args, g.ty(output), g.ty(wire).elements() * flops)?;
        Ok(vec![moved_along(g, core, output, whole).ok_or("a result that is no view")?])
    }

    /// The integer contraction of the neighbourhoods of `x`, and operations per element of the result.
    fn windows(
        &mut self,
        call: &mut Call<'_>,
        x: &View,
        operands: &[View],
        weights: &Tensor,
        cpu: &TargetSpec,
    ) -> Result<(Kernel, i64), Why> {
        let Op::IntegerConv { strides, pads, dilations, .. } = call.g.op(call.wire) else {
            panic!("bug: not a convolution of bytes")
        };
        let (spatial, w) = (x.ty.rank() - 2, &operands[1]);
        let known = |list: &[Dim]| list.iter().map(Dim::known).collect::<Option<Vec<i64>>>();
        let sizes = known(&w.ty.shape).ok_or("weights of unknown shape")?;
        let steps = known(&w.strides).ok_or("weights of unknown strides")?;
        let place = w.offset.known().ok_or("weights at an unknown place")?;
        let (n, channels, kernel) = (sizes[0], sizes[1], sizes[2..].to_vec());
        let geometry = Geometry::new(spatial, strides, pads, dilations);
        let output = call.g.ty(call.wire).shape[2..].to_vec();
        let m = Dim::product(&output);
        let flat = |a: &Access| flat(a, &output).ok_or_else(|| "a layout that is not flat".to_string());
        let epilogue = Epilogue {
            accesses: call.epilogue.accesses.iter().map(flat).collect::<Result<_, _>>()?,
            f: call.epilogue.f.clone(),
            out: flat(&call.epilogue.out)?,
        };
        call.epilogue = epilogue;
        // All channels of the first tap, then those of the next.
        let mut depth = vec![0];
        for (&size, &step) in kernel.iter().zip(&steps[2..]).chain([(&channels, &steps[1])]) {
            depth = depth.iter().flat_map(|d| (0..size).map(move |i| d + i * step)).collect();
        }
        let width = Dot::shape(cpu, &m, n).width();
        let wide = (0..n).map(|i| i * steps[0]).collect();
        let k = depth.len() as i64;
        let packed = dot::packed(weights, &[place], depth, wide, width);
        let b = self.argument(call, w, true);
        call.args[b] = self.packed(packed);
        let access = self.access_of(call, x);
        let pad = operands.get(2).filter(|_| pads.iter().any(|&p| p != 0));
        let pad = pad.map(|pad| self.access_of(call, pad));
        let windows = Windows {
            x: access,
            channels,
            input: x.ty.shape[2..].to_vec(),
            output: output.clone(),
            kernel,
            strides: geometry.strides,
            pads: geometry.pads,
            dilations: geometry.dilations,
            pad,
        };
        let rows = match windows.pixels() {
            Some(access) => Rows::Strided(access),
            None => Rows::Windows(Box::new(windows)),
        };
        let dot = Dot {
            batch: vec![x.ty.shape[0].clone()],
            m,
            n,
            k,
            rows,
            b: Panels { arg: b, dtype: DType::I8, width, strides: vec![0] },
            epilogue: call.epilogue.clone(),
        };
        Ok((Kernel::Dot(dot), 2 * k))
    }

    /// A new buffer of a value of channels in second place, which stand side by side.
    fn channels_last(&mut self, ty: Type) -> View {
        let rank = ty.rank() as i64;
        let last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let shape = last.iter().map(|&p| ty.shape[p as usize].clone()).collect();
        let whole = self.temporary(ty.with_shape(shape));
        let first: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        whole.moved(&Op::Transpose { perm: first }, &ty).expect("a transpose should be a view")
    }

    /// The same value with channels side by side.
    fn with_channels_last(&mut self, view: &View) -> Result<View, Why> {
        if view.strides[1] == 1 || view.ty.shape[1] == 1 {
            return Ok(view.clone());
        }
        let whole = self.channels_last(view.ty.clone());
        let rank = view.ty.rank() as i64;
        let perm: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let shape: Vec<Dim> = perm.iter().map(|&p| view.ty.shape[p as usize].clone()).collect();
        let turned = view
            .moved(&Op::Transpose { perm: perm.clone() }, &view.ty.with_shape(shape.clone()))
            .expect("a transpose should be a view");
        self.assign(&turned, &View::whole(whole.buffer, view.ty.with_shape(shape)));
        Ok(whole)
    }

    /// The region with its convolution in 32-bit integers.
    fn integer_conv_written_out(
        &mut self,
        g: &Graph,
        inputs: &[View],
        buffer: Option<BufferIndex>,
    ) -> Result<Vec<View>, Why> {
        let new = g.rebuild(|new, _, node, operands| match &node.op {
            Op::Input { name } => Ok(new.input(name, node.types[0].clone())),
            Op::IntegerConv { strides, pads, dilations, group } => {
                let rank = new.ty(operands[0]).rank();
                let amounts =
                    |part: &[i64]| [0, 0].iter().chain(part).map(|&n| Dim::from(n)).collect::<Vec<Dim>>();
                let (before, after) = pads.split_at(rank - 2);
                let zero = new.constant(Tensor::zeros(new.ty(operands[0]).dtype, []));
                let pad = operands.get(2).copied().unwrap_or(zero);
                let (before, after) = (amounts(before), amounts(after));
                let x = new.add(Op::Pad { before, after, mode: PadMode::Constant }, &[operands[0], pad])?;
                let x = new.add(Op::Cast { to: DType::I32 }, &[x])?;
                let w = new.add(Op::Cast { to: DType::I32 }, &[operands[1]])?;
                let (strides, dilations, group) = (strides.clone(), dilations.clone(), *group);
                new.add(Op::Conv { strides, pads: vec![0; pads.len()], dilations, group }, &[x, w])
            }
            op => new.add(op.clone(), operands),
        });
        let new = new.unwrap_or_else(|e| panic!("bug: {e}"));
        let wanted: HashMap<Wire, BufferIndex> = new.outputs().iter().copied().zip(buffer).collect();
        Ok(self.graph(&new, inputs, &wanted))
    }
}

impl Windows {
    /// The rows as they stand, where each pixel sees only the one at its place.
    fn pixels(&self) -> Option<Access> {
        let plain = |list: &[i64], value: i64| list.iter().all(|&x| x == value);
        let same = plain(&self.kernel, 1) && plain(&self.strides, 1) && plain(&self.pads, 0);
        flat(&self.x, &self.output).filter(|_| same && self.input == self.output)
    }
}

/// An access over image, channel, spatial dimensions as one over image, pixel, channel.
fn flat(access: &Access, sizes: &[Dim]) -> Option<Access> {
    let (spatial, last) = (&access.strides[2..], sizes.len() - 1);
    let regular = |i: usize| spatial[i] == &spatial[i + 1] * &sizes[i + 1] || sizes[i] == 1;
    let strides = vec![access.strides[0].clone(), spatial[last].clone(), access.strides[1].clone()];
    (0..last).all(regular).then(|| Access { strides, ..access.clone() })
}
