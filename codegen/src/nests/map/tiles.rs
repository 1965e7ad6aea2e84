//! Maps that read along one axis and write along another: tiles of both axes go through scratch memory,
//! transposed in registers.
use super::Loops;
use crate::kernel::body::{Value, ValueId};
use crate::kernel::index::Index;
use crate::kernel::pointwise::Map;
use crate::nest::{Buf, Expr, LoopKind};
use crate::nests::point::{self, Point};
use crate::nests::tile::transposed;
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};

/// Elements of a tile along the last axis.
const WIDTH: i64 = 64;

/// The loads that run along another axis than the last.
pub struct Tiles<'a> {
    map: &'a Map,
    /// That axis.
    axis: usize,
    loads: Vec<Load<'a>>,
    /// Elements of a vector, and of a tile along that axis.
    lanes: i64,
}

struct Load<'a> {
    id: ValueId,
    arg: usize,
    index: &'a Index,
    /// The stride along the last axis.
    stride: Dim,
}

impl<'a> Tiles<'a> {
    /// The tiles of a map, if it has such loads.
    pub fn of(map: &'a Map, target: &TargetSpec) -> Option<Tiles<'a>> {
        let last = map.domain.len().checked_sub(1)?;
        let lanes = i64::from(target.f32_lanes());
        let wide = |axis: usize| map.domain[axis].known().is_none_or(|n| n >= lanes);
        let mut axis = None;
        let mut loads = Vec::new();
        for (id, (value, dtype)) in map.body.values.iter().enumerate() {
            let Value::Load { arg, index, guard: None } = value else { continue };
            if !matches!(dtype, DType::F32 | DType::I32 | DType::U32) {
                continue;
            }
            let (Some(stride), true) = (index.coefficient(last), wide(last)) else { continue };
            if stride.known().is_some_and(|s| (-1..=1).contains(&s)) {
                continue;
            }
            let along = (0..last).find(|&k| index.coefficient(k) == Some(Dim::ONE) && wide(k));
            let Some(along) = along.filter(|&k| *axis.get_or_insert(k) == k) else { continue };
            debug_assert!(along < last, "the last axis has another stride");
            loads.push(Load { id, arg: *arg, index, stride });
        }
        Some(Tiles { map, axis: axis?, loads, lanes }).filter(|t| !t.loads.is_empty())
    }

    /// The loops of a work item; the number of items.
    pub fn items<'b>(&self, loops: &Loops<'_>, p: &mut Point<'_, 'b>) -> Dim {
        let (b, domain) = (p.b, &self.map.domain);
        let last = domain.len() - 1;
        let others: Vec<usize> = (0..last).filter(|&k| k != self.axis).collect();
        let mut outer: Vec<Dim> = others.iter().map(|&k| domain[k].clone()).collect();
        outer.push(domain[self.axis].ceil_div(self.lanes));
        let rows = Dim::product(&outer);
        let cost: i64 = self.map.body.values.iter().map(|(v, _)| point::cost(v)).sum();
        let work = &domain[last] * self.lanes;
        let per_item = point::rows_per_item(&rows, &work, point::grain(cost));
        let tiles: Vec<Buf> = self
            .loads
            .iter()
            .map(|l| b.scratch(&format!("tile{}", l.id), self.map.body.dtype(l.id), WIDTH * self.lanes))
            .collect();
        let row = |p: &mut Point<'_, 'b>, row: Expr<'b>| {
            let mut at = b.unravel(row, &outer);
            let first = at.pop().expect("the tiled axis should be among the outer ones") * self.lanes;
            p.with_axes(others.iter().copied().zip(at), |p| {
                p.prepare(&loops.needed);
                b.for_step(LoopKind::Serial, 0, &domain[last], WIDTH, |column| {
                    self.tile(loops, p, first, column, &tiles);
                });
            });
        };
        let begin = b.grid() * &per_item;
        match per_item == Dim::ONE {
            true => row(p, begin),
            false => b.for_(begin, (begin + &per_item).min(&rows), |r| row(p, r)),
        }
        rows.ceil_div(&per_item)
    }

    /// The points from `first` along the tiled axis and from `column` along the last.
    fn tile<'b>(
        &self,
        loops: &Loops<'_>,
        p: &mut Point<'_, 'b>,
        first: Expr<'b>,
        column: Expr<'b>,
        tiles: &[Buf],
    ) {
        let (b, domain, last) = (p.b, &self.map.domain, self.map.domain.len() - 1);
        let lanes = self.lanes;
        let rows = (b.dim(&domain[self.axis]) - first).min(lanes);
        let columns = (b.dim(&domain[last]) - column).min(WIDTH);
        let mask = b.first_lanes(rows, lanes as u32);
        for (load, &tile) in self.loads.iter().zip(tiles) {
            let mut base = b.int(0);
            p.with_axes([(self.axis, first), (last, column)], |p| base = p.index(load.index));
            let buf = p.input(load.arg);
            b.for_step(LoopKind::Serial, 0, columns, lanes, |c| {
                let square = (0..lanes)
                    .map(|k| b.load_masked(buf, base + (c + k).min(columns - 1) * &load.stride, mask))
                    .collect();
                for (r, along) in transposed(b, square).into_iter().enumerate() {
                    b.store(tile, c + r as i64 * WIDTH, along);
                }
            });
        }
        b.for_(0, rows, |r| {
            p.with_axes([(self.axis, first + r)], |p| {
                b.vectorize(0, columns, |c| {
                    p.with_axes([(last, column + c)], |p| {
                        for (load, &tile) in self.loads.iter().zip(tiles) {
                            p.define(load.id, b.load(tile, r * WIDTH + c));
                        }
                        loops.stores(p);
                    });
                });
            });
        });
    }
}
