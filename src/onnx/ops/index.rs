//! Operators that choose elements by index, and those that find indices.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("ArgMax", 1, |cx| search(cx, |axis, last| Op::ArgMax { axis, last })),
    one("ArgMin", 1, |cx| search(cx, |axis, last| Op::ArgMin { axis, last })),
    one("Compress", 9, compress),
    one("CumProd", 26, |cx| {
        accumulate(cx, |axis, exclusive, reverse| Op::CumProd { axis, exclusive, reverse })
    }),
    one("CumSum", 11, |cx| {
        accumulate(cx, |axis, exclusive, reverse| Op::CumSum { axis, exclusive, reverse })
    }),
    one("Gather", 1, gather),
    one("GatherElements", 11, |cx| {
        let axis = cx.int("axis", 0)?;
        let (x, indices) = (cx.operand(0)?, cx.operand(1)?);
        let axis = cx.axis(x, axis)? as i64;
        cx.add(Op::GatherElements { axis }, &[x, indices])
    }),
    one("GatherND", 11, |cx| {
        let batch_dims = cx.int("batch_dims", 0)?;
        cx.on_all(Op::GatherNd { batch_dims })
    }),
    one("NonZero", 9, |cx| {
        let x = cx.operand(0)?;
        non_zero(cx, x)
    }),
    one("OneHot", 9, one_hot),
    one("ReverseSequence", 10, reverse_sequence),
    one("Scatter", 9, scatter_elements),
    one("ScatterElements", 11, scatter_elements),
    one("ScatterND", 11, scatter_nd),
    one("TensorScatter", 24, tensor_scatter),
    many("TopK", 1, top_k),
    many("Unique", 11, unique),
];

fn gather(cx: &mut Context) -> Built {
    let (x, indices) = (cx.operand(0)?, cx.operand(1)?);
    let axis = cx.axis(x, cx.int("axis", 0)?)?;
    let n = cx.shape(x)[axis].clone();
    // One known index is a slice, which moves nothing.
    if cx.ty(indices).elements() == 1
        && let Some([at]) = cx.ints_of(indices).as_deref()
    {
        let start = if *at < 0 { &n + *at } else { Dim::from(*at) };
        if start.provably_le(-1) || (&start - &n).provably_ge(0) {
            return invalid(format!("index {at} is outside of axis {axis} of {}", cx.ty(x)));
        }
        let mut shape = cx.shape(x);
        shape.splice(axis..=axis, cx.shape(indices));
        let part = cx.slice_axis(x, axis, start, Dim::ONE, 1)?;
        return cx.reshape(part, shape);
    }
    cx.add(Op::Gather { axis: axis as i64 }, &[x, indices])
}

fn search(cx: &mut Context, op: fn(i64, bool) -> Op) -> Built {
    let x = cx.operand(0)?;
    let axis = cx.axis(x, cx.int("axis", 0)?)?;
    let place = cx.add(op(axis as i64, cx.flag("select_last_index", false)?), &[x])?;
    if cx.flag("keepdims", true)? { Ok(place) } else { cx.squeeze(place, &[axis]) }
}

fn accumulate(cx: &mut Context, op: fn(i64, bool, bool) -> Op) -> Built {
    let (x, list) = (cx.operand(0)?, cx.operand(1)?);
    let (exclusive, reverse) = (cx.flag("exclusive", false)?, cx.flag("reverse", false)?);
    match cx.ints_of(list).as_deref() {
        Some([axis]) => {
            let axis = cx.axis(x, *axis)?;
            cx.add(op(axis as i64, exclusive, reverse), &[x])
        }
        Some(_) => invalid("one axis is needed"),
        None => {
            let rows = super::late::rows(cx, x, list)?;
            let sums = cx.add(op(1, exclusive, reverse), &[rows.value])?;
            let shape = cx.shape(x);
            rows.restored(cx, sums, shape)
        }
    }
}

/// The coordinates of what is not zero, `[rank, count]`.
fn non_zero(cx: &mut Context, x: Value) -> Built {
    let count = cx.importer.symbol();
    cx.add(Op::NonZero { count }, &[x])
}

fn compress(cx: &mut Context) -> Built {
    let (x, condition) = (cx.operand(0)?, cx.operand(1)?);
    let (x, axis) = match cx.int_if("axis")? {
        Some(axis) => (x, cx.axis(x, axis)?),
        None => {
            let elements = cx.ty(x).elements();
            (cx.reshape(x, vec![elements])?, 0)
        }
    };
    let found = non_zero(cx, condition)?;
    let indices = cx.pick(found, 0, 0)?;
    cx.add(Op::Gather { axis: axis as i64 }, &[x, indices])
}

