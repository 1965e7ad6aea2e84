//! Composite ops written out in pointwise, movement and reduction ops, so that one kind of kernel does all.
mod attention;
mod random;

use sardonyx_ir::{Graph, NodeId, Op, Type, Value};
use sardonyx_tensor::{DType, Dim};

/// The graph with every composite op written out; `None` if there is none.
pub fn expand(g: &Graph) -> Option<Graph> {
    let composite = |id| writer(g, id).is_some();
    if !g.order().into_iter().any(composite) {
        return None;
    }
    let new = g.rebuild(|new, id, node, operands| match writer(g, id) {
        Some(write) => Ok(write(&mut Writer { g: new }, &node.op, operands)),
        None if matches!(node.op, Op::Input { .. }) => {
            let Op::Input { name } = &node.op else { unreachable!("an input was matched") };
            Ok(new.input(name, node.types[0].clone()))
        }
        None => new.add(node.op.clone(), operands),
    });
    Some(new.unwrap_or_else(|e| panic!("bug: {e}")))
}

/// A kernel chooses, for every element, among this many parts of a concatenation.
const MAX_PARTS: usize = 32;

type Write = fn(&mut Writer<'_>, &Op, &[Value]) -> Value;

fn writer(g: &Graph, id: NodeId) -> Option<Write> {
    Some(match &g.node(id).op {
        Op::Concat { .. } if g.operands(id).len() > MAX_PARTS => concat,
        Op::Attention { .. } if attention::is_written_out(g, id) => attention::attention,
        Op::Softmax { .. } => softmax,
        Op::LogSoftmax { .. } => log_softmax,
        Op::LayerNorm { .. } => layer_norm,
        Op::RmsNorm { .. } => rms_norm,
        Op::InstanceNorm { .. } | Op::GroupNorm { .. } => group_norm,
        Op::BatchNorm { .. } => batch_norm,
        Op::Lrn { .. } => lrn,
        Op::ArgMax { .. } | Op::ArgMin { .. } => arg_extremum,
        Op::RandomUniform { .. } => random::uniform,
        Op::RandomNormal { .. } => random::normal,
        _ => return None,
    })
}

struct Writer<'g> {
    g: &'g mut Graph,
}

impl Writer<'_> {
    fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        self.g.add(op, operands).unwrap_or_else(|e| panic!("bug: {e}"))
    }
    fn ty(&self, v: Value) -> Type {
        self.g.ty(v).clone()
    }
    fn literal(&mut self, x: f64, dtype: DType) -> Value {
        self.g.constant(sardonyx_tensor::Tensor::from_f64s(dtype, vec![], vec![x]))
    }
    /// `x` with at least the precision of f32, in which sums are made.
    fn wide(&mut self, x: Value) -> Value {
        match self.ty(x).dtype {
            DType::F64 | DType::F32 => x,
            _ => self.add(Op::Cast { to: DType::F32 }, &[x]),
        }
    }
    fn cast(&mut self, x: Value, to: DType) -> Value {
        if self.ty(x).dtype == to { x } else { self.add(Op::Cast { to }, &[x]) }
    }
    fn plus(&mut self, x: Value, y: f64) -> Value {
        let y = self.literal(y, self.g.ty(x).dtype);
        self.add(Op::Add {}, &[x, y])
    }
    fn reshape(&mut self, x: Value, shape: Vec<Dim>) -> Value {
        if self.g.ty(x).shape == shape { x } else { self.add(Op::Reshape { shape }, &[x]) }
    }
    /// `(x - mean) / sqrt(variance + epsilon)` over axes.
    fn standardize(&mut self, x: Value, axes: Vec<i64>, epsilon: f64) -> Value {
        let mean = self.add(Op::ReduceMean { axes: axes.clone() }, &[x]);
        let centered = self.add(Op::Sub {}, &[x, mean]);
        let squares = self.add(Op::Mul {}, &[centered, centered]);
        let variance = self.add(Op::ReduceMean { axes }, &[squares]);
        let variance = self.plus(variance, epsilon);
        let scale = self.add(Op::Rsqrt {}, &[variance]);
        self.add(Op::Mul {}, &[centered, scale])
    }
    /// `x * scale + bias`, parameters given as they broadcast.
    fn affine(&mut self, x: Value, scale: Value, bias: Option<Value>) -> Value {
        let scale = self.wide_as(scale, x);
        let y = self.add(Op::Mul {}, &[x, scale]);
        match bias {
            Some(bias) => {
                let bias = self.wide_as(bias, x);
                self.add(Op::Add {}, &[y, bias])
            }
            None => y,
        }
    }
    fn wide_as(&mut self, parameter: Value, x: Value) -> Value {
        let dtype = self.ty(x).dtype;
        self.cast(parameter, dtype)
    }
    /// A parameter of channels, as it broadcasts to `[n, c, ...]` of this rank.
    fn channels(&mut self, parameter: Value, rank: usize) -> Value {
        let mut shape = vec![Dim::ONE; rank - 1];
        shape[0] = self.ty(parameter).shape[0].clone();
        self.reshape(parameter, shape)
    }
}

