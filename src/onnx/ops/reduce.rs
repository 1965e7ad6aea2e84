//! Reductions over axes.
use super::super::build::signed;
use super::super::context::{Built, Context};
use super::{Row, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    one("ReduceL1", 1, |cx| {
        reduce(cx, |cx, x, axes| {
            let x = cx.abs(x)?;
            cx.reduce_sum(x, axes)
        })
    }),
    one("ReduceL2", 1, |cx| {
        reduce(cx, |cx, x, axes| {
            let sum = sum_square(cx, x, axes)?;
            root(cx, sum)
        })
    }),
    one("ReduceLogSum", 1, |cx| reduce(cx, |cx, x, axes| in_floats(cx, x, axes, log_sum))),
    one("ReduceLogSumExp", 1, |cx| reduce(cx, |cx, x, axes| in_floats(cx, x, axes, log_sum_exp))),
    one("ReduceMax", 1, |cx| reduce(cx, |cx, x, axes| extremum(cx, x, axes, true))),
    one("ReduceMean", 1, |cx| reduce(cx, |cx, x, axes| cx.reduce_mean(x, axes))),
    one("ReduceMin", 1, |cx| reduce(cx, |cx, x, axes| extremum(cx, x, axes, false))),
    one("ReduceProd", 1, |cx| reduce(cx, |cx, x, axes| cx.add(Op::ReduceProd { axes: signed(axes) }, &[x]))),
    one("ReduceSum", 1, |cx| reduce(cx, |cx, x, axes| cx.reduce_sum(x, axes))),
    one("ReduceSumSquare", 1, |cx| reduce(cx, sum_square)),
];

/// Axes as attribute or operand; without any, all of them, or none where the node says so.
fn reduce(cx: &mut Context, f: fn(&mut Context, Value, &[usize]) -> Built) -> Built {
    let x = cx.operand(0)?;
    let rank = cx.rank(x);
    let keep = cx.flag("keepdims", true)?;
    if let (None, Some(axes)) = (cx.ints("axes")?, cx.operand_if(1)?)
        && cx.ints_of(axes).is_none()
    {
        return super::late::reduce(cx, x, axes, keep, f);
    }
    let axes = cx.axes_from("axes", 1)?.unwrap_or_default();
    let axes = match (axes.is_empty(), cx.flag("noop_with_empty_axes", false)?) {
        (true, false) => (0..rank).collect(),
        _ => cx.axes(rank, &axes)?,
    };
    let result = f(cx, x, &axes)?;
    if keep { Ok(result) } else { cx.squeeze(result, &axes) }
}

/// Integers by way of doubles.
fn in_floats(
    cx: &mut Context,
    x: Value,
    axes: &[usize],
    f: fn(&mut Context, Value, &[usize]) -> Built,
) -> Built {
    let dtype = cx.dtype(x);
    if dtype.is_float() {
        return f(cx, x, axes);
    }
    let wide = cx.cast(x, DType::F64)?;
    let result = f(cx, wide, axes)?;
    cx.cast(result, dtype)
}

fn log_sum(cx: &mut Context, x: Value, axes: &[usize]) -> Built {
    let sum = cx.reduce_sum(x, axes)?;
    cx.log(sum)
}

fn sum_square(cx: &mut Context, x: Value, axes: &[usize]) -> Built {
    let square = cx.times(x, x)?;
    cx.reduce_sum(square, axes)
}

/// A square root that integers have too.
fn root(cx: &mut Context, x: Value) -> Built {
    let dtype = cx.dtype(x);
    if dtype.is_float() {
        return cx.sqrt(x);
    }
    let wide = cx.cast(x, DType::F64)?;
    let root = cx.sqrt(wide)?;
    cx.cast(root, dtype)
}

/// Shifted by the maximum, so that nothing overflows.
pub(super) fn log_sum_exp(cx: &mut Context, x: Value, axes: &[usize]) -> Built {
    let max = cx.reduce_max(x, axes)?;
    let (low, high) = finite(cx.dtype(x));
    let max = cx.add(Op::Clip { min: low, max: high }, &[max])?;
    let shifted = cx.minus(x, max)?;
    let exp = cx.exp(shifted)?;
    let sum = cx.reduce_sum(exp, axes)?;
    let log = cx.log(sum)?;
    cx.plus(log, max)
}

/// The least and greatest finite numbers that all floating-point types here hold or saturate to.
fn finite(dtype: DType) -> (f64, f64) {
    let max = match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        _ => f64::from(f32::MAX) * 0.99,
    };
    (-max, max)
}

/// The maximum or minimum; of bools, whether any or all are true.
fn extremum(cx: &mut Context, x: Value, axes: &[usize], max: bool) -> Built {
    let dtype = cx.dtype(x);
    let wide = if dtype == DType::Bool { cx.cast(x, DType::U8)? } else { x };
    let axes = signed(axes);
    let result = cx.add(if max { Op::ReduceMax { axes } } else { Op::ReduceMin { axes } }, &[wide])?;
    cx.cast(result, dtype)
}
