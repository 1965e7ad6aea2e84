//! Operators of the domain `ai.onnx.ml`, classical machine learning. They are written out in the ops that ONNX's
//! own operators become; only ensembles of trees and the making of maps are ops of their own.
//!
//! Where ONNX's text is silent or ONNX Runtime does otherwise, what its CPU provider computes holds
//! (`tests/contrib.rs`).
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Import, Row};
use sardonyx_ir::Value;
use sardonyx_tensor::{DType, Tensor};

mod ensembles;
mod features;
mod labels;
mod linear;
mod maps;
mod scores;
mod svm;
mod trees;

/// The files' rows.
pub(super) static GROUPS: &[&[Row]] =
    &[ensembles::ROWS, features::ROWS, labels::ROWS, linear::ROWS, maps::ROWS, svm::ROWS];

/// An operator with one result.
const fn one(name: &'static str, f: fn(&mut Context) -> Built) -> Row {
    Row { domain: "ai.onnx.ml", name, since: 1, import: Import::One(f) }
}
/// An operator with several results.
const fn many(name: &'static str, f: fn(&mut Context) -> Built<Vec<Value>>) -> Row {
    Row { domain: "ai.onnx.ml", name, since: 1, import: Import::Many(f) }
}

/// A list of singles as a constant of this shape and type.
fn table(cx: &mut Context, name: &str, dtype: DType, shape: &[usize]) -> Built {
    let values = singles(cx, name)?;
    if values.len() != shape.iter().product::<usize>() {
        return invalid(format!("`{name}` holds {} numbers, not {shape:?}", values.len()));
    }
    Ok(cx.constant(Tensor::from_f64s(dtype, shape.to_vec(), values)))
}

/// The numbers of an attribute, exactly as the file holds them; none where it is absent.
fn singles(cx: &Context, name: &str) -> Built<Vec<f64>> {
    Ok(cx.floats(name)?.unwrap_or_default().into_iter().map(|x| f64::from(x as f32)).collect())
}

/// Operand 0 as rows of features, and their number, which must be known. A tensor of one dimension is one row.
fn rows(cx: &mut Context, dtype: DType) -> Built<(Value, usize)> {
    let x = cx.operand(0)?;
    let x = cx.cast(x, dtype)?;
    let shape = cx.shape(x);
    let x = match &shape[..] {
        [_] => cx.unsqueeze(x, &[0])?,
        [_, _] => x,
        _ => return invalid(format!("{} are no rows of features", cx.ty(x))),
    };
    match cx.shape(x)[1].known().map(usize::try_from) {
        Some(Ok(width)) => Ok((x, width)),
        _ => unsupported("a number of features that only the run knows"),
    }
}

/// The list of texts or integers in one of two attributes; an empty one is as none.
fn texts_or_ints(cx: &Context, texts: &str, ints: &str) -> Built<Tensor> {
    match cx.strings(texts)?.filter(|all| !all.is_empty()) {
        Some(all) => Ok(Tensor::from_texts([all.len()], &all)),
        None => {
            let all = cx.ints(ints)?.unwrap_or_default();
            Ok(Tensor::from_slice([all.len()], &all))
        }
    }
}

/// The names of the classes, `classlabels_strings` or the integers in the attribute `ints`.
fn class_labels(cx: &Context, ints: &str) -> Built<Tensor> {
    texts_or_ints(cx, "classlabels_strings", ints)
}

/// The places where `x` equals each of the constants, `[…, count]`; NaN equals NaN.
fn matches(cx: &mut Context, x: Value, keys: Value) -> Built {
    let wide = cx.unsqueeze(x, &[cx.rank(x)])?;
    let equal = cx.eq(wide, keys)?;
    let nan =
        cx.constant_of(keys).is_some_and(|t| t.dtype().is_float() && t.to_f64s().iter().any(|k| k.is_nan()));
    if !nan {
        return Ok(equal);
    }
    let both = [wide, keys].map(|v| cx.add(sardonyx_ir::Op::IsNan {}, &[v]));
    let [a, b] = both;
    let nan = cx.and(a?, b?)?;
    cx.add(sardonyx_ir::Op::Or {}, &[equal, nan])
}
