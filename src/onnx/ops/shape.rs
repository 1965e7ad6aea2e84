//! Operators about shapes and the movement of elements.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::late;
use super::slice::{slice, slice_attributes, split};
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    one("Concat", 4, concat),
    one("Constant", 1, constant),
    one("ConstantOfShape", 9, constant_of_shape),
    one("DepthToSpace", 1, depth_to_space),
    one("Expand", 8, expand),
    one("EyeLike", 9, eye_like),
    one("Flatten", 1, flatten),
    one("Range", 11, range),
    one("Reshape", 5, reshape),
    one("Shape", 1, shape),
    one("Size", 1, size),
    one("Slice", 1, slice_attributes),
    one("Slice", 10, slice),
    one("SpaceToDepth", 1, space_to_depth),
    many("Split", 2, split),
    one("Squeeze", 1, squeeze),
    one("Tile", 6, tile),
    one("Transpose", 1, transpose),
    one("Trilu", 14, trilu),
    one("Unsqueeze", 1, unsqueeze),
];

fn constant(cx: &mut Context) -> Built {
    if let Some(t) = cx.tensor("value")? {
        return Ok(cx.constant(t));
    }
    if let Some(t) = cx.sparse("sparse_value")? {
        return Ok(cx.constant(t));
    }
    let t = if let Some(x) = cx.float_if("value_float")? {
        Tensor::from_f64s(DType::F32, [], [x])
    } else if let Some(all) = cx.floats("value_floats")? {
        Tensor::from_f64s(DType::F32, [all.len()], all)
    } else if let Some(n) = cx.int_if("value_int")? {
        Tensor::scalar(n)
    } else if let Some(all) = cx.ints("value_ints")? {
        Tensor::from_slice([all.len()], &all)
    } else if let Some(text) = cx.string_if("value_string")? {
        Tensor::from_texts([], &[text])
    } else if let Some(all) = cx.strings("value_strings")? {
        Tensor::from_texts([all.len()], &all)
    } else {
        return invalid("a constant without a value");
    };
    Ok(cx.constant(t))
}

fn constant_of_shape(cx: &mut Context) -> Built {
    let value = match cx.tensor("value")? {
        Some(t) if t.len() == 1 => t.reshaped([]),
        Some(t) => return invalid(format!("a value of shape {:?}", t.shape())),
        None => Tensor::scalar(0f32),
    };
    let shape = cx.operand(0)?;
    let shape = cx.shape_from(shape)?;
    let value = cx.constant(value);
    cx.expand(value, shape)
}

impl Context<'_> {
    /// The sizes in an integer list: known symbolically, or new symbols for what only the run knows.
    pub fn shape_from(&mut self, list: Value) -> Built<Vec<Dim>> {
        let dims = match (self.dims_of(list), self.ty(list).elements().known()) {
            (Some(dims), _) => dims,
            (None, Some(n)) if n <= 64 => self.bound(list, n as usize)?,
            _ => return unsupported("a shape of unknown rank"),
        };
        match dims.iter().find(|d| d.provably_le(-1)) {
            Some(d) => invalid(format!("a size of {d}")),
            None => Ok(dims),
        }
    }
}

fn shape(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let shape = cx.shape(x);
    let rank = shape.len() as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(cx.int("start", 0)?), clamp(cx.int("end", rank)?));
    cx.dims(shape.get(start..end).unwrap_or_default().to_vec())
}

fn size(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let elements = cx.ty(x).elements();
    cx.dim(elements, DType::I64)
}

fn reshape(cx: &mut Context) -> Built {
    let (x, list) = (cx.operand(0)?, cx.operand(1)?);
    let keep_zero = cx.flag("allowzero", false)?;
    reshaped(cx, x, list, keep_zero)
}

