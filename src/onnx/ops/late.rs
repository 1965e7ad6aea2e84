//! Axes that only the run knows.
//!
//! The number of axes is known, which ones they are is not. Elements are brought into rows whose places are
//! computed in the graph, so that what works on the last axis works on any.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

/// One i64 flag for each of `rank` axes: 1 for those in the list.
fn flags(cx: &mut Context, axes: Value, rank: usize) -> Built {
    let Some(count) = cx.ty(axes).elements().known().filter(|&n| (1..=64).contains(&n)) else {
        return unsupported("axes of unknown number");
    };
    let axes = cx.cast(axes, DType::I64)?;
    let axes = cx.reshape(axes, vec![Dim::from(count), Dim::ONE])?;
    let axes = wrapped(cx, axes, rank)?;
    let places = cx.iota(Dim::from(rank), DType::I64, 1, 2)?;
    let hit = cx.eq(axes, places)?;
    let hit = cx.cast(hit, DType::I64)?;
    let any = cx.reduce_max(hit, &[0])?;
    cx.reshape(any, vec![Dim::from(rank)])
}

/// Axes counted from the front.
pub(super) fn wrapped(cx: &mut Context, axes: Value, rank: usize) -> Built {
    let zero = cx.like(axes, 0.0);
    let (negative, moved) = (cx.lt(axes, zero)?, cx.plus_number(axes, rank as f64)?);
    cx.select(negative, moved, axes)
}

/// `a` where the flag is set, else `b`.
fn choose(cx: &mut Context, flags: Value, a: Value, b: Value) -> Built {
    let zero = cx.like(flags, 0.0);
    let set = cx.gt(flags, zero)?;
    cx.select(set, a, b)
}

/// The product of all later elements, for each element of a list.
fn strides(cx: &mut Context, sizes: Value, rank: usize) -> Built {
    let mut parts = vec![cx.int_list(&[1])];
    for i in (1..rank).rev() {
        let size = cx.slice_axis(sizes, 0, Dim::from(i), Dim::ONE, 1)?;
        let next = cx.times(parts[parts.len() - 1], size)?;
        parts.push(next);
    }
    parts.reverse();
    cx.concat(&parts, 0)
}

/// A tensor as rows `[kept, chosen]`, and how to undo it.
pub(super) struct Rows {
    /// The rows.
    pub value: Value,
    /// The axes of the tensor.
    shape: Vec<Dim>,
    /// For every element of the tensor, its place in the flat rows.
    places: Value,
    /// The sizes that stay, with 1 for the chosen axes; i64, one an axis.
    kept: Value,
    flags: Value,
}

/// For every element of a tensor of this shape, flat, its place in flat rows `[kept, chosen]`; and the sizes
/// of the axes that stay, those that are chosen, and the two products.
fn row_places(cx: &mut Context, shape: &[Dim], flags: Value) -> Built<(Value, Value, [Value; 2])> {
    let rank = shape.len();
    let (sizes, ones) = (cx.dims(shape.to_vec())?, cx.int_list(&vec![1; rank]));
    let (kept, chosen) = (choose(cx, flags, ones, sizes)?, choose(cx, flags, sizes, ones)?);
    let mut counts = Vec::new();
    for list in [kept, chosen] {
        counts.push(cx.add(Op::ReduceProd { axes: vec![0] }, &[list])?);
    }
    let (outer, inner) = (strides(cx, kept, rank)?, strides(cx, chosen, rank)?);
    let outer = cx.times(outer, counts[1])?;
    let step = choose(cx, flags, inner, outer)?;
    let mut places = cx.int_scalar(0);
    for (axis, size) in shape.iter().enumerate() {
        let at = cx.iota(size.clone(), DType::I64, axis, rank)?;
        let step = cx.pick(step, 0, axis as i64)?;
        let moved = cx.times(at, step)?;
        places = cx.plus(places, moved)?;
    }
    let places = cx.expand(places, shape.to_vec())?;
    let places = cx.reshape(places, vec![Dim::product(shape)])?;
    Ok((places, kept, [counts[0], counts[1]]))
}

