//! Pooling: windows that slide over space and keep one value each.
use super::conv::{Sliding, coordinates};
use super::values::{Number, fitting, known};
use super::{Definition, Infer, Op};
use crate::index::strides;
use crate::types::Type;
use sardonyx_tensor::{DType, Tensor};

fn sliding(op: &Op) -> (Sliding<'_>, bool) {
    match op {
        Op::MaxPool { kernel, strides, pads, dilations, ceil }
        | Op::MaxPoolIndices { kernel, strides, pads, dilations, ceil, .. }
        | Op::AvgPool { kernel, strides, pads, dilations, ceil, .. }
        | Op::LpPool { kernel, strides, pads, dilations, ceil, .. } => {
            (Sliding { kernel, strides, pads, dilations }, *ceil)
        }
        op => panic!("bug: {} is not a pooling", op.name()),
    }
}

fn infer(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let x = cx.operand(0);
    let (sliding, ceil) = sliding(op);
    if x.rank() < 2 {
        return Err(format!("{x} has no batch and channels"));
    }
    sliding.check(x.rank() - 2)?;
    let mut ty = x.clone();
    for d in 0..x.rank() - 2 {
        ty.shape[d + 2] = sliding.positions(d, &x.shape[d + 2], ceil);
    }
    Ok(vec![ty])
}

/// The input pixels under a window, and how many of its taps lie in the input or its padding.
type Window = (Vec<usize>, usize);

fn windows(op: &Op, from: &[usize], space: &[usize]) -> Result<Vec<Window>, String> {
    let (s, _) = sliding(op);
    let kernel: Vec<usize> = s.kernel.iter().map(|&k| k as usize).collect();
    let (steps, rank) = (strides(from), from.len());
    fitting(kernel.iter().chain(space))?;
    let taps: Vec<Vec<usize>> = coordinates(&kernel).collect();
    let window = |pixel: Vec<usize>| {
        let (mut inside, mut padded) = (Vec::new(), 0);
        for tap in &taps {
            let at = |d: usize| pixel[d] as i64 * s.strides[d] + tap[d] as i64 * s.dilations[d] - s.pads[d];
            padded += usize::from((0..rank).all(|d| at(d) < from[d] as i64 + s.pads[rank + d]));
            if (0..rank).all(|d| (0..from[d] as i64).contains(&at(d))) {
                inside.push((0..rank).map(|d| at(d) as usize * steps[d]).sum());
            }
        }
        (inside, padded)
    };
    Ok(coordinates(space).map(window).collect())
}

/// The result of `f` on every window: the plane's first element, its elements, the window.
fn pooled<T: Number, R>(
    op: &Op,
    x: &Tensor,
    shape: &[usize],
    mut f: impl FnMut(usize, &[T], &Window) -> R,
) -> Result<Vec<R>, String> {
    let windows = windows(op, &x.shape()[2..], &shape[2..])?;
    let inputs: usize = x.shape()[2..].iter().product();
    let values = T::read(x);
    let planes = shape[0] * shape[1];
    let mut out = Vec::with_capacity(planes * windows.len());
    for p in 0..planes {
        let plane = &values[p * inputs..][..inputs];
        out.extend(windows.iter().map(|w| f(p * inputs, plane, w)));
    }
    Ok(out)
}

/// Where the greatest element of a window is; the first NaN if there is one.
fn greatest<T: Number>(plane: &[T], window: &[usize]) -> Option<usize> {
    window
        .iter()
        .copied()
        .reduce(|a, b| if plane[b] > plane[a] || (plane[b].is_nan() && !plane[a].is_nan()) { b } else { a })
}

pub(super) const MAX: Definition = Definition {
    infer,
    eval: |op, x, types| Ok(vec![by_number!(types[0].dtype, maximum(op, &x[0], &types[0]))?]),
};

fn maximum<T: Number>(op: &Op, x: &Tensor, ty: &Type) -> Result<Tensor, String> {
    let shape = known(ty);
    let values = pooled::<T, T>(op, x, &shape, |_, plane, (window, _)| {
        greatest(plane, window).map_or(T::lowest(ty.dtype), |i| plane[i])
    })?;
    Ok(T::tensor(ty.dtype, shape, values))
}

pub(super) const MAX_INDICES: Definition = Definition {
    infer: |op, cx| {
        let values = infer(op, cx)?.remove(0);
        let indices = values.with_dtype(DType::I64);
        Ok(vec![values, indices])
    },
    eval: |op, x, types| {
        let values = by_number!(types[0].dtype, maximum(op, &x[0], &types[0]))?;
        Ok(vec![values, by_number!(types[0].dtype, positions(op, &x[0], &types[0]))?])
    },
};

/// The places of the maxima in the flattened input; spatial dimensions may be counted column-major.
fn positions<T: Number>(op: &Op, x: &Tensor, ty: &Type) -> Result<Tensor, String> {
    attributes!(op, MaxPoolIndices { column_major });
    let from = &x.shape()[2..];
    let rows = strides(from);
    let columns = |i: usize| {
        let mut step = 1;
        let mut sum = 0;
        for d in 0..from.len() {
            sum += i / rows[d] % from[d] * step;
            step *= from[d];
        }
        sum
    };
    let shape = known(ty);
    let values = pooled::<T, i64>(op, x, &shape, |first, plane, (window, _)| {
        let at = greatest(plane, window).unwrap_or(0);
        (first + if *column_major { columns(at) } else { at }) as i64
    })?;
    Ok(Tensor::from_slice(shape, &values))
}

pub(super) const AVERAGE: Definition = Definition {
    infer,
    eval: |op, x, types| {
        attributes!(op, AvgPool { count_include_pad });
        let shape = known(&types[0]);
        let values = pooled::<f64, f64>(op, &x[0], &shape, |_, plane, (window, padded)| {
            let count = if *count_include_pad { *padded } else { window.len() };
            window.iter().map(|&i| plane[i]).sum::<f64>() / count as f64
        })?;
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, values)])
    },
};

pub(super) const LP: Definition = Definition {
    infer,
    eval: |op, x, types| {
        attributes!(op, LpPool { p });
        let (shape, p) = (known(&types[0]), *p as f64);
        let values = pooled::<f64, f64>(op, &x[0], &shape, |_, plane, (window, _)| {
            window.iter().map(|&i| plane[i].abs().powf(p)).sum::<f64>().powf(1.0 / p)
        })?;
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, values)])
    },
};
