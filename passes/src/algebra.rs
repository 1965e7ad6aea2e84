//! Arithmetic that can be said more simply.
//!
//! ```text
//! %0 = div(%x, 8.0)            %0 = mul(%x, 0.125)
//! %1 = pow(%0, 2.0)      →     %1 = mul(%0, %0)
//! %2 = add(%1, 0.0)
//! ```
//! Results differ from the original by rounding at most. Division by a float number becomes multiplication
//! by its reciprocal, which is rounded unless the number is a power of two; a single quotient stays exact.
use crate::pattern::{lossless, number};
use sardonyx_ir::OpBuilder;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Rule, RuleSet, need, rule, rule_if};
use sardonyx_tensor::{DType, Dim};

pub(crate) fn rules() -> RuleSet {
    RuleSet::new(
        [identities(), constants(), powers(), means(), casts(), choices(), clips()]
            .into_iter()
            .flatten()
            .collect(),
    )
}

/// A guard: the result is a float.
fn float(m: &Match) -> Check {
    need(m.ty().dtype.is_float(), "integers")
}

fn identities() -> Vec<Rule> {
    vec![
        rule("mul_one", |[x]| x * 1.0, |[x]| x),
        rule("add_zero", |[x]| x + 0.0, |[x]| x),
        rule("double_neg", |[x]| x.neg().neg(), |[x]| x),
        rule("double_not", |[x]| x.not().not(), |[x]| x),
        rule("mul_minus_one", |[x]| x * -1.0, |[x]| x.neg()),
        rule("add_neg", |[x, y]| x + y.neg(), |[x, y]| x - y),
        rule("sub_neg", |[x, y]| OpBuilder::sub(x, y.neg()), |[x, y]| x + y),
        rule("double_reciprocal", |[x]| x.reciprocal().reciprocal(), |[x]| x),
        rule("mul_reciprocal", |[x, y]| x * y.reciprocal(), |[x, y]| x / y),
        rule("double_relu", |[x]| x.relu().relu(), |[x]| x.relu()),
    ]
}

/// Constants of one element move together.
fn constants() -> Vec<Rule> {
    vec![
        rule_if(
            "div_number",
            |[x, c]| OpBuilder::div(x, c),
            |m| {
                float(m)?;
                let c = m.number(1)?;
                need(c != 0.0 && (1.0 / c).is_finite() && 1.0 / c != 0.0, "no reciprocal")?;
                // A single quotient costs nothing and may be the scale by which all else is quantized.
                need(m.ty().elements() != Dim::ONE || c.abs().log2().fract() == 0.0, "a single quotient")?;
                Ok(1.0 / c)
            },
            |[x, _], c| x * *c,
        ),
        rule_if(
            "sub_number",
            |[x, c]| OpBuilder::sub(x, c),
            |m| float(m).and_then(|()| m.number(1)),
            |[x, _], c| x + -*c,
        ),
        rule_if(
            "mul_numbers",
            |[x, a, b]| x * a * b,
            |m| {
                float(m)?;
                need(m.constant(0).is_err(), "a constant")?;
                Ok(m.number(1)? * m.number(2)?)
            },
            |[x, _, _], c| x * *c,
        ),
        rule_if(
            "add_numbers",
            |[x, a, b]| x + a + b,
            |m| {
                float(m)?;
                need(m.constant(0).is_err(), "a constant")?;
                Ok(m.number(1)? + m.number(2)?)
            },
            |[x, _, _], c| x + *c,
        ),
    ]
}

fn powers() -> Vec<Rule> {
    vec![
        rule("pow_1", |[x]| x.pow(x.num(1.0)), |[x]| x),
        rule("pow_2", |[x]| x.pow(x.num(2.0)), |[x]| x * x),
        rule("pow_3", |[x]| x.pow(x.num(3.0)), |[x]| x * x * x),
        rule_if("pow_half", |[x]| x.pow(x.num(0.5)), float, |[x], ()| x.sqrt()),
        rule_if("pow_minus_1", |[x]| x.pow(x.num(-1.0)), float, |[x], ()| x.reciprocal()),
        rule_if("pow_minus_half", |[x]| x.pow(x.num(-0.5)), float, |[x], ()| x.rsqrt()),
        rule("rsqrt", |[x]| x.sqrt().reciprocal(), |[x]| x.rsqrt()),
        rule("rsqrt", |[x]| x.reciprocal().sqrt(), |[x]| x.rsqrt()),
        rule_if("reciprocal", |[x]| OpBuilder::div(x.num(1.0), x), float, |[x], ()| x.reciprocal()),
    ]
}

