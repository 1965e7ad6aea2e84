//! What prepares features: scaling, normalizing, thresholds, missing values, one-hot vectors, joining, choosing.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::{matches, one, singles, texts_or_ints};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    one("ArrayFeatureExtractor", extractor),
    one("Binarizer", binarizer),
    one("FeatureVectorizer", vectorizer),
    one("Imputer", imputer),
    one("Normalizer", normalizer),
    one("OneHotEncoder", one_hot),
    one("Scaler", scaler),
];

/// The elements of the last axis at these indices.
fn extractor(cx: &mut Context) -> Built {
    let (x, indices) = (cx.operand(0)?, cx.operand(1)?);
    let x = if cx.rank(x) == 1 { cx.unsqueeze(x, &[0])? } else { x };
    let Some(last) = cx.rank(x).checked_sub(1) else { return invalid("a scalar has no features") };
    let count = Dim::product(&cx.shape(indices));
    let indices = cx.reshape(indices, vec![count])?;
    cx.add(Op::Gather { axis: last as i64 }, &[x, indices])
}

/// 1 above the threshold, else 0.
fn binarizer(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let threshold = cx.float("threshold", 0.0)?;
    let threshold = cx.like(x, threshold);
    let above = cx.gt(x, threshold)?;
    let dtype = cx.dtype(x);
    cx.cast(above, dtype)
}

/// All operands side by side, each cut or filled with zeros to its number of features.
fn vectorizer(cx: &mut Context) -> Built {
    let operands = cx.operands()?;
    let widths = cx.ints("inputdimensions")?.unwrap_or_default();
    if operands.is_empty() || operands.len() != widths.len() {
        return invalid(format!("{} operands of {} widths", operands.len(), widths.len()));
    }
    let mut parts = Vec::new();
    for (x, width) in operands.into_iter().zip(widths) {
        let x = cx.cast(x, DType::F32)?;
        let shape = cx.shape(x);
        let rows = if shape.len() < 2 { Dim::ONE } else { shape[0].clone() };
        let columns = Dim::product(&shape[usize::from(shape.len() > 1)..]);
        let x = cx.reshape(x, vec![rows, columns.clone()])?;
        let Some(has) = columns.known().filter(|_| width >= 0) else {
            return unsupported("features whose number only the run knows");
        };
        let x = cx.slice_axis(x, 1, Dim::ZERO, Dim::from(has.min(width)), 1)?;
        parts.push(if has < width {
            let (zero, after) = (cx.scalar(DType::F32, 0.0), vec![Dim::ZERO, Dim::from(width - has)]);
            let mode = sardonyx_ir::ops::attribute::PadMode::Constant;
            cx.add(Op::Pad { before: vec![Dim::ZERO; 2], after, mode }, &[x, zero])?
        } else {
            x
        });
    }
    cx.concat(&parts, 1)
}

/// Given values in the place of one that stands for "missing".
fn imputer(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let dtype = cx.dtype(x);
    let (values, missing) = if dtype.is_float() {
        (singles(cx, "imputed_value_floats")?, cx.float("replaced_value_float", 0.0)?)
    } else {
        let values = cx.ints("imputed_value_int64s")?.unwrap_or_default();
        (values.into_iter().map(|v| v as f64).collect(), cx.int("replaced_value_int64", 0)? as f64)
    };
    let width = cx.shape(x).last().and_then(Dim::known);
    if values.is_empty() || (values.len() > 1 && width != Some(values.len() as i64)) {
        return invalid(format!("{} values for features of {}", values.len(), cx.ty(x)));
    }
    let values = cx.constant(Tensor::from_f64s(dtype, [values.len()], values));
    let holds = if missing.is_nan() {
        cx.add(Op::IsNan {}, &[x])?
    } else {
        let missing = cx.like(x, missing);
        cx.eq(x, missing)?
    };
    cx.select(holds, values, x)
}

/// Rows over their maximum, or their first or second norm; rows where that is 0 stay.
fn normalizer(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let x = cx.cast(x, DType::F32)?;
    let axis = match cx.rank(x) {
        1 => 0,
        2 => 1,
        _ => return unsupported(format!("rows of {}", cx.ty(x))),
    };
    let norm = match cx.string("norm", "MAX")?.as_str() {
        "MAX" => cx.reduce_max(x, &[axis])?,
        "L1" => {
            let size = cx.abs(x)?;
            cx.reduce_sum(size, &[axis])?
        }
        "L2" => {
            let square = cx.times(x, x)?;
            let sum = cx.reduce_sum(square, &[axis])?;
            cx.sqrt(sum)?
        }
        other => return invalid(format!("norm `{other}`")),
    };
    let zero = cx.like(x, 0.0);
    let one = cx.like(x, 1.0);
    let none = cx.eq(norm, zero)?;
    let norm = cx.select(none, one, norm)?;
    cx.over(x, norm)
}

/// 1 at the place of the category, 0 elsewhere. An unknown category is all 0, also without `zeros`, where ONNX
/// Runtime stops.
fn one_hot(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let keys = texts_or_ints(cx, "cats_strings", "cats_int64s")?;
    if keys.is_empty() {
        return invalid("there are no categories");
    }
    let x = if cx.dtype(x) == DType::String { x } else { cx.cast(x, DType::I64)? };
    let keys = cx.constant(keys);
    let found: Value = matches(cx, x, keys)?;
    cx.cast(found, DType::F32)
}

/// `(x - offset) * scale`.
fn scaler(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let x = cx.cast(x, DType::F32)?;
    let (offset, scale) = (singles(cx, "offset")?, singles(cx, "scale")?);
    let width = cx.shape(x).last().and_then(Dim::known);
    let fits = |list: &[f64]| list.len() == 1 || width == Some(list.len() as i64);
    if offset.len() != scale.len() || !fits(&offset) {
        return invalid(format!("{} offsets and {} scales for {}", offset.len(), scale.len(), cx.ty(x)));
    }
    let list = |v: Vec<f64>| Tensor::from_f64s(DType::F32, [v.len()], v);
    let (offset, scale) = (cx.constant(list(offset)), cx.constant(list(scale)));
    let moved = cx.minus(x, offset)?;
    cx.times(moved, scale)
}
