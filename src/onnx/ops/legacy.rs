//! What operators meant before opset 7, where that differs: broadcasting along an axis, training by default.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, many, one, random};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("Add", 1, |cx| aligned(cx, Op::Add {})),
    one("And", 1, |cx| aligned(cx, Op::And {})),
    one("Div", 1, |cx| aligned(cx, Op::Div {})),
    many("Dropout", 1, dropout),
    one("Equal", 1, |cx| aligned(cx, Op::Eq {})),
    one("Greater", 1, |cx| aligned(cx, Op::Gt {})),
    one("Less", 1, |cx| aligned(cx, Op::Lt {})),
    one("Mul", 1, |cx| aligned(cx, Op::Mul {})),
    one("Or", 1, |cx| aligned(cx, Op::Or {})),
    one("Pow", 1, |cx| aligned(cx, Op::Pow {})),
    one("PRelu", 1, prelu),
    one("Reshape", 1, reshape),
    one("Sub", 1, |cx| aligned(cx, Op::Sub {})),
    one("Xor", 1, |cx| aligned(cx, Op::Xor {})),
];

/// The axes of the second operand are those of the first from `axis` on, or its last ones.
fn aligned(cx: &mut Context, op: Op) -> Built {
    let (a, mut b) = (cx.operand(0)?, cx.operand(1)?);
    if cx.flag("broadcast", false)? {
        let (rank, own) = (cx.rank(a), cx.rank(b));
        let axis = match cx.int_if("axis")? {
            Some(axis) => cx.axis(a, axis)?,
            None => rank.saturating_sub(own),
        };
        let Some(behind) = rank.checked_sub(axis + own) else {
            return invalid(format!("{} at axis {axis} of {}", cx.ty(b), cx.ty(a)));
        };
        let mut shape = cx.shape(b);
        shape.extend(vec![Dim::ONE; behind]);
        b = cx.reshape(b, shape)?;
    }
    cx.add(op, &[a, b])
}

/// One slope, or one a channel.
fn prelu(cx: &mut Context) -> Built {
    let (x, slope) = (cx.operand(0)?, cx.operand(1)?);
    let count = cx.ty(slope).elements();
    let slope = match cx.rank(x) {
        0 | 1 => slope,
        _ if count == 1 => cx.as_scalar(slope)?,
        rank => {
            let mut shape = vec![Dim::ONE; rank - 1];
            shape[0] = count;
            cx.reshape(slope, shape)?
        }
    };
    cx.add(Op::Prelu {}, &[x, slope])
}

/// In training unless the attribute says otherwise.
fn dropout(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let shape = cx.shape(x);
    let (test, ratio) = (cx.flag("is_test", false)?, cx.float("ratio", 0.5)?);
    let mut results = if test {
        let on = cx.scalar(DType::Bool, 1.0);
        vec![x, cx.expand(on, shape)?]
    } else {
        let (ratio, training) = (cx.scalar(DType::F32, ratio), cx.scalar(DType::Bool, 1.0));
        random::dropped(cx, x, ratio, training)?
    };
    results[1] = cx.cast(results[1], cx.dtype(x))?;
    Ok(results)
}

/// The shape is an attribute; 0 keeps a size, -1 is what remains.
fn reshape(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let shape = cx.ints("shape")?.ok_or("the attribute `shape` is missing")?;
    let list = cx.int_list(&shape);
    super::shape::reshaped(cx, x, list, false)
}
