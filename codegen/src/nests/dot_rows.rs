//! Rows of an integer contraction, gathered into scratch memory.
use crate::kernel::dot::Windows;
use crate::nest::{Buf, Builder, Expr};
use sardonyx_tensor::DType;

/// Copies `count` bytes that stand `step` apart.
pub fn copy_row<'b>(
    b: &'b Builder,
    from: Buf,
    (place, step): (Expr<'b>, Expr<'b>),
    to: Buf,
    at: Expr<'b>,
    count: i64,
) {
    b.vectorize(0, count, |k| b.store(to, at + k, b.load(from, place + k * step)));
}

/// Gathers the neighbourhoods of the pixels `first..end` of an image whose element (channel 0, 0, …) stands
/// at `base`, into rows `depth` bytes apart.
pub fn gather<'b>(
    b: &'b Builder,
    windows: &Windows,
    (from, base): (Buf, Expr<'b>),
    (to, depth): (Buf, i64),
    (first, end): (Expr<'b>, Expr<'b>),
    (pad, vector_bytes): (Expr<'b>, u32),
) {
    let gather = Gather { b, windows, from, to, pad, vector_bytes };
    let last = windows.kernel.len() - 1;
    let done = b.var(first);
    b.while_(
        || done.get().lt(end),
        || {
            let begin = done.get();
            let at = b.unravel(begin, &windows.output);
            let len = (b.dim(&windows.output[last]) - at[last]).min(end - begin);
            b.for_(0, len, |j| {
                let mut at = at.clone();
                at[last] = at[last] + j;
                gather.taps(&at, 0, base, (begin + j - first) * depth);
            });
            done.set(begin + len);
        },
    );
}

struct Gather<'a, 'b> {
    b: &'b Builder,
    windows: &'a Windows,
    from: Buf,
    to: Buf,
    pad: Expr<'b>,
    vector_bytes: u32,
}

impl<'b> Gather<'_, 'b> {
    /// Bytes of a run of taps from dimension `axis` on.
    fn bytes(&self, axis: usize) -> i64 {
        self.windows.channels * self.windows.kernel[axis..].iter().product::<i64>()
    }

    /// The taps from dimension `axis` on, of the row of the input at `place`.
    fn taps(&self, at: &[Expr<'b>], axis: usize, place: Expr<'b>, to: Expr<'b>) {
        let (b, w) = (self.b, self.windows);
        let (stride, size) = (b.dim(&w.x.strides[2 + axis]), b.dim(&w.input[axis]));
        let start = at[axis] * w.strides[axis] - w.pads[axis];
        let reach = (w.kernel[axis] - 1) * w.dilations[axis];
        let inside = |p: Expr<'b>| p.ge(0).and(p.lt(size));
        if axis + 1 < w.kernel.len() {
            b.for_(0, w.kernel[axis], |u| {
                let p = start + u * w.dilations[axis];
                let to = to + u * self.bytes(axis + 1);
                let outside = || self.fill(to, self.bytes(axis + 1));
                b.if_else(inside(p), || self.taps(at, axis + 1, place + p * stride, to), outside);
            });
            return;
        }
        let one = |u: Expr<'b>| {
            let p = start + u * w.dilations[axis];
            let to = to + u * w.channels;
            b.if_else(
                inside(p),
                || self.copy(place + p * stride, to, w.channels),
                || self.fill(to, w.channels),
            );
        };
        // Taps that stand side by side are one run where all lie in the input.
        let beside = w.dilations[axis] == 1 && w.x.strides[2 + axis] == w.channels;
        if beside && w.kernel[axis] > 1 {
            let whole = start.ge(0).and((start + reach).lt(size));
            let run = || self.copy(place + start * stride, to, self.bytes(axis));
            b.if_else(whole, run, || b.for_(0, w.kernel[axis], one));
        } else {
            b.for_(0, w.kernel[axis], one);
        }
    }

    /// Calls `f` on pieces of a run: their places and lengths, powers of two.
    fn pieces(&self, len: i64, f: impl Fn(Expr<'b>, u32)) {
        let b = self.b;
        let vector = i64::from(self.vector_bytes);
        let (mut done, most) = (0, len / vector);
        if most > 4 {
            b.for_(0, most, |i| f(i * vector, self.vector_bytes));
            done = most * vector;
        }
        while done < len {
            let piece = (0..=vector.ilog2()).rev().map(|p| 1i64 << p).find(|p| done + p <= len).unwrap_or(1);
            f(b.int(done), piece as u32);
            done += piece;
        }
    }

    fn copy(&self, from: Expr<'b>, to: Expr<'b>, len: i64) {
        let b = self.b;
        debug_assert_eq!(b.dtype(self.to), DType::U8, "rows are bytes");
        self.pieces(len, |at, lanes| b.store(self.to, to + at, b.load_lanes(self.from, from + at, lanes)));
    }

    fn fill(&self, to: Expr<'b>, len: i64) {
        self.pieces(len, |at, lanes| self.b.store(self.to, to + at, self.pad.splat(lanes)));
    }
}
