//! `topk(x, k) {axis, largest} -> values, i64 indices`: the `k` greatest or least elements along an axis, in
//! order. Without the input `k` it is the size of the outputs along the axis. Among equal elements the one with the lower index comes first; NaN is greater than all numbers.

use sardonyx_tensor::Tensor;

use super::{Call, Keys};

pub(super) fn topk(call: &Call) -> Result<Vec<Tensor>, String> {
    let x = call.input(0)?;
    let axis = call.axis(-1, x.shape.len())?;
    let largest = call.flag("largest", true)?;
    let length = x.shape[axis];
    let k = match (call.inputs.get(1), call.outputs.first()) {
        (Some(k), _) => k.to_tensor()?.to_i64s().first().and_then(|&k| usize::try_from(k).ok()),
        (None, Some(Some(shape))) => shape.get(axis).copied(),
        (None, _) => None,
    };
    let k = k
        .filter(|&k| k <= length)
        .ok_or_else(|| format!("k should be at most {length}, the size of the axis"))?;
    let keys = Keys::new(x)?;
    let (outer, inner) =
        (x.shape[..axis].iter().product::<usize>(), x.shape[axis + 1..].iter().product::<usize>());
    let size = x.dtype.size();
    let mut shape = x.shape.clone();
    shape[axis] = k;
    let mut values = Tensor::zeros(x.dtype, shape.clone());
    let mut indices = vec![0i64; outer * k * inner];
    let mut order: Vec<usize> = Vec::with_capacity(length);
    for row in (0..outer).flat_map(|outer| (0..inner).map(move |inner| (outer, inner))) {
        let at = |index: usize| (row.0 * length + index) * inner + row.1;
        let compare = |&a: &usize, &b: &usize| {
            let order = keys.compare(at(a), at(b));
            (if largest { order.reverse() } else { order }).then(a.cmp(&b))
        };
        order.clear();
        order.extend(0..length);
        if k > 0 && k < length {
            order.select_nth_unstable_by(k - 1, compare);
        }
        order.truncate(k);
        order.sort_unstable_by(compare);
        for (rank, &index) in order.iter().enumerate() {
            let to = (row.0 * k + rank) * inner + row.1;
            indices[to] = index as i64;
            let from = at(index) * size;
            values.bytes_mut()[to * size..(to + 1) * size].copy_from_slice(&x.bytes[from..from + size]);
        }
    }
    Ok(vec![values, Tensor::from_slice(shape, &indices)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::View;
    use serde_json::{Value, json};

    fn run(x: &Tensor, k: i64, attrs: Value) -> Result<Vec<Tensor>, String> {
        let k = Tensor::from_slice([1], &[k]);
        let view = |t: &Tensor| (t.dtype(), t.shape().to_vec());
        let ((dtype, shape), (k_dtype, k_shape)) = (view(x), view(&k));
        let inputs = [
            View { dtype, shape, bytes: x.bytes() },
            View { dtype: k_dtype, shape: k_shape, bytes: k.bytes() },
        ];
        topk(&Call { inputs: &inputs, attrs: &attrs, outputs: &[] })
    }

    #[test]
    fn greatest_and_least() {
        let x = Tensor::from_slice([2, 4], &[1.0f32, 3.0, 2.0, 3.0, 0.0, f32::NAN, -1.0, 5.0]);
        let found = run(&x, 2, json!({})).unwrap();
        assert_eq!(found[1], Tensor::from_slice([2, 2], &[1i64, 3, 1, 3]));
        assert_eq!(found[0].to_f64s()[..2], [3.0, 3.0]);
        let least = run(&x, 1, json!({"axis": 0, "largest": false})).unwrap();
        assert_eq!(least[1].to_i64s(), [1, 0, 1, 0]);
        assert_eq!(run(&x, 0, json!({})).unwrap()[0].shape(), [2, 0]);
        let inputs = [View { dtype: x.dtype(), shape: vec![2, 4], bytes: x.bytes() }];
        let outputs = [Some(vec![2, 2]), Some(vec![2, 2])];
        let by_shape = topk(&Call { inputs: &inputs, attrs: &Value::Null, outputs: &outputs }).unwrap();
        assert_eq!(by_shape[1], found[1]);
        assert!(run(&x, 5, json!({})).is_err());
        assert!(run(&x, 1, json!({"axis": 2})).is_err());
    }

    #[test]
    fn large_integers_stay_exact() {
        let x = Tensor::from_slice([2], &[u64::MAX - 1, u64::MAX]);
        assert_eq!(run(&x, 1, json!({})).unwrap()[1].to_i64s(), [1]);
    }
}
