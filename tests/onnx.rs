//! ONNX's own backend tests (`onnx/backend/test/data` of the `onnx` wheel), through the reference
//! interpreter.
//!
//! `SARDONYX_ONNX_TESTS` names that folder; without it the test says so and passes. With `SARDONYX_BLESS=1`
//! it also writes `docs/onnx-support.md`.
use sardonyx::onnx::{self, ImportOptions};
use sardonyx_ir::interp;
use sardonyx_tensor::{DType, Tensor};
use std::collections::BTreeMap;
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

fn run(folder: &Path) -> Outcome {
    let model = match onnx::import(folder.join("model.onnx"), &ImportOptions::default()) {
        Ok(model) => model,
        Err(onnx::ImportError::Nodes { issues, .. }) if issues.iter().any(|i| i.unsupported) => {
            let issue = issues.iter().find(|i| i.unsupported).expect("one is unsupported");
            return Outcome::Unsupported(format!("{}: {}", issue.op, issue.reason));
        }
        Err(e) => {
            let text = e.to_string();
            let text = text.replace(&folder.join("model.onnx").display().to_string(), "model");
            return Outcome::Error(text.replace('\n', " "));
        }
    };
    for set in sorted(folder).into_iter().filter(|p| p.is_dir()) {
        let data = tensors(&set, "input").and_then(|i| Ok((i, tensors(&set, "output")?)));
        let (inputs, expected) = match data {
            Ok(data) => data,
            Err(e) => return Outcome::Unsupported(e.rsplit(": ").next().unwrap_or_default().into()),
        };
        let actual = match interp::eval(&model.graph, &inputs) {
            Ok(actual) => actual,
            Err(e) => return Outcome::Error(format!("evaluation: {e}")),
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
fn run_all(tests: &[PathBuf]) -> BTreeMap<String, Outcome> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(test))).unwrap_or_else(|payload| {
                        let text = payload.downcast_ref::<String>().cloned();
                        let text = text.or(payload.downcast_ref::<&str>().map(|s| s.to_string()));
                        Outcome::Crash(text.unwrap_or_default())
                    });
                    let name = test.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    results.lock().expect("no thread should have panicked").insert(name, outcome);
                }
            });
        }
    });
    results.into_inner().expect("no thread should have panicked")
}

#[test]
fn node_tests() {
    let Some(data) = std::env::var_os("SARDONYX_ONNX_TESTS").map(PathBuf::from) else {
        eprintln!("SARDONYX_ONNX_TESTS is not set: nothing is tested");
        return;
    };
    let results = run_all(&sorted(&data.join("node")));
    let passed = results.values().filter(|o| **o == Outcome::Pass).count();
    let crashed: Vec<_> = results.iter().filter(|(_, o)| matches!(o, Outcome::Crash(_))).collect();
    if std::env::var_os("SARDONYX_LIST").is_some() {
        results.iter().filter(|(_, o)| **o != Outcome::Pass).for_each(|(n, o)| println!("{n}: {o:?}"));
    }
    println!("{passed} of {} node tests pass", results.len());
    assert!(crashed.is_empty(), "{crashed:?}");
}
