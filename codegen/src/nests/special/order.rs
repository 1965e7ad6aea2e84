//! The places of greatest and least elements along an axis.
use super::{Special, split};
use crate::nest::Expr;
use sardonyx_tensor::Dim;

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
