//! Tracing: a graph of pointwise, movement and reduction ops as the values of a kernel's body.
//!
//! A result is pulled at the coordinates of a point of the domain; movement ops turn the coordinates into
//! those of their operands, so that nothing moves, and pointwise ops become scalar functions.
use crate::kernel::body::{Body, Store, Value, ValueId};
use crate::kernel::index::Index;
use crate::kernel::pointwise::{Combine, Reduction};
use crate::kernel::row_major;
use sardonyx_ir::scalar::Scalar;
use sardonyx_ir::{Graph, Op, Value as Wire};
use sardonyx_tensor::{DType, Dim};
use std::collections::HashMap;

/// Why a graph cannot be one kernel.
pub type Why = String;

/// Where an input of the graph stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// In an argument of the kernel.
    Argument {
        /// The number of the argument.
        arg: usize,
        /// The place of the first element.
        offset: Dim,
        /// One stride per dimension of the input, in elements.
        strides: Vec<Dim>,
    },
    /// In the code: every element is this number.
    Literal(f64),
}

/// What the trace may meet beside pointwise and movement ops.
pub enum Anchor {
    /// Nothing.
    None,
    /// Reductions of values over the whole domain along the marked axes.
    Reductions(Vec<bool>),
    /// This value, over the whole domain.
    Value(Wire),
}

/// A trace of a graph over one domain.
pub struct Tracer<'g> {
    graph: &'g Graph,
    sources: &'g [Source],
    /// The extents of the domain.
    pub domain: Vec<Dim>,
    anchor: Anchor,
    /// What was traced.
    pub body: Body,
    /// The reductions met.
    pub reductions: Vec<Reduction>,
    /// The number of each input.
    places: HashMap<Wire, usize>,
    /// Constant tensors of the graph that are arguments, after those of the sources.
    pub constants: Vec<Wire>,
    met: HashMap<Wire, usize>,
    memo: HashMap<(Wire, Vec<Index>, Option<ValueId>), ValueId>,
}

