//! Recurrent layers: for each direction a matrix product that projects all inputs, then the recurrence.
use super::trace::Why;
use super::{Lowerer, View, Views};
use crate::kernel::Kernel;
use crate::kernel::contract::{Access, Operand};
use crate::kernel::recurrent::{Cell, Recurrent};
use sardonyx_ir::ops::attribute::Direction;
use sardonyx_ir::scalar::Scalar;
use sardonyx_ir::{Graph, NodeId, Op, Type, Value as Wire, interp};
use sardonyx_runtime::manifest::BufferIndex;
use sardonyx_tensor::{DType, Dim};
use std::collections::HashMap;

/// The attributes that the recurrent ops have in common.
struct Layer<'a> {
    direction: Direction,
    hidden: i64,
    activations: &'a [String],
    alpha: &'a [f64],
    beta: &'a [f64],
    clip: f64,
    gates: i64,
    functions: usize,
    /// Whether the reset gate of a GRU comes after the product.
    linear_before_reset: bool,
    /// Whether the forget gate of an LSTM is tied to the input gate.
    input_forget: bool,
}

impl Layer<'_> {
    fn of(op: &Op) -> Layer<'_> {
        let (direction, hidden, activations, alpha, beta, clip, gates, functions, flag) = match op {
            Op::Rnn { direction, hidden, activations, alpha, beta, clip } => {
                (direction, hidden, activations, alpha, beta, clip, 1, 1, false)
            }
            Op::Gru { direction, hidden, activations, alpha, beta, clip, linear_before_reset } => {
                (direction, hidden, activations, alpha, beta, clip, 3, 2, *linear_before_reset)
            }
            Op::Lstm { direction, hidden, activations, alpha, beta, clip, input_forget } => {
                (direction, hidden, activations, alpha, beta, clip, 4, 3, *input_forget)
            }
            op => panic!("bug: {} is not recurrent", op.name()),
        };
        Layer {
            direction: *direction,
            hidden: *hidden,
            activations,
            alpha,
            beta,
            clip: *clip,
            gates,
            functions,
            linear_before_reset: flag && gates == 3,
            input_forget: flag && gates == 4,
        }
    }

    /// A view whose dimension `axis` is that of gates by hidden units, with two dimensions for it.
    fn gated(&self, view: &View, axis: usize) -> View {
        let mut view = view.clone();
        let stride = view.strides[axis].clone();
        view.strides.splice(axis..=axis, [&stride * self.hidden, stride]);
        view.ty.shape.splice(axis..=axis, [Dim::from(self.gates), Dim::from(self.hidden)]);
        view
    }

    /// Activation `k` of a direction.
    fn function(&self, direction: usize, k: usize) -> Result<Scalar, Why> {
        let i = direction * self.functions + k;
        let given = |list: &[f64], default: f64| list.get(i).copied().unwrap_or(default);
        let (alpha, beta) = (|d| given(self.alpha, d), |d| given(self.beta, d));
        let op = match self.activations[i].to_ascii_lowercase().as_str() {
            "relu" => Op::Relu {},
            "tanh" => Op::Tanh {},
            "sigmoid" => Op::Sigmoid {},
            "affine" => return Ok(Scalar::build(1, |_, x| x[0] * alpha(1.0) + beta(0.0))),
            "leakyrelu" => Op::LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => Op::ThresholdedRelu { alpha: alpha(1.0) },
            "scaledtanh" => return Ok(Scalar::build(1, |_, x| (x[0] * beta(1.0)).tanh() * alpha(1.0))),
            "hardsigmoid" => Op::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "elu" => Op::Elu { alpha: alpha(1.0) },
            "softsign" => Op::Softsign {},
            "softplus" => Op::Softplus {},
            other => return Err(format!("no activation `{other}`")),
        };
        Ok(op.scalar().expect("an activation should be pointwise"))
    }
}

/// The operands and results of a layer as views.
struct Parts {
    operands: Vec<View>,
    results: Vec<View>,
}

