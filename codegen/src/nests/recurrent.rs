//! The loops of a recurrence: a work item is a block of sequences; in each step the previous states are
//! multiplied by the recurrent weights, tile by tile, and each tile's gates become new states at once.
//!
//! The columns of a tile are the gates of the same hidden units, so that a tile holds all that a new state
//! needs. A GRU whose reset gate comes before the product takes two products a step.
use super::tile::{Left, Right, Shape, Tile, VectorUnit, ceil_div};
use super::write::{Args, index};
use crate::kernel::contract::{Access, Operand};
use crate::kernel::recurrent::{Cell, Recurrent};
use crate::nest::{Buf, Builder, Expr, LoopKind, Nest, Ty};
use crate::target::TargetSpec;
use sardonyx_tensor::{DType, Dim};

/// Sequences of a work item, in tiles.
const TILES: i64 = 4;

/// One product of a step: which gates it computes.
pub(crate) struct Product {
    gates: Vec<i64>,
    /// Hidden units of a tile.
    pub units: i64,
}

impl Product {
    /// Columns of a panel.
    pub fn width(&self) -> i64 {
        self.units * self.gates.len() as i64
    }

    /// The gate and hidden unit of each column, panel after panel; units may lie beyond the last.
    pub fn columns(&self, hidden: i64) -> impl Iterator<Item = (i64, i64)> {
        let gates = move |panel: i64| {
            self.gates.iter().flat_map(move |&g| (0..self.units).map(move |u| (g, panel * self.units + u)))
        };
        (0..ceil_div(hidden, self.units)).flat_map(gates)
    }
}

impl Recurrent {
    /// The products of a step.
    pub(crate) fn products(&self, unit: VectorUnit) -> Vec<Product> {
        let lanes = i64::from(unit.lanes(DType::F32));
        let product = |gates: &[i64], units: i64| Product { gates: gates.to_vec(), units };
        match &self.cell {
            Cell::Rnn { .. } => vec![product(&[0], lanes * unit.vectors()[0])],
            Cell::Gru { linear_before_reset: false, .. } => {
                vec![product(&[0, 1], lanes), product(&[2], lanes)]
            }
            Cell::Gru { .. } => vec![product(&[0, 1, 2], lanes)],
            Cell::Lstm { .. } => vec![product(&[0, 1, 2, 3], lanes)],
        }
    }

    /// The loops.
    pub fn nest(&self, name: &str, target: &TargetSpec) -> Nest {
        let b = Builder::new(name);
        let grid = Loops::new(&b, self, VectorUnit::of(target)).build();
        b.finish(grid)
    }
}

pub(super) struct Loops<'a, 'b> {
    pub b: &'b Builder,
    pub layer: &'a Recurrent,
    pub args: Args,
    pub products: Vec<Product>,
    pub lanes: u32,
    pub rows: i64,
    /// Sequences of a work item.
    pub block: i64,
    /// The distance of rows of states.
    pub pitch: i64,
    pub weights: Buf,
    /// States before and after a step.
    pub states: Buf,
    /// The cell states of an LSTM, or the update gates of a GRU of two products.
    pub cells: Buf,
    /// The states after the reset gate.
    pub reset: Buf,
    pub stage: Buf,
}

/// A place in a step: a sequence and some hidden units.
pub(super) struct Spot<'b> {
    /// The sequence.
    pub sequence: Expr<'b>,
    /// The sequence in the work item.
    pub row: Expr<'b>,
    /// The first hidden unit.
    pub unit: Expr<'b>,
    /// Which units exist.
    pub mask: Option<Expr<'b>>,
    /// Where the units' state stands, before the step and after it.
    pub before: Expr<'b>,
    pub after: Expr<'b>,
    /// Where the first gate of the product stands in the stage.
    pub gates: Expr<'b>,
    /// The step in the buffers.
    pub time: Expr<'b>,
}

