//! Choice and repetition as steps with steps inside.
//!
//! A region's own symbols (those of its inputs' shapes) are replaced by the dimensions of what it is given,
//! so all steps speak of the same symbols. A dimension that depends on the branch taken or on the iteration
//! is a symbol that a `set` step, or the loop itself, gives its value.
use super::trace::Why;
use super::{Lowerer, View, Views};
use sardonyx_ir::{Graph, NodeId, Op, Type, Value as Wire};
use sardonyx_runtime::manifest::{BufferIndex, Carried, Loop, Place, Scan, Step, Trip};
use sardonyx_tensor::Dim;
use std::collections::{HashMap, HashSet};

impl Lowerer<'_> {
    pub(super) fn control(&mut self, g: &Graph, id: NodeId, views: &mut Views) -> Result<(), Why> {
        let operands: Vec<View> = g.operands(id).map(|v| self.view(g, v, views)).collect();
        let types = &g.node(id).types;
        let results = match &g.node(id).op {
            Op::If { then, otherwise, .. } => self.choice([then, otherwise], &operands, types)?,
            Op::Loop { body, carried, .. } => {
                let carried =
                    usize::try_from(*carried).expect("the type rule should have accepted the count");
                self.repetition(body, carried, &operands, types)?
            }
            op => panic!("bug: {} has no steps inside", op.name()),
        };
        for (port, view) in results.into_iter().enumerate() {
            views.insert(Wire { node: id, port: 0 }.port(port), view);
        }
        Ok(())
    }

    /// Runs `f` and takes the steps it appended.
    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Why>) -> Result<(Vec<Step>, T), Why> {
        let outer = std::mem::take(&mut self.out.steps);
        let result = f(self);
        let inner = std::mem::replace(&mut self.out.steps, outer);
        Ok((inner, result?))
    }

    /// Gives the symbols of `ty` that are new the values they have in a value of type `actual`.
    fn set_symbols(&mut self, ty: &Type, actual: &Type) {
        for (d, value) in ty.shape.iter().zip(&actual.shape) {
            if let Some(symbol) = d.as_symbol().filter(|s| d != value && !self.symbols.contains(*s)) {
                self.out.steps.push(Step::Set { symbol: symbol.to_string(), value: value.clone() });
            }
        }
    }

    fn choice(&mut self, branches: [&Graph; 2], operands: &[View], types: &[Type]) -> Result<Vec<View>, Why> {
        let (condition, captures) = operands.split_first().ok_or("a choice without a condition")?;
        let condition = self.contiguous(condition).buffer;
        let results: Vec<View> = types.iter().map(|t| self.temporary(t.clone())).collect();
        let mut steps = Vec::new();
        for branch in branches {
            let branch = closed(branch, captures)?;
            let (inner, ()) = self.nested(|l| {
                let given = l.graph(&branch, captures, &HashMap::new());
                let pairs = given.iter().zip(&results);
                pairs.clone().for_each(|(from, to)| l.set_symbols(&to.ty, &from.ty));
                pairs.for_each(|(from, to)| l.assign(from, to));
                Ok(())
            })?;
            steps.push(inner);
        }
        let [then, otherwise] = <[Vec<Step>; 2]>::try_from(steps).expect("a choice should have two branches");
        self.out.steps.push(Step::If { condition, then, otherwise });
        Ok(results)
    }

    fn repetition(
        &mut self,
        body: &Graph,
        carried: usize,
        operands: &[View],
        types: &[Type],
    ) -> Result<Vec<View>, Why> {
        let (trip, initial) = (self.contiguous(&operands[0]).buffer, &operands[1..2 + carried]);
        let iteration = self.temporary(operands[0].ty.clone());
        // The condition is carried like every other value.
        let mut states = vec![self.temporary(initial[0].ty.clone())];
        states.extend(types[..carried].iter().zip(&initial[1..]).map(|(ty, from)| {
            let dims = ty.shape.iter().zip(&from.ty.shape);
            let shape =
                dims.map(|(d, start)| if d == start { d.clone() } else { self.fresh_symbol() }).collect();
            self.temporary(ty.with_shape(shape))
        }));
        for (from, to) in initial.iter().zip(&states) {
            self.set_symbols(&to.ty, &from.ty);
            self.copy_into(from, to);
        }
        let inputs: Vec<View> =
            std::iter::once(&iteration).chain(&states).chain(&operands[2 + carried..]).cloned().collect();
        let body = closed(body, &inputs)?;
        let stacked = &types[carried..];
        let (steps, (next, slices)) = self.nested(|l| {
            let given = l.graph(&body, &inputs, &HashMap::new());
            let (next, slices) = given.split_at(1 + carried);
            for (view, ty) in slices.iter().zip(stacked) {
                l.set_symbols(&ty.with_shape(ty.shape[1..].to_vec()), &view.ty);
            }
            let next: Vec<View> = next.iter().zip(&states).map(|(v, own)| l.apart(v, own, &states)).collect();
            let slices: Vec<View> = slices.iter().map(|v| l.contiguous(v)).collect();
            Ok((next, slices))
        })?;
        let wholes: Vec<View> = stacked.iter().map(|ty| self.temporary(ty.clone())).collect();
        let count = stacked.first().and_then(|ty| ty.shape[0].as_symbol()).map(String::from);
        let scan = |(whole, slice): (&View, &View)| Scan {
            whole: whole.buffer,
            slice: slice.buffer,
            reverse: false,
        };
        self.out.steps.push(Step::Loop(Box::new(Loop {
            trip: Some(Trip::Buffer(trip)),
            condition: Some(states[0].buffer),
            iteration: Some(iteration.buffer),
            count,
            carried: states.iter().zip(&next).map(|(state, next)| hand_over(state, next)).collect(),
            scan_inputs: Vec::new(),
            scan_outputs: wholes.iter().zip(&slices).map(scan).collect(),
            body: steps,
        })));
        let finals = states[1..].iter().zip(types).map(|(state, ty)| {
            self.set_symbols(ty, &state.ty);
            View { ty: ty.clone(), ..state.clone() }
        });
        Ok(finals.collect::<Vec<_>>().into_iter().chain(wholes).collect())
    }

    fn fresh_symbol(&mut self) -> Dim {
        self.fresh += 1;
        Dim::symbol(&format!("state.{}", self.fresh))
    }

    /// As `assign`, for a value that may be the whole of another state.
    fn copy_into(&mut self, from: &View, to: &View) {
        let src = self.contiguous(from).buffer;
        self.out.steps.push(Step::Copy { src, dst: to.buffer });
    }

    /// What an iteration hands to the next, in memory that no hand-over of another value overwrites, and of
    /// a size that stays while the symbols of the states change.
    fn apart(&mut self, view: &View, own: &View, states: &[View]) -> View {
        if view.buffer == own.buffer && view.is_contiguous() && view.offset == Dim::ZERO {
            return view.clone();
        }
        let (root, grows) = (self.root(view.buffer), view.ty.shape != own.ty.shape);
        if states.iter().all(|s| s.buffer != root) && !grows {
            return self.contiguous(view);
        }
        let dims = view.ty.shape.iter().zip(&own.ty.shape);
        let shape = dims.map(|(d, state)| if d == state { d.clone() } else { self.fresh_symbol() }).collect();
        let copy = self.temporary(view.ty.with_shape(shape));
        self.set_symbols(&copy.ty, &view.ty);
        if view.is_contiguous() {
            self.copy_into(view, &copy)
        } else {
            self.assign(view, &copy)
        }
        copy
    }

    /// The buffer that a buffer is a part of.
    fn root(&self, mut buffer: BufferIndex) -> BufferIndex {
        while let Place::Alias { of, .. } = self.out.buffers[buffer].place {
            buffer = of;
        }
        buffer
    }
}

