//! Rows on a GPU: for every row, a pass over the inner axes per depth of reduction.
//!
//! Where the last axis is reduced, a wave shares a short row and a block a long one; values stay in registers from
//! pass to pass where the row's length is known and fits. Where the last axis is not reduced, or rows are very
//! short, a thread has a row, and its neighbours the neighbouring rows.
use super::map::THREADS;
use super::reduce::Team;
use super::{items, vector};
use crate::kernel::body::{Store, Value, ValueId};
use crate::kernel::pointwise::{Rows, store_axes};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Variable};
use crate::nests::point::Point;
use crate::target::GpuSpec;
use sardonyx_tensor::Dim;
use std::collections::HashMap;

/// Rows of at most this length are a thread's.
const SHORT: i64 = 16;
/// Elements of a row that a thread keeps in registers, and the accesses it reads them with.
const KEPT: i64 = 32;
const ACCESSES: i64 = 8;
/// Where the length of rows is not known, fewer rows than this are shared by blocks.
const FEW: i64 = 64;

/// The nest of simplified rows.
pub fn nest(rows: &Rows, name: &str, target: &GpuSpec) -> Nest {
    let b = Builder::new(name);
    let (grid, together) = {
        let mut p = Point::new(&b, &rows.body, rows.domain.len(), rows.outer_axes());
        let outputs = rows.stores.iter().map(|s| b.output(&format!("out{}", s.output), s.dtype)).collect();
        let loops = Loops::new(rows, outputs, &p);
        match loops.share(&p, i64::from(target.wave)) {
            Some(share) => (loops.shared(&mut p, &share), true),
            None => (loops.alone(&mut p), false),
        }
    };
    match together {
        true => b.finish_blocks(grid, THREADS),
        false => items::spread(b.finish(grid), target, THREADS),
    }
}

struct Loops<'a> {
    rows: &'a Rows,
    outputs: Vec<Buf>,
    inner: Vec<usize>,
    outer: Vec<usize>,
    passes: Vec<Pass>,
    /// Stores of one value a row.
    finals: Vec<usize>,
}

/// What a pass over the inner axes computes: reductions and stores.
#[derive(Default)]
struct Pass {
    reductions: Vec<usize>,
    stores: Vec<usize>,
}

/// How threads share rows.
struct Share {
    team: Team,
    /// Neighbouring elements that a thread reads at once.
    lanes: u32,
    /// How many times a thread does, where its elements stay in registers.
    kept: Option<i64>,
}

/// An element of a row, or several neighbours, and whether it exists.
struct Spot<'b> {
    at: Vec<Expr<'b>>,
    exists: Option<Expr<'b>>,
}