impl<'g> Tracer<'g> {
    /// A trace of `graph`, whose inputs are arguments of the kernel: `args` are the types of all arguments.
    pub fn new(
        graph: &'g Graph,
        sources: &'g [Source],
        args: &[DType],
        domain: &[Dim],
        anchor: Anchor,
    ) -> Tracer<'g> {
        Tracer {
            graph,
            sources,
            domain: domain.to_vec(),
            anchor,
            body: Body { args: args.to_vec(), values: Vec::new() },
            reductions: Vec::new(),
            places: graph.inputs().enumerate().map(|(place, wire)| (wire, place)).collect(),
            constants: Vec::new(),
            met: HashMap::new(),
            memo: HashMap::new(),
        }
    }

    /// The store of output number `output` of the kernel: `wire`, over the domain or (for one value a row)
    /// over `shape`, which is the domain with extents of 1 where axes are reduced.
    pub fn store(&mut self, output: usize, wire: Wire, shape: &[Dim]) -> Result<Store, Why> {
        let ty = self.graph.ty(wire).clone();
        let axes = Index::axes_of(shape);
        let mut chain = Vec::new();
        let mut core = wire;
        while self.graph.ty(core).shape != shape {
            match self.graph.op(core) {
                Op::Reshape { .. } | Op::Transpose { .. } => chain.push(core),
                _ => break,
            }
            core = self.graph.operand(core.node, 0);
        }
        if self.graph.ty(core).shape == shape {
            let value = self.pull(core, axes.clone(), None)?;
            let mut at = axes;
            for &step in chain.iter().rev() {
                at = match self.graph.op(step) {
                    Op::Transpose { perm } => perm.iter().map(|&p| at[p as usize].clone()).collect(),
                    _ => {
                        let from = &self.graph.ty(self.graph.operand(step.node, 0)).shape;
                        let linear = Index::position(&at, &row_major(from));
                        linear.unravel(&self.graph.ty(step).shape, &self.domain)
                    }
                };
            }
            let index = Index::position(&at, &row_major(&ty.shape));
            return Ok(Store { output, dtype: ty.dtype, index, value });
        }
        if ty.elements() != Dim::product(shape) {
            return Err(format!("{ty} has not the elements of {}", crate::kernel::body::list(shape)));
        }
        let index = Index::position(&axes, &row_major(shape));
        let value = self.pull(wire, index.unravel(&ty.shape, &self.domain), None)?;
        Ok(Store { output, dtype: ty.dtype, index, value })
    }

    /// The value of `wire` at `at`; where `guard` does not hold it may be anything, but nothing is read.
    pub fn pull(&mut self, wire: Wire, at: Vec<Index>, guard: Option<ValueId>) -> Result<ValueId, Why> {
        let key = (wire, at, guard);
        if let Some(&id) = self.memo.get(&key) {
            return Ok(id);
        }
        let id = self.compute(wire, &key.1, guard)?;
        self.memo.insert(key, id);
        Ok(id)
    }

    fn compute(&mut self, wire: Wire, at: &[Index], guard: Option<ValueId>) -> Result<ValueId, Why> {
        if matches!(self.anchor, Anchor::Value(v) if v == wire) {
            return self.anchored(wire, at, 0);
        }
        let graph = self.graph;
        let node = graph.node(wire.node);
        let dtype = graph.ty(wire).dtype;
        if let Some(f) = node.op.scalar() {
            let mut args = Vec::new();
            for operand in graph.operands(wire.node) {
                let coordinates = broadcast(at, &graph.ty(operand).shape);
                args.push(self.pull(operand, coordinates, guard)?);
            }
            return Ok(self.body.add(Value::Apply { f, args }, dtype));
        }
        match &node.op {
            Op::Input { .. } => {
                let place = *self.places.get(&wire).expect("an input should be listed");
                Ok(match &self.sources[place] {
                    Source::Literal(x) => self.number(*x, dtype),
                    Source::Argument { arg, offset, strides } => {
                        let index = Index::position(at, strides).shifted(offset);
                        self.body.add(Value::Load { arg: *arg, index, guard }, dtype)
                    }
                })
            }
            Op::Const { .. } => Ok(self.constant(wire, at, guard)),
            Op::ReduceSum { .. } => self.reduction(wire, at, Combine::Sum),
            Op::ReduceProd { .. } => self.reduction(wire, at, Combine::Prod),
            Op::ReduceMax { .. } => self.reduction(wire, at, Combine::Max),
            Op::ReduceMin { .. } => self.reduction(wire, at, Combine::Min),
            Op::ReduceMean { axes } => self.mean(wire, at, axes),
            _ => self.moved(wire, at, guard),
        }
    }

    fn constant(&mut self, wire: Wire, at: &[Index], guard: Option<ValueId>) -> ValueId {
        let tensor = self.graph.const_value(wire).expect("the value should be a constant");
        let dtype = tensor.dtype();
        if tensor.len() == 1
            && let Some(x) = literal(tensor)
        {
            return self.number(x, dtype);
        }
        let known = self.constants.iter().position(|&c| c == wire);
        let place = known.unwrap_or(self.constants.len());
        if known.is_none() {
            self.constants.push(wire);
            self.body.args.push(dtype);
        }
        let arg = self.body.args.len() - self.constants.len() + place;
        let index = Index::position(at, &row_major(&self.graph.ty(wire).shape));
        self.body.add(Value::Load { arg, index, guard }, dtype)
    }

    /// A literal of this type.
    pub(super) fn number(&mut self, x: f64, dtype: DType) -> ValueId {
        let f = Scalar::build(0, |b, _| b.num(x));
        self.body.add(Value::Apply { f, args: vec![] }, dtype)
    }

    /// The anchored value number `k`, which is there only at the point itself.
    fn anchored(&mut self, wire: Wire, at: &[Index], k: usize) -> Result<ValueId, Why> {
        let ty = self.graph.ty(wire);
        let axes = match &self.anchor {
            Anchor::Reductions(inner) => {
                let kept = |(d, inner): (&Dim, &bool)| if *inner { Dim::ONE } else { d.clone() };
                Index::axes_of(&self.domain.iter().zip(inner).map(kept).collect::<Vec<_>>())
            }
            _ => Index::axes_of(&self.domain),
        };
        if at != axes {
            return Err(format!("{} is needed at other points than its own", self.graph.op(wire).name()));
        }
        Ok(self.body.add(Value::Accumulator(k), ty.dtype))
    }

    fn reduction(&mut self, wire: Wire, at: &[Index], combine: Combine) -> Result<ValueId, Why> {
        let (graph, op) = (self.graph, self.graph.op(wire));
        let operand = graph.operand(wire.node, 0);
        let inner = reduced_axes(graph, wire).ok_or("not a reduction")?;
        match &self.anchor {
            Anchor::Reductions(axes) if *axes == inner && graph.ty(operand).shape == self.domain => {}
            _ => return Err(format!("{} is not over the axes of the rows", op.name())),
        }
        let k = match self.met.get(&wire) {
            Some(&k) => k,
            None => {
                let value = self.pull(operand, Index::axes_of(&self.domain), None)?;
                let k = self.reductions.len();
                self.reductions.push(Reduction { combine, dtype: graph.ty(wire).dtype, value });
                self.met.insert(wire, k);
                k
            }
        };
        self.anchored(wire, at, k)
    }

    fn mean(&mut self, wire: Wire, at: &[Index], axes: &[i64]) -> Result<ValueId, Why> {
        let dtype = self.graph.ty(wire).dtype;
        let sum = self.reduction(wire, at, Combine::Sum)?;
        let shape = &self.graph.ty(self.graph.operand(wire.node, 0)).shape;
        let count = axes.iter().fold(Dim::ONE, |n, &a| n * &shape[a as usize]);
        let count = self.position(Index::constant(count), dtype);
        let f = Scalar::build(2, |_, x| x[0] / x[1]);
        Ok(self.body.add(Value::Apply { f, args: vec![sum, count] }, dtype))
    }

    /// An index as a value of this type.
    pub(super) fn position(&mut self, index: Index, dtype: DType) -> ValueId {
        let id = self.body.add(Value::Position(index), DType::I64);
        if dtype == DType::I64 {
            return id;
        }
        let f = Scalar::build(1, |_, x| x[0].cast(dtype));
        self.body.add(Value::Apply { f, args: vec![id] }, dtype)
    }

    /// The type of a value of the graph.
    pub(super) fn graph(&self) -> &'g Graph {
        self.graph
    }
}

