//! The loops of a convolution: a matrix product of the weights with the input's neighbourhoods, where the
//! columns of a tile of pixels are gathered just before they are used.
//!
//! A work item is a tile of output pixels of one image and group, and a block of output channels. A
//! convolution with one tap, stride 1 and no padding reads its input in place.
//!
//! A transposed convolution with stride `s` is `s` convolutions with stride 1 per dimension, one for each
//! phase of the output: output `q·s + r` sees the taps `t` with `t·dilation ≡ r + pad (mod s)`.
use super::conv_shape::{Axis, constant, flat, reads_in_place, row_major};
use super::neighbours::Neighbours;
use super::tile::{Left, Right, Shape, Tile, VectorUnit, ceil_div, parts};
use super::write::{Args, Column, Spot, View, Writer, index};
use crate::kernel::contract::{Access, Conv, Operand, Panels, accumulator};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Ty};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};
use std::ops::RangeInclusive;
use std::rc::Rc;

/// Work items that keep several threads busy to the end.
const ITEMS: i64 = 16;

impl Conv {
    /// The type of the sums.
    pub fn accumulator(&self) -> DType {
        match &self.w {
            Operand::Strided(w) => accumulator(self.x.dtype, w.dtype),
            Operand::Packed(w) => w.dtype,
        }
    }

    /// The tile's shape, of a number of rows in this range.
    pub(crate) fn shape_with(&self, unit: VectorUnit, rows: RangeInclusive<i64>) -> Shape {
        let pixels = Dim::product(&self.phase_outputs()).known();
        Shape::choose(unit, self.accumulator(), Some(self.out_channels), pixels, rows, &unit.vectors())
    }

    /// The loops; those of a simpler kernel where it is one.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        if let Some(window) = self.as_window() {
            return window.nest(name, target);
        }
        if let Some(gemm) = self.as_gemm() {
            return gemm.nest(name, target);
        }
        let unit = VectorUnit::of(target);
        let b = Builder::new(name);
        let grid = Loops::new(&b, self, unit).build();
        b.finish(grid)
    }
}

/// How the weights are reached.
enum Weights {
    Panels(Panels),
    InPlace(Access),
    /// Copied for each work item, rows of all steps one after the other.
    Copied(Access, Buf),
}

/// How the columns are reached.
enum Columns {
    InPlace,
    Gathered(Buf),
}

struct Loops<'a, 'b> {
    b: &'b Builder,
    conv: &'a Conv,
    axes: Vec<Axis>,
    args: Args,
    sum: DType,
    shape: Shape,
    depth: i64,
    /// Output channels of a work item.
    block: i64,
    outputs: Vec<Dim>,
    weights: Weights,
    columns: Columns,
    stage: Option<Buf>,
    /// Parts of the sums, their input channels, and where the sums wait in between.
    parts: i64,
    channels: i64,
    sums: Option<Buf>,
}

