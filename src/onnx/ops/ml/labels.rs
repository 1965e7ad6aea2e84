//! LabelEncoder from numbers to numbers.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::{matches, one, singles};
use sardonyx_ir::Op;
use sardonyx_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[one("LabelEncoder", encoder)];

/// One side of the table: a list of numbers, in any of the attributes that may hold it.
fn list(cx: &mut Context, what: &str) -> Built<Tensor> {
    let name = |kind: &str| format!("{what}_{kind}");
    if let Some(t) = cx.tensor(&name("tensor"))? {
        return Ok(t.reshaped([t.len()]));
    }
    if let Some(ints) = cx.ints(&name("int64s"))? {
        return Ok(Tensor::from_slice([ints.len()], &ints));
    }
    if cx.has(&name("floats")) {
        let values = singles(cx, &name("floats"))?;
        return Ok(Tensor::from_f64s(DType::F32, [values.len()], values));
    }
    unsupported(format!("{what} that are texts"))
}

/// What a number gives that is no key.
fn default(cx: &mut Context, dtype: DType) -> Built<Tensor> {
    if let Some(t) = cx.tensor("default_tensor")? {
        return if t.len() == 1 && t.dtype() == dtype {
            Ok(t.reshaped([1]))
        } else {
            invalid(format!("a default of type {} and {} elements", t.dtype(), t.len()))
        };
    }
    let value = match dtype {
        DType::F32 => cx.float("default_float", -0.0)?,
        DType::I64 => return Ok(Tensor::from_slice([1], &[cx.int("default_int64", -1)?])),
        DType::F64 => 0.0,
        _ => -1.0,
    };
    Ok(Tensor::from_f64s(dtype, [1], [value]))
}

/// The value whose key an element is, the first of equal keys.
fn encoder(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (keys, values) = (list(cx, "keys")?, list(cx, "values")?);
    if keys.len() != values.len() || keys.is_empty() || keys.dtype() != cx.dtype(x) {
        return invalid(format!(
            "{} keys of type {} and {} values for {}",
            keys.len(),
            keys.dtype(),
            values.len(),
            cx.ty(x)
        ));
    }
    let count = keys.len();
    let default = default(cx, values.dtype())?;
    let (values, default) = (cx.constant(values), cx.constant(default));
    let values = cx.concat(&[values, default], 0)?;
    let keys = cx.constant(keys);
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
