//! Runs cases: each through ONNX Runtime, the reference interpreter and the CPU target.
use super::build;
use super::case::{Case, Expected};
use rayon::prelude::*;
use sardonyx::compare::{Tolerance, compare};
use sardonyx::compile::{Options, compile};
use sardonyx::onnx::{ImportOptions, Model, import_bytes};
use sardonyx::ort::Ort;
use sardonyx_ir::interp;
use sardonyx_runtime::{Device, Program};
use sardonyx_tensor::{DType, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The usual tolerance of one operator, by the type of its result.
fn usual(dtype: DType) -> Tolerance {
    let (atol, rtol) = match dtype {
        DType::F64 | DType::F32 => (2e-6, 1e-4),
        DType::F16 => (2e-3, 5e-3),
        DType::BF16 => (1e-2, 2e-2),
        _ => (0.0, 0.0),
    };
    Tolerance { atol, rtol }
}

/// Every difference from what is expected, in words.
fn differences(case: &Case, who: &str, ours: &[Tensor], theirs: &[Tensor]) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{who}: {} results, {} expected", ours.len(), theirs.len()));
    }
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        if case.expected == Expected::Random && a.shape() == b.shape() && a.dtype() == b.dtype() {
            continue;
        }
        let tolerance = case.tolerance.map_or(usual(b.dtype()), |(atol, rtol)| Tolerance { atol, rtol });
        let c = compare(&format!("o{i}"), a, b, tolerance);
        if !c.pass || a.shape() != b.shape() {
            return Err(format!(
                "{who}, result {i}: {:?} {:?} for {:?}, worst {:?}, least atol {:.2e}",
                c.mismatch,
                a.shape(),
                b.shape(),
                c.worst,
                c.least_atol
            ));
        }
    }
    Ok(())
}

fn on_cpu(model: &Model, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, String> {
    let options = Options { jobs: Some(1), ..Options::default() };
    let compiled = compile(model, &options).map_err(|e| e.to_string())?;
    let program = Program::from_bytes(compiled.bytes).map_err(|e| e.to_string())?;
    let mut session = program.session(Device::cpu().threads(1)).map_err(|e| e.to_string())?;
    let named = inputs.iter().map(|(n, t)| (n.as_str(), t.clone()));
    session.run(named).map(<[Tensor]>::to_vec).map_err(|e| e.to_string())
}

/// What a case that passes was held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// ONNX Runtime.
    Ort,
    /// The reference alone.
    Reference,
}

/// What ONNX Runtime makes of a case; `None` where it is not to be asked or has no kernel, as expected.
fn theirs(case: &Case, inputs: &[(String, Tensor)]) -> Result<Option<Vec<Tensor>>, String> {
    let result = Ort::from_bytes(&build::bytes(&case.oracle_model())).and_then(|mut o| o.run(inputs));
    match (result, &case.expected) {
        (Err(e), Expected::Refused(words)) if e.to_string().contains(words) => Ok(None),
        (Ok(_), Expected::Refused(_)) => Err("ONNX Runtime takes it".into()),
        (Err(e), Expected::Offered | Expected::Random) if e.to_string().contains(NO_KERNEL) => Ok(None),
        (Err(e), _) => Err(e.to_string()),
        (Ok(all), _) => Ok(Some(all.into_iter().map(|(_, t)| t).collect())),
    }
}

/// What ONNX Runtime says of a node that it has no kernel for.
const NO_KERNEL: &str = "Could not find an implementation";

/// Runs a case: what it was held against, or what is wrong. On the CPU only where the importer makes another
/// graph of it than those `known`, to which it is added.
pub fn check(case: &Case, oracle: bool, known: &mut Vec<String>) -> Result<Judge, String> {
    let inputs = case.inputs();
    let asked = oracle && !matches!(case.expected, Expected::Unsupported(_));
    let theirs = if asked { theirs(case, &inputs)? } else { None };
    let judge = if theirs.is_some() { Judge::Ort } else { Judge::Reference };
    let model = match (import_bytes(build::bytes(&case.model()), &ImportOptions::default()), &case.expected) {
        (Err(e), Expected::Unsupported(words)) if e.to_string().contains(words) => return Ok(judge),
        (Err(e), _) => return Err(e.to_string()),
        (Ok(_), Expected::Unsupported(_)) => return Err("the importer takes it".into()),
        (Ok(model), _) => model,
    };
    let operands: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let reference = interp::eval(&model.graph, &operands).map_err(|e| format!("reference: {e}"))?;
    if let Some(theirs) = &theirs {
        differences(case, "reference", &reference, theirs)?;
    }
    let text = model.graph.to_string();
    if known.contains(&text) {
        return Ok(judge);
    }
    let cpu = on_cpu(&model, &inputs).map_err(|e| format!("CPU: {e}"))?;
    differences(case, "CPU", &cpu, theirs.as_ref().unwrap_or(&reference))?;
    known.push(text);
    Ok(judge)
}

/// As [`check`]; a panic is an error.
pub fn guarded(case: &Case, oracle: bool, known: &mut Vec<String>) -> Result<Judge, String> {
    let result = catch_unwind(AssertUnwindSafe(|| check(case, oracle, known)));
    result.unwrap_or_else(|_| Err("a panic".into()))
}

/// Whether there is an ONNX Runtime to ask.
pub fn oracle() -> bool {
    let there = std::env::var_os("ORT_DYLIB_PATH").is_some();
    if !there {
        eprintln!("without ONNX Runtime: set ORT_DYLIB_PATH");
    }
    there
}

/// Runs the cases, names every failure, and fails if there is one. `SARDONYX_CASE` chooses those whose name
/// begins with it, which are told as they run.
pub fn run(cases: Vec<Case>) {
    let oracle = oracle();
    let filter = std::env::var("SARDONYX_CASE").unwrap_or_default();
    let chosen: Vec<&Case> = cases.iter().filter(|c| c.name().starts_with(&filter)).collect();
    let failed: Vec<String> = chosen
        .par_iter()
        .filter_map(|case| {
            if !filter.is_empty() {
                eprintln!("{}", case.name());
            }
            let reason = guarded(case, oracle, &mut Vec::new()).err()?;
            Some(format!("{}\n    {reason}", case.name()))
        })
        .collect();
    println!("{} cases, {} fail", chosen.len(), failed.len());
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), chosen.len(), failed.join("\n"));
}
