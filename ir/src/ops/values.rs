//! What definitions share: known dimensions, elements as numbers, moved elements.
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// A known dimension as a size.
pub(super) fn size(d: &Dim) -> usize {
    let n = d.known().expect("a dimension should be known when it is evaluated");
    usize::try_from(n).expect("a dimension should not be negative")
}

/// The sizes of a type that is known.
pub(super) fn known(ty: &Type) -> Vec<usize> {
    ty.sizes().expect("the dimensions should be known when it is evaluated")
}

/// The elements of `t` at these indices, in order.
pub(super) fn gathered(t: &Tensor, shape: Vec<usize>, indices: impl Iterator<Item = usize>) -> Tensor {
    let width = t.dtype().size();
    let source = t.bytes();
    let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * width);
    for i in indices {
        bytes.extend_from_slice(&source[i * width..(i + 1) * width]);
    }
    Tensor::new(t.dtype(), shape, bytes).expect("as many elements as the shape has")
}

/// What sums of products are computed in: doubles, or 64-bit integers that wrap (any narrower result is
/// the same, modulo its width).
pub(super) trait Number: Copy + PartialOrd + 'static {
    const ZERO: Self;
    /// The least value of a dtype: what a maximum of nothing is.
    fn lowest(dtype: DType) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn is_nan(self) -> bool;
    fn read(t: &Tensor) -> Vec<Self>;
    fn tensor(dtype: DType, shape: Vec<usize>, values: Vec<Self>) -> Tensor;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    fn lowest(_: DType) -> f64 {
        f64::NEG_INFINITY
    }
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn times(self, other: f64) -> f64 {
        self * other
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    fn read(t: &Tensor) -> Vec<f64> {
        t.to_f64s()
    }
    fn tensor(dtype: DType, shape: Vec<usize>, values: Vec<f64>) -> Tensor {
        Tensor::from_f64s(dtype, shape, values)
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    fn lowest(dtype: DType) -> i64 {
        i64::try_from(dtype.int_range().0).unwrap_or(i64::MIN)
    }
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn is_nan(self) -> bool {
        false
    }
    fn read(t: &Tensor) -> Vec<i64> {
        t.to_i64s()
    }
    fn tensor(dtype: DType, shape: Vec<usize>, values: Vec<i64>) -> Tensor {
        Tensor::from_i64s(dtype, shape, values)
    }
}

/// Calls a function that is generic over [`Number`] with the one a dtype is computed in.
macro_rules! by_number {
    ($dtype:expr, $f:ident ( $($arg:expr),* $(,)? )) => {
        if $dtype.is_float() { $f::<f64>($($arg),*) } else { $f::<i64>($($arg),*) }
    };
}

/// Splits a shape around an axis: the elements before, along and after it.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The most elements of a tensor, or of what is made on the way to it.
pub(crate) const MAX_ELEMENTS: usize = 1 << 27;

/// The product of sizes. Fails where it is too large to hold in memory.
pub(super) fn fitting<'a>(sizes: impl IntoIterator<Item = &'a usize>) -> Result<usize, String> {
    let product = sizes.into_iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    product.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| "too large to evaluate".into())
}
