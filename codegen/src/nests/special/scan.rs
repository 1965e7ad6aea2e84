//! Running sums and products along an axis, and normalization over neighbouring channels.
use super::{Special, split};
use sardonyx_tensor::Dim;

/// What is accumulated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The sum.
    Sum,
    /// The product.
    Product,
}

/// Every element is what came up to it, itself included or not, from the front or the back.
pub(super) fn cumulative(s: &Special<'_>, axis: i64, exclusive: bool, reverse: bool, kind: Kind) -> Dim {
    let [outer, n, inner] = split(&s.operands[0], axis);
    let b = &s.b;
    let base = b.grid().index_div(b.dim(&inner)) * b.dim(&(&n * &inner)) + b.grid().index_rem(b.dim(&inner));
    let start =
        b.constant(crate::nest::Ty::of(s.operands[0].dtype), if kind == Kind::Sum { 0i64 } else { 1i64 });
    let total = b.var(start);
    b.for_(0, &n, |i| {
        let i = if reverse { b.dim(&n) - 1 - i } else { i };
        let at = base + i * b.dim(&inner);
        let before = total.get();
        let x = b.load(s.inputs[0], at);
        let after = if kind == Kind::Sum { before + x } else { before * x };
        total.set(after);
        b.store(s.outputs[0], at, if exclusive { before } else { after });
    });
    outer * inner
}

/// Local response normalization (ONNX LRN): `x / (bias + alpha/size · Σ x²)^beta` over `size` channels.
pub(super) fn lrn(s: &Special<'_>, size: i64, [alpha, beta, bias]: [f64; 3]) -> Dim {
    let x = &s.operands[0];
    let [batch, channels, inner] = split(x, 1);
    let b = &s.b;
    let channel = b.grid().index_rem(b.dim(&channels));
    let image = b.grid().index_div(b.dim(&channels)) * b.dim(&channels);
    let first = (channel - (size - 1) / 2).max(0);
    let last = (channel + size / 2).min(b.dim(&channels) - 1);
    b.for_(0, &inner, |i| {
        let sum = b.var(b.constant(crate::nest::Ty::of(x.dtype), 0.0));
        b.for_(first, last + 1, |c| {
            let v = b.load(s.inputs[0], (image + c) * b.dim(&inner) + i);
            sum.add_product(v, v);
        });
        let at = (image + channel) * b.dim(&inner) + i;
        let scale = b.prim(
            sardonyx_ir::scalar::Prim::Pow,
            &[sum.get() * (alpha / size as f64) + bias, b.constant(crate::nest::Ty::of(x.dtype), beta)],
        );
        b.store(s.outputs[0], at, b.load(s.inputs[0], at) / scale);
    });
    batch * channels
}
