//! The three operators that are ensembles of trees.
use super::super::super::context::{Built, Context};
use super::super::super::error::{Fault, invalid, unsupported};
use super::super::{Import, Row};
use super::scores::{Post, best, complement, either, opposite};
use super::trees::{Aggregate, Branch, Forest, Mode, Next};
use super::{class_labels, many, one, rows};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Tensor};
use std::collections::HashMap;

pub(super) const ROWS: &[Row] = &[
    Row { domain: "ai.onnx.ml", name: "TreeEnsemble", since: 5, import: Import::One(ensemble) },
    many("TreeEnsembleClassifier", classifier),
    one("TreeEnsembleRegressor", regressor),
];

/// The type in which features are compared: doubles as they are, everything else as singles.
fn compared(cx: &Context) -> Built<DType> {
    let x = cx.operand(0)?;
    Ok(if cx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 })
}

/// A list of integers; empty where it is absent.
fn ints(cx: &Context, name: &str) -> Built<Vec<i64>> {
    Ok(cx.ints(name)?.unwrap_or_default())
}

/// Numbers in an attribute that is a list of singles, or in the tensor that newer versions have beside it.
fn numbers(cx: &mut Context, name: &str) -> Built<Vec<f64>> {
    match cx.tensor(&format!("{name}_as_tensor"))? {
        Some(t) => Ok(t.to_f64s()),
        None => super::singles(cx, name),
    }
}

/// A number that counts from 0.
fn index(n: i64) -> Result<usize, Fault> {
    usize::try_from(n).map_err(|_| Fault::Invalid(format!("a negative number {n} of a node")))
}

/// TreeEnsemble, from version 5 on: nodes and leaves in tables of their own.
fn ensemble(cx: &mut Context) -> Built {
    let dtype = compared(cx)?;
    let (x, _) = rows(cx, dtype)?;
    let given = cx.dtype(cx.operand(0)?);
    let tensor = |cx: &mut Context, name: &str| {
        cx.tensor(name)?.ok_or_else(|| Fault::Invalid(format!("`{name}` is missing")))
    };
    let (splits, modes) = (tensor(cx, "nodes_splits")?.to_f64s(), tensor(cx, "nodes_modes")?);
    let modes = modes.to_i64s().into_iter().map(Mode::numbered).collect::<Built<Vec<Mode>>>()?;
    let members = cx.tensor("membership_values")?.map_or(Vec::new(), |t| t.to_f64s());
    let mut members = members.split(|v| v.is_nan());
    let (features, missing) = (ints(cx, "nodes_featureids")?, ints(cx, "nodes_missing_value_tracks_true")?);
    let follows = ["nodes_trueleafs", "nodes_truenodeids", "nodes_falseleafs", "nodes_falsenodeids"];
    let [true_leaf, holds, false_leaf, fails] = follows.map(|name| ints(cx, name));
    let (true_leaf, holds, false_leaf, fails) = (true_leaf?, holds?, false_leaf?, fails?);
    let n = modes.len();
    if [splits.len(), features.len(), holds.len(), fails.len(), true_leaf.len(), false_leaf.len()] != [n; 6]
        || (!missing.is_empty() && missing.len() != n)
    {
        return invalid("the lists of nodes are not of one length");
    }
    let next = |leaf: i64, to: i64| -> Built<Next> {
        Ok(if leaf != 0 { Next::Leaf(index(to)?) } else { Next::Node(index(to)?) })
    };
    let mut forest = Forest::default();
    for i in 0..n {
        let set = match modes[i] {
            Mode::Member => members.next().map_or(Vec::new(), <[f64]>::to_vec),
            _ => vec![splits[i]],
        };
        forest.nodes.push(Some(Branch {
            feature: features[i],
            mode: modes[i],
            splits: set,
            missing: missing.get(i).is_some_and(|&m| m != 0),
            holds: next(true_leaf[i], holds[i])?,
            fails: next(false_leaf[i], fails[i])?,
        }));
    }
    let weights = tensor(cx, "leaf_weights")?.to_f64s();
    let targets = ints(cx, "leaf_targetids")?;
    if weights.len() != targets.len() {
        return invalid(format!("{} weights for {} leaves", weights.len(), targets.len()));
    }
    forest.leaves = targets.into_iter().zip(weights).map(|leaf| vec![leaf]).collect();
    forest.roots =
        ints(cx, "tree_roots")?.into_iter().map(|r| Ok(Next::Node(index(r)?))).collect::<Built<_>>()?;
    let outputs = cx.int("n_targets", 1)?;
    let aggregate = Aggregate::numbered(cx.int("aggregate_function", 1)?)?;
    let post = Post::numbered(cx.int("post_transform", 0)?)?;
    let y = forest.build(cx, x, outputs, aggregate)?;
    let y = post.apply(cx, y)?;
    cx.cast(y, given)
}

