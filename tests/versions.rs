//! Every version of ONNX's operators beside ONNX Runtime.
//!
//! `versions/table.txt` says since which versions of its domain an operator means or takes something new. A case
//! (in the files beside it) is a node with seeded inputs, and the versions in which it has this form and meaning; it
//! runs at the first and the last opset of each version among them, through ONNX Runtime, the reference interpreter
//! and on the CPU target. A version for which no case agrees with ONNX Runtime needs a reason in [`REASONS`].
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

use case::{Case, Expected};
use check::Judge;
use reasons::REASONS;
use sardonyx_tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Of a line of the table: the first opset of each version, and whether the operator is gone from then on.
fn versions(line: &str) -> (&str, &str, Vec<(i64, bool)>) {
    let mut words = line.split(' ');
    let (domain, name) = (words.next().expect("a domain"), words.next().expect("a name"));
    let version = |word: &str| {
        let since = word.trim_end_matches('!').parse::<i64>().expect("a version");
        (if domain == "ai.onnx" { since.max(OLDEST) } else { since }, word.ends_with('!'))
    };
    (domain, name, words.map(version).collect())
}

/// The versions of the standard domain's operators by name.
type Table = BTreeMap<&'static str, Vec<(i64, bool)>>;

fn table() -> Table {
    let lines = include_str!("versions/table.txt").lines().map(versions);
    lines.filter(|(domain, ..)| *domain == "ai.onnx").map(|(_, name, all)| (name, all)).collect()
}

/// The opsets at which a case runs, each with the version of the operator that holds there.
fn opsets(case: &Case, versions: &[(i64, bool)]) -> BTreeMap<i64, i64> {
    let mut all = BTreeMap::new();
    for (i, &(since, _)) in versions.iter().enumerate() {
        let last = versions.get(i + 1).map_or(LAST.max(since), |next| next.0 - 1);
        for opset in [since, last, case.opset, case.until] {
            if (since..=last).contains(&opset) && (case.opset..=case.until).contains(&opset) {
                all.insert(opset, since);
            }
        }
    }
    all
}

/// An operator, its version, and what came of a case at one opset.
type Run = (&'static str, i64, Result<Judge, String>);

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
    let versions = table.get(case.op).unwrap_or_else(|| panic!("{} is not in the table", case.op));
    let run = |(opset, version): (i64, i64)| {
        let case = case.clone().at(opset);
        let result = check::guarded(&case, oracle, &mut known);
        (case.op, version, result.map_err(|e| format!("{}\n    {e}", case.name())))
    };
    opsets(case, versions).into_iter().map(run).collect()
}

#[test]
fn versions_mean_what_they_do_in_onnx_runtime() {
    let (table, oracle) = (table(), check::oracle());
    let filter = std::env::var("SARDONYX_CASE").unwrap_or_default();
    let mut cases: Vec<Case> = GROUPS.iter().flat_map(|group| group()).collect();
    cases.retain(|case| case.name().starts_with(&filter));
    let results = run_all(&cases, &table, oracle);
    let mut judged: BTreeMap<(&str, i64), bool> = BTreeMap::new();
    for (name, version, result) in &results {
        *judged.entry((name, *version)).or_default() |= *result == Ok(Judge::Ort);
    }
    let failed: Vec<&String> = results.iter().filter_map(|(_, _, result)| result.as_ref().err()).collect();
    println!("{} cases, {} models, {} fail", cases.len(), results.len(), failed.len());
    if !filter.is_empty() {
        println!("{results:#?}");
    }
    let texts: Vec<&str> = failed.iter().map(|s| s.as_str()).collect();
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), results.len(), texts.join("\n"));
    if filter.is_empty() {
        covered(&table, &judged, oracle);
    }
}

/// Fails unless every version of every operator agreed with ONNX Runtime in a case or has a reason why not.
fn covered(table: &Table, judged: &BTreeMap<(&str, i64), bool>, oracle: bool) {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (&name, versions) in table {
        for &(version, _) in versions {
            let reason = REASONS.iter().position(|r| r.op == name && r.versions.contains(&version));
            used.extend(reason);
            match (judged.get(&(name, version)), reason) {
                (Some(true), Some(i)) => {
                    wrong.push(format!("{name} {version} agrees, in spite of: {}", REASONS[i].why))
                }
                (Some(false), None) if oracle => {
                    wrong.push(format!("{name} {version}: no case agrees with ONNX Runtime"))
                }
                (None, None) => wrong.push(format!("{name} {version} is not tested")),
                _ => {}
            }
        }
    }
    for (i, r) in REASONS.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
        wrong.push(format!("reason {i}: {} has no version in {:?}", r.op, r.versions));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
