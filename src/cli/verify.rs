//! `verify`: the compiled program against an oracle on the same inputs.
use super::args::{Oracle, Precision, Verify};
use super::bisect;
use super::common::{self, Loaded};
use super::{Failure, Outcome};
use crate::compare::{Comparison, Tolerance, compare, quantizes, spread};
use crate::inputs::Named;
use crate::ort::Level;
use anyhow::anyhow;
use sardonyx_ir::{Op, Value, interp};
use sardonyx_tensor::{DType, Tensor};
use serde::Serialize;
use std::collections::HashMap;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: String,
    oracle: &'a str,
    pass: bool,
    outputs: &'a [Comparison],
    /// For a network that quantizes: by how much ONNX Runtime's optimization levels differ, per output.
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    spread: &'a HashMap<String, f64>,
}

/// What the outputs should be.
pub(super) struct Expected {
    oracle: &'static str,
    outputs: Named,
    /// By how much the oracle's own results differ, where it allows for that.
    spread: HashMap<String, f64>,
}

impl Expected {
    /// What an oracle says that has one opinion.
    pub(super) fn exactly(oracle: &'static str, outputs: Named) -> Expected {
        Expected { oracle, outputs, spread: HashMap::new() }
    }
}

pub(super) fn verify(args: &Verify) -> Outcome {
    let loaded =
        common::load(&args.model, args.oracle_model.as_deref(), &args.device, &args.sizes, &args.build)?;
    let (inputs, expected) = common::inputs(&loaded, &args.inputs, &args.sizes)?;
    if let Some(over) = args.bisect {
        return bisect::bisect(args, over, &loaded, &inputs, expected);
    }
    if args.per_layer {
        return per_layer(args, &loaded, &inputs);
    }
    let ours = common::run_once(&loaded.program, &args.device, &inputs)?;
    let theirs = reference(args, &loaded, &inputs, expected)?;
    let comparisons = compare_all(args, &ours, &theirs)?;
    report(args, theirs.oracle, &comparisons, &theirs.spread)
}

/// What the oracle says.
pub(super) fn reference(
    args: &Verify,
    loaded: &Loaded,
    inputs: &Named,
    expected: Named,
) -> Result<Expected, Failure> {
    match args.against {
        None if !expected.is_empty() => Ok(Expected::exactly("expected outputs", expected)),
        Some(Oracle::Ort) => onnx_runtime(args, loaded, inputs),
        None | Some(Oracle::Reference) => {
            let model = loaded.model()?;
            let tensors: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
            let outputs = interp::eval(&model.graph, &tensors).map_err(Failure::run)?;
            let named = model.graph.output_names().iter().cloned().zip(outputs).collect();
            Ok(Expected::exactly("reference", named))
        }
    }
}

/// ONNX Runtime's outputs; for a network that quantizes also by how much its optimization levels differ.
fn onnx_runtime(args: &Verify, loaded: &Loaded, inputs: &Named) -> Result<Expected, Failure> {
    let path = loaded.model_path()?;
    if !quantizes(&loaded.model()?.graph) {
        return Ok(Expected::exactly(ORT, common::run_ort(path, inputs, &args.device, &args.ort)?));
    }
    let mut levels: Vec<Named> = Vec::new();
    for level in Level::EVERY {
        levels
            .push(common::open_ort(path, &args.device, &args.ort, level)?.run(inputs).map_err(Failure::run)?);
    }
    let outputs = levels.last().cloned().unwrap_or_default();
    let of = |k: usize| levels.iter().map(|l| &l[k].1).collect::<Vec<&Tensor>>();
    let spread = outputs.iter().enumerate().map(|(k, (name, _))| (name.clone(), spread(&of(k)))).collect();
    Ok(Expected { oracle: ORT, outputs, spread })
}

const ORT: &str = "ONNX Runtime";

/// Every output beside what it should be.
pub(super) fn compare_all(
    args: &Verify,
    ours: &Named,
    theirs: &Expected,
) -> Result<Vec<Comparison>, Failure> {
    let oracle = theirs.oracle;
    let by_name: HashMap<&str, &Tensor> = ours.iter().map(|(n, t)| (n.as_str(), t)).collect();
    theirs
        .outputs
        .iter()
        .map(|(name, t)| {
            let ours = by_name.get(name.as_str()).ok_or_else(|| {
                Failure::Run(anyhow!("{oracle} has an output `{name}` that the program does not have"))
            })?;
            Ok(compare(name, ours, t, tolerance(args, t, theirs.spread.get(name).copied())))
        })
        .collect()
}

