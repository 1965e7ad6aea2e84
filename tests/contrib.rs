//! Operators of `com.microsoft` and `ai.onnx.ml`: every case through ONNX Runtime, the reference interpreter
//! and the CPU target, on the same seeded inputs.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's library; without it the CPU is held against the reference alone.
#![cfg(all(feature = "cpu", feature = "ort"))]
#[path = "contrib/attention.rs"]
mod attention;
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "contrib/case.rs"]
mod case;
mod counts;
mod document;
#[path = "contrib/forms.rs"]
mod forms;
#[path = "contrib/ml.rs"]
mod ml;
#[path = "contrib/moe.rs"]
mod moe;
#[path = "contrib/norm.rs"]
mod norm;
#[path = "contrib/pointwise.rs"]
mod pointwise;
#[path = "contrib/product.rs"]
mod product;
#[path = "contrib/qlinear.rs"]
mod qlinear;
#[path = "contrib/quantized.rs"]
mod quantized;
#[path = "contrib/texts.rs"]
mod texts;
#[path = "contrib/trees.rs"]
mod trees;

use case::{Case, Expected};
use rayon::prelude::*;
use sardonyx::compare::{Tolerance, compare};
use sardonyx::compile::{Options, compile};
use sardonyx::onnx::{ImportOptions, Model, import_bytes};
use sardonyx::ort::Ort;
use sardonyx_ir::interp;
use sardonyx_runtime::{Device, Program};
use sardonyx_tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::fmt::Write;
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

/// Runs a case; what is wrong, if anything.
fn check(case: &Case, oracle: bool) -> Result<(), String> {
    let inputs = case.inputs();
    let asked = oracle && !matches!(case.expected, Expected::Unsupported(_));
    let theirs = match asked {
        true => Some(Ort::from_bytes(&build::bytes(&case.oracle_model())).and_then(|mut o| o.run(&inputs))),
        false => None,
    };
    let theirs: Option<Vec<Tensor>> = match (theirs, &case.expected) {
        (Some(Err(e)), Expected::Refused(words)) if e.to_string().contains(words) => None,
        (Some(Ok(_)), Expected::Refused(_)) => return Err("ONNX Runtime takes it".into()),
        (Some(Err(e)), _) => return Err(e.to_string()),
        (Some(Ok(all)), _) => Some(all.into_iter().map(|(_, t)| t).collect()),
        (None, _) => None,
    };
    let model = match (import_bytes(build::bytes(&case.model()), &ImportOptions::default()), &case.expected) {
        (Err(e), Expected::Unsupported(words)) if e.to_string().contains(words) => return Ok(()),
        (Err(e), _) => return Err(e.to_string()),
        (Ok(_), Expected::Unsupported(_)) => return Err("the importer takes it".into()),
        (Ok(model), _) => model,
    };
    let operands: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let reference = interp::eval(&model.graph, &operands).map_err(|e| format!("reference: {e}"))?;
    if let Some(theirs) = &theirs {
        differences(case, "reference", &reference, theirs)?;
    }
    let cpu = on_cpu(&model, &inputs).map_err(|e| format!("CPU: {e}"))?;
    differences(case, "CPU", &cpu, theirs.as_ref().unwrap_or(&reference))
}

/// Runs the cases, names every failure, and fails if there is one. `SARDONYX_CASE` chooses those whose name
/// begins with it, which are told as they run.
fn run(cases: Vec<Case>) {
    let oracle = std::env::var_os("ORT_DYLIB_PATH").is_some();
    if !oracle {
        eprintln!("without ONNX Runtime: set ORT_DYLIB_PATH");
    }
    let filter = std::env::var("SARDONYX_CASE").unwrap_or_default();
    let chosen: Vec<&Case> = cases.iter().filter(|c| c.name().starts_with(&filter)).collect();
    let failed: Vec<String> = chosen
        .par_iter()
        .filter_map(|case| {
            if !filter.is_empty() {
                eprintln!("{}", case.name());
            }
            let result = catch_unwind(AssertUnwindSafe(|| check(case, oracle)));
            match result.unwrap_or_else(|_| Err("a panic".into())) {
                Ok(()) => None,
                Err(reason) => Some(format!("{}\n    {reason}", case.name())),
            }
        })
        .collect();
    println!("{} cases, {} fail", chosen.len(), failed.len());
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), chosen.len(), failed.join("\n"));
}

