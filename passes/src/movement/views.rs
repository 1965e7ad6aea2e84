//! Rules of ops that name the same elements in another order or number. An inner op may have other users:
//! it stays for them.
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, Match, Rule, Val, need, rule_if};
use sardonyx_ir::{OpBuilder, Value};
use sardonyx_tensor::Dim;

pub(super) fn rules() -> Vec<Rule> {
    [reshapes(), transposes(), expansions(), slices(), nothing()].into_iter().flatten().collect()
}

/// The operand of the op that makes variable 0, and that op, if it has this name.
fn inner<'g>(m: &Match<'g>, name: &str) -> Check<(&'g Op, Value)> {
    let (g, v) = (m.graph(), m.var(0));
    need(g.op(v).name() == name, "another op comes before it")?;
    Ok((g.op(v), g.operand(v.node, 0)))
}

fn same_type(m: &Match) -> Check {
    need(m.ty() == m.var_type(0), "the shape changes")
}

fn target(m: &Match) -> Vec<Dim> {
    m.ty().shape.clone()
}

fn reshapes() -> Vec<Rule> {
    vec![
        rule_if("reshape_same", |[x]| x.reshape(vec![]), same_type, |[x], ()| x),
        rule_if(
            "reshape_reshape",
            |[x]| x.reshape(vec![]),
            |m| Ok((inner(m, "reshape")?.1, target(m))),
            |[x], (first, shape)| x.other(*first).reshape(shape.clone()),
        ),
    ]
}

fn perm(op: &Op) -> Vec<i64> {
    let Op::Transpose { perm } = op else { panic!("bug: not a transpose") };
    perm.clone()
}

fn transposes() -> Vec<Rule> {
    vec![
        rule_if(
            "transpose_same",
            |[x]| x.transpose(vec![]),
            |m| need(perm(m.op("transpose")).is_sorted(), "axes move"),
            |[x], ()| x,
        ),
        rule_if(
            "transpose_transpose",
            |[x]| x.transpose(vec![]),
            |m| {
                let (first, source) = inner(m, "transpose")?;
                let (first, second) = (perm(first), perm(m.op("transpose")));
                Ok((source, second.iter().map(|&p| first[p as usize]).collect::<Vec<i64>>()))
            },
            |[x], (source, perm)| x.other(*source).transpose(perm.clone()),
        ),
        rule_if(
            "transpose_ones",
            |[x]| x.transpose(vec![]),
            |m| {
                let shape = &m.var_type(0).shape;
                let wide = perm(m.op("transpose")).into_iter().filter(|&p| shape[p as usize] != Dim::ONE);
                need(wide.is_sorted(), "axes of more than one element move")?;
                Ok(target(m))
            },
            |[x], shape| x.reshape(shape.clone()),
        ),
    ]
}

fn expansions() -> Vec<Rule> {
    vec![
        rule_if("expand_same", |[x]| x.expand(vec![]), same_type, |[x], ()| x),
        rule_if(
            "expand_expand",
            |[x]| x.expand(vec![]),
            |m| Ok((inner(m, "expand")?.1, target(m))),
            |[x], (first, shape)| x.other(*first).expand(shape.clone()),
        ),
        rule_if(
            "expand_ones",
            |[x]| x.expand(vec![]),
            |m| {
                need(m.ty().elements() == m.var_type(0).elements(), "elements are repeated")?;
                Ok(target(m))
            },
            |[x], shape| x.reshape(shape.clone()),
        ),
    ]
}

/// The attributes of a slice.
#[derive(Clone)]
pub(super) struct Range {
    pub starts: Vec<Dim>,
    pub sizes: Vec<Dim>,
    pub steps: Vec<i64>,
}

