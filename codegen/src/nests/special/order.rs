//! Greatest and least elements along an axis, by index and in order.
use super::{Special, split};
use crate::nest::Expr;
use sardonyx_tensor::{DType, Dim};

/// The index of the greatest or least element, the first or last of equal ones; NaN counts as neither.
pub(super) fn arg(s: &Special<'_>, axis: i64, last: bool, greatest: bool) -> Dim {
    let [outer, n, inner] = split(&s.operands[0], axis);
    let b = &s.b;
    let base = b.grid().index_div(b.dim(&inner)) * b.dim(&(&n * &inner)) + b.grid().index_rem(b.dim(&inner));
    let best = b.var(b.load(s.inputs[0], base));
    let index = b.var(b.int(0));
    b.for_(1, &n, |i| {
        let x = b.load(s.inputs[0], base + i * b.dim(&inner));
        b.if_(beats(x, best.get(), greatest, last), || {
            best.set(x);
            index.set(i);
        });
    });
    b.store(s.outputs[0], b.grid(), index.get());
    outer * inner
}

/// Whether `x` comes before `y`; `ties` says what holds for equal ones.
fn beats<'b>(x: Expr<'b>, y: Expr<'b>, greatest: bool, ties: bool) -> Expr<'b> {
    match (greatest, ties) {
        (true, false) => x.gt(y),
        (true, true) => x.ge(y),
        (false, false) => x.lt(y),
        (false, true) => x.le(y),
    }
}

/// The `k` greatest or least elements in order, equal ones by index: insertion into the results, each of
/// which is found place by place from the back.
pub(super) fn top_k(s: &Special<'_>, axis: i64, k: &Dim, largest: bool) -> Dim {
    let [outer, n, inner] = split(&s.operands[0], axis);
    let b = &s.b;
    let (row, column) = (b.grid().index_div(b.dim(&inner)), b.grid().index_rem(b.dim(&inner)));
    let from = row * b.dim(&(&n * &inner)) + column;
    let to = row * b.dim(&(k * &inner)) + column;
    let [values, indices] = [s.outputs[0], s.outputs[1]];
    let inner_size = b.dim(&inner);
    b.for_(0, &n, |i| {
        let x = b.load(s.inputs[0], from + i * b.dim(&inner));
        // Where `x` goes: behind all results that it does not beat.
        let at = b.var(i.min(b.dim(k)));
        b.while_(
            || {
                let before = (at.get() - 1).max(0);
                let other = b.load(values, to + (before) * inner_size);
                at.get().gt(0).and(beats(x, other, largest, false))
            },
            || at.add(-1),
        );
        let last = (i + 1).min(b.dim(k)) - 1;
        b.if_(at.get().le(last), || {
            b.for_(0, last - at.get(), |j| {
                let (from, to) = (last - j - 1, last - j);
                b.store(values, to + (to) * inner_size, b.load(values, to + (from) * inner_size));
                b.store(indices, to + (to) * inner_size, b.load(indices, to + (from) * inner_size));
            });
            b.store(values, to + (at.get()) * inner_size, x);
            b.store(indices, to + (at.get()) * inner_size, i.cast(DType::I64));
        });
    });
    outer * inner
}