/// The elements of a tensor at their places in rows of this shape.
fn turned(cx: &mut Context, x: Value, places: Value, rows: Vec<Dim>) -> Built {
    let elements = cx.ty(x).elements();
    let flat = cx.reshape(x, vec![elements])?;
    let op = Op::ScatterElements { axis: 0, reduction: cx.reduction("none")? };
    let turned = cx.add(op, &[flat, places, flat])?;
    cx.reshape(turned, rows)
}

/// The elements of `x` with the chosen axes as the second of two.
pub(super) fn rows(cx: &mut Context, x: Value, axes: Value) -> Built<Rows> {
    let shape = cx.shape(x);
    if shape.is_empty() {
        return invalid("axes of a scalar");
    }
    let flags = flags(cx, axes, shape.len())?;
    let (places, kept, counts) = row_places(cx, &shape, flags)?;
    let counts = cx.concat(&counts, 0)?;
    let counts = cx.bound(counts, 2)?;
    let value = turned(cx, x, places, counts)?;
    Ok(Rows { value, shape, places, kept, flags })
}

impl Rows {
    /// Another tensor of the same shape as rows.
    pub fn of(&self, cx: &mut Context, x: Value) -> Built {
        let rows = cx.shape(self.value);
        turned(cx, x, self.places, rows)
    }

    /// A tensor in the place of the rows as the tensor they came from.
    pub fn restored(&self, cx: &mut Context, rows: Value, shape: Vec<Dim>) -> Built {
        let elements = Dim::product(&shape);
        let flat = cx.reshape(rows, vec![elements])?;
        let back = cx.add(Op::Gather { axis: 0 }, &[flat, self.places])?;
        cx.reshape(back, shape)
    }

    /// Tensors like the rows as the tensors they came from, where one axis is chosen, whose size may have
    /// changed.
    pub fn resized(&self, cx: &mut Context, rows: &[Value]) -> Built<Vec<Value>> {
        let size = cx.shape(rows[0])[1].clone();
        let (sizes, size) = (cx.dims(self.shape.clone())?, cx.dims(vec![size])?);
        let sizes = choose(cx, self.flags, size, sizes)?;
        let shape = cx.bound(sizes, self.shape.len())?;
        let (places, ..) = row_places(cx, &shape, self.flags)?;
        let new = Rows { places, shape: shape.clone(), ..*self };
        rows.iter().map(|&r| new.restored(cx, r, shape.clone())).collect()
    }

    /// One value a row as a tensor of the axes that stay; `count` axes were chosen, which go away or are 1.
    pub fn reduced(&self, cx: &mut Context, values: Value, count: usize, keep: bool) -> Built {
        let rank = cx.shape(self.kept)[0].known().unwrap_or(0) as usize;
        let sizes = if keep { self.kept } else { remaining(cx, self.kept, self.flags, rank, count)? };
        let shape = cx.bound(sizes, if keep { rank } else { rank.saturating_sub(count) })?;
        cx.reshape(values, shape)
    }
}

/// The elements of a list whose flags are not set, in order; `count` flags are set.
fn remaining(cx: &mut Context, list: Value, flags: Value, rank: usize, count: usize) -> Built {
    let Some(left) = rank.checked_sub(count) else { return invalid(format!("{count} axes of {rank}")) };
    if left == 0 {
        return Ok(cx.int_list(&[]));
    }
    // The set ones sort behind all others.
    let places = cx.iota(Dim::from(rank), DType::I64, 0, 1)?;
    let behind = cx.times_number(flags, rank as f64)?;
    let keys = cx.plus(places, behind)?;
    let op = Op::TopK { axis: 0, k: Dim::from(left), largest: false, sorted: true };
    let order = cx.add(op, &[keys])?.port(1);
    cx.add(Op::Gather { axis: 0 }, &[list, order])
}

/// A reduction over the axes.
pub(super) fn reduce(
    cx: &mut Context,
    x: Value,
    axes: Value,
    keep: bool,
    f: fn(&mut Context, Value, &[usize]) -> Built,
) -> Built {
    let count = cx.ty(axes).elements().known().unwrap_or(0) as usize;
    let rows = rows(cx, x, axes)?;
    let values = f(cx, rows.value, &[1])?;
    rows.reduced(cx, values, count, keep)
}