fn one_hot(cx: &mut Context) -> Built {
    let (indices, depth, values) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let rank = cx.rank(indices) + 1;
    let axis = cx.axes(rank, &[cx.int("axis", -1)?])?[0];
    let depth = match cx.constant_of(depth) {
        Some(t) if t.len() == 1 => Dim::from(t.get_i64(0)),
        _ => {
            let list = cx.cast(depth, DType::I64)?;
            let list = cx.reshape(list, vec![Dim::ONE])?;
            cx.shape_from(list)?.remove(0)
        }
    };
    if depth.provably_le(-1) || depth.provably_ge(1 << 40) {
        return invalid(format!("a depth of {depth}"));
    }
    let indices = cx.cast(indices, DType::I64)?;
    let indices = cx.unsqueeze(indices, &[axis])?;
    let zero = cx.like(indices, 0.0);
    let size = cx.dim(depth.clone(), DType::I64)?;
    let (negative, moved) = (cx.lt(indices, zero)?, cx.plus(indices, size)?);
    let indices = cx.select(negative, moved, indices)?;
    let places = cx.iota(depth, DType::I64, axis, rank)?;
    let hit = cx.eq(indices, places)?;
    let (off, on) = (cx.pick(values, 0, 0)?, cx.pick(values, 0, 1)?);
    cx.select(hit, on, off)
}

fn top_k(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let axis = cx.axis(x, cx.int("axis", -1)?)? as i64;
    let k = match cx.int_if("k")? {
        Some(k) => Dim::from(k),
        None => {
            let k = cx.operand(1)?;
            match cx.shape_from(k)?.as_slice() {
                [k] => k.clone(),
                _ => return invalid("one k is needed"),
            }
        }
    };
    let (largest, sorted) = (cx.flag("largest", true)?, cx.flag("sorted", true)?);
    let v = cx.add(Op::TopK { axis, k, largest, sorted }, &[x])?;
    Ok(vec![v, v.port(1)])
}

fn scatter_elements(cx: &mut Context) -> Built {
    let (x, indices, updates) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let axis = cx.axis(x, cx.int("axis", 0)?)? as i64;
    let reduction = cx.reduction(&cx.string("reduction", "none")?)?;
    cx.add(Op::ScatterElements { axis, reduction }, &[x, indices, updates])
}

fn scatter_nd(cx: &mut Context) -> Built {
    let reduction = cx.reduction(&cx.string("reduction", "none")?)?;
    cx.on_all(Op::ScatterNd { reduction })
}

/// The first `lens[b]` elements of the time axis backwards, the rest as they are.
fn reverse_sequence(cx: &mut Context) -> Built {
    let (x, lens) = (cx.operand(0)?, cx.operand(1)?);
    let (time, batch) = (cx.axis(x, cx.int("time_axis", 0)?)?, cx.axis(x, cx.int("batch_axis", 1)?)?);
    if time == batch {
        return invalid("time and batch are one axis");
    }
    let shape = cx.shape(x);
    let mut column = vec![Dim::ONE; shape.len()];
    column[batch] = shape[batch].clone();
    let lens = cx.cast(lens, DType::I64)?;
    let lens = cx.reshape(lens, column)?;
    let at = cx.iota(shape[time].clone(), DType::I64, time, shape.len())?;
    let inside = cx.lt(at, lens)?;
    let back = cx.minus(lens, at)?;
    let back = cx.plus_number(back, -1.0)?;
    let from = cx.select(inside, back, at)?;
    let from = cx.expand(from, shape)?;
    cx.add(Op::GatherElements { axis: time as i64 }, &[x, from])
}

/// Writes rows into a cache, from a place of its own for each batch element.
fn tensor_scatter(cx: &mut Context) -> Built {
    let (cache, update, places) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let axis = cx.axis(cache, cx.int("axis", -2)?)?;
    let circular = match cx.string("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return invalid(format!("unknown mode `{other}`")),
    };
    if axis == 0 {
        return invalid("the batch axis cannot be the one that is written");
    }
    cx.ranked(update, cx.rank(cache))?;
    let shape = cx.shape(update);
    let mut at = cx.iota(shape[axis].clone(), DType::I64, axis, shape.len())?;
    if let Some(places) = places {
        let mut column = vec![Dim::ONE; shape.len()];
        column[0] = shape[0].clone();
        let places = cx.reshape(places, column)?;
        at = cx.plus(at, places)?;
    }
    if circular {
        let size = cx.dim(cx.shape(cache)[axis].clone(), DType::I64)?;
        at = cx.modulo(at, size)?;
    }
    let at = cx.expand(at, shape)?;
    let op = Op::ScatterElements { axis: axis as i64, reduction: cx.reduction("none")? };
    if cx.dtype(cache) != cx.dtype(update) {
        return unsupported("a cache of another type");
    }
    cx.add(op, &[cache, at, update])
}

/// Values, first places, for each element its value's place, and counts.
fn unique(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let sorted = cx.flag("sorted", true)?;
    let (x, axis) = match cx.int_if("axis")? {
        Some(axis) => (x, cx.axis(x, axis)? as i64),
        None => {
            let elements = cx.ty(x).elements();
            (cx.reshape(x, vec![elements])?, 0)
        }
    };
    let count = cx.importer.symbol();
    let v = cx.add(Op::Unique { axis, sorted, count }, &[x])?;
    Ok((0..4).map(|port| v.port(port)).collect())
}