/// Concatenations of concatenations.
fn concat(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let parts: Vec<Value> = x.chunks(MAX_PARTS).map(|part| w.add(op.clone(), part)).collect();
    if parts.len() > MAX_PARTS { concat(w, op, &parts) } else { w.add(op.clone(), &parts) }
}

fn axis(w: &Writer<'_>, x: Value, axis: i64) -> i64 {
    w.ty(x).axis(axis).expect("the type rule should have accepted the axis") as i64
}

fn softmax(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::Softmax { axis: a } = op else { panic!("bug: not a softmax") };
    let (dtype, axes) = (w.ty(x[0]).dtype, vec![axis(w, x[0], *a)]);
    let x = w.wide(x[0]);
    let max = w.add(Op::ReduceMax { axes: axes.clone() }, &[x]);
    let shifted = w.add(Op::Sub {}, &[x, max]);
    let exp = w.add(Op::Exp {}, &[shifted]);
    let sum = w.add(Op::ReduceSum { axes }, &[exp]);
    let scale = w.add(Op::Reciprocal {}, &[sum]);
    let y = w.add(Op::Mul {}, &[exp, scale]);
    w.cast(y, dtype)
}

fn log_softmax(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::LogSoftmax { axis: a } = op else { panic!("bug: not a log_softmax") };
    let (dtype, axes) = (w.ty(x[0]).dtype, vec![axis(w, x[0], *a)]);
    let x = w.wide(x[0]);
    let max = w.add(Op::ReduceMax { axes: axes.clone() }, &[x]);
    let shifted = w.add(Op::Sub {}, &[x, max]);
    let exp = w.add(Op::Exp {}, &[shifted]);
    let sum = w.add(Op::ReduceSum { axes }, &[exp]);
    let log = w.add(Op::Log {}, &[sum]);
    let y = w.add(Op::Sub {}, &[shifted, log]);
    w.cast(y, dtype)
}

/// The last `count` axes of `x`.
fn trailing(w: &Writer<'_>, x: Value, count: i64) -> Vec<i64> {
    let rank = w.ty(x).rank() as i64;
    (rank - count..rank).collect()
}

fn layer_norm(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::LayerNorm { axes, epsilon } = op else { panic!("bug: not a layer_norm") };
    let (dtype, axes) = (w.ty(x[0]).dtype, trailing(w, x[0], *axes));
    let wide = w.wide(x[0]);
    let y = w.standardize(wide, axes, *epsilon);
    let y = w.affine(y, x[1], x.get(2).copied());
    w.cast(y, dtype)
}

fn rms_norm(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::RmsNorm { axes, epsilon } = op else { panic!("bug: not an rms_norm") };
    let (dtype, axes) = (w.ty(x[0]).dtype, trailing(w, x[0], *axes));
    let wide = w.wide(x[0]);
    let squares = w.add(Op::Mul {}, &[wide, wide]);
    let mean = w.add(Op::ReduceMean { axes }, &[squares]);
    let mean = w.plus(mean, *epsilon);
    let scale = w.add(Op::Rsqrt {}, &[mean]);
    let y = w.add(Op::Mul {}, &[wide, scale]);
    let y = w.affine(y, x[1], None);
    w.cast(y, dtype)
}

