//! Gathers with constant indices that are slices, and products with one-hot rows that are gathers.
use super::views::Range;
use sardonyx_ir::OpBuilder;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Rule, need, rule_if};
use sardonyx_tensor::{DType, Dim};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        one_hot(),
        rule_if(
            "gather_range",
            |[x, indices]| x.gather(indices, 0),
            |m| Ok((range(m)?, m.ty().shape.clone())),
            |[x, _], (range, shape)| range.apply(x).reshape(shape.clone()),
        ),
    ]
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

/// `matmul(cast(indices == 0..n), w)` takes rows of `w`, and zeros for indices outside.
fn one_hot() -> Rule {
    rule_if(
        "one_hot",
        |[indices, range, w]| indices.eq(range).cast(DType::F32).matmul(w),
        |m| {
            let (indices, w) = (m.var_type(0), m.var_type(2));
            let range = m.constant(1)?;
            let count = range.len() as i64;
            need(range.to_i64s().into_iter().eq(0..count), "it compares with no range")?;
            let last = m.var_type(1).shape.last() == Some(&Dim::from(count));
            need(last && m.var_type(1).rank() <= indices.rank(), "the range is not the last axis")?;
            need(indices.dtype.is_int() && indices.shape.last() == Some(&Dim::ONE), "no indices of rows")?;
            need(w.rank() == 2 && m.ty().dtype.is_float(), "no matrix of floats")?;
            let rows = &indices.shape[..indices.rank() - 1];
            Ok((rows.to_vec(), count as f64))
        },
        |[indices, _, w], (rows, count)| {
            let rows_of_1 = [rows.clone(), vec![Dim::ONE]].concat();
            let i = indices.reshape(rows.clone()).cast(DType::I64);
            let inside = i.ge(i.num(0.0)).and(i.lt(i.num(*count)));
            let picked = w.gather(inside.select(i, i.num(0.0)), 0);
            inside.reshape(rows_of_1).select(picked, picked.num(0.0))
        },
    )
}
