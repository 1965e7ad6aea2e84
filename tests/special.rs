//! Programs with code for some sizes alone: the same results as the one for all sizes, weights that are shared, and a
//! session that turns to what fits its inputs.
#![cfg(feature = "cpu")]
#[path = "common/device.rs"]
mod device;

use sardonyx::compare::{Tolerance, compare};
use sardonyx::compile::{Compiled, Options, compile};
use sardonyx::inputs::{Sizes, Wanted, complete, index_bounds};
use sardonyx::onnx::{ImportOptions, Model, import};
use sardonyx_runtime::{Program, Session};
use sardonyx_tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

fn sizes(list: &[(&str, i64)]) -> BTreeMap<String, i64> {
    list.iter().map(|&(name, size)| (name.to_string(), size)).collect()
}

fn compiled(model: &Model, special: Vec<BTreeMap<String, i64>>) -> Compiled {
    compile(model, &Options { special, ..device::options(0) }).unwrap_or_else(|e| panic!("{e}"))
}

fn session(compiled: Compiled) -> Session {
    let program = Program::from_bytes(compiled.bytes).unwrap_or_else(|e| panic!("{e}"));
    program.session(device::device()).unwrap_or_else(|e| panic!("{e}"))
}

fn inputs(model: &Model, dims: &BTreeMap<String, i64>) -> Vec<(String, Tensor)> {
    let bounds = index_bounds(&model.graph);
    let wanted = |v| {
        let (name, ty) = (model.graph.input_name(v).to_string(), model.graph.ty(v));
        Wanted { name, dtype: ty.dtype, shape: ty.shape.clone(), bound: bounds.get(&v).copied() }
    };
    let wanted: Vec<Wanted> = model.graph.inputs().map(wanted).collect();
    let sizes = Sizes { dims: dims.clone(), ..Sizes::default() };
    complete(&wanted, &BTreeMap::new(), &sizes, 7).unwrap_or_else(|e| panic!("{e}")).0
}

/// Runs a model at some sizes, through the program for all and through one that has more. Weights may be `most` times as
/// large: kernels for one row read them in another order than those for many, all others share them.
fn check(file: &str, special: &[&[(&str, i64)]], runs: &[&[(&str, i64)]], most: f64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small").join(file);
    let model = import(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let (general, more) =
        (compiled(&model, Vec::new()), compiled(&model, special.iter().map(|s| sizes(s)).collect()));
    let (once, with) = (general.report.weights, more.report.weights);
    assert!(
        with as f64 <= most * once as f64,
        "{with} bytes of weights, {once} without programs for some sizes"
    );
    let (mut general, mut more) = (session(general), session(more));
    for &run in runs {
        let run = sizes(run);
        let inputs = inputs(&model, &run);
        let given = || inputs.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
        let expected = general.run(given()).unwrap_or_else(|e| panic!("{run:?}: {e}")).to_vec();
        assert!(general.sizes().is_empty());
        let outputs = more.run(given()).unwrap_or_else(|e| panic!("{run:?}: {e}")).to_vec();
        let fits =
            special.iter().map(|s| sizes(s)).find(|s| s.iter().all(|(name, n)| run.get(name) == Some(n)));
        assert_eq!(*more.sizes(), fits.unwrap_or_default(), "at {run:?}");
        for (ours, theirs) in outputs.iter().zip(&expected) {
            let c = compare("output", ours, theirs, Tolerance::network(ours.dtype()));
            assert!(c.pass, "{run:?}: {c:?}");
        }
    }
}

#[test]
fn a_transformer_has_code_for_some_sizes() {
    if device::can_compile() {
        let special: &[&[_]] = &[&[("batch", 1), ("seq", 16)], &[("batch", 2)]];
        let runs: &[&[_]] = &[
            &[("batch", 1), ("seq", 16)],
            &[("batch", 1), ("seq", 5)],
            &[("batch", 2), ("seq", 16)],
            &[("batch", 2), ("seq", 3)],
            &[("batch", 3), ("seq", 16)],
            &[("batch", 1), ("seq", 16)],
        ];
        check("bert_base.ts17.onnx", special, runs, 1.25);
    }
}

#[test]
fn a_network_of_convolutions_has_code_for_some_sizes() {
    if device::can_compile() {
        let runs: &[&[_]] = &[&[("batch", 1)], &[("batch", 4)], &[("batch", 2)], &[("batch", 4)]];
        check("mobilenet_v3_large.ts17.onnx", &[&[("batch", 1)], &[("batch", 4)]], runs, 2.0);
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small/bert_base.ts17.onnx");
    let model = import(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let failed = |special| {
        let result = compile(&model, &Options { special: vec![sizes(special)], ..Options::default() });
        result.map(|_| ()).expect_err("these sizes do not fit").to_string()
    };
    let said = failed(&[("height", 3)]);
    assert_eq!(said, "sizes height=3: no input has an open dimension `height`; there are: batch, seq");
}