fn hand_over(state: &View, next: &View) -> Carried {
    let dims = state.ty.shape.iter().zip(&next.ty.shape);
    let changed = dims
        .filter(|(d, new)| d != new)
        .filter_map(|(d, new)| Some((d.as_symbol()?.to_string(), new.clone())));
    Carried { state: state.buffer, next: next.buffer, resize: changed.collect() }
}

/// A region with its own symbols replaced by the dimensions of what it is given.
fn closed(region: &Graph, inputs: &[View]) -> Result<Graph, Why> {
    let mut names: HashMap<String, Dim> = HashMap::new();
    for (v, given) in region.inputs().zip(inputs) {
        for (d, actual) in region.ty(v).shape.iter().zip(&given.ty.shape) {
            if let Some(symbol) = d.as_symbol() {
                names.entry(symbol.to_string()).or_insert_with(|| actual.clone());
            }
        }
    }
    let types: Vec<Type> = inputs.iter().map(|v| v.ty.clone()).collect();
    renamed(region, &names, Some(&types))
}

/// A region with symbols replaced, in the regions inside of it too as far as they come from outside.
fn renamed(region: &Graph, names: &HashMap<String, Dim>, inputs: Option<&[Type]>) -> Result<Graph, Why> {
    let substitute = |d: &Dim| d.substitute(|s| names.get(s).cloned());
    let places: HashMap<NodeId, usize> = region.inputs().enumerate().map(|(i, v)| (v.node, i)).collect();
    region.rebuild(|new, id, node, operands| {
        if let Op::Input { name } = &node.op {
            let own = &node.types[0];
            let own = own.with_shape(own.shape.iter().map(substitute).collect());
            return Ok(new.input(name, inputs.map_or(own, |types| types[places[&id]].clone())));
        }
        let mut op = node.op.clone();
        op.map_dims(&mut |d| substitute(d));
        for inner in op.regions_mut() {
            let own: HashSet<&str> =
                inner.inputs().flat_map(|v| inner.ty(v).shape.iter().filter_map(Dim::as_symbol)).collect();
            let outer = names.iter().filter(|(s, _)| !own.contains(s.as_str()));
            let outer = outer.map(|(s, d)| (s.clone(), d.clone())).collect();
            let new = renamed(inner, &outer, None)?;
            *inner = new;
        }
        new.add(op, operands)
    })
}