impl<'a, 'b> Loops<'a, 'b> {
    fn new(b: &'b Builder, layer: &'a Recurrent, unit: VectorUnit) -> Loops<'a, 'b> {
        let (products, lanes) = (layer.products(unit), unit.lanes(DType::F32));
        let vectors = products.iter().map(|p| p.width() / i64::from(lanes)).max().unwrap_or(1);
        let rows = Shape::choose(unit, DType::F32, layer.batch.known(), None, 1..=8, &[vectors]).rows;
        let tiles = layer.batch.known().map_or(TILES, |n| ceil_div(n, rows).min(TILES));
        let block = tiles * rows;
        let pitch = ceil_div(layer.hidden, products[0].units) * products[0].units;
        let args = declare(b, layer);
        let floats = |name: &str, n: i64| b.scratch(name, DType::F32, n);
        let weights = match &layer.r {
            Operand::Packed(panels) => args.buf(panels.arg),
            Operand::Strided(_) => floats("weights", layer.hidden * pitch * layer.cell.gates()),
        };
        Loops {
            states: floats("states", 2 * block * pitch),
            cells: floats("cells", block * pitch),
            reset: floats("reset", block * pitch),
            stage: floats("gates", rows * vectors * i64::from(lanes)),
            b,
            layer,
            args,
            products,
            lanes,
            rows,
            block,
            pitch,
            weights,
        }
    }

    /// The work item's loops; returns the number of work items.
    fn build(&self) -> Dim {
        let (b, layer) = (self.b, self.layer);
        let first = b.grid() * self.block;
        let count = (b.dim(&layer.batch) - first).min(self.block);
        if let Operand::Strided(access) = &layer.r {
            self.copy_weights(access);
        }
        self.initial(first, count);
        b.for_(0, b.dim(&layer.steps), |step| {
            let half = step.index_rem(2) * (self.block * self.pitch);
            let other = b.int(self.block * self.pitch) - half;
            let mut panel = b.int(0);
            for (i, product) in self.products.iter().enumerate() {
                self.product(i, panel, first, count, (half, other), step);
                panel = panel + self.panels(product);
            }
        });
        self.last(first, count);
        layer.batch.ceil_div(self.block)
    }

    /// Elements of a product's panels.
    fn panels(&self, product: &Product) -> i64 {
        ceil_div(self.layer.hidden, product.units) * product.width() * self.layer.hidden
    }

    fn copy_weights(&self, access: &Access) {
        let (b, from, hidden) = (self.b, self.args.buf(access.arg), self.layer.hidden);
        let mut panels = b.int(0);
        for product in &self.products {
            let begin = panels;
            b.for_(0, ceil_div(hidden, product.units), |panel| {
                for (gate, i) in product.gates.iter().zip(0..) {
                    b.for_(0, hidden, |k| {
                        b.vectorize(0, product.units, |u| {
                            let unit = (panel * product.units + u).min(hidden - 1);
                            let at = index(b, access, &[b.int(*gate), unit, k]);
                            let to = begin + (panel * hidden + k) * product.width() + i * product.units + u;
                            b.store(self.weights, to, b.load(from, at).cast(DType::F32));
                        });
                    });
                }
            });
            panels = panels + self.panels(product);
        }
    }

    /// Runs `f` for each sequence of the work item and each vector of hidden units: the sequence, its row,
    /// the first unit and the mask.
    fn units(
        &self,
        first: Expr<'b>,
        count: Expr<'b>,
        f: impl Fn(Expr<'b>, Expr<'b>, Expr<'b>, Option<Expr<'b>>),
    ) {
        let b = self.b;
        b.for_(0, count, |row| {
            b.for_step(LoopKind::Serial, 0, self.layer.hidden, i64::from(self.lanes), |unit| {
                f(first + row, row, unit, self.mask(unit, i64::from(self.lanes)));
            });
        });
    }

