//! Pointwise operators, logic, casts, and matrix products.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, one, same};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    same("Abs", 1, || Op::Abs {}),
    same("Acos", 7, || Op::Acos {}),
    same("Acosh", 9, || Op::Acosh {}),
    same("Add", 7, || Op::Add {}),
    same("And", 7, || Op::And {}),
    same("Asin", 7, || Op::Asin {}),
    same("Asinh", 9, || Op::Asinh {}),
    same("Atan", 7, || Op::Atan {}),
    same("Atanh", 9, || Op::Atanh {}),
    one("BitShift", 11, bit_shift),
    same("BitwiseAnd", 18, || Op::And {}),
    same("BitwiseNot", 18, || Op::Not {}),
    same("BitwiseOr", 18, || Op::Or {}),
    same("BitwiseXor", 18, || Op::Xor {}),
    same("Ceil", 1, || Op::Ceil {}),
    one("Celu", 12, |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        cx.on_first(Op::Celu { alpha })
    }),
    one("Clip", 1, clip_attributes),
    one("Clip", 11, clip),
    same("Cos", 7, || Op::Cos {}),
    same("Cosh", 9, || Op::Cosh {}),
    same("Div", 7, || Op::Div {}),
    one("Elu", 1, |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        cx.on_first(Op::Elu { alpha })
    }),
    same("Equal", 7, || Op::Eq {}),
    same("Erf", 9, || Op::Erf {}),
    same("Exp", 1, || Op::Exp {}),
    same("Floor", 1, || Op::Floor {}),
    one("Gelu", 20, gelu),
    one("Gemm", 1, gemm),
    same("Greater", 7, || Op::Gt {}),
    same("GreaterOrEqual", 12, || Op::Ge {}),
    one("HardSigmoid", 1, hard_sigmoid),
    same("HardSwish", 14, || Op::HardSwish {}),
    one("IsInf", 10, is_inf),
    same("IsNaN", 9, || Op::IsNan {}),
    one("LeakyRelu", 1, |cx| {
        let alpha = cx.float("alpha", 0.01)?;
        cx.on_first(Op::LeakyRelu { alpha })
    }),
    same("Less", 7, || Op::Lt {}),
    same("LessOrEqual", 12, || Op::Le {}),
    same("Log", 1, || Op::Log {}),
    one("MatMul", 1, |cx| {
        let (a, b) = (cx.operand(0)?, cx.operand(1)?);
        matmul(cx, a, b)
    }),
    one("Max", 1, |cx| variadic(cx, Op::Max {})),
    one("Mean", 1, mean),
    one("Min", 1, |cx| variadic(cx, Op::Min {})),
    same("Mish", 18, || Op::Mish {}),
    one("Mod", 10, |cx| {
        let op = if cx.flag("fmod", false)? { Op::Rem {} } else { Op::Mod {} };
        cx.on_all(op)
    }),
    same("Mul", 7, || Op::Mul {}),
    same("Neg", 1, || Op::Neg {}),
    same("Not", 1, || Op::Not {}),
    same("Or", 7, || Op::Or {}),
    same("PRelu", 7, || Op::Prelu {}),
    one("Pow", 7, pow),
    same("Reciprocal", 1, || Op::Reciprocal {}),
    same("Relu", 1, || Op::Relu {}),
    same("Round", 11, || Op::Round {}),
    one("Selu", 6, selu),
    one("Shrink", 9, |cx| {
        let (bias, lambda) = (cx.float("bias", 0.0)?, cx.float("lambd", 0.5)?);
        cx.on_first(Op::Shrink { bias, lambda })
    }),
    same("Sigmoid", 1, || Op::Sigmoid {}),
    same("Sign", 9, || Op::Sign {}),
    same("Sin", 7, || Op::Sin {}),
    same("Sinh", 9, || Op::Sinh {}),
    same("Softplus", 1, || Op::Softplus {}),
    same("Softsign", 1, || Op::Softsign {}),
    same("Sqrt", 1, || Op::Sqrt {}),
    same("Sub", 7, || Op::Sub {}),
    one("Sum", 1, |cx| variadic(cx, Op::Add {})),
    one("Swish", 24, |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        cx.on_first(Op::Silu { alpha })
    }),
    same("Tan", 7, || Op::Tan {}),
    same("Tanh", 1, || Op::Tanh {}),
    one("ThresholdedRelu", 10, |cx| {
        let alpha = cx.float("alpha", 1.0)?;
        cx.on_first(Op::ThresholdedRelu { alpha })
    }),
    same("Where", 9, || Op::Select {}),
    same("Xor", 7, || Op::Xor {}),
];

impl Context<'_> {
    /// An op on operand 0.
    pub fn on_first(&mut self, op: Op) -> Built {
        let x = self.operand(0)?;
        self.add(op, &[x])
    }
    /// An op on all operands.
    pub fn on_all(&mut self, op: Op) -> Built {
        let operands = self.operands()?;
        self.add(op, &operands)
    }
}

fn bit_shift(cx: &mut Context) -> Built {
    match cx.string("direction", "")?.as_str() {
        "LEFT" => cx.on_all(Op::ShiftLeft {}),
        "RIGHT" => cx.on_all(Op::ShiftRight {}),
        other => invalid(format!("unknown direction `{other}`")),
    }
}

