//! Softmax and normalizations.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::conv::lp_norm;
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    many("BatchNormalization", 1, batch),
    one("GroupNormalization", 18, group),
    one("Hardmax", 1, |cx| flattened(cx, hard_max)),
    one("Hardmax", 13, |cx| {
        let (x, axis) = axis_of(cx)?;
        hard_max(cx, x, axis)
    }),
    one("InstanceNormalization", 1, instance),
    many("LayerNormalization", 17, layer),
    one("LRN", 1, lrn),
    one("LogSoftmax", 1, |cx| flattened(cx, log_softmax)),
    one("LogSoftmax", 13, |cx| {
        let (x, axis) = axis_of(cx)?;
        log_softmax(cx, x, axis)
    }),
    one("LpNormalization", 1, lp),
    one("MeanVarianceNormalization", 9, mean_variance),
    one("RMSNormalization", 23, rms),
    one("Softmax", 1, |cx| flattened(cx, softmax)),
    one("Softmax", 13, |cx| {
        let (x, axis) = axis_of(cx)?;
        softmax(cx, x, axis)
    }),
];

fn axis_of(cx: &mut Context) -> Built<(Value, usize)> {
    let x = cx.operand(0)?;
    let axis = cx.axis(x, cx.int("axis", -1)?)?;
    Ok((x, axis))
}

/// Before opset 13: all axes from `axis` on are one.
fn flattened(cx: &mut Context, f: fn(&mut Context, Value, usize) -> Built) -> Built {
    let x = cx.operand(0)?;
    let (shape, axis) = (cx.shape(x), cx.axis(x, cx.int("axis", 1)?)?);
    if axis + 1 == shape.len() {
        return f(cx, x, axis);
    }
    let flat = cx.reshape(x, vec![Dim::product(&shape[..axis]), Dim::product(&shape[axis..])])?;
    let result = f(cx, flat, 1)?;
    cx.reshape(result, shape)
}

fn softmax(cx: &mut Context, x: Value, axis: usize) -> Built {
    cx.add(Op::Softmax { axis: axis as i64 }, &[x])
}

fn log_softmax(cx: &mut Context, x: Value, axis: usize) -> Built {
    cx.add(Op::LogSoftmax { axis: axis as i64 }, &[x])
}

/// One at the first maximum, else zero.
fn hard_max(cx: &mut Context, x: Value, axis: usize) -> Built {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let first = cx.add(Op::ArgMax { axis: axis as i64, last: false }, &[x])?;
    let places = cx.iota(shape[axis].clone(), DType::I64, axis, shape.len())?;
    let hit = cx.eq(first, places)?;
    cx.cast(hit, dtype)
}

fn batch(cx: &mut Context) -> Built<Vec<Value>> {
    let operands = cx.operands()?;
    if operands.len() != 5 {
        return invalid(format!("{} operands", operands.len()));
    }
    let epsilon = cx.float("epsilon", 1e-5)?;
    if cx.opset < 9 && !cx.flag("spatial", true)? {
        return Ok(vec![batch_by_element(cx, &operands, epsilon)?]);
    }
    if !(cx.flag("training_mode", false)? || cx.opset < 14 && cx.wants(1)) {
        return Ok(vec![cx.add(Op::BatchNorm { epsilon }, &operands)?]);
    }
    batch_training(cx, &operands, epsilon)
}

/// Before opset 9: each element of a batch has statistics of its own.
fn batch_by_element(cx: &mut Context, operands: &[Value], epsilon: f64) -> Built {
    let &[x, scale, bias, mean, var] = operands else { return invalid("five operands") };
    if cx.wants(1) {
        return unsupported("training with spatial = 0");
    }
    let spread = cx.plus_number(var, epsilon)?;
    let factor = cx.add(Op::Rsqrt {}, &[spread])?;
    let away = cx.minus(x, mean)?;
    let factor = cx.times(factor, scale)?;
    let scaled = cx.times(away, factor)?;
    cx.plus(scaled, bias)
}