impl Range {
    pub(super) fn of(op: &Op) -> Range {
        let Op::Slice { starts, sizes, steps } = op else { panic!("bug: not a slice") };
        Range { starts: starts.clone(), sizes: sizes.clone(), steps: steps.clone() }
    }
    /// All of a shape.
    pub(super) fn whole(shape: &[Dim]) -> Range {
        Range { starts: vec![Dim::ZERO; shape.len()], sizes: shape.to_vec(), steps: vec![1; shape.len()] }
    }
    pub(super) fn apply<'g>(&self, x: Val<'g>) -> Val<'g> {
        x.slice(self.starts.clone(), self.sizes.clone(), self.steps.clone())
    }
    fn is_whole(&self, shape: &[Dim]) -> bool {
        self.sizes == shape && self.steps.iter().zip(shape).all(|(&s, d)| s == 1 || *d == Dim::ONE)
    }
    /// This range of what `first` takes.
    fn after(&self, first: &Range) -> Range {
        let axes = 0..self.starts.len();
        Range {
            starts: axes.clone().map(|a| &first.starts[a] + &self.starts[a] * first.steps[a]).collect(),
            sizes: self.sizes.clone(),
            steps: axes.map(|a| first.steps[a] * self.steps[a]).collect(),
        }
    }
}

fn slices() -> Vec<Rule> {
    vec![
        rule_if(
            "slice_whole",
            |[x]| x.slice(vec![], vec![], vec![]),
            |m| need(Range::of(m.op("slice")).is_whole(&m.var_type(0).shape), "a part"),
            |[x], ()| x,
        ),
        rule_if(
            "slice_slice",
            |[x]| x.slice(vec![], vec![], vec![]),
            |m| {
                let (first, source) = inner(m, "slice")?;
                Ok((source, Range::of(m.op("slice")).after(&Range::of(first))))
            },
            |[x], (source, range)| range.apply(x.other(*source)),
        ),
        rule_if(
            "slice_concat",
            |[x]| x.slice(vec![], vec![], vec![]),
            |m| {
                one_operand(m)
                    .ok_or_else(|| "it takes from several operands of a concat, or none".to_string())
            },
            |[x], (source, range)| range.apply(x.other(*source)),
        ),
    ]
}

/// The operand of a concat in which a slice lies, and where in it.
fn one_operand(m: &Match) -> Option<(Value, Range)> {
    let (g, v) = (m.graph(), m.var(0));
    let Op::Concat { axis } = g.op(v) else { return None };
    let axis = g.ty(v).axis(*axis).ok()?;
    let mut range = Range::of(m.op("slice"));
    if range.steps[axis] < 0 {
        return None;
    }
    let last = &range.starts[axis] + (&range.sizes[axis] - 1) * range.steps[axis];
    let mut begin = Dim::ZERO;
    for operand in g.operands(v.node) {
        let end = &begin + &g.ty(operand).shape[axis];
        let inside = (&range.starts[axis] - &begin).provably_ge(0) && (&end - &last).provably_ge(1);
        if inside {
            range.starts[axis] = &range.starts[axis] - begin;
            return Some((operand, range));
        }
        begin = end;
    }
    None
}

/// Ops that do nothing.
fn nothing() -> Vec<Rule> {
    let single = |m: &Match| need(m.ty() == m.var_type(0), "axes of more than one element");
    vec![
        rule_if(
            "pad_none",
            |[x, value]| x.pad(value, vec![], vec![], Default::default()),
            |m| {
                let Op::Pad { before, after, .. } = m.op("pad") else { panic!("bug: not a pad") };
                need(before.iter().chain(after).all(|d| *d == Dim::ZERO), "it pads")
            },
            |[x, _], ()| x,
        ),
        rule_if("reduce_ones", |[x]| x.reduce_sum(vec![]), single, |[x], ()| x),
        rule_if("reduce_ones", |[x]| x.reduce_mean(vec![]), single, |[x], ()| x),
        rule_if("reduce_ones", |[x]| x.reduce_max(vec![]), single, |[x], ()| x),
        rule_if("reduce_ones", |[x]| x.reduce_min(vec![]), single, |[x], ()| x),
        rule_if("reduce_ones", |[x]| x.reduce_prod(vec![]), single, |[x], ()| x),
    ]
}
