//! What the passes find in exported models: attention, normalizations and activations, however the exporter
//! wrote them; and that the reference values of the optimized graph are the outputs PyTorch gave.
//!
//! The models in `models/small` are always looked at; those under `SARDONYX_EXPORTS` if that is set.
#![allow(clippy::unwrap_used)]
mod counts;

use counts::{counts, kernels, listed, optimized};
use sardonyx::compare::{Tolerance, compare};
use sardonyx::inputs::Given;
use sardonyx::onnx::{ImportOptions, import};
use sardonyx_ir::{Graph, interp};
use sardonyx_passes::Options;
use sardonyx_tensor::DType;
use std::fmt::Write;
use std::path::{Path, PathBuf};

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

fn imported(path: &Path) -> Graph {
    imported_in(path, None)
}

/// The graph after the passes, in half precision if that is given.
fn imported_in(path: &Path, half: Option<DType>) -> Graph {
    let g = import(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}")).graph;
    optimized(g, &Options { dtype: half, ..Options::default() })
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
        let g = imported(&path);
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
        let full = imported(&path);
        for half in [DType::F16, DType::BF16] {
            let g = imported_in(&path, Some(half));
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
        let g = imported(&path);
        let stem = path.file_stem().unwrap().to_string_lossy();
        let expected = EXPORTS.iter().find(|(name, _)| stem.split('.').next() == Some(name));
        let (_, expected) = expected.unwrap_or_else(|| panic!("{}: not in the table", path.display()));
        assert_eq!(listed(&counts(&g)), *expected, "{}", path.display());
        if path.with_extension("npz").exists() {
            check_values(&path, &g);
        }
    }
}
