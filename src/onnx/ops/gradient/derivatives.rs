//! What primitives and ops pass back to their operands, given what comes back to their result.
use super::super::super::context::{Built, Context};
use super::super::super::error::unsupported;
use sardonyx_ir::ops::attribute::{PadMode, Reduction};
use sardonyx_ir::scalar::Prim;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};
use std::f64::consts::FRAC_2_SQRT_PI;

/// What goes back to each operand; nothing where the derivative is 0.
pub(super) type Passed = Vec<Option<Value>>;

/// Of a primitive on operands `x` with the value `y`, to which `g` comes back. Steps pass nothing.
pub(super) fn of_prim(cx: &mut Context, p: Prim, x: &[Value], y: Value, g: Value) -> Built<Passed> {
    let one = |v: Built| v.map(|v| vec![Some(v)]);
    match p {
        Prim::Add => Ok(vec![Some(g), Some(g)]),
        Prim::Sub => Ok(vec![Some(g), Some(cx.neg(g)?)]),
        Prim::Mul => Ok(vec![Some(cx.times(g, x[1])?), Some(cx.times(g, x[0])?)]),
        Prim::Div => {
            let first = cx.over(g, x[1])?;
            let second = cx.times(first, y)?;
            Ok(vec![Some(first), Some(cx.neg(second)?)])
        }
        Prim::Mod | Prim::Rem => {
            let rest = cx.minus(x[0], y)?;
            let times = cx.over(rest, x[1])?;
            let second = cx.times(g, times)?;
            Ok(vec![Some(g), Some(cx.neg(second)?)])
        }
        Prim::Pow => power(cx, x, y, g),
        Prim::Min | Prim::Max => {
            // Of equal operands the first is taken.
            let taken = if p == Prim::Min { cx.le(x[0], x[1]) } else { cx.ge(x[0], x[1]) }?;
            either(cx, taken, g)
        }
        Prim::Select => {
            let both = either(cx, x[0], g)?;
            Ok([vec![None], both].concat())
        }
        Prim::Neg => one(cx.neg(g)),
        Prim::Abs => {
            let sign = cx.add(Op::Sign {}, x)?;
            one(cx.times(g, sign))
        }
        Prim::Exp => one(cx.times(g, y)),
        Prim::Expm1 => {
            let power = cx.exp(x[0])?;
            one(cx.times(g, power))
        }
        Prim::Log => one(cx.over(g, x[0])),
        Prim::Log1p => {
            let moved = cx.plus_number(x[0], 1.0)?;
            one(cx.over(g, moved))
        }
        Prim::Sqrt => {
            let twice = cx.times_number(y, 2.0)?;
            one(cx.over(g, twice))
        }
        Prim::Erf => {
            let square = cx.times(x[0], x[0])?;
            let square = cx.neg(square)?;
            let bell = cx.exp(square)?;
            let bell = cx.times_number(bell, FRAC_2_SQRT_PI)?;
            one(cx.times(g, bell))
        }
        Prim::Sin | Prim::Cos | Prim::Tan | Prim::Asin | Prim::Acos | Prim::Atan => {
            circular(cx, p, x[0], y, g).map(|v| vec![Some(v)])
        }
        Prim::Sinh | Prim::Cosh | Prim::Tanh | Prim::Asinh | Prim::Acosh | Prim::Atanh => {
            hyperbolic(cx, p, x[0], y, g).map(|v| vec![Some(v)])
        }
        Prim::Sign | Prim::Floor | Prim::Ceil | Prim::Round | Prim::Trunc => Ok(vec![None]),
        Prim::Eq | Prim::Lt | Prim::Le | Prim::And | Prim::Or | Prim::Xor => Ok(vec![None; 2]),
        Prim::Not | Prim::IsNan | Prim::IsInf => Ok(vec![None]),
        Prim::Shl | Prim::Shr => Ok(vec![None; 2]),
    }
}

