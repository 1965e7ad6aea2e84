//! Ensembles of decision trees.
use super::attribute::Reduction;
use super::values::{fitting, known};
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

/// Numbers of a node: feature, whether NaN goes where the comparison holds, what follows there, what else.
const COLUMNS: usize = 4;

fn check(cx: &mut Infer) -> Result<(), String> {
    let [x, nodes, splits, roots, leaves, targets, weights] = cx.operands() else {
        return Err("seven operands".into());
    };
    if x.rank() != 2 || !x.dtype.is_float() || splits.dtype != x.dtype || !weights.dtype.is_float() {
        return Err(format!("{}: rows of floats, splits of their type, weights", cx.listed()));
    }
    if nodes.rank() != 2 || nodes.shape[1] != COLUMNS as i64 {
        return Err(format!("{nodes}: {COLUMNS} numbers a node"));
    }
    if [nodes, roots, leaves, targets].iter().any(|t| t.dtype != DType::I32)
        || [splits, roots, leaves, targets, weights].iter().any(|t| t.rank() != 1)
    {
        return Err(format!("{}: lists, of i32 where they number something", cx.listed()));
    }
    cx.same(&nodes.shape[0], &splits.shape[0]).map_err(|e| format!("{nodes} with {splits}: {e}"))?;
    cx.same(&targets.shape[0], &weights.shape[0]).map_err(|e| format!("{targets} with {weights}: {e}"))?;
    Ok(())
}

/// The trees, as the operands after `x` hold them.
struct Trees {
    nodes: Vec<i64>,
    splits: Vec<f64>,
    leaves: Vec<i64>,
    targets: Vec<i64>,
    weights: Vec<f64>,
}

impl Trees {
    /// The leaf that a row of features reaches. Fails where a node does not follow the one before it.
    fn leaf(&self, root: i64, row: &[f64]) -> Result<usize, String> {
        let mut at = root;
        while let Ok(i) = usize::try_from(at) {
            let node = self.nodes.get(i * COLUMNS..(i + 1) * COLUMNS).ok_or("a node outside of the table")?;
            let feature = usize::try_from(node[0]).ok().and_then(|f| row.get(f));
            let x = *feature.ok_or("a feature that a row does not have")?;
            let holds = x <= self.splits[i] || (x.is_nan() && node[1] != 0);
            let next = node[if holds { 2 } else { 3 }];
            if (0..=at).contains(&next) {
                return Err("a node before the one that leads to it".into());
            }
            at = next;
        }
        usize::try_from(-1 - at).map_err(|_| "no leaf".into())
    }
    /// The entries of a leaf: targets and weights.
    fn entries(&self, leaf: usize, outputs: usize) -> Result<Vec<(usize, f64)>, String> {
        let bound = |i: usize| self.leaves.get(i).and_then(|&n| usize::try_from(n).ok());
        let (Some(begin), Some(end)) = (bound(leaf), bound(leaf + 1)) else {
            return Err("a leaf outside of the table".into());
        };
        let entry = |i: usize| {
            let target = self.targets.get(i).and_then(|&t| usize::try_from(t).ok()).filter(|&t| t < outputs);
            Ok((target.ok_or("a target outside of the results")?, self.weights[i]))
        };
        (begin..end).map(entry).collect()
    }
}

/// How two weights of a target are put together.
fn combined(reduction: Reduction, a: f64, b: f64) -> f64 {
    match reduction {
        Reduction::Min => a.min(b),
        Reduction::Max => a.max(b),
        _ => a + b,
    }
}

pub(super) const TREES: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Trees { outputs, reduction });
        check(cx)?;
        if *outputs < 1 || !matches!(reduction, Reduction::Add | Reduction::Min | Reduction::Max) {
            return Err(format!("{outputs} results by `{}`", reduction.name()));
        }
        let shape = vec![cx.operand(0).shape[0].clone(), Dim::from(*outputs)];
        Ok(vec![Type { dtype: cx.operand(6).dtype, shape }])
    },
    eval: |op, x, types| {
        attributes!(op, Trees { reduction });
        let shape = known(&types[0]);
        let (outputs, width) = (shape[1], x[0].shape()[1]);
        let trees = Trees {
            nodes: x[1].to_i64s(),
            splits: x[2].to_f64s(),
            leaves: x[4].to_i64s(),
            targets: x[5].to_i64s(),
            weights: x[6].to_f64s(),
        };
        let (features, roots) = (x[0].to_f64s(), x[3].to_i64s());
        let mut out: Vec<Option<f64>> = vec![None; fitting(&shape)?];
        for row in 0..shape[0] {
            for &root in &roots {
                let leaf = trees.leaf(root, &features[row * width..(row + 1) * width])?;
                for (target, weight) in trees.entries(leaf, outputs)? {
                    let place = &mut out[row * outputs + target];
                    *place = Some(place.map_or(weight, |old| combined(*reduction, old, weight)));
                }
            }
        }
        let values = out.into_iter().map(|v| v.unwrap_or(0.0));
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, values)])
    },
};
