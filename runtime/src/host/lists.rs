//! Operations on lists: the functions of `sardonyx_values`, with their attributes.
//!
//! `list_of(items..)`, `list_at(list, index)`, `list_insert(list, item, index)`, `list_erase(list, index)`,
//! `list_length(list)`, `list_maps(keys, rows)`, `list_concat(list) {axis, stack}`, `list_split(x, sizes) {axis, keep}`.

use serde_json::Value;

use sardonyx_tensor::Tensor;
use sardonyx_values as values;

use super::{Whole, at};

/// All operations of this file, by name.
pub(super) const OPS: &[(&str, Whole)] = &[
    ("list_of", |x, _| Ok(vec![Tensor::from_list(x.to_vec())])),
    ("list_at", |x, _| Ok(vec![values::list_at(at(x, 0)?, at(x, 1)?)?])),
    ("list_insert", |x, _| Ok(vec![values::list_insert(at(x, 0)?, at(x, 1)?, at(x, 2)?)?])),
    ("list_erase", |x, _| Ok(vec![values::list_erase(at(x, 0)?, at(x, 1)?)?])),
    ("list_length", |x, _| Ok(vec![values::list_length(at(x, 0)?)])),
    ("list_maps", |x, _| Ok(vec![values::list_maps(at(x, 0)?, at(x, 1)?)?])),
    ("list_concat", |x, attrs| {
        let (axis, stack) = (axis(attrs)?, flag(attrs, "stack")?);
        Ok(vec![values::list_concat(at(x, 0)?, axis, stack)?])
    }),
    ("list_split", |x, attrs| {
        let (axis, keep) = (axis(attrs)?, flag(attrs, "keep")?);
        Ok(vec![values::list_split(at(x, 0)?, at(x, 1)?, axis, keep)?])
    }),
];

fn axis(attrs: &Value) -> Result<i64, String> {
    Ok(attrs.get("axis").and_then(Value::as_i64).ok_or("attribute `axis` should be an integer")?)
}

fn flag(attrs: &Value, name: &str) -> Result<bool, String> {
    let flag = attrs.get(name).and_then(Value::as_bool);
    flag.ok_or_else(|| format!("attribute `{name}` should be true or false"))
}