/// The tensor in the shape that a list gives: -1 is what remains, 0 (unless kept) the size that is there.
pub(super) fn reshaped(cx: &mut Context, x: Value, list: Value, keep_zero: bool) -> Built {
    let ty = cx.ty(x);
    let Some(wanted) = cx.dims_of(list) else { return reshape_at_run(cx, x, list, keep_zero) };
    let mut shape = Vec::with_capacity(wanted.len());
    for (i, d) in wanted.iter().enumerate() {
        shape.push(match d.known() {
            Some(0) if !keep_zero => {
                ty.shape.get(i).cloned().ok_or_else(|| format!("size 0 at {i}, where {ty} has no axis"))?
            }
            Some(n) if n < -1 => return invalid(format!("a size of {n}")),
            _ => d.clone(),
        });
    }
    let open: Vec<usize> = (0..shape.len()).filter(|&i| shape[i] == -1).collect();
    match open[..] {
        [] => {}
        [i] => {
            let others = Dim::product(shape.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, d)| d));
            shape[i] = remaining(&ty.elements(), &others)
                .ok_or_else(|| format!("{ty} does not divide by {others}"))?;
        }
        _ => return invalid("more than one size of -1"),
    }
    cx.reshape(x, shape)
}

/// The size that `-1` stands for.
fn remaining(elements: &Dim, others: &Dim) -> Option<Dim> {
    match (elements.known(), others.known()) {
        (Some(0), Some(0)) => Some(Dim::ZERO),
        (_, Some(0)) => None,
        (Some(n), Some(m)) => (n % m == 0).then(|| Dim::from(n / m)),
        _ => Some(elements.exact_div(others).unwrap_or_else(|| elements.floor_div(others))),
    }
}

/// A shape that only the run knows: its 0 and -1 are resolved there, then it gets names.
fn reshape_at_run(cx: &mut Context, x: Value, list: Value, keep_zero: bool) -> Built {
    let Some(rank) = cx.ty(list).elements().known().filter(|&n| n <= 64) else {
        return unsupported("a shape of unknown rank");
    };
    let ty = cx.ty(x);
    let mut sizes = cx.cast(list, DType::I64)?;
    if !keep_zero {
        let mut own: Vec<Dim> = ty.shape.iter().take(rank as usize).cloned().collect();
        own.resize(rank as usize, Dim::ONE);
        let (own, zero) = (cx.dims(own)?, cx.like(sizes, 0.0));
        let copied = cx.eq(sizes, zero)?;
        sizes = cx.select(copied, own, sizes)?;
    }
    let (open, one) = (cx.like(sizes, -1.0), cx.like(sizes, 1.0));
    let open = cx.eq(sizes, open)?;
    let others = cx.select(open, one, sizes)?;
    let others = cx.add(Op::ReduceProd { axes: vec![0] }, &[others])?;
    let elements = cx.dims(vec![ty.elements()])?;
    let rest = cx.over(elements, others)?;
    let sizes = cx.select(open, rest, sizes)?;
    let shape = cx.bound(sizes, rank as usize)?;
    cx.reshape(x, shape)
}

fn flatten(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (shape, axis) = (cx.shape(x), cx.int("axis", 1)?);
    let rank = shape.len() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    if !(0..=rank).contains(&axis) {
        return invalid(format!("axis {axis} of a tensor of rank {rank}"));
    }
    let (before, after) = shape.split_at(axis as usize);
    cx.reshape(x, vec![Dim::product(before), Dim::product(after)])
}

fn transpose(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let rank = cx.rank(x);
    match cx.ints("perm")? {
        None => cx.transpose(x, &(0..rank).rev().collect::<Vec<_>>()),
        Some(perm) => {
            let perm = cx.axes(rank, &perm)?;
            if perm.len() != rank {
                invalid(format!("{perm:?} for a tensor of rank {rank}"))
            } else {
                cx.transpose(x, &perm)
            }
        }
    }
}

/// The axes in operand `i`, if only the run knows them.
pub(super) fn unknown_axes(cx: &Context, i: usize) -> Built<Option<Value>> {
    Ok(cx.operand_if(i)?.filter(|&v| cx.ints_of(v).is_none()))
}

fn squeeze(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    if let Some(axes) = unknown_axes(cx, 1)? {
        return late::squeeze(cx, x, axes);
    }
    let shape = cx.shape(x);
    let axes = match cx.axes_from("axes", 1)? {
        Some(axes) => cx.axes(shape.len(), &axes)?,
        None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&a| shape[a].known().is_some_and(|n| n != 1)) {
        return invalid(format!("axis {axis} of {} is not 1", cx.ty(x)));
    }
    cx.squeeze(x, &axes)
}

