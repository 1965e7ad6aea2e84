//! ONNX's own backend tests (`onnx/backend/test/data` of the `onnx` wheel), through the reference
//! interpreter and the CPU target.
//!
//! `SARDONYX_ONNX_TESTS` names that folder; without it the test says so and passes. `docs/onnx-support.md`
//! has to say what they gave; with `SARDONYX_BLESS=1` it is written.
#![cfg(feature = "cpu")]
mod document;

use sardonyx::compile::{Options, compile};
use sardonyx::onnx::{self, ImportOptions, Model};
use sardonyx_ir::interp;
use sardonyx_runtime::{Device, Program, Session};
use sardonyx_tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// ONNX's tolerances for backend tests.
const RTOL: f64 = 1e-3;
const ATOL: f64 = 1e-7;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Pass,
    /// Import says that something is missing.
    Unsupported(String),
    /// Import or evaluation fails otherwise.
    Error(String),
    /// The values are wrong.
    Wrong(String),
    /// Something panicked.
    Crash(String),
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    all.sort();
    all
}

/// The tensors `input_0.pb`, `input_1.pb`, … of a data set.
fn tensors(set: &Path, kind: &str) -> Result<Vec<Tensor>, String> {
    (0..)
        .map(|i| set.join(format!("{kind}_{i}.pb")))
        .take_while(|p| p.exists())
        .map(|p| onnx::read_tensor(&p).map(|(_, t)| t).map_err(|e| e.to_string()))
        .collect()
}

fn compare(expected: &Tensor, actual: &Tensor) -> Result<(), String> {
    if expected.dtype() != actual.dtype() || expected.shape() != actual.shape() {
        let of = |t: &Tensor| format!("{}{:?}", t.dtype(), t.shape());
        return Err(format!("{} instead of {}", of(actual), of(expected)));
    }
    if !expected.dtype().is_float() {
        return if expected == actual { Ok(()) } else { Err(format!("{actual:?} instead of {expected:?}")) };
    }
    // The expected values of the narrow types were rounded in places that the standard leaves open.
    let rtol = match expected.dtype() {
        DType::F16 => 1e-2,
        DType::BF16 => 2e-2,
        _ => RTOL,
    };
    for (i, (e, a)) in expected.to_f64s().into_iter().zip(actual.to_f64s()).enumerate() {
        let same = e == a || (e.is_nan() && a.is_nan()) || (a - e).abs() <= ATOL + rtol * e.abs();
        if !same {
            return Err(format!("element {i} is {a} instead of {e}"));
        }
    }
    Ok(())
}

/// What came of a test.
struct Tested {
    /// The operator it is about.
    op: String,
    reference: Outcome,
    cpu: Outcome,
}

fn run(folder: &Path) -> Tested {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let both = |op: String, outcome: Outcome| Tested { op, reference: outcome.clone(), cpu: outcome };
    let model = match onnx::import(folder.join("model.onnx"), &ImportOptions::default()) {
        Ok(model) => model,
        Err(onnx::ImportError::Nodes { issues, .. }) if issues.iter().any(|i| i.unsupported) => {
            let issue = issues.into_iter().find(|i| i.unsupported).expect("one is unsupported");
            return both(issue.op, Outcome::Unsupported(issue.reason));
        }
        Err(e) => {
            let text = e.to_string().replace(&folder.join("model.onnx").display().to_string(), "model");
            return both(name, Outcome::Error(text.replace('\n', " ")));
        }
    };
    let op = model.operators.iter().max_by_key(|(_, n)| **n).map_or(name, |(op, _)| op.clone());
    let reference = guarded(|| {
        on_data(folder, &mut |inputs| interp::eval(&model.graph, inputs).map_err(|e| e.to_string()))
    });
    let cpu = guarded(|| on_cpu(folder, &model));
    Tested { op, reference, cpu }
}

/// The outcome, a panic included.
fn guarded(f: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or(payload.downcast_ref::<&str>().map(|s| s.to_string()));
        Outcome::Crash(text.unwrap_or_default())
    })
}

fn on_cpu(folder: &Path, model: &Model) -> Outcome {
    let program = match compile(model, &Options { jobs: Some(1), ..Options::default() }) {
        Ok(compiled) => Program::from_bytes(compiled.bytes).map_err(|e| e.to_string()),
        Err(e) => {
            return Outcome::Unsupported(
                e.to_string().lines().skip(1).map(str::trim).collect::<Vec<_>>().join("; "),
            );
        }
    };
    let mut session: Session =
        match program.and_then(|p| p.session(Device::cpu().threads(1)).map_err(|e| e.to_string())) {
            Ok(session) => session,
            Err(e) => return Outcome::Error(e),
        };
    let names: Vec<String> = model.graph.inputs().map(|v| model.graph.input_name(v).to_string()).collect();
    on_data(folder, &mut |inputs| {
        let named = names.iter().zip(inputs).map(|(n, t)| (n.as_str(), t.clone()));
        session.run(named).map(<[Tensor]>::to_vec).map_err(|e| e.to_string())
    })
}

/// The outputs for inputs.
type Evaluate<'a> = dyn FnMut(&[Tensor]) -> Result<Vec<Tensor>, String> + 'a;

