//! Sampling at the points of a grid (ONNX GridSample).
use super::Special;
use super::resize::{Count, Kernel, Taps, combine, result};
use crate::nest::{Builder, Expr, Ty};
use sardonyx_ir::ops::attribute::{Interpolation, Padding};
use sardonyx_tensor::{DType, Dim};

const F64: Ty = Ty { dtype: DType::F64, lanes: 1 };

/// One work item per image and channel.
pub(super) fn grid_sample(
    s: &Special<'_>,
    mode: Interpolation,
    padding: Padding,
    align_corners: bool,
) -> Option<Dim> {
    let (x, y) = (&s.operands[0], &s.results[0]);
    let spatial = x.rank() - 2;
    let b = &s.b;
    let image = b.grid().index_div(b.dim(&x.shape[1]));
    let pixels = Dim::product(&y.shape[2..]);
    b.for_(0, &pixels, |p| {
        let point = (image * b.dim(&pixels) + p) * spatial as i64;
        let axes: Vec<Taps<'_>> = (0..spatial)
            .map(|d| {
                // The grid names the innermost coordinate first.
                let at = b.load(s.inputs[1], point + (spatial - 1 - d) as i64).cast(DType::F64);
                taps(b, at, &x.shape[2 + d], mode, padding, align_corners)
            })
            .collect();
        let plane = Taps {
            first: b.grid(),
            count: Count::Known(1),
            weight: Box::new(move |_| b.constant(F64, 1.0)),
            place: Box::new(|i| i),
        };
        let taps: Vec<&Taps<'_>> = std::iter::once(&plane).chain(&axes).collect();
        let shape: Vec<Dim> =
            std::iter::once(&x.shape[0] * &x.shape[1]).chain(x.shape[2..].iter().cloned()).collect();
        let value = combine(s, &taps, &shape);
        b.store(s.outputs[0], b.grid() * b.dim(&pixels) + p, result(value, y.dtype));
    });
    Some(&x.shape[0] * &x.shape[1])
}

fn taps<'b>(
    b: &'b Builder,
    x: Expr<'b>,
    n: &Dim,
    mode: Interpolation,
    padding: Padding,
    align_corners: bool,
) -> Taps<'b> {
    let size = b.dim(n).cast(DType::F64);
    let last = size - 1.0;
    let at = if align_corners { (x + 1.0) / 2.0 * last } else { ((x + 1.0) * size - 1.0) / 2.0 };
    let settled = move |x: Expr<'b>| match padding {
        Padding::Zeros => x,
        Padding::Border => x.max(0.0).min(last),
        Padding::Reflection if align_corners => reflected(x, b.constant(F64, 0.0), last).max(0.0).min(last),
        Padding::Reflection => reflected(x, b.constant(F64, -0.5), last).max(0.0).min(last),
    };
    // Cubic taps are settled one by one, others by their coordinate.
    let cubic = mode == Interpolation::Cubic;
    let at = if cubic { at } else { settled(at) };
    let here = move |i: Expr<'b>| if cubic { settled(i.cast(DType::F64)).cast(DType::I64) } else { i };
    let n = n.clone();
    let bound = n.clone();
    let kernel = Kernel { mode, coefficient: -0.75 };
    let (first, count) = match mode {
        Interpolation::Nearest => (at.round().cast(DType::I64), 1),
        Interpolation::Linear => (at.floor().cast(DType::I64), 2),
        Interpolation::Cubic => (at.floor().cast(DType::I64) - 1, 4),
    };
    let weight = move |i: Expr<'b>| {
        let w = if count == 1 { b.constant(F64, 1.0) } else { kernel.at(i.cast(DType::F64) - at) };
        let place = here(i);
        place.ge(0).and(place.lt(b.dim(&bound))).select(w, b.constant(F64, 0.0))
    };
    // A single tap has a weight too: it may be outside.
    let count = if count == 1 { Count::Computed(b.int(1)) } else { Count::Known(count) };
    Taps {
        first,
        count,
        weight: Box::new(weight),
        place: Box::new(move |i| here(i).max(0).min(b.dim(&n) - 1)),
    }
}

/// `x` mirrored at `low` and `high - low` beyond the last element until it is between them.
fn reflected<'b>(x: Expr<'b>, low: Expr<'b>, last: Expr<'b>) -> Expr<'b> {
    let high = last - low;
    let span = (high - low).max(1e-300);
    let folded = (x - low).modulo(span * 2.0);
    low + folded.min(span * 2.0 - folded)
}
