//! Lowering: a graph as steps over buffers, each node one kernel, a view that costs nothing, or a step of
//! the runtime.
//!
//! Nodes need not be fused: a node alone is lowered as a region of one node, and a region that no kernel can
//! do is lowered node by node.
mod contraction;
mod control;
mod expand;
mod integer;
mod layout;
mod moved;
mod recurrent;
mod region;
mod special;
pub mod trace;
mod view;
mod window;

pub use view::View;

use crate::kernel::Kernel;
use crate::target::Target;
use crate::unit::Unit;
use crate::weight::{Packed, Weight};
use sardonyx_ir::{Graph, NodeId, Op, Origin, Requirement, Type, Value as Wire};
use sardonyx_runtime::manifest::{Buffer, BufferIndex, Constraint, Launch, Place, Step, walk};
use sardonyx_tensor::{DType, Dim, Tensor};
use std::collections::{BTreeSet, HashMap};

/// A node that cannot be lowered.
#[derive(Clone, PartialEq, Debug)]
pub struct Unsupported {
    /// The op.
    pub op: String,
    /// The type of its first result.
    pub ty: String,
    /// The ONNX nodes it comes from.
    pub origin: String,
    /// Why.
    pub reason: String,
}

/// A lowered graph. Kernels of launches are indices into `units`, weights of buffers into `weights`;
/// lifetimes of workspace buffers are not known yet.
#[derive(Default)]
pub struct Lowered {
    /// What every launch computes.
    pub kernels: Vec<Kernel>,
    /// What every launch runs.
    pub units: Vec<Unit>,
    /// The buffers.
    pub buffers: Vec<Buffer>,
    /// Constant tensors with their names.
    pub weights: Vec<(String, Weight)>,
    /// What a run does.
    pub steps: Vec<Step>,
    /// The names of ONNX nodes.
    pub origins: Vec<String>,
    /// What cannot be lowered.
    pub unsupported: Vec<Unsupported>,
    /// The number of nodes that became steps or views.
    pub nodes: usize,
}

impl Lowered {
    /// What each unit's launch computes.
    pub fn labels(&self) -> Vec<String> {
        let mut labels = vec![String::new(); self.units.len()];
        walk(&self.steps, &mut |_, step| {
            if let Step::Launch(launch) = step {
                labels[launch.kernel].clone_from(&launch.label);
            }
        });
        labels
    }
}

/// The state of lowering.
pub(crate) struct Lowerer<'t> {
    target: &'t Target,
    out: Lowered,
    constants: HashMap<(usize, DType, Vec<usize>), BufferIndex>,
    /// The aliases that regions read views through.
    aliases: HashMap<(BufferIndex, Dim, DType), BufferIndex>,
    origins: HashMap<String, usize>,
    /// The symbols that the inputs give.
    symbols: BTreeSet<String>,
    /// These, and those that steps so far give.
    known: BTreeSet<String>,
    /// What is checked before the current node, outside of branches and bodies of loops.
    checked: Vec<Requirement>,
    /// How many branches and bodies of loops the current node is in.
    depth: usize,
    /// What the current node comes from.
    origin: Origin,
    /// New symbols made.
    fresh: usize,
}

/// The values of a graph that are lowered so far.
pub(crate) type Views = HashMap<Wire, View>;

/// Lowers a graph for a target.
pub fn lower(g: &Graph, target: &Target) -> Lowered {
    let symbols: BTreeSet<String> =
        g.inputs().flat_map(|v| g.ty(v).shape.iter().flat_map(Dim::symbols)).collect();
    let mut lowerer = Lowerer {
        target,
        out: Lowered::default(),
        constants: HashMap::new(),
        aliases: HashMap::new(),
        origins: HashMap::new(),
        known: symbols.clone(),
        symbols,
        checked: Vec::new(),
        depth: 0,
        origin: Origin::default(),
        fresh: 0,
    };
    let inputs: Vec<View> =
        g.inputs().enumerate().map(|(k, v)| lowerer.view_of(Place::Input(k), g.ty(v).clone())).collect();
    let mut wanted: HashMap<Wire, BufferIndex> = HashMap::new();
    let outputs: Vec<BufferIndex> = g
        .outputs()
        .iter()
        .enumerate()
        .map(|(k, &wire)| {
            let buffer = lowerer.buffer(Place::Output(k), g.ty(wire));
            wanted.entry(writer(g, wire)).or_insert(buffer);
            buffer
        })
        .collect();
    let views = lowerer.graph(g, &inputs, &wanted);
    for (view, (&buffer, &wire)) in views.iter().zip(outputs.iter().zip(g.outputs())) {
        let whole = View::whole(buffer, g.ty(wire).clone());
        lowerer.assign(view, &whole);
    }
    lowerer.out
}

