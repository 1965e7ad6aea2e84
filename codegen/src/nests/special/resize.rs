//! Resizing: every output element is a weighted sum over a few input elements of each resized axis.
use super::Special;
use crate::nest::{Builder, Expr, Ty};
use sardonyx_ir::Op;
use sardonyx_ir::ops::attribute::{Coordinates, Interpolation, Nearest};
use sardonyx_tensor::{DType, Dim};

/// The elements of one axis that an output coordinate takes: `count` of them from `first` on.
pub(super) struct Taps<'b> {
    /// The first, maybe outside of the axis.
    pub first: Expr<'b>,
    /// How many.
    pub count: Count<'b>,
    /// The weight of the tap at an index, in f64.
    pub weight: Box<dyn Fn(Expr<'b>) -> Expr<'b> + 'b>,
    /// The element that stands for an index, inside of the axis.
    pub place: Box<dyn Fn(Expr<'b>) -> Expr<'b> + 'b>,
}

/// A number of taps, known when the kernel is compiled or not.
pub(super) enum Count<'b> {
    Known(i64),
    Computed(Expr<'b>),
}

const F64: Ty = Ty { dtype: DType::F64, lanes: 1 };

pub(super) fn resize(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::Resize { extrapolation, coordinates, .. } = op else { return None };
    let (x, y) = (&s.operands[0], &s.results[0]);
    let rank = x.rank();
    let b = &s.b;
    let rows = b.unravel(b.grid(), &y.shape[..rank - 1]);
    let outer: Vec<(Taps<'_>, Option<Expr<'_>>)> = (0..rank - 1).map(|d| axis(s, op, d, rows[d])).collect();
    let columns = &y.shape[rank - 1];
    b.vectorize(0, columns, |j| {
        let mut axes: Vec<&(Taps<'_>, Option<Expr<'_>>)> = outer.iter().collect();
        let last = axis(s, op, rank - 1, j);
        axes.push(&last);
        let taps: Vec<&Taps<'_>> = axes.iter().map(|a| &a.0).collect();
        let value = combine(s, &taps, &x.shape);
        let outside = axes.iter().filter_map(|a| a.1).reduce(|p, q| p.or(q));
        let value = match (outside, coordinates) {
            (Some(o), Coordinates::CropAndResize) => o.select(b.constant(value.ty(), *extrapolation), value),
            _ => value,
        };
        b.store(s.outputs[0], b.grid() * b.dim(columns) + j, result(value, y.dtype));
    });
    Some(Dim::product(&y.shape[..rank - 1]))
}

/// A weighted sum in f64 as an element: integers are rounded toward zero, as their casts are.
pub(super) fn result(value: Expr<'_>, dtype: DType) -> Expr<'_> {
    value.cast(crate::nest::register_dtype(dtype))
}

/// The weighted sum over the taps of all axes, in f64.
pub(super) fn combine<'b>(s: &'b Special<'_>, taps: &[&Taps<'b>], shape: &[Dim]) -> Expr<'b> {
    let total = s.b.var(s.b.constant(F64, 0.0));
    walk(s, taps, shape, s.b.int(0), None, &mut |at, weight| {
        let x = s.b.load(s.inputs[0], at).cast(DType::F64);
        match weight {
            Some(w) => total.add_product(x, w),
            None => total.add(x),
        }
    });
    total.get()
}

/// Calls `f` with the element and weight (none is 1) of every combination of taps.
fn walk<'b>(
    s: &'b Special<'_>,
    taps: &[&Taps<'b>],
    shape: &[Dim],
    at: Expr<'b>,
    weight: Option<Expr<'b>>,
    f: &mut dyn FnMut(Expr<'b>, Option<Expr<'b>>),
) {
    let Some((first, rest)) = taps.split_first() else { return f(at, weight) };
    let mut tap = |i: Expr<'b>, single: bool| {
        let here = at * s.b.dim(&shape[0]) + (first.place)(i);
        let w = (!single).then(|| (first.weight)(i));
        let weight = match (weight, w) {
            (Some(a), Some(b)) => Some(a * b),
            (a, b) => a.or(b),
        };
        walk(s, rest, &shape[1..], here, weight, f);
    };
    match first.count {
        Count::Known(n) => (0..n).for_each(|k| tap(first.first + k, n == 1)),
        Count::Computed(n) => s.b.for_(0, n, |k| tap(first.first + k, false)),
    }
}

