//! Tracing of ops that make, move or repeat elements: coordinates of the result become those of operands.
use super::trace::{Tracer, Why};
use crate::kernel::body::{Value, ValueId};
use crate::kernel::index::Index;
use crate::kernel::row_major;
use sardonyx_ir::ops::attribute::PadMode;
use sardonyx_ir::scalar::Scalar;
use sardonyx_ir::{Op, Value as Wire};
use sardonyx_tensor::{DType, Dim};

impl Tracer<'_> {
    pub(super) fn moved(&mut self, wire: Wire, at: &[Index], guard: Option<ValueId>) -> Result<ValueId, Why> {
        let graph = self.graph();
        let ty = graph.ty(wire);
        let first = || graph.operand(wire.node, 0);
        match graph.op(wire) {
            Op::Bind { .. } => self.pull(first(), at.to_vec(), guard),
            Op::Iota { to, .. } => Ok(self.position(at[0].clone(), *to)),
            Op::Dims { values } => self.picked(values, &at[0]),
            Op::Reshape { .. } => {
                let linear = Index::position(at, &row_major(&ty.shape));
                let from = linear.unravel(&graph.ty(first()).shape, &self.domain);
                self.pull(first(), from, guard)
            }
            Op::Transpose { perm } => {
                let mut from = vec![Index::default(); at.len()];
                perm.iter().zip(at).for_each(|(&p, i)| from[p as usize] = i.clone());
                self.pull(first(), from, guard)
            }
            Op::Expand { .. } => {
                let shape = &graph.ty(first()).shape;
                let pairs = at[at.len() - shape.len()..].iter().zip(shape);
                let from = pairs.map(|(i, d)| if *d == Dim::ONE { Index::default() } else { i.clone() });
                self.pull(first(), from.collect(), guard)
            }
            Op::Slice { starts, steps, .. } => {
                let pairs = at.iter().zip(starts.iter().zip(steps));
                let from = pairs.map(|(i, (start, step))| i.scaled(&Dim::from(*step)).shifted(start));
                self.pull(first(), from.collect(), guard)
            }
            Op::Concat { axis } => {
                let axis = ty.axis(*axis).expect("the type rule should have accepted the axis");
                self.concat(wire, at, axis, guard)
            }
            Op::Pad { before, mode, .. } => self.pad(wire, at, before, *mode, guard),
            Op::Gather { axis } => {
                let x = graph.ty(first());
                let axis = x.axis(*axis).expect("the type rule should have accepted the axis");
                let indices = graph.operand(wire.node, 1);
                let rank = graph.ty(indices).rank();
                let picked = self.pull(indices, at[axis..axis + rank].to_vec(), guard)?;
                let coordinate = self.wrapped(picked, &x.shape[axis]);
                let from = [&at[..axis], &[coordinate], &at[axis + rank..]].concat();
                self.pull(first(), from, guard)
            }
            Op::GatherElements { axis } => {
                let x = graph.ty(first());
                let axis = x.axis(*axis).expect("the type rule should have accepted the axis");
                let picked = self.pull(graph.operand(wire.node, 1), at.to_vec(), guard)?;
                let mut from = at.to_vec();
                from[axis] = self.wrapped(picked, &x.shape[axis]);
                self.pull(first(), from, guard)
            }
            Op::GatherNd { batch_dims } => self.gather_nd(wire, at, *batch_dims as usize, guard),
            op => Err(format!("{} is no pointwise or movement op", op.name())),
        }
    }

    /// One of some dimensions, chosen by an index.
    fn picked(&mut self, values: &[Dim], at: &Index) -> Result<ValueId, Why> {
        if at.terms.is_empty()
            && let Some(k) = at.constant.known()
        {
            return Ok(self.position(Index::constant(&values[k as usize]), DType::I64));
        }
        if values.len() > 64 {
            return Err("more dimensions than a kernel chooses among".into());
        }
        let place = self.position(at.clone(), DType::I64);
        let mut result = self.number(0.0, DType::I64);
        for (k, value) in values.iter().enumerate().rev() {
            let value = self.position(Index::constant(value), DType::I64);
            let f = Scalar::build(3, |_, x| x[0].eq(k as f64).select(x[1], x[2]));
            result = self.body.add(Value::Apply { f, args: vec![place, value, result] }, DType::I64);
        }
        Ok(result)
    }

    /// An index as given to a gather, negative from the end, as a coordinate in `0..extent`.
    fn wrapped(&mut self, picked: ValueId, extent: &Dim) -> Index {
        let n = self.position(Index::constant(extent), DType::I64);
        let f = Scalar::build(2, |_, x| {
            let i = x[0].cast(DType::I64);
            i.lt(0.0).select(i + x[1], i).min(x[1] - 1.0).max(0.0)
        });
        let id = self.body.add(Value::Apply { f, args: vec![picked, n] }, DType::I64);
        Index::value(id, extent.clone())
    }

    fn gather_nd(
        &mut self,
        wire: Wire,
        at: &[Index],
        batch: usize,
        guard: Option<ValueId>,
    ) -> Result<ValueId, Why> {
        let graph = self.graph();
        let (x, indices) = (graph.operand(wire.node, 0), graph.operand(wire.node, 1));
        let shape = &graph.ty(indices).shape;
        let lead = shape.len() - 1;
        let depth = shape[lead].known().ok_or("the depth of gather_nd's indices is not known")?;
        let mut from = at[..batch].to_vec();
        for k in 0..depth {
            let place = [&at[..lead], &[Index::constant(k)]].concat();
            let picked = self.pull(indices, place, guard)?;
            let extent = graph.ty(x).shape[batch + k as usize].clone();
            from.push(self.wrapped(picked, &extent));
        }
        from.extend_from_slice(&at[lead..]);
        self.pull(x, from, guard)
    }

    fn concat(
        &mut self,
        wire: Wire,
        at: &[Index],
        axis: usize,
        guard: Option<ValueId>,
    ) -> Result<ValueId, Why> {
        let graph = self.graph();
        let operands: Vec<Wire> = graph.operands(wire.node).collect();
        let dtype = graph.ty(wire).dtype;
        let mut begin = Dim::ZERO;
        let mut parts = Vec::new();
        for (k, &operand) in operands.iter().enumerate() {
            let end = &begin + &graph.ty(operand).shape[axis];
            let mut here = guard;
            if k > 0 {
                here = self.guarded(here, &at[axis], &begin, false);
            }
            if k + 1 < operands.len() {
                here = self.guarded(here, &at[axis], &end, true);
            }
            let mut from = at.to_vec();
            from[axis] = at[axis].shifted(&-&begin);
            parts.push((self.pull(operand, from, here)?, end.clone()));
            begin = end;
        }
        let (mut result, _) = parts.pop().ok_or("a concat of nothing")?;
        for (part, end) in parts.into_iter().rev() {
            result = match self.guarded(None, &at[axis], &end, true) {
                None => part,
                Some(here) => {
                    let f = Scalar::build(3, |_, x| x[0].select(x[1], x[2]));
                    self.body.add(Value::Apply { f, args: vec![here, part, result] }, dtype)
                }
            };
        }
        Ok(result)
    }

    /// `guard` and `index < bound` (or `index >= bound`).
    fn guarded(
        &mut self,
        guard: Option<ValueId>,
        index: &Index,
        bound: &Dim,
        below: bool,
    ) -> Option<ValueId> {
        if below && index.below(bound, &self.domain)
            || !below && index.shifted(&-bound).not_negative(&self.domain)
        {
            return guard;
        }
        let place = self.position(index.clone(), DType::I64);
        let bound = self.position(Index::constant(bound), DType::I64);
        let f = Scalar::build(2, |_, x| if below { x[0].lt(x[1]) } else { x[1].le(x[0]) });
        let holds = self.body.add(Value::Apply { f, args: vec![place, bound] }, DType::Bool);
        Some(match guard {
            Some(guard) => {
                let f = Scalar::build(2, |_, x| x[0].and(x[1]));
                self.body.add(Value::Apply { f, args: vec![guard, holds] }, DType::Bool)
            }
            None => holds,
        })
    }

    fn pad(
        &mut self,
        wire: Wire,
        at: &[Index],
        before: &[Dim],
        mode: PadMode,
        guard: Option<ValueId>,
    ) -> Result<ValueId, Why> {
        let graph = self.graph();
        let (x, fill) = (graph.operand(wire.node, 0), graph.operand(wire.node, 1));
        let shape = graph.ty(x).shape.clone();
        let mut from = Vec::with_capacity(at.len());
        let mut inside = None;
        for ((i, by), extent) in at.iter().zip(before).zip(&shape) {
            let moved = i.shifted(&-by);
            if moved.within(extent, &self.domain) {
                from.push(moved);
            } else if mode == PadMode::Constant {
                inside = self.guarded(inside, &moved, &Dim::ZERO, false);
                inside = self.guarded(inside, &moved, extent, true);
                from.push(moved);
            } else {
                from.push(self.folded(moved, extent, mode));
            }
        }
        let Some(inside) = inside else { return self.pull(x, from, guard) };
        let both = match guard {
            Some(guard) => {
                let f = Scalar::build(2, |_, x| x[0].and(x[1]));
                self.body.add(Value::Apply { f, args: vec![guard, inside] }, DType::Bool)
            }
            None => inside,
        };
        let fill = self.pull(fill, vec![], guard)?;
        let element = self.pull(x, from, Some(both))?;
        let f = Scalar::build(3, |_, x| x[0].select(x[1], x[2]));
        Ok(self.body.add(Value::Apply { f, args: vec![inside, element, fill] }, graph.ty(wire).dtype))
    }

    /// The coordinate from which a coordinate outside of `0..extent` takes its element.
    fn folded(&mut self, at: Index, extent: &Dim, mode: PadMode) -> Index {
        let place = self.position(at, DType::I64);
        let n = self.position(Index::constant(extent), DType::I64);
        let f = Scalar::build(2, |_, x| match mode {
            PadMode::Wrap => x[0].modulo(x[1]),
            PadMode::Reflect => {
                let period = (2.0 * (x[1] - 1.0)).max(1.0);
                let p = x[0].modulo(period);
                p.min(period - p).min(x[1] - 1.0)
            }
            _ => x[0].min(x[1] - 1.0).max(0.0),
        });
        let id = self.body.add(Value::Apply { f, args: vec![place, n] }, DType::I64);
        Index::value(id, extent.clone())
    }
}
