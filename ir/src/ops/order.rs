//! Searching, ordering and accumulating along an axis, and what is not zero.
use super::values::{around, known, size};
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::cmp::Ordering;

/// Compares elements of a tensor: NaN is above everything.
pub(super) fn order(x: &Tensor) -> Box<dyn Fn(usize, usize) -> Ordering> {
    if x.dtype().is_float() {
        let v = x.to_f64s();
        Box::new(move |a, b| v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())))
    } else {
        let v = x.to_i128s();
        Box::new(move |a, b| v[a].cmp(&v[b]))
    }
}

fn infer_place(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let (Op::ArgMax { axis, .. } | Op::ArgMin { axis, .. }) = op else { panic!("bug: no search") };
    let mut ty = cx.operand(0).with_dtype(DType::I64);
    let axis = ty.axis(*axis)?;
    if ty.shape[axis] == 0 {
        return Err(format!("{} has no elements along axis {axis}", cx.operand(0)));
    }
    ty.shape[axis] = Dim::from(1);
    Ok(vec![ty])
}

/// The place along `axis` of the element that comes out on top by `wanted`.
fn place(x: &Tensor, ty: &Type, axis: i64, last: bool, wanted: Ordering) -> Result<Vec<Tensor>, String> {
    let axis = ty.axis(axis)?;
    let (outer, n, inner) = around(x.shape(), axis);
    let order = order(x);
    let mut found = Vec::with_capacity(outer * inner);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * n + k) * inner + i;
        let better = |a: usize, b: usize| {
            let compared = order(at(b), at(a));
            if compared == wanted || (last && compared.is_eq()) { b } else { a }
        };
        found.push((0..n).reduce(better).ok_or("no elements")? as i64);
    }
    Ok(vec![Tensor::from_slice(known(ty), &found)])
}

pub(super) const ARG_MAX: Definition = Definition {
    infer: infer_place,
    eval: |op, x, types| {
        attributes!(op, ArgMax { axis, last });
        place(&x[0], &types[0], *axis, *last, Ordering::Greater)
    },
};

pub(super) const ARG_MIN: Definition = Definition {
    infer: infer_place,
    eval: |op, x, types| {
        attributes!(op, ArgMin { axis, last });
        place(&x[0], &types[0], *axis, *last, Ordering::Less)
    },
};

pub(super) const TOP_K: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, TopK { axis, k });
        let mut ty = cx.operand(0).clone();
        let axis = ty.axis(*axis)?;
        if k.compare(&ty.shape[axis]).is_some_and(Ordering::is_gt) {
            return Err(format!("the top {k} of axis {axis} of {ty}"));
        }
        ty.shape[axis] = k.clone();
        let indices = ty.with_dtype(DType::I64);
        Ok(vec![ty, indices])
    },
    eval: |op, x, types| {
        attributes!(op, TopK { axis, k, largest });
        let axis = types[0].axis(*axis)?;
        let (outer, n, inner) = around(x[0].shape(), axis);
        let (k, order) = (size(k), order(&x[0]));
        let shape = known(&types[0]);
        let mut from = vec![0; outer * k * inner];
        let mut indices = vec![0i64; outer * k * inner];
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |p: usize| (o * n + p) * inner + i;
            let mut places: Vec<usize> = (0..n).collect();
            // Stable: equal elements stay in order. `sorted=0` leaves the order open, and this is one.
            places.sort_by(|&a, &b| if *largest { order(at(b), at(a)) } else { order(at(a), at(b)) });
            for (p, &place) in places[..k].iter().enumerate() {
                let to = (o * k + p) * inner + i;
                (from[to], indices[to]) = (at(place), place as i64);
            }
        }
        let values = super::values::gathered(&x[0], shape.clone(), from.into_iter());
        Ok(vec![values, Tensor::from_slice(shape, &indices)])
    },
};

fn infer_running(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let (Op::CumSum { axis, .. } | Op::CumProd { axis, .. }) = op else { panic!("bug: no accumulation") };
    let ty = cx.operand(0).clone();
    ty.axis(*axis)?;
    Ok(vec![ty])
}

/// Which way an accumulation runs, and whether an element is part of its own sum.
struct Run {
    axis: i64,
    exclusive: bool,
    reverse: bool,
}

fn running<T: Copy>(values: &mut [T], shape: &[usize], run: &Run, unit: T, combine: impl Fn(T, T) -> T) {
    let axis = if run.axis < 0 { run.axis + shape.len() as i64 } else { run.axis };
    let (outer, n, inner) = around(shape, axis as usize);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let mut total = unit;
        for k in 0..n {
            let k = if run.reverse { n - 1 - k } else { k };
            let v = &mut values[(o * n + k) * inner + i];
            let next = combine(total, *v);
            *v = if run.exclusive { total } else { next };
            total = next;
        }
    }
}