/// One index of the leading dimensions of a view fixed.
fn fixed(view: &View, axis: usize, at: i64) -> View {
    let mut view = view.clone();
    view.offset += view.strides.remove(axis) * at;
    view.ty.shape.remove(axis);
    view
}

/// A view of rank 1 in a part of a dimension: `count` elements from `at` on.
fn part(view: &View, at: i64, count: i64) -> View {
    let mut view = view.clone();
    view.offset += &view.strides[0] * at;
    view.ty.shape[0] = Dim::from(count);
    view
}

fn access(arg: usize, view: &View) -> Access {
    Access { arg, dtype: view.ty.dtype, offset: view.offset.clone(), strides: view.strides.clone() }
}

impl Lowerer<'_> {
    pub(super) fn recurrent(
        &mut self,
        g: &Graph,
        id: NodeId,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<(), Why> {
        let node = g.node(id);
        let layer = Layer::of(&node.op);
        let operands: Vec<View> = g.operands(id).map(|o| self.view(g, o, views)).collect();
        let mut results = Vec::new();
        for (port, ty) in node.types.iter().enumerate() {
            let wire = Wire { node: id, port: 0 }.port(port);
            let view = self.result(wire, ty, wanted);
            views.insert(wire, view.clone());
            results.push(view);
        }
        let parts = Parts { operands, results };
        let directions = if layer.direction == Direction::Both { 2 } else { 1 };
        (0..directions).try_for_each(|d| self.direction(&layer, node.op.name(), &parts, d))
    }

    fn direction(&mut self, layer: &Layer<'_>, op: &str, parts: &Parts, d: usize) -> Result<(), Why> {
        let (x, at) = (&parts.operands[0], d as i64);
        let (steps, batch) = (x.ty.shape[0].clone(), x.ty.shape[1].clone());
        let (hidden, rows) = (layer.hidden, layer.gates * layer.hidden);
        let bias = fixed(&parts.operands[3], 0, at);
        let projected = self.projection(layer, x, &fixed(&parts.operands[1], 0, at), &bias)?;

        let mut args: Vec<BufferIndex> = Vec::new();
        let mut input = |view: &View| {
            args.push(view.buffer);
            access(args.len() - 1, view)
        };
        let x = input(&layer.gated(&projected, 2));
        let r = Operand::Strided(input(&layer.gated(&fixed(&parts.operands[2], 0, at), 0)));
        let lengths = Some(input(&parts.operands[4]));
        let initial = Some(input(&fixed(&parts.operands[5], 0, at)));
        let function = |k: usize| layer.function(d, k);
        let mut cell = match layer.gates {
            1 => Cell::Rnn { f: function(0)? },
            3 => Cell::Gru {
                f: function(0)?,
                g: function(1)?,
                linear_before_reset: layer.linear_before_reset,
                bias: layer.linear_before_reset.then(|| input(&part(&bias, rows + 2 * hidden, hidden))),
            },
            _ => Cell::Lstm {
                f: function(0)?,
                g: function(1)?,
                h: function(2)?,
                peepholes: self.peepholes(parts, at, hidden).map(|p| input(&p)),
                input_forget: layer.input_forget,
                initial_cell: Some(input(&fixed(&parts.operands[6], 0, at))),
                last_cell: None,
            },
        };
        let y = Some(input(&fixed(&parts.results[0], 1, at)));
        let last = Some(input(&fixed(&parts.results[1], 0, at)));
        if let (Cell::Lstm { last_cell, .. }, Some(result)) = (&mut cell, parts.results.get(2)) {
            *last_cell = Some(input(&fixed(result, 0, at)));
        }
        let reverse = d == 1 || layer.direction == Direction::Reverse;
        let clip = layer.clip.is_finite().then_some(layer.clip);
        let flops = &steps * &batch * (2 * rows * hidden);
        let mut kernel =
            Recurrent { cell, steps, batch, hidden, reverse, clip, x, r, initial, lengths, y, last };
        let r = &mut args[kernel.r.arg()];
        if let Some(tensor) = self.tensor(*r).cloned()
            && let Some(packed) = self.target.cpu().and_then(|cpu| kernel.pack(&tensor, cpu))
        {
            *r = self.packed(packed);
        }
        self.launch(Kernel::Recurrent(kernel), op, args, &parts.results[0].ty, flops)
    }

    /// The peepholes, unless they are constant zeros.
    fn peepholes(&self, parts: &Parts, direction: i64, hidden: i64) -> Option<View> {
        let all = &parts.operands[7];
        if self.tensor(all.buffer).is_some_and(|t| t.to_f64s().iter().all(|x| *x == 0.0)) {
            return None;
        }
        let mut view = fixed(all, 0, direction);
        let stride = view.strides[0].clone();
        view.strides = vec![&stride * hidden, stride];
        view.ty.shape = vec![Dim::from(3), Dim::from(hidden)];
        Some(view)
    }

    /// `x · wᵀ` with all biases that can be added to it: `[steps, batch, gates · hidden]`, f32.
    fn projection(&mut self, layer: &Layer<'_>, x: &View, w: &View, bias: &View) -> Result<View, Why> {
        let (rows, hidden) = (layer.gates * layer.hidden, layer.hidden);
        let bias = self.summed_bias(bias, rows, layer.linear_before_reset.then_some(hidden))?;
        let mut g = Graph::new();
        let (a, b) = (g.input("x", x.ty.clone()), g.input("w", w.ty.clone()));
        let c = g.input("bias", bias.ty.clone());
        let b = g.add(Op::Transpose { perm: vec![1, 0] }, &[b])?;
        let product = g.add(Op::Matmul {}, &[a, b])?;
        let sum = g.add(Op::Add {}, &[product, c])?;
        let sum = g.add(Op::Cast { to: DType::F32 }, &[sum])?;
        g.set_outputs(vec![sum], vec![]);
        let results = self.region(&g, &[x.clone(), w.clone(), bias], &HashMap::new())?;
        results.into_iter().next().ok_or_else(|| "a projection without a result".into())
    }

    /// The biases of inputs and recurrence added; without the recurrent ones of the last `except` rows.
    fn summed_bias(&mut self, bias: &View, rows: i64, except: Option<i64>) -> Result<View, Why> {
        let mut g = Graph::new();
        let both = g.input("bias", bias.ty.clone());
        let slice = |at: i64, count: i64| Op::Slice {
            starts: vec![Dim::from(at)],
            sizes: vec![Dim::from(count)],
            steps: vec![1],
        };
        let first = g.add(slice(0, rows), &[both])?;
        let mut second = g.add(slice(rows, rows - except.unwrap_or(0)), &[both])?;
        if let Some(except) = except {
            let zero = g.constant(sardonyx_tensor::Tensor::from_f64s(bias.ty.dtype, vec![], vec![0.0]));
            let (before, after) = (vec![Dim::ZERO], vec![Dim::from(except)]);
            second = g.add(Op::Pad { before, after, mode: Default::default() }, &[second, zero])?;
        }
        let sum = g.add(Op::Add {}, &[first, second])?;
        g.set_outputs(vec![sum], vec![]);
        let ty: Type = g.ty(sum).clone();
        if let Some(tensor) = self.tensor(bias.buffer).cloned() {
            // The view is one direction's part of the tensor.
            let (offset, length) = (bias.offset.known(), bias.ty.shape[0].known());
            if let (Some(offset), Some(length)) = (offset, length) {
                let elements = tensor.to_f64s()[offset as usize..(offset + length) as usize].to_vec();
                let part =
                    sardonyx_tensor::Tensor::from_f64s(tensor.dtype(), vec![length as usize], elements);
                let sum = interp::eval(&g, &[part]).map_err(|e| e.to_string())?.remove(0);
                return Ok(View::whole(self.constant("bias", &sum), ty));
            }
        }
        let results = self.region(&g, std::slice::from_ref(bias), &HashMap::new())?;
        results.into_iter().next().ok_or_else(|| "a bias without a result".into())
    }
}
