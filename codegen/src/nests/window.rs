//! The loops of pooling and depthwise convolution: a work item is some rows of one channel, a vector runs
//! along a row of outputs and adds up its taps.
//!
//! Which taps of a vector lie inside the input depends on its column alone: the masks are computed once
//! for a column of vectors. Rows outside the input are skipped.
use super::tile::VectorUnit;
use super::write::{Args, Column, View, Writer, index};
use crate::kernel::contract::{Access, accumulator};
use crate::kernel::window::{Window, WindowOp};
use crate::nest::{Builder, Expr, LoopKind, Nest, Ty, Variable, register_dtype};
use crate::target::TargetSpec;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};

/// Work items that keep several threads busy to the end.
const ITEMS: i64 = 16;
/// Rows of at most this many taps are written out.
const WRITTEN_OUT: i64 = 8;

impl Window {
    /// The type in which the reduction is computed.
    pub fn accumulator(&self) -> DType {
        match &self.op {
            WindowOp::Max => register_dtype(self.x.dtype),
            WindowOp::Weighted { w, .. } => accumulator(self.x.dtype, w.dtype),
            _ if self.x.dtype == DType::F64 => DType::F64,
            _ => DType::F32,
        }
    }

    /// The loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        let b = Builder::new(name);
        let lanes = VectorUnit::of(target).lanes(self.accumulator());
        let grid = Loops::new(&b, self, lanes).build();
        b.finish(grid)
    }
}

struct Loops<'a, 'b> {
    b: &'b Builder,
    window: &'a Window,
    args: Args,
    sum: DType,
    /// 1 where elements are computed one by one.
    lanes: u32,
    /// The last spatial dimension.
    last: usize,
}

/// What is known of the outputs of a row.
struct Row<'b> {
    image: Expr<'b>,
    channel: Expr<'b>,
    /// The column of the first output of the vector.
    column: Expr<'b>,
    /// Which outputs exist.
    mask: Option<Expr<'b>>,
    /// Per tap of a row, where they are the same for all rows.
    masks: Option<Vec<Vec<Expr<'b>>>>,
}

