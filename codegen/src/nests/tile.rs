//! Register tiles: the micro-kernel that all contractions share, and the choice of its shape.
//!
//! A tile of `rows` by `vectors · lanes` results is kept in registers while the loop over `k` loads
//! `vectors` vectors of the right operand and broadcasts `rows` elements of the left one:
//! ```text
//! for k: for v: b[v] = right[k][v]     for r: a = left[r][k]; for v: sum[r][v] += a * b[v]
//! ```
use crate::nest::{Buf, Builder, Expr, LoopKind, Ty, Variable};
use crate::target::TargetSpec;
use sardonyx_tensor::DType;
use std::ops::RangeInclusive;

/// What the tile's shape depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorUnit {
    /// Bytes of a vector register.
    pub bytes: u32,
    /// Vector registers.
    pub registers: u32,
}

impl VectorUnit {
    /// That of a target.
    pub fn of(target: &TargetSpec) -> VectorUnit {
        VectorUnit { bytes: target.vector_bytes, registers: target.vector_registers }
    }

    /// The numbers of vectors that a row of a tile may have.
    pub fn vectors(self) -> Vec<i64> {
        (1..=i64::from(self.registers) / 8).rev().collect()
    }

    /// Elements in a vector.
    pub fn lanes(self, dtype: DType) -> u32 {
        self.bytes / dtype.size() as u32
    }

    /// Registers that a tile's sums may take: the rest holds a row of the right operand and a broadcast.
    fn sums(self) -> i64 {
        i64::from(self.registers) * 3 / 4
    }
}

/// An unknown size, as the choice of a shape sees it: a multiple of all numbers of rows and vectors.
const LARGE: i64 = 16 * 27720;

/// The shape of a register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub rows: i64,
    /// Vectors in a row.
    pub vectors: i64,
    /// Elements in a vector.
    pub lanes: u32,
}

impl Shape {
    /// Elements in a row.
    pub fn width(self) -> i64 {
        self.vectors * i64::from(self.lanes)
    }

    /// Half cycles of one step of `k`: two multiply-adds and two loads a cycle, a latency of four.
    fn step(self) -> i64 {
        (self.rows * self.vectors).max(self.rows + self.vectors).max(8)
    }

    /// The best shape for `m` by `n` results (`None`: large), of a number of rows in `rows` and
    /// of vectors in `vectors`.
    pub fn choose(
        unit: VectorUnit,
        dtype: DType,
        m: Option<i64>,
        n: Option<i64>,
        rows: RangeInclusive<i64>,
        vectors: &[i64],
    ) -> Shape {
        let lanes = unit.lanes(dtype);
        let (m, n) = (m.unwrap_or(LARGE).max(1), n.unwrap_or(LARGE).max(1));
        let wide = ceil_div(n, i64::from(lanes));
        let candidates = vectors.iter().flat_map(|&vectors| {
            let most = (unit.sums() / vectors).min(*rows.end()).max(*rows.start());
            (*rows.start()..=most).map(move |rows| Shape { rows, vectors, lanes })
        });
        let cost = |s: &Shape| {
            let rest = wide % s.vectors;
            let last = if rest == 0 { 0 } else { s.step() };
            let tiles = ceil_div(m, s.rows);
            (tiles * (wide / s.vectors * s.step() + last), tiles * ceil_div(wide, s.vectors))
        };
        candidates.min_by_key(cost).expect("a tile should have a shape")
    }

    /// The bounds that `first_lanes` of the vectors make when only `columns` columns exist.
    pub fn masks<'b>(self, b: &'b Builder, columns: Option<Expr<'b>>) -> Vec<Option<Expr<'b>>> {
        (0..self.vectors)
            .map(|v| columns.map(|n| b.first_lanes(n - v * i64::from(self.lanes), self.lanes)))
            .collect()
    }
}

/// The left operand: element `(r, k)` stands at `rows[r] + k·step`.
pub struct Left<'b> {
    /// The buffer.
    pub buf: Buf,
    /// Where each row begins.
    pub rows: Vec<Expr<'b>>,
    /// The distance between neighbours in `k`.
    pub step: Expr<'b>,
}

/// The right operand: vector `v` of step `k` stands at `first + k·step + v·lanes`.
pub struct Right<'b> {
    /// The buffer.
    pub buf: Buf,
    /// Where the first element stands.
    pub first: Expr<'b>,
    /// The distance between neighbours in `k`.
    pub step: Expr<'b>,
    /// Which lanes of each vector exist; all where there is no mask.
    pub masks: Vec<Option<Expr<'b>>>,
}

