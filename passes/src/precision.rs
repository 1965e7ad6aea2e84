//! Half precision in place of f32.
//!
//! ```text
//! graph(%x: f32[b,64]) {                       graph(%x: f32[b,64]) {
//!   %0 = const … : f32[64,64]                    %0 = cast(%x) {to=f16}
//!   %1 = matmul(%x, %0)                          %1 = const … : f16[64,64]
//!   %2 = gelu(%1)                         →      %2 = matmul(%0, %1)
//!   %3 = exp(%2)                                 %3 = gelu(%2)
//!   return %3                                    %4 = cast(%3) {to=f32}
//!                                                %5 = exp(%4)
//!                                                return %5
//! ```
//! Inputs and outputs keep their types, and so do sub-graphs'. Every op has a [`Role`]: contractions and
//! normalizations compute on halves (kernels accumulate in f32), what needs range or precision stays f32, and
//! the rest follows what it is given:
//!
//! - a value that an op kept in f32 made stays f32 until the next contraction or normalization, so that a
//!   variance is not rounded between its sum and its root;
//! - positions, and all else that is made of integers and constants, is f32 until it meets halves;
//! - inputs are f32 until they meet halves.
//!
//! A computed value that becomes a half is first clipped to the half's range: masks are often made of the
//! lowest f32, and a row of infinities has no softmax. A constant that stands for infinity becomes the largest
//! half where it is added or chosen. An op with a constant that is otherwise out of range stays f32; the
//! near-misses of `narrow` say which.
use crate::Options;
use sardonyx_ir::graph::Node;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Value};
use sardonyx_tensor::{DType, Tensor, bf16, f16};
use std::collections::HashMap;

pub(crate) const NAMES: &[&str] = &["narrow"];

/// Constants from here on stand for infinity: nothing in a network is as large.
const STANDS_FOR_INFINITY: f64 = 1e9;

pub(crate) fn run(g: &mut Graph, options: &Options) {
    let Some(half) = options.dtype.filter(|d| matches!(d, DType::F16 | DType::BF16)) else { return };
    let before = options.trace.len();
    let left = options.narrowed.unwrap_or(usize::MAX);
    let mut narrowing =
        Narrowing { old: g, half, options, left, kinds: HashMap::new(), casts: HashMap::new() };
    let new = narrowing.graph();
    if options.trace.len() > before {
        *g = new;
    }
}

/// In which precision an op computes.
enum Role {
    /// In halves.
    Half,
    /// As its operands are.
    Follow,
    /// In f32.
    Wide,
}

/// What an f32 value of the old graph is, all results of a node alike. When kinds meet, the first here wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Made by an op that is kept in f32.
    Sensitive,
    /// A half in the new graph.
    Half,
    /// An input, or moved and combined from inputs alone.
    Given,
    /// Of integers and constants.
    Exact,
    /// A constant.
    Constant,
}

struct Narrowing<'a> {
    old: &'a Graph,
    half: DType,
    options: &'a Options,
    /// How many nodes more may become halves.
    left: usize,
    kinds: HashMap<NodeId, Kind>,
    /// New values in their other type; constants apart for users where some stand for infinity.
    casts: HashMap<(Value, bool), Value>,
}

