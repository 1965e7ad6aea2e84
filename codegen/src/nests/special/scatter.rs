//! Scattering of elements and of slices, in the order of the updates.
use super::{Special, inside};
use crate::nest::{Builder, Expr};
use sardonyx_ir::ops::attribute::Reduction;
use sardonyx_tensor::{DType, Dim};

/// `x` with every update at its index.
pub(super) fn elements(s: &Special<'_>, axis: i64, reduction: Reduction) -> Dim {
    let (x, updates) = (&s.operands[0], &s.operands[2]);
    let axis = x.axis(axis).expect("the type rule should have accepted the axis");
    let b = &s.b;
    copy(s);
    b.for_(0, &updates.elements(), |u| {
        let mut at = b.unravel(u, &updates.shape);
        at[axis] = inside(b.load(s.inputs[1], u), &x.shape[axis]);
        let to = at.iter().zip(&x.shape).fold(b.int(0), |sum, (&i, d)| sum * b.dim(d) + i);
        update(s, to, b.load(s.inputs[2], u), reduction);
    });
    Dim::from(1)
}

/// `x` with every slice of updates where its row of indices says.
pub(super) fn slices(s: &Special<'_>, reduction: Reduction) -> Dim {
    let (x, indices) = (&s.operands[0], &s.operands[1]);
    let depth =
        indices.shape[indices.rank() - 1].known().expect("the type rule should need a known depth") as usize;
    let rows = Dim::product(&indices.shape[..indices.rank() - 1]);
    let slice = Dim::product(&x.shape[depth..]);
    let b = &s.b;
    copy(s);
    b.for_(0, &rows, |r| {
        let to = (0..depth).fold(b.int(0), |sum, k| {
            let index = b.load(s.inputs[1], r * b.int(depth as i64) + b.int(k as i64));
            sum * b.dim(&x.shape[k]) + inside(index, &x.shape[k])
        });
        let to = to * b.dim(&slice);
        b.for_(0, &slice, |j| {
            let value = b.load(s.inputs[2], r * b.dim(&slice) + j);
            update(s, to + j, value, reduction);
        });
    });
    Dim::from(1)
}

fn copy(s: &Special<'_>) {
    s.b.vectorize(0, &s.operands[0].elements(), |i| s.b.store(s.outputs[0], i, s.b.load(s.inputs[0], i)));
}

fn update<'b>(s: &'b Special<'_>, to: Expr<'b>, value: Expr<'b>, reduction: Reduction) {
    let b: &Builder = &s.b;
    let old = || b.load(s.outputs[0], to);
    let bool = s.results[0].dtype == DType::Bool;
    let value = match reduction {
        Reduction::Replace => value,
        Reduction::Add if bool => old().or(value),
        Reduction::Mul if bool => old().and(value),
        Reduction::Add => old() + value,
        Reduction::Mul => old() * value,
        Reduction::Min => old().min(value),
        Reduction::Max => old().max(value),
    };
    b.store(s.outputs[0], to, value);
}
