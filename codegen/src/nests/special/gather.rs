//! Gathering of elements and of slices.
use super::{Special, inside};
use sardonyx_tensor::Dim;

/// `out[.., i, ..] = x[.., indices[.., i, ..], ..]`; all other coordinates are the same in both.
pub(super) fn elements(s: &Special<'_>, axis: i64) -> Dim {
    let (x, indices) = (&s.operands[0], &s.operands[1]);
    let axis = x.axis(axis).expect("the type rule should have accepted the axis");
    let rows = Dim::product(&indices.shape[..indices.rank() - 1]);
    let columns = &indices.shape[indices.rank() - 1];
    let b = &s.b;
    let at = b.unravel(b.grid(), &indices.shape[..indices.rank() - 1]);
    b.for_(0, columns, |j| {
        let mut at = at.clone();
        at.push(j);
        let index = b.load(s.inputs[1], b.grid() * b.dim(columns) + j);
        at[axis] = inside(index, &x.shape[axis]);
        let from = at.iter().zip(&x.shape).fold(b.int(0), |sum, (&i, d)| sum * b.dim(d) + i);
        b.store(s.outputs[0], b.grid() * b.dim(columns) + j, b.load(s.inputs[0], from));
    });
    rows
}

/// Every row of `indices` names a slice of `x`, behind `batch` leading axes that both share.
pub(super) fn slices(s: &Special<'_>, batch: i64) -> Dim {
    let (x, indices) = (&s.operands[0], &s.operands[1]);
    let batch = usize::try_from(batch).expect("the type rule should have accepted the batch");
    let depth =
        indices.shape[indices.rank() - 1].known().expect("the type rule should need a known depth") as usize;
    let rows = Dim::product(&indices.shape[..indices.rank() - 1]);
    let slice = Dim::product(&x.shape[batch + depth..]);
    let per_batch = Dim::product(&indices.shape[batch..indices.rank() - 1]);
    let b = &s.b;
    let outer = b.grid().index_div(b.dim(&per_batch));
    let from = (0..depth).fold(outer, |sum, k| {
        let index = b.load(s.inputs[1], b.grid() * b.int(depth as i64) + b.int(k as i64));
        sum * b.dim(&x.shape[batch + k]) + inside(index, &x.shape[batch + k])
    });
    let (from, to) = (from * b.dim(&slice), b.grid() * b.dim(&slice));
    b.vectorize(0, &slice, |j| b.store(s.outputs[0], to + j, b.load(s.inputs[0], from + j)));
    rows
}
