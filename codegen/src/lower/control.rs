//! Choice and repetition as steps with steps inside.
//!
//! Results and what an iteration hands to the next have buffers of their own, into which the values of a
//! region are copied. Where the shape of a result differs between branches or iterations, its type names
//! symbols that no input gives; a `set` step gives them their values before the copy.
use super::region::renamed;
use super::trace::Why;
use super::{Lowerer, View, Views};
use sardonyx_ir::{Graph, NodeId, Op, Type, Value as Wire};
use sardonyx_runtime::manifest::{Carried, Loop, Place, Scan, Step, Trip};
use sardonyx_tensor::{DType, Dim};
use std::collections::HashMap;

impl Lowerer<'_> {
    pub(super) fn control(&mut self, g: &Graph, id: NodeId, views: &mut Views) -> Result<(), Why> {
        let node = g.node(id);
        let operands: Vec<View> = g.operands(id).map(|o| self.view(g, o, views)).collect();
        self.depth += 1;
        let results = match &node.op {
            Op::If { then, otherwise, .. } => self.choice(&operands, [then, otherwise], &node.types),
            Op::Loop { body, carried, .. } => {
                self.repetition(&operands, body, *carried as usize, &node.types)
            }
            op => panic!("bug: {} is no control flow", op.name()),
        };
        self.depth -= 1;
        for (port, view) in results?.into_iter().enumerate() {
            views.insert(Wire { node: id, port: 0 }.port(port), view);
        }
        Ok(())
    }

    fn choice(&mut self, operands: &[View], branches: [&Graph; 2], types: &[Type]) -> Result<Vec<View>, Why> {
        let (condition, captures) = operands.split_first().ok_or("a choice without a condition")?;
        let condition = self.contiguous(condition).buffer;
        let results: Vec<View> = types.iter().map(|ty| self.temporary(ty.clone())).collect();
        let mut lists = Vec::new();
        for branch in branches {
            let outer = std::mem::take(&mut self.out.steps);
            let branch = bound(branch, captures);
            let values = self.graph(&branch, captures, &HashMap::new());
            self.give_sizes(types, &values);
            for (value, result) in values.iter().zip(&results) {
                self.assign(value, result);
            }
            lists.push(std::mem::replace(&mut self.out.steps, outer));
        }
        let otherwise = lists.pop().unwrap_or_default();
        let then = lists.pop().unwrap_or_default();
        self.out.steps.push(Step::If { condition, then, otherwise });
        Ok(results)
    }

    /// Gives the symbols that stand alone in `types`, and that nothing else gives, the sizes of `values`.
    fn give_sizes(&mut self, types: &[Type], values: &[View]) {
        let mut given: Vec<String> = Vec::new();
        for (ty, view) in types.iter().zip(values) {
            for (d, actual) in ty.shape.iter().zip(&view.ty.shape) {
                let Some(symbol) = d.as_symbol().filter(|s| !self.symbols.contains(*s)) else { continue };
                if d != actual && !given.iter().any(|s| s == symbol) {
                    given.push(symbol.to_string());
                    self.out.steps.push(Step::Set { symbol: symbol.to_string(), value: actual.clone() });
                }
            }
        }
    }

    fn repetition(
        &mut self,
        operands: &[View],
        body: &Graph,
        carried: usize,
        types: &[Type],
    ) -> Result<Vec<View>, Why> {
        let (initial, captures) = (&operands[2..2 + carried], &operands[2 + carried..]);
        let trip = self.contiguous(&operands[0]).buffer;
        // The state of a carried value; symbols of its type that the operand has not are sizes of the state.
        self.give_sizes(types, initial);
        let states: Vec<View> = types[..carried].iter().map(|ty| self.temporary(ty.clone())).collect();
        for (value, state) in initial.iter().zip(&states) {
            self.assign(value, state);
        }
        let condition = self.temporary(Type::scalar(DType::Bool));
        self.assign(&operands[1], &condition);
        let iteration = self.temporary(Type::scalar(DType::I64));

        let outer = std::mem::take(&mut self.out.steps);
        let mut inputs = vec![iteration.clone(), condition.clone()];
        inputs.extend(states.iter().cloned());
        inputs.extend(captures.iter().cloned());
        let body = bound(body, &inputs);
        let values = self.graph(&body, &inputs, &HashMap::new());
        let list = self.carried(&inputs[1..2 + carried], &values[..1 + carried]);
        let slices: Vec<View> = values[1 + carried..].iter().map(|v| self.settled(v, &[])).collect();
        let rows: Vec<Type> = types[carried..].iter().map(|t| t.with_shape(t.shape[1..].to_vec())).collect();
        self.give_sizes(&rows, &slices);
        let steps = std::mem::replace(&mut self.out.steps, outer);

        let mut results = states;
        let mut scan_outputs = Vec::new();
        let mut count = None;
        for (slice, ty) in slices.iter().zip(&types[carried..]) {
            count = count.or(ty.shape[0].as_symbol().map(String::from));
            let whole = self.temporary(ty.clone());
            scan_outputs.push(Scan { whole: whole.buffer, slice: slice.buffer, reverse: false });
            results.push(whole);
        }
        // Without an iteration no row has a size.
        for symbol in rows.iter().flat_map(|t| &t.shape).filter_map(Dim::as_symbol) {
            if !self.symbols.contains(symbol) && Some(symbol) != count.as_deref() {
                self.out.steps.push(Step::Set { symbol: symbol.to_string(), value: Dim::ZERO });
            }
        }
        self.out.steps.push(Step::Loop(Box::new(Loop {
            trip: Some(Trip::Buffer(trip)),
            condition: Some(condition.buffer),
            iteration: Some(iteration.buffer),
            count,
            carried: list,
            scan_inputs: vec![],
            scan_outputs,
            body: steps,
        })));
        Ok(results)
    }

    /// What an iteration hands to the next: `values` become the new `states`.
    fn carried(&mut self, states: &[View], values: &[View]) -> Vec<Carried> {
        let mut list = Vec::new();
        for (state, value) in states.iter().zip(values) {
            let others: Vec<usize> = states.iter().map(|s| s.buffer).filter(|&b| b != state.buffer).collect();
            let (next, resize) = match self.resized(state, value) {
                Some(resized) => resized,
                None => (self.settled(value, &others), vec![]),
            };
            list.push(Carried { state: state.buffer, next: next.buffer, resize });
        }
        list
    }

    /// A value that becomes a state of another size: a copy whose sizes have names of their own, as those of
    /// the state change before it is read.
    fn resized(&mut self, state: &View, value: &View) -> Option<(View, Vec<(String, Dim)>)> {
        let mut shape = Vec::new();
        let mut resize = Vec::new();
        for (s, n) in state.ty.shape.iter().zip(&value.ty.shape) {
            match s.as_symbol().filter(|symbol| s != n && !self.symbols.contains(*symbol)) {
                Some(symbol) => {
                    self.fresh += 1;
                    let name = format!("next.{}", self.fresh);
                    self.out.steps.push(Step::Set { symbol: name.clone(), value: n.clone() });
                    resize.push((symbol.to_string(), Dim::symbol(&name)));
                    shape.push(Dim::symbol(&name));
                }
                None => shape.push(n.clone()),
            }
        }
        if resize.is_empty() {
            return None;
        }
        let copy = self.temporary(value.ty.with_shape(shape));
        self.assign(value, &copy);
        Some((copy, resize))
    }

    /// A value as a whole buffer that is none of `others`, which change before it is read.
    fn settled(&mut self, view: &View, others: &[usize]) -> View {
        let whole = self.contiguous(view);
        let mut root = whole.buffer;
        while let Place::Alias { of, .. } = self.out.buffers[root].place {
            root = of;
        }
        if !others.contains(&root) && whole.offset == Dim::ZERO {
            return whole;
        }
        let copy = self.temporary(view.ty.clone());
        self.assign(&whole, &copy);
        copy
    }
}

/// A region with the symbols of its inputs replaced by the sizes of what it is given.
fn bound(region: &Graph, inputs: &[View]) -> Graph {
    let mut names: HashMap<String, Dim> = HashMap::new();
    for (v, given) in region.inputs().zip(inputs) {
        for (d, actual) in region.ty(v).shape.iter().zip(&given.ty.shape) {
            if let Some(s) = d.as_symbol().filter(|_| d != actual) {
                names.entry(s.to_string()).or_insert_with(|| actual.clone());
            }
        }
    }
    if names.is_empty() { region.clone() } else { renamed(region, &|s| names.get(s).cloned()) }
}
