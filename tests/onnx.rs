//! ONNX's own backend tests (`onnx/backend/test/data` of the `onnx` wheel), through the reference
//! interpreter and the CPU target: the node tests, the operators and modules that PyTorch exported, the
//! simple graphs, and the light versions of known networks.
//!
//! `SARDONYX_ONNX_TESTS` names that folder; without it the test says so and passes. `docs/onnx-support.md`
//! has to say what they gave; with `SARDONYX_BLESS=1` it is written. `SARDONYX_LIST` prints what does not pass
//! among the tests whose names hold its value.
#[path = "onnx/cases.rs"]
mod cases;
#[path = "onnx/compare.rs"]
mod compare;
#[path = "common/device.rs"]
mod device;
mod document;
#[path = "onnx/summary.rs"]
mod summary;

use cases::{Case, GROUPS, Group, cases};
use sardonyx::compile::compile;
use sardonyx::onnx::{self, ImportOptions, Model};
use sardonyx_ir::interp;
use sardonyx_runtime::{Program, Session};
use sardonyx_tensor::Tensor;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// What came of a test.
struct Tested {
    /// The operator it is about.
    op: String,
    reference: Outcome,
    cpu: Outcome,
}

fn run(case: &Case) -> Tested {
    let name = case.name.clone();
    let both = |op: String, outcome: Outcome| Tested { op, reference: outcome.clone(), cpu: outcome };
    let model = match onnx::import(&case.model, &ImportOptions::default()) {
        Ok(model) => model,
        Err(onnx::ImportError::Nodes { issues, .. }) if issues.iter().any(|i| i.unsupported) => {
            let issue = issues.into_iter().find(|i| i.unsupported).expect("one is unsupported");
            return both(issue.op, Outcome::Unsupported(issue.reason));
        }
        Err(e) => {
            let text = e.to_string().replace(&case.model.display().to_string(), "model");
            return both(name, Outcome::Error(text.replace('\n', " ")));
        }
    };
    let op = model.operators.iter().max_by_key(|(_, n)| **n).map_or(name, |(op, _)| op.clone());
    let reference = guarded(|| {
        on_data(case, &model, &mut |inputs| interp::eval(&model.graph, inputs).map_err(|e| e.to_string()))
    });
    let cpu = guarded(|| on_device(case, &model));
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

fn on_device(case: &Case, model: &Model) -> Outcome {
    let program = match compile(model, &device::options(1)) {
        Ok(compiled) => Program::from_bytes(compiled.bytes).map_err(|e| e.to_string()),
        Err(e) => {
            // The first line says how many nodes; each of the others is one.
            let text = e.to_string();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            return Outcome::Unsupported(
                lines.get(1..).filter(|l| !l.is_empty()).unwrap_or(&lines).join("; "),
            );
        }
    };
    let mut session: Session =
        match program.and_then(|p| p.session(device::device().threads(1)).map_err(|e| e.to_string())) {
            Ok(session) => session,
            Err(e) => return Outcome::Error(e),
        };
    let names: Vec<String> = model.graph.inputs().map(|v| model.graph.input_name(v).to_string()).collect();
    on_data(case, model, &mut |inputs| {
        let named = names.iter().zip(inputs).map(|(n, t)| (n.as_str(), t.clone()));
        session.run(named).map(<[Tensor]>::to_vec).map_err(|e| e.to_string())
    })
}

/// The outputs for inputs.
type Evaluate<'a> = dyn FnMut(&[Tensor]) -> Result<Vec<Tensor>, String> + 'a;

/// Runs `f` on every data set and compares what it gives.
fn on_data(case: &Case, model: &Model, f: &mut Evaluate<'_>) -> Outcome {
    let sets = match case.sets(model) {
        Ok(sets) => sets,
        Err(e) => return Outcome::Unsupported(e.rsplit(": ").next().unwrap_or_default().into()),
    };
    for (inputs, expected) in sets {
        let actual = match f(&inputs) {
            Ok(actual) => actual,
            Err(e) => return Outcome::Error(e),
        };
        if let Err(reason) = compare::results(&case.name, &inputs, &expected, &actual) {
            return Outcome::Wrong(reason);
        }
    }
    Outcome::Pass
}

/// All of these tests, on all cores.
fn run_all(tests: &[Case]) -> BTreeMap<String, Tested> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = test.name.clone();
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

/// How many tests of a group pass.
fn passed(results: &BTreeMap<String, Tested>, f: fn(&Tested) -> &Outcome) -> usize {
    results.values().filter(|r| *f(r) == Outcome::Pass).count()
}

#[test]
fn backend_tests() {
    let Some(data) = std::env::var_os("SARDONYX_ONNX_TESTS").map(PathBuf::from) else {
        eprintln!("skipped: run scripts/test, which installs ONNX's tests");
        return;
    };
    if let Ok(part) = std::env::var("SARDONYX_LIST") {
        return list(&data, &part);
    }
    if !device::can_compile() {
        return;
    }
    let mut all: Vec<(&Group, BTreeMap<String, Tested>)> = Vec::new();
    for group in GROUPS {
        let results = run_all(&cases(&data, group));
        let (reference, cpu) = (passed(&results, |r| &r.reference), passed(&results, |r| &r.cpu));
        println!(
            "{}: of {} tests {reference} pass through the interpreter, {cpu} on {}",
            group.folder,
            results.len(),
            device::device()
        );
        all.push((group, results));
    }
    let crash = |o: &Outcome| matches!(o, Outcome::Crash(_));
    let every = || all.iter().flat_map(|(_, results)| results);
    let crashed: Vec<&String> =
        every().filter(|(_, r)| crash(&r.reference) || crash(&r.cpu)).map(|(n, _)| n).collect();
    assert!(crashed.is_empty(), "these crash: {crashed:?}");
    if device::device().as_gpu().is_some() {
        // The document tells of the CPU; a GPU has to do what the reference does.
        let wrong = every().filter(|(_, r)| r.reference == Outcome::Pass && r.cpu != Outcome::Pass);
        let wrong: Vec<String> = wrong.map(|(name, r)| format!("{name}: {:?}", r.cpu)).collect();
        assert!(
            wrong.is_empty(),
            "{} tests fail on {}:\n{}",
            wrong.len(),
            device::device(),
            wrong.join("\n")
        );
        return;
    }
    document::check("node tests", &summary::text(&all));
}

/// Prints what does not pass among the tests whose names hold `part`.
fn list(data: &Path, part: &str) {
    for group in GROUPS {
        let chosen: Vec<Case> = cases(data, group).into_iter().filter(|c| c.name.contains(part)).collect();
        for (name, r) in run_all(&chosen) {
            if r.reference != Outcome::Pass || r.cpu != Outcome::Pass {
                println!("{name}: reference {:?}, cpu {:?}", r.reference, r.cpu);
            }
        }
    }
}
