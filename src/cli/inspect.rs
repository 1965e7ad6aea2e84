//! `inspect`: what is in a model, and what of it is not supported.
use super::Outcome;
use super::args::Inspect;
use super::common;
use crate::onnx::Model;
use sardonyx_ir::Type;
use serde::Serialize;
use std::collections::BTreeMap;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    model: String,
    producer: String,
    ir_version: i64,
    opsets: BTreeMap<String, i64>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    parameters: u64,
    operators: BTreeMap<String, usize>,
    /// Nodes of the graph after import.
    nodes: usize,
}

#[derive(Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

pub(super) fn inspect(args: &Inspect) -> Outcome {
    let sizes = common::sizes(&args.sizes)?;
    let model = common::import(&args.model, &common::import_options(&sizes))?;
    let report = report(args, &model);
    if args.json {
        common::print_json(&report);
    } else {
        print(&report);
    }
    Ok(())
}

fn report(args: &Inspect, model: &Model) -> Report {
    let g = &model.graph;
    let port = |name: &str, ty: &Type| Port { name: name.to_string(), ty: ty.to_string() };
    Report {
        model: args.model.display().to_string(),
        producer: model.producer.clone(),
        ir_version: model.ir_version,
        opsets: model.opsets.clone(),
        inputs: g.inputs().map(|v| port(g.input_name(v), g.ty(v))).collect(),
        outputs: g.outputs().iter().zip(g.output_names()).map(|(&v, name)| port(name, g.ty(v))).collect(),
        parameters: model.parameters,
        operators: model.operators.clone(),
        nodes: g.len(),
    }
}

fn print(r: &Report) {
    println!(
        "{}  (IR {}, made by {})",
        r.model,
        r.ir_version,
        if r.producer.is_empty() { "unknown" } else { &r.producer }
    );
    let opsets: Vec<String> = r.opsets.iter().map(|(d, v)| format!("{d} {v}")).collect();
    println!("opsets: {}", opsets.join(", "));
    for (kind, ports) in [("input", &r.inputs), ("output", &r.outputs)] {
        for p in ports {
            println!("{kind:<7} {}: {}", p.name, p.ty);
        }
    }
    println!("parameters: {}   nodes after import: {}", r.parameters, r.nodes);
    let mut operators: Vec<(&String, &usize)> = r.operators.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    println!(
        "operators: {}",
        operators.iter().map(|(n, c)| format!("{n}×{c}")).collect::<Vec<_>>().join(" ")
    );
    println!("every node is supported");
}
