//! Gathers the inputs that a tile of output pixels sees into columns: row `(channel, taps)` of the result
//! holds for each pixel of the tile the input element of that channel at that tap, 0 outside the input.
use super::conv_shape::Axis;
use super::tile::transposed;
use crate::nest::{Buf, Builder, Expr, LoopKind, Ty};
use sardonyx_tensor::{DType, Dim};

/// What is gathered from where.
pub struct Neighbours<'a, 'b> {
    /// The builder.
    pub b: &'b Builder,
    /// The spatial dimensions.
    pub axes: &'a [Axis],
    /// The input element of output 0 and tap 0, per dimension.
    pub offsets: Vec<Expr<'b>>,
    /// Sizes of the input.
    pub input: &'a [Dim],
    /// Outputs per dimension.
    pub outputs: &'a [Dim],
    /// Channels.
    pub channels: Expr<'b>,
    /// Channels of a whole sum.
    pub in_channels: i64,
    /// The input.
    pub from: Buf,
    /// Where its element (channel 0, 0, …) stands.
    pub base: Expr<'b>,
    /// Its strides over channel and spatial dimensions.
    pub strides: &'a [Dim],
    /// The columns.
    pub to: Buf,
    /// The distance of rows in `to`.
    pub width: i64,
    /// Elements in a vector.
    pub lanes: u32,
    /// The type of the columns.
    pub dtype: DType,
}

/// A run of neighbouring outputs in one row, seen through one tap.
struct Run<'b> {
    /// Whether the input has this row.
    inside: Option<Expr<'b>>,
    /// Where the row stands, for channel 0.
    row: Expr<'b>,
    /// The position in the row that the first output reads; may lie outside.
    start: Expr<'b>,
    /// Outputs.
    len: Expr<'b>,
    /// Where the first output of channel 0 goes.
    to: Expr<'b>,
}