/// Normalizes by the batch's own statistics, which also move the running ones.
fn batch_training(cx: &mut Context, operands: &[Value], epsilon: f64) -> Built<Vec<Value>> {
    let &[x, scale, bias, mean, var] = operands else { return invalid("five operands") };
    let momentum = cx.float("momentum", 0.9)?;
    let axes: Vec<usize> = (0..cx.rank(x)).filter(|&a| a != 1).collect();
    let center = cx.reduce_mean(x, &axes)?;
    let away = cx.minus(x, center)?;
    let square = cx.times(away, away)?;
    let spread = cx.reduce_mean(square, &axes)?;
    let (center, spread) = (cx.squeeze(center, &axes)?, cx.squeeze(spread, &axes)?);
    let dtype = cx.dtype(mean);
    let (center_out, spread_out) = (cx.cast(center, dtype)?, cx.cast(spread, dtype)?);
    let result = cx.add(Op::BatchNorm { epsilon }, &[x, scale, bias, center_out, spread_out])?;
    let mut results = vec![result];
    for (running, current) in [(mean, center_out), (var, spread_out)] {
        let (old, new) = (cx.times_number(running, momentum)?, cx.times_number(current, 1.0 - momentum)?);
        results.push(cx.plus(old, new)?);
    }
    Ok(results)
}

fn instance(cx: &mut Context) -> Built {
    let epsilon = cx.float("epsilon", 1e-5)?;
    cx.on_all(Op::InstanceNorm { epsilon })
}

fn group(cx: &mut Context) -> Built {
    let (x, scale, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (epsilon, groups) = (cx.float("epsilon", 1e-5)?, cx.int("num_groups", 1)?);
    let channels = cx.shape(x).get(1).cloned().ok_or("a tensor without channels")?;
    let mut parameters = [scale, bias];
    if cx.opset < 21 {
        // Until opset 20 there is one scale and bias a group.
        let size =
            channels.exact_div(&Dim::from(groups)).ok_or("the channels do not divide into the groups")?;
        for v in &mut parameters {
            let column = cx.unsqueeze(*v, &[1])?;
            let wide = cx.expand(column, vec![Dim::from(groups), size.clone()])?;
            *v = cx.reshape(wide, vec![channels.clone()])?;
        }
    }
    cx.add(Op::GroupNorm { groups, epsilon }, &[x, parameters[0], parameters[1]])
}

fn lrn(cx: &mut Context) -> Built {
    let op = Op::Lrn {
        size: cx.int("size", 1)?,
        alpha: cx.float("alpha", 1e-4)?,
        beta: cx.float("beta", 0.75)?,
        bias: cx.float("bias", 1.0)?,
    };
    cx.on_first(op)
}

/// The number of axes from `axis` to the last.
fn trailing(cx: &Context, x: Value) -> Built<usize> {
    Ok(cx.rank(x) - cx.axis(x, cx.int("axis", -1)?)?)
}

fn layer(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, scale, bias) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    let (axes, epsilon) = (trailing(cx, x)?, cx.float("epsilon", 1e-5)?);
    let operands: Vec<Value> = [x, scale].into_iter().chain(bias).collect();
    let mut results = vec![cx.add(Op::LayerNorm { axes: axes as i64, epsilon }, &operands)?];
    if cx.wants(1) || cx.wants(2) {
        let stash = cx.dtype_if("stash_type")?.unwrap_or(DType::F32);
        let (wide, rank) = (cx.cast(x, stash)?, cx.rank(x));
        let axes: Vec<usize> = (rank - axes..rank).collect();
        let mean = cx.reduce_mean(wide, &axes)?;
        let away = cx.minus(wide, mean)?;
        let square = cx.times(away, away)?;
        let variance = cx.reduce_mean(square, &axes)?;
        let variance = cx.plus_number(variance, epsilon)?;
        results.extend([mean, cx.add(Op::Rsqrt {}, &[variance])?]);
    }
    Ok(results)
}

fn rms(cx: &mut Context) -> Built {
    let (x, scale) = (cx.operand(0)?, cx.operand(1)?);
    let (axes, epsilon) = (trailing(cx, x)?, cx.float("epsilon", 1e-5)?);
    let result = cx.add(Op::RmsNorm { axes: axes as i64, epsilon }, &[x, scale])?;
    let to = cx.dtype(scale);
    cx.cast(result, to)
}

fn lp(cx: &mut Context) -> Built {
    let (x, axis) = axis_of(cx)?;
    let p = cx.int("p", 2)? as f64;
    let norm = lp_norm(cx, x, &[axis], p)?;
    let zero = cx.like(x, 0.0);
    let (empty, ratio) = (cx.eq(norm, zero)?, cx.over(x, norm)?);
    cx.select(empty, zero, ratio)
}

fn mean_variance(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let axes = cx.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = cx.axes(cx.rank(x), &axes)?;
    let mean = cx.reduce_mean(x, &axes)?;
    let away = cx.minus(x, mean)?;
    let square = cx.times(away, away)?;
    let variance = cx.reduce_mean(square, &axes)?;
    let deviation = cx.sqrt(variance)?;
    let deviation = cx.plus_number(deviation, 1e-9)?;
    cx.over(away, deviation)
}
