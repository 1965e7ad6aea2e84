//! Linear attention: a work item is one head of keys and values; its state stays in scratch memory over all
//! steps.
use super::Special;
use crate::nest::Ty;
use sardonyx_ir::Op;
use sardonyx_tensor::Dim;

pub(super) fn linear_attention(s: &Special<'_>, op: &Op) -> Option<Dim> {
    let Op::LinearAttention { delta, scale } = op else { return None };
    let (b, q, k, v) = (&s.b, &s.operands[0], &s.operands[1], &s.operands[2]);
    let [batch, steps, groups, d] = &k.shape[..] else { return None };
    let (heads, e) = (&q.shape[2], &v.shape[3]);
    let ty = Ty::of(q.dtype);
    let (depth, width) = (b.dim(d), b.dim(e));
    let state = b.scratch("state", ty.dtype, d * e);
    let added = b.scratch("added", ty.dtype, e.clone());
    let (image, group) = (b.grid().index_div(b.dim(groups)), b.grid().index_rem(b.dim(groups)));
    let own = b.grid() * (depth * width);
    b.vectorize(0, &(d * e), |i| b.store(state, i, b.load(s.inputs[3], own + i)));
    b.for_(0, steps, |t| {
        let row = (image * b.dim(steps) + t) * b.dim(groups) + group;
        if let Some(&decay) = s.inputs.get(4) {
            let single = s.operands[4].shape[3] == 1;
            b.for_(0, d, |i| {
                let at = if single { row } else { row * depth + i };
                let factor = b.load(decay, at).exp();
                b.vectorize(0, e, |j| b.store(state, i * width + j, b.load(state, i * width + j) * factor));
            });
        }
        b.vectorize(0, e, |j| b.store(added, j, b.load(s.inputs[2], row * width + j)));
        if *delta {
            // What the state gives for the key so far is taken off.
            b.for_(0, d, |i| {
                let key = b.load(s.inputs[1], row * depth + i);
                b.vectorize(0, e, |j| {
                    b.store(added, j, b.load(added, j) - key * b.load(state, i * width + j));
                });
            });
            let beta = b.load(s.inputs[5], row);
            b.vectorize(0, e, |j| b.store(added, j, b.load(added, j) * beta));
        }
        b.for_(0, d, |i| {
            let key = b.load(s.inputs[1], row * depth + i);
            b.vectorize(0, e, |j| {
                b.store(state, i * width + j, b.fma(key, b.load(added, j), b.load(state, i * width + j)));
            });
        });
        let shared = b.dim(&heads.floor_div(groups.clone()));
        b.for_(0, shared, |h| {
            let row = (image * b.dim(steps) + t) * b.dim(heads) + group * shared + h;
            let sum = b.scratch("sum", ty.dtype, e.clone());
            b.vectorize(0, e, |j| b.store(sum, j, b.constant(ty, 0.0)));
            b.for_(0, d, |i| {
                let query = b.load(s.inputs[0], row * depth + i);
                b.vectorize(0, e, |j| {
                    b.store(sum, j, b.fma(query, b.load(state, i * width + j), b.load(sum, j)));
                });
            });
            b.vectorize(0, e, |j| b.store(s.outputs[0], row * width + j, b.load(sum, j) * *scale));
        });
    });
    b.vectorize(0, &(d * e), |i| b.store(s.outputs[1], own + i, b.load(state, i)));
    Some(batch * groups)
}
