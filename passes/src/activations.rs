//! Activation functions, in the forms in which exporters write them out.
//!
//! ```text
//! %0 = div(%x, 1.4142135)
//! %1 = erf(%0)
//! %2 = add(%1, 1.0)            →     %0 = gelu(%x)
//! %3 = mul(%x, %2)
//! %4 = mul(%3, 0.5)
//! ```
//! The matcher sees to the order and association of sums and products. Runs after `algebra`, which turns
//! powers into products, quotients by numbers into products, and minima and maxima into `clip` and `relu`.
use sardonyx_ir::OpBuilder;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Pat, Rule, RuleSet, need, rule, rule_if};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

pub(crate) fn rules() -> RuleSet {
    RuleSet::new([gelus(), smooth(), clipped(), piecewise()].into_iter().flatten().collect())
}

fn cube(x: Pat) -> Pat {
    x * x * x
}

fn gelus() -> Vec<Rule> {
    let inner = (2.0 / PI).sqrt();
    let cubic = 0.044715;
    vec![
        rule("gelu", |[x]| x * 0.5 * ((x * FRAC_1_SQRT_2).erf() + 1.0), |[x]| x.gelu()),
        rule(
            "gelu_tanh",
            move |[x]| x * 0.5 * (((x + cube(x) * cubic) * inner).tanh() + 1.0),
            |[x]| x.gelu_tanh(),
        ),
        rule(
            "gelu_tanh",
            move |[x]| x * 0.5 * ((x * inner * (x * x * cubic + 1.0)).tanh() + 1.0),
            |[x]| x.gelu_tanh(),
        ),
        rule(
            "gelu_tanh",
            move |[x]| x * 0.5 * ((x * inner + cube(x) * (inner * cubic)).tanh() + 1.0),
            |[x]| x.gelu_tanh(),
        ),
    ]
}

fn smooth() -> Vec<Rule> {
    vec![
        rule("sigmoid", |[x]| (x.neg().exp() + 1.0).reciprocal(), |[x]| x.sigmoid()),
        rule_if("silu", |[x, a]| x * (x * a).sigmoid(), |m| m.number(1), |[x, _], alpha| x.silu(*alpha)),
        rule("silu", |[x]| x * x.sigmoid(), |[x]| x.silu(1.0)),
        rule("silu", |[x]| OpBuilder::div(x, x.neg().exp() + 1.0), |[x]| x.silu(1.0)),
        rule("softplus", |[x]| (x.exp() + 1.0).log(), |[x]| x.softplus()),
        rule("mish", |[x]| x * x.softplus().tanh(), |[x]| x.mish()),
        rule("softsign", |[x]| OpBuilder::div(x, x.abs() + 1.0), |[x]| x.softsign()),
    ]
}

/// The bounds of the matched clip.
fn bounds(m: &Match) -> (f64, f64) {
    let Op::Clip { min, max } = m.op("clip") else { panic!("bug: not a clip") };
    (*min, *max)
}

/// The slope and offset of a matched hard sigmoid.
fn hard_sigmoid(m: &Match) -> (f64, f64) {
    let Op::HardSigmoid { alpha, beta } = m.op("hard_sigmoid") else { panic!("bug: not a hard sigmoid") };
    (*alpha, *beta)
}

fn near(x: f64, wanted: f64) -> bool {
    (x - wanted).abs() <= 1e-4 * wanted.abs()
}

fn clipped() -> Vec<Rule> {
    let unit = |m: &Match| need(bounds(m) == (0.0, 1.0), "not clipped to 0 and 1");
    let six = |m: &Match| need(bounds(m) == (0.0, 6.0), "not clipped to 0 and 6");
    let swish = |m: &Match| -> Check {
        let (alpha, beta) = hard_sigmoid(m);
        need(near(alpha, 1.0 / 6.0) && near(beta, 0.5), "another slope or offset")
    };
    vec![
        rule_if("hard_swish", |[x]| x * x.hard_sigmoid(0.0, 0.0), swish, |[x], ()| x.hard_swish()),
        rule_if(
            "hard_sigmoid",
            |[x, a, b]| (x * a + b).clip(0.0, 0.0),
            move |m| unit(m).and_then(|()| Ok((m.number(1)?, m.number(2)?))),
            |[x, _, _], (a, b)| x.hard_sigmoid(*a, *b),
        ),
        rule_if(
            "hard_sigmoid",
            |[x]| (x + 3.0).clip(0.0, 0.0) * (1.0 / 6.0),
            six,
            |[x], ()| x.hard_sigmoid(1.0 / 6.0, 0.5),
        ),
        rule_if(
            "hard_swish",
            |[x]| x * (x + 3.0).clip(0.0, 0.0) * (1.0 / 6.0),
            six,
            |[x], ()| x.hard_swish(),
        ),
    ]
}

fn piecewise() -> Vec<Rule> {
    let slope = |m: &Match| -> Check<f64> {
        let a = m.number(1)?;
        need((0.0..1.0).contains(&a), "the slope is not in 0..1")?;
        Ok(a)
    };
    vec![
        rule_if("leaky_relu", |[x, a]| x.max(x * a), slope, |[x, _], a| x.leaky_relu(*a)),
        rule_if(
            "leaky_relu",
            |[x, a]| x.lt(x.num(0.0)).select(x * a, x),
            |m| m.number(1),
            |[x, _], a| x.leaky_relu(*a),
        ),
        rule_if(
            "leaky_relu",
            |[x, a]| x.gt(x.num(0.0)).select(x, x * a),
            |m| m.number(1),
            |[x, _], a| x.leaky_relu(*a),
        ),
        rule_if(
            "leaky_relu",
            |[x, a]| x.ge(x.num(0.0)).select(x, x * a),
            |m| m.number(1),
            |[x, _], a| x.leaky_relu(*a),
        ),
        rule_if(
            "elu",
            |[x]| x.gt(x.num(0.0)).select(x, x.exp() - 1.0),
            |m| need(m.ty().dtype.is_float(), "integers"),
            |[x], ()| x.elu(1.0),
        ),
    ]
}
