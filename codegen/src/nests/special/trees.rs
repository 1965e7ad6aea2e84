//! Ensembles of decision trees: a work item is a row of features, which walks down every tree.
//!
//! The tables of nodes and leaves are constants of the model; the importer has checked what they number.
use super::Special;
use crate::nest::Ty;
use sardonyx_ir::ops::attribute::Reduction;
use sardonyx_tensor::{DType, Dim};

pub(super) fn trees(s: &Special<'_>, reduction: Reduction) -> Dim {
    let b = &s.b;
    let [x, nodes, splits, roots, leaves, targets, weights] = s.inputs[..] else {
        panic!("bug: the type rule should have seen seven operands");
    };
    let (rows, width) = (&s.operands[0].shape[0], &s.operands[0].shape[1]);
    let outputs = &s.results[0].shape[1];
    let ty = Ty::of(s.results[0].dtype);
    let (first, to) = (b.grid() * b.dim(width), b.grid() * b.dim(outputs));
    let plain = reduction == Reduction::Add;
    // NaN marks a minimum or maximum of nothing.
    let start = if plain { 0.0 } else { f64::NAN };
    let number = |i| b.load(nodes, i).cast(DType::I64);
    b.for_(0, outputs, |j| b.store(s.outputs[0], to + j, b.constant(ty, start)));
    b.for_(0, &s.operands[3].shape[0], |tree| {
        let at = b.var(b.load(roots, tree).cast(DType::I64));
        b.while_(
            || at.get().ge(0),
            || {
                let node = at.get() * 4;
                let feature = b.load(x, first + number(node));
                let split = b.load(splits, at.get());
                let missing = feature.ne(feature).and(number(node + 1).ne(0));
                let holds = feature.le(split).or(missing);
                at.set(holds.select(number(node + 2), number(node + 3)));
            },
        );
        let leaf = -at.get() - 1;
        let bound = |i| b.load(leaves, i).cast(DType::I64);
        b.for_(bound(leaf), bound(leaf + 1), |entry| {
            let place = to + b.load(targets, entry).cast(DType::I64);
            let (old, weight) = (b.load(s.outputs[0], place), b.load(weights, entry));
            let better = match reduction {
                Reduction::Min => weight.lt(old),
                _ => weight.gt(old),
            };
            let new = if plain { old + weight } else { old.ne(old).or(better).select(weight, old) };
            b.store(s.outputs[0], place, new);
        });
    });
    if !plain {
        b.for_(0, outputs, |j| {
            let value = b.load(s.outputs[0], to + j);
            b.store(s.outputs[0], to + j, value.ne(value).select(b.constant(ty, 0.0), value));
        });
    }
    rows.clone()
}
