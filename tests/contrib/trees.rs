//! Ensembles of trees: seeded forests in every mode, aggregate and transform.
use super::case::{Case, ML, encode, tensor};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, F32, F64, I32, I64, String as Text, U8};
use sardonyx_tensor::Tensor;

const POSTS: [&str; 5] = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"];
const MODES: [&str; 6] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
const FEATURES: u64 = 5;

/// Numbers that follow from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    /// Halves between -2 and 2, so that features often equal splits.
    fn half(&mut self) -> f32 {
        self.below(9) as f32 * 0.5 - 2.0
    }
}

/// A node of a tree: mode (0…5, or 6 for a leaf), feature, split, children, whether NaN goes to the first.
struct Node {
    mode: usize,
    feature: i64,
    split: f32,
    children: [i64; 2],
    missing: i64,
}

/// A tree of this depth at most, its first node the root.
fn tree(draw: &mut Draw, depth: usize, modes: &[usize]) -> Vec<Node> {
    let mut nodes = vec![];
    let mut open = vec![(0usize, depth)];
    nodes.push(None);
    while let Some((at, depth)) = open.pop() {
        let leaf = depth == 0 || (at > 0 && draw.below(4) == 0);
        let (first, second) = (nodes.len() as i64, nodes.len() as i64 + 1);
        if !leaf {
            open.extend([(nodes.len(), depth - 1), (nodes.len() + 1, depth - 1)]);
            nodes.extend([None, None]);
        }
        nodes[at] = Some(Node {
            mode: if leaf { 6 } else { modes[draw.below(modes.len() as u64) as usize] },
            feature: draw.below(FEATURES) as i64,
            split: draw.half(),
            children: if leaf { [0, 0] } else { [first, second] },
            missing: draw.below(2) as i64,
        });
    }
    nodes.into_iter().map(|n| n.expect("every node should be drawn")).collect()
}

fn forest(seed: u64, trees: usize, depth: usize, modes: &[usize]) -> Vec<Vec<Node>> {
    let mut draw = Draw(seed);
    (0..trees).map(|_| tree(&mut draw, depth, modes)).collect()
}

/// Rows of halves, NaN among them if asked.
fn features(dtype: DType, rows: usize, nan: bool) -> Tensor {
    let mut draw = Draw(rows as u64 + 99);
    let values: Vec<f64> = (0..rows * FEATURES as usize)
        .map(|_| if nan && draw.below(6) == 0 { f64::NAN } else { f64::from(draw.half()) })
        .collect();
    Tensor::from_f64s(dtype, vec![rows, FEATURES as usize], values)
}

/// What stands in the leaves.
#[derive(Clone, Copy)]
struct Leaves {
    targets: u64,
    /// Every target in every leaf, else one.
    all: bool,
    /// From which number on weights go up to 1 above it.
    least: f32,
}

/// The attributes of the older operators.
fn older(case: Case, kind: &str, forest: &[Vec<Node>], leaves: Leaves, missing: bool) -> Case {
    let nodes = || forest.iter().enumerate().flat_map(|(t, all)| all.iter().enumerate().map(move |n| (t, n)));
    let ints = |f: &dyn Fn(usize, usize, &Node) -> i64| -> Vec<i64> {
        nodes().map(|(t, (i, node))| f(t, i, node)).collect()
    };
    let modes: Vec<&str> = nodes().map(|(_, (_, n))| MODES.get(n.mode).copied().unwrap_or("LEAF")).collect();
    let splits: Vec<f32> = nodes().map(|(_, (_, n))| n.split).collect();
    let case = case
        .ints("nodes_treeids", &ints(&|t, _, _| t as i64))
        .ints("nodes_nodeids", &ints(&|_, i, _| i as i64))
        .ints("nodes_featureids", &ints(&|_, _, n| n.feature))
        .ints("nodes_truenodeids", &ints(&|_, _, n| n.children[0]))
        .ints("nodes_falsenodeids", &ints(&|_, _, n| n.children[1]))
        .texts("nodes_modes", &modes)
        .floats("nodes_values", &splits);
    let case = match missing {
        true => case.ints("nodes_missing_value_tracks_true", &ints(&|_, _, n| n.missing)),
        false => case,
    };
    let mut draw = Draw(5);
    let (mut of, mut at, mut ids, mut weights) = (vec![], vec![], vec![], vec![]);
    for (t, (i, _)) in nodes().filter(|(_, (_, n))| n.mode == 6) {
        let one = of.len() as u64 % leaves.targets;
        for target in (0..leaves.targets).filter(|&target| leaves.all || target == one) {
            of.push(t as i64);
            at.push(i as i64);
            ids.push(target as i64);
            weights.push(leaves.least + draw.below(64) as f32 / 64.0);
        }
    }
    case.ints(&format!("{kind}_treeids"), &of)
        .ints(&format!("{kind}_nodeids"), &at)
        .ints(&format!("{kind}_ids"), &ids)
        .floats(&format!("{kind}_weights"), &weights)
}