/// A work item.
struct Item<'b> {
    image: Expr<'b>,
    group: Expr<'b>,
    phases: Vec<Expr<'b>>,
    /// All phases as one number.
    phase: Expr<'b>,
    /// The first output channel of the group, and the end.
    channels: (Expr<'b>, Expr<'b>),
    /// The first pixel of the phase.
    pixel: Expr<'b>,
}

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, conv: &'a Conv, unit: VectorUnit) -> Loops<'a, 'b> {
        let (axes, sum, outputs) = (conv.axes(), conv.accumulator(), conv.phase_outputs());
        let rows = match &conv.w {
            Operand::Packed(w) => w.width..=w.width,
            Operand::Strided(_) => 1..=8,
        };
        let shape = conv.shape_with(unit, rows);
        let depth = conv.in_channels * axes.iter().map(|a| a.taps).product::<i64>();
        let args = declare(b, conv);
        let tiles = ceil_div(conv.out_channels, shape.rows);
        let items = Dim::product(&outputs)
            .ceil_div(shape.width())
            .known()
            .zip(conv.batch.known())
            .map(|(p, n)| p * n * conv.groups);
        let gathers = !reads_in_place(conv);
        let few = if gathers { 24 } else { 8 };
        let blocks = ceil_div(ITEMS, items.unwrap_or(ITEMS / 2).max(1)).min(ceil_div(tiles, few));
        let block = ceil_div(tiles, blocks) * shape.rows;
        let weights = match &conv.w {
            Operand::Packed(w) => Weights::Panels(w.clone()),
            Operand::Strided(w) if row_major(w, conv) => Weights::InPlace(w.clone()),
            Operand::Strided(w) => Weights::Copied(w.clone(), b.scratch("weights", sum, block * depth)),
        };
        let parts = if gathers { parts(depth, shape, sum).min(conv.in_channels) } else { 1 };
        let sums = (parts > 1).then(|| b.scratch("sums", sum, block * shape.width()));
        let channels = ceil_div(conv.in_channels, parts);
        let columns = match gathers {
            false => Columns::InPlace,
            true => {
                let depth = depth / conv.in_channels * channels;
                Columns::Gathered(b.scratch("columns", sum, depth * shape.width()))
            }
        };
        let stage = Writer::stage(b, &conv.epilogue, sum, shape, |a| {
            !conv.transposed_in_phases()
                && (flat(a, &conv.output) || (constant(a) && a.arg != conv.epilogue.out.arg))
        });
        Loops {
            b,
            conv,
            axes,
            args,
            sum,
            shape,
            depth,
            block,
            outputs,
            weights,
            columns,
            stage,
            parts,
            sums,
            channels,
        }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, conv) = (self.b, self.conv);
        let pixels = Dim::product(&self.outputs);
        let tiles = pixels.ceil_div(self.shape.width());
        let mut grid = vec![conv.batch.clone(), conv.groups.into()];
        grid.extend(self.axes.iter().map(|a| Dim::from(a.offsets.len())));
        grid.extend([ceil_div(conv.out_channels, self.block).into(), tiles]);
        let at = b.unravel(b.grid(), &grid);
        let rank = self.axes.len();
        let first = at[2 + rank] * self.block;
        let end = if conv.out_channels % self.block == 0 {
            first + self.block
        } else {
            b.int(conv.out_channels).min(first + self.block)
        };
        let phases = at[2..2 + rank].to_vec();
        let phase = phases.iter().zip(&self.axes).fold(b.int(0), |sum, (&p, a)| sum * a.offsets.len() + p);
        let pixel = at[3 + rank] * self.shape.width();
        let item = Item { image: at[0], group: at[1], phases, phase, channels: (first, end), pixel };
        if let Weights::Copied(access, to) = &self.weights {
            self.copy_weights(access, *to, &item);
        }
        let left = b.dim(&pixels) - pixel;
        let lanes = i64::from(self.shape.lanes);
        let part = |vectors: i64| self.tile(&item, Shape { vectors, ..self.shape }, Some(left));
        let whole = || self.tile(&item, self.shape, None);
        let width = self.shape.width();
        match pixels.known() {
            Some(n) if n % width == 0 => whole(),
            Some(n) if n < width => part(ceil_div(n, lanes)),
            Some(n) => b.if_else(left.ge(width), whole, || part(ceil_div(n % width, lanes))),
            None => b.if_else(left.ge(width), whole, || {
                let narrow = if self.shape.vectors > 1 { left.le(lanes) } else { b.constant(Ty::BOOL, 1i64) };
                b.if_else(narrow, || part(1), || part(self.shape.vectors));
            }),
        }
        Dim::product(&grid)
    }

    /// All channels of the work item for its pixels, of which `left` exist if not all.
    fn tile(&self, item: &Item<'b>, shape: Shape, left: Option<Expr<'b>>) {
        let (b, conv) = (self.b, self.conv);
        let view = |access: &Access| self.view(access, item);
        let mut writer = Writer::new(b, &conv.epilogue, self.sum, self.stage, view);
        if conv.transposed_in_phases() {
            writer.keep = Some(self.inside(item));
        }
        let even = conv.out_channels % shape.rows == 0;
        b.for_(0, ceil_div(conv.in_channels, self.channels), |part| {
            let from = part * self.channels;
            let channels = if self.parts == 1 {
                b.int(self.channels)
            } else {
                (b.int(conv.in_channels) - from).min(self.channels)
            };
            let taps = self.depth / conv.in_channels;
            let right = self.right(item, shape, left, (from, channels));
            b.for_step(LoopKind::Serial, item.channels.0, item.channels.1, shape.rows, |c| {
                let tile = Tile::zeros(b, shape, self.sum);
                let sums = |r: i64| (c - item.channels.0 + r) * shape.width();
                if let Some(buf) = self.sums {
                    b.if_(part.gt(0), || tile.resume(b, buf, sums));
                }
                tile.multiply(b, &self.left(item, c).after(from * taps), &right, channels * taps);
                let row = item.group * conv.out_channels + c;
                let rows = (!even).then(|| b.int(conv.out_channels) - c);
                let write = || writer.write(&tile, &Spot { row, column: item.pixel, rows, columns: left });
                match self.sums {
                    Some(buf) => {
                        b.if_else((from + channels).lt(conv.in_channels), || tile.spill(b, buf, sums), write)
                    }
                    None => write(),
                }
            });
        });
    }

    /// The columns of some input channels, from the first of `channels` on and so many.
    fn right(
        &self,
        item: &Item<'b>,
        shape: Shape,
        left: Option<Expr<'b>>,
        channels: (Expr<'b>, Expr<'b>),
    ) -> Right<'b> {
        let (b, x) = (self.b, &self.conv.x);
        let base = index(b, x, &[item.image, item.group * self.conv.in_channels + channels.0]);
        match self.columns {
            Columns::InPlace => Right {
                buf: self.args.buf(x.arg),
                first: base + item.pixel,
                step: b.dim(&x.strides[1]),
                masks: shape.masks(b, left),
            },
            Columns::Gathered(to) => {
                let offsets =
                    self.axes.iter().zip(&item.phases).map(|(a, &p)| table(b, &a.offsets, p)).collect();
                let neighbours = Neighbours {
                    b,
                    axes: &self.axes,
                    offsets,
                    input: &self.conv.input,
                    outputs: &self.outputs,
                    channels: channels.1,
                    in_channels: self.conv.in_channels,
                    from: self.args.buf(x.arg),
                    base,
                    strides: &x.strides[1..],
                    to,
                    width: self.shape.width(),
                    lanes: self.shape.lanes,
                    dtype: self.sum,
                };
                neighbours.gather(item.pixel, left.unwrap_or(b.int(shape.width())).min(shape.width()));
                Right {
                    buf: to,
                    first: b.int(0),
                    step: b.int(self.shape.width()),
                    masks: vec![None; shape.vectors as usize],
                }
            }
        }
    }

    fn left(&self, item: &Item<'b>, c: Expr<'b>) -> Left<'b> {
        let (b, rows) = (self.b, self.shape.rows);
        let clamped = |r: i64| {
            if self.conv.out_channels % rows == 0 { c + r } else { (c + r).min(self.conv.out_channels - 1) }
        };
        match &self.weights {
            Weights::Panels(w) => {
                let outer = item.group * w.strides[0] + item.phase * w.strides[1];
                let base = outer + c * self.depth;
                Left {
                    buf: self.args.buf(w.arg),
                    rows: (0..rows).map(|r| base + r).collect(),
                    step: b.int(rows),
                }
            }
            Weights::InPlace(w) => {
                let base = index(b, w, &[item.group]);
                let place = |r| base + clamped(r) * b.dim(&w.strides[1]);
                Left { buf: self.args.buf(w.arg), rows: (0..rows).map(place).collect(), step: b.int(1) }
            }
            Weights::Copied(_, buf) => {
                let place = |r| (clamped(r) - item.channels.0) * self.depth;
                Left { buf: *buf, rows: (0..rows).map(place).collect(), step: b.int(1) }
            }
        }
    }

    /// Copies the weights of the work item's channels and phase, zeros for taps beyond the kernel.
    fn copy_weights(&self, access: &Access, to: Buf, item: &Item<'b>) {
        let (b, conv) = (self.b, self.conv);
        let taps: Vec<Dim> = self.axes.iter().map(|a| Dim::from(a.taps)).collect();
        let all = Dim::product(&taps).known().unwrap_or(1);
        b.for_(item.channels.0, item.channels.1, |c| {
            b.for_(0, conv.in_channels, |i| {
                b.for_(0, all, |u| {
                    let (mut at, mut inside) = (vec![item.group, c, i], None);
                    for ((u, axis), (&phase, &kernel)) in b
                        .unravel(u, &taps)
                        .into_iter()
                        .zip(&self.axes)
                        .zip(item.phases.iter().zip(&conv.kernel))
                    {
                        let tap = table(b, &axis.first, phase) + u * axis.tap_period;
                        inside = Some(inside.map_or(tap.lt(kernel), |x: Expr<'b>| x.and(tap.lt(kernel))));
                        at.push(tap.min(kernel - 1));
                    }
                    let value = b.load(self.args.buf(access.arg), index(b, access, &at)).cast(self.sum);
                    let value = inside.map_or(value, |inside| inside.select(value, 0.0 * value));
                    b.store(to, ((c - item.channels.0) * conv.in_channels + i) * all + u, value);
                });
            });
        });
    }

    fn view(&self, access: &Access, item: &Item<'b>) -> View<'b> {
        let (b, conv) = (self.b, self.conv);
        let column = match () {
            () if constant(access) => Column::Same,
            () if flat(access, &conv.output) && !conv.transposed_in_phases() => Column::Contiguous,
            () => {
                let strides: Vec<Dim> = access.strides[2..].to_vec();
                let place = self.places(item);
                Column::Map(Rc::new(move |j| {
                    place(j).into_iter().zip(&strides).fold(b.int(0), |sum, (o, s)| sum + o * b.dim(s))
                }))
            }
        };
        View {
            buf: self.args.buf(access.arg),
            base: index(b, access, &[item.image]),
            row: b.dim(&access.strides[1]),
            column,
        }
    }

    /// The output coordinates of a pixel of the item's phase.
    fn places(&self, item: &Item<'b>) -> impl Fn(Expr<'b>) -> Vec<Expr<'b>> + use<'b> {
        let (b, outputs, phases) = (self.b, self.outputs.clone(), item.phases.clone());
        let steps: Vec<i64> = self.axes.iter().map(|a| a.offsets.len() as i64).collect();
        move |j| {
            b.unravel(j, &outputs)
                .into_iter()
                .zip(&steps)
                .zip(&phases)
                .map(|((q, &s), &r)| q * s + r)
                .collect()
        }
    }

    /// Whether a pixel of the item's phase lies in the output.
    fn inside(&self, item: &Item<'b>) -> Rc<dyn Fn(Expr<'b>) -> Expr<'b> + 'b> {
        let (b, place, output) = (self.b, self.places(item), self.conv.output.clone());
        Rc::new(move |j| {
            let bounds = place(j).into_iter().zip(&output).map(|(o, n)| o.lt(b.dim(n)));
            bounds.reduce(|x, y| x.and(y)).expect("a convolution should have spatial dimensions")
        })
    }
}

/// The entry of a small table.
fn table<'b>(b: &'b Builder, values: &[i64], at: Expr<'b>) -> Expr<'b> {
    let last = b.int(values[values.len() - 1]);
    values.iter().enumerate().rev().skip(1).fold(last, |rest, (i, &v)| at.eq(i).select(b.int(v), rest))
}

fn declare(b: &Builder, conv: &Conv) -> Args {
    let weights = match &conv.w {
        Operand::Strided(w) => (w.arg, w.dtype),
        Operand::Packed(w) => (w.arg, w.dtype),
    };
    let mut inputs = vec![(conv.x.arg, conv.x.dtype), weights];
    inputs.extend(conv.epilogue.accesses.iter().map(|a| (a.arg, a.dtype)));
    Args::declare(b, &inputs, &[(conv.epilogue.out.arg, conv.epilogue.out.dtype)])
}
