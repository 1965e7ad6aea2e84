//! The loops of an integer contraction: as those of a matrix product, with sums of four products at a time.
//!
//! A work item is a block of rows and some panels of columns. Rows that cannot be read four bytes at a time
//! where they stand are gathered into scratch memory first, once for all panels of the item.
use super::dot_rows::{copy_row, gather};
use super::tile::{Shape, Tile, ceil_div};
use super::write::{Args, Spot, View, Writer, index};
use crate::kernel::contract::Access;
use crate::kernel::dot::{Dot, Rows};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Ty};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};

/// Work items that keep several threads busy to the end.
const ITEMS: i64 = 8;
/// Bytes of rows of an item; they should stay in the second-level cache beside a panel.
const ROWS: i64 = 256 << 10;
/// Sums that hide the latency of a dot product, two of which start in a cycle.
const SUMS: i64 = 10;

impl Dot {
    /// The loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        let b = Builder::new(name);
        let grid = Loops::new(&b, self, target).build();
        b.finish(grid)
    }
}

struct Loops<'a, 'b> {
    b: &'b Builder,
    dot: &'a Dot,
    args: Args,
    shape: Shape,
    /// Rows of a work item.
    block: i64,
    /// Panels of a work item.
    panels: i64,
    /// Gathered rows, `groups · 4` bytes apart.
    rows: Option<Buf>,
    groups: i64,
    stage: Option<Buf>,
    vector_bytes: u32,
}