fn ml(op: &'static str, version: i64) -> Case {
    Case::new(ML, op, version)
}

fn regressors(all: &mut Vec<Case>) {
    let every: Vec<usize> = (0..6).collect();
    for aggregate in ["SUM", "AVERAGE", "MIN", "MAX"] {
        for targets in [1, 3] {
            for (i, post) in POSTS.into_iter().enumerate() {
                for base in [false, true] {
                    // Quantiles are those of numbers between 0 and 1.
                    let quantile = post == "PROBIT";
                    if quantile && (aggregate == "SUM" || base) {
                        continue;
                    }
                    let leaves = Leaves {
                        targets,
                        all: quantile || i % 2 == 0,
                        least: if quantile { 0.001 } else { -0.5 },
                    };
                    let case = ml("TreeEnsembleRegressor", 3).text("aggregate_function", aggregate);
                    let case = case.text("post_transform", post).int("n_targets", targets as i64);
                    let case = older(case, "target", &forest(i as u64 + 1, 4, 3, &every), leaves, false);
                    let base_values = [0.25, -0.5, 1.0];
                    let case = match base {
                        true => case.floats("base_values", &base_values[..targets as usize]),
                        false => case,
                    };
                    let atol = if quantile { 2e-3 } else { 1e-4 };
                    all.push(case.input(features(F32, 12, false)).out(F32).within(atol, 1e-3));
                }
            }
        }
    }
    let leaves = Leaves { targets: 2, all: true, least: -0.5 };
    for (seed, mode) in every.iter().enumerate() {
        for missing in [false, true] {
            let case = ml("TreeEnsembleRegressor", 3).int("n_targets", 2);
            let case = older(case, "target", &forest(seed as u64 + 40, 3, 4, &[*mode]), leaves, missing);
            all.push(case.input(features(F32, 40, true)).named(&["rows"]).out(F32));
        }
    }
    let mixed = older(
        ml("TreeEnsembleRegressor", 3).int("n_targets", 2),
        "target",
        &forest(9, 5, 4, &every),
        leaves,
        true,
    );
    all.push(mixed.input(features(F64, 20, true)).out(F32));
    let large = Leaves { targets: 1, all: true, least: -0.5 };
    let case = older(
        ml("TreeEnsembleRegressor", 1).int("n_targets", 1),
        "target",
        &forest(11, 60, 6, &[0]),
        large,
        false,
    );
    all.push(case.input(features(F32, 70, false)).out(F32).within(1e-4, 1e-4));
}

fn classifiers(all: &mut Vec<Case>) {
    let labels = [4, 0, 9];
    for post in POSTS {
        for classes in [1, 2, 3] {
            for (every, least) in [(true, -0.5), (true, 0.01), (false, -0.5), (false, 0.01)] {
                for base in [false, true] {
                    if post == "PROBIT" && (least < 0.0 || base || !every || classes == 2) {
                        continue;
                    }
                    let leaves = Leaves { targets: classes, all: every, least };
                    let trees = if post == "PROBIT" { 1 } else { 4 };
                    let case = ml("TreeEnsembleClassifier", 3).text("post_transform", post);
                    let case = case.ints("classlabels_int64s", &labels[..classes as usize]);
                    let case = older(case, "class", &forest(classes + 20, trees, 3, &[0, 3]), leaves, false);
                    let values = [0.25, -0.5, 0.125];
                    let count = if classes == 2 { 1 } else { classes as usize };
                    let case = if base { case.floats("base_values", &values[..count]) } else { case };
                    let case = case.input(features(F32, 12, false)).outs(&[I64, F32]).within(1e-4, 1e-3);
                    all.push(match classes {
                        2 if !every => case.unsupported("no score"),
                        _ => case,
                    });
                }
            }
        }
        // ONNX Runtime reads the name of a second class where there is one.
        for (classes, every) in [(2, true), (3, true), (3, false)] {
            if post == "PROBIT" {
                continue;
            }
            let leaves = Leaves { targets: classes, all: every, least: -0.5 };
            let case = ml("TreeEnsembleClassifier", 3).text("post_transform", post);
            let case = case.texts("classlabels_strings", &["no", "yes", "?"][..classes as usize]);
            let case = older(case, "class", &forest(classes + 50, 4, 3, &[0, 3]), leaves, false);
            all.push(case.input(features(F32, 12, false)).outs(&[Text, F32]).within(1e-4, 1e-3));
        }
        // The weights of one class stand for two.
        for (least, base) in [(-0.5, false), (0.01, false), (-0.5, true), (0.01, true)] {
            let leaves = Leaves { targets: 1, all: true, least };
            let case = ml("TreeEnsembleClassifier", 3).text("post_transform", post);
            let case = case.ints("classlabels_int64s", &[3, 8]);
            let case = older(case, "class", &forest(31, 1, 4, &[0]), leaves, false);
            let case = if base { case.floats("base_values", &[0.125]) } else { case };
            let case = case.input(features(F32, 12, false)).outs(&[I64, F32]).within(1e-4, 1e-3);
            all.push(if post == "PROBIT" { case.unsupported("quantiles") } else { case });
        }
    }
    for dtype in [F64, I64, I32] {
        let leaves = Leaves { targets: 3, all: true, least: 0.0 };
        let case = ml("TreeEnsembleClassifier", 3).ints("classlabels_int64s", &labels);
        let case = older(case, "class", &forest(3, 5, 4, &[0, 1, 2]), leaves, true);
        all.push(case.input(features(dtype, 20, false)).named(&["rows"]).outs(&[I64, F32]));
    }
}

