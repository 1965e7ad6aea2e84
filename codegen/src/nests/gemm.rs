//! The loops of a matrix product: blocks of rows by panels of columns are work items, register tiles
//! inside.
//!
//! Constant columns are panels made at compile time; others are packed into such a panel for each work
//! item, or read in place where few rows share them. Rows are read in place: a broadcast load costs the
//! same wherever it comes from.
use super::tile::{Left, Right, Shape, Tile, VectorUnit, ceil_div, parts};
use super::transpose::Transpose;
use super::write::{Args, Spot, View, Writer, index};
use crate::kernel::contract::{Access, Gemm, Operand, Panels};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};
use std::ops::RangeInclusive;

/// Work items that keep several threads busy to the end.
const ITEMS: i64 = 32;
/// Rows from which on packing the columns pays.
const PACK_ROWS: i64 = 16;

impl Gemm {
    /// The type of the sums.
    pub fn accumulator(&self) -> DType {
        let dtype = |o: &Operand| match o {
            Operand::Strided(access) => access.dtype,
            Operand::Packed(panels) => panels.dtype,
        };
        crate::kernel::contract::accumulator(dtype(&self.a), dtype(&self.b))
    }

    /// The tile's shape; the widths of panels that exist already decide.
    pub fn shape(&self, unit: VectorUnit) -> Shape {
        match &self.a {
            Operand::Packed(panels) => self.shape_with(unit, panels.width..=panels.width),
            Operand::Strided(_) => self.shape_with(unit, 1..=8),
        }
    }

    /// The best shape of a number of rows in this range.
    pub(crate) fn shape_with(&self, unit: VectorUnit, rows: RangeInclusive<i64>) -> Shape {
        let sum = self.accumulator();
        let lanes = i64::from(unit.lanes(sum));
        let vectors = match &self.b {
            Operand::Packed(panels) => vec![panels.width / lanes],
            Operand::Strided(_) => unit.vectors(),
        };
        Shape::choose(unit, sum, self.m.known(), self.n.known(), rows, &vectors)
    }

    /// The loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        let unit = VectorUnit::of(target);
        let gemm = self.merged();
        let b = Builder::new(name);
        let grid = Loops::new(&b, &gemm, unit).build();
        b.finish(grid)
    }
}

/// How the columns of a panel are reached.
enum Columns {
    Panels(Panels),
    InPlace(Access),
    Packed(Access, Buf),
}

