//! Every version of ONNX's operators beside ONNX Runtime.
//!
//! `versions/table.txt` says since which versions of its domain an operator means or takes something new. A case
//! (in the files beside it) is a node with seeded inputs, and the versions in which it has this form and meaning; it
//! runs at the first and the last opset of each version among them, through ONNX Runtime, the reference interpreter
//! and on the CPU target, and one of each operator in every element type. A version for which no case agrees with
//! ONNX Runtime needs a reason in [`REASONS`]. `docs/onnx-support.md` has to say what came of it.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's library; without it the CPU is held against the reference alone.
#![cfg(all(feature = "cpu", feature = "ort"))]
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "contrib/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "contrib/check.rs"]
#[allow(dead_code)]
mod check;
#[path = "versions/control.rs"]
mod control;
mod document;
#[path = "versions/elementwise.rs"]
mod elementwise;
#[path = "versions/movement.rs"]
mod movement;
#[path = "versions/neural.rs"]
mod neural;
#[path = "versions/quantized.rs"]
mod quantized;
#[path = "versions/reasons.rs"]
mod reasons;
#[path = "versions/reduction.rs"]
mod reduction;
#[path = "versions/signal.rs"]
mod signal;
#[path = "versions/summary.rs"]
mod summary;
#[path = "versions/table.rs"]
mod table;
#[path = "versions/types.rs"]
mod types;

use case::{Case, Expected};
use check::{Fault, Judge, Passed};
use reasons::REASONS;
use sardonyx_tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use table::{Operator, Table, table};

/// The oldest opset that is tested.
const OLDEST: i64 = 7;
/// The newest opset that ONNX Runtime 1.31.1 reads.
const LAST: i64 = 26;

/// What ONNX Runtime says of a newer one.
const UNRELEASED: &str = "is under development";

/// A case of an operator of the standard domain from one opset to another.
fn op(name: &'static str, since: i64, until: i64) -> Case {
    let mut case = Case::new("", name, since).at(since);
    (case.until, case.expected) = (until, Expected::Offered);
    case
}

fn list(values: &[i64]) -> Tensor {
    Tensor::from_slice([values.len()], values)
}

fn scalar(x: f32) -> Tensor {
    Tensor::from_slice([], &[x])
}

fn truth(yes: bool) -> Tensor {
    Tensor::from_i64s(DType::Bool, [], [i64::from(yes)])
}

const GROUPS: &[fn() -> Vec<Case>] = &[
    control::cases,
    elementwise::cases,
    movement::cases,
    neural::cases,
    quantized::cases,
    reduction::cases,
    signal::cases,
];

/// A case at one opset, and what came of it.
struct Run {
    op: &'static str,
    /// The first opset of the operator's version.
    version: i64,
    dtype: Option<DType>,
    name: String,
    result: Result<Passed, Fault>,
}

/// The opsets at which a case runs, each with the version of the operator that holds there.
fn opsets(case: &Case, operator: &Operator) -> BTreeMap<i64, i64> {
    let mut all = BTreeMap::new();
    for v in &operator.versions {
        for opset in [v.since, v.last, case.opset, case.until] {
            if (v.since..=v.last).contains(&opset) && (case.opset..=case.until).contains(&opset) {
                all.insert(opset, v.since);
            }
        }
    }
    all
}

/// Every case at all its opsets, on all cores.
fn run_all(cases: &[Case], table: &Table, oracle: bool) -> Vec<Run> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let runs = run_one(case, table, oracle);
                    results.lock().expect("no thread should have panicked").extend(runs);
                }
            });
        }
    });
    results.into_inner().expect("no thread should have panicked")
}

fn run_one(case: &Case, table: &Table, oracle: bool) -> Vec<Run> {
    let mut known = Vec::new();
    let operator = table.get(case.op).unwrap_or_else(|| panic!("{} is not in the table", case.op));
    let run = |(opset, version): (i64, i64)| {
        let case = case.clone().at(opset);
        let result = check::guarded(&case, oracle, &mut known);
        Run { op: case.op, version, dtype: case.dtype(operator.place), name: case.name(), result }
    };
    opsets(case, operator).into_iter().map(run).collect()
}

#[test]
fn versions_mean_what_they_do_in_onnx_runtime() {
    let (table, oracle) = (table(), check::oracle());
    let filter = std::env::var("SARDONYX_CASE").unwrap_or_default();
    let mut cases: Vec<Case> = GROUPS.iter().flat_map(|group| group()).collect();
    let versions = cases.len();
    cases.extend(types::all_others(&table, &cases));
    // What a type lacks is told in the document; what a version lacks is wrong.
    let typed: BTreeSet<String> = cases[versions..].iter().map(Case::name).collect();
    cases.retain(|case| case.name().starts_with(&filter));
    let runs = run_all(&cases, &table, oracle);
    let is_wrong = |run: &&Run| match &run.result {
        Ok(_) => false,
        Err(Fault::Unsupported(_)) => !typed.contains(&run.name),
        Err(Fault::Wrong(_)) => true,
    };
    let wrong: Vec<&Run> = runs.iter().filter(is_wrong).collect();
    println!("{} cases, {} models, {} fail", cases.len(), runs.len(), wrong.len());
    if !filter.is_empty() {
        runs.iter().for_each(|run| println!("{}: {:?}", run.name, run.result));
    }
    let texts: Vec<String> = (wrong.iter())
        .filter_map(|run| Some(format!("{}\n    {}", run.name, run.result.as_ref().err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {} fail:\n{}", wrong.len(), runs.len(), texts.join("\n"));
    if filter.is_empty() {
        covered(&table, &runs, oracle);
    }
    if filter.is_empty() && oracle {
        document::check("versions", &summary::text(&table, &runs));
    }
}

/// Fails unless every version of every operator agreed with ONNX Runtime in a case or has a reason why not.
fn covered(table: &Table, runs: &[Run], oracle: bool) {
    let mut judged: BTreeMap<(&str, i64), bool> = BTreeMap::new();
    for run in runs {
        let agrees = run.result.as_ref().is_ok_and(|passed| passed.judge == Judge::Ort);
        *judged.entry((run.op, run.version)).or_default() |= agrees;
    }
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (&name, version) in table.iter().flat_map(|(name, o)| o.versions.iter().map(move |v| (name, v.since)))
    {
        let reason = REASONS.iter().position(|r| r.op == name && r.versions.contains(&version));
        used.extend(reason);
        match (judged.get(&(name, version)), reason) {
            (Some(true), Some(i)) => {
                wrong.push(format!("{name} {version} agrees, in spite of: {}", REASONS[i].why));
            }
            (Some(false), None) if oracle => {
                wrong.push(format!("{name} {version}: no case agrees with ONNX Runtime"));
            }
            (None, None) => wrong.push(format!("{name} {version} is not tested")),
            _ => {}
        }
    }
    for (i, r) in REASONS.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
        wrong.push(format!("reason {i}: {} has no version in {:?}", r.op, r.versions));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
