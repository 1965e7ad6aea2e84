//! Random numbers. They depend on the seed and on the place in the tensor alone: a program gives the same
//! numbers in every run. A node without a seed gets one of its own, from its name.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, many, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("Bernoulli", 15, bernoulli),
    many("Dropout", 7, dropout),
    one("Multinomial", 7, multinomial),
    one("RandomNormal", 1, |cx| shaped(cx, normal)),
    one("RandomNormalLike", 1, |cx| like(cx, normal)),
    one("RandomUniform", 1, |cx| shaped(cx, uniform)),
    one("RandomUniformLike", 1, |cx| like(cx, uniform)),
];

type Distribution = fn(&mut Context, Vec<Dim>, DType) -> Built;

/// The seed of a node.
fn seed(cx: &Context) -> Built<i64> {
    // Dropout has an integer, all others a number.
    if cx.node.op_type == "Dropout" {
        if let Some(seed) = cx.int_if("seed")? {
            return Ok(seed);
        }
    } else if let Some(seed) = cx.float_if("seed")? {
        return Ok(seed.to_bits() as i64);
    }
    // FNV-1a (Fowler, Noll, Vo) of the name of the first result, which no other node makes.
    let name = cx.node.output.first().map_or("", String::as_str);
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    Ok(hash as i64)
}

/// Numbers in 0…1.
fn unit(cx: &mut Context, shape: Vec<Dim>, to: DType) -> Built {
    let seed = seed(cx)?;
    cx.add(Op::RandomUniform { shape, low: 0.0, high: 1.0, seed, to }, &[])
}

fn uniform(cx: &mut Context, shape: Vec<Dim>, to: DType) -> Built {
    let (low, high, seed) = (cx.float("low", 0.0)?, cx.float("high", 1.0)?, seed(cx)?);
    cx.add(Op::RandomUniform { shape, low, high, seed, to }, &[])
}

fn normal(cx: &mut Context, shape: Vec<Dim>, to: DType) -> Built {
    let (mean, scale, seed) = (cx.float("mean", 0.0)?, cx.float("scale", 1.0)?, seed(cx)?);
    cx.add(Op::RandomNormal { shape, mean, scale, seed, to }, &[])
}

/// Of the shape in the attribute.
fn shaped(cx: &mut Context, make: Distribution) -> Built {
    let shape = cx.ints("shape")?.ok_or("the attribute `shape` is missing")?;
    if shape.iter().any(|&n| n < 0) {
        return invalid(format!("a shape of {shape:?}"));
    }
    let to = cx.dtype_if("dtype")?.unwrap_or(DType::F32);
    make(cx, shape.into_iter().map(Dim::from).collect(), to)
}

/// Of the shape, and unless the attribute says otherwise of the type, of the operand.
fn like(cx: &mut Context, make: Distribution) -> Built {
    let x = cx.operand(0)?;
    let (shape, to) = (cx.shape(x), cx.dtype_if("dtype")?.unwrap_or(cx.dtype(x)));
    make(cx, shape, to)
}

/// 1 with the probability that the operand gives.
fn bernoulli(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let to = cx.dtype_if("dtype")?.unwrap_or(cx.dtype(x));
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let chance = unit(cx, shape, dtype)?;
    let hit = cx.lt(chance, x)?;
    cx.cast(hit, to)
}

/// Classes drawn with the probabilities whose unnormalized logarithms are the rows of the operand.
fn multinomial(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let x = cx.ranked(x, 2)?;
    let x = cx.cast(x, DType::F32)?;
    let (count, to) = (cx.int("sample_size", 1)?, cx.dtype_if("dtype")?.unwrap_or(DType::I32));
    let shape = cx.shape(x);
    if !(0..1 << 31).contains(&count) || shape[1] == 0 {
        return invalid(format!("{count} samples of {} classes", shape[1]));
    }
    let chances = cx.add(Op::Softmax { axis: 1 }, &[x])?;
    let below = cx.add(Op::CumSum { axis: 1, exclusive: false, reverse: false }, &[chances])?;
    let drawn = unit(cx, vec![shape[0].clone(), Dim::from(count)], DType::F32)?;
    // The class is the number of those whose share of the line ends before the number drawn.
    let (below, drawn) = (cx.unsqueeze(below, &[1])?, cx.unsqueeze(drawn, &[2])?);
    let passed = cx.le(below, drawn)?;
    let passed = cx.cast(passed, DType::I64)?;
    let class = cx.reduce_sum(passed, &[2])?;
    let class = cx.squeeze(class, &[2])?;
    // The shares may sum to a little less than 1.
    let last = cx.dim(&shape[1] - 1, DType::I64)?;
    let class = cx.min(class, last)?;
    cx.cast(class, to)
}

/// In inference the identity, and a mask that is all true; before opset 12 the mask says nothing, which ONNX
/// Runtime writes as zeros. In training some elements become zero.
fn dropout(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let (ratio, training) = (cx.operand_if(1)?, cx.operand_if(2)?);
    let is_zero =
        |cx: &Context, v: Value| cx.constant_of(v).is_some_and(|t| t.len() == 1 && t.get_f64(0) == 0.0);
    if let Some(training) = training.filter(|&t| !is_zero(cx, t))
        && !ratio.is_some_and(|r| is_zero(cx, r))
    {
        let ratio = ratio.unwrap_or_else(|| cx.scalar(DType::F32, 0.5));
        return dropped(cx, x, ratio, training);
    }
    let mut results = vec![x];
    if cx.wants(1) {
        let dtype = if cx.opset < 10 { cx.dtype(x) } else { DType::Bool };
        let on = cx.scalar(dtype, if cx.opset < 12 { 0.0 } else { 1.0 });
        let shape = cx.shape(x);
        results.push(cx.expand(on, shape)?);
    }
    Ok(results)
}

/// Zeros with the probability `ratio`, and the mask of what is kept; what is kept is scaled so that the
/// mean stays. Where `training` is false nothing is dropped.
pub(super) fn dropped(cx: &mut Context, x: Value, ratio: Value, training: Value) -> Built<Vec<Value>> {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let (ratio, training) = (cx.cast(ratio, DType::F32)?, cx.cast(training, DType::Bool)?);
    let (ratio, training) = (cx.as_scalar(ratio)?, cx.as_scalar(training)?);
    let zero = cx.like(ratio, 0.0);
    let ratio = cx.select(training, ratio, zero)?;
    let chance = unit(cx, shape, DType::F32)?;
    let kept = cx.ge(chance, ratio)?;
    let one = cx.like(ratio, 1.0);
    let share = cx.minus(one, ratio)?;
    let wide = cx.cast(x, DType::F32)?;
    let wide = if dtype == DType::F64 { x } else { wide };
    let share = cx.cast(share, cx.dtype(wide))?;
    let scaled = cx.over(wide, share)?;
    let scaled = cx.cast(scaled, dtype)?;
    let zero = cx.like(x, 0.0);
    Ok(vec![cx.select(kept, scaled, zero)?, kept])
}
