//! Linear algebra on the last two dimensions, and the discrete Fourier transform.
use super::values::{around, known};
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

/// Square float matrices in the last two dimensions.
fn square(cx: &mut Infer) -> Result<Type, String> {
    let x = cx.operand(0);
    if x.rank() < 2 || !x.dtype.is_float() {
        return Err(format!("{x} holds no float matrices"));
    }
    cx.same(&x.shape[x.rank() - 2], &x.shape[x.rank() - 1]).map_err(|e| format!("{x} is not square: {e}"))?;
    Ok(x.clone())
}

/// Brings the left `n` columns of `rows` to the identity; the determinant, 0 where that is impossible.
fn eliminate(rows: &mut [Vec<f64>], n: usize) -> f64 {
    let mut determinant = 1.0;
    for column in 0..n {
        let by_size = |&a: &usize, &b: &usize| rows[a][column].abs().total_cmp(&rows[b][column].abs());
        let pivot = (column..n).max_by(by_size).expect("a column should have a diagonal");
        if pivot != column {
            rows.swap(pivot, column);
            determinant = -determinant;
        }
        let scale = rows[column][column];
        determinant *= scale;
        if scale == 0.0 {
            return 0.0;
        }
        rows[column].iter_mut().for_each(|x| *x /= scale);
        let lead = rows[column].clone();
        for row in rows.iter_mut().enumerate().filter(|(i, _)| *i != column).map(|(_, row)| row) {
            let factor = row[column];
            row.iter_mut().zip(&lead).for_each(|(x, l)| *x -= factor * l);
        }
    }
    determinant
}

fn matrices(x: &Tensor) -> (usize, Vec<Vec<f64>>) {
    let n = x.shape()[x.rank() - 1];
    let values = x.to_f64s();
    (n, values.chunks_exact((n * n).max(1)).map(<[f64]>::to_vec).collect())
}

pub(super) const DET: Definition = Definition {
    infer: |_, cx| {
        let ty = square(cx)?;
        Ok(vec![ty.with_shape(ty.shape[..ty.rank() - 2].to_vec())])
    },
    eval: |_, x, types| {
        let (n, all) = matrices(&x[0]);
        let mut values: Vec<f64> = all
            .iter()
            .map(|m| eliminate(&mut m.chunks_exact(n).map(<[f64]>::to_vec).collect::<Vec<_>>(), n))
            .collect();
        // The determinant of a matrix without rows is 1.
        values.resize(known(&types[0]).iter().product(), 1.0);
        Ok(vec![Tensor::from_f64s(types[0].dtype, known(&types[0]), values)])
    },
};

pub(super) const INVERSE: Definition = Definition {
    infer: |_, cx| Ok(vec![square(cx)?]),
    eval: |_, x, types| {
        let (n, all) = matrices(&x[0]);
        let mut values = Vec::with_capacity(x[0].len());
        for m in all {
            let unit = |i: usize| (0..n).map(move |j| f64::from(u8::from(i == j)));
            let mut rows: Vec<Vec<f64>> = m
                .chunks_exact(n)
                .enumerate()
                .map(|(i, row)| row.iter().copied().chain(unit(i)).collect())
                .collect();
            let singular = eliminate(&mut rows, n) == 0.0;
            values.extend(
                rows.iter().flat_map(|r| r[n..].iter().map(|&v| if singular { f64::NAN } else { v })),
            );
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, known(&types[0]), values)])
    },
};

pub(super) const DFT: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Dft { axis, length, inverse, onesided });
        let mut ty = cx.operand(0).clone();
        let axis = ty.axis(*axis)?;
        let last = ty.rank() - 1;
        let parts = ty.shape[last].known();
        if axis == last || length.provably_le(-1) || !ty.dtype.is_float() || !matches!(parts, Some(1 | 2)) {
            return Err(format!("{ty}: complex numbers in its last dimension, not transformed along it"));
        }
        ty.shape[axis] = if *onesided && !*inverse { length.floor_div(2) + 1 } else { length.clone() };
        ty.shape[last] = Dim::from(if *onesided && *inverse { 1 } else { 2 });
        Ok(vec![ty])
    },
    eval: |op, x, types| {
        attributes!(op, Dft { axis, length, inverse, onesided });
        let axis = types[0].axis(*axis)?;
        let n = super::values::size(length);
        let shape = known(&types[0]);
        let (from_parts, to_parts) = (x[0].shape()[x[0].rank() - 1], shape[shape.len() - 1]);
        let (outer, given, inner) = around(&x[0].shape()[..x[0].rank() - 1], axis);
        let values = x[0].to_f64s();
        let mut out = vec![0.0; shape.iter().product()];
        let to = shape[axis];
        let sign = if *inverse { 1.0 } else { -1.0 };
        let turn: Vec<(f64, f64)> = (0..n)
            .map(|k| (sign * std::f64::consts::TAU * k as f64 / n as f64).sin_cos())
            .map(|(sin, cos)| (cos, sin))
            .collect();
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |k: usize| {
                let p = ((o * given + k) * inner + i) * from_parts;
                (values[p], if from_parts == 2 { values[p + 1] } else { 0.0 })
            };
            let signal = completed((0..given.min(n)).map(at).collect(), n, *inverse && *onesided);
            for k in 0..to {
                let (re, im) = transformed(&signal, &turn, k);
                let scale = if *inverse { 1.0 / n as f64 } else { 1.0 };
                let p = ((o * to + k) * inner + i) * to_parts;
                out[p] = re * scale;
                if to_parts == 2 {
                    out[p + 1] = im * scale;
                }
            }
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, out)])
    },
};

/// `n` numbers: zeros follow those that are given, or, of half a spectrum, their mirrored conjugates.
fn completed(mut signal: Vec<(f64, f64)>, n: usize, half: bool) -> Vec<(f64, f64)> {
    if half {
        signal.truncate(n / 2 + 1);
        signal.resize(n / 2 + 1, (0.0, 0.0));
        for k in n / 2 + 1..n {
            let (re, im) = signal[n - k];
            signal.push((re, -im));
        }
    }
    signal.resize(n, (0.0, 0.0));
    signal
}

/// `Σ signal[j] · turn[j·k mod n]`.
fn transformed(signal: &[(f64, f64)], turn: &[(f64, f64)], k: usize) -> (f64, f64) {
    signal.iter().enumerate().fold((0.0, 0.0), |(re, im), (j, &(a, b))| {
        let (cos, sin) = turn[j * k % turn.len()];
        (re + a * cos - b * sin, im + a * sin + b * cos)
    })
}
