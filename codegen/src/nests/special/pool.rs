//! Maxima of windows with their places: a work item is one row of outputs of a channel.
use super::Special;
use crate::nest::{Expr, Ty, Variable};
use sardonyx_ir::Op;
use sardonyx_tensor::{DType, Dim};

/// The windows of a pooling.
struct Windows<'a, 'b> {
    s: &'b Special<'a>,
    kernel: &'b [i64],
    dilations: &'b [i64],
    /// The sizes of the input.
    space: &'b [Dim],
    /// The input's first element of the channel.
    base: Expr<'b>,
    best: Variable<'b>,
    /// Where it is in the plane; -1 if nothing was seen.
    place: Variable<'b>,
}

pub(super) fn max_pool_indices(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::MaxPoolIndices { kernel, strides, pads, dilations, column_major, .. } = op else { return None };
    let (b, x, y) = (&s.b, &s.operands[0], &s.results[0]);
    let (from, to) = (&x.shape[2..], &y.shape[2..]);
    let first = to.first().cloned().unwrap_or(Dim::ONE);
    let (plane, row) = (b.grid().index_div(b.dim(&first)), b.grid().index_rem(b.dim(&first)));
    let inner = Dim::product(to.get(1..).unwrap_or_default());
    let base = plane * b.dim(&Dim::product(from));
    b.for_(0, &inner, |j| {
        let mut at = vec![row];
        at.extend(b.unravel(j, to.get(1..).unwrap_or_default()));
        let starts: Vec<Expr<'_>> = (0..from.len()).map(|d| at[d] * strides[d] - pads[d]).collect();
        let lowest = match x.dtype {
            t if t.is_float() => b.constant(Ty::of(t), f64::NEG_INFINITY),
            t => b.constant(Ty::of(t), i64::try_from(t.int_range().0).unwrap_or(i64::MIN)),
        };
        let windows =
            Windows { s, kernel, dilations, space: from, base, best: b.var(lowest), place: b.var(b.int(-1)) };
        windows.walk(&starts, 0, b.int(0));
        let place = windows.place.get().max(0);
        let counted = if *column_major { columns(place, from) } else { place };
        let out = b.grid() * b.dim(&inner) + j;
        b.store(s.outputs[0], out, windows.best.get());
        b.store(s.outputs[1], out, base + counted);
    });
    Some(Dim::product(&y.shape[..2]) * first)
}

impl<'b> Windows<'_, 'b> {
    /// Loops over the taps from dimension `d` on, at `row` of the dimensions before.
    fn walk(&self, starts: &[Expr<'b>], d: usize, row: Expr<'b>) {
        let b = &self.s.b;
        if d == self.space.len() {
            let v = b.load(self.s.inputs[0], self.base + row);
            let (best, place) = (self.best.get(), self.place.get());
            let mut better = place.lt(0).or(v.gt(best));
            if v.ty().dtype.is_float() {
                better = better.or(v.is_nan().and(best.is_nan().not()));
            }
            self.best.set(better.select(v, best));
            self.place.set(better.select(row, place));
            return;
        }
        b.for_(0, self.kernel[d], |u| {
            let at = starts[d] + u * self.dilations[d];
            b.if_(at.ge(0).and(at.lt(b.dim(&self.space[d]))), || {
                self.walk(starts, d + 1, row * b.dim(&self.space[d]) + at);
            });
        });
    }
}

/// A row-major place as it is counted column-major.
fn columns<'b>(place: Expr<'b>, space: &[Dim]) -> Expr<'b> {
    let b = place.builder();
    let at = b.unravel(place, space);
    let (mut sum, mut step) = (b.int(0), b.int(1));
    for (i, d) in at.into_iter().zip(space) {
        sum = sum + i * step;
        step = step * b.dim(d);
    }
    sum.cast(DType::I64)
}
