//! Operands of any rank as `[batch, heads, rows, columns]`.
use super::scores::Scores;
use crate::pattern::lossless;
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::equal_dims;
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Dim};

/// How the leading axes of the products become batch and heads.
pub(super) struct Views {
    /// The leading axes as they are in the product.
    leading: Vec<Dim>,
    batch: Dim,
    heads: Dim,
}

impl Views {
    /// Batch and heads: as some stage of the scores or the queries have them as two axes; else the last
    /// leading axis is the heads, but for products of rank 3, which have one head.
    pub(super) fn new(g: &Graph, scores: &Scores) -> Result<Views, String> {
        let shape = &g.ty(Value { node: scores.nodes[0], port: 0 }).shape;
        let leading = shape[..shape.len() - 2].to_vec();
        let later = scores.nodes.iter().rev().map(|&node| &g.ty(Value { node, port: 0 }).shape);
        let before = match g.op(scores.queries) {
            Op::Reshape { .. } => Some(&g.ty(g.operand(scores.queries.node, 0)).shape),
            _ => None,
        };
        let count = Dim::product(&leading);
        let split = later
            .chain(before)
            .find(|s| s.len() == 4 && &s[0] * &s[1] == count)
            .map(|s| (s[0].clone(), s[1].clone()));
        let (batch, heads) = match (split, &leading[..]) {
            (Some(split), _) => split,
            (None, []) => (Dim::ONE, Dim::ONE),
            (None, [batch]) => (batch.clone(), Dim::ONE),
            (None, [batch @ .., heads]) => (Dim::product(batch), heads.clone()),
        };
        Ok(Views { leading, batch, heads })
    }

    /// Fails where the values have more batches or heads than the scores.
    pub(super) fn check_values(&self, g: &Graph, values: Value) -> Result<(), String> {
        let shape = &g.ty(values).shape;
        let own = &shape[..shape.len() - 2];
        let fits = own.len() <= self.leading.len()
            && own
                .iter()
                .rev()
                .zip(self.leading.iter().rev())
                .all(|(a, b)| *a == Dim::ONE || equal_dims(g, a, b));
        if fits { Ok(()) } else { Err("there are more values than weights".into()) }
    }

    /// The queries, all of them.
    pub(super) fn queries(&self, g: &mut Graph, v: Value) -> Value {
        self.whole(g, v)
    }

    /// Keys and values; if both have one head for all, that stays one.
    pub(super) fn keys_and_values(&self, g: &mut Graph, k: Value, v: Value) -> (Value, Value) {
        let shared = |g: &Graph, v: Value| {
            let shape = &g.ty(v).shape;
            self.leading.len() == 2 && shape.len() == 4 && shape[1] == Dim::ONE && self.heads != Dim::ONE
        };
        if shared(g, k) && shared(g, v) {
            return (self.one_head(g, k), self.one_head(g, v));
        }
        (self.whole(g, k), self.whole(g, v))
    }

    fn one_head(&self, g: &mut Graph, v: Value) -> Value {
        let shape = g.ty(v).shape.clone();
        reshaped(g, v, std::slice::from_ref(&self.batch), &shape[1..])
    }

    /// `[…, r, c]` as `[batch, heads, r, c]`.
    fn whole(&self, g: &mut Graph, v: Value) -> Value {
        let shape = g.ty(v).shape.clone();
        let (own, matrix) = shape.split_at(shape.len() - 2);
        let v = if own == self.leading { v } else { reshaped(g, v, &self.leading, matrix) };
        view(g, v, [&self.batch, &self.heads].into_iter().chain(matrix).cloned().collect())
    }

    /// A mask that broadcasts to scores of this shape, as one that broadcasts to `[batch, heads, s, t]`.
    pub(super) fn mask(&self, g: &mut Graph, mut mask: Value, scores: &[Dim]) -> Value {
        while matches!(g.op(mask), Op::Expand { .. }) {
            mask = g.operand(mask.node, 0);
        }
        let split = scores.len() == 4 && scores[0] == self.batch && scores[1] == self.heads;
        let own = g.ty(mask).shape.clone();
        if split || own.len() <= 2 {
            return mask;
        }
        let (leading, matrix) = own.split_at(own.len() - 2);
        if leading.iter().all(|d| *d == Dim::ONE) {
            return view(g, mask, matrix.to_vec());
        }
        let mask = reshaped(g, mask, &scores[..scores.len() - 2], matrix);
        view(g, mask, [&self.batch, &self.heads].into_iter().chain(matrix).cloned().collect())
    }
}

/// A value of the result's element type: attention is computed in full precision, so that casts of its
/// operands to a wider type are not needed.
pub(super) fn narrowed(g: &Graph, v: Value, dtype: DType) -> Result<Value, String> {
    if g.ty(v).dtype == dtype {
        return Ok(v);
    }
    let inner = matches!(g.op(v), Op::Cast { .. }).then(|| g.operand(v.node, 0));
    inner
        .filter(|&x| g.ty(x).dtype == dtype && lossless(dtype, g.ty(v).dtype))
        .ok_or_else(|| "queries, keys and values have different types".to_string())
}

/// Expands the leading axes of a value.
fn reshaped(g: &mut Graph, v: Value, leading: &[Dim], rest: &[Dim]) -> Value {
    let shape: Vec<Dim> = leading.iter().chain(rest).cloned().collect();
    if g.ty(v).shape == shape {
        return v;
    }
    g.add(Op::Expand { shape }, &[v]).expect("leading axes should broadcast as in the product")
}

/// The value in another shape.
fn view(g: &mut Graph, v: Value, shape: Vec<Dim>) -> Value {
    if g.ty(v).shape == shape {
        return v;
    }
    g.add(Op::Reshape { shape }, &[v]).expect("a view should have as many elements")
}

/// The operand of a transpose that swaps the last two axes and nothing else.
pub(super) fn last_two_swapped(g: &Graph, v: Value) -> Option<Value> {
    match g.op(v) {
        Op::Transpose { perm } if swapped(perm).is_sorted() => Some(g.operand(v.node, 0)),
        _ => None,
    }
}

fn swapped(perm: &[i64]) -> Vec<i64> {
    let mut perm = perm.to_vec();
    let n = perm.len();
    perm.swap(n - 2, n - 1);
    perm
}

/// The value with its last two axes swapped, in one transpose with that which makes the value.
pub(super) fn swap_last_two(g: &mut Graph, v: Value) -> Value {
    let (source, perm) = match g.op(v) {
        Op::Transpose { perm } => (g.operand(v.node, 0), swapped(perm)),
        _ => (v, swapped(&(0..g.ty(v).rank() as i64).collect::<Vec<i64>>())),
    };
    if perm.is_sorted() {
        return source;
    }
    g.add(Op::Transpose { perm }, &[source]).expect("a permutation of the axes")
}