fn unsqueeze(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    if let Some(axes) = unknown_axes(cx, 1)? {
        return late::unsqueeze(cx, x, axes);
    }
    let axes = cx.axes_from("axes", 1)?.ok_or("no axes")?;
    let axes = cx.axes(cx.rank(x) + axes.len(), &axes)?;
    cx.unsqueeze(x, &axes)
}

fn concat(cx: &mut Context) -> Built {
    let parts = cx.operands()?;
    let first = *parts.first().ok_or("no operands")?;
    let axis = cx.axis(first, cx.int("axis", 1)?)?;
    cx.concat(&parts, axis)
}

/// Numpy broadcast both ways between the operand and the shape.
fn expand(cx: &mut Context) -> Built {
    let (x, list) = (cx.operand(0)?, cx.operand(1)?);
    let wanted = cx.shape_from(list)?;
    let shape = joined(&cx.shape(x), &wanted);
    cx.expand(x, shape)
}

/// The numpy broadcast of two shapes; two different symbols are one size, and a known one says which.
pub(super) fn joined(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::ONE, |j| s[j].clone());
    let join = |x: Dim, y: Dim| match (x.known(), y.known()) {
        (Some(1), _) => y,
        (_, Some(1)) => x,
        (None, Some(_)) => y,
        _ => x,
    };
    (0..rank).map(|i| join(at(a, i), at(b, i))).collect()
}

fn tile(cx: &mut Context) -> Built {
    let (x, list) = (cx.operand(0)?, cx.operand(1)?);
    let (repeats, shape) = (cx.shape_from(list)?, cx.shape(x));
    if repeats.len() != shape.len() {
        return invalid(format!("{} repeats for {}", repeats.len(), cx.ty(x)));
    }
    tiled(cx, x, &repeats)
}