    /// Which of the units of a vector exist, where vectors go up to a multiple of `whole`.
    fn mask(&self, unit: Expr<'b>, whole: i64) -> Option<Expr<'b>> {
        let hidden = self.layer.hidden;
        (hidden % whole != 0).then(|| self.b.first_lanes(self.b.int(hidden) - unit, self.lanes))
    }

    pub(super) fn load(&self, access: &Access, at: &[Expr<'b>], mask: Option<Expr<'b>>) -> Expr<'b> {
        let (b, buf) = (self.b, self.args.buf(access.arg));
        let at = index(b, access, at);
        let x = match mask {
            Some(mask) => b.load_masked(buf, at, mask),
            None => b.load_lanes(buf, at, self.lanes),
        };
        x.cast(DType::F32)
    }

    pub(super) fn store(&self, access: &Access, at: &[Expr<'b>], value: Expr<'b>, mask: Option<Expr<'b>>) {
        let (b, buf) = (self.b, self.args.buf(access.arg));
        let at = index(b, access, at);
        // Narrower floats are rounded as they are stored; wider ones are not made of singles by themselves.
        let value = if access.dtype == DType::F64 { value.cast(DType::F64) } else { value };
        match mask {
            Some(mask) => b.store_masked(buf, at, value, mask),
            None => b.store(buf, at, value),
        }
    }

    pub(super) fn zero(&self) -> Expr<'b> {
        self.b.constant(Ty { dtype: DType::F32, lanes: self.lanes }, 0i64)
    }

    fn initial(&self, first: Expr<'b>, count: Expr<'b>) {
        let cell = match &self.layer.cell {
            Cell::Lstm { initial_cell, .. } => initial_cell.as_ref(),
            _ => None,
        };
        self.units(first, count, |sequence, row, unit, mask| {
            let at = row * self.pitch + unit;
            for (buf, access) in [(self.states, self.layer.initial.as_ref()), (self.cells, cell)] {
                let value = access.map_or(self.zero(), |a| self.load(a, &[sequence, unit], mask));
                self.b.store(buf, at, value);
            }
        });
    }

    fn last(&self, first: Expr<'b>, count: Expr<'b>) {
        let (b, layer) = (self.b, self.layer);
        let half = b.dim(&layer.steps).index_rem(2) * (self.block * self.pitch);
        let cell = match &layer.cell {
            Cell::Lstm { last_cell, .. } => last_cell.as_ref(),
            _ => None,
        };
        self.units(first, count, |sequence, row, unit, mask| {
            let at = row * self.pitch + unit;
            if let Some(last) = &layer.last {
                self.store(last, &[sequence, unit], b.load_lanes(self.states, half + at, self.lanes), mask);
            }
            if let Some(last) = cell {
                self.store(last, &[sequence, unit], b.load_lanes(self.cells, at, self.lanes), mask);
            }
        });
    }

    /// One product of a step, and what follows from it.
    fn product(
        &self,
        i: usize,
        panel: Expr<'b>,
        first: Expr<'b>,
        count: Expr<'b>,
        halves: (Expr<'b>, Expr<'b>),
        step: Expr<'b>,
    ) {
        let (b, hidden, product) = (self.b, self.layer.hidden, &self.products[i]);
        let lanes = i64::from(self.lanes);
        let shape = Shape { rows: self.rows, vectors: product.width() / lanes, lanes: self.lanes };
        let (from, half) = if i == 0 { (self.states, halves.0) } else { (self.reset, b.int(0)) };
        b.for_(0, ceil_div(hidden, product.units), |p| {
            let right = Right {
                buf: self.weights,
                first: panel + p * (product.width() * hidden),
                step: b.int(product.width()),
                masks: vec![None; shape.vectors as usize],
            };
            b.for_step(LoopKind::Serial, 0, count, self.rows, |row| {
                let rows = (0..self.rows).map(|r| half + (row + r) * self.pitch).collect();
                let tile = Tile::zeros(b, shape, DType::F32);
                tile.multiply(b, &Left { buf: from, rows, step: b.int(1) }, &right, b.int(hidden));
                tile.spill(b, self.stage, |r| b.int(r * shape.width()));
                b.for_(0, (count - row).min(self.rows), |r| {
                    b.for_step(LoopKind::Serial, 0, product.units, lanes, |u| {
                        let unit = p * product.units + u;
                        let at = (row + r) * self.pitch + unit;
                        let spot = Spot {
                            sequence: first + row + r,
                            row: (row + r) * self.pitch,
                            unit,
                            mask: self.mask(unit, product.units),
                            before: halves.0 + at,
                            after: halves.1 + at,
                            gates: r * shape.width() + u,
                            time: step,
                        };
                        self.spot(i, spot);
                    });
                });
            });
        });
    }
}

fn declare(b: &Builder, layer: &Recurrent) -> Args {
    let mut inputs = vec![(layer.x.arg, layer.x.dtype)];
    inputs.push(match &layer.r {
        Operand::Strided(r) => (r.arg, r.dtype),
        Operand::Packed(r) => (r.arg, r.dtype),
    });
    let mut outputs = vec![];
    let own: [&Option<Access>; 3] = match &layer.cell {
        Cell::Rnn { .. } => [&None, &None, &None],
        Cell::Gru { bias, .. } => [bias, &None, &None],
        Cell::Lstm { peepholes, initial_cell, last_cell, .. } => [peepholes, initial_cell, last_cell],
    };
    let read = [&layer.initial, &layer.lengths, own[0], own[1]];
    inputs.extend(read.into_iter().flatten().map(|a| (a.arg, a.dtype)));
    outputs.extend([&layer.y, &layer.last, own[2]].into_iter().flatten().map(|a| (a.arg, a.dtype)));
    Args::declare(b, &inputs, &outputs)
}