/// Runs `f` on every data set and compares what it gives.
fn on_data(folder: &Path, f: &mut Evaluate<'_>) -> Outcome {
    for set in sorted(folder).into_iter().filter(|p| p.is_dir()) {
        let data = tensors(&set, "input").and_then(|i| Ok((i, tensors(&set, "output")?)));
        let (inputs, expected) = match data {
            Ok(data) => data,
            Err(e) => return Outcome::Unsupported(e.rsplit(": ").next().unwrap_or_default().into()),
        };
        let actual = match f(&inputs) {
            Ok(actual) => actual,
            Err(e) => return Outcome::Error(e),
        };
        if actual.len() != expected.len() {
            return Outcome::Wrong(format!("{} outputs, {} expected", actual.len(), expected.len()));
        }
        for (i, (e, a)) in expected.iter().zip(&actual).enumerate() {
            if let Err(reason) = compare(e, a) {
                return Outcome::Wrong(format!("output {i}: {reason}"));
            }
        }
    }
    Outcome::Pass
}

/// Every test of a folder, on all cores.
fn run_all(tests: &[PathBuf]) -> BTreeMap<String, Tested> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = test.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let crash = |text| Tested {
                        op: name.clone(),
                        reference: Outcome::Crash(text),
                        cpu: Outcome::Crash("import".into()),
                    };
                    let result = catch_unwind(AssertUnwindSafe(|| run(test)))
                        .unwrap_or_else(|_| crash("import".into()));
                    results.lock().expect("no thread should have panicked").insert(name, result);
                }
            });
        }
    });
    results.into_inner().expect("no thread should have panicked")
}

/// `docs/onnx-support.md`: by operator how many tests pass, then every test that does not, by reason.
fn text(results: &BTreeMap<String, Tested>) -> String {
    let passed = |f: fn(&Tested) -> &Outcome| results.values().filter(|r| *f(r) == Outcome::Pass).count();
    let mut text = String::from("## ONNX's own node tests\n\n");
    let all = results.len();
    let _ = writeln!(
        text,
        "Of the {all} node tests of `onnx==1.22.0`, {} pass through the reference interpreter and {} on the CPU target.\n",
        passed(|r| &r.reference),
        passed(|r| &r.cpu)
    );
    let _ = writeln!(text, "| operator | tests | reference | CPU |\n|---|---|---|---|");
    let mut ops: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for r in results.values() {
        let row = ops.entry(&r.op).or_default();
        row[0] += 1;
        row[1] += usize::from(r.reference == Outcome::Pass);
        row[2] += usize::from(r.cpu == Outcome::Pass);
    }
    for (op, [tests, reference, cpu]) in ops {
        let _ = writeln!(text, "| {op} | {tests} | {reference} | {cpu} |");
    }
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, r) in results.iter().filter(|(_, r)| r.cpu != Outcome::Pass) {
        reasons.entry(reason(r)).or_default().push(name.trim_start_matches("test_"));
    }
    let _ = writeln!(text, "\n### What does not pass on the CPU target\n\n| reason | tests |\n|---|---|");
    for (reason, names) in reasons {
        let _ = writeln!(text, "| {reason} | {} |", names.join(", "));
    }
    text
}

/// Why a test does not pass on the CPU target, without figures that differ between machines.
fn reason(r: &Tested) -> String {
    let text = match &r.cpu {
        Outcome::Pass => String::new(),
        Outcome::Unsupported(e) => format!("{}: not supported: {e}", r.op),
        Outcome::Error(e) => format!("{}: {e}", r.op),
        Outcome::Wrong(_) => format!("{}: other values than the test's", r.op),
        Outcome::Crash(_) => format!("{}: crash", r.op),
    };
    text.chars().take(160).collect::<String>().replace(['|', '\n'], " ")
}

#[test]
fn node_tests() {
    let Some(data) = std::env::var_os("SARDONYX_ONNX_TESTS").map(PathBuf::from) else {
        eprintln!("skipped: run scripts/test, which installs ONNX's node tests");
        return;
    };
    let results = run_all(&sorted(&data.join("node")));
    if std::env::var_os("SARDONYX_LIST").is_some() {
        for (n, r) in results.iter().filter(|(_, r)| r.reference != Outcome::Pass || r.cpu != Outcome::Pass) {
            println!("{n}: reference {:?}, cpu {:?}", r.reference, r.cpu);
        }
    }
    let passed = |f: fn(&Tested) -> &Outcome| results.values().filter(|r| *f(r) == Outcome::Pass).count();
    let (reference, cpu) = (passed(|r| &r.reference), passed(|r| &r.cpu));
    println!("of {} node tests {reference} pass through the interpreter, {cpu} on the CPU", results.len());
    let crash = |o: &Outcome| matches!(o, Outcome::Crash(_));
    let crashed: Vec<&String> =
        results.iter().filter(|(_, r)| crash(&r.reference) || crash(&r.cpu)).map(|(n, _)| n).collect();
    assert!(crashed.is_empty(), "these crash: {crashed:?}");
    assert!(reference >= 900 && cpu >= 900, "too few node tests pass");
    document::check("node tests", &text(&results));
}
