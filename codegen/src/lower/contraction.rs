//! Regions of one contraction and the pointwise ops that follow it.
use super::region::{core, moved_along, only_reshaped};
use super::trace::{Anchor, Tracer, Why};
use super::{Lowerer, View};
use crate::kernel::Kernel;
use crate::kernel::body::{Body, Value, ValueId};
use crate::kernel::contract::{Access, Conv, Epilogue, Gemm, Operand, accumulator};
use crate::kernel::dot::Dot;
use crate::kernel::index::Index;
use sardonyx_ir::scalar::{Expr, Node, Scalar};
use sardonyx_ir::{Graph, Op, Value as Wire};
use sardonyx_runtime::manifest::BufferIndex;
use sardonyx_tensor::{DType, Dim};
use std::collections::HashMap;

/// Whether an op has a kernel of its own, with an epilogue.
pub(super) fn is_contraction(op: &Op) -> bool {
    matches!(
        op,
        Op::Matmul { .. }
            | Op::Conv { .. }
            | Op::ConvTranspose { .. }
            | Op::IntegerMatmul { .. }
            | Op::IntegerConv { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::LpPool { .. }
            | Op::Attention { .. }
    )
}

/// A contraction under construction: the buffers of its arguments, inputs first.
pub(super) struct Call<'g> {
    pub g: &'g Graph,
    /// The contraction.
    pub wire: Wire,
    /// The arguments.
    pub args: Vec<BufferIndex>,
    /// Where the result goes.
    pub epilogue: Epilogue,
}

impl Call<'_> {
    /// With the buffer of the result.
    pub fn into(mut self, result: BufferIndex) -> Self {
        *self.args.last_mut().expect("the result should be the last argument") = result;
        self
    }
    /// Whether nothing follows the contraction but a change of layout.
    pub fn is_plain(&self) -> bool {
        let f = &self.epilogue.f;
        self.epilogue.accesses.is_empty() && f.nodes[f.root] == Node::Arg(0)
    }
}