pub(super) const CUM_SUM: Definition = Definition {
    infer: infer_running,
    eval: |op, x, types| {
        let &Op::CumSum { axis, exclusive, reverse } = op else { panic!("bug: no sum") };
        let (shape, run) = (known(&types[0]), Run { axis, exclusive, reverse });
        Ok(vec![if types[0].dtype.is_float() {
            let mut v = x[0].to_f64s();
            running(&mut v, &shape, &run, 0.0, |a, b| a + b);
            Tensor::from_f64s(types[0].dtype, shape, v)
        } else {
            let mut v = x[0].to_i64s();
            running(&mut v, &shape, &run, 0, i64::wrapping_add);
            Tensor::from_i64s(types[0].dtype, shape, v)
        }])
    },
};

pub(super) const CUM_PROD: Definition = Definition {
    infer: infer_running,
    eval: |op, x, types| {
        let &Op::CumProd { axis, exclusive, reverse } = op else { panic!("bug: no product") };
        let (shape, run) = (known(&types[0]), Run { axis, exclusive, reverse });
        Ok(vec![if types[0].dtype.is_float() {
            let mut v = x[0].to_f64s();
            running(&mut v, &shape, &run, 1.0, |a, b| a * b);
            Tensor::from_f64s(types[0].dtype, shape, v)
        } else {
            let mut v = x[0].to_i64s();
            running(&mut v, &shape, &run, 1, i64::wrapping_mul);
            Tensor::from_i64s(types[0].dtype, shape, v)
        }])
    },
};

pub(super) const NON_ZERO: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, NonZero { count });
        Ok(vec![Type { dtype: DType::I64, shape: vec![Dim::from(cx.operand(0).rank()), count.clone()] }])
    },
    eval: |_, x, _| {
        let x = &x[0];
        let width = x.dtype().size();
        // Zero is all bits zero, or the sign bit alone for a float.
        let found: Vec<usize> = if x.dtype().is_float() {
            x.to_f64s().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect()
        } else {
            let elements = x.bytes().chunks_exact(width).enumerate();
            elements.filter(|(_, b)| b.iter().any(|&b| b != 0)).map(|(i, _)| i).collect()
        };
        let steps = x.strides();
        let coordinates = (0..x.rank()).flat_map(|d| found.iter().map(move |i| (d, i)));
        let values: Vec<i64> = coordinates.map(|(d, i)| (i / steps[d] % x.shape()[d]) as i64).collect();
        Ok(vec![Tensor::from_slice(vec![x.rank(), found.len()], &values)])
    },
};

pub(super) const TIME_WARP: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, TimeWarp { count });
        let costs = cx.operand(0);
        if costs.rank() != 2 || !costs.dtype.is_float() {
            return Err(format!("{costs}: a table of costs is needed"));
        }
        Ok(vec![Type { dtype: DType::I32, shape: vec![Dim::from(2), count.clone()] }])
    },
    eval: |_, x, _| Ok(vec![sardonyx_values::time_warp(&x[0])?]),
};

pub(super) const UNIQUE: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Unique { axis, count });
        let x = cx.operand(0);
        let axis = x.axis(*axis)?;
        let mut values = x.clone();
        values.shape[axis] = count.clone();
        let counted = Type { dtype: DType::I64, shape: vec![count.clone()] };
        let inverse = Type { dtype: DType::I64, shape: vec![x.shape[axis].clone()] };
        Ok(vec![values, counted.clone(), inverse, counted])
    },
    eval: |op, x, types| {
        attributes!(op, Unique { axis, sorted });
        let axis = types[0].axis(*axis)?;
        let (outer, n, inner) = around(x[0].shape(), axis);
        let order = order(&x[0]);
        let at =
            |slice: usize| (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * n + slice) * inner + i));
        let compare = |&a: &usize, &b: &usize| {
            at(a).zip(at(b)).map(|(a, b)| order(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        };
        let mut slices: Vec<usize> = (0..n).collect();
        slices.sort_by(compare);
        // Runs of equal slices; sorting was stable, so each starts with the first of its kind.
        let mut runs: Vec<Vec<usize>> =
            slices.chunk_by(|a, b| compare(a, b).is_eq()).map(<[_]>::to_vec).collect();
        if !*sorted {
            runs.sort_by_key(|run| run[0]);
        }
        let mut inverse = vec![0i64; n];
        for (k, run) in runs.iter().enumerate() {
            run.iter().for_each(|&slice| inverse[slice] = k as i64);
        }
        let mut shape = x[0].shape().to_vec();
        shape[axis] = runs.len();
        let firsts = &runs;
        let from = (0..outer).flat_map(|o| {
            firsts.iter().flat_map(move |run| (0..inner).map(move |i| (o * n + run[0]) * inner + i))
        });
        let list = |f: fn(&Vec<usize>) -> usize| {
            Tensor::from_i64s(DType::I64, vec![runs.len()], runs.iter().map(|run| f(run) as i64))
        };
        let values = super::values::gathered(&x[0], shape, from);
        Ok(vec![values, list(|run| run[0]), Tensor::from_slice(vec![n], &inverse), list(Vec::len)])
    },
};