/// The rows of a block: the first byte of each, given its number.
type Place<'b> = Box<dyn Fn(Expr<'b>) -> Expr<'b> + 'b>;

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, dot: &'a Dot, target: &TargetSpec) -> Loops<'a, 'b> {
        let mut shape = Dot::shape(target, &dot.m, dot.n);
        // The width of the panels decides.
        shape.vectors = dot.b.width / i64::from(shape.lanes);
        let args = declare(b, dot);
        let groups = ceil_div(dot.k, 4);
        let in_place = match &dot.rows {
            Rows::Strided(a) => dot.k % 4 == 0 && a.strides[dot.batch.len() + 1] == 1,
            Rows::Windows(_) => false,
        };
        let tiles = dot.m.known().map_or(16, |m| ceil_div(m, shape.rows));
        let most = (ROWS / (groups * 4).max(1) / shape.rows).clamp(1, 64);
        // Blocks of one size, so that the last is not a small one.
        let block = ceil_div(tiles, ceil_div(tiles, most)) * shape.rows;
        let all = ceil_div(dot.n, dot.b.width);
        let others: i64 = dot.batch.iter().map(|d| d.known().unwrap_or(1)).product::<i64>()
            * dot.m.known().map_or(1, |m| ceil_div(m, block));
        let panels = if in_place { 1 } else { ceil_div(all, ceil_div(ITEMS, others.max(1)).min(all).max(1)) };
        let rows = (!in_place).then(|| b.scratch("rows", DType::U8, block * groups * 4));
        let last = dot.batch.len() + 1;
        let flat =
            |x: &Access| x.strides[last] == 1 || (x.strides[last] == 0 && x.arg != dot.epilogue.out.arg);
        let stage = Writer::stage(b, &dot.epilogue, DType::I32, shape, flat);
        Loops { b, dot, args, shape, block, panels, rows, groups, stage, vector_bytes: target.vector_bytes }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, dot) = (self.b, self.dot);
        let all = ceil_div(dot.n, self.shape.width());
        let mut grid = dot.batch.clone();
        grid.extend([dot.m.ceil_div(self.block), ceil_div(all, self.panels).into()]);
        let at = b.unravel(b.grid(), &grid);
        let (batch, rest) = at.split_at(dot.batch.len());
        let (first, panel) = (rest[0] * self.block, rest[1] * self.panels);
        let m = b.dim(&dot.m);
        let end = m.min(first + self.block);
        let (buf, place) = self.place(batch, first, end);
        let view = |access: &Access| View::matrix(b, &self.args, access, batch);
        let writer = Writer::new(b, &dot.epilogue, DType::I32, self.stage, view);
        let even = dot.n % self.shape.width() == 0;
        b.for_(panel, (panel + self.panels).min(all), |p| {
            let column = p * self.shape.width();
            let columns = (!even).then(|| b.int(dot.n) - column);
            let outer = dot.b.strides.iter().zip(batch).fold(b.int(0), |sum, (&s, &i)| sum + i * s);
            let panel = outer + p * (self.groups * 4 * self.shape.width());
            b.for_step(LoopKind::Serial, first, end, self.shape.rows, |i| {
                let tile = |shape: Shape| {
                    let row = |r: i64| place(if r == 0 { i } else { (i + r).min(end - 1) });
                    let rows: Vec<Expr<'b>> = (0..shape.rows).map(row).collect();
                    let tile = self.multiply(shape, buf, &rows, panel);
                    let rows = (shape.rows > 1).then(|| m - i);
                    writer.write(&tile, &Spot { row: i, column, rows, columns });
                };
                if dot.m.is_known() {
                    tile(self.shape);
                } else {
                    b.if_else((m - i).eq(1), || tile(Shape { rows: 1, ..self.shape }), || tile(self.shape));
                }
            });
        });
        Dim::product(&grid)
    }

    /// The sums of a tile.
    fn multiply(&self, shape: Shape, buf: Buf, rows: &[Expr<'b>], panel: Expr<'b>) -> Tile<'b> {
        let (b, width) = (self.b, shape.width());
        let count = shape.rows * shape.vectors;
        let parts = if count >= SUMS { 1 } else { ceil_div(SUMS, count).min(4) };
        let tiles: Vec<Tile<'b>> = (0..parts).map(|_| Tile::zeros(b, shape, DType::I32)).collect();
        let step = |tile: &Tile<'b>, g: Expr<'b>| {
            let columns: Vec<Expr<'b>> = (0..shape.vectors)
                .map(|v| {
                    let at = panel + g * (4 * width) + v * i64::from(4 * shape.lanes);
                    b.load_lanes(self.args.buf(self.dot.b.arg), at, 4 * shape.lanes).words()
                })
                .collect();
            for (r, &row) in rows.iter().enumerate() {
                let a = b.load_lanes(buf, row + g * 4, 4).words().splat(shape.lanes);
                for (v, &x) in columns.iter().enumerate() {
                    tile.at(r as i64, v as i64).update(|sum| b.dot(sum, a, x));
                }
            }
        };
        let whole = self.groups - self.groups % parts;
        let unroll = LoopKind::Unroll(if parts == 1 { 2 } else { 1 });
        b.for_step(unroll, 0, whole, parts, |g| {
            tiles.iter().zip(0i64..).for_each(|(tile, i)| step(tile, g + i));
        });
        b.for_(whole, self.groups, |g| step(&tiles[0], g));
        for tile in &tiles[1..] {
            tiles[0].sums.iter().zip(&tile.sums).for_each(|(s, t)| s.add(t.get()));
        }
        tiles.into_iter().next().expect("a tile should have a part")
    }

    /// The buffer of the rows of a block, and where each row stands.
    fn place(&self, batch: &[Expr<'b>], first: Expr<'b>, end: Expr<'b>) -> (Buf, Place<'b>) {
        let (b, depth) = (self.b, self.groups * 4);
        match (&self.dot.rows, self.rows) {
            (Rows::Strided(a), None) => {
                let (base, row) = (index(b, a, batch), b.dim(&a.strides[batch.len()]));
                (self.args.buf(a.arg), Box::new(move |i| base + i * row))
            }
            (Rows::Strided(a), Some(to)) => {
                let (from, base) = (self.args.buf(a.arg), index(b, a, batch));
                let [row, step] = [0, 1].map(|i| b.dim(&a.strides[batch.len() + i]));
                b.for_(first, end, |i| {
                    copy_row(b, from, (base + i * row, step), to, (i - first) * depth, self.dot.k);
                });
                (to, Box::new(move |i| (i - first) * depth))
            }
            (Rows::Windows(w), to) => {
                let to = to.expect("windows should be gathered");
                let pad = match &w.pad {
                    Some(pad) => b.load(self.args.buf(pad.arg), b.dim(&pad.offset)),
                    None => b.constant(Ty::of(DType::U8), 0i64),
                };
                let base = index(b, &w.x, &batch[..1]);
                let from = self.args.buf(w.x.arg);
                gather(b, w, (from, base), (to, depth), (first, end), (pad, self.vector_bytes));
                (to, Box::new(move |i| (i - first) * depth))
            }
        }
    }
}

fn declare(b: &Builder, dot: &Dot) -> Args {
    let mut inputs = vec![(dot.b.arg, DType::I8)];
    match &dot.rows {
        Rows::Strided(a) => inputs.push((a.arg, a.dtype)),
        Rows::Windows(w) => {
            inputs.push((w.x.arg, w.x.dtype));
            inputs.extend(w.pad.iter().map(|p| (p.arg, p.dtype)));
        }
    }
    inputs.extend(dot.epilogue.accesses.iter().map(|a| (a.arg, a.dtype)));
    Args::declare(b, &inputs, &[(dot.epilogue.out.arg, dot.epilogue.out.dtype)])
}