/// Which axes of its operand a reduction runs over; `None` if it is not one.
pub fn reduced_axes(graph: &Graph, wire: Wire) -> Option<Vec<bool>> {
    let (Op::ReduceSum { axes }
    | Op::ReduceMean { axes }
    | Op::ReduceProd { axes }
    | Op::ReduceMax { axes }
    | Op::ReduceMin { axes }) = graph.op(wire)
    else {
        return None;
    };
    let ty = graph.ty(graph.operand(wire.node, 0));
    let mut inner = vec![false; ty.rank()];
    axes.iter().for_each(|&a| inner[ty.axis(a).expect("the type rule should have accepted the axis")] = true);
    Some(inner)
}

/// The coordinates in an operand of this shape that broadcast to `at`.
fn broadcast(at: &[Index], shape: &[Dim]) -> Vec<Index> {
    let pairs = at[at.len() - shape.len()..].iter().zip(shape);
    pairs.map(|(i, d)| if *d == Dim::ONE { Index::default() } else { i.clone() }).collect()
}

/// The element of a tensor of one element, if a literal holds it exactly. The number of a text is the program's to
/// give.
pub fn literal(tensor: &sardonyx_tensor::Tensor) -> Option<f64> {
    if tensor.dtype().is_reference() {
        return None;
    }
    if tensor.dtype().is_float() {
        return Some(tensor.get_f64(0));
    }
    let x = tensor.to_i128s()[0];
    (x.abs() < 1 << 53).then_some(x as f64)
}