/// Standardizes groups of channels: `[n, c, ...]` as `[n, groups, c / groups, ...]`.
fn group_norm(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let ty = w.ty(x[0]);
    let (groups, epsilon) = match op {
        Op::GroupNorm { groups, epsilon } => (Dim::from(*groups), *epsilon),
        Op::InstanceNorm { epsilon } => (ty.shape[1].clone(), *epsilon),
        _ => panic!("bug: not a group_norm"),
    };
    let inside = ty.shape[1].floor_div(&groups);
    let lead = [ty.shape[0].clone(), groups.clone(), inside.clone()];
    let shape = [&lead[..], &ty.shape[2..]].concat();
    let rank = shape.len();
    let wide = w.wide(x[0]);
    let grouped = w.reshape(wide, shape);
    let y = w.standardize(grouped, (2..rank as i64).collect(), epsilon);
    let parameter = |w: &mut Writer<'_>, p: Value| {
        let mut shape = vec![Dim::ONE; rank - 1];
        (shape[0], shape[1]) = (groups.clone(), inside.clone());
        w.reshape(p, shape)
    };
    let (scale, bias) = (parameter(w, x[1]), parameter(w, x[2]));
    let y = w.affine(y, scale, Some(bias));
    let y = w.reshape(y, ty.shape.clone());
    w.cast(y, ty.dtype)
}

fn batch_norm(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::BatchNorm { epsilon } = op else { panic!("bug: not a batch_norm") };
    let ty = w.ty(x[0]);
    let wide = w.wide(x[0]);
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|k| {
        let p = w.wide_as(x[k], wide);
        w.channels(p, ty.rank())
    });
    let centered = w.add(Op::Sub {}, &[wide, mean]);
    let variance = w.plus(variance, *epsilon);
    let deviation = w.add(Op::Rsqrt {}, &[variance]);
    let factor = w.add(Op::Mul {}, &[scale, deviation]);
    let y = w.affine(centered, factor, Some(bias));
    w.cast(y, ty.dtype)
}

/// The squares of neighbouring channels summed as slices of the padded squares.
fn lrn(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::Lrn { size, alpha, beta, bias } = op else { panic!("bug: not an lrn") };
    let ty = w.ty(x[0]);
    let wide = w.wide(x[0]);
    let squares = w.add(Op::Mul {}, &[wide, wide]);
    let amounts = |n: i64| {
        let mut list = vec![Dim::ZERO; ty.rank()];
        list[1] = Dim::from(n);
        list
    };
    let zero = w.literal(0.0, w.g.ty(squares).dtype);
    let pad = Op::Pad { before: amounts((size - 1) / 2), after: amounts(size / 2), mode: Default::default() };
    let padded = w.add(pad, &[squares, zero]);
    let mut sum = None;
    for k in 0..*size {
        let steps = vec![1; ty.rank()];
        let slice = Op::Slice { starts: amounts(k), sizes: ty.shape.clone(), steps };
        let part = w.add(slice, &[padded]);
        sum = Some(sum.map_or(part, |s| w.add(Op::Add {}, &[s, part])));
    }
    let sum = sum.expect("a window should have at least one channel");
    let factor = w.literal(alpha / *size as f64, w.g.ty(sum).dtype);
    let scaled = w.add(Op::Mul {}, &[sum, factor]);
    let base = w.plus(scaled, *bias);
    let exponent = w.literal(-beta, w.g.ty(base).dtype);
    let power = w.add(Op::Pow {}, &[base, exponent]);
    let y = w.add(Op::Mul {}, &[wide, power]);
    w.cast(y, ty.dtype)
}

/// The least (or greatest) place at which the extremum stands.
fn arg_extremum(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let (a, last, max) = match op {
        Op::ArgMax { axis, last } => (*axis, *last, true),
        Op::ArgMin { axis, last } => (*axis, *last, false),
        _ => panic!("bug: not an arg_max"),
    };
    let ty = w.ty(x[0]);
    let a = axis(w, x[0], a);
    let axes = vec![a];
    let extremum =
        if max { Op::ReduceMax { axes: axes.clone() } } else { Op::ReduceMin { axes: axes.clone() } };
    let best = w.add(extremum, x);
    let mut found = w.add(Op::Eq {}, &[x[0], best]);
    if ty.dtype.is_float() {
        let nan = w.add(Op::IsNan {}, x);
        found = w.add(Op::Or {}, &[found, nan]);
    }
    let count = ty.shape[a as usize].clone();
    let places = w.add(Op::Iota { count: count.clone(), to: DType::I64 }, &[]);
    let mut shape = vec![Dim::ONE; ty.rank()];
    shape[a as usize] = count;
    let places = w.reshape(places, shape);
    let other = w.literal(if last { -1.0 } else { (1i64 << 52) as f64 }, DType::I64);
    let candidates = w.add(Op::Select {}, &[found, places, other]);
    let pick = if last { Op::ReduceMax { axes } } else { Op::ReduceMin { axes } };
    w.add(pick, &[candidates])
}