/// The nodes of the older operators, which trees number each for themselves, with leaves from the lists
/// `{kind}_treeids`, `_nodeids`, `_ids`, `_weights`.
fn older(cx: &mut Context, kind: &str) -> Built<Forest> {
    let [trees, ids, features, holds, fails, missing] = [
        "nodes_treeids",
        "nodes_nodeids",
        "nodes_featureids",
        "nodes_truenodeids",
        "nodes_falsenodeids",
        "nodes_missing_value_tracks_true",
    ]
    .map(|name| ints(cx, name));
    let (trees, ids, features, holds, fails, missing) = (trees?, ids?, features?, holds?, fails?, missing?);
    let splits = numbers(cx, "nodes_values")?;
    let modes = cx.strings("nodes_modes")?.unwrap_or_default();
    let n = trees.len();
    if [ids.len(), features.len(), holds.len(), fails.len(), splits.len(), modes.len()] != [n; 6]
        || (!missing.is_empty() && missing.len() != n)
    {
        return invalid("the lists of nodes are not of one length");
    }
    let mut places: HashMap<(i64, i64), usize> = HashMap::new();
    for i in 0..n {
        if places.insert((trees[i], ids[i]), i).is_some() {
            return invalid(format!("tree {} has two nodes {}", trees[i], ids[i]));
        }
    }
    let find = |tree: i64, id: i64| {
        places
            .get(&(tree, id))
            .copied()
            .ok_or_else(|| Fault::Invalid(format!("tree {tree} has no node {id}")))
    };
    let mut forest = Forest { leaves: vec![Vec::new(); n], ..Forest::default() };
    for i in 0..n {
        if i == 0 || trees[i] != trees[i - 1] {
            forest.roots.push(Next::Node(i));
        }
        forest.nodes.push(match Mode::named(&modes[i])? {
            None => None,
            Some(mode) => Some(Branch {
                feature: features[i],
                mode,
                splits: vec![splits[i]],
                missing: missing.get(i).is_some_and(|&m| m != 0),
                holds: Next::Node(find(trees[i], holds[i])?),
                fails: Next::Node(find(trees[i], fails[i])?),
            }),
        });
    }
    let list = |name: &str| ints(cx, &format!("{kind}_{name}"));
    let (trees, ids, targets) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let weights = numbers(cx, &format!("{kind}_weights"))?;
    if [ids.len(), targets.len(), weights.len()] != [trees.len(); 3] {
        return invalid("the lists of leaves are not of one length");
    }
    for i in 0..trees.len() {
        forest.leaves[find(trees[i], ids[i])?].push((targets[i], weights[i]));
    }
    Ok(forest)
}

/// Base values of every result, `[outputs]`; `None` without any.
fn base(cx: &mut Context, dtype: DType) -> Built<Option<(usize, Value)>> {
    let values = numbers(cx, "base_values")?;
    if values.is_empty() {
        return Ok(None);
    }
    let n = values.len();
    Ok(Some((n, cx.constant(Tensor::from_f64s(dtype, [n], values)))))
}

fn regressor(cx: &mut Context) -> Built {
    let dtype = compared(cx)?;
    let (x, _) = rows(cx, dtype)?;
    let outputs = cx.int("n_targets", 1)?;
    let aggregate = Aggregate::named(&cx.string("aggregate_function", "SUM")?)?;
    let forest = older(cx, "target")?;
    let y = forest.build(cx, x, outputs, aggregate)?;
    let y = match base(cx, dtype)? {
        Some((n, values)) if n as i64 == outputs => {
            let sum = cx.plus(y, values)?;
            // Of several targets, one without a weight is 0.
            match scored(cx, &forest, x, n)? {
                Some(scored) if n > 1 => cx.select(scored, sum, y)?,
                _ => sum,
            }
        }
        Some((n, _)) => return invalid(format!("{n} base values for {outputs} targets")),
        None => y,
    };
    let y = cx.cast(y, DType::F32)?;
    Post::of(cx)?.apply(cx, y)
}

/// Which classes have a weight in every leaf of some tree, so that every row has a score of them.
fn always(forest: &Forest, classes: usize) -> Vec<bool> {
    let mut tree = 0;
    let mut all = vec![false; classes];
    let mut begin = 0;
    while begin < forest.nodes.len() {
        tree += 1;
        let end = match forest.roots.get(tree) {
            Some(Next::Node(end)) => *end,
            _ => forest.nodes.len(),
        };
        for (class, found) in all.iter_mut().enumerate() {
            let holds = |i: usize| forest.leaves[i].iter().any(|(c, _)| *c == class as i64);
            *found |= (begin..end).filter(|&i| forest.nodes[i].is_none()).all(holds);
        }
        begin = end;
    }
    all
}