/// `g` to the first of two where `taken` holds, else to the second.
fn either(cx: &mut Context, taken: Value, g: Value) -> Built<Passed> {
    let zero = cx.like(g, 0.0);
    Ok(vec![Some(cx.select(taken, g, zero)?), Some(cx.select(taken, zero, g)?)])
}

fn power(cx: &mut Context, x: &[Value], y: Value, g: Value) -> Built<Passed> {
    let less = cx.plus_number(x[1], -1.0)?;
    let slope = cx.pow(x[0], less)?;
    let slope = cx.times(slope, x[1])?;
    let first = cx.times(g, slope)?;
    // The logarithm of a base that is not positive counts as 0, where the power is no function of its exponent.
    let (zero, one) = (cx.like(x[0], 0.0), cx.like(x[0], 1.0));
    let positive = cx.gt(x[0], zero)?;
    let base = cx.select(positive, x[0], one)?;
    let log = cx.log(base)?;
    let second = cx.times(y, log)?;
    Ok(vec![Some(first), Some(cx.times(g, second)?)])
}

/// `offset + scale · v²`.
fn square(cx: &mut Context, v: Value, scale: f64, offset: f64) -> Built {
    let square = cx.times(v, v)?;
    let square = cx.times_number(square, scale)?;
    cx.plus_number(square, offset)
}

fn circular(cx: &mut Context, p: Prim, x: Value, y: Value, g: Value) -> Built {
    match p {
        Prim::Sin => {
            let slope = cx.cos(x)?;
            cx.times(g, slope)
        }
        Prim::Cos => {
            let slope = cx.sin(x)?;
            let slope = cx.neg(slope)?;
            cx.times(g, slope)
        }
        Prim::Tan => {
            let slope = square(cx, y, 1.0, 1.0)?;
            cx.times(g, slope)
        }
        Prim::Atan => {
            let below = square(cx, x, 1.0, 1.0)?;
            cx.over(g, below)
        }
        _ => {
            let below = square(cx, x, -1.0, 1.0)?;
            let below = cx.sqrt(below)?;
            let v = cx.over(g, below)?;
            if p == Prim::Acos { cx.neg(v) } else { Ok(v) }
        }
    }
}

fn hyperbolic(cx: &mut Context, p: Prim, x: Value, y: Value, g: Value) -> Built {
    match p {
        Prim::Sinh | Prim::Cosh => {
            let slope = if p == Prim::Sinh { Op::Cosh {} } else { Op::Sinh {} };
            let slope = cx.add(slope, &[x])?;
            cx.times(g, slope)
        }
        Prim::Tanh => {
            let slope = square(cx, y, -1.0, 1.0)?;
            cx.times(g, slope)
        }
        Prim::Atanh => {
            let below = square(cx, x, -1.0, 1.0)?;
            cx.over(g, below)
        }
        _ => {
            let below = square(cx, x, 1.0, if p == Prim::Asinh { 1.0 } else { -1.0 })?;
            let below = cx.sqrt(below)?;
            cx.over(g, below)
        }
    }
}

