//! Operations on texts: the functions of `sardonyx_values`, with their attributes.
//!
//! `text_concat(a, b)`, `text_split(x, delimiter) {most}`, `text_match(x, pattern)`,
//! `text_normalize(x, stops) {case, exact}`, `text_of(x)`, `number_of(x) {to}`, `lookup(x, keys, values, default)`.

use serde_json::Value;

use sardonyx_tensor::{DType, Tensor};
use sardonyx_values as values;

use super::{Whole, at};

/// All operations of this file, by name.
pub(super) const OPS: &[(&str, Whole)] = &[
    ("lookup", |x, _| Ok(vec![values::lookup(at(x, 0)?, at(x, 1)?, at(x, 2)?, at(x, 3)?)?])),
    ("number_of", number_of),
    ("text_concat", |x, _| Ok(vec![values::concat(at(x, 0)?, at(x, 1)?)?])),
    ("text_match", |x, _| Ok(vec![values::matches(at(x, 0)?, &text(x, 1)?)?])),
    ("text_normalize", normalize),
    ("text_of", |x, _| Ok(vec![values::print(at(x, 0)?)])),
    ("text_split", split),
];

/// The first text of an input.
fn text(x: &[Tensor], index: usize) -> Result<String, String> {
    let text = at(x, index)?.texts().first().map(|text| text.to_string());
    text.ok_or_else(|| format!("input {index} is empty"))
}

fn number_of(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let to = attrs.get("to").and_then(Value::as_str).and_then(|name| name.parse::<DType>().ok());
    let to = to.filter(|to| !to.is_reference()).ok_or("attribute `to` should be an element type")?;
    Ok(vec![values::parse(at(x, 0)?, to)?])
}

fn normalize(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let case = attrs.get("case").and_then(Value::as_str).and_then(values::Case::named);
    let exact = attrs.get("exact").and_then(Value::as_bool);
    let (case, exact) = case.zip(exact).ok_or("attributes `case` and `exact` are needed")?;
    Ok(vec![values::normalize(at(x, 0)?, at(x, 1)?, case, exact)?])
}

fn split(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let most = attrs.get("most").and_then(Value::as_i64).ok_or("attribute `most` should be an integer")?;
    Ok(values::split(at(x, 0)?, &text(x, 1)?, most).into())
}
