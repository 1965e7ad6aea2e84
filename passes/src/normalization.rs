//! Softmax and normalizations, in the forms in which exporters write them out.
//!
//! ```text
//! %0 = mul(%x, %x)
//! %1 = reduce_mean(%0) {axes=[2]}
//! %2 = add(%1, 1e-6)                 →     %0 = rms_norm(%x, %w) {epsilon=1e-6}
//! %3 = rsqrt(%2)
//! %4 = mul(%x, %3)
//! %5 = mul(%4, %w)
//! ```
//! The standardized value is found first, with a scale of 1; scale and bias join it if they follow. Runs
//! after `algebra`, which turns `pow(x, 2)` into a product and `1 / sqrt` into `rsqrt`.
use crate::pattern::{lossless, uniform};
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Pat, Rule, RuleSet, Val, need, rule_if};
use sardonyx_ir::{OpBuilder, Type, Value};
use sardonyx_tensor::{DType, Dim};

pub(crate) fn rules() -> RuleSet {
    RuleSet::new([standardized(), affine(), groups(), softmaxes()].into_iter().flatten().collect())
}

/// How many trailing axes the matched means run over, the same for all; and the number added.
fn trailing(m: &Match, epsilon: usize) -> Check<(i64, f64)> {
    let rank = m.ty().rank() as i64;
    let mut count = None;
    for op in m.ops("reduce_mean") {
        let Op::ReduceMean { axes } = op else { panic!("bug: not a mean") };
        let mut axes: Vec<i64> = axes.iter().map(|a| a.rem_euclid(rank)).collect();
        axes.sort_unstable();
        let last = axes.iter().copied().eq(rank - axes.len() as i64..rank);
        need(last && !axes.is_empty(), "the mean is not over the last axes")?;
        need(count.is_none_or(|c| c == axes.len() as i64), "the means are over different axes")?;
        count = Some(axes.len() as i64);
    }
    need(m.ty().dtype.is_float(), "integers")?;
    Ok((count.ok_or("no mean")?, m.number(epsilon)?))
}

fn mean(x: Pat) -> Pat {
    x.reduce_mean(vec![])
}

fn narrow_norm<'g>([x, _]: [Val<'g>; 2], (narrow, op): &(Value, Op)) -> Val<'g> {
    let x = x.other(*narrow);
    Val::apply(op.clone(), &[x, x.num(1.0)])
}

/// A way to write a normalization of `x` with a number `e` under the root.
type Form = for<'a> fn(Pat<'a>, Pat<'a>) -> Pat<'a>;
/// The normalization of a value with a scale.
type Norm = for<'g> fn(Val<'g>, Val<'g>, i64, f64) -> Val<'g>;

/// The variance as mean square of deviations.
fn deviations<'a>(x: Pat<'a>, e: Pat<'a>) -> Pat<'a> {
    let d = OpBuilder::sub(x, mean(x));
    d * (mean(d * d) + e).rsqrt()
}

/// The same with a division.
fn deviations_over_root<'a>(x: Pat<'a>, e: Pat<'a>) -> Pat<'a> {
    let d = OpBuilder::sub(x, mean(x));
    OpBuilder::div(d, (mean(d * d) + e).sqrt())
}

/// The variance as mean square less squared mean.
fn moments<'a>(x: Pat<'a>, e: Pat<'a>) -> Pat<'a> {
    let average = mean(x);
    let variance = OpBuilder::sub(mean(x * x), average * average);
    OpBuilder::sub(x, average) * (variance.relu() + e).rsqrt()
}

fn root_mean_square<'a>(x: Pat<'a>, e: Pat<'a>) -> Pat<'a> {
    x * (mean(x * x) + e).rsqrt()
}

fn over_root_mean_square<'a>(x: Pat<'a>, e: Pat<'a>) -> Pat<'a> {
    OpBuilder::div(x, (mean(x * x) + e).sqrt())
}

/// The rules for one form: alone, and with a scale, which may have been multiplied with the root first.
fn norm(name: &'static str, form: Form, make: Norm) -> [Rule; 2] {
    let scaled = rule_if(
        name,
        move |[x, e, w]| form(x, e) * w,
        |m| {
            let (axes, epsilon) = trailing(m, 1)?;
            Ok((axes, epsilon, parameter(m, 2, axes)?))
        },
        move |[x, _, w], (axes, epsilon, shape)| make(x, w.reshape(shape.clone()), *axes, *epsilon),
    );
    let alone = rule_if(
        name,
        move |[x, e]| form(x, e),
        |m| trailing(m, 1),
        move |[x, _], (axes, epsilon)| make(x, x.num(1.0), *axes, *epsilon),
    );
    [scaled, alone]
}

