//! `nonzero(x) -> i64[rank, n]`: the indices of the elements that are not zero, in row-major order.

use sardonyx_tensor::Tensor;

use super::Call;

pub(super) fn nonzero(call: &Call) -> Result<Vec<Tensor>, String> {
    let x = call.input(0)?.to_tensor()?;
    // Minus zero is zero, which its bytes do not say.
    let values = x.to_f64s();
    let found: Vec<usize> = (0..values.len()).filter(|&index| values[index] != 0.0).collect();
    let mut indices = Vec::with_capacity(x.rank() * found.len());
    for (&dim, stride) in x.shape().iter().zip(x.strides()) {
        indices.extend(found.iter().map(|&index| (index / stride % dim) as i64));
    }
    Ok(vec![Tensor::from_slice([x.rank(), found.len()], &indices)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::View;
    use serde_json::Value;

    #[test]
    fn indices_by_dimension() {
        let x = Tensor::from_slice([2, 3], &[0.0f32, 1.0, f32::NAN, -0.0, 0.0, 2.0]);
        let inputs = [View { dtype: x.dtype(), shape: vec![2, 3], bytes: x.bytes() }];
        let found = nonzero(&Call { inputs: &inputs, attrs: &Value::Null, outputs: &[None] }).unwrap();
        assert_eq!(found, [Tensor::from_slice([2, 3], &[0i64, 0, 1, 1, 2, 2])]);
    }
}
