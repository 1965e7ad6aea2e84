//! The values of a kernel's body as nest expressions, each computed in the outermost loop that it allows.
use crate::kernel::body::{Body, Value, ValueId};
use crate::kernel::index::{Atom, Index};
use crate::nest::{Buf, Builder, Expr, Ty};
use sardonyx_ir::scalar::{Node, Prim, Scalar};
use sardonyx_tensor::Dim;
use std::collections::HashMap;

/// A place in the loops over a domain: which axes have a coordinate, which values are computed.
pub struct Point<'a, 'b> {
    /// The builder of the nest.
    pub b: &'b Builder,
    body: &'a Body,
    inputs: Vec<Buf>,
    axes: Vec<Option<Expr<'b>>>,
    /// The axis along which it stands for several neighbouring points, and their number.
    lanes: Option<(usize, u32)>,
    varies: Vec<u64>,
    known: HashMap<ValueId, Expr<'b>>,
}

impl<'a, 'b> Point<'a, 'b> {
    /// A place outside of all loops; declares the inputs. `row` is the set of axes that accumulators vary
    /// with.
    pub fn new(b: &'b Builder, body: &'a Body, rank: usize, row: u64) -> Point<'a, 'b> {
        let inputs = body.args.iter().enumerate().map(|(k, &t)| b.input(&format!("in{k}"), t)).collect();
        let (axes, known) = (vec![None; rank], HashMap::new());
        Point { b, body, inputs, axes, lanes: None, varies: body.axes(row), known }
    }

    /// Runs `f` with coordinates along some axes; what it computes is forgotten after it.
    pub fn with_axes(
        &mut self,
        axes: impl IntoIterator<Item = (usize, Expr<'b>)>,
        f: impl FnOnce(&mut Self),
    ) {
        let before = self.axes.clone();
        axes.into_iter().for_each(|(k, at)| self.axes[k] = Some(at));
        self.scope(f);
        self.axes = before;
    }
    /// Runs `f` at `lanes` neighbouring points along an axis, the first of them at `at`: what varies along it has
    /// that many lanes. [`vector::lanes`](super::gpu::vector::lanes) says where that is possible.
    pub fn with_lanes(&mut self, axis: usize, at: Expr<'b>, lanes: u32, f: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.lanes, (lanes > 1).then_some((axis, lanes)));
        self.with_axes([(axis, at)], f);
        self.lanes = before;
    }
    /// Runs `f` with what it computed in earlier runs, which `memory` keeps.
    pub fn resume(&mut self, memory: &mut HashMap<ValueId, Expr<'b>>, f: impl FnOnce(&mut Self)) {
        let before = self.known.clone();
        self.known.extend(std::mem::take(memory));
        f(self);
        *memory = std::mem::replace(&mut self.known, before);
    }
    /// Runs `f`; what it computes is forgotten after it.
    pub fn scope(&mut self, f: impl FnOnce(&mut Self)) {
        let known = self.known.clone();
        f(self);
        self.known = known;
    }
    /// Computes those of `ids` that vary only with axes which have a coordinate.
    pub fn prepare(&mut self, ids: &[ValueId]) {
        let bound =
            (0..self.axes.len()).filter(|&k| self.axes[k].is_some()).fold(0, |set, k| set | 1u64 << k);
        for &id in ids {
            if self.varies[id] & !bound == 0 {
                self.value(id);
            }
        }
    }
    /// Says what a value is, so that it is not computed.
    pub fn define(&mut self, id: ValueId, value: Expr<'b>) {
        self.known.insert(id, value);
    }
    /// The coordinate along an axis.
    pub fn coordinate(&self, axis: usize) -> Expr<'b> {
        self.axes[axis].expect("an axis should have a coordinate where it is used")
    }
    /// The buffer of an argument.
    pub fn input(&self, arg: usize) -> Buf {
        self.inputs[arg]
    }
    /// The axes a value varies with.
    pub fn varies(&self, id: ValueId) -> u64 {
        self.varies[id]
    }
    /// The axes every value varies with.
    pub fn variation(&self) -> &[u64] {
        &self.varies
    }