/// Normalizations without bias. Those that subtract the mean go first: what they leave is also the root mean
/// square form.
fn standardized() -> Vec<Rule> {
    let layer: Norm = |x, scale, axes, epsilon| x.layer_norm(scale, axes, epsilon);
    let rms: Norm = |x, scale, axes, epsilon| x.rms_norm(scale, axes, epsilon);
    let forms: [(&'static str, Form, Norm); 5] = [
        ("layer_norm", deviations, layer),
        ("layer_norm", deviations_over_root, layer),
        ("layer_norm", moments, layer),
        ("rms_norm", root_mean_square, rms),
        ("rms_norm", over_root_mean_square, rms),
    ];
    let mut rules = vec![shifted()];
    rules.extend(forms.into_iter().flat_map(|(name, form, make)| norm(name, form, make)));
    rules.extend([
        rule_if("norm_cast", |[x, s]| x.layer_norm(s, 1, 0.0).cast(DType::F32), between_casts, narrow_norm),
        rule_if("norm_cast", |[x, s]| x.rms_norm(s, 1, 0.0).cast(DType::F32), between_casts, narrow_norm),
    ]);
    rules
}

/// `x * factor + (bias - mean * factor)`, as batch normalization is written out.
fn shifted() -> Rule {
    rule_if(
        "layer_norm",
        |[x, e, scale, bias]| {
            let average = mean(x);
            let d = OpBuilder::sub(x, average);
            let factor = (mean(d * d) + e).rsqrt() * scale;
            x * factor + OpBuilder::sub(bias, average * factor)
        },
        |m| {
            let (axes, epsilon) = trailing(m, 1)?;
            Ok((axes, epsilon, parameter(m, 2, axes)?, parameter(m, 3, axes)?))
        },
        |[x, _, scale, bias], (axes, epsilon, scale_shape, bias_shape)| {
            let (scale, bias) = (scale.reshape(scale_shape.clone()), bias.reshape(bias_shape.clone()));
            Val::apply(Op::LayerNorm { axes: *axes, epsilon: *epsilon }, &[x, scale, bias])
        },
    )
}

/// The shape of a parameter without leading axes of 1, if it belongs to the last axes.
fn parameter(m: &Match, var: usize, axes: i64) -> Check<Vec<Dim>> {
    let shape: Vec<Dim> = m.var_type(var).shape.iter().skip_while(|d| **d == Dim::ONE).cloned().collect();
    let tail = &m.ty().shape[m.ty().rank() - axes as usize..];
    let fits = shape.len() <= tail.len()
        && shape.iter().rev().zip(tail.iter().rev()).all(|(p, d)| p == d || *p == Dim::ONE);
    need(fits && m.var_type(var).dtype == m.ty().dtype, "the parameter is not one of the last axes")?;
    Ok(shape)
}

/// A normalization with a scale of 1 of a value that was widened, and is narrowed again.
fn between_casts(m: &Match) -> Check<(Value, Op)> {
    let (g, v) = (m.graph(), m.var(0));
    need(matches!(g.op(v), Op::Cast { .. }), "its operand is not cast")?;
    let narrow = g.operand(v.node, 0);
    let (outer, inner) = (m.ty().dtype, g.ty(narrow).dtype);
    need(inner == outer && inner.is_float() && lossless(inner, g.ty(v).dtype), "the casts do not match")?;
    is_one(m, 1)?;
    let op = m.ops("layer_norm").chain(m.ops("rms_norm")).next().expect("the rule matches a normalization");
    Ok((narrow, op.clone()))
}

fn is_one(m: &Match, var: usize) -> Check {
    need(uniform(m.constant(var)?) == Some(1.0), "the scale is not 1")
}

/// Scales and biases that follow.
fn affine() -> Vec<Rule> {
    let scale = |m: &Match| {
        is_one(m, 1)?;
        let (Op::LayerNorm { axes, epsilon } | Op::RmsNorm { axes, epsilon }) =
            m.ops("layer_norm").chain(m.ops("rms_norm")).next().expect("the rule matches a normalization")
        else {
            panic!("bug: not a normalization")
        };
        Ok((*axes, *epsilon, parameter(m, 2, *axes)?))
    };
    vec![
        rule_if(
            "layer_norm_scale",
            |[x, one, w]| x.layer_norm(one, 1, 0.0) * w,
            scale,
            |[x, _, w], (axes, epsilon, shape)| x.layer_norm(w.reshape(shape.clone()), *axes, *epsilon),
        ),
        rule_if(
            "rms_norm_scale",
            |[x, one, w]| x.rms_norm(one, 1, 0.0) * w,
            scale,
            |[x, _, w], (axes, epsilon, shape)| x.rms_norm(w.reshape(shape.clone()), *axes, *epsilon),
        ),
        rule_if(
            "layer_norm_bias",
            |[x, w, b]| x.layer_norm(w, 1, 0.0) + b,
            |m| {
                let Op::LayerNorm { axes, epsilon } = m.op("layer_norm") else {
                    panic!("bug: not a layer norm")
                };
                Ok((*axes, *epsilon, parameter(m, 2, *axes)?))
            },
            |[x, w, b], (axes, epsilon, shape)| {
                Val::apply(
                    Op::LayerNorm { axes: *axes, epsilon: *epsilon },
                    &[x, w, b.reshape(shape.clone())],
                )
            },
        ),
    ]
}

/// Group normalization as an instance normalization of groups that were made channels.
fn groups() -> Vec<Rule> {
    vec![
        rule_if(
            "group_norm",
            |[x, one, zero]| x.instance_norm(one, zero, 0.0).reshape(vec![]),
            |m| {
                is_one(m, 1)?;
                need(uniform(m.constant(2)?) == Some(0.0), "the bias is not 0")?;
                let g = m.graph();
                need(matches!(g.op(m.var(0)), Op::Reshape { .. }), "no groups are made before it")?;
                let source = g.operand(m.var(0).node, 0);
                let (ty, grouped) = (g.ty(source), m.var_type(0));
                need(
                    ty == m.ty() && ty.rank() > 2 && ty.shape[0] == grouped.shape[0],
                    "another shape comes back",
                )?;
                let sizes = (ty.shape[1].known(), grouped.shape[1].known());
                let (Some(channels), Some(groups)) = sizes else {
                    return Err("channels are not known".into());
                };
                need(channels % groups == 0, "channels do not divide into groups")?;
                let Op::InstanceNorm { epsilon } = m.op("instance_norm") else { panic!("bug: not the norm") };
                Ok((source, channels as usize, groups, *epsilon))
            },
            |[x, _, _], &(source, channels, groups, epsilon)| {
                let x = x.other(source);
                let filled = |v: f64| {
                    let dtype = x.ty().dtype;
                    x.constant(sardonyx_tensor::Tensor::from_f64s(dtype, [channels], vec![v; channels]))
                };
                x.group_norm(filled(1.0), filled(0.0), groups, epsilon)
            },
        ),
        rule_if(
            "group_norm_scale",
            |[x, one, zero, w]| x.group_norm(one, zero, 1, 0.0) * w,
            |m| {
                is_one(m, 1)?;
                need(uniform(m.constant(2)?) == Some(0.0), "the bias is not 0")?;
                channel_parameter(m, 3)
            },
            |[x, _, zero, w], (groups, epsilon, shape)| {
                x.group_norm(w.reshape(shape.clone()), zero, *groups, *epsilon)
            },
        ),
        rule_if(
            "group_norm_bias",
            |[x, w, zero, b]| x.group_norm(w, zero, 1, 0.0) + b,
            |m| {
                need(uniform(m.constant(2)?) == Some(0.0), "the bias is not 0")?;
                channel_parameter(m, 3)
            },
            |[x, w, _, b], (groups, epsilon, shape)| {
                x.group_norm(w, b.reshape(shape.clone()), *groups, *epsilon)
            },
        ),
    ]
}

/// The attributes of the matched group norm and the shape `[c]`, if a variable is one value per channel.
fn channel_parameter(m: &Match, var: usize) -> Check<(i64, f64, Vec<Dim>)> {
    let Op::GroupNorm { groups, epsilon } = m.op("group_norm") else { panic!("bug: not a group norm") };
    need(per_channel(m.var_type(var), m.ty()), "not one value per channel")?;
    Ok((*groups, *epsilon, vec![m.ty().shape[1].clone()]))
}

/// Whether a parameter has one value per channel of `[n, c, …]`.
fn per_channel(parameter: &Type, ty: &Type) -> bool {
    let shape: Vec<&Dim> = parameter.shape.iter().skip_while(|d| **d == Dim::ONE).collect();
    shape.len() == ty.rank() - 1 && *shape[0] == ty.shape[1] && shape[1..].iter().all(|d| **d == Dim::ONE)
}

fn softmaxes() -> Vec<Rule> {
    vec![
        rule_if(
            "softmax",
            |[x]| {
                let e = OpBuilder::sub(x, x.reduce_max(vec![])).exp();
                OpBuilder::div(e, e.reduce_sum(vec![]))
            },
            |m| {
                let (Op::ReduceMax { axes: a }, Op::ReduceSum { axes: b }) =
                    (m.op("reduce_max"), m.op("reduce_sum"))
                else {
                    panic!("bug: other reductions")
                };
                let [axis] = a[..] else { return Err("over several axes".into()) };
                need(a == b, "over different axes")?;
                Ok(axis)
            },
            |[x], axis| x.softmax(*axis),
        ),
        rule_if(
            "log_softmax",
            |[x]| x.softmax(0).log(),
            |m| {
                let Op::Softmax { axis } = m.op("softmax") else { panic!("bug: not a softmax") };
                Ok(*axis)
            },
            |[x], axis| x.log_softmax(*axis),
        ),
    ]
}
