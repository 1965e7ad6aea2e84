//! Gathers with constant indices that are slices.
use super::views::Range;
use sardonyx_ir::OpBuilder;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Rule, need, rule_if};
use sardonyx_tensor::Dim;

pub(super) fn rules() -> Vec<Rule> {
    vec![rule_if(
        "gather_range",
        |[x, indices]| x.gather(indices, 0),
        |m| Ok((range(m)?, m.ty().shape.clone())),
        |[x, _], (range, shape)| range.apply(x).reshape(shape.clone()),
    )]
}

/// The slice that takes what the gather takes, up to its shape.
fn range(m: &Match) -> Check<Range> {
    let Op::Gather { axis } = m.op("gather") else { panic!("bug: not a gather") };
    let shape = &m.var_type(0).shape;
    let axis = m.var_type(0).axis(*axis)?;
    let indices = m.constant(1)?.to_i64s();
    let [first, rest @ ..] = &indices[..] else { return Err("no index".into()) };
    let step = rest.first().map_or(1, |second| second - first);
    let signs = indices.iter().all(|i| *i >= 0) || indices.iter().all(|i| *i < 0);
    let even = indices.windows(2).all(|pair| pair[1] - pair[0] == step);
    need(step != 0 && even && signs, "the indices are no range")?;
    let mut range = Range::whole(shape);
    range.starts[axis] = if *first < 0 { &shape[axis] + *first } else { Dim::from(*first) };
    range.sizes[axis] = Dim::from(indices.len() as i64);
    range.steps[axis] = step;
    let last = &range.starts[axis] + step * (indices.len() as i64 - 1);
    let bounded =
        [&range.starts[axis], &last].into_iter().all(|i| i.provably_ge(0) || shape[axis].known().is_none());
    need(bounded, "an index outside")?;
    Ok(range)
}