/// The taps of one axis, and for cropping whether the coordinate is outside of it.
fn axis<'b>(s: &'b Special<'_>, op: &Op, d: usize, o: Expr<'b>) -> (Taps<'b>, Option<Expr<'b>>) {
    let Op::Resize {
        scales, mode, coordinates, nearest, cubic_coeff, exclude_outside, antialias, roi, ..
    } = op
    else {
        panic!("bug: not a resize")
    };
    let (b, rank) = (&s.b, s.operands[0].rank());
    let (n, to) = (&s.operands[0].shape[d], &s.results[0].shape[d]);
    let late = s.inputs.get(1).map(|&scales| b.load(scales, d).cast(DType::F64));
    let given = scales.get(d).copied().filter(|&s| s != 0.0 && late.is_none());
    let crop = *coordinates == Coordinates::CropAndResize;
    let place = {
        let n = n.clone();
        move |i: Expr<'b>| i.max(0).min(b.dim(&n) - 1)
    };
    if n == to && given.is_none_or(|s| s == 1.0) && !crop && late.is_none() {
        let one = Box::new(move |_| b.constant(F64, 1.0));
        return (Taps { first: o, count: Count::Known(1), weight: one, place: Box::new(|i| i) }, None);
    }
    let f = |d: &Dim| b.dim(d).cast(DType::F64);
    let scale = match (late, given) {
        (Some(scale), _) => scale.eq(0.0).select(f(to) / f(n), scale),
        (None, Some(scale)) => b.constant(F64, scale),
        (None, None) => f(to) / f(n),
    };
    let bound = |i: usize, whole: f64| match s.inputs.get(2) {
        Some(&region) => b.load(region, i).cast(DType::F64),
        None => b.constant(F64, roi.get(i).copied().unwrap_or(whole)),
    };
    let region = (bound(d, 0.0), bound(rank + d, 1.0));
    let at = source(*coordinates, o.cast(DType::F64), f(n), f(to), scale, region);
    let outside = crop.then(|| at.lt(0.0).or(at.gt(f(n) - 1.0)));
    let kernel = Kernel { mode: *mode, coefficient: *cubic_coeff };
    let grows = given.is_some_and(|s| s >= 1.0) || to.compare(n).is_some_and(std::cmp::Ordering::is_ge);
    let shrinks = *antialias && !grows;
    let taps = if *mode == Interpolation::Nearest {
        let one = Box::new(move |_| b.constant(F64, 1.0));
        Taps {
            first: rounded(*nearest, at).cast(DType::I64),
            count: Count::Known(1),
            weight: one,
            place: Box::new(place),
        }
    } else if shrinks {
        antialiased(b, kernel, at, scale.min(1.0), *exclude_outside, n, place)
    } else {
        interpolated(b, kernel, at, *exclude_outside, n, place)
    };
    let taps =
        if late.is_some() && !crop { unless_same(taps, f(n).eq(f(to)).and(scale.eq(1.0)), o) } else { taps };
    (taps, outside)
}

/// The element itself where an axis stays as it is.
fn unless_same<'b>(taps: Taps<'b>, same: Expr<'b>, o: Expr<'b>) -> Taps<'b> {
    let b = o.builder();
    let count = match taps.count {
        Count::Known(1) => Count::Known(1),
        Count::Known(n) => Count::Computed(same.select(b.int(1), n)),
        Count::Computed(n) => Count::Computed(same.select(b.int(1), n)),
    };
    let weight = taps.weight;
    Taps {
        first: same.select(o, taps.first),
        count,
        weight: Box::new(move |i| same.select(b.constant(F64, 1.0), weight(i))),
        place: taps.place,
    }
}

/// An interpolation kernel.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub mode: Interpolation,
    pub coefficient: f64,
}