impl Narrowing<'_> {
    fn graph(&mut self) -> Graph {
        let old = self.old;
        let mut new = old
            .rebuild(|new, id, node, operands| self.node(new, id, node, operands))
            .unwrap_or_else(|e| panic!("bug: {e}"));
        let mut outputs = new.outputs().to_vec();
        for (v, &before) in outputs.iter_mut().zip(old.outputs()) {
            if old.ty(before).dtype == DType::F32 {
                new.origin = old.node(before.node).origin.clone();
                *v = self.wide(&mut new, *v);
            }
        }
        new.set_outputs(outputs, old.output_names().to_vec());
        old.requirements().for_each(|r| new.require(r.left.clone(), r.right.clone()));
        new
    }

    fn node(
        &mut self,
        new: &mut Graph,
        id: NodeId,
        node: &Node,
        operands: &[Value],
    ) -> Result<Value, String> {
        match &node.op {
            Op::Input { name } => {
                self.kinds.insert(id, Kind::Given);
                return Ok(new.input(name, node.types[0].clone()));
            }
            Op::Const { .. } => {
                self.kinds.insert(id, Kind::Constant);
                return new.add(node.op.clone(), operands);
            }
            Op::Cast { to } => {
                let exact = !self.old.ty(self.old.operand(id, 0)).dtype.is_float();
                self.kinds.insert(id, if exact { Kind::Exact } else { Kind::Given });
                let same = new.ty(operands[0]).dtype == *to;
                return if same { Ok(operands[0]) } else { new.add(node.op.clone(), operands) };
            }
            _ => {}
        }
        let (half, kind) = self.choice(id, &node.op);
        if half && self.left > 0 && self.options.trace.permits() {
            match self.narrowed(new, id, &node.op, operands) {
                Ok(v) => {
                    self.left -= 1;
                    self.kinds.insert(id, Kind::Half);
                    self.options.trace.made(NAMES[0], node.origin.clone());
                    return Ok(v);
                }
                Err(reason) => self.options.trace.missed(NAMES[0], self.old, id, reason),
            }
        }
        self.kinds.insert(id, if half { Kind::Sensitive } else { kind });
        let operands: Vec<Value> = operands
            .iter()
            .enumerate()
            .map(|(i, &v)| if self.is_f32(id, i) { self.wide(new, v) } else { v })
            .collect();
        new.add(node.op.clone(), &operands)
    }

    /// Whether a node shall compute on halves, and what its results are if not.
    fn choice(&self, id: NodeId, op: &Op) -> (bool, Kind) {
        let count = self.old.operands(id).len();
        let followed = (0..count).filter(|&i| self.is_f32(id, i) && narrows(op, i));
        let kind = followed.map(|i| self.kinds[&self.old.operand(id, i).node]).min();
        match (role(self.old, id), kind) {
            // Sub-graphs have f32 borders of their own.
            _ if !op.regions().is_empty() => (false, Kind::Given),
            (_, None) => (false, Kind::Exact),
            (Role::Half, Some(Kind::Exact)) if matches!(op, Op::Matmul {}) => (false, Kind::Exact),
            (Role::Half, _) | (Role::Follow, Some(Kind::Half | Kind::Constant)) => (true, Kind::Half),
            (Role::Follow, Some(kind)) => (false, kind),
            (Role::Wide, Some(Kind::Exact | Kind::Constant)) => (false, Kind::Exact),
            (Role::Wide, _) => (false, Kind::Sensitive),
        }
    }

    fn is_f32(&self, id: NodeId, i: usize) -> bool {
        self.old.ty(self.old.operand(id, i)).dtype == DType::F32
    }

    /// The op on halves; fails where a constant is out of range, or the op does not take them.
    fn narrowed(
        &mut self,
        new: &mut Graph,
        id: NodeId,
        op: &Op,
        operands: &[Value],
    ) -> Result<Value, String> {
        let mut halves = operands.to_vec();
        for (i, v) in halves.iter_mut().enumerate() {
            if self.is_f32(id, i) && (narrows(op, i) || constant_mask(new, op, *v)) {
                *v = self.half(new, *v, op)?;
            }
        }
        new.add(op.clone(), &halves)
    }

    /// A value as f32.
    fn wide(&mut self, new: &mut Graph, v: Value) -> Value {
        if new.ty(v).dtype == DType::F32 {
            return v;
        }
        *self.casts.entry((v, false)).or_insert_with(|| add(new, Op::Cast { to: DType::F32 }, v))
    }

    /// A value as a half, for the op that uses it.
    fn half(&mut self, new: &mut Graph, v: Value, user: &Op) -> Result<Value, String> {
        if new.ty(v).dtype == self.half {
            return Ok(v);
        }
        let key = (v, new.const_value(v).is_some() && adds_or_chooses(user));
        if let Some(&known) = self.casts.get(&key) {
            return Ok(known);
        }
        let made = match new.op(v) {
            Op::Const { value } => {
                let t = self.rounded(value.tensor(), user)?;
                new.constant(t)
            }
            Op::Cast { .. } if new.ty(new.operand(v.node, 0)).dtype == self.half => new.operand(v.node, 0),
            Op::Input { .. } => add(new, Op::Cast { to: self.half }, v),
            _ => {
                let (largest, _) = range(self.half);
                let clipped = add(new, Op::Clip { min: -largest, max: largest }, v);
                add(new, Op::Cast { to: self.half }, clipped)
            }
        };
        self.casts.insert(key, made);
        Ok(made)
    }

    /// A constant of halves. Fails where it is out of their range.
    fn rounded(&self, t: &Tensor, user: &Op) -> Result<Tensor, String> {
        let (largest, least) = range(self.half);
        let elements =
            || t.bytes().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        let fits = |x: f64| {
            let stands = x.abs() >= STANDS_FOR_INFINITY && adds_or_chooses(user);
            !x.is_finite() || x.abs() <= largest || stands
        };
        if let Some(x) = elements().find(|&x| !fits(x)) {
            return Err(format!(
                "the constant {x:e} of {} is out of the range of {}",
                user.name(),
                self.half
            ));
        }
        if t.len() == 1 && elements().any(|x| x != 0.0 && x.abs() < least) {
            let x = elements().next().unwrap_or_default();
            return Err(format!("the constant {x:e} of {} is too small for {}", user.name(), self.half));
        }
        let clamped = elements().map(|x| if x.is_finite() { x.clamp(-largest, largest) } else { x });
        Ok(Tensor::from_f64s(self.half, t.shape(), clamped))
    }
}