impl<'b> Left<'b> {
    /// The operand from step `k` on.
    pub fn after(&self, k: Expr<'b>) -> Left<'b> {
        Left { rows: self.rows.iter().map(|row| *row + k * self.step).collect(), ..*self }
    }
}

impl<'b> Right<'b> {
    /// The operand from step `k` on.
    pub fn after(&self, k: Expr<'b>) -> Right<'b> {
        Right { first: self.first + k * self.step, masks: self.masks.clone(), ..*self }
    }
}

/// The sums of a tile, row by row, in registers.
pub struct Tile<'b> {
    /// Its shape.
    pub shape: Shape,
    /// `rows · vectors` vectors.
    pub sums: Vec<Variable<'b>>,
}

impl<'b> Tile<'b> {
    /// A tile of zeros.
    pub fn zeros(b: &'b Builder, shape: Shape, dtype: DType) -> Tile<'b> {
        let zero = b.constant(Ty { dtype, lanes: shape.lanes }, 0i64);
        let sums = (0..shape.rows * shape.vectors).map(|_| b.var(zero)).collect();
        Tile { shape, sums }
    }

    /// The vector `v` of row `r`.
    pub fn at(&self, r: i64, v: i64) -> Variable<'b> {
        self.sums[(r * self.shape.vectors + v) as usize]
    }

    /// Adds the products of `depth` steps. Small tiles use several sets of sums, to hide the latency.
    pub fn multiply(&self, b: &'b Builder, left: &Left<'b>, right: &Right<'b>, depth: Expr<'b>) {
        let tile = self.shape.rows * self.shape.vectors;
        let parts = if tile >= 8 { 1 } else { (8 / tile).min(4) };
        let extra: Vec<Tile<'b>> =
            (1..parts).map(|_| Tile::zeros(b, self.shape, self.sums[0].get().ty().dtype)).collect();
        let whole = if parts == 1 { depth } else { depth - depth.index_rem(parts) };
        let unroll = LoopKind::Unroll(if parts == 1 { 4 } else { 1 });
        b.for_step(unroll, 0, whole, parts, |k| {
            self.step(b, left, right, k);
            extra.iter().zip(1i64..).for_each(|(t, i)| t.step(b, left, right, k + i));
        });
        if parts > 1 {
            b.for_(whole, depth, |k| self.step(b, left, right, k));
        }
        for t in &extra {
            self.sums.iter().zip(&t.sums).for_each(|(s, t)| s.add(t.get()));
        }
    }

    fn step(&self, b: &'b Builder, left: &Left<'b>, right: &Right<'b>, k: Expr<'b>) {
        let (ty, lanes) = (self.sums[0].get().ty(), self.shape.lanes);
        let at = right.first + k * right.step;
        let columns: Vec<Expr<'b>> = (0..self.shape.vectors)
            .map(|v| {
                let index = at + v * i64::from(lanes);
                match right.masks[v as usize] {
                    Some(mask) => b.load_masked(right.buf, index, mask),
                    None => b.load_lanes(right.buf, index, lanes),
                }
            })
            .map(|x| x.cast(ty.dtype))
            .collect();
        for (r, row) in left.rows.iter().enumerate() {
            let a = b.load(left.buf, *row + k * left.step).cast(ty.dtype).splat(lanes);
            for (v, &x) in columns.iter().enumerate() {
                let sum = self.at(r as i64, v as i64);
                if ty.dtype.is_float() { sum.add_product(a, x) } else { sum.add(a * x) }
            }
        }
    }

    /// Takes up the sums that [`Tile::spill`] wrote.
    pub fn resume(&self, b: &'b Builder, buf: Buf, first: impl Fn(i64) -> Expr<'b>) {
        for r in 0..self.shape.rows {
            for v in 0..self.shape.vectors {
                let at = first(r) + v * i64::from(self.shape.lanes);
                self.at(r, v).set(b.load_lanes(buf, at, self.shape.lanes));
            }
        }
    }

    /// Writes the sums to consecutive rows of `buf`, `shape.width()` apart.
    pub fn spill(&self, b: &'b Builder, buf: Buf, first: impl Fn(i64) -> Expr<'b>) {
        for r in 0..self.shape.rows {
            for v in 0..self.shape.vectors {
                b.store(buf, first(r) + v * i64::from(self.shape.lanes), self.at(r, v).get());
            }
        }
    }
}

/// A square of vectors with rows and columns exchanged; its size is a power of two.
pub fn transposed<'b>(b: &'b Builder, mut rows: Vec<Expr<'b>>) -> Vec<Expr<'b>> {
    let n = rows.len() as u32;
    let mut distance = 1;
    while distance < n {
        let upper: Vec<u32> = (0..n).map(|l| if l & distance == 0 { l } else { n + l - distance }).collect();
        let lower: Vec<u32> = (0..n).map(|l| if l & distance == 0 { l + distance } else { n + l }).collect();
        for i in (0..n).filter(|i| i & distance == 0) {
            let (x, y) = (rows[i as usize], rows[(i + distance) as usize]);
            rows[i as usize] = b.shuffle(x, y, &upper);
            rows[(i + distance) as usize] = b.shuffle(x, y, &lower);
        }
        distance *= 2;
    }
    rows
}

/// Bytes of a panel of columns that stay in the second-level cache while rows stream past.
const PANEL: i64 = 512 << 10;

/// Into how many parts a sum over `depth` elements is cut, so that a panel of columns stays in the cache.
pub fn parts(depth: i64, shape: Shape, dtype: DType) -> i64 {
    let bytes = depth * shape.width() * dtype.size() as i64;
    if bytes * 4 > PANEL * 5 { ceil_div(bytes, PANEL) } else { 1 }
}

/// `a / b` rounded up.
pub fn ceil_div(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}