struct Loops<'a, 'b> {
    b: &'b Builder,
    gemm: &'a Gemm,
    args: Args,
    sum: DType,
    shape: Shape,
    /// Rows of a work item.
    block: i64,
    columns: Columns,
    /// Rows converted to the type of the sums, where they have another one.
    rows: Option<Buf>,
    stage: Option<Buf>,
    /// Parts of the sums, and where the sums wait in between.
    parts: i64,
    sums: Option<Buf>,
}

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, gemm: &'a Gemm, unit: VectorUnit) -> Loops<'a, 'b> {
        let (sum, shape) = (gemm.accumulator(), gemm.shape(unit));
        let args = declare(b, gemm);
        let few = gemm.m.known().is_some_and(|m| m <= PACK_ROWS);
        let columns = match &gemm.b {
            Operand::Packed(panels) => Columns::Panels(panels.clone()),
            Operand::Strided(access) if few && access.strides[gemm.batch.len() + 1] == 1 => {
                Columns::InPlace(access.clone())
            }
            Operand::Strided(access) => Columns::Packed(
                access.clone(),
                b.scratch("panel", sum, (&gemm.k + i64::from(shape.lanes)) * shape.width()),
            ),
        };
        let packs = matches!(columns, Columns::Packed(..));
        let block = block(gemm, shape, packs);
        let rows = match &gemm.a {
            Operand::Strided(access) if access.dtype != sum => Some(b.scratch("rows", sum, &gemm.k * block)),
            _ => None,
        };
        let last = gemm.batch.len() + 1;
        let flat =
            |x: &Access| x.strides[last] == 1 || (x.strides[last] == 0 && x.arg != gemm.epilogue.out.arg);
        let stage = Writer::stage(b, &gemm.epilogue, sum, shape, flat);
        let parts = gemm.k.known().filter(|_| block > 2 * shape.rows).map_or(1, |k| parts(k, shape, sum));
        let sums = (parts > 1).then(|| b.scratch("sums", sum, block * shape.width()));
        Loops { b, gemm, args, sum, shape, block, columns, rows, stage, parts, sums }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, gemm) = (self.b, self.gemm);
        let blocks = gemm.m.ceil_div(self.block);
        let panels = gemm.n.ceil_div(self.shape.width());
        let mut grid = gemm.batch.clone();
        grid.extend([panels, blocks]);
        let at = b.unravel(b.grid(), &grid);
        let (batch, rest) = at.split_at(gemm.batch.len());
        let (first, column) = (rest[1] * self.block, rest[0] * self.shape.width());
        let m = b.dim(&gemm.m);
        let end = if gemm.m.known().is_some_and(|m| m % self.block == 0) {
            first + self.block
        } else {
            m.min(first + self.block)
        };
        let even = gemm.n.known().is_some_and(|n| n % self.shape.width() == 0);
        let left = (!even).then(|| b.dim(&gemm.n) - column);
        let right = self.right(batch, rest[0], column, left);
        let left_of = self.left(batch, first, end);
        let view = |access: &Access| View::matrix(b, &self.args, access, batch);
        let writer = Writer::new(b, &gemm.epilogue, self.sum, self.stage, view);
        let ragged = gemm.m.known().is_none_or(|m| m % self.shape.rows != 0);
        b.for_(0, self.parts, |part| {
            let (from, depth) = self.part(part);
            b.for_step(LoopKind::Serial, first, end, self.shape.rows, |i| {
                let tile = |shape: Shape| {
                    let tile = Tile::zeros(b, shape, self.sum);
                    let sums = |r: i64| (i - first + r) * shape.width();
                    if let Some(buf) = self.sums {
                        b.if_(part.gt(0), || tile.resume(b, buf, sums));
                    }
                    tile.multiply(b, &left_of(i, shape.rows).after(from), &right.after(from), depth);
                    let rows = (ragged && shape.rows > 1).then(|| m - i);
                    let write = || writer.write(&tile, &Spot { row: i, column, rows, columns: left });
                    match self.sums {
                        Some(buf) => b.if_else(part.lt(self.parts - 1), || tile.spill(b, buf, sums), write),
                        None => write(),
                    }
                };
                // A single row is common where the number of rows is not known: a step of text generation.
                if gemm.m.is_known() || matches!(gemm.a, Operand::Packed(_)) {
                    tile(self.shape);
                } else {
                    b.if_else((m - i).eq(1), || tile(Shape { rows: 1, ..self.shape }), || tile(self.shape));
                }
            });
        });
        Dim::product(&grid)
    }

    /// Where a part of the sums begins, and its length.
    fn part(&self, part: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
        let (b, k) = (self.b, self.b.dim(&self.gemm.k));
        match self.gemm.k.known().filter(|_| self.parts > 1) {
            Some(known) => {
                let from = part * ceil_div(known, self.parts);
                (from, (k - from).min(ceil_div(known, self.parts)))
            }
            None => (b.int(0), k),
        }
    }

    fn right(
        &self,
        batch: &[Expr<'b>],
        panel: Expr<'b>,
        column: Expr<'b>,
        left: Option<Expr<'b>>,
    ) -> Right<'b> {
        let (b, width) = (self.b, self.shape.width());
        let unmasked = || vec![None; self.shape.vectors as usize];
        match &self.columns {
            Columns::Panels(p) => {
                let base = p.strides.iter().zip(batch).fold(b.int(0), |sum, (&s, &i)| sum + i * s);
                let first = base + panel * (b.dim(&self.gemm.k) * width);
                Right { buf: self.args.buf(p.arg), first, step: b.int(width), masks: unmasked() }
            }
            Columns::InPlace(access) => {
                let first = index(b, access, batch) + column;
                let step = b.dim(&access.strides[batch.len()]);
                Right { buf: self.args.buf(access.arg), first, step, masks: self.shape.masks(b, left) }
            }
            Columns::Packed(access, panel) => {
                let from = index(b, access, batch) + column * b.dim(&access.strides[batch.len() + 1]);
                self.pack(access, from, *panel, left);
                Right { buf: *panel, first: b.int(0), step: b.int(width), masks: unmasked() }
            }
        }
    }

    /// Copies the columns from `from` on into a panel.
    fn pack(&self, access: &Access, from: Expr<'b>, panel: Buf, left: Option<Expr<'b>>) {
        let (b, shape, src) = (self.b, self.shape, self.args.buf(access.arg));
        let [down, across] = [0, 1].map(|i| &access.strides[self.gemm.batch.len() + i]);
        let k = b.dim(&self.gemm.k);
        if *across == 1 {
            let masks = shape.masks(b, left);
            b.for_(0, k, |i| {
                for (v, mask) in masks.iter().enumerate() {
                    let j = v as i64 * i64::from(shape.lanes);
                    let at = from + i * b.dim(down) + j;
                    let x = match mask {
                        Some(mask) => b.load_masked(src, at, *mask),
                        None => b.load_lanes(src, at, shape.lanes),
                    };
                    b.store(panel, i * shape.width() + j, x.cast(self.sum));
                }
            });
        } else if *down == 1 {
            let transpose = Transpose {
                b,
                from: src,
                row: &|j| from + j * b.dim(across),
                stride: b.int(1),
                rows: left.map_or(b.int(shape.width()), |n| n.min(shape.width())),
                columns: k,
                map: &|x| x.cast(self.sum),
                to: panel,
                width: shape.width(),
                lanes: shape.lanes,
            };
            transpose.copy();
        } else {
            let columns = left.map_or(b.int(shape.width()), |n| n.min(shape.width()));
            b.for_(0, k, |i| {
                b.vectorize(0, columns, |j| {
                    let x = b.load(src, from + i * b.dim(down) + j * b.dim(across));
                    b.store(panel, i * shape.width() + j, x.cast(self.sum));
                });
            });
        }
    }

    /// Where the rows of a tile stand: those beyond the last repeat it.
    fn left(
        &self,
        batch: &[Expr<'b>],
        first: Expr<'b>,
        end: Expr<'b>,
    ) -> impl Fn(Expr<'b>, i64) -> Left<'b> + use<'b> {
        let b = self.b;
        let k = b.dim(&self.gemm.k);
        let even = self.gemm.m.known().is_some_and(|m| m % self.shape.rows == 0);
        let (buf, base, origin, row, step) = match (&self.gemm.a, self.rows) {
            (Operand::Packed(p), _) => {
                let base = p.strides.iter().zip(batch).fold(b.int(0), |sum, (&s, &i)| sum + i * s);
                (self.args.buf(p.arg), base, None, b.int(1), b.int(p.width))
            }
            (Operand::Strided(access), None) => {
                let [row, step] = [0, 1].map(|i| b.dim(&access.strides[batch.len() + i]));
                (self.args.buf(access.arg), index(b, access, batch), Some(b.int(0)), row, step)
            }
            (Operand::Strided(access), Some(rows)) => {
                self.convert(access, index(b, access, batch), rows, first, end);
                (rows, b.int(0), Some(first), k, b.int(1))
            }
        };
        move |i, count| {
            let place = |r: i64| match origin {
                None => base + i * k + r,
                Some(origin) if even || r == 0 => base + (i + r - origin) * row,
                Some(origin) => base + ((i + r).min(end - 1) - origin) * row,
            };
            Left { buf, rows: (0..count).map(place).collect(), step }
        }
    }

    /// Copies the rows of the work item, converted to the type of the sums.
    fn convert(&self, access: &Access, base: Expr<'b>, to: Buf, first: Expr<'b>, end: Expr<'b>) {
        let (b, src) = (self.b, self.args.buf(access.arg));
        let [row, step] = [0, 1].map(|i| b.dim(&access.strides[self.gemm.batch.len() + i]));
        let k = b.dim(&self.gemm.k);
        b.for_(first, end, |i| {
            b.vectorize(0, k, |j| {
                b.store(to, (i - first) * k + j, b.load(src, base + i * row + j * step).cast(self.sum));
            });
        });
    }
}

fn declare(b: &Builder, gemm: &Gemm) -> Args {
    let operand = |o: &Operand| match o {
        Operand::Strided(access) => (access.arg, access.dtype),
        Operand::Packed(panels) => (panels.arg, panels.dtype),
    };
    let mut inputs = vec![operand(&gemm.a), operand(&gemm.b)];
    inputs.extend(gemm.epilogue.accesses.iter().map(|a| (a.arg, a.dtype)));
    Args::declare(b, &inputs, &[(gemm.epilogue.out.arg, gemm.epilogue.out.dtype)])
}

/// Rows of a work item: a multiple of the tile's, so many that a packed panel pays, so few that there are
/// enough items.
fn block(gemm: &Gemm, shape: Shape, packs: bool) -> i64 {
    let few = if packs { 16 } else { 8 };
    let Some(m) = gemm.m.known() else { return shape.rows * 16 };
    let others: Option<i64> =
        gemm.batch.iter().chain([&gemm.n.ceil_div(shape.width())]).map(Dim::known).product();
    let wanted = ITEMS / others.unwrap_or(1).clamp(1, ITEMS);
    let tiles = ceil_div(m, shape.rows);
    ceil_div(tiles, wanted).max(few).min(tiles).clamp(1, 64) * shape.rows
}
