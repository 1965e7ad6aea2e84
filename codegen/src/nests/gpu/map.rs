//! Maps on a GPU: a thread computes the points of one 16-byte access along the last axis, or one point where
//! accesses do not run along it. Where loads run along another axis, blocks compute tiles of both axes.
use super::tiles::Tiles;
use super::{items, vector};
use crate::kernel::body::Store;
use crate::kernel::pointwise::Map;
use crate::nest::{Buf, Builder, Nest};
use crate::nests::point::Point;
use crate::target::GpuSpec;
use sardonyx_tensor::Dim;
use std::cell::RefCell;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;

/// The nest of a simplified map.
pub fn nest(map: &Map, name: &str, target: &GpuSpec) -> Nest {
    let b = Builder::new(name);
    let (grid, together) = {
        let mut p = Point::new(&b, &map.body, map.domain.len(), 0);
        let outputs = map.stores.iter().map(|s| b.output(&format!("out{}", s.output), s.dtype)).collect();
        let loops = Loops { map, outputs };
        match Tiles::of(map) {
            Some(tiles) => (tiles.items(&loops, &mut p), true),
            None => (loops.items(&mut p), false),
        }
    };
    match together {
        true => b.finish_blocks(grid, THREADS),
        false => items::spread(b.finish(grid), target, THREADS),
    }
}

/// What is computed at a point.
pub(super) struct Loops<'a> {
    map: &'a Map,
    outputs: Vec<Buf>,
}

impl Loops<'_> {
    /// What a thread does; the number of work items.
    fn items(&self, p: &mut Point<'_, '_>) -> Dim {
        let (b, domain) = (p.b, &self.map.domain);
        let Some((extent, outer)) = domain.split_last() else {
            self.stores(p);
            return Dim::ONE;
        };
        let stores: Vec<&Store> = self.map.stores.iter().collect();
        let lanes = vector::lanes(p, &self.map.body, &stores, domain);
        let (axis, step) = (outer.len(), i64::from(lanes));
        let grid: Vec<Dim> = outer.iter().cloned().chain([extent.ceil_div(step)]).collect();
        let mut at = b.unravel(b.grid(), &grid);
        let first = at.pop().expect("the last axis should have a coordinate") * step;
        p.with_axes(at.into_iter().enumerate(), |p| {
            if extent.known().is_some() || lanes == 1 {
                return p.with_lanes(axis, first, lanes, |p| self.stores(p));
            }
            let p = RefCell::new(p);
            let whole = || p.borrow_mut().with_lanes(axis, first, lanes, |p| self.stores(p));
            let rest = || {
                b.for_(first, extent, |i| p.borrow_mut().with_axes([(axis, i)], |p| self.stores(p)));
            };
            b.if_else((first + step).le(extent), whole, rest);
        });
        Dim::product(&grid)
    }

    /// Computes and stores the results at a point.
    pub(super) fn stores(&self, p: &mut Point<'_, '_>) {
        for (Store { index, value, .. }, &buf) in self.map.stores.iter().zip(&self.outputs) {
            let (value, at) = (p.value(*value), p.index(index));
            p.b.store(buf, at, value.splat(p.lanes_of(index)));
        }
    }
}