/// Of an op that no scalar expression defines.
pub(super) fn of_op(cx: &mut Context, op: &Op, x: &[Value], y: Value, g: Value) -> Built<Passed> {
    let shape = x.first().map_or_else(Vec::new, |&v| cx.shape(v));
    let one = |v: Built| v.map(|v| vec![Some(v)]);
    match op {
        Op::Reshape { .. } => one(cx.reshape(g, shape)),
        // What is broadcast is summed by whoever passes it on.
        Op::Expand { .. } => Ok(vec![Some(g)]),
        Op::Transpose { perm } => {
            let back: Vec<usize> = (0..perm.len())
                .map(|a| {
                    perm.iter().position(|&p| p == a as i64).expect("a permutation should hold every axis")
                })
                .collect();
            one(cx.transpose(g, &back))
        }
        Op::Slice { starts, sizes, steps } if steps.iter().all(|&s| s == 1) => {
            let after =
                shape.iter().zip(starts).zip(sizes).map(|((n, start), size)| n - start - size).collect();
            let zero = cx.like(g, 0.0);
            let (before, mode) = (starts.clone(), PadMode::Constant);
            one(cx.add(Op::Pad { before, after, mode }, &[g, zero]))
        }
        Op::Concat { axis } => {
            let axis = cx.axis(y, *axis)?;
            let (mut start, mut parts) = (Dim::ZERO, Vec::new());
            for &v in x {
                let size = cx.shape(v)[axis].clone();
                parts.push(Some(cx.slice_axis(g, axis, start.clone(), size.clone(), 1)?));
                start += size;
            }
            Ok(parts)
        }
        Op::ReduceSum { .. } => one(cx.expand(g, shape)),
        Op::ReduceMean { axes } => {
            let axes = cx.axes(shape.len(), axes)?;
            let count = Dim::product(&axes.iter().map(|&a| shape[a].clone()).collect::<Vec<_>>());
            let (count, wide) = (cx.dim(count, cx.dtype(g))?, cx.expand(g, shape)?);
            one(cx.over(wide, count))
        }
        Op::ReduceMax { axes } | Op::ReduceMin { axes } => {
            // Equal elements share.
            let axes = cx.axes(shape.len(), axes)?;
            let found = cx.eq(x[0], y)?;
            let found = cx.cast(found, cx.dtype(g))?;
            let count = cx.reduce_sum(found, &axes)?;
            let share = cx.over(g, count)?;
            one(cx.times(found, share))
        }
        Op::Matmul {} => {
            let [a, b] = [turned(cx, x[0])?, turned(cx, x[1])?];
            let (first, second) = (cx.add(Op::Matmul {}, &[g, b])?, cx.add(Op::Matmul {}, &[a, g])?);
            Ok(vec![Some(first), Some(second)])
        }
        Op::Softmax { axis } => {
            let axis = cx.axis(y, *axis)?;
            let weighted = cx.times(g, y)?;
            let mean = cx.reduce_sum(weighted, &[axis])?;
            let apart = cx.minus(g, mean)?;
            one(cx.times(apart, y))
        }
        Op::LogSoftmax { axis } => {
            let axis = cx.axis(y, *axis)?;
            let (sum, share) = (cx.reduce_sum(g, &[axis])?, cx.exp(y)?);
            let mean = cx.times(share, sum)?;
            one(cx.minus(g, mean))
        }
        Op::Gather { axis } => {
            let axis = cx.axis(x[0], *axis)?;
            Ok(vec![Some(scattered(cx, x, axis, g)?), None])
        }
        other => unsupported(format!("there is no rule for the derivative of `{}`", other.name())),
    }
}

/// With the last two axes exchanged.
fn turned(cx: &mut Context, v: Value) -> Built {
    let rank = cx.rank(v);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    cx.transpose(v, &perm)
}

/// Adds `g` to zeros of the shape of `x[0]` where the indices `x[1]` took elements along an axis.
fn scattered(cx: &mut Context, x: &[Value], axis: usize, g: Value) -> Built {
    let (rank, taken) = (cx.rank(x[0]), cx.rank(x[1]));
    // The axes of the indices first, as an update of whole slices.
    let all = rank - 1 + taken;
    let first: Vec<usize> = (axis..axis + taken).chain(0..axis).chain(axis + taken..all).collect();
    let g = cx.transpose(g, &first)?;
    let mut shape = cx.shape(x[0]);
    let n = shape.remove(axis);
    shape.insert(0, n);
    let zero = cx.like(g, 0.0);
    let zeros = cx.expand(zero, shape)?;
    let indices = cx.cast(x[1], DType::I64)?;
    let indices = cx.unsqueeze(indices, &[taken])?;
    let sum = cx.add(Op::ScatterNd { reduction: Reduction::Add }, &[zeros, indices, g])?;
    let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..rank).collect();
    cx.transpose(sum, &back)
}
