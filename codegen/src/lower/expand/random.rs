//! Random numbers as functions of the place in the tensor: the same bits as the reference value.
use super::Writer;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};
use std::f64::consts::TAU;

/// The step from one place to the next (SplitMix64, Steele et al. 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Writer<'_> {
    fn word(&mut self, x: u64) -> Value {
        self.g.constant(Tensor::from_slice([], &[x]))
    }
    /// `x ^ (x >> by)`
    fn folded(&mut self, x: Value, by: u64) -> Value {
        let by = self.word(by);
        let high = self.add(Op::ShiftRight {}, &[x, by]);
        self.add(Op::Xor {}, &[x, high])
    }
    fn product(&mut self, x: Value, by: u64) -> Value {
        let by = self.word(by);
        self.add(Op::Mul {}, &[x, by])
    }
    /// Numbers in 0…1 at the places `i · every + first`, as f64.
    fn unit(&mut self, count: &Dim, seed: i64, every: u64, first: u64) -> Value {
        let i = self.add(Op::Iota { count: count.clone(), to: DType::U64 }, &[]);
        let steps = self.product(i, STEP.wrapping_mul(every));
        let start = self.word(STEP.wrapping_mul(first + 1).wrapping_add(seed as u64));
        let z = self.add(Op::Add {}, &[steps, start]);
        let z = self.folded(z, 30);
        let z = self.product(z, 0xbf58_476d_1ce4_e5b9);
        let z = self.folded(z, 27);
        let z = self.product(z, 0x94d0_49bb_1331_11eb);
        let z = self.folded(z, 31);
        let by = self.word(40);
        let bits = self.add(Op::ShiftRight {}, &[z, by]);
        let wide = self.cast(bits, DType::F64);
        self.times(wide, 1.0 / f64::from(1u32 << 24))
    }
}

pub(super) fn uniform(w: &mut Writer<'_>, op: &Op, _: &[Value]) -> Value {
    let Op::RandomUniform { shape, low, high, seed, to } = op else { panic!("bug: not uniform") };
    let unit = w.unit(&Dim::product(shape), *seed, 1, 0);
    let scaled = w.times(unit, high - low);
    let y = w.plus(scaled, *low);
    let y = w.cast(y, *to);
    w.reshape(y, shape.clone())
}

/// Box & Muller 1958.
pub(super) fn normal(w: &mut Writer<'_>, op: &Op, _: &[Value]) -> Value {
    let Op::RandomNormal { shape, mean, scale, seed, to } = op else { panic!("bug: not normal") };
    let count = Dim::product(shape);
    let (size, turn) = (w.unit(&count, *seed, 2, 0), w.unit(&count, *seed, 2, 1));
    let size = w.times(size, -1.0);
    let size = w.plus(size, 1.0);
    let log = w.add(Op::Log {}, &[size]);
    let square = w.times(log, -2.0);
    let radius = w.add(Op::Sqrt {}, &[square]);
    let angle = w.times(turn, TAU);
    let wave = w.add(Op::Cos {}, &[angle]);
    let y = w.add(Op::Mul {}, &[radius, wave]);
    let y = w.times(y, *scale);
    let y = w.plus(y, *mean);
    let y = w.cast(y, *to);
    w.reshape(y, shape.clone())
}
