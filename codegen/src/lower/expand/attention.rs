//! Attention that no kernel does in one: products, a softmax and products again.
use super::Writer;
use sardonyx_ir::{Graph, NodeId, Op, Value};
use sardonyx_tensor::{DType, Dim};

/// Whether a node is an attention that is written out: of doubles, or of heads whose size is not known.
pub(super) fn is_written_out(g: &Graph, id: NodeId) -> bool {
    let sizes = |i: usize| g.ty(g.operand(id, i)).shape[3].is_known();
    matches!(g.node(id).op, Op::Attention { .. })
        && (g.node(id).types[0].dtype == DType::F64 || !sizes(0) || !sizes(2))
}

pub(super) fn attention(w: &mut Writer<'_>, op: &Op, x: &[Value]) -> Value {
    let Op::Attention { scale, causal, softcap } = op else { panic!("bug: not an attention") };
    let ty = w.ty(x[0]);
    let [q, k, v] = [x[0], x[1], x[2]].map(|v| w.wide(v));
    let (k, v) = (w.for_heads(k, &ty.shape[1]), w.for_heads(v, &ty.shape[1]));
    let turned = w.add(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[k]);
    let scores = w.add(Op::Matmul {}, &[q, turned]);
    let mut scores = w.times(scores, *scale);
    if *softcap > 0.0 {
        let small = w.times(scores, 1.0 / softcap);
        let flat = w.add(Op::Tanh {}, &[small]);
        scores = w.times(flat, *softcap);
    }
    let dtype = w.ty(scores).dtype;
    let hidden = w.literal(f64::NEG_INFINITY, dtype);
    if let Some(&mask) = x.get(3) {
        scores = match w.ty(mask).dtype {
            t if t.is_float() => {
                let mask = w.cast(mask, dtype);
                w.add(Op::Add {}, &[scores, mask])
            }
            _ => {
                let kept = w.cast(mask, DType::Bool);
                w.add(Op::Select {}, &[kept, scores, hidden])
            }
        };
    }
    if *causal {
        let (s, t) = (ty.shape[2].clone(), w.ty(k).shape[2].clone());
        let visible = w.causal(s, t);
        scores = w.add(Op::Select {}, &[visible, scores, hidden]);
    }
    let shares = w.shares(scores);
    let y = w.add(Op::Matmul {}, &[shares, v]);
    w.cast(y, ty.dtype)
}

impl Writer<'_> {
    pub(super) fn times(&mut self, x: Value, y: f64) -> Value {
        let y = self.literal(y, self.g.ty(x).dtype);
        self.add(Op::Mul {}, &[x, y])
    }
    /// Keys or values of groups, one for each of `heads`.
    fn for_heads(&mut self, x: Value, heads: &Dim) -> Value {
        let shape = self.ty(x).shape;
        if shape[1] == *heads {
            return x;
        }
        let [b, g, t, d] = [0, 1, 2, 3].map(|i| shape[i].clone());
        let single = self.reshape(x, vec![b.clone(), g.clone(), Dim::ONE, t.clone(), d.clone()]);
        let shape = vec![b.clone(), g.clone(), heads.floor_div(g), t.clone(), d.clone()];
        let wide = self.add(Op::Expand { shape }, &[single]);
        self.reshape(wide, vec![b, heads.clone(), t, d])
    }
    /// True where query `i` of `s` sees key `j` of `t`: `j <= i + t - s`.
    fn causal(&mut self, s: Dim, t: Dim) -> Value {
        let queries = self.add(Op::Iota { count: s.clone(), to: DType::I64 }, &[]);
        let queries = self.reshape(queries, vec![s.clone(), Dim::ONE]);
        let keys = self.add(Op::Iota { count: t.clone(), to: DType::I64 }, &[]);
        let more = self.add(Op::Dims { values: vec![t - s] }, &[]);
        let last = self.add(Op::Add {}, &[queries, more]);
        self.add(Op::Le {}, &[keys, last])
    }
    /// A softmax over the last axis, of zeros where everything is hidden.
    fn shares(&mut self, scores: Value) -> Value {
        let axes = vec![self.ty(scores).rank() as i64 - 1];
        let most = self.add(Op::ReduceMax { axes: axes.clone() }, &[scores]);
        let least = self.literal(-f64::from(f32::MAX), self.g.ty(scores).dtype);
        let most = self.add(Op::Max {}, &[most, least]);
        let shifted = self.add(Op::Sub {}, &[scores, most]);
        let exp = self.add(Op::Exp {}, &[shifted]);
        let sum = self.add(Op::ReduceSum { axes }, &[exp]);
        let tiny = self.literal(f64::from(f32::MIN_POSITIVE), self.g.ty(sum).dtype);
        let sum = self.add(Op::Max {}, &[sum, tiny]);
        self.add(Op::Div {}, &[exp, sum])
    }
}
