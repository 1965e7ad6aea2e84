//! Deformable convolution: a work item is a row of output pixels. For each pixel the moved taps of all
//! channels are gathered into a column, of which every output channel is a product.
use super::Special;
use crate::nest::{Expr, Ty};
use sardonyx_ir::Op;
use sardonyx_tensor::{DType, Dim};

/// Coordinates are computed in f64, sums in at least f32.
pub(super) fn deform_conv(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::DeformConv { strides, pads, dilations, group, offset_group } = op else { return None };
    let (b, x, w, y) = (&s.b, &s.operands[0], &s.operands[1], &s.results[0]);
    let sum = Ty::of(x.dtype);
    let [_, channels, high, wide] = &x.shape[..] else { return None };
    let (kh, kw) = (w.shape[2].known()?, w.shape[3].known()?);
    let taps = kh * kw;
    let own = channels.floor_div(*offset_group);
    let column = b.scratch("column", sum.dtype, channels * taps);
    let (image, i) = (b.grid().index_div(b.dim(&y.shape[2])), b.grid().index_rem(b.dim(&y.shape[2])));
    let pixels = b.dim(&(&y.shape[2] * &y.shape[3]));
    let plane = b.dim(&(high * wide));
    b.for_(0, &y.shape[3], |j| {
        let pixel = i * b.dim(&y.shape[3]) + j;
        b.for_(0, *offset_group, |g| {
            b.for_(0, taps, |tap| {
                let row = (image * *offset_group + g) * taps + tap;
                let moved = |part: i64| b.load(s.inputs[2], (row * 2 + part) * pixels + pixel);
                let (tap_row, tap_column) = (tap.index_div(kw), tap.index_rem(kw));
                let v = i * strides[0] - pads[0] + tap_row * dilations[0];
                let u = j * strides[1] - pads[1] + tap_column * dilations[1];
                let v = v.cast(DType::F64) + moved(0).cast(DType::F64);
                let u = u.cast(DType::F64) + moved(1).cast(DType::F64);
                let mask = s.inputs.get(4).map(|&m| b.load(m, row * pixels + pixel));
                let corners = corners(v, u, high, wide);
                b.for_(0, &own, |c| {
                    let channel = g * b.dim(&own) + c;
                    let base = (image * b.dim(channels) + channel) * plane;
                    let terms =
                        corners.map(|(at, weight)| b.load(s.inputs[0], base + at) * weight.cast(sum.dtype));
                    let value = terms[0] + terms[1] + terms[2] + terms[3];
                    let value = mask.map_or(value, |m| value * m);
                    b.store(column, channel * taps + tap, value);
                });
            });
        });
        let (depth, outs) = (&w.shape[1] * taps, w.shape[0].floor_div(*group));
        b.for_(0, &y.shape[1], |o| {
            let first = o.index_div(b.dim(&outs)) * b.dim(&depth);
            let total = b.var(match s.inputs.get(3) {
                Some(&bias) => b.load(bias, o),
                None => b.constant(sum, 0.0),
            });
            b.reduce(0, &depth, |e| {
                total.add_product(b.load(s.inputs[1], o * b.dim(&depth) + e), b.load(column, first + e));
            });
            b.store(s.outputs[0], (image * b.dim(&y.shape[1]) + o) * pixels + pixel, total.get());
        });
    });
    Some(&y.shape[0] * &y.shape[2])
}

/// The four pixels around a point with their weights; those outside have none.
fn corners<'b>(y: Expr<'b>, x: Expr<'b>, high: &Dim, wide: &Dim) -> [(Expr<'b>, Expr<'b>); 4] {
    let b = y.builder();
    let one = |at: Expr<'b>, n: &Dim| {
        let (low, size) = (at.floor(), b.dim(n).cast(DType::F64));
        let part = at - low;
        let zero = b.constant(Ty { dtype: DType::F64, lanes: 1 }, 0.0);
        [(low, 1.0 - part), (low + 1.0, part)].map(|(place, weight)| {
            let inside = place.ge(0.0).and(place.lt(size));
            (place.max(0.0).min(size - 1.0).cast(DType::I64), inside.select(weight, zero))
        })
    };
    let (rows, columns) = (one(y, high), one(x, wide));
    [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(r, c)| {
        let ((row, fy), (column, fx)) = (rows[r], columns[c]);
        (row * b.dim(wide) + column, fy * fx)
    })
}
