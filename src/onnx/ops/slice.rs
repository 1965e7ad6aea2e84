//! Slice and Split: parts of axes, also where only the run knows which.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

/// Starts and ends as attributes (before opset 10).
pub(super) fn slice_attributes(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let list = |name| -> Built<Vec<Dim>> {
        let ints = cx.ints(name)?.ok_or_else(|| format!("the attribute `{name}` is missing"))?;
        Ok(ints.into_iter().map(Dim::from).collect())
    };
    let (starts, ends) = (list("starts")?, list("ends")?);
    let axes = cx.ints("axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let axes = cx.axes(cx.rank(x), &axes)?;
    let steps = vec![1; starts.len()];
    known(cx, x, &starts, &ends, &axes, &steps)
}

/// Starts, ends, axes and steps as operands.
pub(super) fn slice(cx: &mut Context) -> Built {
    let (x, starts, ends) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let Some(count) = cx.ty(starts).elements().known().filter(|&n| n <= 64) else {
        return unsupported("a slice of unknown axes");
    };
    let unknown = |v: Option<Value>| v.is_some_and(|v| cx.ints_of(v).is_none());
    let (axes, steps) = (cx.operand_if(3)?, cx.operand_if(4)?);
    if unknown(axes) || unknown(steps) {
        return super::late::slice(cx, x, [starts, ends], axes, steps);
    }
    let axes = cx.known_ints(3, "axes of a slice")?.unwrap_or_else(|| (0..count).collect());
    let axes = cx.axes(cx.rank(x), &axes)?;
    let steps = cx.known_ints(4, "steps of a slice")?.unwrap_or_else(|| vec![1; count as usize]);
    match (cx.dims_of(starts), cx.dims_of(ends)) {
        (Some(starts), Some(ends)) => known(cx, x, &starts, &ends, &axes, &steps),
        _ => at_run(cx, x, starts, ends, &axes, &steps),
    }
}

fn check(lists: [usize; 4]) -> Built<()> {
    if lists.iter().any(|&n| n != lists[0]) {
        return invalid(format!("lists of different lengths: {lists:?}"));
    }
    Ok(())
}

fn known(cx: &mut Context, x: Value, from: &[Dim], to: &[Dim], axes: &[usize], by: &[i64]) -> Built {
    check([from.len(), to.len(), axes.len(), by.len()])?;
    let mut sizes = cx.shape(x);
    let mut starts = vec![Dim::ZERO; sizes.len()];
    let mut steps = vec![1; sizes.len()];
    for (i, &axis) in axes.iter().enumerate() {
        let (start, size) = part(&from[i], &to[i], &sizes[axis], by[i])?;
        (starts[axis], sizes[axis], steps[axis]) = (start, size, by[i]);
    }
    if starts.iter().all(|s| *s == 0) && steps.iter().all(|&s| s == 1) && sizes == cx.shape(x) {
        return Ok(x);
    }
    cx.add(Op::Slice { starts, sizes, steps }, &[x])
}

/// The first element and the number of elements of a slice of an axis of size `n`.
fn part(from: &Dim, to: &Dim, n: &Dim, step: i64) -> Built<(Dim, Dim)> {
    let none = Dim::ZERO;
    match step {
        0 => invalid("a step of 0"),
        i64::MIN..=-1 => {
            let last = n - 1;
            let minus_one = Dim::from(-1);
            let start = wrapped(from, n).max(&minus_one).min(&last);
            let end = wrapped_end(to, n).max(&minus_one).min(&last);
            let size = (&start - end).ceil_div(step.saturating_neg()).max(&none);
            let start = if size == 0 { none } else { start };
            Ok((start, size))
        }
        _ => {
            let start = clamped(&wrapped(from, n), n);
            let end = clamped(&wrapped(to, n), n);
            let size = (end - &start).ceil_div(step).max(&none);
            let start = if size == 0 { none } else { start };
            Ok((start, size))
        }
    }
}

/// An index counted from the front.
fn wrapped(at: &Dim, n: &Dim) -> Dim {
    if at.provably_le(-1) && *at != i64::MIN { at + n } else { at.clone() }
}

/// As [`wrapped`], where a very negative end means "before the first".
fn wrapped_end(at: &Dim, n: &Dim) -> Dim {
    match at.known() {
        Some(k) if k <= i64::from(i32::MIN) => Dim::from(-1),
        _ => wrapped(at, n),
    }
}

fn clamped(at: &Dim, n: &Dim) -> Dim {
    if at.known().is_some_and(|k| k >= i64::from(i32::MAX)) {
        return n.clone();
    }
    at.max(&Dim::ZERO).min(n)
}

/// Starts and ends that only the run knows: clamped there, then they get names.
fn at_run(cx: &mut Context, x: Value, starts: Value, ends: Value, axes: &[usize], by: &[i64]) -> Built {
    check([axes.len(), by.len(), axes.len(), by.len()])?;
    let shape = cx.shape(x);
    if by.contains(&0) {
        return invalid("a step of 0");
    }
    let sizes: Vec<Dim> = axes.iter().map(|&a| shape[a].clone()).collect();
    let (n, steps) = (cx.dims(sizes)?, cx.int_list(by));
    let (first, count) = run_bounds(cx, [starts, ends], n, steps)?;
    let (firsts, counts) = (cx.bound(first, axes.len())?, cx.bound(count, axes.len())?);
    let mut starts = vec![Dim::ZERO; shape.len()];
    let (mut sizes, mut steps) = (shape, vec![1; starts.len()]);
    for (i, &axis) in axes.iter().enumerate() {
        (starts[axis], sizes[axis], steps[axis]) = (firsts[i].clone(), counts[i].clone(), by[i]);
    }
    cx.add(Op::Slice { starts, sizes, steps }, &[x])
}

/// The first elements and the numbers of elements of slices `[start, end]` of axes of sizes `n`, all i64
/// lists of one length.
pub(super) fn run_bounds(
    cx: &mut Context,
    lists: [Value; 2],
    n: Value,
    steps: Value,
) -> Built<(Value, Value)> {
    let (zero, one) = (cx.int_scalar(0), cx.int_scalar(1));
    // Backwards, indices may go from `n - 1` down to -1; forwards, from 0 up to `n`.
    let back = cx.lt(steps, zero)?;
    let back = cx.cast(back, DType::I64)?;
    let (low, high) = (cx.minus(zero, back)?, cx.minus(n, back)?);
    let mut clamped = Vec::new();
    for at in lists {
        let at = cx.cast(at, DType::I64)?;
        let (negative, moved) = (cx.lt(at, zero)?, cx.plus(at, n)?);
        let at = cx.select(negative, moved, at)?;
        let at = cx.max(at, low)?;
        clamped.push(cx.min(at, high)?);
    }
    // ceil((end - start) / step) for either sign of the step.
    let span = cx.minus(clamped[1], clamped[0])?;
    let sign = cx.add(Op::Sign {}, &[steps])?;
    let (span, stride) = (cx.times(span, sign)?, cx.abs(steps)?);
    let span = cx.plus(span, stride)?;
    let span = cx.minus(span, one)?;
    let count = cx.over(span, stride)?;
    let count = cx.max(count, zero)?;
    let empty = cx.eq(count, zero)?;
    Ok((cx.select(empty, zero, clamped[0])?, count))
}

pub(super) fn split(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let axis = cx.axis(x, cx.int("axis", 0)?)?;
    let n = cx.shape(x)[axis].clone();
    let sizes = match (cx.ints("split")?, cx.operand_if(1)?) {
        (Some(sizes), _) => sizes.into_iter().map(Dim::from).collect(),
        (None, Some(list)) => cx.shape_from(list)?,
        (None, None) => {
            let parts = match cx.int_if("num_outputs")? {
                Some(parts) => parts,
                None => cx.node.output.len() as i64,
            };
            equal_parts(&n, parts)?
        }
    };
    parts(cx, x, axis, &sizes)
}

/// `count` sizes that sum to `n`, the last one smaller if it must be.
pub(super) fn equal_parts(n: &Dim, count: i64) -> Built<Vec<Dim>> {
    if !(1..=1 << 16).contains(&count) {
        return invalid(format!("{count} parts"));
    }
    let part = n.ceil_div(count);
    let mut sizes = vec![part.clone(); count as usize - 1];
    sizes.push(n - part * (count - 1));
    match sizes.iter().find(|d| d.provably_le(-1)) {
        Some(_) => invalid(format!("{n} in {count} parts")),
        None => Ok(sizes),
    }
}

/// Consecutive parts of an axis.
pub(super) fn parts(cx: &mut Context, x: Value, axis: usize, sizes: &[Dim]) -> Built<Vec<Value>> {
    let whole = cx.shape(x)[axis].clone();
    let sum: Dim = sizes.iter().cloned().sum();
    if let (Some(a), Some(b)) = (sum.known(), whole.known())
        && a != b
    {
        return invalid(format!("parts of {a} in all for an axis of {b}"));
    }
    let mut start = Dim::ZERO;
    let mut results = Vec::with_capacity(sizes.len());
    for size in sizes {
        results.push(cx.slice_axis(x, axis, start.clone(), size.clone(), 1)?);
        start += size;
    }
    Ok(results)
}