/// The shape without the axes.
pub(super) fn squeeze(cx: &mut Context, x: Value, axes: Value) -> Built {
    let (shape, count) = (cx.shape(x), cx.ty(axes).elements().known().unwrap_or(0) as usize);
    let flags = flags(cx, axes, shape.len())?;
    let sizes = cx.dims(shape.clone())?;
    let left = remaining(cx, sizes, flags, shape.len(), count)?;
    let shape = cx.bound(left, shape.len().saturating_sub(count))?;
    cx.reshape(x, shape)
}

/// The shape with new axes of size 1.
pub(super) fn unsqueeze(cx: &mut Context, x: Value, axes: Value) -> Built {
    let (shape, count) = (cx.shape(x), cx.ty(axes).elements().known().unwrap_or(0) as usize);
    let rank = shape.len() + count;
    let flags = flags(cx, axes, rank)?;
    let sizes = cx.dims([vec![Dim::ONE], shape].concat())?;
    // How many of the old axes come up to each place; 0 stands for none, and the list begins with a 1.
    let one = cx.like(flags, 1.0);
    let old = cx.minus(one, flags)?;
    let rank_axis = cx.iota(Dim::from(rank), DType::I64, 0, 2)?;
    let other = cx.iota(Dim::from(rank), DType::I64, 1, 2)?;
    let before = cx.le(other, rank_axis)?;
    let before = cx.cast(before, DType::I64)?;
    let counted = cx.times(before, old)?;
    let seen = cx.reduce_sum(counted, &[1])?;
    let seen = cx.reshape(seen, vec![Dim::from(rank)])?;
    let place = cx.times(seen, old)?;
    let sizes = cx.add(Op::Gather { axis: 0 }, &[sizes, place])?;
    let shape = cx.bound(sizes, rank)?;
    cx.reshape(x, shape)
}

/// A list with an element for each of some axes, as one with an element for every axis.
pub(super) fn spread(cx: &mut Context, list: Value, axes: Value, rank: usize, default: Value) -> Built {
    let Some(count) = cx.ty(list).elements().known() else { return unsupported("axes of unknown number") };
    let list = cx.cast(list, DType::I64)?;
    let list = cx.reshape(list, vec![Dim::from(count)])?;
    let axes = cx.cast(axes, DType::I64)?;
    let axes = cx.reshape(axes, vec![Dim::from(count)])?;
    let axes = wrapped(cx, axes, rank)?;
    let op = Op::ScatterElements { axis: 0, reduction: cx.reduction("none")? };
    cx.add(op, &[default, axes, list])
}

/// A slice whose axes or steps only the run knows: elements are gathered along every axis.
pub(super) fn slice(
    cx: &mut Context,
    x: Value,
    lists: [Value; 2],
    axes: Option<Value>,
    steps: Option<Value>,
) -> Built {
    let shape = cx.shape(x);
    let rank = shape.len();
    let Some(count) = cx.ty(lists[0]).elements().known() else {
        return unsupported("axes of unknown number");
    };
    let axes = axes.unwrap_or_else(|| cx.int_list(&(0..count).collect::<Vec<i64>>()));
    let steps = steps.unwrap_or_else(|| cx.int_list(&vec![1; count as usize]));
    let (zeros, ones) = (cx.int_list(&vec![0; rank]), cx.int_list(&vec![1; rank]));
    let sizes = cx.dims(shape)?;
    let (start, end) = (spread(cx, lists[0], axes, rank, zeros)?, spread(cx, lists[1], axes, rank, sizes)?);
    let step = spread(cx, steps, axes, rank, ones)?;
    let (first, counts) = super::slice::run_bounds(cx, [start, end], sizes, step)?;
    let counts = cx.bound(counts, rank)?;
    let mut y = x;
    for (axis, count) in counts.iter().enumerate() {
        let at = cx.iota(count.clone(), DType::I64, 0, 1)?;
        let (from, by) = (cx.pick(first, 0, axis as i64)?, cx.pick(step, 0, axis as i64)?);
        let moved = cx.times(at, by)?;
        let places = cx.plus(moved, from)?;
        y = cx.add(Op::Gather { axis: axis as i64 }, &[y, places])?;
    }
    Ok(y)
}