impl<'a> Loops<'a> {
    fn new(rows: &'a Rows, outputs: Vec<Buf>, p: &Point<'_, '_>) -> Loops<'a> {
        let (inner, outer) = (0..rows.domain.len()).partition(|&k| rows.inner[k]);
        let depths = rows.depths();
        let count = depths.iter().max().map_or(0, |d| d + 1).max(rows.reductions.len().min(1));
        let mut passes: Vec<Pass> = (0..count).map(|_| Pass::default()).collect();
        for (k, r) in rows.reductions.iter().enumerate() {
            passes[depths[r.value]].reductions.push(k);
        }
        let mut finals = Vec::new();
        let mut loops = Loops { rows, outputs, inner, outer, passes: Vec::new(), finals: Vec::new() };
        for (k, s) in rows.stores.iter().enumerate() {
            match store_axes(s, p.variation()) & loops.inner_axes() {
                0 => finals.push(k),
                _ => passes[depths[s.value]].stores.push(k),
            }
        }
        passes.retain(|pass| !pass.reductions.is_empty() || !pass.stores.is_empty());
        (loops.passes, loops.finals) = (passes, finals);
        loops
    }

    fn inner_axes(&self) -> u64 {
        self.inner.iter().fold(0, |set, k| set | 1 << k)
    }
    fn extents(&self, axes: &[usize]) -> Vec<Dim> {
        axes.iter().map(|&k| self.rows.domain[k].clone()).collect()
    }

    /// How threads share a row; `None` if each has rows of its own.
    fn share(&self, p: &Point<'_, '_>, wave: i64) -> Option<Share> {
        let last = self.rows.domain.len().checked_sub(1).filter(|&last| self.rows.inner[last])?;
        let size = Dim::product(&self.extents(&self.inner));
        let team = |threads: i64| Team { threads, wave };
        let Some(length) = size.known() else {
            let few = Dim::product(&self.extents(&self.outer)).known().is_some_and(|rows| rows < FEW);
            return Some(Share { team: team(if few { THREADS.into() } else { wave }), lanes: 1, kept: None });
        };
        if length <= SHORT {
            return None;
        }
        let stores: Vec<&Store> =
            self.passes.iter().flat_map(|pass| &pass.stores).map(|&k| &self.rows.stores[k]).collect();
        let lanes = match self.rows.domain[last].known() {
            Some(_) => vector::lanes(p, &self.rows.body, &stores, &self.rows.domain),
            None => 1,
        };
        let accesses = length / i64::from(lanes);
        let most = (KEPT / i64::from(lanes)).min(ACCESSES);
        let threads = if accesses <= wave * most { wave } else { THREADS.into() };
        let kept = Some((accesses + threads - 1) / threads).filter(|&kept| kept <= most);
        Some(Share { team: team(threads), lanes, kept })
    }

    /// The rows of a thread of its own; the number of work items.
    fn alone<'b>(&self, p: &mut Point<'_, 'b>) -> Dim {
        let b = p.b;
        let outer = self.extents(&self.outer);
        let at = b.unravel(b.grid(), &outer);
        p.with_axes(self.outer.iter().copied().zip(at), |p| {
            for pass in &self.passes {
                self.prepare(p, pass);
                let sums: Vec<(usize, Variable<'b>)> =
                    pass.reductions.iter().map(|&k| (k, b.var(self.rows.reductions[k].start(b)))).collect();
                self.over_inner(p, pass, &self.inner, &mut |p| {
                    for (k, sum) in &sums {
                        let value = p.value(self.rows.reductions[*k].value);
                        sum.update(|s| self.rows.reductions[*k].combined(s, value));
                    }
                    self.store(p, &pass.stores, None);
                });
                sums.into_iter().for_each(|(k, sum)| self.define(p, k, sum.get()));
            }
            self.store(p, &self.finals, None);
        });
        Dim::product(&outer)
    }

    /// Runs `f` in loops over `axes`.
    fn over_inner<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        pass: &Pass,
        axes: &[usize],
        f: &mut dyn FnMut(&mut Point<'_, 'b>),
    ) {
        let Some((&axis, rest)) = axes.split_first() else { return f(p) };
        p.b.for_(0, &self.rows.domain[axis], |i| {
            p.with_axes([(axis, i)], |p| {
                if !rest.is_empty() {
                    self.prepare(p, pass);
                }
                self.over_inner(p, pass, rest, f);
            });
        });
    }

