//! Reductions over axes, which stay as dimensions of size 1.
use super::{Definition, Infer, Op};
use crate::index::{strides, walk};
use crate::types::Type;
use sardonyx_tensor::{Dim, Tensor};

fn axes(op: &Op) -> &[i64] {
    match op {
        Op::ReduceSum { axes }
        | Op::ReduceMean { axes }
        | Op::ReduceMax { axes }
        | Op::ReduceMin { axes }
        | Op::ReduceProd { axes } => axes,
        op => panic!("bug: {} is not a reduction", op.name()),
    }
}

fn infer(op: &Op, cx: &mut Infer) -> Result<Vec<Type>, String> {
    let mut ty = cx.operand(0).clone();
    for &a in axes(op) {
        let a = ty.axis(a)?;
        ty.shape[a] = Dim::from(1);
    }
    Ok(vec![ty])
}

/// For every element of the result, the indices of the elements of `x` it is made of.
fn groups(op: &Op, x: &Tensor) -> (Vec<usize>, Vec<usize>) {
    let rank = x.rank() as i64;
    let reduced: Vec<bool> = (0..rank).map(|d| axes(op).iter().any(|&a| a == d || a + rank == d)).collect();
    let steps = strides(x.shape());
    let pick = |keep: bool| -> (Vec<usize>, Vec<usize>) {
        (0..x.rank()).filter(|&d| reduced[d] != keep).map(|d| (x.shape()[d], steps[d])).unzip()
    };
    let (outer, inner) = (pick(true), pick(false));
    (walk(&outer.0, &outer.1, 0).collect(), walk(&inner.0, &inner.1, 0).collect())
}

fn reduced(
    op: &Op,
    x: &Tensor,
    ty: &Type,
    float: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64,
    int: impl Fn(&mut dyn Iterator<Item = i128>, usize) -> i128,
) -> Result<Vec<Tensor>, String> {
    let shape = ty.sizes().expect("known dimensions");
    let (outer, inner) = groups(op, x);
    Ok(vec![if ty.dtype.is_float() {
        let v = x.to_f64s();
        let all: Vec<f64> =
            outer.iter().map(|o| float(&mut inner.iter().map(|i| v[o + i]), inner.len())).collect();
        Tensor::from_f64s(ty.dtype, shape, all)
    } else {
        let v = x.to_i128s();
        let all: Vec<i128> =
            outer.iter().map(|o| int(&mut inner.iter().map(|i| v[o + i]), inner.len())).collect();
        Tensor::from_i128s(ty.dtype, shape, all)
    }])
}

pub(super) const SUM: Definition =
    Definition { infer, eval: |op, x, ty| reduced(op, &x[0], &ty[0], |v, _| v.sum(), |v, _| v.sum()) };
/// Integers: toward zero.
pub(super) const MEAN: Definition = Definition {
    infer,
    eval: |op, x, ty| {
        reduced(
            op,
            &x[0],
            &ty[0],
            |v, n| v.sum::<f64>() / n as f64,
            |v, n| v.sum::<i128>() / (n as i128).max(1),
        )
    },
};
pub(super) const MAX: Definition = Definition {
    infer,
    eval: |op, x, ty| {
        let (min, _) = if ty[0].dtype.is_float() { (0, 0) } else { ty[0].dtype.int_range() };
        let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        reduced(op, &x[0], &ty[0], |v, _| v.fold(f64::NEG_INFINITY, larger), |v, _| v.fold(min, i128::max))
    },
};
pub(super) const MIN: Definition = Definition {
    infer,
    eval: |op, x, ty| {
        let (_, max) = if ty[0].dtype.is_float() { (0, 0) } else { ty[0].dtype.int_range() };
        let smaller = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) };
        reduced(op, &x[0], &ty[0], |v, _| v.fold(f64::INFINITY, smaller), |v, _| v.fold(max, i128::min))
    },
};
pub(super) const PROD: Definition = Definition {
    infer,
    eval: |op, x, ty| {
        reduced(op, &x[0], &ty[0], |v, _| v.product(), |v, _| v.fold(1, |a, b| a.wrapping_mul(b)))
    },
};