/// The reduction of one vector of outputs.
struct Sum<'b> {
    value: Variable<'b>,
    /// Elements that count, in the lanes of a row.
    columns: Variable<'b>,
    /// Rows that count.
    rows: Variable<'b>,
}

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, window: &'a Window, lanes: u32) -> Loops<'a, 'b> {
        let (sum, last) = (window.accumulator(), window.kernel.len() - 1);
        let mut inputs = vec![(window.x.arg, window.x.dtype)];
        if let WindowOp::Weighted { w, .. } = &window.op {
            inputs.push((w.arg, w.dtype));
        }
        inputs.extend(window.epilogue.accesses.iter().map(|a| (a.arg, a.dtype)));
        let out = &window.epilogue.out;
        let args = Args::declare(b, &inputs, &[(out.arg, out.dtype)]);
        let regular = |a: &Access| a.strides[2 + last] == 1 || (a.strides[2 + last] == 0 && a.arg != out.arg);
        let vectors = (sum.is_float() || sum == DType::I32 && window.op != WindowOp::Max)
            && window.strides[last] <= 2
            && window.x.strides[2 + last] == 1
            && window.epilogue.accesses.iter().chain([out]).all(regular);
        Loops { b, window, args, sum, lanes: if vectors { lanes } else { 1 }, last }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, window) = (self.b, self.window);
        let planes = window.batch.known().unwrap_or(1) * window.channels.known().unwrap_or(ITEMS);
        let rows = if self.last == 0 || planes >= ITEMS { None } else { Some(16) };
        let mut grid = vec![window.batch.clone(), window.channels.clone()];
        grid.extend(rows.map(|r| window.output[0].ceil_div(r)));
        let at = b.unravel(b.grid(), &grid);
        let bounds = rows.map(|r| (at[2] * r, (at[2] * r + r).min(b.dim(&window.output[0]))));
        let width = b.dim(&window.output[self.last]);
        b.for_step(LoopKind::Serial, 0, width, i64::from(self.lanes), |column| {
            let even = self.lanes == 1
                || window.output[self.last].known().is_some_and(|w| w % i64::from(self.lanes) == 0);
            let mask = (!even).then(|| b.first_lanes(width - column, self.lanes));
            let mut row = Row { image: at[0], channel: at[1], column, mask, masks: None };
            if window.kernel[self.last] <= WRITTEN_OUT && self.lanes > 1 {
                row.masks = Some((0..window.kernel[self.last]).map(|u| self.masks(&row, b.int(u))).collect());
            }
            self.rows(&row, &mut vec![], bounds);
        });
        Dim::product(&grid)
    }

    /// Loops over the outer output coordinates.
    fn rows(&self, row: &Row<'b>, outer: &mut Vec<Expr<'b>>, bounds: Option<(Expr<'b>, Expr<'b>)>) {
        let b = self.b;
        if outer.len() == self.last {
            return self.vector(row, outer);
        }
        let (begin, end) = bounds.unwrap_or((b.int(0), b.dim(&self.window.output[outer.len()])));
        b.for_(begin, end, |o| {
            outer.push(o);
            self.rows(row, outer, None);
            outer.pop();
        });
    }

    /// The position in the input of a tap of an output.
    fn position(&self, axis: usize, output: Expr<'b>, tap: Expr<'b>) -> Expr<'b> {
        let w = self.window;
        output * w.strides[axis] + tap * w.dilations[axis] - w.pads[axis]
    }

    fn ty(&self) -> Ty {
        Ty { dtype: self.sum, lanes: self.lanes }
    }

    /// One vector of outputs.
    fn vector(&self, row: &Row<'b>, outer: &[Expr<'b>]) {
        let (b, window) = (self.b, self.window);
        let first = match window.op {
            WindowOp::Max if self.sum.is_float() => b.constant(self.ty(), f64::NEG_INFINITY),
            WindowOp::Max => b.constant(self.ty(), self.sum.int_range().0 as i64),
            _ => b.constant(self.ty(), 0i64),
        };
        let sum =
            Sum { value: b.var(first), columns: b.var(b.constant(self.ty(), 0i64)), rows: b.var(b.int(0)) };
        let channel = match &window.op {
            WindowOp::Weighted { multiplier, .. } => row.channel.index_div(*multiplier),
            _ => row.channel,
        };
        let base = index(b, &window.x, &[row.image, channel]);
        self.taps(row, outer, &mut vec![], base, &sum);
        if let (WindowOp::Mean { padding }, false) = (&window.op, self.is_whole()) {
            self.count(row, outer, *padding, &sum);
        }
        let value = self.result(&sum);
        let at = [&[row.image, row.channel], outer].concat();
        let view = |access: &Access| View {
            buf: self.args.buf(access.arg),
            base: index(b, access, &at),
            row: b.int(0),
            column: Column::stride(b, &access.strides[2 + self.last]),
        };
        let writer = Writer::new(b, &window.epilogue, self.sum, None, view);
        if self.lanes == 1 {
            writer.element(value, b.int(0), row.column);
        } else {
            writer.vector(value, b.int(0), row.column, row.mask);
        }
    }

    /// Loops over the taps; the rows that lie in the input begin at `place`.
    fn taps(
        &self,
        row: &Row<'b>,
        outer: &[Expr<'b>],
        taps: &mut Vec<Expr<'b>>,
        place: Expr<'b>,
        sum: &Sum<'b>,
    ) {
        let (b, window, axis) = (self.b, self.window, taps.len());
        if axis == self.last {
            match &row.masks {
                Some(masks) => masks.iter().zip(0..).for_each(|(mask, u)| {
                    self.tap(row, taps, b.int(u), place, mask, sum);
                }),
                None => b.for_(0, window.kernel[axis], |u| {
                    self.tap(row, taps, u, place, &self.masks(row, u), sum)
                }),
            }
            return;
        }
        let kind = if window.kernel[axis] <= WRITTEN_OUT { LoopKind::Unroll(0) } else { LoopKind::Serial };
        b.for_step(kind, 0, window.kernel[axis], 1, |u| {
            let position = self.position(axis, outer[axis], u);
            b.if_(position.ge(0).and(position.lt(b.dim(&window.input[axis]))), || {
                taps.push(u);
                self.taps(row, outer, taps, place + position * b.dim(&window.x.strides[2 + axis]), sum);
                taps.pop();
            });
        });
    }

    /// Which elements of a tap of a row lie in the input: for each vector that is loaded.
    fn masks(&self, row: &Row<'b>, tap: Expr<'b>) -> Vec<Expr<'b>> {
        let (b, lanes) = (self.b, i64::from(self.lanes));
        let (step, size) = (self.window.strides[self.last], b.dim(&self.window.input[self.last]));
        let first = self.position(self.last, row.column, tap);
        if self.lanes == 1 {
            return vec![first.ge(0).and(first.lt(size))];
        }
        let room = b.dim(&self.window.output[self.last]) - row.column;
        let iota = b.iota(DType::I32, self.lanes);
        let inside = |h: i64| {
            let place = iota + (first + h * lanes).cast(DType::I32);
            b.first_lanes(room * step - h * lanes, self.lanes)
                .and(place.ge(0))
                .and(place.lt(size.cast(DType::I32)))
        };
        (0..step).map(inside).collect()
    }

    /// Adds one tap of a row.
    fn tap(
        &self,
        row: &Row<'b>,
        taps: &[Expr<'b>],
        tap: Expr<'b>,
        place: Expr<'b>,
        masks: &[Expr<'b>],
        sum: &Sum<'b>,
    ) {
        let (b, buf) = (self.b, self.args.buf(self.window.x.arg));
        let position = self.position(self.last, row.column, tap);
        let add = |x: Expr<'b>| sum.value.update(|sum| self.add(sum, x, row, &[taps, &[tap]].concat()));
        if self.lanes == 1 {
            let stride = b.dim(&self.window.x.strides[2 + self.last]);
            return b.if_(masks[0], || add(b.load(buf, place + position * stride).cast(self.sum)));
        }
        let at = place + position;
        let load = |h: usize| b.load_masked(buf, at + h * self.lanes as usize, masks[h]).cast(self.sum);
        let (x, inside) = match masks.len() {
            1 => (load(0), masks[0]),
            _ => {
                let even: Vec<u32> = (0..self.lanes).map(|l| 2 * l).collect();
                (b.shuffle(load(0), load(1), &even), b.shuffle(masks[0], masks[1], &even))
            }
        };
        add(if self.window.op == WindowOp::Max {
            inside.select(x, b.constant(self.ty(), f64::NEG_INFINITY))
        } else {
            x
        });
    }

    fn add(&self, sum: Expr<'b>, x: Expr<'b>, row: &Row<'b>, taps: &[Expr<'b>]) -> Expr<'b> {
        let b = self.b;
        match &self.window.op {
            WindowOp::Max => sum.max(x),
            WindowOp::Mean { .. } => sum + x,
            WindowOp::Norm { p: 1 } => sum + x.abs(),
            WindowOp::Norm { p: 2 } => b.fma(x, x, sum),
            WindowOp::Norm { p } => sum + b.prim(Prim::Pow, &[x.abs(), b.constant(self.ty(), *p)]),
            WindowOp::Weighted { w, .. } => {
                let weight = b.load(self.args.buf(w.arg), index(b, w, &[&[row.channel], taps].concat()));
                let weight = weight.cast(self.sum).splat(self.lanes);
                if self.sum.is_float() { b.fma(weight, x, sum) } else { sum + weight * x }
            }
        }
    }

    fn result(&self, sum: &Sum<'b>) -> Expr<'b> {
        let WindowOp::Mean { .. } = self.window.op else { return sum.value.get() };
        if self.is_whole() {
            let count: i64 = self.window.kernel.iter().product();
            return sum.value.get() / self.b.constant(self.ty(), count);
        }
        sum.value.get() / (sum.columns.get() * sum.rows.get().cast(self.sum).splat(self.lanes))
    }

    /// Whether it is certain that all windows count all their elements.
    fn is_whole(&self) -> bool {
        let w = self.window;
        let WindowOp::Mean { padding } = w.op else { return true };
        (0..w.kernel.len()).all(|i| {
            let reach = (&w.output[i] - 1) * w.strides[i] + (w.kernel[i] - 1) * w.dilations[i] - w.pads[i];
            let room = &w.input[i] + if padding { w.pads_end[i] } else { 0 };
            (padding || w.pads[i] == 0) && (room - reach).provably_ge(1)
        })
    }

    /// Counts the elements of the windows.
    fn count(&self, row: &Row<'b>, outer: &[Expr<'b>], padding: bool, sum: &Sum<'b>) {
        let (b, w) = (self.b, self.window);
        let bounds = |axis: usize| {
            let low = if padding { -w.pads[axis] } else { 0 };
            (low, b.dim(&(&w.input[axis] + if padding { w.pads_end[axis] } else { 0 })))
        };
        sum.rows.set(1);
        for (axis, &output) in outer.iter().enumerate() {
            let (low, high) = bounds(axis);
            let count = b.var(b.int(0));
            b.for_(0, w.kernel[axis], |u| {
                let position = self.position(axis, output, u);
                count.add(position.ge(low).and(position.lt(high)).select(b.int(1), b.int(0)));
            });
            sum.rows.update(|rows| rows * count.get());
        }
        let (low, high) = bounds(self.last);
        let index = Ty { dtype: DType::I32, lanes: 1 };
        let lanes = if self.lanes == 1 { b.constant(index, 0i64) } else { b.iota(DType::I32, self.lanes) };
        b.for_(0, w.kernel[self.last], |u| {
            let first = self.position(self.last, row.column, u).cast(DType::I32);
            let position = lanes * w.strides[self.last] + first;
            let inside = position.ge(low).and(position.lt(high.cast(DType::I32)));
            sum.columns.add(inside.select(b.constant(self.ty(), 1i64), b.constant(self.ty(), 0i64)));
        });
    }
}