impl Lowerer<'_> {
    pub(super) fn contraction(
        &mut self,
        g: &Graph,
        wire: Wire,
        inputs: &[View],
        wanted: &HashMap<Wire, BufferIndex>,
        label: &str,
    ) -> Result<Vec<View>, Why> {
        let [output] = g.outputs()[..] else { return Err("a contraction with several results".into()) };
        let operands: Vec<View> =
            g.operands(wire.node).map(|o| self.operand(g, o, inputs)).collect::<Result<_, _>>()?;
        let dtype = operands[0].ty.dtype;
        let sum = match g.op(wire) {
            Op::Matmul { .. } | Op::Conv { .. } | Op::ConvTranspose { .. } => {
                accumulator(dtype, operands[1].ty.dtype)
            }
            Op::IntegerMatmul { .. } | Op::IntegerConv { .. } => DType::I32,
            _ => widened(dtype),
        };
        let buffer = wanted.get(&output).copied();
        if matches!(g.op(wire), Op::IntegerConv { .. }) {
            return self.integer_conv(g, wire, &operands, inputs, buffer, label);
        }
        let (mut call, view) = match self.call(g, wire, output, inputs, sum)? {
            Some(mut call) => {
                let result = match buffer {
                    Some(buffer) => View::whole(buffer, g.ty(output).clone()),
                    None => {
                        let result = self.temporary(g.ty(output).clone());
                        self.image_of_gpu(&mut call, result)
                    }
                };
                (call.into(result.buffer), result)
            }
            None => {
                // The layout of the result is no affine map of the contraction's: it is a view.
                let core = core(g, output);
                let whole = match buffer.filter(|_| only_reshaped(g, output)) {
                    Some(buffer) => View::whole(buffer, g.ty(core).clone()),
                    None => self.temporary(g.ty(core).clone()),
                };
                let call = self.call(g, wire, core, inputs, sum)?.ok_or("a result that is not affine")?;
                let buffer = whole.buffer;
                (call.into(buffer), moved_along(g, core, output, whole).ok_or("a result that is no view")?)
            }
        };
        let elements = g.ty(wire).elements();
        let (kernel, per_element) = match g.op(wire) {
            Op::Matmul { .. } | Op::IntegerMatmul { .. } => self.matmul(&mut call, &operands)?,
            Op::Conv { .. } | Op::ConvTranspose { .. } => self.conv(&mut call, &operands)?,
            Op::Attention { .. } => self.attention(&mut call, &operands)?,
            _ => self.pool(&mut call, &operands)?,
        };
        let ty = g.ty(output);
        self.launch(kernel, label, call.args, ty, elements * per_element)?;
        Ok(vec![view])
    }

    /// An operand of the contraction as a view: an input of the region behind movement ops.
    fn operand(&mut self, g: &Graph, wire: Wire, inputs: &[View]) -> Result<View, Why> {
        if let Some(place) = g.inputs().position(|i| i == wire) {
            return Ok(inputs[place].clone());
        }
        if let Some(tensor) = g.const_value(wire) {
            let tensor = tensor.clone();
            return Ok(View::whole(self.constant("constant", &tensor), g.ty(wire).clone()));
        }
        let from = match g.operands(wire.node).next() {
            Some(from) => self.operand(g, from, inputs)?,
            None => return Err(format!("{} before a contraction", g.op(wire).name())),
        };
        from.moved(g.op(wire), g.ty(wire))
            .ok_or_else(|| format!("{} before a contraction", g.op(wire).name()))
    }

    /// The epilogue and its arguments, with the result as last one; operands of the contraction are added
    /// later. None if the result's place is not an affine map of the domain, or not along memory.
    pub(super) fn call<'g>(
        &mut self,
        g: &'g Graph,
        wire: Wire,
        output: Wire,
        inputs: &[View],
        accumulator: DType,
    ) -> Result<Option<Call<'g>>, Why> {
        let domain = g.ty(wire).shape.clone();
        let (sources, mut args) = self.sources(inputs);
        let dtypes: Vec<DType> = args.iter().map(|&a| self.out.buffers[a].dtype).collect();
        let mut tracer = Tracer::new(g, &sources, &dtypes, &domain, Anchor::Value(wire));
        let store = tracer.store(0, output, &domain)?;
        let (body, constants) = (tracer.body, tracer.constants);
        let Some(out) = access(&store.index, usize::MAX, store.dtype, domain.len()) else { return Ok(None) };
        let along = domain.iter().zip(&out.strides).rev().find(|(d, _)| **d != Dim::ONE);
        if along.is_some_and(|(_, s)| *s != Dim::ONE) {
            return Ok(None);
        }
        self.add_constants(g, &constants, &mut args);
        let (accesses, f) = composed(&body, store.value, accumulator, g.ty(wire).dtype, domain.len())?;
        // Only the arguments that the epilogue reads stay.
        let mut used: Vec<BufferIndex> = Vec::new();
        let accesses = accesses
            .into_iter()
            .map(|a| {
                let (buffer, begin) = self.root(args[a.arg], a.dtype);
                let arg = used.iter().position(|&b| b == buffer).unwrap_or(used.len());
                if arg == used.len() {
                    used.push(buffer);
                }
                Access { arg, offset: a.offset + begin, ..a }
            })
            .collect();
        let out = Access { arg: used.len(), ..out };
        used.push(usize::MAX);
        Ok(Some(Call { g, wire, args: used, epilogue: Epilogue { accesses, f, out } }))
    }

    fn matmul(&mut self, call: &mut Call<'_>, operands: &[View]) -> Result<(Kernel, Dim), Why> {
        let domain = &call.g.ty(call.wire).shape;
        let (batch, matrix) = domain.split_at(domain.len() - 2);
        let [a, b] = [0, 1].map(|i| self.in_whole_loads(operands[i].clone()));
        let a = self.batched(call, &a, batch.len());
        let b = self.batched(call, &b, batch.len());
        let k = operands[0].ty.shape[operands[0].ty.rank() - 1].clone();
        let mut gemm = Gemm {
            batch: batch.to_vec(),
            m: matrix[0].clone(),
            n: matrix[1].clone(),
            k: k.clone(),
            a: Operand::Strided(a),
            b: Operand::Strided(b),
            epilogue: call.epilogue.clone(),
        };
        let (a, b) = (gemm.a.arg(), gemm.b.arg());
        if let Some(tensor) = self.tensor(call.args[b]).cloned()
            && let Some((dot, packed)) = self.target.cpu().and_then(|cpu| Dot::of(&gemm, &tensor, cpu))
        {
            call.args[b] = self.packed(packed);
            return Ok((Kernel::Dot(dot), k * 2));
        }
        if let Some(tensor) = self.tensor(call.args[b]).cloned()
            && let Some(packed) = self.target.cpu().and_then(|cpu| gemm.pack_b(&tensor, cpu))
        {
            call.args[b] = self.packed(packed);
        } else if let Some(tensor) = self.tensor(call.args[a]).cloned()
            && let Some(packed) = self.target.cpu().and_then(|cpu| gemm.pack_a(&tensor, cpu))
        {
            call.args[a] = self.packed(packed);
        }
        Ok((Kernel::Gemm(gemm), k * 2))
    }

    fn conv(&mut self, call: &mut Call<'_>, operands: &[View]) -> Result<(Kernel, Dim), Why> {
        let (x, w) = (&operands[0].ty, &operands[1].ty);
        let spatial = x.rank() - 2;
        let (strides, pads, dilations, group, transposed) = match call.g.op(call.wire) {
            Op::Conv { strides, pads, dilations, group } => (strides, pads, dilations, *group, false),
            Op::ConvTranspose { strides, pads, dilations, group, .. } => {
                (strides, pads, dilations, *group, true)
            }
            op => panic!("bug: {} is no convolution", op.name()),
        };
        let known = |d: &Dim| d.known().ok_or("a convolution whose weights have no known shape");
        let sizes = w.shape.iter().map(known).collect::<Result<Vec<i64>, _>>()?;
        let (out_channels, in_channels) =
            if transposed { (sizes[1], sizes[0] / group) } else { (sizes[0] / group, sizes[1]) };
        let kernel = sizes[2..].to_vec();
        let taps: i64 = kernel.iter().product();
        if let Some(bias) = operands.get(2) {
            self.add_bias(call, bias, spatial);
        }
        // Each element is read once for each tap: neighbours in a row had better stand side by side.
        let apart =
            operands[0].strides.last().is_some_and(|s| *s != 1) && x.shape.last().is_some_and(|d| *d != 1);
        let gpu = self.target.gpu().is_some();
        let input =
            if taps > 1 && apart && !gpu { self.contiguous(&operands[0]) } else { operands[0].clone() };
        let x_access = self.access_of(call, &input);
        let weights = match operands[1].is_contiguous() {
            true => operands[1].clone(),
            false => self.contiguous(&operands[1]),
        };
        let mut w_access = Conv::weights(0, w.dtype, group, out_channels, in_channels, &kernel, transposed);
        w_access.offset = weights.offset.clone();
        let weights = if gpu && taps > 1 && w.dtype != DType::F64 {
            let beside = x_access.strides[1] == 1;
            let sizes = (group, out_channels, in_channels);
            let (packed, strides) = self.weights_by_channels(&weights, &w_access, sizes, &kernel, beside);
            w_access = Access { offset: packed.offset.clone(), strides, ..w_access };
            packed
        } else {
            weights
        };
        let weights = self.rooted(&View { offset: w_access.offset, ..weights });
        w_access.offset = weights.offset.clone();
        w_access.arg = self.argument(call, &weights, true);
        let geometry = Geometry::new(spatial, strides, pads, dilations);
        let (input, output) = (x.shape[2..].to_vec(), call.g.ty(call.wire).shape[2..].to_vec());
        let mut conv = Conv {
            batch: x.shape[0].clone(),
            groups: group,
            in_channels,
            out_channels,
            input,
            output,
            kernel,
            strides: geometry.strides,
            pads: geometry.pads,
            dilations: geometry.dilations,
            transposed,
            x: x_access,
            w: Operand::Strided(w_access),
            epilogue: call.epilogue.clone(),
        };
        let w = conv.w.arg();
        if let Some(tensor) = self.tensor(call.args[w]).cloned()
            && let Some(packed) = self.target.cpu().and_then(|cpu| conv.pack(&tensor, cpu))
        {
            call.args[w] = self.packed(packed);
        }
        let apart: i64 = if transposed { strides.iter().product::<i64>().max(1) } else { 1 };
        Ok((Kernel::Conv(conv), Dim::from(2 * taps * in_channels / apart)))
    }

    /// Adds a bias of the second dimension in front of the epilogue's function.
    fn add_bias(&mut self, call: &mut Call<'_>, bias: &View, spatial: usize) {
        let bias = &self.rooted(bias);
        let arg = self.argument(call, bias, false);
        let mut strides = vec![Dim::ZERO; spatial + 2];
        strides[1] = bias.strides[0].clone();
        let access = Access { arg, dtype: bias.ty.dtype, offset: bias.offset.clone(), strides };
        let old = &call.epilogue;
        let count = old.accesses.len();
        let f = Scalar::build(count + 2, |b, x| {
            let mut args = x[..=count].to_vec();
            args[0] = x[0] + x[count + 1];
            b.inline(&old.f, &args)
        });
        call.epilogue.f = f;
        call.epilogue.accesses.push(access);
    }

    /// An operand of a matrix product over `batch` indices and its two matrix dimensions.
    fn batched(&mut self, call: &mut Call<'_>, view: &View, batch: usize) -> Access {
        let view = &self.rooted(view);
        let arg = self.argument(call, view, true);
        let own = view.ty.rank() - 2;
        let lead = view.ty.shape[..own].iter().zip(&view.strides);
        let lead = lead.map(|(d, s)| if *d == Dim::ONE { Dim::ZERO } else { s.clone() });
        let strides = std::iter::repeat_n(Dim::ZERO, batch - own)
            .chain(lead)
            .chain(view.strides[own..].iter().cloned());
        Access { arg, dtype: view.ty.dtype, offset: view.offset.clone(), strides: strides.collect() }
    }

    /// A view as an access over its own dimensions, through an argument of its own.
    pub(super) fn access_of(&mut self, call: &mut Call<'_>, view: &View) -> Access {
        let view = &self.rooted(view);
        let arg = self.argument(call, view, true);
        Access { arg, dtype: view.ty.dtype, offset: view.offset.clone(), strides: view.strides.clone() }
    }

    /// The number of the argument that holds a view's buffer, in front of the result. An operand has an
    /// argument to itself, as packing may replace it.
    pub(super) fn argument(&mut self, call: &mut Call<'_>, view: &View, own: bool) -> usize {
        let last = call.args.len() - 1;
        if !own && let Some(arg) = call.args[..last].iter().position(|&a| a == view.buffer) {
            return arg;
        }
        call.args.insert(last, view.buffer);
        call.epilogue.out.arg += 1;
        last
    }
}

