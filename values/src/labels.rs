//! Looking values up by keys.

use sardonyx_tensor::{DType, Tensor};
use std::collections::HashMap;
use std::hash::Hash;

/// For each element of `x` the element of `values` at the place of the first equal key, or `default` (one element)
/// where no key is equal. NaN is equal to NaN.
///
/// # Errors
/// When there are not as many keys as values, or not one default.
pub fn lookup(x: &Tensor, keys: &Tensor, values: &Tensor, default: &Tensor) -> Result<Tensor, String> {
    if keys.len() != values.len() || default.len() != 1 {
        let (keys, values, defaults) = (keys.len(), values.len(), default.len());
        return Err(format!("{keys} keys for {values} values, {defaults} defaults"));
    }
    let places = match x.dtype() {
        DType::String => places(&x.texts(), &keys.texts()),
        dtype if dtype.is_float() => places(&floats(x), &floats(keys)),
        _ => places(&x.to_i128s(), &keys.to_i128s()),
    };
    // All values, then the default.
    let all = Tensor::joined(values.dtype(), [values.len() + 1], &[values.clone(), default.clone()])
        .map_err(|error| error.to_string())?;
    let width = all.dtype().size();
    let bytes: Vec<u8> = places
        .into_iter()
        .map(|place| place.unwrap_or(values.len()))
        .flat_map(|place| all.bytes()[place * width..(place + 1) * width].iter().copied())
        .collect();
    let found = Tensor::new(all.dtype(), x.shape(), bytes).map_err(|error| error.to_string())?;
    Ok(match all.heap() {
        Some(heap) => found.with_heap(heap.clone()),
        None => found,
    })
}

fn places<K: Hash + Eq>(x: &[K], keys: &[K]) -> Vec<Option<usize>> {
    let mut first = HashMap::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        first.entry(key).or_insert(place);
    }
    x.iter().map(|element| first.get(element).copied()).collect()
}

/// Floats by bits that are equal where the numbers are.
fn floats(x: &Tensor) -> Vec<u64> {
    let bits = |x: f64| if x.is_nan() { f64::NAN } else { x + 0.0 }.to_bits();
    x.to_f64s().into_iter().map(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_keys_of_any_type() {
        let texts = Tensor::from_texts([2, 2], &["b", "a", "", "b"]);
        let keys = Tensor::from_texts([3], &["a", "b", "a"]);
        let values = Tensor::from_slice([3], &[1.5f32, 2.5, 3.5]);
        let found = lookup(&texts, &keys, &values, &Tensor::scalar(-1.0f32)).expect("three pairs");
        assert_eq!(found, Tensor::from_slice([2, 2], &[2.5f32, 1.5, -1.0, 2.5]));

        let numbers = Tensor::from_slice([3], &[f64::NAN, -0.0, 7.0]);
        let keys = Tensor::from_slice([2], &[0.0, f64::NAN]);
        let words = Tensor::from_texts([2], &["zero", "none"]);
        let found = lookup(&numbers, &keys, &words, &Tensor::from_texts([], &["?"])).expect("two pairs");
        assert_eq!(found.texts(), ["none", "zero", "?"]);
        assert!(lookup(&numbers, &keys, &words, &words).is_err());
    }
}
