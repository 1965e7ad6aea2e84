//! Pooling of regions of an image (ONNX RoiAlign, MaxRoiPool): a work item is a region and a channel.
use super::{Special, inside};
use crate::nest::{Builder, Expr, Ty, Variable};
use sardonyx_ir::Op;
use sardonyx_ir::ops::attribute::RegionPooling;
use sardonyx_tensor::{DType, Dim};

const F64: Ty = Ty { dtype: DType::F64, lanes: 1 };
/// Samples along one axis of a bin; more are made of no region that meets the image.
const MOST_SAMPLES: f64 = 4096.0;

fn number(b: &Builder, x: f64) -> Expr<'_> {
    b.constant(F64, x)
}

/// The work item's region, and where its plane of the image begins.
fn place<'b>(s: &'b Special<'_>, batch: impl FnOnce(Expr<'b>) -> Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let (b, x) = (&s.b, &s.operands[0]);
    let channels = b.dim(&x.shape[1]);
    let (roi, channel) = (b.grid().index_div(channels), b.grid().index_rem(channels));
    let image = inside(batch(roi), &x.shape[0]);
    (roi, (image * channels + channel) * b.dim(&(&x.shape[2] * &x.shape[3])))
}

/// Which way values of a bin are put together.
struct Pool<'b> {
    mode: RegionPooling,
    value: Variable<'b>,
}

impl<'b> Pool<'b> {
    fn new(b: &'b Builder, mode: RegionPooling) -> Pool<'b> {
        let start = if mode == RegionPooling::Average { 0.0 } else { f64::NEG_INFINITY };
        Pool { mode, value: b.var(number(b, start)) }
    }
    fn take(&self, x: Expr<'b>) {
        match self.mode {
            RegionPooling::Average => self.value.add(x),
            RegionPooling::Maximum => self.value.update(|v| x.gt(v).select(x, v)),
        }
    }
    /// The result of `count` values.
    fn result(&self, count: Expr<'b>) -> Expr<'b> {
        let (value, count) = (self.value.get(), count.cast(DType::F64));
        match self.mode {
            RegionPooling::Average => value / count.max(1.0),
            RegionPooling::Maximum => count.gt(0.0).select(value, 0.0),
        }
    }
}

/// The samples of one axis of a region: `grid` in each of `bins` bins.
struct Samples<'b> {
    start: Expr<'b>,
    size: Expr<'b>,
    grid: Expr<'b>,
    count: Expr<'b>,
}

impl<'b> Samples<'b> {
    fn new(start: Expr<'b>, end: Expr<'b>, least: Option<f64>, bins: i64, ratio: i64) -> Samples<'b> {
        let b = start.builder();
        let whole = end - start;
        let whole = least.map_or(whole, |least| whole.max(least));
        let size = whole / bins as f64;
        let grid = match ratio {
            1.. => number(b, ratio as f64),
            _ => (-(-size).floor()).max(0.0).min(MOST_SAMPLES),
        };
        Samples { start, size, grid, count: grid.cast(DType::I64) }
    }
    /// The coordinate of sample `i` of a bin.
    fn at(&self, bin: Expr<'b>, i: Expr<'b>) -> Expr<'b> {
        self.start + (bin.cast(DType::F64) + (i.cast(DType::F64) + 0.5) / self.grid) * self.size
    }
}

/// The two pixels of an axis beside a coordinate, how far it is from the first, and whether it is outside.
fn beside<'b>(at: Expr<'b>, n: &Dim) -> (Expr<'b>, Expr<'b>, Expr<'b>, Expr<'b>) {
    let b = at.builder();
    let size = b.dim(n).cast(DType::F64);
    let seen = at.ge(-1.0).and(at.le(size));
    let v = at.max(0.0).min(size - 1.0);
    let low = v.floor().cast(DType::I64);
    (low, (low + 1).min(b.dim(n) - 1), v - v.floor(), seen.not())
}