fn means() -> Vec<Rule> {
    vec![rule_if(
        "mean",
        |[x, c]| x.reduce_sum(vec![]) * c,
        |m| {
            float(m)?;
            let Op::ReduceSum { axes } = m.op("reduce_sum") else { panic!("bug: not a sum") };
            let shape = &m.graph().ty(m.var(0)).shape;
            let axis = |a: &i64| m.var_type(0).axis(*a).map(|a| shape[a].known());
            let sizes: Option<Vec<i64>> = axes.iter().map(axis).collect::<Result<_, _>>()?;
            let count = sizes.ok_or("the sizes are not known")?.iter().product::<i64>() as f64;
            need((m.number(1)? * count - 1.0).abs() < 1e-6, "another factor")?;
            Ok(axes.clone())
        },
        |[x, _], axes| x.reduce_mean(axes.clone()),
    )]
}

/// The type a cast makes.
fn target(op: &Op) -> DType {
    let Op::Cast { to } = op else { panic!("bug: not a cast") };
    *to
}

fn casts() -> Vec<Rule> {
    vec![
        rule("same_cast", |[x]| x.cast(DType::F32), |[x]| x),
        rule_if(
            "double_cast",
            |[x]| x.cast(DType::F32),
            |m| {
                let (g, inner) = (m.graph(), m.var(0));
                let Op::Cast { to: middle } = g.op(inner) else { return Err("not a cast of a cast".into()) };
                let first = g.operand(inner.node, 0);
                need(lossless(g.ty(first).dtype, *middle), "the first cast rounds")?;
                Ok((first, target(m.op("cast"))))
            },
            |[x], (first, to)| x.other(*first).cast(*to),
        ),
    ]
}

fn choices() -> Vec<Rule> {
    let decided = |m: &Match| -> Check<bool> {
        let c = m.constant(0)?;
        let c = crate::pattern::uniform(c).ok_or("the condition varies")?;
        Ok(c != 0.0)
    };
    vec![
        rule("select_same", |[c, x]| c.select(x, x), |[_, x]| x),
        rule_if("select_known", |[c, x, y]| c.select(x, y), decided, |[_, x, y], c| if *c { x } else { y }),
        rule_if(
            "and_true",
            |[x]| x.and(x.num(1.0)),
            |m| need(m.ty().dtype == DType::Bool, "bits of integers"),
            |[x], ()| x,
        ),
        rule("or_false", |[x]| x.or(x.num(0.0)), |[x]| x),
        rule("select_not", |[c, x, y]| c.not().select(x, y), |[c, x, y]| c.select(y, x)),
    ]
}

fn clips() -> Vec<Rule> {
    vec![
        rule_if(
            "clip",
            |[x, a, b]| x.max(a).min(b),
            |m| {
                float(m)?;
                Ok((bound(m, 1)?, bound(m, 2)?))
            },
            |[x, _, _], (a, b)| x.clip(*a, *b),
        ),
        rule_if(
            "clip",
            |[x, a, b]| x.min(b).max(a),
            |m| {
                float(m)?;
                let (a, b) = (bound(m, 1)?, bound(m, 2)?);
                need(a <= b, "the bounds are empty")?;
                Ok((a, b))
            },
            |[x, _, _], (a, b)| x.clip(*a, *b),
        ),
        rule_if(
            "clip",
            |[x, b]| x.relu().min(b),
            |m| {
                let b = bound(m, 1)?;
                need(b >= 0.0, "always negative").map(|()| b)
            },
            |[x, _], b| x.clip(0.0, *b),
        ),
        rule("max_inf", |[x]| x.max(x.num(f64::NEG_INFINITY)), |[x]| x),
        rule("min_inf", |[x]| x.min(x.num(f64::INFINITY)), |[x]| x),
        rule_if("relu", |[x]| x.max(x.num(0.0)), float, |[x], ()| x.relu()),
        rule_if(
            "relu",
            |[x]| x.clip(0.0, 0.0),
            |m| {
                let Op::Clip { min, max } = m.op("clip") else { panic!("bug: not a clip") };
                need(*min == 0.0 && *max == f64::INFINITY, "other bounds").and_then(|()| float(m))
            },
            |[x], ()| x.relu(),
        ),
        rule_if(
            "clip",
            |[x]| x.relu(),
            |m| {
                let (g, inner) = (m.graph(), m.var(0));
                let Op::Clip { min, max } = g.op(inner) else { return Err("not a relu of a clip".into()) };
                need(*max >= 0.0, "always 0")?;
                Ok((g.operand(inner.node, 0), min.max(0.0), *max))
            },
            |[x], (first, a, b)| x.other(*first).clip(*a, *b),
        ),
    ]
}

fn bound(m: &Match, i: usize) -> Check<f64> {
    number(m.graph(), m.var(i)).ok_or_else(|| "a bound is no number".to_string())
}
