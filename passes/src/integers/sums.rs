//! Integer contractions written out: bytes as `u8` and `i8`, and what zero points add to the sums.
use super::quantized::{Bytes, is_zero};
use super::{add, is_one};
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Tensor};

/// A constant of one element.
fn number(g: &mut Graph, dtype: DType, x: i64) -> Value {
    g.constant(Tensor::from_i64s(dtype, [], [x]))
}

/// `x - zero` in i32.
pub fn centered(g: &mut Graph, bytes: &Bytes) -> Value {
    let wide = add(g, Op::Cast { to: DType::I32 }, &[bytes.x]);
    bytes.zero.map_or(wide, |zero| add(g, Op::Sub {}, &[wide, zero]))
}

/// The same integers as unsigned bytes.
pub fn unsigned(g: &mut Graph, bytes: &Bytes) -> Bytes {
    if g.ty(bytes.x).dtype == DType::U8 {
        return *bytes;
    }
    let x = add(g, Op::Cast { to: DType::U8 }, &[bytes.x]);
    let offset = number(g, DType::U8, 128);
    Bytes { x: add(g, Op::Add {}, &[x, offset]), zero: moved(g, bytes.zero, 128) }
}

/// The same integers as signed bytes.
pub fn signed(g: &mut Graph, bytes: &Bytes) -> Bytes {
    if g.ty(bytes.x).dtype == DType::I8 {
        return *bytes;
    }
    let offset = number(g, DType::U8, 128);
    let x = add(g, Op::Add {}, &[bytes.x, offset]);
    Bytes { x: add(g, Op::Cast { to: DType::I8 }, &[x]), zero: moved(g, bytes.zero, -128) }
}

/// A zero point moved by an offset; none if it is then 0.
fn moved(g: &mut Graph, zero: Option<Value>, by: i64) -> Option<Value> {
    let offset = number(g, DType::I32, by);
    let Some(zero) = zero else { return Some(offset) };
    let moved = add(g, Op::Add {}, &[zero, offset]);
    (!is_zero(g, moved)).then_some(moved)
}

/// `Σ_k (a - a.zero) · (b - b.zero)` of `u8` and `i8`, over `depth` elements.
pub fn product(g: &mut Graph, a: &Bytes, b: &Bytes, depth: i64) -> Value {
    let mut sum = add(g, Op::IntegerMatmul {}, &[a.x, b.x]);
    let sums = |g: &mut Graph, v: Value, axis: i64| {
        let wide = add(g, Op::Cast { to: DType::I32 }, &[v]);
        add(g, Op::ReduceSum { axes: vec![axis] }, &[wide])
    };
    if let Some(zero) = a.zero {
        let mut columns = sums(g, b.x, -2);
        if let Some(other) = b.zero {
            let depth = number(g, DType::I32, depth);
            let all = add(g, Op::Mul {}, &[other, depth]);
            columns = add(g, Op::Sub {}, &[columns, all]);
        }
        let excess = add(g, Op::Mul {}, &[columns, zero]);
        sum = add(g, Op::Sub {}, &[sum, excess]);
    }
    if let Some(zero) = b.zero {
        let rows = sums(g, a.x, -1);
        let excess = add(g, Op::Mul {}, &[rows, zero]);
        sum = add(g, Op::Sub {}, &[sum, excess]);
    }
    sum
}

/// The sums of a convolution of `x` with the weights `w`, whose zero point is 0, less what the zero point of
/// `x` adds to them. Padding has the value of the zero point.
pub fn without_zero(g: &mut Graph, sum: Value, x: &Bytes, w: Value) -> Value {
    let Some(zero) = x.zero else { return sum };
    debug_assert!(is_one(g, zero), "one zero point for all pixels");
    let shape = g.ty(w).shape.clone();
    let axes: Vec<i64> = (1..shape.len() as i64).collect();
    let wide = add(g, Op::Cast { to: DType::I32 }, &[w]);
    let sums = add(g, Op::ReduceSum { axes }, &[wide]);
    let columns = super::channels(g, sums, shape.len());
    let zero = super::scalar(g, zero);
    let excess = add(g, Op::Mul {}, &[columns, zero]);
    add(g, Op::Sub {}, &[sum, excess])
}
