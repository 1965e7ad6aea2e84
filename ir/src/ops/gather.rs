//! Reading and writing elements at places that other elements name.
use super::attribute::Reduction;
use super::values::{around, gathered, known};
use super::{Definition, Infer, Op};
use crate::index::{strides, walk};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// Operand 1, which holds indices.
fn indices<'a>(cx: &Infer<'a>) -> Result<&'a Type, String> {
    let t = cx.operand(1);
    let integer = matches!(t.dtype, DType::I64 | DType::I32);
    if integer { Ok(t) } else { Err(format!("{t} are no indices: they are i64 or i32")) }
}

/// An index into `n` elements, counted from the end if negative.
fn place(i: i64, n: usize) -> Result<usize, String> {
    let at = if i < 0 { i.checked_add(n as i64) } else { Some(i) };
    at.and_then(|i| usize::try_from(i).ok())
        .filter(|&i| i < n)
        .ok_or_else(|| format!("index {i} of {n} elements"))
}

fn places(t: &Tensor, n: usize) -> Result<Vec<usize>, String> {
    t.to_i64s().into_iter().map(|i| place(i, n)).collect()
}

pub(super) const GATHER: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Gather { axis });
        let (x, i) = (cx.operand(0), indices(cx)?);
        let axis = x.axis(*axis)?;
        let shape = [&x.shape[..axis], &i.shape, &x.shape[axis + 1..]].concat();
        Ok(vec![x.with_shape(shape)])
    },
    eval: |op, x, types| {
        attributes!(op, Gather { axis });
        let axis = axis_of(*axis, x[0].rank());
        let (outer, n, inner) = around(x[0].shape(), axis);
        let places = places(&x[1], n)?;
        let row = |o: usize, p: usize| (0..inner).map(move |i| (o * n + p) * inner + i);
        let all = (0..outer).flat_map(|o| places.iter().flat_map(move |&p| row(o, p)));
        Ok(vec![gathered(&x[0], known(&types[0]), all)])
    },
};

fn axis_of(axis: i64, rank: usize) -> usize {
    (if axis < 0 { axis + rank as i64 } else { axis }) as usize
}

/// For every element of `t`, an index tensor, the element of an array of shape `shape` that has the same
/// coordinates but, along `axis`, the one `t` names.
fn elements(t: &Tensor, shape: &[usize], axis: usize) -> Result<Vec<usize>, String> {
    let mut steps = strides(shape);
    let along = std::mem::take(&mut steps[axis]);
    let rest = walk(t.shape(), &steps, 0);
    Ok(rest.zip(places(t, shape[axis])?).map(|(r, p)| r + p * along).collect())
}

fn check_elements(x: &Type, i: &Type, axis: i64) -> Result<(), String> {
    let axis = x.axis(axis)?;
    let fits = |d: usize| d == axis || i.shape[d].compare(&x.shape[d]).is_none_or(|o| o.is_le());
    if i.rank() == x.rank() && (0..x.rank()).all(fits) {
        return Ok(());
    }
    Err(format!("indices {i} do not fit {x} beside axis {axis}"))
}

pub(super) const GATHER_ELEMENTS: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, GatherElements { axis });
        let (x, i) = (cx.operand(0), indices(cx)?);
        check_elements(x, i, *axis)?;
        Ok(vec![i.with_dtype(x.dtype)])
    },
    eval: |op, x, types| {
        attributes!(op, GatherElements { axis });
        let from = elements(&x[1], x[0].shape(), axis_of(*axis, x[0].rank()))?;
        Ok(vec![gathered(&x[0], known(&types[0]), from.into_iter())])
    },
};

/// The length of the index tuples in the last dimension of `t`, which is known and fits `rank`.
fn tuple(t: &Type, rank: usize) -> Result<usize, String> {
    let length = t.shape.last().ok_or_else(|| format!("indices {t} have no last dimension"))?;
    let length = length.known().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= rank);
    length.ok_or_else(|| format!("the last dimension of indices {t} is not known to be in 0..={rank}"))
}

/// For every tuple of indices in `t`, the first element of the slice of `shape` it names. The first `batch`
/// coordinates are those of the tuple itself.
fn slices(t: &Tensor, shape: &[usize], batch: usize) -> Result<Vec<usize>, String> {
    let length = t.shape()[t.rank() - 1];
    let steps = strides(shape);
    let batches: usize = t.shape()[..batch].iter().product();
    let count: usize = t.shape()[..t.rank() - 1].iter().product();
    let per_batch = count / batches.max(1);
    let size: usize = shape[batch..].iter().product();
    let v = t.to_i64s();
    let start = |k: usize| {
        (0..length).try_fold(k / per_batch.max(1) * size, |sum, j| {
            Ok(sum + place(v[k * length + j], shape[batch + j])? * steps[batch + j])
        })
    };
    (0..count).map(start).collect()
}

