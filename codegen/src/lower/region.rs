//! Regions of pointwise, movement and reduction ops as map and rows kernels.
use super::trace::{Anchor, Source, Tracer, Why, literal, reduced_axes};
use super::{Lowerer, View, Views, expand};
use crate::kernel::Kernel;
use crate::kernel::body::Store;
use crate::kernel::pointwise::{Map, Rows};
use sardonyx_ir::{Graph, NodeId, Op, Value as Wire};
use sardonyx_runtime::manifest::{Buffer, BufferIndex, Place};
use sardonyx_tensor::{DType, Dim};
use std::collections::HashMap;

/// A map kernel has at most this many arguments: the work of a point follows their number.
const MAX_ARGUMENTS: usize = 64;

impl Lowerer<'_> {
    /// A fused region, or a node alone as a region of one.
    pub(super) fn region_node(
        &mut self,
        g: &Graph,
        id: NodeId,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<(), Why> {
        let node = g.node(id);
        let (body, operands) = match &node.op {
            Op::Fused { body } => (named_as_outside(body, g, id), g.operands(id).collect::<Vec<_>>()),
            _ => alone(g, id),
        };
        let inputs: Vec<View> = operands.into_iter().map(|o| self.view(g, o, views)).collect();
        let wires: Vec<Wire> = (0..node.types.len()).map(|p| Wire { node: id, port: 0 }.port(p)).collect();
        let buffers: HashMap<Wire, BufferIndex> = body
            .outputs()
            .iter()
            .zip(&wires)
            .filter_map(|(&inner, outer)| Some((inner, *wanted.get(outer)?)))
            .collect();
        let results = self.region(&body, &inputs, &buffers)?;
        for ((wire, view), ty) in wires.into_iter().zip(results).zip(&node.types) {
            // The types agree but for symbols that the run requires to be equal.
            views.insert(wire, View { ty: ty.clone(), ..view });
        }
        Ok(())
    }

    /// The results of a region as one kernel, or node by node if no kernel does it.
    pub(super) fn region(
        &mut self,
        body: &Graph,
        inputs: &[View],
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<Vec<View>, Why> {
        let expanded = expand::expand(body);
        let g = expanded.as_ref().unwrap_or(body);
        let label = label(body);
        let wanted: HashMap<Wire, BufferIndex> = body
            .outputs()
            .iter()
            .zip(g.outputs())
            .filter_map(|(old, &new)| Some((new, *wanted.get(old)?)))
            .collect();
        let before = (self.out.steps.len(), self.out.units.len());
        match self.kernel(g, inputs, &wanted, &label) {
            Ok(views) => Ok(views),
            Err(why) => {
                self.out.steps.truncate(before.0);
                self.out.units.truncate(before.1);
                self.out.kernels.truncate(before.1);
                let nodes = g.order().into_iter().filter(|&id| !is_leaf(g, id)).count();
                if nodes < 2 { Err(why) } else { Ok(self.graph(g, inputs, &wanted)) }
            }
        }
    }

    fn kernel(
        &mut self,
        g: &Graph,
        inputs: &[View],
        wanted: &HashMap<Wire, BufferIndex>,
        label: &str,
    ) -> Result<Vec<View>, Why> {
        let order = g.order();
        let first = |id: NodeId| Wire { node: id, port: 0 };
        let contractions: Vec<Wire> = order
            .iter()
            .map(|&id| first(id))
            .filter(|&w| super::contraction::is_contraction(g.op(w)))
            .collect();
        if let [contraction] = contractions[..] {
            return self.contraction(g, contraction, inputs, wanted, label);
        }
        if !contractions.is_empty() {
            return Err("more than one contraction".into());
        }
        // Trailing reshapes and transposes of a result are views of it.
        let cores: Vec<Wire> = g.outputs().iter().map(|&o| core(g, o)).collect();
        let reduction = order.iter().map(|&id| first(id)).find(|&w| reduced_axes(g, w).is_some());
        if let ([core], [output], None) = (&cores[..], g.outputs(), reduction)
            && !(wanted.contains_key(output) && only_reshaped(g, *output))
        {
            let mut inner = g.clone();
            inner.set_outputs(vec![*core], vec![]);
            if let Some(view) = self.pointwise_by_channels(&inner, inputs, label) {
                return Ok(vec![moved_along(g, *core, *output, view?).ok_or("a result that is no view")?]);
            }
        }
        let mut buffers = Vec::new();
        let mut results: Vec<View> = Vec::new();
        for (&core, &output) in cores.iter().zip(g.outputs()) {
            let whole = match wanted.get(&output).filter(|_| only_reshaped(g, output)) {
                Some(&buffer) => View::whole(buffer, g.ty(core).clone()),
                None => self.temporary(g.ty(core).clone()),
            };
            buffers.push(whole.buffer);
            results.push(moved_along(g, core, output, whole).ok_or("a result that is no view")?);
        }
        let mut g = g.clone();
        g.set_outputs(cores, vec![]);
        match reduction {
            Some(reduction) => self.rows(&g, reduction, inputs, &buffers, label)?,
            None => match self.map(&g, inputs, &buffers, label) {
                Ok(()) => {}
                Err(why) if buffers.len() < 2 => return Err(why),
                Err(_) => {
                    for (k, &output) in g.outputs().iter().enumerate() {
                        let mut one = g.clone();
                        one.set_outputs(vec![output], vec![]);
                        self.map(&one, inputs, &buffers[k..=k], label)?;
                    }
                }
            },
        }
        Ok(results)
    }

    /// The arguments that views are read through, and where each view stands in them.
    pub(super) fn sources(&mut self, inputs: &[View]) -> (Vec<Source>, Vec<BufferIndex>) {
        let mut args: Vec<BufferIndex> = Vec::new();
        let mut places: HashMap<BufferIndex, usize> = HashMap::new();
        let mut sources = Vec::new();
        for view in inputs {
            if let Some(x) = self.tensor(view.buffer).filter(|t| t.len() == 1).and_then(literal) {
                sources.push(Source::Literal(x));
                continue;
            }
            let (buffer, offset) = match view.offset.known() {
                Some(0) => (view.buffer, Dim::ZERO),
                _ => (self.alias(view), Dim::ZERO),
            };
            let next = args.len();
            let arg = *places.entry(buffer).or_insert(next);
            if arg == next {
                args.push(buffer);
            }
            sources.push(Source::Argument { arg, offset, strides: view.strides.clone() });
        }
        (sources, args)
    }

    /// A map kernel over the shape of the first output.
    pub(super) fn map(
        &mut self,
        g: &Graph,
        inputs: &[View],
        outputs: &[BufferIndex],
        label: &str,
    ) -> Result<(), Why> {
        let (sources, mut args) = self.sources(inputs);
        if args.len() > MAX_ARGUMENTS {
            return Err(format!("{} arguments of one kernel", args.len()));
        }
        let domain = g.ty(g.outputs()[0]).shape.clone();
        let dtypes: Vec<DType> = args.iter().map(|&a| self.out.buffers[a].dtype).collect();
        let mut tracer = Tracer::new(g, &sources, &dtypes, &domain, Anchor::None);
        let stores: Vec<Store> = g
            .outputs()
            .iter()
            .enumerate()
            .map(|(k, &o)| tracer.store(k, o, &domain))
            .collect::<Result<_, _>>()?;
        let (body, constants) = (tracer.body, tracer.constants);
        let map = Map { domain, body, stores }.simplify();
        let flops = Dim::product(&map.domain) * map.body.flops();
        self.add_constants(g, &constants, &mut args);
        args.extend(outputs);
        self.launch(Kernel::Map(map), label, args, g.ty(g.outputs()[0]), flops)
    }

    /// A rows kernel over the domain of a reduction.
    fn rows(
        &mut self,
        g: &Graph,
        reduction: Wire,
        inputs: &[View],
        outputs: &[BufferIndex],
        label: &str,
    ) -> Result<(), Why> {
        let (sources, mut args) = self.sources(inputs);
        let domain = g.ty(g.operand(reduction.node, 0)).shape.clone();
        let inner = reduced_axes(g, reduction).ok_or("not a reduction")?;
        let kept = |(d, inner): (&Dim, &bool)| if *inner { Dim::ONE } else { d.clone() };
        let row: Vec<Dim> = domain.iter().zip(&inner).map(kept).collect();
        let dtypes: Vec<DType> = args.iter().map(|&a| self.out.buffers[a].dtype).collect();
        let mut tracer = Tracer::new(g, &sources, &dtypes, &domain, Anchor::Reductions(inner.clone()));
        let mut stores = Vec::new();
        for (k, &o) in g.outputs().iter().enumerate() {
            let once =
                g.ty(o).elements() == Dim::product(&row) && g.ty(o).elements() != Dim::product(&domain);
            stores.push(tracer.store(k, o, if once { &row } else { &domain })?);
        }
        let (body, reductions, constants) = (tracer.body, tracer.reductions, tracer.constants);
        let rows = Rows { domain, inner, body, reductions, stores }.simplify();
        let flops = Dim::product(&rows.domain) * (rows.body.flops() + rows.reductions.len() as i64);
        self.add_constants(g, &constants, &mut args);
        args.extend(outputs);
        self.launch(Kernel::Rows(rows), label, args, g.ty(g.outputs()[0]), flops)
    }

    /// Constants of a region as further arguments.
    pub(super) fn add_constants(&mut self, g: &Graph, constants: &[Wire], args: &mut Vec<BufferIndex>) {
        for &wire in constants {
            let tensor = g.const_value(wire).expect("a constant of a region should have a value").clone();
            args.push(self.constant("constant", &tensor));
        }
    }

    fn alias(&mut self, view: &View) -> BufferIndex {
        let width = view.ty.dtype.size() as i64;
        let (offset, dtype) = (&view.offset * width, view.ty.dtype);
        *self.aliases.entry((view.buffer, offset.clone(), dtype)).or_insert_with(|| {
            let bytes = &self.out.buffers[view.buffer].bytes - &offset;
            let place = Place::Alias { of: view.buffer, offset };
            self.out.buffers.push(Buffer { dtype, shape: vec![], bytes, place });
            self.out.buffers.len() - 1
        })
    }
}

fn is_leaf(g: &Graph, id: NodeId) -> bool {
    matches!(g.node(id).op, Op::Input { .. } | Op::Const { .. })
}

/// The value that `wire` is a reshape or transpose of.
pub(super) fn core(g: &Graph, mut wire: Wire) -> Wire {
    while let Op::Reshape { .. } | Op::Transpose { .. } = g.op(wire) {
        let from = g.operand(wire.node, 0);
        if is_leaf(g, from.node) {
            break;
        }
        wire = from;
    }
    wire
}

/// Whether only reshapes stand between `wire` and its core.
pub(super) fn only_reshaped(g: &Graph, wire: Wire) -> bool {
    let end = core(g, wire);
    let mut at = wire;
    while at != end {
        if !matches!(g.op(at), Op::Reshape { .. }) {
            return false;
        }
        at = g.operand(at.node, 0);
    }
    true
}

/// The view of `wire`, given that of its core.
pub(super) fn moved_along(g: &Graph, core: Wire, wire: Wire, view: View) -> Option<View> {
    if wire == core {
        return Some(view);
    }
    let inner = moved_along(g, core, g.operand(wire.node, 0), view)?;
    inner.moved(g.op(wire), g.ty(wire))
}

/// A region of one node, and its operands.
fn alone(g: &Graph, id: NodeId) -> (Graph, Vec<Wire>) {
    let node = g.node(id);
    let mut body = Graph::new();
    let mut operands: Vec<Wire> = Vec::new();
    let mut inputs: HashMap<Wire, Wire> = HashMap::new();
    let mut inner: Vec<Wire> = Vec::new();
    for operand in g.operands(id) {
        inner.push(*inputs.entry(operand).or_insert_with(|| {
            operands.push(operand);
            body.input(&format!("x{}", operands.len()), g.ty(operand).clone())
        }));
    }
    body.origin = node.origin.clone();
    let first = body.add(node.op.clone(), &inner).unwrap_or_else(|e| panic!("bug: {e}"));
    body.set_outputs((0..node.types.len()).map(|p| first.port(p)).collect(), vec![]);
    (body, operands)
}

/// The body with the symbols of its inputs replaced by what they stand for.
fn named_as_outside(body: &Graph, g: &Graph, id: NodeId) -> Graph {
    let mut names: HashMap<String, Dim> = HashMap::new();
    for (v, o) in body.inputs().zip(g.operands(id)) {
        for (d, outer) in body.ty(v).shape.iter().zip(&g.ty(o).shape) {
            if let Some(s) = d.as_symbol().filter(|_| d != outer) {
                names.entry(s.to_string()).or_insert_with(|| outer.clone());
            }
        }
    }
    if names.is_empty() {
        return body.clone();
    }
    renamed(body, &|s| names.get(s).cloned())
}

/// A graph with symbols replaced.
pub(super) fn renamed(g: &Graph, name: &dyn Fn(&str) -> Option<Dim>) -> Graph {
    let new = g.rebuild(|new, _, node, operands| match &node.op {
        Op::Input { name: input } => {
            let ty = &node.types[0];
            let shape = ty.shape.iter().map(|d| d.substitute(name)).collect();
            Ok(new.input(input, ty.with_shape(shape)))
        }
        op => {
            let mut op = op.clone();
            op.map_dims(&mut |d| d.substitute(name));
            new.add(op, operands)
        }
    });
    new.unwrap_or_else(|e| panic!("bug: {e}"))
}

/// The ops of a region: `matmul+add+gelu`.
fn label(g: &Graph) -> String {
    let moves = |op: &Op| {
        matches!(
            op,
            Op::Input { .. }
                | Op::Const { .. }
                | Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Expand { .. }
        )
    };
    let order = g.order();
    let mut names: Vec<&str> = Vec::new();
    for &id in &order {
        let op = &g.node(id).op;
        if !moves(op) && (names.len() < 8 || super::contraction::is_contraction(op)) {
            names.push(op.name());
        }
    }
    if names.is_empty() {
        names.extend(order.iter().map(|&id| g.node(id).op.name()).filter(|n| *n != "input" && *n != "const"));
    }
    names.join("+")
}
