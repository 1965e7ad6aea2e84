//! `unique(x) {axis, sorted} -> values, i64 first[n], i64 inverse[axis], i64 counts[n]`: the slices along an
//! axis that differ, where each is first, which of them each slice is, and how often each is; sorted, or in
//! order of appearance.

use std::cmp::Ordering;

use sardonyx_tensor::Tensor;

use super::{Call, Keys};

pub(super) fn unique(call: &Call) -> Result<Vec<Tensor>, String> {
    let x = call.input(0)?;
    let axis = call.axis(0, x.shape.len())?;
    let sorted = call.flag("sorted", true)?;
    let length = x.shape[axis];
    let (outer, inner) =
        (x.shape[..axis].iter().product::<usize>(), x.shape[axis + 1..].iter().product::<usize>());
    let keys = Keys::new(x)?;
    let at = |slice: usize| {
        (0..outer).flat_map(move |o| (0..inner).map(move |i| (o * length + slice) * inner + i))
    };
    let compare = |a: usize, b: usize| {
        at(a).zip(at(b)).map(|(a, b)| keys.compare(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by(|&a, &b| compare(a, b));
    // Sorting was stable, so each run of equal slices starts with the first of its kind.
    let mut runs: Vec<&[usize]> = order.chunk_by(|&a, &b| compare(a, b).is_eq()).collect();
    if !sorted {
        runs.sort_by_key(|run| run[0]);
    }
    let (mut first, mut counts, mut inverse) = (Vec::new(), Vec::new(), vec![0i64; length]);
    for (number, run) in runs.iter().enumerate() {
        first.push(run[0] as i64);
        counts.push(run.len() as i64);
        run.iter().for_each(|&slice| inverse[slice] = number as i64);
    }
    let width = inner * x.dtype.size();
    let mut bytes = Vec::with_capacity(outer * runs.len() * width);
    for (o, run) in (0..outer).flat_map(|o| runs.iter().map(move |run| (o, run))) {
        let from = (o * length + run[0]) * width;
        bytes.extend_from_slice(&x.bytes[from..from + width]);
    }
    let mut shape = x.shape.clone();
    shape[axis] = runs.len();
    Ok(vec![
        Tensor::new(x.dtype, shape, bytes).map_err(|error| error.to_string())?,
        Tensor::from_slice([runs.len()], &first),
        Tensor::from_slice([length], &inverse),
        Tensor::from_slice([runs.len()], &counts),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::View;
    use serde_json::json;

    fn run(x: &Tensor, attrs: serde_json::Value) -> Vec<Tensor> {
        let inputs = [View { dtype: x.dtype(), shape: x.shape().to_vec(), bytes: x.bytes() }];
        unique(&Call { inputs: &inputs, attrs: &attrs, outputs: &[None, None, None, None] }).unwrap()
    }

    #[test]
    fn elements_sorted_or_as_they_come() {
        let x = Tensor::from_slice([5], &[2.0f32, 1.0, 2.0, 4.0, 1.0]);
        let found = run(&x, json!({}));
        assert_eq!(found[0], Tensor::from_slice([3], &[1.0f32, 2.0, 4.0]));
        assert_eq!(found[1].to_i64s(), [1, 0, 3]);
        assert_eq!(found[2].to_i64s(), [1, 0, 1, 2, 0]);
        assert_eq!(found[3].to_i64s(), [2, 2, 1]);
        let found = run(&x, json!({ "sorted": false }));
        assert_eq!(found[0], Tensor::from_slice([3], &[2.0f32, 1.0, 4.0]));
        assert_eq!(found[2].to_i64s(), [0, 1, 0, 2, 1]);
    }

    #[test]
    fn columns() {
        let x = Tensor::from_slice([2, 3], &[3i64, 1, 3, 4, 0, 4]);
        let found = run(&x, json!({ "axis": 1 }));
        assert_eq!(found[0], Tensor::from_slice([2, 2], &[1i64, 3, 0, 4]));
        assert_eq!(found[2].to_i64s(), [1, 0, 1]);
    }
}