    /// The rows of a block; the number of blocks.
    fn shared<'b>(&self, p: &mut Point<'_, 'b>, share: &Share) -> Dim {
        let b = p.b;
        let outer = self.extents(&self.outer);
        let rows = Dim::product(&outer);
        let per_block = i64::from(THREADS) / share.team.threads;
        let row = b.grid() * per_block + b.thread().index_div(share.team.threads);
        let whole = per_block == 1 || rows.known().is_some_and(|rows| rows % per_block == 0);
        let exists = (!whole).then(|| row.lt(&rows));
        let row = if whole && per_block == 1 { b.grid() } else { row };
        let row = if whole { row } else { row.min(b.dim(&rows) - 1) };
        p.with_axes(self.outer.iter().copied().zip(b.unravel(row, &outer)), |p| {
            match share.kept {
                Some(kept) => self.in_registers(p, share, kept, exists),
                None => self.in_loops(p, share, exists),
            }
            let first = b.thread().index_rem(share.team.threads).eq(0);
            self.store(p, &self.finals, Some(both(exists, Some(first)).unwrap_or(first)));
        });
        rows.ceil_div(per_block)
    }

    /// The passes over elements that a thread keeps in registers.
    fn in_registers<'b>(&self, p: &mut Point<'_, 'b>, share: &Share, kept: i64, row: Option<Expr<'b>>) {
        let b = p.b;
        let mut memory: Vec<HashMap<ValueId, Expr<'b>>> = (0..kept).map(|_| HashMap::new()).collect();
        let spots: Vec<Spot<'b>> = (0..kept).map(|k| self.spot(b, share, k)).collect();
        for pass in &self.passes {
            self.prepare(p, pass);
            let mut sums: Vec<Option<Expr<'b>>> = vec![None; pass.reductions.len()];
            for (spot, memory) in spots.iter().zip(&mut memory) {
                self.at(p, &spot.at, share.lanes, |p| {
                    p.resume(memory, |p| {
                        for (&k, sum) in pass.reductions.iter().zip(&mut sums) {
                            let reduction = &self.rows.reductions[k];
                            let mut value = p.value(reduction.value).splat(share.lanes);
                            if let Some(exists) = spot.exists {
                                value = exists.select(value, reduction.start(b).splat(share.lanes));
                            }
                            *sum = Some(sum.map_or(value, |sum| reduction.combined(sum, value)));
                        }
                        self.store(p, &pass.stores, both(row, spot.exists));
                    });
                });
            }
            for (&k, sum) in pass.reductions.iter().zip(sums) {
                self.combine(p, share, k, sum.unwrap_or_else(|| self.rows.reductions[k].start(b)));
            }
        }
    }

    /// The place that a thread reads the `k`th time: one that exists, even where the thread has none left.
    fn spot<'b>(&self, b: &'b Builder, share: &Share, k: i64) -> Spot<'b> {
        let (threads, lanes) = (share.team.threads, i64::from(share.lanes));
        let extents = self.extents(&self.inner);
        let length = Dim::product(&extents).known().expect("rows in registers should have a known length");
        let (access, accesses) = (b.thread().index_rem(threads) + k * threads, length / lanes);
        let all = (k + 1) * threads <= accesses;
        let access = if all { access } else { access.min(accesses - 1) };
        let exists = (!all).then(|| (b.thread().index_rem(threads) + k * threads).lt(accesses));
        Spot { at: b.unravel(access * lanes, &extents), exists }
    }

    /// The passes as loops, which compute anew what several of them need.
    fn in_loops<'b>(&self, p: &mut Point<'_, 'b>, share: &Share, row: Option<Expr<'b>>) {
        let (b, lanes) = (p.b, i64::from(share.lanes));
        let extents = self.extents(&self.inner);
        let first = b.thread().index_rem(share.team.threads) * lanes;
        for pass in &self.passes {
            self.prepare(p, pass);
            let start = |k: usize| self.rows.reductions[k].start(b).splat(share.lanes);
            let sums: Vec<(usize, Variable<'b>)> =
                pass.reductions.iter().map(|&k| (k, b.var(start(k)))).collect();
            let step = share.team.threads * lanes;
            b.for_step(LoopKind::Serial, first, &Dim::product(&extents), step, |at| {
                self.at(p, &b.unravel(at, &extents), share.lanes, |p| {
                    for (k, sum) in &sums {
                        let value = p.value(self.rows.reductions[*k].value).splat(share.lanes);
                        sum.update(|s| self.rows.reductions[*k].combined(s, value));
                    }
                    self.store(p, &pass.stores, row);
                });
            });
            sums.into_iter().for_each(|(k, sum)| self.combine(p, share, k, sum.get()));
        }
    }

    /// Runs `f` at a place of the row.
    fn at<'b>(&self, p: &mut Point<'_, 'b>, at: &[Expr<'b>], lanes: u32, f: impl FnOnce(&mut Point<'_, 'b>)) {
        let (&axis, others) = self.inner.split_last().expect("shared rows should have an inner axis");
        let at_last = at[others.len()];
        p.with_axes(others.iter().copied().zip(at.iter().copied()), |p| {
            p.with_lanes(axis, at_last, lanes, f);
        });
    }

    fn combine<'b>(&self, p: &mut Point<'_, 'b>, share: &Share, k: usize, value: Expr<'b>) {
        let result = share.team.combine(p.b, &self.rows.reductions[k], &format!("acc{k}"), value);
        self.define(p, k, result);
    }

    fn define<'b>(&self, p: &mut Point<'_, 'b>, reduction: usize, result: Expr<'b>) {
        for (id, (value, _)) in self.rows.body.values.iter().enumerate() {
            if *value == Value::Accumulator(reduction) {
                p.define(id, result);
            }
        }
    }

    /// Computes what a pass needs and does not vary within it.
    fn prepare(&self, p: &mut Point<'_, '_>, pass: &Pass) {
        let reduced = pass.reductions.iter().map(|&k| self.rows.reductions[k].value);
        let roots = reduced.chain(pass.stores.iter().map(|&k| self.rows.stores[k].value));
        p.prepare(&self.rows.body.needed(roots));
    }

    /// Stores where `cond` holds; what is stored is computed everywhere.
    fn store<'b>(&self, p: &mut Point<'_, 'b>, stores: &[usize], cond: Option<Expr<'b>>) {
        for &k in stores {
            let s = &self.rows.stores[k];
            let (value, at) = (p.value(s.value), p.index(&s.index));
            let store = || p.b.store(self.outputs[k], at, value.splat(p.lanes_of(&s.index)));
            match cond {
                Some(cond) => p.b.if_(cond, store),
                None => store(),
            }
        }
    }
}

fn both<'b>(a: Option<Expr<'b>>, b: Option<Expr<'b>>) -> Option<Expr<'b>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (a, b) => a.or(b),
    }
}
