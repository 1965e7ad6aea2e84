//! Attention, in the forms in which exporters write it out.
//!
//! ```text
//! %0 = transpose(%k) {perm=[0, 1, 3, 2]}
//! %1 = matmul(%q, %0)
//! %2 = mul(%1, 0.125)
//! %3 = add(%2, %mask)                  →     %0 = attention(%q, %k, %v, %mask) {scale=0.125}
//! %4 = softmax(%3) {axis=3}
//! %5 = matmul(%4, %v)
//! ```
//! The scale may stand on the queries, the keys, both, or the scores. Masks are added, or selected by a bool
//! with a large negative number; scores may pass a soft cap. Heads that were repeated for groups of queries
//! are not. Rank 3 is attention of one head. Runs after `normalization`, which finds softmax.
mod operands;
mod scores;

use crate::Options;
use crate::pattern::put;
use operands::Heads;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::Check;
use sardonyx_ir::{Graph, NodeId, Origin, Value};
use scores::Scores;

pub(crate) const NAMES: &[&str] = &["attention"];

pub(crate) fn run(g: &mut Graph, options: &Options) {
    for id in g.order() {
        if !options.trace.permits() {
            return;
        }
        if !g.contains(id) || !matches!(g.node(id).op, Op::Matmul {}) {
            continue;
        }
        let Some(softmax) = probabilities(g, g.operand(id, 0)) else { continue };
        match fuse(g, id, softmax) {
            Ok(origin) => options.trace.made(NAMES[0], origin),
            Err(reason) => {
                options.trace.missed(NAMES[0], g, softmax.node, reason);
                g.remove_dead();
            }
        }
    }
}

/// The softmax that a value is, up to casts.
fn probabilities(g: &Graph, v: Value) -> Option<Value> {
    match g.op(v) {
        Op::Softmax { .. } => Some(v),
        Op::Cast { .. } => probabilities(g, g.operand(v.node, 0)),
        _ => None,
    }
}

/// Puts attention in place of the product `id` of probabilities with values.
fn fuse(g: &mut Graph, id: NodeId, softmax: Value) -> Check<Origin> {
    single_uses(g, g.operand(id, 0), softmax)?;
    let scores = Scores::of(g, softmax)?;
    let result = Value { node: id, port: 0 };
    let dtype = g.ty(result).dtype;
    let outer = g.origin.clone();
    let origin = Origin::union(scores.nodes.iter().chain([&softmax.node, &id]).map(|&n| &g.node(n).origin));
    g.origin = origin.clone();
    let made = assemble(g, &scores, g.operand(id, 1), dtype).and_then(|(new, heads)| heads.unpacked(g, new));
    let done = made.and_then(|new| put(g, result, new));
    g.origin = outer;
    done.map(|()| {
        g.prune(id);
        origin
    })
}

/// The attention node for the operands in the shapes it wants.
fn assemble(
    g: &mut Graph,
    s: &Scores,
    values: Value,
    dtype: sardonyx_tensor::DType,
) -> Check<(Value, Heads)> {
    let heads = Heads::of(g, s.queries)?;
    let queries = operands::narrowed(g, s.queries, dtype)?;
    let keys = operands::narrowed(g, s.keys, dtype)?;
    let values = operands::narrowed(g, values, dtype)?;
    let keys = operands::transposed(g, keys)?;
    let (keys, values) = (operands::unrepeated(g, keys), operands::unrepeated(g, values));
    let mut all = vec![heads.packed(g, queries)?, heads.packed(g, keys)?, heads.packed(g, values)?];
    if g.ty(all[1]).shape[1] != g.ty(all[2]).shape[1] {
        return Err("keys and values have different heads".into());
    }
    if let Some(mask) = s.mask(g)? {
        all.push(heads.packed_mask(g, mask)?);
    }
    let op = Op::Attention { scale: s.scale, causal: false, softcap: s.softcap };
    g.add(op, &all).map(|new| (new, heads))
}

/// Nothing but the product needs the probabilities.
fn single_uses(g: &Graph, from: Value, softmax: Value) -> Check {
    let mut v = from;
    loop {
        if g.use_count(v) != 1 {
            return Err("the probabilities are used elsewhere too".into());
        }
        if v == softmax {
            return Ok(());
        }
        v = g.operand(v.node, 0);
    }
}