#[test]
fn activations() {
    run(pointwise::cases());
}

#[test]
fn attentions() {
    run(attention::cases());
}

#[test]
fn machine_learning() {
    run(ml::cases());
}

#[test]
fn tree_ensembles() {
    run(trees::cases());
}

#[test]
fn mixtures_of_experts() {
    run(moe::cases());
}

#[test]
fn other_forms() {
    run(forms::cases());
}

#[test]
fn normalizations() {
    run(norm::cases());
}

#[test]
fn products() {
    run(product::cases());
}

#[test]
fn quantized_functions() {
    run(qlinear::cases());
}

#[test]
fn quantized_products() {
    run(quantized::cases());
}

#[test]
fn texts_and_labels() {
    run(texts::cases());
}

/// The cases of all groups.
const GROUPS: &[fn() -> Vec<Case>] = &[
    attention::cases,
    forms::cases,
    ml::cases,
    moe::cases,
    norm::cases,
    pointwise::cases,
    product::cases,
    qlinear::cases,
    quantized::cases,
    texts::cases,
    trees::cases,
];

/// What the passes make of the first case of every operator.
#[test]
fn fusion_counts() {
    let mut first: BTreeMap<(&str, &str), Case> = BTreeMap::new();
    for case in GROUPS.iter().flat_map(|cases| cases()) {
        if !matches!(case.expected, Expected::Unsupported(_)) {
            first.entry((case.domain, case.op)).or_insert(case);
        }
    }
    let mut shown = String::new();
    for ((_, op), case) in first {
        let model = import_bytes(build::bytes(&case.model()), &ImportOptions::default());
        let g = counts::optimized(
            model.unwrap_or_else(|e| panic!("{e}")).graph,
            &sardonyx_passes::Options::default(),
        );
        let line = format!("{op}: {} kernels, {}", counts::kernels(&g), counts::listed(&counts::counts(&g)));
        let _ = writeln!(shown, "{}", line.trim_end_matches(", "));
    }
    insta::assert_snapshot!(shown);
}

/// The table of `docs/onnx-support.md`: what the tests above hold each operator to.
#[test]
fn support_table() {
    let mut rows: BTreeMap<(&str, &str), [usize; 4]> = BTreeMap::new();
    for case in GROUPS.iter().flat_map(|cases| cases()) {
        let domain = if case.domain.is_empty() { "ai.onnx" } else { case.domain };
        let row = rows.entry((domain, case.op)).or_default();
        row[match case.expected {
            Expected::Agreement if case.has_oracle() => 1,
            Expected::Agreement => 0,
            Expected::Refused(_) => 2,
            Expected::Unsupported(_) => 3,
        }] += 1;
    }
    let mut text = String::from(
        "## Other domains\n\nNumbers of cases over attributes, optional operands, shapes and types. Each passes through the reference interpreter and on the CPU target, held against ONNX Runtime 1.31.1: the same node, or equal nodes where its CPU provider lacks the form. Where it refuses a node, the CPU target is held against the reference; the last column counts nodes that the importer refuses.\n",
    );
    let mut domain = "";
    for ((d, op), [same, equal, refused, unsupported]) in rows {
        if d != domain {
            let _ = writeln!(
                text,
                "\n### {d}\n\n| operator | the same node | equal nodes | refused by ONNX Runtime | not supported |\n|---|---|---|---|---|"
            );
            domain = d;
        }
        let _ = writeln!(text, "| {op} | {same} | {equal} | {refused} | {unsupported} |");
    }
    document::check("contrib", &text);
}