/// The value whose buffer becomes that of `wire`: reshapes share it.
fn writer(g: &Graph, mut wire: Wire) -> Wire {
    while let Op::Reshape { .. } = g.op(wire) {
        wire = g.operand(wire.node, 0);
    }
    wire
}

impl Lowerer<'_> {
    /// Lowers the nodes of a graph whose inputs are given; the views of its outputs. Values in `wanted` are
    /// written to these buffers.
    pub(crate) fn graph(
        &mut self,
        g: &Graph,
        inputs: &[View],
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Vec<View> {
        let mut views: Views = g.inputs().zip(inputs.iter().cloned()).collect();
        let mut unchecked: Vec<Requirement> = g.requirements().filter(|r| self.is_late(r)).cloned().collect();
        for id in g.order() {
            self.check(&mut unchecked);
            let node = g.node(id);
            if matches!(node.op, Op::Input { .. } | Op::Const { .. }) {
                continue;
            }
            let outer = std::mem::replace(&mut self.origin, node.origin.clone());
            if outer.names().next().is_some() && self.origin.names().next().is_none() {
                self.origin = outer.clone();
            }
            self.out.nodes += 1;
            let before = self.out.steps.len();
            if let Err(reason) = self.node(g, id, &mut views, wanted) {
                self.unsupported(g, id, reason);
                for port in 0..node.types.len() {
                    let wire = Wire { node: id, port: 0 }.port(port);
                    let view = self.temporary(node.types[port].clone());
                    views.insert(wire, view);
                }
            }
            self.origin = outer;
            let mut defines =
                |_, step: &Step| self.known.extend(step.defines().into_iter().map(String::from));
            walk(&self.out.steps[before.min(self.out.steps.len())..], &mut defines);
        }
        self.check(&mut unchecked);
        g.outputs().iter().map(|&wire| self.view(g, wire, &mut views)).collect()
    }

    /// Whether a requirement is none that is checked when inputs are bound, or was checked before.
    fn is_late(&self, r: &Requirement) -> bool {
        let bound = |d: &Dim| d.symbols().iter().all(|s| self.symbols.contains(s));
        !self.checked.contains(r) && (self.depth > 0 || !bound(&r.left) || !bound(&r.right))
    }

    /// Adds steps that check those requirements whose symbols have their values, before anything is done that
    /// relies on them.
    fn check(&mut self, unchecked: &mut Vec<Requirement>) {
        let known = |r: &Requirement| {
            let symbols = |d: &Dim| d.symbols().iter().all(|s| self.known.contains(s));
            symbols(&r.left) && symbols(&r.right)
        };
        let (now, later): (Vec<Requirement>, _) = std::mem::take(unchecked).into_iter().partition(known);
        *unchecked = later;
        for r in now {
            let constraint =
                Constraint { left: r.left.clone(), right: r.right.clone(), place: "the model".into() };
            self.out.steps.push(Step::Check(constraint));
            if self.depth == 0 {
                self.checked.push(r);
            }
        }
    }

    fn node(
        &mut self,
        g: &Graph,
        id: NodeId,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<(), String> {
        let node = g.node(id);
        let first = Wire { node: id, port: 0 };
        match &node.op {
            Op::Bind { dims } => self.bind(g, first, dims, views),
            Op::If { .. } | Op::Loop { .. } => self.control(g, id, views),
            Op::Bitcast { .. } => {
                let from = self.view(g, g.operand(id, 0), views);
                let from = self.contiguous(&from);
                let place = Place::Alias { of: from.buffer, offset: Dim::ZERO };
                let view = self.view_of(place, node.types[0].clone());
                views.insert(first, view);
                Ok(())
            }
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Expand { .. } => {
                let from = self.view(g, g.operand(id, 0), views);
                let view = match from.moved(&node.op, &node.types[0]) {
                    Some(view) => view,
                    None => {
                        let whole = self.contiguous(&from);
                        whole.moved(&node.op, &node.types[0]).ok_or("a reshape without a layout")?
                    }
                };
                views.insert(first, view);
                Ok(())
            }
            op if special::is_special(op) => self.special(g, id, views, wanted),
            _ => self.region_node(g, id, views, wanted),
        }
    }

    /// A value of the graph; constants become weights when they are first used.
    pub(crate) fn view(&mut self, g: &Graph, wire: Wire, views: &mut Views) -> View {
        if let Some(view) = views.get(&wire) {
            return view.clone();
        }
        let Some(tensor) = g.const_value(wire) else {
            panic!("bug: {} is used before it is lowered", g.op(wire).name())
        };
        let name = g.node(wire.node).origin.names().next().unwrap_or("constant").to_string();
        let view = View::whole(self.constant(&name, tensor), g.ty(wire).clone());
        views.insert(wire, view.clone());
        view
    }

    /// The buffer of a constant tensor.
    pub(crate) fn constant(&mut self, name: &str, tensor: &Tensor) -> BufferIndex {
        let key = (tensor.bytes().as_ptr() as usize, tensor.dtype(), tensor.shape().to_vec());
        if let Some(&buffer) = self.constants.get(&key).filter(|_| !tensor.is_empty()) {
            return buffer;
        }
        let buffer = self.weight(name, tensor.into());
        self.constants.insert(key, buffer);
        buffer
    }

    /// The buffer of a constant in the layout that a kernel wants.
    pub(crate) fn packed(&mut self, packed: Packed) -> BufferIndex {
        self.weight("packed", Weight::Packed(packed))
    }

    fn weight(&mut self, name: &str, weight: Weight) -> BufferIndex {
        let ty = Type::new(weight.dtype(), weight.shape().iter().map(|&n| n as i64));
        self.out.weights.push((name.to_string(), weight));
        self.buffer(Place::Weight(self.out.weights.len() - 1), &ty)
    }

    /// The tensor in a buffer, if it is a constant of the graph.
    pub(crate) fn tensor(&self, buffer: BufferIndex) -> Option<&Tensor> {
        match self.out.buffers[buffer].place {
            Place::Weight(w) => match &self.out.weights[w].1 {
                Weight::Tensor(tensor) => Some(tensor),
                Weight::Packed(_) => None,
            },
            _ => None,
        }
    }

    /// A new buffer for a value of this type.
    pub(crate) fn buffer(&mut self, place: Place, ty: &Type) -> BufferIndex {
        let bytes = ty.elements() * ty.dtype.size() as i64;
        let buffer = Buffer { dtype: ty.dtype, shape: ty.shape.clone(), bytes, place };
        self.out.buffers.push(buffer);
        self.out.buffers.len() - 1
    }
    fn view_of(&mut self, place: Place, ty: Type) -> View {
        View::whole(self.buffer(place, &ty), ty)
    }
    /// A new buffer in the workspace, or of its own where only the run knows its size.
    pub(crate) fn temporary(&mut self, ty: Type) -> View {
        let early = ty.shape.iter().flat_map(Dim::symbols).all(|s| self.symbols.contains(&s));
        let place = if early { Place::Workspace { first: 0, last: 0 } } else { Place::Late };
        self.view_of(place, ty)
    }
    /// The buffer that a result is written to.
    pub(crate) fn result(&mut self, wire: Wire, ty: &Type, wanted: &HashMap<Wire, BufferIndex>) -> View {
        match wanted.get(&wire) {
            Some(&buffer) => View::whole(buffer, ty.clone()),
            None => self.temporary(ty.clone()),
        }
    }

    /// The same value without gaps.
    pub(crate) fn contiguous(&mut self, view: &View) -> View {
        if view.is_contiguous() && view.offset == Dim::ZERO {
            return view.clone();
        }
        if view.is_contiguous() {
            let width = view.ty.dtype.size() as i64;
            let place = Place::Alias { of: view.buffer, offset: &view.offset * width };
            return self.view_of(place, view.ty.clone());
        }
        let whole = self.temporary(view.ty.clone());
        self.assign(view, &whole);
        whole
    }

    /// The same value as a buffer of its type and shape, and no more.
    pub(crate) fn exactly(&mut self, view: &View) -> BufferIndex {
        let view = self.contiguous(view);
        let buffer = &self.out.buffers[view.buffer];
        if (buffer.dtype, &buffer.shape) == (view.ty.dtype, &view.ty.shape) {
            return view.buffer;
        }
        let place = Place::Alias { of: view.buffer, offset: Dim::ZERO };
        self.buffer(place, &view.ty)
    }

    /// Writes a value into a whole buffer, unless it is there.
    pub(crate) fn assign(&mut self, from: &View, to: &View) {
        if from.buffer == to.buffer {
            return;
        }
        if from.is_contiguous() {
            let src = self.contiguous(from);
            let same = self.out.buffers[src.buffer].bytes == self.out.buffers[to.buffer].bytes;
            let src = if same { src.buffer } else { self.exactly(&src) };
            return self.out.steps.push(Step::Copy { src, dst: to.buffer });
        }
        let mut g = Graph::new();
        let x = g.input("x", from.ty.clone());
        g.set_outputs(vec![x], vec![]);
        self.map(&g, std::slice::from_ref(from), &[to.buffer], "copy")
            .unwrap_or_else(|e| panic!("bug: a copy of {}: {e}", from.ty));
    }

    /// Appends the launch of a kernel that does what `op` says, for a result of type `ty`.
    pub(crate) fn launch(
        &mut self,
        kernel: Kernel,
        op: &str,
        args: Vec<BufferIndex>,
        ty: &Type,
        flops: Dim,
    ) -> Result<(), String> {
        let unit = kernel.unit(&identifier(op), self.target)?;
        let label = format!("{op} {ty}");
        assert_eq!(unit.params(), args.len(), "bug: arguments of\n{unit}");
        let mut bytes = Dim::ZERO;
        for (k, &arg) in args.iter().enumerate() {
            if !args[..k].contains(&arg) {
                bytes += &self.out.buffers[arg].bytes;
            }
        }
        let names: Vec<String> = self.origin.names().map(String::from).collect();
        let origins = names.into_iter().map(|name| self.origin_index(name)).collect();
        let dims = unit.launch_dims();
        self.out.kernels.push(kernel);
        let (kernel, grid) = (self.out.units.len(), unit.grid().clone());
        self.out.units.push(unit);
        let launch = Launch { kernel, args, dims, grid, label, origins, flops, bytes, library: None };
        self.out.steps.push(Step::Launch(launch));
        Ok(())
    }

    pub(crate) fn origin_index(&mut self, name: String) -> usize {
        let next = self.out.origins.len();
        let index = *self.origins.entry(name.clone()).or_insert(next);
        if index == next {
            self.out.origins.push(name);
        }
        index
    }

    fn bind(&mut self, g: &Graph, wire: Wire, dims: &[Dim], views: &mut Views) -> Result<(), String> {
        let from = self.view(g, g.operand(wire.node, 0), views);
        let from = self.contiguous(&from);
        let mut symbols = Vec::new();
        for d in dims {
            // Elements that are not new symbols are skipped under names of their own.
            let new =
                d.as_symbol().filter(|s| !self.symbols.contains(*s) && !symbols.contains(&s.to_string()));
            symbols.push(match new {
                Some(s) => s.to_string(),
                None => {
                    self.fresh += 1;
                    format!("skipped.{}", self.fresh)
                }
            });
        }
        if !symbols.is_empty() {
            self.out.steps.push(Step::Bind { buffer: from.buffer, symbols });
        }
        views.insert(wire, View { ty: g.ty(wire).clone(), ..from });
        Ok(())
    }

    fn unsupported(&mut self, g: &Graph, id: NodeId, reason: String) {
        let node = g.node(id);
        let origin = self.origin.names().collect::<Vec<_>>().join(", ");
        self.out.unsupported.push(Unsupported {
            op: node.op.name().to_string(),
            ty: node.types.first().map(Type::to_string).unwrap_or_default(),
            origin,
            reason,
        });
    }
}

/// The name of a kernel that does what `op` says.
fn identifier(op: &str) -> String {
    let text: String = op.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.is_empty() { "copy".into() } else { text }
}
