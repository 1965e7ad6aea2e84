//! Matrix product with numpy's broadcasting of batch dimensions.
use super::values::{Number, known};
use super::{Definition, Infer, broadcast};
use crate::interp::indices;
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const MATMUL: Definition = Definition {
    infer: |_, cx| {
        let (a, b) = (cx.operand(0), cx.operand(1));
        if a.rank() < 2 || b.rank() < 2 || a.dtype != b.dtype {
            return Err(format!("{} of one element type and rank 2 or more", cx.listed()));
        }
        Ok(vec![Type { dtype: a.dtype, shape: shape(cx)? }])
    },
    eval: |_, x, types| Ok(vec![by_number!(types[0].dtype, product(&x[0], &x[1], &types[0]))]),
};

pub(super) const INTEGER_MATMUL: Definition = Definition {
    infer: |_, cx| {
        let (a, b) = (cx.operand(0), cx.operand(1));
        if a.rank() < 2 || b.rank() < 2 || !is_byte(a.dtype) || !is_byte(b.dtype) {
            return Err(format!("{} of 8-bit integers and rank 2 or more", cx.listed()));
        }
        Ok(vec![Type { dtype: DType::I32, shape: shape(cx)? }])
    },
    eval: |_, x, types| Ok(vec![product::<i64>(&x[0], &x[1], &types[0])]),
};

/// Whether it is an integer of 8 bits.
pub(super) fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8)
}

/// The shape of the product of operands of rank 2 or more.
fn shape(cx: &mut Infer) -> Result<Vec<Dim>, String> {
    let (a, b) = (cx.operand(0), cx.operand(1));
    let (a_batch, a_matrix) = a.shape.split_at(a.rank() - 2);
    let (b_batch, b_matrix) = b.shape.split_at(b.rank() - 2);
    cx.same(&a_matrix[1], &b_matrix[0]).map_err(|e| format!("{}: {e}", cx.listed()))?;
    let mut shape = cx.broadcast(&[a_batch, b_batch]).map_err(|e| format!("{}: {e}", cx.listed()))?;
    shape.extend([a_matrix[0].clone(), b_matrix[1].clone()]);
    Ok(shape)
}

fn product<T: Number>(a: &Tensor, b: &Tensor, ty: &Type) -> Tensor {
    let shape = known(ty);
    let rank = shape.len();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape()[a.rank() - 1]);
    let (a_batch, b_batch) = (&a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 2]);
    let batch = broadcast(&[a_batch, b_batch]);
    let (av, bv) = (T::read(a), T::read(b));
    let mut out = vec![T::ZERO; shape.iter().product()];
    if m * n > 0 {
        let offsets = indices(a_batch, &batch).zip(indices(b_batch, &batch));
        for (c, (i, j)) in out.chunks_exact_mut(m * n).zip(offsets) {
            accumulate(c, &av[i * m * k..][..m * k], &bv[j * k * n..][..k * n], k, n);
        }
    }
    T::tensor(ty.dtype, shape, out)
}

/// Adds the product of row-major matrices `a` (m×k) and `b` (k×n) to `c` (m×n).
pub(super) fn accumulate<T: Number>(c: &mut [T], a: &[T], b: &[T], k: usize, n: usize) {
    if k == 0 || n == 0 {
        return;
    }
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(k)) {
        // Four rows of `b` at a time: a quarter of the traffic on `c`.
        let (fours, rest) = a.as_chunks::<4>();
        let (b, tail) = b.split_at(fours.len() * 4 * n);
        for (&[p, q, r, s], b) in fours.iter().zip(b.chunks_exact(4 * n)) {
            let (b01, b23) = b.split_at(2 * n);
            let ((b0, b1), (b2, b3)) = (b01.split_at(n), b23.split_at(n));
            for ((((c, &b0), &b1), &b2), &b3) in c.iter_mut().zip(b0).zip(b1).zip(b2).zip(b3) {
                *c = c.plus(p.times(b0).plus(q.times(b1))).plus(r.times(b2).plus(s.times(b3)));
            }
        }
        for (&a, b) in rest.iter().zip(tail.chunks_exact(n)) {
            for (c, &b) in c.iter_mut().zip(b) {
                *c = c.plus(a.times(b));
            }
        }
    }
}