fn add(g: &mut Graph, op: Op, x: Value) -> Value {
    g.add(op, &[x]).unwrap_or_else(|e| panic!("bug: {e}"))
}

/// The largest number of a half type, and the least positive one of full precision.
fn range(half: DType) -> (f64, f64) {
    match half {
        DType::F16 => (f16::MAX.to_f64(), f16::MIN_POSITIVE.to_f64()),
        _ => (bf16::MAX.to_f64(), bf16::MIN_POSITIVE.to_f64()),
    }
}

/// Whether operand `i` has the type of the result. Masks, scales of a resize and grids have types of their own.
fn narrows(op: &Op, i: usize) -> bool {
    match op {
        Op::Attention { .. } => i < 3,
        Op::Resize { .. } | Op::GridSample { .. } => i == 0,
        _ => true,
    }
}

fn constant_mask(g: &Graph, op: &Op, v: Value) -> bool {
    matches!(op, Op::Attention { .. }) && g.const_value(v).is_some()
}

/// Ops where the largest half does what a larger number would.
fn adds_or_chooses(op: &Op) -> bool {
    let chooses = matches!(
        op,
        Op::Add {} | Op::Sub {} | Op::Min {} | Op::Max {} | Op::Select { .. } | Op::Attention { .. }
    );
    chooses || op.moved_operands(0).is_some()
}

fn role(g: &Graph, id: NodeId) -> Role {
    let op = &g.node(id).op;
    match op {
        Op::Matmul {} | Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Attention { .. } => Role::Half,
        // Widened within their kernels.
        Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::LayerNorm { .. } | Op::RmsNorm { .. } => Role::Half,
        Op::InstanceNorm { .. } | Op::GroupNorm { .. } | Op::BatchNorm { .. } | Op::Lrn { .. } => Role::Half,
        Op::Rnn { .. } | Op::Gru { .. } | Op::Lstm { .. } => Role::Half,
        // Squares, powers and exponentials leave the range; angles need the precision.
        Op::Mul {} if g.operand(id, 0) == g.operand(id, 1) => Role::Wide,
        Op::Pow {} | Op::Exp {} | Op::Log {} | Op::Sinh {} | Op::Cosh {} => Role::Wide,
        Op::Sin {} | Op::Cos {} | Op::Tan {} | Op::Asin {} | Op::Acos {} | Op::Atan {} => Role::Wide,
        Op::Asinh {} | Op::Acosh {} | Op::Atanh {} | Op::Bitcast { .. } => Role::Wide,
        Op::ReduceMean { .. } | Op::ReduceMax { .. } | Op::ReduceMin { .. } => Role::Follow,
        Op::MaxPool { .. } | Op::MaxPoolIndices { .. } | Op::AvgPool { .. } => Role::Follow,
        Op::Resize { .. } | Op::GridSample { .. } => Role::Follow,
        Op::TopK { .. } | Op::ArgMax { .. } | Op::ArgMin { .. } => Role::Follow,
        _ if op.row().pointwise || op.moved_operands(0).is_some() => Role::Follow,
        // Sums, linear algebra, detection and the like.
        _ => Role::Wide,
    }
}
