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
#[allow(dead_code)]
mod case;
#[path = "contrib/check.rs"]
mod check;
mod counts;
mod document;
#[path = "contrib/engram.rs"]
mod engram;
#[path = "contrib/forms.rs"]
mod forms;
#[path = "contrib/maps.rs"]
mod maps;
#[path = "contrib/missing.rs"]
mod missing;
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
#[path = "contrib/random.rs"]
mod random;
#[path = "contrib/texts.rs"]
mod texts;
#[path = "contrib/trees.rs"]
mod trees;

use case::{Case, Expected};
use check::run;
use sardonyx::onnx::{ImportOptions, import_bytes};
use sardonyx_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[test]
fn activations() {
    run(pointwise::cases());
}

#[test]
fn attentions() {
    run(attention::cases());
}

#[test]
fn engrams_streams_and_windows() {
    run(engram::cases());
}

#[test]
fn machine_learning() {
    run(ml::cases());
}

#[test]
fn maps_and_texts() {
    run(maps::cases());
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
    engram::cases,
    forms::cases,
    maps::cases,
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
    /// Numbers of cases, and the types of their first operands.
    type Row = ([usize; 4], BTreeSet<DType>);
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for case in GROUPS.iter().flat_map(|cases| cases()) {
        let domain = if case.domain.is_empty() { "ai.onnx" } else { case.domain };
        let (row, types) = rows.entry((domain, case.op)).or_default();
        if !matches!(case.expected, Expected::Unsupported(_)) {
            types.extend(case.dtype(Some(0)));
        }
        row[match case.expected {
            Expected::Agreement if case.has_oracle() => 1,
            Expected::Agreement | Expected::Offered | Expected::Random => 0,
            Expected::Refused(_) => 2,
            Expected::Unsupported(_) => 3,
        }] += 1;
    }
    let mut text = String::from(
        "## Other domains\n\nNumbers of cases over attributes, optional operands, shapes and types. Each passes through the reference interpreter and on the CPU target, held against ONNX Runtime 1.31.1: the same node, or equal nodes where its CPU provider lacks the form. Where it refuses a node, the CPU target is held against the reference; the last column counts nodes that the importer refuses.\n",
    );
    let mut domain = "";
    for ((d, op), ([same, equal, refused, unsupported], types)) in rows {
        if d != domain {
            let _ = writeln!(
                text,
                "\n### {d}\n\n| operator | types of the first operand | the same node | equal nodes | refused by ONNX Runtime | not supported |\n|---|---|---|---|---|---|"
            );
            domain = d;
        }
        let types = types.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {op} | {types} | {same} | {equal} | {refused} | {unsupported} |");
    }
    text.push_str(
        "\n### Not there\n\nOperators of ONNX Runtime's CPU provider that the importer does not know.\n\n| operator | reason |\n|---|---|\n",
    );
    for (domain, op, reason) in missing::MISSING {
        let _ = writeln!(text, "| {domain}::{op} | {reason} |");
    }
    document::check("contrib", &text);
}
