//! Attention of few queries, one after the other: the elements of keys and values stand in the lanes, and
//! both are read once, as in a step of text generation.
use super::attention::{Item, KEYS, Loops};
use super::write::index;
use crate::kernel::contract::Access;
use crate::nest::{Expr, LoopKind, Ty, Variable};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;

/// Queries of a work item below which the queries do not fill the lanes.
pub(super) const FEW: i64 = 6;

impl<'b> Loops<'_, 'b> {
    /// Whether all elements of a head stand side by side.
    pub(super) fn is_contiguous(&self) -> bool {
        let a = self.attention;
        [&a.q, &a.k, &a.v, &a.out].iter().all(|x| x.strides[3] == 1)
    }

    /// The queries of a work item.
    pub(super) fn few(&self, item: &Item<'b>) {
        let (b, a) = (self.b, self.attention);
        b.for_(0, item.count, |i| {
            let query = item.query + i;
            let from = index(b, &a.q, &[item.batch, item.head, query]);
            let queries: Vec<Expr<'b>> =
                self.vectors(&a.q, from, a.head).into_iter().map(|x| x * a.scale).collect();
            let zero = b.constant(Ty::of(DType::F32), 0i64);
            let (most, sum) = (b.var(b.f32(f64::NEG_INFINITY)), b.var(zero));
            let values: Vec<Variable<'b>> =
                self.pieces(a.value).map(|_| b.var(zero.splat(self.shape.lanes))).collect();
            let keys = b.dim(&a.keys);
            let end = a.causal.as_ref().map_or(keys, |offset| keys.min((query + 1 + b.dim(offset)).max(0)));
            b.for_step(LoopKind::Serial, 0, end, KEYS, |first| {
                let count = (end - first).min(KEYS);
                self.products(item, first, count, &queries);
                let factor = self.exponentials(item, query, (first, count), most, sum);
                values.iter().for_each(|v| v.update(|v| v * factor));
                self.add_values(item, first, count, &values);
            });
            let factor = sum.get().eq(0.0).select(zero, 1.0 / sum.get());
            let to = index(b, &a.out, &[item.batch, item.head, query]);
            for ((at, mask), value) in self.pieces(a.value).zip(&values) {
                let (buf, value) = (self.args.buf(a.out.arg), value.get() * factor);
                match mask {
                    Some(mask) => b.store_masked(buf, to + at, value, mask),
                    None => b.store(buf, to + at, value),
                }
            }
        });
    }

    /// The vectors that hold `elements` elements, with the mask of the last.
    fn pieces(&self, elements: i64) -> impl Iterator<Item = (i64, Option<Expr<'b>>)> + use<'b> {
        let (b, lanes) = (self.b, self.shape.lanes);
        (0..elements).step_by(lanes as usize).map(move |at| {
            let rest = elements - at;
            (at, (rest < i64::from(lanes)).then(|| b.first_lanes(b.int(rest), lanes)))
        })
    }

    fn vectors(&self, access: &Access, from: Expr<'b>, elements: i64) -> Vec<Expr<'b>> {
        let (b, buf) = (self.b, self.args.buf(access.arg));
        let load = |(at, mask): (i64, Option<Expr<'b>>)| match mask {
            Some(mask) => b.load_masked(buf, from + at, mask),
            None => b.load_lanes(buf, from + at, self.shape.lanes),
        };
        self.pieces(elements).map(load).map(|x| x.cast(DType::F32)).collect()
    }

    /// The products of a query with a block of keys.
    fn products(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>, query: &[Expr<'b>]) {
        let (b, a) = (self.b, self.attention);
        let base = index(b, &a.k, &[item.batch, item.shared, first]);
        b.for_step(LoopKind::Unroll(4), 0, count, 1, |j| {
            let key = self.vectors(&a.k, base + j * b.dim(&a.k.strides[2]), a.head);
            let products = key.iter().zip(query).map(|(k, q)| *k * *q);
            let sum = products.reduce(|x, y| x + y).map_or(b.f32(0.0), |sum| sum.reduce(Prim::Add));
            b.store(self.scores, j, sum);
        });
    }

    /// Makes products exponentials, and returns the factor of what was summed before.
    fn exponentials(
        &self,
        item: &Item<'b>,
        query: Expr<'b>,
        keys: (Expr<'b>, Expr<'b>),
        most: Variable<'b>,
        sum: Variable<'b>,
    ) -> Expr<'b> {
        let (b, a) = (self.b, self.attention);
        if a.softcap.is_some() || a.mask.is_some() {
            b.vectorize(0, keys.1, |j| {
                let mut score = b.load(self.scores, j);
                if let Some(cap) = a.softcap {
                    score = (score * (1.0 / cap)).tanh() * cap;
                }
                if let Some(mask) = &a.mask {
                    let at = index(b, mask, &[item.batch, item.head, query, keys.0 + j]);
                    score = score + self.addend(b.load(self.args.buf(mask.arg), at));
                }
                b.store(self.scores, j, score);
            });
        }
        let before = most.get();
        b.reduce(0, keys.1, |j| {
            let score = b.load(self.scores, j);
            most.update(|most| score.gt(most).select(score, most));
        });
        let shift = most.get().max(f64::from(f32::MIN));
        b.vectorize(0, keys.1, |j| b.store(self.scores, j, (b.load(self.scores, j) - shift).exp()));
        let factor = (before - shift).exp();
        sum.update(|sum| sum * factor);
        b.reduce(0, keys.1, |j| sum.add(b.load(self.scores, j)));
        factor
    }

    fn add_values(&self, item: &Item<'b>, first: Expr<'b>, count: Expr<'b>, values: &[Variable<'b>]) {
        let (b, a) = (self.b, self.attention);
        let base = index(b, &a.v, &[item.batch, item.shared, first]);
        b.for_step(LoopKind::Unroll(2), 0, count, 1, |j| {
            let weight = b.load(self.scores, j).splat(self.shape.lanes);
            let row = self.vectors(&a.v, base + j * b.dim(&a.v.strides[2]), a.value);
            values.iter().zip(row).for_each(|(sum, v)| sum.add_product(weight, v));
        });
    }
}
