//! Attention: two products with a softmax between them become one op, which then sheds what it can do itself.
//!
//! ```text
//! %0 = transpose(%k) {perm=[0, 1, 3, 2]}
//! %1 = matmul(%q, %0)
//! %2 = mul(%1, 0.125)                   →     %0 = attention(%q, %k, %v, %mask) {scale=0.125}
//! %3 = add(%2, %mask)
//! %4 = softmax(%3)
//! %5 = matmul(%4, %v)
//! ```
//! `scores` reads what stands between the first product and the softmax, `operands` views batch and heads as
//! two axes, `masks` makes one operand of all masks; `simplify` then takes scales, repeated heads, expanded
//! masks and causal masks into the op, wherever that came from. Runs after `normalization`, which finds
//! softmax; `movement` cancels the reshapes it leaves.
//!
//! A query that sees no key has no weights in the original where its scores are all `-inf` (NaN); the op
//! gives zeros. Where masked scores are finite, such a query sees every key, and so it does after this pass.
mod band;
mod masks;
mod operands;
mod scores;
mod simplify;

use crate::Options;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Origin, Value};
use scores::Scores;

/// The pass and its rewrites.
pub(crate) const NAMES: &[&str] = &[
    "attention",
    "attention_scale",
    "grouped_heads",
    "mask_expand",
    "mask_reshape",
    "mask_bool",
    "mask_none",
    "causal",
];

pub(crate) fn run(g: &mut Graph, options: &Options) {
    for id in g.order() {
        if !options.trace.permits() {
            return;
        }
        let formed = match candidate(g, id) {
            Some(candidate) => candidate.and_then(|c| form(g, id, &c)),
            None => continue,
        };
        match formed {
            Ok(origin) => options.trace.made(NAMES[0], origin),
            Err(reason) => options.trace.missed(NAMES[0], g, id, reason),
        }
    }
    simplify::run(g, options);
}

/// Two products with a softmax between them.
struct Attention {
    scores: Scores,
    values: Value,
    /// Whether the second product is `valuesᵀ · weightsᵀ`.
    turned: bool,
    /// The nodes between the products and the first product.
    inner: Vec<NodeId>,
}

/// What may become an attention that ends in this node, or why it does not.
fn candidate(g: &Graph, id: NodeId) -> Option<Result<Attention, String>> {
    if !matches!(g.node(id).op, Op::Matmul {}) {
        return None;
    }
    let (a, b) = (g.operand(id, 0), g.operand(id, 1));
    let (softmax, mut inner, values, turned) = match scores::weights(g, a) {
        Some((softmax, inner)) => (softmax, inner, b, false),
        None => {
            let weights = operands::last_two_swapped(g, b)?;
            let (softmax, mut inner) = scores::weights(g, weights)?;
            inner.push(b.node);
            (softmax, inner, a, true)
        }
    };
    Some(scores::read(g, g.operand(softmax, 0)).and_then(|scores| {
        inner.extend(&scores.nodes);
        match used_elsewhere(g, &inner, id) {
            Some(op) => Err(format!("the value of {op} is used elsewhere too")),
            None => Ok(Attention { scores, values, turned, inner }),
        }
    }))
}

/// The op of a node in `inner` which something besides `inner` and `root` needs.
fn used_elsewhere(g: &Graph, inner: &[NodeId], root: NodeId) -> Option<&'static str> {
    let needed = |n: NodeId| {
        let v = Value { node: n, port: 0 };
        let users = g.users(v);
        users.len() != g.use_count(v) || users.iter().any(|(user, _)| *user != root && !inner.contains(user))
    };
    inner.iter().copied().find(|&n| needed(n)).map(|n| g.node(n).op.name())
}

/// Puts the op in place of the node; what it was made of.
fn form(g: &mut Graph, id: NodeId, attention: &Attention) -> Result<Origin, String> {
    let root = Value { node: id, port: 0 };
    let Attention { scores, values, turned, inner } = attention;
    let views = operands::Views::new(g, scores)?;
    let dtype = g.ty(root).dtype;
    let queries = operands::narrowed(g, scores.queries, dtype)?;
    let keys = operands::narrowed(g, scores.keys, dtype)?;
    let values = operands::narrowed(g, *values, dtype)?;
    let origin = Origin::union(inner.iter().chain([&id]).map(|&n| &g.node(n).origin));
    g.origin = origin.clone();
    let values = if *turned { operands::swap_last_two(g, values) } else { values };
    views.check_values(g, values)?;
    let keys = operands::swap_last_two(g, keys);
    let q = views.queries(g, queries);
    let (k, v) = views.keys_and_values(g, keys, values);
    let mut all = vec![q, k, v];
    all.extend(masks::combined(g, &views, &scores.masks));
    let op = Op::Attention { scale: scores.scale, causal: false, softcap: scores.softcap };
    let mut new = g.add(op, &all)?;
    if *turned {
        new = operands::swap_last_two(g, new);
    }
    if g.ty(new) != g.ty(root) {
        let shape = g.ty(root).shape.clone();
        new = g.add(Op::Reshape { shape }, &[new])?;
    }
    g.replace(root, new);
    Ok(origin)
}