/// How the taps of a convolution or window lie, per spatial dimension.
pub(super) struct Geometry {
    pub strides: Vec<i64>,
    pub pads: Vec<i64>,
    pub pads_end: Vec<i64>,
    pub dilations: Vec<i64>,
}

impl Geometry {
    /// From an op's attributes, where an empty list is that of the defaults.
    pub fn new(spatial: usize, strides: &[i64], pads: &[i64], dilations: &[i64]) -> Geometry {
        let or = |v: &[i64], default: i64| if v.is_empty() { vec![default; spatial] } else { v.to_vec() };
        let pads = if pads.is_empty() { vec![0; 2 * spatial] } else { pads.to_vec() };
        Geometry {
            strides: or(strides, 1),
            pads: pads[..spatial].to_vec(),
            pads_end: pads[spatial..].to_vec(),
            dilations: or(dilations, 1),
        }
    }
}

/// An index over the domain as an access.
fn access(index: &Index, arg: usize, dtype: DType, rank: usize) -> Option<Access> {
    let (strides, offset) = index.affine(rank)?;
    Some(Access { arg, dtype, offset, strides })
}

/// The loads of a body, and the value as one function of the sum and the loads.
fn composed(
    body: &Body,
    root: ValueId,
    accumulator: DType,
    dtype: DType,
    rank: usize,
) -> Result<(Vec<Access>, Scalar), Why> {
    let needed = body.needed([root]);
    let mut accesses: Vec<Access> = Vec::new();
    let mut places: HashMap<ValueId, usize> = HashMap::new();
    for &id in &needed {
        if let (Value::Load { arg, index, guard }, dtype) = &body.values[id] {
            if guard.is_some() {
                return Err("an epilogue with a guarded load".into());
            }
            places.insert(id, accesses.len() + 1);
            accesses
                .push(access(index, *arg, *dtype, rank).ok_or("an epilogue with a load that is not affine")?);
        }
    }
    for &id in &needed {
        if let Value::Position(index) = &body.values[id].0
            && (!index.terms.is_empty() || !index.constant.is_known())
        {
            return Err("an epilogue that depends on positions".into());
        }
    }
    let f = Scalar::build(accesses.len() + 1, |b, args| {
        let mut values: HashMap<ValueId, Expr<'_>> = HashMap::new();
        for &id in &needed {
            let value = match &body.values[id].0 {
                Value::Load { .. } => args[places[&id]],
                Value::Accumulator(_) if widened(dtype) == accumulator => args[0],
                Value::Accumulator(_) => args[0].cast(widened(dtype)),
                Value::Position(index) => b.num(index.constant.known().unwrap_or(0) as f64),
                Value::Apply { f, args } => {
                    let args: Vec<Expr<'_>> = args.iter().map(|a| values[a]).collect();
                    b.inline(&in_registers(f), &args)
                }
            };
            values.insert(id, value);
        }
        values[&root]
    });
    Ok((accesses, f))
}

fn widened(dtype: DType) -> DType {
    crate::nest::register_dtype(dtype)
}

/// The function with values of narrow types kept in the types of registers.
fn in_registers(f: &Scalar) -> Scalar {
    let mut f = f.clone();
    for node in &mut f.nodes {
        if let Node::Cast(t, _) = node {
            *t = widened(*t);
        }
    }
    f
}
