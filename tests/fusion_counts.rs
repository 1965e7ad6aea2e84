//! What the passes find in exported models: attention, normalizations and activations, however the exporter
//! wrote them; and that the reference values of the optimized graph are the outputs PyTorch gave.
//!
//! The models in `models/small` are always looked at; those under `SARDONYX_EXPORTS` if that is set.
#![allow(clippy::unwrap_used)]
use sardonyx::compare::{Tolerance, compare};
use sardonyx::inputs::Given;
use sardonyx::onnx::{ImportOptions, import};
use sardonyx::pipeline;
use sardonyx_ir::{Graph, interp, verify};
use sardonyx_passes::{Driver, Options};
use sardonyx_tensor::DType;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Ops whose number is of interest.
const FOUND: &[&str] =
    &["attention", "layer_norm", "rms_norm", "gelu", "gelu_tanh", "silu", "hard_swish", "hard_sigmoid"];
/// Ops of which none should be left in a transformer.
const WRITTEN_OUT: &[&str] = &["softmax", "erf", "reduce_mean", "batch_norm"];

/// What two layers of the exported models have, whoever exported them.
const EXPORTS: [(&str, &str); 13] = [
    ("bert_base", "2 attention, 5 layer_norm, 2 gelu"),
    ("clip_text", "2 attention, 5 layer_norm, 2 silu"),
    ("distilbert", "2 attention, 5 layer_norm, 2 gelu"),
    ("gpt2", "2 attention, 5 layer_norm, 2 gelu_tanh"),
    ("gpt2_kv", "2 attention, 5 layer_norm, 2 gelu_tanh"),
    ("hf_llama_kv", "2 attention, 5 rms_norm, 2 silu"),
    ("llama_gqa_kv", "2 attention, 5 rms_norm, 2 silu"),
    ("minilm_l6", "2 attention, 5 layer_norm, 2 gelu"),
    ("t5_small_decoder", "4 attention, 7 rms_norm"),
    ("t5_small_encoder", "2 attention, 5 rms_norm"),
    ("vit_b_16", "2 attention, 5 layer_norm, 2 gelu"),
    ("whisper_tiny_decoder", "4 attention, 7 layer_norm, 2 gelu"),
    ("whisper_tiny_encoder", "2 attention, 5 layer_norm, 4 gelu"),
];

fn optimized(path: &Path) -> Graph {
    optimized_in(path, None)
}

/// The graph after the passes, in half precision if that is given.
fn optimized_in(path: &Path, half: Option<DType>) -> Graph {
    let mut g = import(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}")).graph;
    let options = Options { dtype: half, ..Options::default() };
    pipeline::optimize(&mut Driver::new(&options), &mut g);
    verify::verify(&g).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    g
}

/// How often each op occurs, in fused regions too.
fn counts(g: &Graph) -> BTreeMap<&'static str, usize> {
    let mut all = BTreeMap::new();
    for id in g.order() {
        let op = &g.node(id).op;
        *all.entry(op.name()).or_default() += 1;
        for (_, region) in op.regions() {
            for (name, n) in counts(region) {
                *all.entry(name).or_default() += n;
            }
        }
    }
    all
}

/// The counts of interest, as text.
fn listed(all: &BTreeMap<&'static str, usize>) -> String {
    let found = FOUND.iter().chain(WRITTEN_OUT).filter_map(|name| Some(format!("{} {name}", all.get(name)?)));
    found.collect::<Vec<String>>().join(", ")
}

/// Nodes that are neither constants, inputs nor views.
fn kernels(g: &Graph) -> usize {
    let free = ["const", "input", "reshape", "dims"];
    g.order().into_iter().filter(|&id| !free.contains(&g.node(id).op.name())).count()
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(models(&path));
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn check_values(path: &Path, g: &Graph) {
    let mut given = Given::default();
    given.read_npz(&path.with_extension("npz")).unwrap();
    let inputs: Vec<_> = g.inputs().map(|v| given.inputs[g.input_name(v)].clone()).collect();
    let outputs = interp::eval(g, &inputs).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for (name, t) in g.output_names().iter().zip(&outputs) {
        let Some(expected) = given.expected.get(name) else { continue };
        let c = compare(name, t, expected, Tolerance::network(expected.dtype()));
        assert!(c.pass, "{}: {name}: {:?} {:?}", path.display(), c.mismatch, c.worst);
    }
}

#[test]
fn small_models() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small");
    let mut shown = String::new();
    for path in models(&folder) {
        let g = optimized(&path);
        let name = path.file_stem().unwrap().to_string_lossy();
        let line = format!("{name}: {} kernels, {}", kernels(&g), listed(&counts(&g)));
        writeln!(shown, "{}", line.trim_end_matches(", ")).unwrap();
        check_values(&path, &g);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn half_precision_keeps_what_was_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small");
    for path in models(&folder) {
        let full = optimized(&path);
        for half in [DType::F16, DType::BF16] {
            let g = optimized_in(&path, Some(half));
            assert_eq!(listed(&counts(&g)), listed(&counts(&full)), "{} {half}", path.display());
            // Inputs and outputs are cast by kernels of their own where no kernel is beside them.
            let borders = g.inputs().len() + g.outputs().len();
            let (narrow, wide) = (kernels(&g), kernels(&full));
            assert!(narrow <= wide + borders, "{} {half}: {narrow} kernels, {wide} in f32", path.display());
        }
    }
}

#[test]
fn exported_transformers() {
    let Some(folder) = std::env::var_os("SARDONYX_EXPORTS") else {
        println!("SARDONYX_EXPORTS is not set: nothing to look at");
        return;
    };
    for path in models(Path::new(&folder)) {
        let g = optimized(&path);
        let stem = path.file_stem().unwrap().to_string_lossy();
        let expected = EXPORTS.iter().find(|(name, _)| stem.split('.').next() == Some(name));
        let (_, expected) = expected.unwrap_or_else(|| panic!("{}: not in the table", path.display()));
        assert_eq!(listed(&counts(&g)), *expected, "{}", path.display());
        if path.with_extension("npz").exists() {
            check_values(&path, &g);
        }
    }
}
