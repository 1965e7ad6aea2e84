//! What becomes of a tile of a recurrence: gates, activations and the new states of a vector of hidden
//! units of one sequence.
use super::recurrent::{Loops, Spot};
use super::write::index;
use crate::kernel::recurrent::Cell;
use crate::nest::Expr;
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::DType;

impl<'b> Loops<'_, 'b> {
    /// The new states of some hidden units of one sequence.
    pub(super) fn spot(&self, i: usize, mut spot: Spot<'b>) {
        let (b, layer) = (self.b, self.layer);
        let step = spot.time;
        let Some(lengths) = &layer.lengths else {
            if layer.reverse {
                spot.time = b.dim(&layer.steps) - 1 - step;
            }
            return self.update(i, &spot);
        };
        let length = b.load(self.args.buf(lengths.arg), index(b, lengths, &[spot.sequence])).cast(DType::I64);
        let then = || {
            let time = if layer.reverse { length - 1 - step } else { step };
            self.update(i, &Spot { time, ..spot });
        };
        let els = || {
            b.store(self.states, spot.after, b.load_lanes(self.states, spot.before, self.lanes));
            if let Some(y) = &layer.y {
                self.store(y, &[step, spot.sequence, spot.unit], self.zero(), spot.mask);
            }
        };
        b.if_else(step.lt(length), then, els);
    }

    /// The projected input of a gate, plus `more`, limited.
    fn gate(&self, spot: &Spot<'b>, gate: i64, more: Expr<'b>) -> Expr<'b> {
        let at = [spot.time, spot.sequence, self.b.int(gate), spot.unit];
        let sum = self.load(&self.layer.x, &at, spot.mask) + more;
        self.layer.clip.map_or(sum, |clip| sum.max(-clip).min(clip))
    }

    /// The recurrent product of the `i`-th gate of a product with so many units.
    fn product_of(&self, spot: &Spot<'b>, i: i64, units: i64) -> Expr<'b> {
        self.b.load_lanes(self.stage, spot.gates + i * units, self.lanes)
    }

    fn call(&self, f: &Scalar, x: Expr<'b>) -> Expr<'b> {
        self.b.inline(f, &[x], &[DType::F32])
    }

    fn update(&self, i: usize, spot: &Spot<'b>) {
        let (b, units) = (self.b, self.products[i].units);
        let sum = |gate: i64| self.product_of(spot, gate, units);
        let before = || b.load_lanes(self.states, spot.before, self.lanes);
        let cell = spot.row + spot.unit;
        match &self.layer.cell {
            Cell::Rnn { f } => self.finish(spot, self.call(f, self.gate(spot, 0, sum(0)))),
            Cell::Gru { f, g, linear_before_reset: true, bias } => {
                let z = self.call(f, self.gate(spot, 0, sum(0)));
                let r = self.call(f, self.gate(spot, 1, sum(1)));
                let bias = bias.as_ref().map_or(self.zero(), |a| self.load(a, &[spot.unit], spot.mask));
                let h = self.call(g, self.gate(spot, 2, r * (sum(2) + bias)));
                self.finish(spot, b.fma(z, before() - h, h));
            }
            Cell::Gru { f, .. } if i == 0 => {
                b.store(self.cells, cell, self.call(f, self.gate(spot, 0, sum(0))));
                b.store(self.reset, cell, self.call(f, self.gate(spot, 1, sum(1))) * before());
            }
            Cell::Gru { g, bias, .. } => {
                let bias = bias.as_ref().map_or(self.zero(), |a| self.load(a, &[spot.unit], spot.mask));
                let h = self.call(g, self.gate(spot, 2, sum(0) + bias));
                self.finish(spot, b.fma(b.load_lanes(self.cells, cell, self.lanes), before() - h, h));
            }
            Cell::Lstm { f, g, h, peepholes, input_forget, .. } => {
                let old = b.load_lanes(self.cells, cell, self.lanes);
                let peep = |gate: i64, c: Expr<'b>| match peepholes {
                    Some(p) => b.fma(self.load(p, &[b.int(gate), spot.unit], spot.mask), c, sum(gate)),
                    None => sum(gate),
                };
                let i = self.call(f, self.gate(spot, 0, peep(0, old)));
                let forget =
                    if *input_forget { 1.0 - i } else { self.call(f, self.gate(spot, 2, peep(2, old))) };
                let new = b.fma(forget, old, i * self.call(g, self.gate(spot, 3, sum(3))));
                b.store(self.cells, cell, new);
                let o = self.call(f, self.gate(spot, 1, peep(1, new)));
                self.finish(spot, o * self.call(h, new));
            }
        }
    }

    /// Stores a new state.
    fn finish(&self, spot: &Spot<'b>, state: Expr<'b>) {
        self.b.store(self.states, spot.after, state);
        if let Some(y) = &self.layer.y {
            self.store(y, &[spot.time, spot.sequence, spot.unit], state, spot.mask);
        }
    }
}