/// The tensor repeated along every axis.
pub(super) fn tiled(cx: &mut Context, x: Value, repeats: &[Dim]) -> Built {
    let shape = cx.shape(x);
    let (mut single, mut wide, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (d, n) in shape.iter().zip(repeats) {
        if *n != 1 {
            single.push(Dim::ONE);
            wide.push(n.clone());
        }
        single.push(d.clone());
        wide.push(d.clone());
        whole.push(d * n);
    }
    let x = cx.reshape(x, single)?;
    let x = cx.expand(x, wide)?;
    cx.reshape(x, whole)
}

pub(super) fn range(cx: &mut Context) -> Built {
    let (start, limit, delta) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let delta = delta.unwrap_or_else(|| cx.like(start, 1.0));
    let dtype = cx.dtype(start);
    let count = range_count(cx, start, limit, delta)?;
    let steps = cx.add(Op::Iota { count, to: dtype }, &[])?;
    let (start, delta) = (cx.as_scalar(start)?, cx.as_scalar(delta)?);
    let scaled = cx.times(steps, delta)?;
    cx.plus(scaled, start)
}

/// `max(ceil((limit - start) / delta), 0)`.
fn range_count(cx: &mut Context, start: Value, limit: Value, delta: Value) -> Built<Dim> {
    let single = |cx: &Context, v| cx.dims_of(v).and_then(|d| d.into_iter().next());
    if let (Some(from), Some(to), Some(by)) = (single(cx, start), single(cx, limit), single(cx, delta)) {
        match by.known() {
            Some(0) => return invalid("a step of 0"),
            Some(n) if n > 0 => return Ok((to - from).ceil_div(n).max(&Dim::ZERO)),
            Some(n) => return Ok((from - to).ceil_div(-n).max(&Dim::ZERO)),
            None => {}
        }
    }
    let dtype = if cx.dtype(start).is_float() { cx.dtype(start) } else { DType::F64 };
    let mut parts = Vec::new();
    for v in [start, limit, delta] {
        let v = cx.cast(v, dtype)?;
        parts.push(cx.as_scalar(v)?);
    }
    let span = cx.minus(parts[1], parts[0])?;
    let steps = cx.over(span, parts[2])?;
    let steps = cx.add(Op::Ceil {}, &[steps])?;
    let zero = cx.like(steps, 0.0);
    let steps = cx.max(steps, zero)?;
    let steps = cx.cast(steps, DType::I64)?;
    let steps = cx.reshape(steps, vec![Dim::ONE])?;
    Ok(cx.bound(steps, 1)?.remove(0))
}

fn depth_to_space(cx: &mut Context) -> Built {
    let (x, block) = (cx.operand(0)?, cx.int("blocksize", 0)?);
    let shape = cx.shape(x);
    if shape.len() != 4 || !(1..=1 << 20).contains(&block) {
        return invalid(format!("blocks of {block} in {}", cx.ty(x)));
    }
    let [n, c, h, w] = [0, 1, 2, 3].map(|i| shape[i].clone());
    let (b, deep) =
        (Dim::from(block), c.exact_div(&Dim::from(block * block)).ok_or("the depth does not divide")?);
    let (split, perm): (_, [usize; 6]) = match cx.string("mode", "DCR")?.as_str() {
        "DCR" => {
            (vec![n.clone(), b.clone(), b.clone(), deep.clone(), h.clone(), w.clone()], [0, 3, 4, 1, 5, 2])
        }
        "CRD" => {
            (vec![n.clone(), deep.clone(), b.clone(), b.clone(), h.clone(), w.clone()], [0, 1, 4, 2, 5, 3])
        }
        other => return invalid(format!("unknown mode `{other}`")),
    };
    let x = cx.reshape(x, split)?;
    let x = cx.transpose(x, &perm)?;
    cx.reshape(x, vec![n, deep, h * block, w * block])
}

fn space_to_depth(cx: &mut Context) -> Built {
    let (x, block) = (cx.operand(0)?, cx.int("blocksize", 0)?);
    let shape = cx.shape(x);
    if shape.len() != 4 || !(1..=1 << 20).contains(&block) {
        return invalid(format!("blocks of {block} in {}", cx.ty(x)));
    }
    let [n, c, h, w] = [0, 1, 2, 3].map(|i| shape[i].clone());
    let b = Dim::from(block);
    let (high, wide) = (
        h.exact_div(&b).ok_or("the height does not divide")?,
        w.exact_div(&b).ok_or("the width does not divide")?,
    );
    let x = cx.reshape(x, vec![n.clone(), c.clone(), high.clone(), b.clone(), wide.clone(), b])?;
    let x = cx.transpose(x, &[0, 3, 5, 1, 2, 4])?;
    cx.reshape(x, vec![n, c * (block * block), high, wide])
}

/// Row and column numbers of the last two axes, as tensors that broadcast.
fn rows_and_columns(cx: &mut Context, shape: &[Dim]) -> Built<(Value, Value)> {
    let rank = shape.len();
    if rank < 2 {
        return invalid("a matrix has rank 2 at least");
    }
    let rows = cx.iota(shape[rank - 2].clone(), DType::I64, 0, 2)?;
    let columns = cx.iota(shape[rank - 1].clone(), DType::I64, 1, 2)?;
    Ok((rows, columns))
}

fn eye_like(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (shape, k) = (cx.shape(x), cx.int("k", 0)?);
    let dtype = cx.dtype_if("dtype")?.unwrap_or(cx.dtype(x));
    let (rows, columns) = rows_and_columns(cx, &shape)?;
    let k = cx.scalar(DType::I64, k as f64);
    let diagonal = cx.plus(rows, k)?;
    let on = cx.eq(diagonal, columns)?;
    cx.cast(on, dtype)
}

pub(super) fn trilu(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (shape, upper) = (cx.shape(x), cx.flag("upper", true)?);
    let (rows, columns) = rows_and_columns(cx, &shape)?;
    let diagonal = match cx.operand_if(1)? {
        Some(k) => {
            let k = cx.as_scalar(k)?;
            cx.plus(rows, k)?
        }
        None => rows,
    };
    let keep = if upper { cx.le(diagonal, columns)? } else { cx.ge(diagonal, columns)? };
    let zero = cx.like(x, 0.0);
    cx.select(keep, x, zero)
}