/// Whether rows have a weight for each target, `[rows, outputs]`; `None` where they always do.
fn scored(cx: &mut Context, forest: &Forest, x: Value, outputs: usize) -> Built<Option<Value>> {
    if always(forest, outputs).into_iter().all(|a| a) {
        return Ok(None);
    }
    let ones = |leaf: &Vec<(i64, f64)>| leaf.iter().map(|&(target, _)| (target, 1.0)).collect();
    let counting = Forest {
        nodes: forest.nodes.clone(),
        leaves: forest.leaves.iter().map(ones).collect(),
        roots: forest.roots.clone(),
    };
    let counts = counting.build(cx, x, outputs as i64, Aggregate::Sum)?;
    let zero = cx.like(counts, 0.0);
    Ok(Some(cx.gt(counts, zero)?))
}

/// Labels, and the scores of every class.
fn classifier(cx: &mut Context) -> Built<Vec<Value>> {
    let dtype = compared(cx)?;
    let (x, _) = rows(cx, dtype)?;
    let labels = class_labels(cx, "classlabels_int64s")?;
    let (forest, classes) = (older(cx, "class")?, labels.len());
    let scores = forest.build(cx, x, classes as i64, Aggregate::Sum)?;
    let (base, post) = (base(cx, dtype)?, Post::of(cx)?);
    if let Some((n, _)) = base
        && n != classes
        && classes > 2
    {
        return invalid(format!("{n} base values for {classes} classes"));
    }
    let (label, scores) = match classes {
        0 => return invalid("there are no classes"),
        1 => {
            let scores = base.map_or(Ok(scores), |(_, values)| cx.plus(scores, values))?;
            let scores = cx.cast(scores, DType::F32)?;
            (either(cx, scores, 0.0, signs(&labels)?)?, post.apply(cx, scores)?)
        }
        2 => two(cx, &forest, scores, base, post, labels)?,
        _ => several(cx, &forest, x, scores, base.map(|(_, values)| values), post, labels)?,
    };
    Ok(vec![label, scores])
}

/// What ONNX Runtime calls the classes of a negative and a positive score: 0 and 1 whatever the numbers of the
/// classes are, texts by their names.
fn signs(labels: &Tensor) -> Built<Tensor> {
    match labels.dtype() {
        DType::String if labels.len() == 2 => Ok(labels.clone()),
        DType::String => unsupported("one class that a text names"),
        _ => Ok(Tensor::from_slice([2], &[0i64, 1])),
    }
}

/// More than two classes: the greatest score wins among the classes that a row has a score of.
fn several(
    cx: &mut Context,
    forest: &Forest,
    x: Value,
    scores: Value,
    base: Option<Value>,
    post: Post,
    labels: Tensor,
) -> Built<(Value, Value)> {
    let scores = base.map_or(Ok(scores), |values| cx.plus(scores, values))?;
    let compared = match if base.is_some() { None } else { scored(cx, forest, x, labels.len())? } {
        Some(scored) => {
            let least = cx.like(scores, f64::NEG_INFINITY);
            cx.select(scored, scores, least)?
        }
        None => scores,
    };
    let label = best(cx, compared, labels)?;
    let scores = cx.cast(scores, DType::F32)?;
    Ok((label, post.apply(cx, scores)?))
}

/// Two classes. Where only one of them has weights, its score stands for both.
fn two(
    cx: &mut Context,
    forest: &Forest,
    scores: Value,
    base: Option<(usize, Value)>,
    post: Post,
    labels: Tensor,
) -> Built<(Value, Value)> {
    let entries = || forest.leaves.iter().flatten();
    let has = [0, 1].map(|class| entries().any(|(c, _)| *c == class));
    if has == [true, true] && always(forest, 2) != [true, true] {
        return unsupported("two classes of which a row may have no score");
    }
    let base = match base {
        None => None,
        Some((1, values)) => Some(values),
        Some(_) => return unsupported("base values of two classes"),
    };
    let threshold = if entries().all(|(_, weight)| *weight >= 0.0) { 0.5 } else { 0.0 };
    let column = |cx: &mut Context, i: i64| {
        cx.slice_axis(scores, 1, sardonyx_tensor::Dim::from(i), sardonyx_tensor::Dim::ONE, 1)
    };
    let first = column(cx, 0)?;
    let first = match base {
        Some(values) if has[0] => cx.plus(first, values)?,
        _ => first,
    };
    let (first, second) = (cx.cast(first, DType::F32)?, column(cx, 1)?);
    let second = cx.cast(second, DType::F32)?;
    if has[1] {
        let label = match has[0] {
            true => either(cx, second, 0.0, signs(&labels)?)?,
            false => either(cx, second, threshold, labels)?,
        };
        let both = cx.concat(&[first, second], 1)?;
        return Ok((label, post.apply(cx, both)?));
    }
    let label = either(cx, first, threshold, labels)?;
    let both = match post {
        Post::Probit => return unsupported("the quantiles of two classes of one score"),
        Post::Logistic => {
            let both = opposite(cx, first)?;
            cx.add(Op::Sigmoid {}, &[both])?
        }
        _ if threshold > 0.0 => complement(cx, first)?,
        _ => opposite(cx, first)?,
    };
    Ok((label, both))
}