pub(super) fn roi_align(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::RoiAlign { mode, height, width, sampling_ratio, spatial_scale, half_pixel } = op else {
        return None;
    };
    let (b, x) = (&s.b, &s.operands[0]);
    let (roi, plane) = place(s, |roi| b.load(s.inputs[2], roi));
    let corner = |i: i64| {
        let v = b.load(s.inputs[1], roi * 4 + i).cast(DType::F64) * *spatial_scale;
        if *half_pixel { v - 0.5 } else { v }
    };
    let least = (!half_pixel).then_some(1.0);
    let [x0, y0, x1, y1] = [0, 1, 2, 3].map(corner);
    let rows = Samples::new(y0, y1, least, *height, *sampling_ratio);
    let columns = Samples::new(x0, x1, least, *width, *sampling_ratio);
    b.for_(0, *height, |p| {
        b.for_(0, *width, |q| {
            let pool = Pool::new(b, *mode);
            b.for_(0, rows.count, |i| {
                let (low, high, fy, above) = beside(rows.at(p, i), &x.shape[2]);
                b.for_(0, columns.count, |j| {
                    let (left, right, fx, beyond) = beside(columns.at(q, j), &x.shape[3]);
                    let outside = above.or(beyond);
                    let terms = [
                        (low, left, (1.0 - fy) * (1.0 - fx)),
                        (low, right, (1.0 - fy) * fx),
                        (high, left, fy * (1.0 - fx)),
                        (high, right, fy * fx),
                    ]
                    .map(|(row, column, weight)| {
                        let at = plane + row * b.dim(&x.shape[3]) + column;
                        let weight = outside.select(number(b, 0.0), weight);
                        b.load(s.inputs[0], at).cast(DType::F64) * weight
                    });
                    match mode {
                        RegionPooling::Average => pool.take(terms[0] + terms[1] + terms[2] + terms[3]),
                        RegionPooling::Maximum => terms.into_iter().for_each(|t| pool.take(t)),
                    }
                });
            });
            let at = (b.grid() * *height + p) * *width + q;
            let value = pool.result(rows.count * columns.count);
            b.store(s.outputs[0], at, value.cast(Ty::of(x.dtype).dtype));
        });
    });
    Some(Dim::product(&s.results[0].shape[..2]))
}

/// The first pixel of a bin and the one behind its last.
fn span<'b>(start: Expr<'b>, end: Expr<'b>, bin: Expr<'b>, bins: i64, n: &Dim) -> (Expr<'b>, Expr<'b>) {
    let size = (end - start + 1.0).max(1.0) / bins as f64;
    let (bin, n) = (bin.cast(DType::F64), start.builder().dim(n).cast(DType::F64));
    let place = |v: Expr<'b>| (v + start).max(0.0).min(n).cast(DType::I64);
    (place((bin * size).floor()), place(-(-((bin + 1.0) * size)).floor()))
}

pub(super) fn max_roi_pool(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::MaxRoiPool { height, width, spatial_scale } = op else { return None };
    let (b, x) = (&s.b, &s.operands[0]);
    let (roi, plane) = place(s, |roi| b.load(s.inputs[1], roi * 5));
    let corner = |i: i64| {
        let v = b.load(s.inputs[1], roi * 5 + i).cast(DType::F64) * *spatial_scale;
        // Halves go away from zero.
        v.lt(0.0).select(-(0.5 - v).floor(), (v + 0.5).floor())
    };
    let [x0, y0, x1, y1] = [1, 2, 3, 4].map(corner);
    b.for_(0, *height, |p| {
        let (top, bottom) = span(y0, y1, p, *height, &x.shape[2]);
        b.for_(0, *width, |q| {
            let (left, right) = span(x0, x1, q, *width, &x.shape[3]);
            let pool = Pool::new(b, RegionPooling::Maximum);
            b.for_(top, bottom, |row| {
                b.for_(left, right, |column| {
                    let at = plane + row * b.dim(&x.shape[3]) + column;
                    pool.take(b.load(s.inputs[0], at).cast(DType::F64));
                });
            });
            let pixels = (bottom - top).max(0) * (right - left).max(0);
            let at = (b.grid() * *height + p) * *width + q;
            b.store(s.outputs[0], at, pool.result(pixels).cast(Ty::of(x.dtype).dtype));
        });
    });
    Some(Dim::product(&s.results[0].shape[..2]))
}