    /// A value at this place.
    pub fn value(&mut self, id: ValueId) -> Expr<'b> {
        if let Some(&e) = self.known.get(&id) {
            return e;
        }
        let body = self.body;
        let e = match &body.values[id].0 {
            Value::Load { arg, index, guard } => {
                let buf = self.inputs[*arg];
                let lanes = self.lanes_of(index);
                match guard.map(|g| self.value(g)) {
                    None => {
                        let index = self.index(index);
                        self.b.load_lanes(buf, index, lanes)
                    }
                    Some(guard) if guard.ty().lanes > 1 => {
                        let at = self.index(index);
                        self.b.load_masked(buf, at, guard)
                    }
                    Some(guard) => {
                        let at = self.index(index);
                        let zero = self.b.constant(Ty::of(body.args[*arg]).with_lanes(lanes), 0i64);
                        let v = self.b.var(zero);
                        self.b.if_(guard, || v.set(self.b.load_lanes(buf, at, lanes)));
                        v.get()
                    }
                }
            }
            Value::Apply { f, args } => {
                let values: Vec<Expr<'b>> = args.iter().map(|&a| self.value(a)).collect();
                let dtypes: Vec<_> = args.iter().map(|&a| body.dtype(a)).collect();
                match f.nodes[f.root] {
                    Node::Num(x) => self.b.constant(Ty::of(body.dtype(id)), x),
                    _ => self.b.inline(f, &values, &dtypes),
                }
            }
            Value::Position(index) => self.position(index),
            Value::Accumulator(k) => panic!("bug: reduction {k} is used before it is done"),
        };
        self.known.insert(id, e);
        e
    }

    /// How many elements an index stands for here.
    pub fn lanes_of(&self, index: &Index) -> u32 {
        self.lanes.filter(|(axis, _)| index.uses_axis(*axis)).map_or(1, |(_, lanes)| lanes)
    }

    fn position(&mut self, index: &Index) -> Expr<'b> {
        let first = self.index(index);
        match self.lanes.filter(|(axis, _)| index.uses_axis(*axis)) {
            None => first,
            Some((axis, lanes)) => {
                let step = index.coefficient(axis).expect("lanes should be along an axis without divisions");
                first + self.b.iota(Ty::INDEX.dtype, lanes) * &step
            }
        }
    }

    /// An index at this place; terms of outer loops are added first.
    pub fn index(&mut self, index: &Index) -> Expr<'b> {
        let mut terms: Vec<&(Atom, Dim)> = index.terms.iter().collect();
        terms.sort_by_key(|(atom, _)| match atom {
            Atom::Axis(k) => *k,
            _ => self.axes.len(),
        });
        let mut sum: Option<Expr<'b>> = (index.constant != Dim::ZERO).then(|| self.b.dim(&index.constant));
        for (atom, c) in terms {
            let value = match atom {
                Atom::Axis(k) => self.axes[*k].expect("an axis should have a coordinate where it is used"),
                Atom::Div(a, d) => self.index(a).index_div(d),
                Atom::Mod(a, d) => self.index(a).index_rem(d),
                Atom::Value(id, _) => self.value(*id),
            };
            let term = value * c;
            sum = Some(sum.map_or(term, |s| s + term));
        }
        sum.unwrap_or_else(|| self.b.int(0))
    }
}

/// What computing a value at a point costs beside its operands, a multiplication being 1.
pub fn cost(value: &Value) -> i64 {
    match value {
        Value::Load { index, guard, .. } => {
            let indirect = index.terms.iter().any(|(a, _)| !matches!(a, Atom::Axis(_)));
            1 + 4 * i64::from(indirect) + 2 * i64::from(guard.is_some())
        }
        Value::Apply { f, .. } => scalar_cost(f),
        Value::Position(_) | Value::Accumulator(_) => 1,
    }
}

fn scalar_cost(f: &Scalar) -> i64 {
    f.nodes
        .iter()
        .map(|n| match n {
            Node::Prim(p, _) => prim_cost(*p),
            Node::Cast(..) => 1,
            _ => 0,
        })
        .sum()
}

fn prim_cost(p: Prim) -> i64 {
    use sardonyx_ir::scalar::Rule;
    match p {
        Prim::Sqrt | Prim::Div | Prim::Mod => 4,
        Prim::Pow | Prim::Rem => 40,
        p if p.rule() == Rule::Float => 16,
        _ => 1,
    }
}

/// How many elements of this cost a work item should have at least: some microseconds of work.
pub fn grain(cost: i64) -> i64 {
    (98_304 / cost.max(4)).clamp(1024, 16_384)
}

/// The first of the trailing axes that loops of their own run over: the last one, and those before it that
/// are known and do not make a row longer than `grain`.
pub fn inner_axes(domain: &[Dim], grain: i64) -> usize {
    let mut first = domain.len().saturating_sub(1);
    let mut work = domain.last().and_then(Dim::known).unwrap_or(64);
    while first > 0 {
        let Some(more) = domain[first - 1].known().and_then(|n| work.checked_mul(n)) else { break };
        if more > grain {
            break;
        }
        (first, work) = (first - 1, more);
    }
    first
}

/// How many rows of `work` elements a work item takes, for items of about `grain` elements.
pub fn rows_per_item(rows: &Dim, work: &Dim, grain: i64) -> Dim {
    if *rows == Dim::ONE {
        return Dim::ONE;
    }
    let fitting = match work.known() {
        Some(work) => Dim::from((grain / work.max(1)).max(1)),
        None => Dim::from(grain).floor_div(work.max(&Dim::ONE)).max(&Dim::ONE),
    };
    match (rows.known(), fitting.known()) {
        (Some(rows), Some(fitting)) => Dim::from(fitting.min(rows.max(1))),
        _ => fitting,
    }
}
