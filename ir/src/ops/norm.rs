//! Softmax and normalizations.
use super::values::{around, known};
use super::{Definition, Infer, Op};
use crate::interp::indices;
use crate::types::Type;
use sardonyx_tensor::Tensor;

/// The one operand's type, which is a float.
fn float(cx: &Infer) -> Result<Type, String> {
    let x = cx.operand(0);
    if x.dtype.is_float() { Ok(x.clone()) } else { Err(format!("{x} is not floating point")) }
}

fn infer_axis(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let (Op::Softmax { axis } | Op::LogSoftmax { axis }) = op else { panic!("bug: not a softmax") };
    let ty = float(cx)?;
    ty.axis(*axis)?;
    Ok(vec![ty])
}

/// Replaces the elements along an axis by what `f` makes of them.
fn along(x: &Tensor, ty: &Type, axis: i64, f: impl Fn(&mut [f64])) -> Vec<Tensor> {
    let axis = ty.axis(axis).expect("the type rule should have accepted the axis");
    let (outer, n, inner) = around(x.shape(), axis);
    let mut values = x.to_f64s();
    let mut row = vec![0.0; n];
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * n + k) * inner + i;
            row.iter_mut().enumerate().for_each(|(k, r)| *r = values[at(k)]);
            f(&mut row);
            row.iter().enumerate().for_each(|(k, r)| values[at(k)] = *r);
        }
    }
    vec![Tensor::from_f64s(ty.dtype, known(ty), values)]
}

fn maximum(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// In place `exp(x) / Σ exp(x)`; NaN where all are minus infinity.
pub(super) fn softmax(row: &mut [f64]) {
    let max = maximum(row);
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

pub(super) const SOFTMAX: Definition = Definition {
    infer: infer_axis,
    eval: |op, x, types| {
        attributes!(op, Softmax { axis });
        Ok(along(&x[0], &types[0], *axis, softmax))
    },
};

pub(super) const LOG_SOFTMAX: Definition = Definition {
    infer: infer_axis,
    eval: |op, x, types| {
        attributes!(op, LogSoftmax { axis });
        Ok(along(&x[0], &types[0], *axis, |row| {
            let max = maximum(row);
            let log_sum = row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            row.iter_mut().for_each(|x| *x = *x - max - log_sum);
        }))
    },
};

/// Every element of `x` with its parameters, which broadcast to the trailing `axes` dimensions.
fn infer_trailing(cx: &mut Infer, axes: i64) -> Result<Vec<Type>, String> {
    let ty = float(cx)?;
    let Some(axes) = usize::try_from(axes).ok().filter(|&n| n <= ty.rank()) else {
        return Err(format!("{axes} trailing axes of {ty}"));
    };
    for parameter in &cx.operands()[1..] {
        if !parameter.dtype.is_float() {
            return Err(format!("{parameter} is not floating point"));
        }
        let tail = &ty.shape[ty.rank() - axes..];
        cx.broadcasts_to(&parameter.shape, tail)
            .map_err(|e| format!("{parameter} does not broadcast to the last {axes} axes of {ty}: {e}"))?;
    }
    Ok(vec![ty])
}

/// Applies `f` to rows of the trailing `axes` dimensions, then scales by the first parameter and adds the
/// second.
fn trailing(x: &[Tensor], ty: &Type, axes: i64, f: impl Fn(&mut [f64])) -> Result<Vec<Tensor>, String> {
    let shape = known(ty);
    let tail = &shape[shape.len() - axes as usize..];
    let spread = |t: &Tensor| {
        let v = t.to_f64s();
        indices(t.shape(), tail).map(|i| v[i]).collect::<Vec<f64>>()
    };
    let (scale, bias) = (spread(&x[1]), x.get(2).map(spread));
    let mut values = x[0].to_f64s();
    for row in values.chunks_exact_mut(scale.len().max(1)) {
        f(row);
        row.iter_mut().zip(&scale).for_each(|(x, s)| *x *= s);
        bias.iter().for_each(|b| row.iter_mut().zip(b).for_each(|(x, b)| *x += b));
    }
    Ok(vec![Tensor::from_f64s(ty.dtype, shape, values)])
}

/// In place `(x - mean) / sqrt(variance + epsilon)`.
fn standardize(row: &mut [f64], epsilon: f64) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + epsilon).sqrt();
    row.iter_mut().for_each(|x| *x = (*x - mean) * scale);
}

