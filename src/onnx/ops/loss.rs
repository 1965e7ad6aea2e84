//! Losses.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("NegativeLogLikelihoodLoss", 12, |cx| {
        let (x, target, weight) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
        negative_log_likelihood(cx, x, target, weight)
    }),
    many("SoftmaxCrossEntropyLoss", 12, |cx| {
        let (x, target, weight) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
        let log = cx.add(Op::LogSoftmax { axis: 1 }, &[x])?;
        Ok(vec![negative_log_likelihood(cx, log, target, weight)?, log])
    }),
];

/// `-weight[target] * x[:, target]`, reduced as the node says. Ignored targets count for nothing.
fn negative_log_likelihood(cx: &mut Context, x: Value, target: Value, weight: Option<Value>) -> Built {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let Some(classes) = shape.get(1).cloned() else { return invalid(format!("{} has no classes", cx.ty(x))) };
    let target = cx.cast(target, DType::I64)?;
    let target = cx.unsqueeze(target, &[1])?;
    let kept = match cx.int_if("ignore_index")? {
        Some(ignored) => {
            let ignored = cx.int_scalar(ignored);
            let same = cx.eq(target, ignored)?;
            Some(cx.not(same)?)
        }
        None => None,
    };
    let index = match kept {
        Some(kept) => {
            let zero = cx.int_scalar(0);
            cx.select(kept, target, zero)?
        }
        None => target,
    };
    let chosen = cx.add(Op::GatherElements { axis: 1 }, &[x, index])?;
    let weights = class_weights(cx, weight, &classes, dtype, index, kept)?;
    let loss = cx.neg(chosen)?;
    let loss = match weights {
        Some(w) => cx.times(loss, w)?,
        None => loss,
    };
    let loss = cx.squeeze(loss, &[1])?;
    let axes: Vec<usize> = (0..cx.rank(loss)).collect();
    match cx.string("reduction", "mean")?.as_str() {
        "none" => Ok(loss),
        "sum" => {
            let sum = cx.reduce_sum(loss, &axes)?;
            cx.as_scalar(sum)
        }
        "mean" => match weights {
            None => {
                let mean = cx.reduce_mean(loss, &axes)?;
                cx.as_scalar(mean)
            }
            Some(w) => {
                let all: Vec<usize> = (0..cx.rank(w)).collect();
                let (sum, total) = (cx.reduce_sum(loss, &axes)?, cx.reduce_sum(w, &all)?);
                let (sum, total) = (cx.as_scalar(sum)?, cx.as_scalar(total)?);
                cx.over(sum, total)
            }
        },
        other => invalid(format!("unknown reduction `{other}`")),
    }
}

/// The weight of every target; `None` where all are one.
fn class_weights(
    cx: &mut Context,
    weight: Option<Value>,
    classes: &Dim,
    dtype: DType,
    index: Value,
    kept: Option<Value>,
) -> Built<Option<Value>> {
    let given = match weight {
        Some(w) => {
            let w = cx.cast(w, dtype)?;
            let w = cx.reshape(w, vec![classes.clone()])?;
            Some(cx.add(Op::Gather { axis: 0 }, &[w, index])?)
        }
        None => None,
    };
    Ok(match (given, kept) {
        (given, None) => given,
        (None, Some(kept)) => Some(cx.cast(kept, dtype)?),
        (Some(w), Some(kept)) => {
            let zero = cx.like(w, 0.0);
            Some(cx.select(kept, w, zero)?)
        }
    })
}