fn clip_attributes(cx: &mut Context) -> Built {
    let (min, max) = (cx.float("min", f64::NEG_INFINITY)?, cx.float("max", f64::INFINITY)?);
    cx.on_first(Op::Clip { min, max })
}

fn clip(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (low, high) = (cx.operand_if(1)?, cx.operand_if(2)?);
    let number = |v: Option<Value>, open: f64| match v {
        None => Some(open),
        Some(v) => cx.constant_of(v).filter(|t| t.len() == 1).map(|t| t.get_f64(0)),
    };
    let known = (number(low, f64::NEG_INFINITY), number(high, f64::INFINITY));
    if let (Some(min), Some(max)) = known
        && cx.dtype(x).is_float()
        && min <= max
    {
        return cx.add(Op::Clip { min, max }, &[x]);
    }
    let above = match low {
        Some(v) => {
            let v = cx.as_scalar(v)?;
            cx.max(x, v)?
        }
        None => x,
    };
    match high {
        Some(v) => {
            let v = cx.as_scalar(v)?;
            cx.min(above, v)
        }
        None => Ok(above),
    }
}

fn gelu(cx: &mut Context) -> Built {
    match cx.string("approximate", "none")?.as_str() {
        "none" => cx.on_first(Op::Gelu {}),
        "tanh" => cx.on_first(Op::GeluTanh {}),
        other => invalid(format!("unknown approximation `{other}`")),
    }
}

fn hard_sigmoid(cx: &mut Context) -> Built {
    let (alpha, beta) = (cx.float("alpha", 0.2)?, cx.float("beta", 0.5)?);
    cx.on_first(Op::HardSigmoid { alpha, beta })
}

fn selu(cx: &mut Context) -> Built {
    let alpha = cx.float("alpha", 1.673_263_192_176_818_8)?;
    let gamma = cx.float("gamma", 1.050_701_022_148_132_3)?;
    cx.on_first(Op::Selu { alpha, gamma })
}

fn is_inf(cx: &mut Context) -> Built {
    let (negative, positive) = (cx.flag("detect_negative", true)?, cx.flag("detect_positive", true)?);
    let x = cx.operand(0)?;
    let infinite = cx.add(Op::IsInf {}, &[x])?;
    let zero = cx.like(x, 0.0);
    let wanted = match (negative, positive) {
        (true, true) => return Ok(infinite),
        (true, false) => cx.lt(x, zero)?,
        (false, true) => cx.gt(x, zero)?,
        (false, false) => cx.scalar(DType::Bool, 0.0),
    };
    cx.and(infinite, wanted)
}

/// A binary op over any number of operands, from the left.
fn variadic(cx: &mut Context, op: Op) -> Built {
    let operands = cx.operands()?;
    let (&first, rest) = operands.split_first().ok_or("no operands")?;
    rest.iter().try_fold(first, |a, &b| cx.add(op.clone(), &[a, b]))
}

fn mean(cx: &mut Context) -> Built {
    let count = cx.count();
    let sum = variadic(cx, Op::Add {})?;
    let count = cx.like(sum, count as f64);
    cx.over(sum, count)
}

/// The exponent may have another type.
fn pow(cx: &mut Context) -> Built {
    let (base, exponent) = (cx.operand(0)?, cx.operand(1)?);
    let (to, by) = (cx.dtype(base), cx.dtype(exponent));
    if !to.is_float() && by.is_float() {
        let wide = cx.cast(base, by)?;
        let power = cx.pow(wide, exponent)?;
        return cx.cast(power, to);
    }
    let exponent = cx.cast(exponent, to)?;
    cx.pow(base, exponent)
}

/// The matrix product of numpy, for operands of rank 1 too.
pub(super) fn matmul(cx: &mut Context, a: Value, b: Value) -> Built {
    let (left, right) = (cx.rank(a), cx.rank(b));
    if left == 0 || right == 0 {
        return invalid("a matrix product with a scalar");
    }
    let a = if left == 1 { cx.unsqueeze(a, &[0])? } else { a };
    let b = if right == 1 { cx.unsqueeze(b, &[1])? } else { b };
    let product = cx.add(Op::Matmul {}, &[a, b])?;
    let rank = cx.rank(product);
    match (left, right) {
        (1, 1) => cx.squeeze(product, &[rank - 2, rank - 1]),
        (1, _) => cx.squeeze(product, &[rank - 2]),
        (_, 1) => cx.squeeze(product, &[rank - 1]),
        _ => Ok(product),
    }
}

pub(super) fn gemm(cx: &mut Context) -> Built {
    let (a, b, c) = (cx.operand(0)?, cx.operand(1)?, cx.operand_if(2)?);
    if cx.rank(a) != 2 || cx.rank(b) != 2 {
        return invalid("operands of a Gemm have rank 2");
    }
    let a = if cx.flag("transA", false)? { cx.transpose(a, &[1, 0])? } else { a };
    let b = if cx.flag("transB", false)? { cx.transpose(b, &[1, 0])? } else { b };
    let mut product = cx.add(Op::Matmul {}, &[a, b])?;
    let (alpha, beta) = (cx.float("alpha", 1.0)?, cx.float("beta", 1.0)?);
    if alpha != 1.0 {
        product = cx.times_number(product, alpha)?;
    }
    let Some(mut c) = c.filter(|_| beta != 0.0) else { return Ok(product) };
    if beta != 1.0 {
        c = cx.times_number(c, beta)?;
    }
    cx.plus(product, c)
}