pub(super) const GATHER_ND: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, GatherNd { batch_dims });
        let (x, i) = (cx.operand(0), indices(cx)?);
        let batch = usize::try_from(*batch_dims).ok().filter(|&b| b < i.rank() && b <= x.rank());
        let batch = batch.ok_or_else(|| format!("{batch_dims} batch dimensions of {}", cx.listed()))?;
        let length = tuple(i, x.rank() - batch)?;
        for (a, b) in x.shape[..batch].iter().zip(&i.shape) {
            cx.same(a, b).map_err(|e| format!("batch dimensions of {}: {e}", cx.listed()))?;
        }
        let shape = [&i.shape[..i.rank() - 1], &x.shape[batch + length..]].concat();
        Ok(vec![x.with_shape(shape)])
    },
    eval: |op, x, types| {
        attributes!(op, GatherNd { batch_dims });
        let (batch, length) = (*batch_dims as usize, x[1].shape()[x[1].rank() - 1]);
        let size: usize = x[0].shape()[batch + length..].iter().product();
        let starts = slices(&x[1], x[0].shape(), batch)?;
        let all = starts.into_iter().flat_map(|s| s..s + size);
        Ok(vec![gathered(&x[0], known(&types[0]), all)])
    },
};

/// Writes `updates` over the elements `to` of `x`, in order.
fn scattered(x: &Tensor, updates: &Tensor, to: impl Iterator<Item = usize>, reduction: Reduction) -> Tensor {
    let shape = x.shape().to_vec();
    if reduction == Reduction::Replace {
        let mut out = x.clone();
        let (width, source) = (x.dtype().size(), updates.bytes());
        let bytes = out.bytes_mut();
        for (from, to) in to.enumerate() {
            bytes[to * width..][..width].copy_from_slice(&source[from * width..][..width]);
        }
        out
    } else if x.dtype().is_float() {
        let (mut v, u) = (x.to_f64s(), updates.to_f64s());
        let combine = |a: f64, b: f64| match reduction {
            Reduction::Mul => a * b,
            Reduction::Min => {
                if a.is_nan() || b.is_nan() {
                    f64::NAN
                } else {
                    a.min(b)
                }
            }
            Reduction::Max => {
                if a.is_nan() || b.is_nan() {
                    f64::NAN
                } else {
                    a.max(b)
                }
            }
            Reduction::Replace | Reduction::Add => a + b,
        };
        to.zip(u).for_each(|(t, u)| v[t] = combine(v[t], u));
        Tensor::from_f64s(x.dtype(), shape, v)
    } else {
        let (mut v, u) = (x.to_i128s(), updates.to_i128s());
        let combine = |a: i128, b: i128| match reduction {
            Reduction::Mul => a.wrapping_mul(b),
            Reduction::Min => a.min(b),
            Reduction::Max => a.max(b),
            Reduction::Replace | Reduction::Add => a.wrapping_add(b),
        };
        to.zip(u).for_each(|(t, u)| v[t] = combine(v[t], u));
        Tensor::from_i128s(x.dtype(), shape, v)
    }
}

fn check_updates(cx: &mut Infer, shape: &[Dim]) -> Result<Vec<Type>, String> {
    let (x, updates) = (cx.operand(0), cx.operand(2));
    if updates.dtype != x.dtype || updates.rank() != shape.len() {
        return Err(format!("updates {updates} of {x}"));
    }
    for (a, b) in updates.shape.iter().zip(shape) {
        cx.same(a, b).map_err(|e| format!("updates {updates} of {x}: {e}"))?;
    }
    Ok(vec![x.clone()])
}

pub(super) const SCATTER_ELEMENTS: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, ScatterElements { axis });
        let i = indices(cx)?;
        check_elements(cx.operand(0), i, *axis)?;
        check_updates(cx, &i.shape)
    },
    eval: |op, x, _| {
        attributes!(op, ScatterElements { axis, reduction });
        let to = elements(&x[1], x[0].shape(), axis_of(*axis, x[0].rank()))?;
        Ok(vec![scattered(&x[0], &x[2], to.into_iter(), *reduction)])
    },
};

pub(super) const SCATTER_ND: Definition = Definition {
    infer: |_, cx| {
        let (x, i) = (cx.operand(0), indices(cx)?);
        let length = tuple(i, x.rank())?;
        let shape = [&i.shape[..i.rank() - 1], &x.shape[length..]].concat();
        check_updates(cx, &shape)
    },
    eval: |op, x, _| {
        attributes!(op, ScatterNd { reduction });
        let length = x[1].shape()[x[1].rank() - 1];
        let size: usize = x[0].shape()[length..].iter().product();
        let starts = slices(&x[1], x[0].shape(), 0)?;
        Ok(vec![scattered(&x[0], &x[2], starts.into_iter().flat_map(|s| s..s + size), *reduction)])
    },
};