impl Kernel {
    /// Its value at distance `d`.
    pub fn at<'b>(self, d: Expr<'b>) -> Expr<'b> {
        let (d, a) = (d.abs(), self.coefficient);
        if self.mode != Interpolation::Cubic {
            return (1.0 - d).max(0.0);
        }
        let near = (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0;
        let far = ((d * a - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
        d.le(1.0).select(near, d.lt(2.0).select(far, d * 0.0))
    }
    fn reach(self) -> i64 {
        if self.mode == Interpolation::Cubic { 2 } else { 1 }
    }
}

fn interpolated<'b>(
    b: &'b Builder,
    kernel: Kernel,
    at: Expr<'b>,
    exclude_outside: bool,
    n: &Dim,
    place: impl Fn(Expr<'b>) -> Expr<'b> + 'b,
) -> Taps<'b> {
    let first = at.floor().cast(DType::I64) + (1 - kernel.reach());
    let count = 2 * kernel.reach();
    let plain = move |i: Expr<'b>| kernel.at(i.cast(DType::F64) - at);
    if !exclude_outside {
        return Taps { first, count: Count::Known(count), weight: Box::new(plain), place: Box::new(place) };
    }
    let n = n.clone();
    let masked = move |i: Expr<'b>| i.ge(0).and(i.lt(b.dim(&n))).select(plain(i), b.constant(F64, 0.0));
    let sum = (0..count).fold(b.constant(F64, 0.0), |sum, k| sum + masked(first + k));
    Taps {
        first,
        count: Count::Known(count),
        weight: Box::new(move |i| masked(i) / sum),
        place: Box::new(place),
    }
}

/// Taps stretched by a scale up to 1, summing to 1.
fn antialiased<'b>(
    b: &'b Builder,
    kernel: Kernel,
    at: Expr<'b>,
    scale: Expr<'b>,
    exclude_outside: bool,
    n: &Dim,
    place: impl Fn(Expr<'b>) -> Expr<'b> + 'b,
) -> Taps<'b> {
    let reach = b.constant(F64, kernel.reach() as f64) / scale;
    let (first, last) = ((at - reach).floor().cast(DType::I64), (at + reach).floor().cast(DType::I64));
    // What lies outside is the border's element, unless it is left out.
    let (first, last) = match exclude_outside {
        true => (first.max(0), last.min(b.dim(n) - 1)),
        false => (first, last),
    };
    let weight = move |i: Expr<'b>| kernel.at((i.cast(DType::F64) - at) * scale);
    let sum = b.var(b.constant(F64, 0.0));
    b.for_(first, last + 1, |i| sum.add(weight(i)));
    let sum = sum.get();
    let weight = Box::new(move |i| weight(i) / sum);
    Taps { first, count: Count::Computed(last + 1 - first), weight, place: Box::new(place) }
}

/// The coordinate on the input of output coordinate `o` (ONNX Resize, `coordinate_transformation_mode`).
fn source<'b>(
    mode: Coordinates,
    o: Expr<'b>,
    n: Expr<'b>,
    to: Expr<'b>,
    scale: Expr<'b>,
    (start, end): (Expr<'b>, Expr<'b>),
) -> Expr<'b> {
    let half = (o + 0.5) / scale - 0.5;
    match mode {
        Coordinates::HalfPixel => half,
        Coordinates::HalfPixelSymmetric => n / 2.0 * (1.0 - to / (scale * n)) + half,
        Coordinates::PytorchHalfPixel => to.gt(1.0).select(half, o * 0.0),
        Coordinates::AlignCorners => to.eq(1.0).select(o * 0.0, o * (n - 1.0) / (to - 1.0).max(1.0)),
        Coordinates::Asymmetric => o / scale,
        Coordinates::TfHalfPixel => (o + 0.5) / scale,
        Coordinates::CropAndResize => {
            let many = (n - 1.0) * start + o * (end - start) * (n - 1.0) / (to - 1.0).max(1.0);
            to.gt(1.0).select(many, (n - 1.0) * ((start + end) * 0.5))
        }
    }
}

fn rounded(mode: Nearest, x: Expr<'_>) -> Expr<'_> {
    match mode {
        Nearest::RoundPreferFloor => -(-(x - 0.5)).floor(),
        Nearest::RoundPreferCeil => (x + 0.5).floor(),
        Nearest::Floor => x.floor(),
        Nearest::Ceil => -(-x).floor(),
    }
}
