//! Labels of classes: pairs of keys and values that are numbers or texts.
//!
//! Numbers become numbers in the ops of ONNX's own operators, on every target; a [`Op::Lookup`] has texts on
//! one of its sides.
use super::super::super::context::{Built, Context};
use super::super::super::error::invalid;
use super::super::{Import, Row};
use super::{matches, one, singles};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    one("CategoryMapper", categories),
    one("LabelEncoder", classes),
    Row { domain: "ai.onnx.ml", name: "LabelEncoder", since: 2, import: Import::One(encoder) },
];

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

/// From version 2 on: the value whose key an element is, the first of equal keys.
fn encoder(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (keys, values) = (list(cx, "keys")?, list(cx, "values")?);
    let count = keys.len();
    if count != values.len() || count == 0 || keys.dtype() != cx.dtype(x) {
        let (dtype, of, ty) = (keys.dtype(), values.len(), cx.ty(x));
        return invalid(format!("{count} keys of type {dtype} and {of} values for {ty}"));
    }
    let default = default(cx, values.dtype())?;
    let numbers = keys.dtype() != DType::String && values.dtype() != DType::String;
    let [keys, values, default]: [Value; 3] = [keys, values, default].map(|t| cx.constant(t));
    if !numbers {
        return cx.add(Op::Lookup {}, &[x, keys, values, default]);
    }
    let default = cx.unsqueeze(default, &[0])?;
    let values = cx.concat(&[values, default], 0)?;
    // NaN is a key from version 4 on.
    let found = if cx.opset < 4 {
        let wide = cx.unsqueeze(x, &[cx.rank(x)])?;
        cx.eq(wide, keys)?
    } else {
        matches(cx, x, keys)?
    };
    let places: Vec<i64> = (0..count as i64).collect();
    let (places, behind) = (cx.int_list(&places), cx.int_scalar(count as i64));
    let place = cx.select(found, places, behind)?;
    let rank = cx.rank(x);
    let first = cx.add(Op::ReduceMin { axes: vec![rank as i64] }, &[place])?;
    let first = cx.squeeze(first, &[rank])?;
    cx.add(Op::Gather { axis: 0 }, &[values, first])
}

/// One side of the table, in any of the attributes that may hold it.
fn list(cx: &mut Context, what: &str) -> Built<Tensor> {
    let name = |kind: &str| format!("{what}_{kind}");
    if let Some(t) = cx.tensor(&name("tensor"))? {
        let count = t.len();
        return Ok(t.reshaped([count]));
    }
    if let Some(texts) = cx.strings(&name("strings"))? {
        return Ok(Tensor::from_texts([texts.len()], &texts));
    }
    if let Some(ints) = cx.ints(&name("int64s"))? {
        return Ok(Tensor::from_slice([ints.len()], &ints));
    }
    if cx.has(&name("floats")) {
        let values = singles(cx, &name("floats"))?;
        return Ok(Tensor::from_f64s(DType::F32, [values.len()], values));
    }
    invalid(format!("there are no {what}"))
}

/// What an element gives that is no key.
fn default(cx: &mut Context, dtype: DType) -> Built<Tensor> {
    if let Some(t) = cx.tensor("default_tensor")? {
        return if t.len() == 1 && t.dtype() == dtype {
            Ok(t.reshaped([]))
        } else {
            invalid(format!("a default of type {} and {} elements", t.dtype(), t.len()))
        };
    }
    let value = match dtype {
        DType::String => return Ok(Tensor::from_texts([], &[cx.string("default_string", "_Unused")?])),
        DType::F32 => cx.float("default_float", -0.0)?,
        DType::I64 => return Ok(Tensor::scalar(cx.int("default_int64", -1)?)),
        DType::F64 => 0.0,
        _ => -1.0,
    };
    Ok(Tensor::from_f64s(dtype, [], [value]))
}
