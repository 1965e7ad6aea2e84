//! Loops of rows kernels: for every row, a pass over the inner axes per depth of reduction.
//!
//! Where the last axis is reduced, an accumulator is a variable and the innermost loop is a vectorized
//! reduction. Where it is not, rows lie side by side in memory: an item takes a run of them (lanes), and an
//! accumulator is an array in scratch memory, so that the innermost loop runs along memory all the same.
//! Values that are costly and needed in more than one pass are kept in scratch memory.
use super::point::{self, Point};
use crate::kernel::body::{Value, ValueId};
use crate::kernel::pointwise::{Rows, store_axes};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Ty, Variable};
use sardonyx_tensor::Dim;
use std::collections::HashMap;

/// Lanes of an item.
const LANES: i64 = 256;
/// The cost from which on a value is kept instead of computed again.
const KEEP: i64 = 8;

/// The nest of simplified rows.
pub fn nest(rows: &Rows, name: &str) -> Nest {
    let b = Builder::new(name);
    let grid = {
        let mut p = Point::new(&b, &rows.body, rows.domain.len(), rows.outer_axes());
        let outputs = rows.stores.iter().map(|s| b.output(&format!("out{}", s.output), s.dtype)).collect();
        let loops = Loops::new(rows, &b, outputs, &p);
        loops.items(&mut p)
    };
    b.finish(grid)
}

struct Loops<'a> {
    rows: &'a Rows,
    outputs: Vec<Buf>,
    /// The last axis, if it is not reduced.
    lane: Option<usize>,
    inner: Vec<usize>,
    outer: Vec<usize>,
    /// What each pass computes: reductions and stores that vary with the inner axes.
    passes: Vec<Pass>,
    /// Stores of one value a row.
    finals: Vec<usize>,
    /// Accumulators in scratch memory, where there are lanes.
    sums: Vec<Buf>,
}

#[derive(Default)]
struct Pass {
    reductions: Vec<usize>,
    stores: Vec<usize>,
    /// Values to keep for later passes.
    keep: Vec<(ValueId, Buf)>,
    /// Values that earlier passes kept.
    kept: Vec<(ValueId, Buf)>,
}