pub(super) const LAYER: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, LayerNorm { axes });
        infer_trailing(cx, *axes)
    },
    eval: |op, x, types| {
        attributes!(op, LayerNorm { axes, epsilon });
        trailing(x, &types[0], *axes, |row| standardize(row, *epsilon))
    },
};

pub(super) const RMS: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, RmsNorm { axes });
        infer_trailing(cx, *axes)
    },
    eval: |op, x, types| {
        attributes!(op, RmsNorm { axes, epsilon });
        trailing(x, &types[0], *axes, |row| {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (mean + epsilon).sqrt();
            row.iter_mut().for_each(|x| *x *= scale);
        })
    },
};

/// `x` with channels as second dimension, and parameters of one value per channel.
fn infer_channels(_: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let ty = float(cx)?;
    if ty.rank() < 2 {
        return Err(format!("{ty} has no batch and channels"));
    }
    for parameter in &cx.operands()[1..] {
        if parameter.rank() != 1 || !parameter.dtype.is_float() {
            return Err(format!("{parameter} is no parameter of channels"));
        }
        cx.same(&ty.shape[1], &parameter.shape[0]).map_err(|e| format!("{}: {e}", cx.listed()))?;
    }
    Ok(vec![ty])
}

/// Standardizes each of `groups` groups of channels, then scales and shifts every channel.
fn grouped(x: &[Tensor], ty: &Type, groups: usize, epsilon: f64) -> Result<Vec<Tensor>, String> {
    let shape = known(ty);
    let (channels, pixels) = (shape[1], shape[2..].iter().product::<usize>());
    let (scale, bias) = (x[1].to_f64s(), x[2].to_f64s());
    let mut values = x[0].to_f64s();
    let size = channels / groups.max(1) * pixels;
    values.chunks_exact_mut(size.max(1)).for_each(|group| standardize(group, epsilon));
    for (i, plane) in values.chunks_exact_mut(pixels.max(1)).enumerate() {
        plane.iter_mut().for_each(|x| *x = *x * scale[i % channels] + bias[i % channels]);
    }
    Ok(vec![Tensor::from_f64s(ty.dtype, shape, values)])
}

pub(super) const INSTANCE: Definition = Definition {
    infer: infer_channels,
    eval: |op, x, types| {
        attributes!(op, InstanceNorm { epsilon });
        grouped(x, &types[0], x[0].shape()[1], *epsilon)
    },
};

pub(super) const GROUP: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, GroupNorm { groups });
        let types = infer_channels(op, cx)?;
        if *groups < 1 || types[0].shape[1].known().is_some_and(|c| c % groups != 0) {
            return Err(format!("{} in {groups} groups", types[0]));
        }
        Ok(types)
    },
    eval: |op, x, types| {
        attributes!(op, GroupNorm { groups, epsilon });
        grouped(x, &types[0], *groups as usize, *epsilon)
    },
};

pub(super) const BATCH: Definition = Definition {
    infer: infer_channels,
    eval: |op, x, types| {
        attributes!(op, BatchNorm { epsilon });
        let shape = known(&types[0]);
        let (channels, pixels) = (shape[1], shape[2..].iter().product::<usize>());
        let p: Vec<Vec<f64>> = x[1..].iter().map(Tensor::to_f64s).collect();
        let mut values = x[0].to_f64s();
        for (i, plane) in values.chunks_exact_mut(pixels.max(1)).enumerate() {
            let c = i % channels;
            let scale = p[0][c] / (p[3][c] + epsilon).sqrt();
            plane.iter_mut().for_each(|x| *x = (*x - p[2][c]) * scale + p[1][c]);
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, values)])
    },
};

pub(super) const LRN: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Lrn { size });
        if *size < 1 {
            return Err(format!("a window of {size} channels"));
        }
        infer_channels(op, cx)
    },
    eval: |op, x, types| {
        attributes!(op, Lrn { size, alpha, beta, bias });
        let shape = known(&types[0]);
        let (batch, channels, pixels) = around(&shape, 1);
        let values = x[0].to_f64s();
        let (before, after) = ((*size as usize - 1) / 2, *size as usize / 2);
        let mut out = Vec::with_capacity(values.len());
        for (n, c) in (0..batch).flat_map(|n| (0..channels).map(move |c| (n, c))) {
            let window = c.saturating_sub(before)..c.saturating_add(after + 1).min(channels);
            out.extend((0..pixels).map(|p| {
                let at = |c: usize| values[(n * channels + c) * pixels + p];
                let squares: f64 = window.clone().map(|c| at(c) * at(c)).sum();
                at(c) / (bias + alpha / *size as f64 * squares).powf(*beta)
            }));
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, out)])
    },
};