impl<'b> Neighbours<'_, 'b> {
    /// Gathers for `count` outputs from `first` on.
    pub fn gather(&self, first: Expr<'b>, count: Expr<'b>) {
        let b = self.b;
        let done = b.var(b.int(0));
        b.while_(
            || done.get().lt(count),
            || {
                let j = done.get();
                let at = b.unravel(first + j, self.outputs);
                let last = self.axes.len() - 1;
                let len = (b.dim(&self.outputs[last]) - at[last]).min(count - j);
                self.taps(
                    &at,
                    0,
                    Run { inside: None, row: self.base, start: b.int(0), len, to: j },
                    b.int(0),
                );
                done.set(j + len);
            },
        );
    }

    /// Loops over the taps from dimension `axis` on; `tap` numbers those so far.
    fn taps(&self, at: &[Expr<'b>], axis: usize, run: Run<'b>, tap: Expr<'b>) {
        let (b, a) = (self.b, &self.axes[axis]);
        b.for_(0, a.taps, |u| {
            let tap = tap * a.taps + u;
            let place = at[axis] * a.step + self.offsets[axis] + u * a.tap_step;
            if axis + 1 == self.axes.len() {
                self.run(&Run { start: place, to: run.to + tap * self.width, ..run });
            } else {
                let here = place.ge(0).and(place.lt(b.dim(&self.input[axis])));
                let inside = Some(run.inside.map_or(here, |i| i.and(here)));
                self.taps(
                    at,
                    axis + 1,
                    Run { inside, row: run.row + place * b.dim(&self.strides[1 + axis]), ..run },
                    tap,
                );
            }
        });
    }

    fn run(&self, run: &Run<'b>) {
        let last = self.axes.len() - 1;
        if self.axes[last].step <= 2 && self.strides[1 + last] == 1 {
            self.vectors(run);
        } else if self.strides[0] == 1 && self.in_channels >= 4 {
            self.squares(run);
        } else {
            self.elements(run);
        }
    }

    /// The distance in `to` from one channel to the next.
    fn channel(&self) -> i64 {
        self.width * self.axes.iter().map(|a| a.taps).product::<i64>()
    }

    /// Copies a run vector by vector, every element or every other one.
    fn vectors(&self, run: &Run<'b>) {
        let (b, lanes) = (self.b, i64::from(self.lanes));
        let step = self.axes[self.axes.len() - 1].step;
        let size = b.dim(&self.input[self.axes.len() - 1]).cast(DType::I32);
        let iota = b.iota(DType::I32, self.lanes);
        b.for_step(LoopKind::Serial, 0, run.len, lanes, |v| {
            let room = run.len - v;
            let wanted = b.first_lanes(room, self.lanes);
            let first = run.start + v * step;
            let masks: Vec<Expr<'b>> = (0..step)
                .map(|h| {
                    let place = iota + (first + h * lanes).cast(DType::I32);
                    b.first_lanes(room * step - h * lanes, self.lanes).and(place.ge(0)).and(place.lt(size))
                })
                .collect();
            let copy = |zero: bool| {
                b.for_(0, self.channels, |c| {
                    let at = run.row + c * b.dim(&self.strides[0]) + first;
                    let load = |h: i64| b.load_masked(self.from, at + h * lanes, masks[h as usize]);
                    let value = match (zero, step) {
                        (true, _) => b.constant(Ty { dtype: self.dtype, lanes: self.lanes }, 0i64),
                        (false, 1) => load(0),
                        (false, _) => {
                            b.shuffle(load(0), load(1), &(0..self.lanes).map(|l| 2 * l).collect::<Vec<_>>())
                        }
                    };
                    b.store_masked(self.to, run.to + c * self.channel() + v, value.cast(self.dtype), wanted);
                });
            };
            match run.inside {
                Some(inside) => b.if_else(inside, || copy(false), || copy(true)),
                None => copy(false),
            }
        });
    }

    /// Copies a run of pixels whose channels stand side by side, in squares of a vector's size.
    fn squares(&self, run: &Run<'b>) {
        let (b, lanes, last) = (self.b, i64::from(self.lanes), self.axes.len() - 1);
        let (step, stride, size) =
            (self.axes[last].step, b.dim(&self.strides[1 + last]), b.dim(&self.input[last]));
        let zero = b.constant(Ty { dtype: self.dtype, lanes: self.lanes }, 0i64);
        b.for_step(LoopKind::Serial, 0, run.len, lanes, |v| {
            let wanted = b.first_lanes(run.len - v, self.lanes);
            let first = run.start + v * step;
            let places = b.iota(DType::I32, self.lanes) * step + first.cast(DType::I32);
            let valid = places.ge(0).and(places.lt(size.cast(DType::I32)));
            let pixels: Vec<Expr<'b>> =
                (0..lanes).map(|l| run.row + (first + l * step).max(0).min(size - 1) * stride).collect();
            let copy = |inside: bool| {
                b.for_step(LoopKind::Serial, 0, self.channels, lanes, |c| {
                    let mask = b.first_lanes(self.channels - c, self.lanes);
                    let load = |p: &Expr<'b>| b.load_masked(self.from, *p + c, mask).cast(self.dtype);
                    let columns = if inside {
                        transposed(b, pixels.iter().map(load).collect())
                    } else {
                        vec![zero; lanes as usize]
                    };
                    for (l, column) in columns.into_iter().enumerate() {
                        let value = if inside { valid.select(column, zero) } else { column };
                        let to = run.to + (c + l as i64) * self.channel() + v;
                        b.if_((c + l as i64).lt(self.channels), || {
                            b.store_masked(self.to, to, value, wanted)
                        });
                    }
                });
            };
            match run.inside {
                Some(inside) => b.if_else(inside, || copy(true), || copy(false)),
                None => copy(true),
            }
        });
    }

    /// Copies a run element by element.
    fn elements(&self, run: &Run<'b>) {
        let b = self.b;
        let last = self.axes.len() - 1;
        let (step, stride) = (self.axes[last].step, b.dim(&self.strides[1 + last]));
        let size = b.dim(&self.input[last]);
        let zero = b.constant(Ty::of(self.dtype), 0i64);
        b.for_(0, self.channels, |c| {
            let (row, to) = (run.row + c * b.dim(&self.strides[0]), run.to + c * self.channel());
            let copy = || {
                b.vectorize(0, run.len, |j| {
                    let place = run.start + j * step;
                    let value = b.load(self.from, row + place.max(0).min(size - 1) * stride).cast(self.dtype);
                    b.store(self.to, to + j, place.ge(0).and(place.lt(size)).select(value, zero));
                });
            };
            match run.inside {
                Some(inside) => {
                    b.if_else(inside, copy, || b.vectorize(0, run.len, |j| b.store(self.to, to + j, zero)))
                }
                None => copy(),
            }
        });
    }
}
