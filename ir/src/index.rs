//! Walking over the elements of strided arrays.

/// For every element of an array of this shape, in row-major order, `base + Σ index[d]·strides[d]`.
pub fn walk(shape: &[usize], strides: &[usize], base: usize) -> impl Iterator<Item = usize> + use<> {
    let strides: Vec<isize> = strides.iter().map(|&s| s as isize).collect();
    walk_signed(shape, &strides, base as isize).map(|i| i as usize)
}

/// As [`walk`], with strides of either sign. Those of an axis of one element may be any.
pub fn walk_signed(shape: &[usize], strides: &[isize], base: isize) -> impl Iterator<Item = isize> + use<> {
    let (shape, strides) = (shape.to_vec(), strides.to_vec());
    let count: usize = if shape.contains(&0) { 0 } else { shape.iter().product() };
    let mut index = vec![0; shape.len()];
    let mut offset = base;
    (0..count).map(move |_| {
        let here = offset;
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            offset = offset.wrapping_add(strides[d]);
            if index[d] < shape[d] {
                break;
            }
            offset = offset.wrapping_sub(strides[d].wrapping_mul(shape[d] as isize));
            index[d] = 0;
        }
        here
    })
}

/// The row-major strides of a shape, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d].saturating_mul(shape[d]);
    }
    strides
}
