//! Maps that read along one axis and write along another, on a GPU: a block reads tiles of both axes into shared
//! memory along the one and takes them out along the other.
use super::map::{Loops, THREADS};
use crate::kernel::body::{Value, ValueId};
use crate::kernel::index::{Atom, Index};
use crate::kernel::pointwise::Map;
use crate::nest::{Buf, Expr, LoopKind};
use crate::nests::point::Point;
use sardonyx_tensor::Dim;

/// Points of a tile along either axis.
const WIDTH: i64 = 32;
/// Lines of a tile in memory: with one more element, the elements of a column stand in different banks.
const LINE: i64 = WIDTH + 1;
/// Axes with fewer points are not worth a tile.
const LEAST: i64 = 8;
/// Bytes of shared memory that every GPU has for a block.
const SHARED: usize = 48 << 10;

/// The loads that run along another axis than the last.
pub struct Tiles<'a> {
    map: &'a Map,
    /// That axis.
    axis: usize,
    loads: Vec<(ValueId, usize, &'a Index)>,
}

impl<'a> Tiles<'a> {
    /// The tiles of a map, if it has such loads.
    pub fn of(map: &'a Map) -> Option<Tiles<'a>> {
        let last = map.domain.len().checked_sub(1)?;
        let wide = |axis: usize| map.domain[axis].known().is_none_or(|n| n >= LEAST);
        let (mut axis, mut loads, mut bytes) = (None, Vec::new(), 0);
        for (id, (value, dtype)) in map.body.values.iter().enumerate() {
            let Value::Load { arg, index, guard: None } = value else { continue };
            let mut direct = true;
            index.visit(&mut |atom| direct &= !matches!(atom, Atom::Value(..)));
            let (Some(stride), true) = (index.coefficient(last), wide(last) && direct) else { continue };
            if stride.known().is_some_and(|s| (-1..=1).contains(&s)) {
                continue;
            }
            let along = (0..last).find(|&k| index.coefficient(k) == Some(Dim::ONE) && wide(k));
            let Some(along) = along.filter(|&k| axis.is_none_or(|axis| axis == k)) else { continue };
            let size = (WIDTH * LINE) as usize * dtype.size();
            if bytes + size <= SHARED {
                axis = Some(along);
                bytes += size;
                loads.push((id, *arg, index));
            }
        }
        Some(Tiles { map, axis: axis?, loads })
    }

    /// What a block does; the number of blocks.
    pub fn items<'b>(&self, loops: &Loops<'_>, p: &mut Point<'_, 'b>) -> Dim {
        let (b, domain) = (p.b, &self.map.domain);
        let last = domain.len() - 1;
        let others: Vec<usize> = (0..last).filter(|&k| k != self.axis).collect();
        let mut grid: Vec<Dim> = others.iter().map(|&k| domain[k].clone()).collect();
        grid.extend([domain[self.axis].ceil_div(WIDTH), domain[last].ceil_div(WIDTH)]);
        let tiles: Vec<Buf> = self
            .loads
            .iter()
            .map(|(id, arg, _)| {
                b.shared(&format!("tile{id}"), self.map.body.args[*arg], (WIDTH * LINE) as usize)
            })
            .collect();
        let at = b.unravel(b.grid(), &grid);
        let (outer, tile) = at.split_at(others.len());
        p.with_axes(others.iter().copied().zip(outer.iter().copied()), |p| {
            self.fill(p, tile, &tiles);
            b.barrier();
            self.points(p, tile, |p, across, along| {
                let at = b.thread().index_rem(WIDTH) * LINE + across;
                p.with_axes([(self.axis, tile[0] * WIDTH + across), (last, along)], |p| {
                    for ((id, ..), &tile) in self.loads.iter().zip(&tiles) {
                        p.define(*id, b.load(tile, at));
                    }
                    loops.stores(p);
                });
            });
        });
        Dim::product(&grid)
    }

    /// Reads the tiles along the tiled axis.
    fn fill<'b>(&self, p: &mut Point<'_, 'b>, tile: &[Expr<'b>], tiles: &[Buf]) {
        let (b, domain, last) = (p.b, &self.map.domain, self.map.domain.len() - 1);
        let x = b.thread().index_rem(WIDTH);
        b.for_step(LoopKind::Unroll(0), 0, WIDTH, rows(), |r| {
            let y = r + b.thread().index_div(WIDTH);
            let (first, second) = (tile[0] * WIDTH + x, tile[1] * WIDTH + y);
            b.if_(first.lt(&domain[self.axis]).and(second.lt(&domain[last])), || {
                p.with_axes([(self.axis, first), (last, second)], |p| {
                    for ((_, arg, index), &tile) in self.loads.iter().zip(tiles) {
                        let from = p.index(index);
                        b.store(tile, y * LINE + x, b.load(p.input(*arg), from));
                    }
                });
            });
        });
    }

    /// Runs `f` for the points of the thread along the last axis, given the place in the tile along the tiled axis
    /// and the coordinate along the last one.
    fn points<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        tile: &[Expr<'b>],
        f: impl FnOnce(&mut Point<'_, 'b>, Expr<'b>, Expr<'b>),
    ) {
        let (b, domain, last) = (p.b, &self.map.domain, self.map.domain.len() - 1);
        let along = tile[1] * WIDTH + b.thread().index_rem(WIDTH);
        b.for_step(LoopKind::Unroll(0), 0, WIDTH, rows(), |r| {
            let across = r + b.thread().index_div(WIDTH);
            let inside = (tile[0] * WIDTH + across).lt(&domain[self.axis]).and(along.lt(&domain[last]));
            b.if_(inside, || f(p, across, along));
        });
    }
}

/// Lines of a tile that the threads of a block reach at once.
fn rows() -> i64 {
    i64::from(THREADS) / WIDTH
}