impl<'a> Loops<'a> {
    fn new(rows: &'a Rows, b: &Builder, outputs: Vec<Buf>, p: &Point<'_, '_>) -> Loops<'a> {
        let rank = rows.domain.len();
        let lane = rank.checked_sub(1).filter(|&last| !rows.inner[last]);
        let (inner, outer): (Vec<usize>, Vec<usize>) =
            (0..rank).filter(|&k| Some(k) != lane).partition(|&k| rows.inner[k]);
        let inner_set = !rows.outer_axes();
        let depths = rows.depths();
        let count = depths.iter().max().map_or(0, |d| d + 1).max(rows.reductions.len().min(1));
        let mut passes: Vec<Pass> = (0..count).map(|_| Pass::default()).collect();
        for (k, r) in rows.reductions.iter().enumerate() {
            passes[depths[r.value]].reductions.push(k);
        }
        let mut finals = Vec::new();
        for (k, s) in rows.stores.iter().enumerate() {
            match store_axes(s, p.variation()) & inner_set & ((1 << rank) - 1) {
                0 => finals.push(k),
                _ => passes[depths[s.value]].stores.push(k),
            }
        }
        let sums = match lane {
            Some(_) => {
                let sum = |(k, r): (usize, &crate::kernel::pointwise::Reduction)| {
                    b.scratch(&format!("acc{k}"), Ty::of(r.dtype).dtype, LANES)
                };
                rows.reductions.iter().enumerate().map(sum).collect()
            }
            None => Vec::new(),
        };
        let mut loops = Loops { rows, outputs, lane, inner, outer, passes, finals, sums };
        loops.keep(b, p, &depths, inner_set & ((1 << rank) - 1));
        loops
    }

    /// The values that a pass computes with at every point.
    fn roots(&self, pass: &Pass) -> Vec<ValueId> {
        let reduced = pass.reductions.iter().map(|&k| self.rows.reductions[k].value);
        reduced.chain(pass.stores.iter().map(|&k| self.rows.stores[k].value)).collect()
    }

    /// Decides which values are kept from one pass for later ones.
    fn keep(&mut self, b: &Builder, p: &Point<'_, '_>, depths: &[usize], inner: u64) {
        let body = &self.rows.body;
        let size = Dim::product(self.inner.iter().map(|&k| &self.rows.domain[k]));
        let size = if self.lane.is_some() { size * LANES } else { size };
        let needed: Vec<Vec<ValueId>> = self.passes.iter().map(|s| body.needed(self.roots(s))).collect();
        let mut kept: HashMap<ValueId, Buf> = HashMap::new();
        for pass in 1..self.passes.len() {
            let mut wanted: Vec<ValueId> = self.roots(&self.passes[pass]);
            wanted
                .extend(needed[pass].iter().filter(|&&v| depths[v] == pass).flat_map(|&v| body.operands(v)));
            wanted.sort_unstable();
            wanted.dedup();
            for id in wanted {
                if depths[id] >= pass || p.varies(id) & inner == 0 {
                    continue;
                }
                let cost: i64 = body
                    .needed([id])
                    .into_iter()
                    .filter(|&v| p.varies(v) & inner != 0)
                    .map(|v| point::cost(&body.values[v].0))
                    .sum();
                let Some(first) = (depths[id]..pass).find(|&s| needed[s].contains(&id)) else { continue };
                if cost < KEEP {
                    continue;
                }
                let buf = *kept.entry(id).or_insert_with(|| {
                    let buf = b.scratch(&format!("kept{id}"), Ty::of(body.dtype(id)).dtype, &size);
                    self.passes[first].keep.push((id, buf));
                    buf
                });
                self.passes[pass].kept.push((id, buf));
            }
        }
    }

    /// The loops of a work item; the number of items.
    fn items<'b>(&self, p: &mut Point<'_, 'b>) -> Dim {
        let (b, domain) = (p.b, &self.rows.domain);
        let extents = |axes: &[usize]| axes.iter().map(|&k| domain[k].clone()).collect::<Vec<Dim>>();
        let outer = extents(&self.outer);
        let rows = Dim::product(&outer);
        let width = self.lane.map_or(Dim::ONE, |k| domain[k].min(&Dim::from(LANES)));
        let pieces = self.lane.map_or(Dim::ONE, |k| domain[k].ceil_div(LANES));
        let work = Dim::product(&extents(&self.inner)) * &width;
        let cost: i64 = self.rows.body.values.iter().map(|(v, _)| point::cost(v)).sum();
        let per_item = point::rows_per_item(&rows, &work, point::grain(cost));
        let groups = rows.ceil_div(&per_item);
        let (group, piece) = (b.grid().index_div(&pieces), b.grid().index_rem(&pieces));
        let lanes = self.lane.map(|k| {
            let begin = piece * LANES;
            (begin, (begin + LANES).min(&domain[k]) - begin)
        });
        let begin = group * &per_item;
        let row = |p: &mut Point<'_, 'b>, row: Expr<'b>| {
            let at = self.outer.iter().copied().zip(b.unravel(row, &outer));
            p.with_axes(at, |p| self.row(p, lanes));
        };
        match per_item == Dim::ONE {
            true => row(p, begin),
            false => b.for_(begin, (begin + &per_item).min(&rows), |r| row(p, r)),
        }
        groups * pieces
    }

    /// A row, or `lanes.1` neighbouring rows from `lanes.0` on.
    fn row<'b>(&self, p: &mut Point<'_, 'b>, lanes: Option<(Expr<'b>, Expr<'b>)>) {
        for pass in &self.passes {
            self.prepare(p, pass);
            match lanes {
                None => self.pass(p, pass),
                Some(lanes) => self.lane_pass(p, pass, lanes),
            }
        }
        match lanes {
            None => self.store(p, &self.finals),
            Some(lanes) if !self.finals.is_empty() => {
                self.over_lanes(p, lanes, |p, _| self.store(p, &self.finals));
            }
            Some(_) => {}
        }
    }

    /// Computes what a pass needs and does not vary within it.
    fn prepare(&self, p: &mut Point<'_, '_>, pass: &Pass) {
        let needed = self.rows.body.needed(self.roots(pass));
        let ready: Vec<ValueId> =
            needed.into_iter().filter(|&id| !pass.kept.iter().any(|(k, _)| *k == id)).collect();
        p.prepare(&ready);
    }

    /// A pass over the inner axes with accumulators in variables.
    fn pass<'b>(&self, p: &mut Point<'_, 'b>, pass: &Pass) {
        let b = p.b;
        let sums: Vec<(usize, Variable<'b>)> =
            pass.reductions.iter().map(|&k| (k, b.var(self.rows.reductions[k].start(b)))).collect();
        let kind = if sums.is_empty() { LoopKind::Vectorize } else { LoopKind::Reduce };
        self.over_inner(p, pass, &self.inner, kind, &mut |p| {
            let position = self.kept_position(p, None);
            self.load_kept(p, pass, position);
            for (k, sum) in &sums {
                let value = p.value(self.rows.reductions[*k].value);
                sum.update(|s| self.rows.reductions[*k].combined(s, value));
            }
            self.store(p, &pass.stores);
            self.store_kept(p, pass, position);
        });
        for (k, sum) in sums {
            self.define(p, k, sum.get());
        }
    }

    /// A pass over the inner axes with a loop over lanes inside.
    fn lane_pass<'b>(&self, p: &mut Point<'_, 'b>, pass: &Pass, lanes: (Expr<'b>, Expr<'b>)) {
        let b = p.b;
        if !pass.reductions.is_empty() {
            b.vectorize(0, lanes.1, |w| {
                pass.reductions
                    .iter()
                    .for_each(|&k| b.store(self.sums[k], w, self.rows.reductions[k].start(b)));
            });
        }
        self.over_inner(p, pass, &self.inner, LoopKind::Serial, &mut |p| {
            self.prepare(p, pass);
            self.over_lanes(p, lanes, |p, w| {
                let position = self.kept_position(p, Some(w));
                self.load_kept(p, pass, position);
                for &k in &pass.reductions {
                    let value = p.value(self.rows.reductions[k].value);
                    b.store(
                        self.sums[k],
                        w,
                        self.rows.reductions[k].combined(b.load(self.sums[k], w), value),
                    );
                }
                self.store(p, &pass.stores);
                self.store_kept(p, pass, position);
            });
        });
    }

    /// Runs `f` for every lane, whose accumulators are loaded where they are used.
    fn over_lanes<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        lanes: (Expr<'b>, Expr<'b>),
        f: impl FnOnce(&mut Point<'_, 'b>, Expr<'b>),
    ) {
        let (b, axis) = (p.b, self.lane.expect("rows with lanes should have a lane axis"));
        b.vectorize(0, lanes.1, |w| {
            p.with_axes([(axis, lanes.0 + w)], |p| {
                for (k, &sum) in self.sums.iter().enumerate() {
                    self.define(p, k, b.load(sum, w));
                }
                f(p, w);
            });
        });
    }

    /// Runs `f` in loops over `axes`, the last one of this kind.
    fn over_inner<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        pass: &Pass,
        axes: &[usize],
        kind: LoopKind,
        f: &mut dyn FnMut(&mut Point<'_, 'b>),
    ) {
        let Some((&axis, rest)) = axes.split_first() else { return f(p) };
        let kind_here = if rest.is_empty() { kind } else { LoopKind::Serial };
        let b = p.b;
        b.for_step(kind_here, 0, &self.rows.domain[axis], 1, |i| {
            p.with_axes([(axis, i)], |p| {
                if !rest.is_empty() {
                    self.prepare(p, pass);
                }
                self.over_inner(p, pass, rest, kind, f);
            });
        });
    }

    fn define<'b>(&self, p: &mut Point<'_, 'b>, reduction: usize, result: Expr<'b>) {
        for (id, (value, _)) in self.rows.body.values.iter().enumerate() {
            if *value == Value::Accumulator(reduction) {
                p.define(id, result);
            }
        }
    }

    fn store(&self, p: &mut Point<'_, '_>, stores: &[usize]) {
        for &k in stores {
            let s = &self.rows.stores[k];
            let (value, index) = (p.value(s.value), p.index(&s.index));
            p.b.store(self.outputs[k], index, value);
        }
    }

    fn kept_position<'b>(&self, p: &mut Point<'_, 'b>, lane: Option<Expr<'b>>) -> Expr<'b> {
        let b = p.b;
        let mut at = b.int(0);
        for &k in &self.inner {
            at = at * &self.rows.domain[k] + p.coordinate(k);
        }
        lane.map_or(at, |w| at * LANES + w)
    }
    fn load_kept<'b>(&self, p: &mut Point<'_, 'b>, pass: &Pass, at: Expr<'b>) {
        for &(id, buf) in &pass.kept {
            p.define(id, p.b.load(buf, at));
        }
    }
    fn store_kept<'b>(&self, p: &mut Point<'_, 'b>, pass: &Pass, at: Expr<'b>) {
        for &(id, buf) in &pass.keep {
            let value = p.value(id);
            p.b.store(buf, at, value);
        }
    }
}
