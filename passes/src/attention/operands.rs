//! Queries, keys, values and masks in the shapes that attention wants.
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, need};
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Dim};

/// How products of some rank become attention of rank 4.
pub(super) struct Heads {
    rank: usize,
}

impl Heads {
    /// Those of queries of rank 3 (`[b, s, d]`, one head) or 4.
    pub(super) fn of(g: &Graph, queries: Value) -> Check<Heads> {
        let rank = g.ty(queries).rank();
        need(matches!(rank, 3 | 4), "queries of rank other than 3 or 4")?;
        Ok(Heads { rank })
    }
    /// An operand with an axis of heads.
    pub(super) fn packed(&self, g: &mut Graph, v: Value) -> Check<Value> {
        need(g.ty(v).rank() == self.rank, "queries, keys and values have different ranks")?;
        if self.rank == 4 {
            return Ok(v);
        }
        let mut shape = g.ty(v).shape.clone();
        shape.insert(1, Dim::ONE);
        g.add(Op::Reshape { shape }, &[v])
    }
    /// A mask on scores of this rank with an axis of heads.
    pub(super) fn packed_mask(&self, g: &mut Graph, v: Value) -> Check<Value> {
        if self.rank == 4 || g.ty(v).rank() < 3 { Ok(v) } else { self.packed(g, v) }
    }
    /// The result of attention in the original shape.
    pub(super) fn unpacked(&self, g: &mut Graph, v: Value) -> Check<Value> {
        if self.rank == 4 {
            return Ok(v);
        }
        let mut shape = g.ty(v).shape.clone();
        shape.remove(1);
        g.add(Op::Reshape { shape }, &[v])
    }
}

/// An operand of the result's element type: attention is computed in full precision, so a cast up to the
/// scores' type is not needed.
pub(super) fn narrowed(g: &Graph, v: Value, dtype: DType) -> Check<Value> {
    if g.ty(v).dtype == dtype {
        return Ok(v);
    }
    let inner = matches!(g.op(v), Op::Cast { .. }).then(|| g.operand(v.node, 0));
    inner.filter(|&v| g.ty(v).dtype == dtype).ok_or_else(|| "operands of different types".to_string())
}

/// Transposed keys as keys.
pub(super) fn transposed(g: &mut Graph, v: Value) -> Check<Value> {
    let rank = g.ty(v).rank();
    need(rank >= 2, "keys of rank 1")?;
    let mut swap: Vec<i64> = (0..rank as i64).collect();
    swap.swap(rank - 2, rank - 1);
    let undone = match g.op(v) {
        Op::Transpose { perm } => {
            let composed: Vec<i64> = swap.iter().map(|&p| perm[p as usize]).collect();
            Some((composed, g.operand(v.node, 0)))
        }
        _ => None,
    };
    match undone {
        Some((perm, source)) if perm.is_sorted() => Ok(source),
        Some((perm, source)) => g.add(Op::Transpose { perm }, &[source]),
        None => g.add(Op::Transpose { perm: swap }, &[v]),
    }
}

/// Heads before they were repeated for groups of queries: `[b, g, 1, t, d]` expanded to `[b, g, n, t, d]` and
/// reshaped to `[b, g*n, t, d]`. Transposes that leave the heads alone may stand after it.
pub(super) fn unrepeated(g: &mut Graph, v: Value) -> Value {
    match g.op(v).clone() {
        Op::Transpose { perm } if perm.len() == 4 && perm[..2] == [0, 1] => {
            let source = g.operand(v.node, 0);
            let inner = unrepeated(g, source);
            if inner == source { v } else { g.add(Op::Transpose { perm }, &[inner]).unwrap_or(v) }
        }
        Op::Reshape { .. } => before_repetition(g, v).unwrap_or(v),
        _ => v,
    }
}

fn before_repetition(g: &mut Graph, v: Value) -> Option<Value> {
    let expanded = g.operand(v.node, 0);
    let Op::Expand { shape: wide } = g.op(expanded).clone() else { return None };
    let narrow = g.operand(expanded.node, 0);
    let (shape, thin) = (g.ty(v).shape.clone(), g.ty(narrow).shape.clone());
    let repeats = shape.len() == 4
        && wide.len() == 5
        && thin.len() == 5
        && thin[2] == Dim::ONE
        && thin[..2] == wide[..2]
        && thin[3..] == wide[3..]
        && [&wide[0], &(&wide[1] * &wide[2]), &wide[3], &wide[4]]
            == [&shape[0], &shape[1], &shape[2], &shape[3]];
    if !repeats {
        return None;
    }
    let bare = vec![thin[0].clone(), thin[1].clone(), thin[3].clone(), thin[4].clone()];
    if matches!(g.op(narrow), Op::Reshape { .. }) {
        let source = g.operand(narrow.node, 0);
        if g.ty(source).shape == bare {
            return Some(source);
        }
    }
    g.add(Op::Reshape { shape: bare }, &[narrow]).ok()
}
