//! Operations on texts and pictures: the functions of `sardonyx_values`, with their attributes.
//!
//! `image_decode(bytes) {form}`, `text_concat(a, b)`, `text_split(x, delimiter) {most}`, `text_match(x, pattern)`,
//! `text_normalize(x, stops) {case, exact}`, `text_of(x)`, `text_tokens(x, patterns, pad) {between, least, mark}`, `time_warp(costs)`, `number_of(x) {to}`, `lookup(x, keys, values, default)`.

use serde_json::Value;

use sardonyx_tensor::{DType, Tensor};
use sardonyx_values as values;

use super::{Whole, at};

/// All operations of this file, by name.
pub(super) const OPS: &[(&str, Whole)] = &[
    ("image_decode", image),
    ("lookup", |x, _| Ok(vec![values::lookup(at(x, 0)?, at(x, 1)?, at(x, 2)?, at(x, 3)?)?])),
    ("number_of", number_of),
    ("text_concat", |x, _| Ok(vec![values::concat(at(x, 0)?, at(x, 1)?)?])),
    ("text_match", |x, _| Ok(vec![values::matches(at(x, 0)?, &text(x, 1)?)?])),
    ("text_normalize", normalize),
    ("text_of", |x, _| Ok(vec![values::print(at(x, 0)?)])),
    ("text_split", split),
    ("text_tokens", tokens),
    ("time_warp", |x, _| Ok(vec![values::time_warp(at(x, 0)?)?])),
];

/// The first text of an input.
fn text(x: &[Tensor], index: usize) -> Result<String, String> {
    let text = at(x, index)?.texts().first().map(|text| text.to_string());
    text.ok_or_else(|| format!("input {index} is empty"))
}

fn image(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let form = attrs.get("form").and_then(Value::as_str).and_then(values::Pixels::named);
    Ok(vec![values::decode_image(at(x, 0)?, form.ok_or("attribute `form` should be a form of pixels")?)?])
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

fn tokens(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let flag = |name: &str| attrs.get(name).and_then(Value::as_bool);
    let least = attrs.get("least").and_then(Value::as_i64).map(|least| usize::try_from(least).unwrap_or(0));
    let how = flag("between").zip(flag("mark")).zip(least);
    let ((between, mark), least) = how.ok_or("attributes `between`, `least` and `mark` are needed")?;
    let how = values::Tokens { between, least, mark };
    Ok(vec![values::tokens(at(x, 0)?, &at(x, 1)?.texts(), &text(x, 2)?, how)?])
}

fn split(x: &[Tensor], attrs: &Value) -> Result<Vec<Tensor>, String> {
    let most = attrs.get("most").and_then(Value::as_i64).ok_or("attribute `most` should be an integer")?;
    Ok(values::split(at(x, 0)?, &text(x, 1)?, most).into())
}
