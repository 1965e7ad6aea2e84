//! Labels of classes (ai.onnx.ml).
use super::super::context::{Built, Context};
use super::super::error::{Fault, invalid};
use super::{Import, Row};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] =
    &[one("CategoryMapper", 1, categories), one("LabelEncoder", 1, classes), one("LabelEncoder", 2, encoder)];

const fn one(name: &'static str, since: i64, f: fn(&mut Context) -> Built) -> Row {
    Row { domain: "ai.onnx.ml", name, since, import: Import::One(f) }
}

/// Pairs of a text and an integer, read in the direction that the operand asks for.
fn categories(cx: &mut Context) -> Built {
    let texts = cx.strings("cats_strings")?.ok_or("the attribute `cats_strings` is missing")?;
    let numbers = cx.ints("cats_int64s")?.ok_or("the attribute `cats_int64s` is missing")?;
    translated(cx, &texts, &numbers)
}

/// Version 1: texts become their places among the classes, or places texts.
fn classes(cx: &mut Context) -> Built {
    let classes = cx.strings("classes_strings")?.ok_or("the attribute `classes_strings` is missing")?;
    let places: Vec<i64> = (0..classes.len() as i64).collect();
    translated(cx, &classes, &places)
}

/// Texts as the numbers at their places, or numbers as texts.
fn translated(cx: &mut Context, texts: &[String], numbers: &[i64]) -> Built {
    if texts.len() != numbers.len() {
        return invalid(format!("{} texts for {} numbers", texts.len(), numbers.len()));
    }
    let (x, texts, numbers) = (cx.operand(0)?, cx.text_list(texts), cx.int_list(numbers));
    if cx.dtype(x) == DType::String {
        let default = cx.int("default_int64", -1)?;
        let default = cx.int_scalar(default);
        return cx.add(Op::Lookup {}, &[x, texts, numbers, default]);
    }
    let default = cx.string("default_string", "_Unused")?;
    let default = cx.text(&default);
    cx.add(Op::Lookup {}, &[x, numbers, texts, default])
}

/// From version 2 on: pairs of keys and values of any types.
fn encoder(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let keys = listed(cx, "keys")?;
    let values = listed(cx, "values")?;
    let default = default(cx, values.dtype())?;
    if keys.len() != values.len() {
        return invalid(format!("{} keys for {} values", keys.len(), values.len()));
    }
    let operands = [keys, values, default].map(|t| cx.constant(t));
    let [keys, values, default]: [Value; 3] = operands;
    cx.add(Op::Lookup {}, &[x, keys, values, default])
}

/// The list in the attributes `{what}_strings`, `_int64s`, `_floats` or `_tensor`.
fn listed(cx: &mut Context, what: &str) -> Built<Tensor> {
    if let Some(all) = cx.strings(&format!("{what}_strings"))? {
        return Ok(Tensor::from_texts([all.len()], &all));
    }
    if let Some(all) = cx.ints(&format!("{what}_int64s"))? {
        return Ok(Tensor::from_slice([all.len()], &all));
    }
    if let Some(all) = cx.floats(&format!("{what}_floats"))? {
        return Ok(Tensor::from_f64s(DType::F32, [all.len()], all));
    }
    match cx.tensor(&format!("{what}_tensor"))? {
        Some(t) => {
            let count = t.len();
            Ok(t.reshaped([count]))
        }
        None => Err(Fault::Invalid(format!("there are no {what}"))),
    }
}

/// The value of what is no key.
fn default(cx: &mut Context, dtype: DType) -> Built<Tensor> {
    if let Some(t) = cx.tensor("default_tensor")? {
        if t.len() != 1 || t.dtype() != dtype {
            return invalid(format!("default_tensor is {}{:?} for values of {dtype}", t.dtype(), t.shape()));
        }
        return Ok(t.reshaped([]));
    }
    Ok(match dtype {
        DType::String => Tensor::from_texts([], &[cx.string("default_string", "_Unused")?]),
        t if t.is_float() => Tensor::from_f64s(t, [], [cx.float("default_float", -0.0)?]),
        t => Tensor::from_i64s(t, [], [cx.int("default_int64", -1)?]),
    })
}