fn tolerance(args: &Verify, reference: &Tensor, spread: Option<f64>) -> Tolerance {
    // An output is no more precise than what computed it.
    let half = args.build.dtype.and_then(Precision::half).filter(|_| reference.dtype() == DType::F32);
    let dtype = half.unwrap_or(reference.dtype());
    let default = match args.inputs.test_data {
        _ if spread.is_some() => Tolerance::quantized(dtype, spread.unwrap_or(0.0)),
        Some(_) if args.against.is_none() && half.is_none() => Tolerance::BACKEND_TEST,
        _ => Tolerance::network(dtype),
    };
    Tolerance { atol: args.atol.unwrap_or(default.atol), rtol: args.rtol.unwrap_or(default.rtol) }
}

fn report(args: &Verify, oracle: &str, comparisons: &[Comparison], spread: &HashMap<String, f64>) -> Outcome {
    let pass = comparisons.iter().all(|c| c.pass);
    if args.json {
        let model = args.model.display().to_string();
        let report = Report { model, oracle, pass, outputs: comparisons, spread };
        common::print_json(&report);
    } else {
        for c in comparisons {
            if let Some(spread) = spread.get(&c.name) {
                println!(
                    "{}: the network quantizes, and {oracle}'s optimization levels differ by {spread:.2e}: allowed is {:.2e} + {:.0e} of the value",
                    c.name, c.tolerance.atol, c.tolerance.rtol
                );
            }
        }
        print_table(comparisons);
        let count = comparisons.len();
        let failed = comparisons.iter().filter(|c| !c.pass).count();
        if pass {
            println!("PASS {}: {count} outputs agree with {oracle}", args.model.display());
        } else {
            println!("FAIL {}: {failed} of {count} outputs differ from {oracle}", args.model.display());
        }
    }
    if pass { Ok(()) } else { Err(Failure::Mismatch) }
}

fn print_table(comparisons: &[Comparison]) {
    let mut table = common::table(&[
        "output",
        "type",
        "max abs",
        "max rel",
        "rms rel",
        "cosine",
        "NaN",
        "Inf",
        "worst",
        "least atol",
        "",
    ]);
    for c in comparisons {
        let shape = c.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let worst = match (&c.mismatch, &c.worst) {
            (Some(m), _) => m.clone(),
            (None, Some((at, a, b))) => format!("{at:?}: {a:.6e} vs {b:.6e}"),
            (None, None) => String::new(),
        };
        table.add_row(vec![
            c.name.clone(),
            format!("{}[{shape}]", c.dtype),
            format!("{:.2e}", c.max_abs),
            format!("{:.2e}", c.max_rel),
            format!("{:.2e}", c.rms_rel),
            format!("{:.7}", c.cosine),
            format!("{}/{}", c.nan.0, c.nan.1),
            format!("{}/{}", c.inf.0, c.inf.1),
            worst,
            format!("{:.2e}", c.least_atol),
            if c.pass { "PASS" } else { "FAIL" }.to_string(),
        ]);
    }
    println!("{table}");
}

/// Every value of the final graph, compiled as an output, against the interpreter on the same graph.
fn per_layer(args: &Verify, loaded: &Loaded, inputs: &Named) -> Outcome {
    let options = common::compile_options(&args.device, &args.build)?;
    let mut graph = crate::compile::optimize(loaded.model()?, &options, None).graph;
    let mut values: Vec<Value> = Vec::new();
    for id in graph.order() {
        let node = graph.node(id);
        if !matches!(node.op, Op::Input { .. } | Op::Const { .. }) {
            values.extend((0..node.types.len()).map(|port| Value { node: id, port: 0 }.port(port)));
        }
    }
    let names = (0..values.len()).map(|i| format!("value {i}")).collect();
    graph.set_outputs(values.clone(), names);
    let (bytes, _) = crate::compile::generate(&graph, "layers", &options, None).map_err(Failure::compile)?;
    let program = common::open(bytes)?;
    let ours = common::run_once(&program, &args.device, inputs)?;
    let tensors: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let reference = interp::eval(&graph, &tensors).map_err(Failure::run)?;
    let mut failed = None;
    let mut comparisons = Vec::with_capacity(values.len());
    for ((v, (_, a)), b) in values.iter().zip(&ours).zip(&reference) {
        let origin: Vec<&str> = graph.node(v.node).origin.names().collect();
        let name = format!("{} {}", graph.op(*v).name(), origin.join(", "));
        let c = compare(&name, a, b, tolerance(args, b, None));
        if !c.pass && failed.is_none() {
            failed = Some(name);
        }
        comparisons.push(c);
    }
    if let (Some(name), false) = (&failed, args.json) {
        println!("first value outside the tolerance: {name}");
    }
    report(args, "reference, value by value", &comparisons, &HashMap::new())
}
