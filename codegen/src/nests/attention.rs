//! The loops of attention: a work item is a head's block of queries, which stand in the lanes.
//!
//! Scores are kept with the keys as rows and the queries as columns, so that the softmax needs no sums
//! across lanes, and keys and values are read where they stand:
//! ```text
//! Qt[d][query] = scale · q         once
//! for blocks of keys:
//!     S[key][query]  = k · Qt      keys in place as the left operand
//!     S = exp(S - max)             with the running maximum and sum of each lane
//!     Ot[e][query]   = Ot · correction + v · S
//! out[query][e] = Ot / sum
//! ```
use super::attention_few::FEW;
use super::tile::{Left, Right, Shape, Tile, VectorUnit, transposed};
use super::transpose::Transpose;
use super::write::{Args, index};
use crate::kernel::attention::Attention;
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Ty, Variable};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};

/// Keys of a block.
pub(super) const KEYS: i64 = 128;

impl Attention {
    /// The loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        let unit = VectorUnit::of(target);
        let b = Builder::new(name);
        let shape =
            Shape::choose(unit, DType::F32, Some(self.value), self.queries.known(), 1..=8, &unit.vectors());
        let grid = Loops::new(&b, self, shape).build();
        b.finish(grid)
    }
}

pub(super) struct Loops<'a, 'b> {
    pub b: &'b Builder,
    pub attention: &'a Attention,
    pub args: Args,
    pub shape: Shape,
    pub queries: Buf,
    pub scores: Buf,
    pub values: Buf,
    /// The mask of a block of keys as something to be added.
    pub mask: Option<Buf>,
    /// The greatest score so far, and the sum of the exponentials.
    pub most: Buf,
    pub sums: Buf,
}

