//! Runs cases: each through ONNX Runtime, the reference interpreter and the CPU target.
use super::build;
use super::case::{Case, Expected};
use rayon::prelude::*;
use sardonyx::compare::{Tolerance, compare};
use sardonyx::compile::{Options, compile, optimize};
use sardonyx::onnx::{ImportError, ImportOptions, Model, import_bytes};
use sardonyx::ort::Ort;
use sardonyx_codegen::lower::lower;
use sardonyx_codegen::target::{GPUS, Target};
use sardonyx_ir::interp;
use sardonyx_runtime::manifest::{Step, walk};
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

/// What the CPU target gives.
pub fn on_cpu(model: &Model, inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, String> {
    let options = Options { jobs: Some(1), ..Options::default() };
    let compiled = compile(model, &options).map_err(|e| e.to_string())?;
    let program = Program::from_bytes(compiled.bytes).map_err(|e| e.to_string())?;
    let mut session = program.session(Device::cpu().threads(1)).map_err(|e| e.to_string())?;
    let named = inputs.iter().map(|(n, t)| (n.as_str(), t.clone()));
    session.run(named).map(<[Tensor]>::to_vec).map_err(|e| e.to_string())
}

/// Where the nodes of a case are computed in a program for a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnGpu {
    pub kernels: bool,
    /// In steps of the host.
    pub host: bool,
    /// Nowhere, and why.
    pub refused: Option<String>,
}

/// As lowering decides; nothing runs.
fn on_gpu(model: &Model) -> OnGpu {
    let spec = GPUS.iter().find(|gpu| gpu.arch == "gfx942").expect("the table should have it");
    let graph = optimize(model, &Options::default(), None).graph;
    let lowered = lower(&graph, &Target::Gpu(spec.clone()));
    let mut places = OnGpu::default();
    walk(&lowered.steps, &mut |_, step| match step {
        Step::Launch(_) => places.kernels = true,
        Step::Host(_) => places.host = true,
        _ => {}
    });
    places.refused = lowered.unsupported.first().map(|u| format!("{} of {}: {}", u.op, u.ty, u.reason));
    places
}

/// What came of a case that passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub judge: Judge,
    /// Nothing where the graph is known.
    pub gpu: Option<OnGpu>,
}

/// Why a case does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The importer or the compiler says that it lacks something.
    Unsupported(String),
    Wrong(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::Wrong(text)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Fault::Unsupported(text) | Fault::Wrong(text)) = self;
        f.write_str(text)
    }
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
        (Err(e), Expected::Offered | Expected::Random)
            if NO_KERNEL.iter().any(|words| e.to_string().contains(words)) =>
        {
            Ok(None)
        }
        (Err(e), _) => Err(e.to_string()),
        (Ok(all), _) => Ok(Some(all.into_iter().map(|(_, t)| t).collect())),
    }
}

/// What ONNX Runtime says of a node that it has no kernel for.
const NO_KERNEL: &[&str] = &[
    "Could not find an implementation",
    "Failed to find kernel",
    "does not support double yet",
    // The function that it puts in the operator's place does not take the type.
    "(_inlfunc_",
];

/// What the importer says of an op that there is not for a type.
const UNDEFINED: &[&str] = &["is not defined on", "no number is string"];

/// Runs a case: what it was held against, or what is wrong. On the CPU only where the importer makes another
/// graph of it than those `known`, to which it is added.
pub fn check(case: &Case, oracle: bool, known: &mut Vec<String>) -> Result<Passed, Fault> {
    let inputs = case.inputs();
    let asked = oracle && !matches!(case.expected, Expected::Unsupported(_));
    let theirs = if asked { theirs(case, &inputs)? } else { None };
    let judge = if theirs.is_some() { Judge::Ort } else { Judge::Reference };
    let model = match (import_bytes(build::bytes(&case.model()), &ImportOptions::default()), &case.expected) {
        (Err(e), Expected::Unsupported(words)) if e.to_string().contains(words) => {
            return Ok(Passed { judge, gpu: None });
        }
        (Err(ImportError::Nodes { issues, .. }), _)
            if issues
                .iter()
                .all(|i| i.unsupported || UNDEFINED.iter().any(|words| i.reason.contains(words))) =>
        {
            return Err(Fault::Unsupported(issues.iter().map(|i| i.reason.clone()).collect()));
        }
        (Err(e), _) => return Err(Fault::Wrong(e.to_string())),
        (Ok(_), Expected::Unsupported(_)) => return Err(Fault::Wrong("the importer takes it".into())),
        (Ok(model), _) => model,
    };
    let operands: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let reference = interp::eval(&model.graph, &operands).map_err(|e| format!("reference: {e}"))?;
    if let Some(theirs) = &theirs {
        differences(case, "reference", &reference, theirs)?;
    }
    let text = model.graph.to_string();
    if known.contains(&text) {
        return Ok(Passed { judge, gpu: None });
    }
    let cpu = on_cpu(&model, &inputs).map_err(|e| format!("CPU: {e}"))?;
    differences(case, "CPU", &cpu, theirs.as_ref().unwrap_or(&reference))?;
    known.push(text);
    Ok(Passed { judge, gpu: Some(on_gpu(&model)) })
}

/// As [`check`]; a panic is an error.
pub fn guarded(case: &Case, oracle: bool, known: &mut Vec<String>) -> Result<Passed, Fault> {
    let result = catch_unwind(AssertUnwindSafe(|| check(case, oracle, known)));
    result.unwrap_or_else(|_| Err(Fault::Wrong("a panic".into())))
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