/// The attributes of TreeEnsemble.
fn tables(dtype: DType, forest: &[Vec<Node>], targets: u64) -> Case {
    let mut draw = Draw(17);
    let (mut roots, mut splits, mut modes, mut features, mut missing) =
        (vec![], vec![], vec![], vec![], vec![]);
    let (mut holds, mut fails, mut true_leaf, mut false_leaf) = (vec![], vec![], vec![], vec![]);
    let (mut ids, mut weights, mut members): (Vec<i64>, Vec<f64>, Vec<f64>) = (vec![], vec![], vec![]);
    for tree in forest {
        let base = modes.len() as i64;
        roots.push(base);
        let branches: Vec<usize> = (0..tree.len()).filter(|&i| tree[i].mode != 6).collect();
        let mut place = |child: i64| match branches.iter().position(|&b| b as i64 == child) {
            Some(i) => (0, base + i as i64),
            None => {
                ids.push(draw.below(targets) as i64);
                weights.push(f64::from(draw.half()));
                (1, ids.len() as i64 - 1)
            }
        };
        for &i in &branches {
            let n = &tree[i];
            let mode = if n.mode == 4 { 6 } else { n.mode as i64 };
            if mode == 6 {
                // ONNX Runtime takes only whole numbers, and is exact only for those that are not negative.
                let first = f64::from(n.split).floor().abs();
                members.extend([first, first + 1.0, 2.0, f64::NAN]);
            }
            modes.push(mode);
            splits.push(f64::from(n.split));
            features.push(n.feature);
            missing.push(n.missing);
            let ((a, b), (c, d)) = (place(n.children[0]), place(n.children[1]));
            true_leaf.push(a);
            holds.push(b);
            false_leaf.push(c);
            fails.push(d);
        }
    }
    let list =
        |name: &str, t: DType, v: Vec<f64>| tensor(name, encode("", &Tensor::from_f64s(t, [v.len()], v)));
    let modes = modes.into_iter().map(|m| m as f64).collect();
    let case = ml("TreeEnsemble", 5)
        .tensor(list("nodes_splits", dtype, splits))
        .tensor(list("nodes_modes", U8, modes))
        .tensor(list("leaf_weights", dtype, weights))
        .ints("tree_roots", &roots)
        .ints("nodes_featureids", &features)
        .ints("nodes_missing_value_tracks_true", &missing)
        .ints("nodes_truenodeids", &holds)
        .ints("nodes_falsenodeids", &fails)
        .ints("nodes_trueleafs", &true_leaf)
        .ints("nodes_falseleafs", &false_leaf)
        .ints("leaf_targetids", &ids)
        .int("n_targets", targets as i64);
    if members.is_empty() { case } else { case.tensor(list("membership_values", dtype, members)) }
}

fn ensembles(all: &mut Vec<Case>) {
    for dtype in [F32, F64] {
        for aggregate in 0..4 {
            for targets in [1, 3] {
                let case = tables(dtype, &forest(aggregate + 3, 4, 4, &[0, 1, 2, 3, 5]), targets);
                let case = case.int("aggregate_function", aggregate as i64);
                all.push(case.input(features(dtype, 15, true)).out(dtype));
            }
        }
        for post in 0..4 {
            let case = tables(dtype, &forest(8, 4, 4, &[0, 3]), 3).int("post_transform", post);
            all.push(case.input(features(dtype, 9, false)).out(dtype).within(1e-4, 1e-3));
        }
        let members = tables(dtype, &forest(7, 4, 4, &[0, 4]), 2);
        all.push(members.input(features(dtype, 30, false)).named(&["rows"]).out(dtype));
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    regressors(&mut all);
    classifiers(&mut all);
    ensembles(&mut all);
    let broken = older(
        ml("TreeEnsembleRegressor", 3).int("n_targets", 1),
        "target",
        &[vec![Node { mode: 0, feature: 0, split: 0.0, children: [0, 0], missing: 0 }]],
        Leaves { targets: 1, all: true, least: 0.0 },
        false,
    );
    all.push(broken.input(sample(F32, &[2, 5], 1)).out(F32).unsupported("two nodes lead to node 0"));
    all
}