/// A work item.
pub(super) struct Item<'b> {
    pub batch: Expr<'b>,
    pub head: Expr<'b>,
    /// The head of keys and values.
    pub shared: Expr<'b>,
    /// The first query.
    pub query: Expr<'b>,
    /// Queries from there on that exist, at most the width.
    pub count: Expr<'b>,
}

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, attention: &'a Attention, shape: Shape) -> Loops<'a, 'b> {
        let Attention { q, k, v, mask, out, .. } = attention;
        let mut inputs: Vec<_> = [q, k, v].iter().map(|a| (a.arg, a.dtype)).collect();
        inputs.extend(mask.iter().map(|a| (a.arg, a.dtype)));
        let args = Args::declare(b, &inputs, &[(out.arg, out.dtype)]);
        let (lanes, width) = (i64::from(shape.lanes), shape.width());
        let scratch = |name: &str, rows: i64| b.scratch(name, DType::F32, rows * width);
        let full = mask.as_ref().is_some_and(|m| m.strides[2] != 0);
        Loops {
            queries: scratch("queries", attention.head + lanes),
            scores: scratch("scores", KEYS + shape.rows),
            values: scratch("values", attention.value + lanes.max(shape.rows)),
            mask: full.then(|| scratch("mask", KEYS + lanes)),
            most: scratch("most", 1),
            sums: scratch("sums", 1),
            b,
            attention,
            args,
            shape,
        }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, a) = (self.b, self.attention);
        let one_by_one = self.is_contiguous() && a.queries.known().is_some_and(|n| n < FEW);
        let width = if one_by_one { 1 } else { self.shape.width() };
        let grid = [a.batch.clone(), a.heads.clone(), a.queries.ceil_div(width)];
        let at = b.unravel(b.grid(), &grid);
        let query = at[2] * width;
        let count = (b.dim(&a.queries) - query).min(width);
        let item = Item { batch: at[0], head: at[1], shared: at[1].index_div(a.group), query, count };
        match a.queries.known() {
            _ if one_by_one => self.few(&item),
            None if self.is_contiguous() => {
                b.if_else(count.lt(FEW), || self.few(&item), || self.block(&item))
            }
            _ => self.block(&item),
        }
        Dim::product(&grid)
    }

    /// The queries of a work item, side by side.
    fn block(&self, item: &Item<'b>) {
        let (b, a) = (self.b, self.attention);
        self.load_queries(item);
        self.clear();
        let keys = b.dim(&a.keys);
        let end = match &a.causal {
            Some(offset) => keys.min((item.query + item.count + b.dim(offset)).max(0)),
            None => keys,
        };
        b.for_step(LoopKind::Serial, 0, end, KEYS, |first| {
            let count = (end - first).min(KEYS);
            self.score(item, first, count);
            self.prepare_mask(item, first, count);
            let correction = self.softmax(item, first, count);
            self.weigh(item, first, count, &correction);
        });
        self.store(item);
    }

    fn vector(&self) -> Ty {
        Ty { dtype: DType::F32, lanes: self.shape.lanes }
    }

    /// The position of each vector in a row.
    fn columns(&self) -> impl Iterator<Item = i64> + use<> {
        let lanes = i64::from(self.shape.lanes);
        (0..self.shape.vectors).map(move |v| v * lanes)
    }

    fn load_queries(&self, item: &Item<'b>) {
        let (b, a) = (self.b, self.attention);
        let base = index(b, &a.q, &[item.batch, item.head, item.query]);
        let transpose = Transpose {
            b,
            from: self.args.buf(a.q.arg),
            row: &|i| base + i * b.dim(&a.q.strides[2]),
            stride: b.dim(&a.q.strides[3]),
            rows: item.count,
            columns: b.int(a.head),
            map: &|x| x.cast(DType::F32) * a.scale,
            to: self.queries,
            width: self.shape.width(),
            lanes: self.shape.lanes,
        };
        transpose.copy();
    }

    fn clear(&self) {
        let (b, width) = (self.b, self.shape.width());
        let zero = b.constant(self.vector(), 0i64);
        for j in self.columns() {
            b.store(self.most, j, b.constant(self.vector(), f64::NEG_INFINITY));
            b.store(self.sums, j, zero);
        }
        b.for_(0, self.attention.value, |i| {
            self.columns().for_each(|j| b.store(self.values, i * width + j, zero))
        });
    }

    /// Scores of a block of keys.
    fn score(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>) {
        let (b, a, shape) = (self.b, self.attention, self.shape);
        let base = index(b, &a.k, &[item.batch, item.shared, first]);
        let right = self.right(self.queries);
        b.for_step(LoopKind::Serial, 0, count, shape.rows, |j| {
            let row = |r: i64| base + (j + r).min(count - 1) * b.dim(&a.k.strides[2]);
            let left = Left {
                buf: self.args.buf(a.k.arg),
                rows: (0..shape.rows).map(row).collect(),
                step: b.dim(&a.k.strides[3]),
            };
            let tile = Tile::zeros(b, shape, DType::F32);
            tile.multiply(b, &left, &right, b.int(a.head));
            tile.spill(b, self.scores, |r| (j + r) * shape.width());
        });
    }

    fn right(&self, buf: Buf) -> Right<'b> {
        let masks = vec![None; self.shape.vectors as usize];
        Right { buf, first: self.b.int(0), step: self.b.int(self.shape.width()), masks }
    }

    /// What is added to a score for an element of the mask.
    pub(super) fn addend(&self, x: Expr<'b>) -> Expr<'b> {
        let of = |value: f64| self.b.constant(Ty { dtype: DType::F32, ..x.ty() }, value);
        if x.ty().dtype == DType::Bool {
            x.select(of(0.0), of(f64::NEG_INFINITY))
        } else {
            x.cast(DType::F32)
        }
    }

    fn prepare_mask(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>) {
        let (Some(to), Some(mask), b) = (self.mask, &self.attention.mask, self.b) else { return };
        let base = index(b, mask, &[item.batch, item.head, item.query, first]);
        let transpose = Transpose {
            b,
            from: self.args.buf(mask.arg),
            row: &|i| base + i * b.dim(&mask.strides[2]),
            stride: b.dim(&mask.strides[3]),
            rows: item.count,
            columns: count,
            map: &|x| self.addend(x),
            to,
            width: self.shape.width(),
            lanes: self.shape.lanes,
        };
        transpose.copy();
    }

    /// A score with soft cap, mask and causal limit.
    fn limited(&self, score: Expr<'b>, item: &Item<'b>, key: Expr<'b>, row: Expr<'b>, j: i64) -> Expr<'b> {
        let (b, a) = (self.b, self.attention);
        let mut score = score;
        if let Some(cap) = a.softcap {
            score = (score * (1.0 / cap)).tanh() * cap;
        }
        match (&a.mask, self.mask) {
            (Some(_), Some(block)) => score = score + b.load_lanes(block, row + j, self.shape.lanes),
            (Some(mask), None) => {
                let at = index(b, mask, &[item.batch, item.head, b.int(0), key]);
                score = score + self.addend(b.load(self.args.buf(mask.arg), at)).splat(self.shape.lanes);
            }
            (None, _) => {}
        }
        if let Some(offset) = &a.causal {
            let last = (item.query + b.dim(offset) + j).cast(DType::I32);
            let seen = (b.iota(DType::I32, self.shape.lanes) + last).ge(key.cast(DType::I32));
            score = seen.select(score, b.constant(self.vector(), f64::NEG_INFINITY));
        }
        score
    }

    /// Makes the scores of a block of keys exponentials; returns the factors for what was summed before.
    fn softmax(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>) -> Vec<Expr<'b>> {
        let (b, a, lanes, width) = (self.b, self.attention, self.shape.lanes, self.shape.width());
        let limits = a.softcap.is_some() || a.mask.is_some() || a.causal.is_some();
        let most: Vec<Variable<'b>> =
            self.columns().map(|j| b.var(b.load_lanes(self.most, j, lanes))).collect();
        b.for_(0, count, |key| {
            for (j, most) in self.columns().zip(&most) {
                let mut score = b.load_lanes(self.scores, key * width + j, lanes);
                if limits {
                    score = self.limited(score, item, first + key, key * width, j);
                    b.store(self.scores, key * width + j, score);
                }
                // A comparison with NaN fails, so NaN scores do not become the maximum but stay in the sums.
                most.update(|most| score.gt(most).select(score, most));
            }
        });
        let lowest = b.constant(self.vector(), f64::from(f32::MIN));
        let shifts: Vec<Expr<'b>> = most.iter().map(|m| m.get().max(lowest)).collect();
        let zero = b.constant(self.vector(), 0i64);
        let sums: Vec<Variable<'b>> = most.iter().map(|_| b.var(zero)).collect();
        b.for_(0, count, |key| {
            for ((j, shift), sum) in self.columns().zip(&shifts).zip(&sums) {
                let at = key * width + j;
                let p = (b.load_lanes(self.scores, at, lanes) - *shift).exp();
                b.store(self.scores, at, p);
                sum.add(p);
            }
        });
        let factor = |((j, shift), (most, sum)): ((i64, &Expr<'b>), (&Variable<'b>, &Variable<'b>))| {
            let factor = (b.load_lanes(self.most, j, lanes) - *shift).exp();
            b.store(self.most, j, most.get());
            b.store(self.sums, j, b.fma(b.load_lanes(self.sums, j, lanes), factor, sum.get()));
            factor
        };
        self.columns().zip(&shifts).zip(most.iter().zip(&sums)).map(factor).collect()
    }

    /// Adds the values of a block of keys.
    fn weigh(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>, correction: &[Expr<'b>]) {
        let (b, a, shape) = (self.b, self.attention, self.shape);
        let base = index(b, &a.v, &[item.batch, item.shared, first]);
        let right = self.right(self.scores);
        b.for_step(LoopKind::Serial, 0, a.value, shape.rows, |i| {
            let row = |r: i64| {
                let e = if a.value % shape.rows == 0 { i + r } else { (i + r).min(a.value - 1) };
                base + e * b.dim(&a.v.strides[3])
            };
            let left = Left {
                buf: self.args.buf(a.v.arg),
                rows: (0..shape.rows).map(row).collect(),
                step: b.dim(&a.v.strides[2]),
            };
            let tile = Tile::zeros(b, shape, DType::F32);
            for r in 0..shape.rows {
                for ((j, factor), v) in self.columns().zip(correction).zip(0..) {
                    let before = b.load_lanes(self.values, (i + r) * shape.width() + j, shape.lanes);
                    tile.at(r, v).set(before * *factor);
                }
            }
            tile.multiply(b, &left, &right, count);
            tile.spill(b, self.values, |r| (i + r) * shape.width());
        });
    }

    /// Divides by the sums and stores.
    fn store(&self, item: &Item<'b>) {
        let (b, a, lanes, width) = (self.b, self.attention, self.shape.lanes, self.shape.width());
        let (out, step) = (self.args.buf(a.out.arg), i64::from(lanes));
        let base = index(b, &a.out, &[item.batch, item.head, item.query]);
        let place = |query: Expr<'b>| base + query * b.dim(&a.out.strides[2]);
        b.for_step(LoopKind::Serial, 0, item.count, step, |query| {
            let sum = b.load_lanes(self.sums, query, lanes);
            let zero = b.constant(self.vector(), 0i64);
            let factor = sum.eq(0.0).select(zero, 1.0 / sum);
            b.for_step(LoopKind::Serial, 0, a.value, step, |i| {
                let square =
                    (0..step).map(|l| b.load_lanes(self.values, (i + l) * width + query, lanes) * factor);
                let rows = transposed(b, square.collect());
                let mask = (a.value % step != 0).then(|| b.first_lanes(b.int(a.value) - i, lanes));
                for (l, row) in (0i64..).zip(rows) {
                    b.if_((query + l).lt(item.count), || self.store_row(out, place(query + l), i, row, mask));
                }
            });
        });
    }

    fn store_row(&self, out: Buf, place: Expr<'b>, i: Expr<'b>, row: Expr<'b>, mask: Option<Expr<'b>>) {
        let (b, stride) = (self.b, &self.attention.out.strides[3]);
        match mask {
            _ if *stride != 1 => {
                for l in 0..i64::from(self.shape.lanes) {
                    b.if_((i + l).lt(self.attention.value), || {
                        b.store(out, place + (i + l) * b.dim(stride), row.lane(l as u32))
                    });
                }
            }
            Some(mask) => b.store_masked(out, place + i, row, mask),
            None => b.store(out, place + i, row),
        }
    }
}
