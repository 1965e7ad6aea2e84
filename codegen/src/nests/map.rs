//! Loops of map kernels: a work item is a run of rows, a row is a nest of loops over the inner axes, the
//! innermost one vectorized.
mod segments;
mod tiles;

use super::point::{self, Point};
use crate::kernel::body::{Store, ValueId};
use crate::kernel::pointwise::Map;
use crate::nest::{Buf, Builder, Expr, Nest};
use crate::target::TargetSpec;
use sardonyx_tensor::Dim;
use segments::Segments;
use tiles::Tiles;

/// The nest of a simplified map.
pub fn nest(map: &Map, name: &str, target: &TargetSpec) -> Nest {
    let b = Builder::new(name);
    let grid = {
        let mut p = Point::new(&b, &map.body, map.domain.len(), 0);
        let outputs = map.stores.iter().map(|s| b.output(&format!("out{}", s.output), s.dtype)).collect();
        let needed = (0..map.body.values.len()).collect();
        let loops = Loops { map, outputs, needed, segments: Segments::of(map) };
        p.prepare(&loops.needed);
        if map.domain.is_empty() {
            loops.stores(&mut p);
            Dim::ONE
        } else if let Some(tiles) = Tiles::of(map, target) {
            tiles.items(&loops, &mut p)
        } else {
            loops.items(&mut p)
        }
    };
    b.finish(grid)
}

struct Loops<'a> {
    map: &'a Map,
    outputs: Vec<Buf>,
    needed: Vec<ValueId>,
    segments: Segments,
}

impl Loops<'_> {
    /// The loops of a work item; the number of items.
    fn items<'b>(&self, p: &mut Point<'_, 'b>) -> Dim {
        let (b, domain) = (p.b, &self.map.domain);
        let cost: i64 = self.map.body.values.iter().map(|(v, _)| point::cost(v)).sum();
        let grain = point::grain(cost);
        let split = point::inner_axes(domain, grain);
        let (outer, inner) = domain.split_at(split);
        let rows = Dim::product(outer);
        let per_item = point::rows_per_item(&rows, &Dim::product(inner), grain);
        let groups = rows.ceil_div(&per_item);
        let long = inner.len() == 1 && inner[0].known().is_none_or(|n| n > 2 * grain);
        let pieces = if long { inner[0].ceil_div(grain) } else { Dim::ONE };
        let (group, piece) = (b.grid().index_div(&pieces), b.grid().index_rem(&pieces));
        let last = domain.last().expect("a map without axes should be handled before");
        let range = match long {
            true => (piece * grain, (piece * grain + grain).min(last)),
            false => (b.int(0), b.dim(last)),
        };
        let begin = group * &per_item;
        let row = |p: &mut Point<'_, 'b>, row: Expr<'b>| {
            let at = b.unravel(row, outer).into_iter().enumerate();
            p.with_axes(at, |p| {
                p.prepare(&self.needed);
                self.inner(p, split, range);
            });
        };
        match per_item == Dim::ONE {
            true => row(p, begin),
            false => b.for_(begin, (begin + &per_item).min(&rows), |r| row(p, r)),
        }
        groups * pieces
    }

    /// The loops over the axes from `axis` on, the last one over `range`.
    fn inner<'b>(&self, p: &mut Point<'_, 'b>, axis: usize, range: (Expr<'b>, Expr<'b>)) {
        let b = p.b;
        if axis + 1 == self.map.domain.len() {
            return self.segments.run(p, range, &mut |p, range| {
                b.vectorize(range.0, range.1, |i| p.with_axes([(axis, i)], |p| self.stores(p)));
            });
        }
        b.for_(0, &self.map.domain[axis], |i| {
            p.with_axes([(axis, i)], |p| {
                p.prepare(&self.needed);
                self.inner(p, axis + 1, range);
            });
        });
    }

    fn stores(&self, p: &mut Point<'_, '_>) {
        for (Store { index, value, .. }, &buf) in self.map.stores.iter().zip(&self.outputs) {
            let (value, index) = (p.value(*value), p.index(index));
            p.b.store(buf, index, value);
        }
    }
}
