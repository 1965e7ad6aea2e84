//! Inference batch normalization as arithmetic, and per-channel scales and shifts as weights of the
//! convolution before them.
//!
//! ```text
//! %0 = conv(%x, %w)
//! %1 = batch_norm(%0, %s, %b, %m, %v)      →      %0 = conv(%x, %w', %b')
//! ```
//! Zeros that are padded before a convolution become its padding. The new weights are expressions of constants; `fold` computes them.
use crate::pattern::is_constant;
use sardonyx_ir::OpBuilder;
use sardonyx_ir::ops::Op;
use sardonyx_ir::ops::attribute::PadMode;
use sardonyx_ir::rewrite::{Check, Match, Pat, Rule, RuleSet, Val, need, rule_if};
use sardonyx_tensor::Dim;

pub(crate) fn rules() -> RuleSet {
    RuleSet::new(vec![batch_norm(), scale(false), scale(true), shift(), shift_bias(), pad(false), pad(true)])
}

fn batch_norm() -> Rule {
    rule_if(
        "batch_norm",
        |[x, s, b, m, v]| x.batch_norm(s, b, m, v, 0.0),
        |m| {
            let Op::BatchNorm { epsilon } = m.op("batch_norm") else { panic!("bug: not a batch norm") };
            need((1..5).all(|i| m.var_type(i).dtype == m.ty().dtype), "parameters of another type")?;
            let ones = vec![Dim::ONE; m.ty().rank() - 2];
            Ok((*epsilon, [vec![m.ty().shape[1].clone()], ones].concat()))
        },
        |[x, s, b, m, v], (epsilon, shape)| {
            let factor = s * (v + *epsilon).rsqrt();
            let offset = b - m * factor;
            x * factor.reshape(shape.clone()) + offset.reshape(shape.clone())
        },
    )
}

fn constant(m: &Match, var: usize) -> Check {
    need(is_constant(m.graph(), m.var(var)), "not made of constants")
}

/// `[oc]`, if a variable is a constant with one value per output channel.
fn per_channel(m: &Match, var: usize) -> Check<Vec<Dim>> {
    constant(m, var)?;
    let channels = m.ty().shape[1].clone();
    let shape: Vec<&Dim> = m.var_type(var).shape.iter().skip_while(|d| **d == Dim::ONE).collect();
    let fits = shape.len() == m.ty().rank() - 1
        && *shape[0] == channels
        && shape[1..].iter().all(|d| **d == Dim::ONE);
    need(fits, "not one value per channel")?;
    Ok(vec![channels])
}

fn conv<'a>(operands: &[Pat<'a>]) -> Pat<'a> {
    let op = Op::Conv { strides: vec![], pads: vec![], dilations: vec![], group: 1 };
    Pat::apply(op, operands)
}

/// `conv(x, w) * k`, with a bias or without.
fn scale(bias: bool) -> Rule {
    let guard = |m: &Match| {
        constant(m, 1)?;
        let channels = per_channel(m, 2)?;
        let mut rows = vec![Dim::ONE; m.var_type(1).rank()];
        rows[0] = channels[0].clone();
        Ok((m.op("conv").clone(), channels, rows))
    };
    if bias {
        return rule_if(
            "conv_scale",
            |[x, w, k, b]| conv(&[x, w, b]) * k,
            guard,
            |[x, w, k, b], (op, channels, rows)| {
                Val::apply(op.clone(), &[x, w * k.reshape(rows.clone()), b * k.reshape(channels.clone())])
            },
        );
    }
    rule_if(
        "conv_scale",
        |[x, w, k]| conv(&[x, w]) * k,
        guard,
        |[x, w, k], (op, _, rows)| Val::apply(op.clone(), &[x, w * k.reshape(rows.clone())]),
    )
}

/// `conv(x, w) + c`.
fn shift() -> Rule {
    rule_if(
        "conv_shift",
        |[x, w, c]| conv(&[x, w]) + c,
        |m| Ok((m.op("conv").clone(), per_channel(m, 2)?)),
        |[x, w, c], (op, channels)| Val::apply(op.clone(), &[x, w, c.reshape(channels.clone())]),
    )
}

/// `conv(x, w, b) + c`.
fn shift_bias() -> Rule {
    rule_if(
        "conv_shift",
        |[x, w, c, b]| conv(&[x, w, b]) + c,
        |m| Ok((m.op("conv").clone(), per_channel(m, 2)?)),
        |[x, w, c, b], (op, channels)| Val::apply(op.clone(), &[x, w, b + c.reshape(channels.clone())]),
    )
}

/// `conv(pad(x, 0), w)`, with a bias or without.
fn pad(bias: bool) -> Rule {
    if bias {
        return rule_if(
            "conv_pad",
            |[x, zero, w, b]| conv(&[x.pad(zero, vec![], vec![], PadMode::Constant), w, b]),
            padded,
            |[x, _, w, b], op| Val::apply(op.clone(), &[x, w, b]),
        );
    }
    rule_if(
        "conv_pad",
        |[x, zero, w]| conv(&[x.pad(zero, vec![], vec![], PadMode::Constant), w]),
        padded,
        |[x, _, w], op| Val::apply(op.clone(), &[x, w]),
    )
}

/// The convolution with what is padded before it added to its own padding.
fn padded(m: &Match) -> Check<Op> {
    let Op::Pad { before, after, mode } = m.op("pad") else { panic!("bug: not a pad") };
    need(*mode == PadMode::Constant && m.number(1)? == 0.0, "it does not pad zeros")?;
    let known = |dims: &[Dim]| dims.iter().map(Dim::known).collect::<Option<Vec<i64>>>();
    let (Some(before), Some(after)) = (known(before), known(after)) else {
        return Err("the padding is not known".into());
    };
    need(before[..2] == [0, 0] && after[..2] == [0, 0], "images or channels are padded")?;
    need(before.iter().chain(&after).all(|&n| n >= 0), "it crops")?;
    let mut op = m.op("conv").clone();
    let Op::Conv { pads, .. } = &mut op else { panic!("bug: not a convolution") };
    pads.iter_mut().zip(before[2..].iter().chain(&after[2..])).for_each(|(p, more)| *p += more);
    Ok(op)
}
