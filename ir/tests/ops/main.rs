//! Every op of the table against a value worked out by hand or by an independent formula.
// `&[x.clone()]` reads as the list of operands that it is.
#![allow(clippy::cloned_ref_to_slice_refs)]
mod contraction;
mod detection;
mod indexing;
mod linear;
mod movement;
mod norms;
mod pointwise;
mod recurrence;
mod regions;
mod sampling;
mod table;
mod trees;
mod windows;

use sardonyx_ir::{interp, text, verify};
use sardonyx_tensor::{DType, Tensor};

/// The outputs of a graph given as text.
fn run(source: &str, inputs: &[Tensor]) -> Vec<Tensor> {
    try_run(source, inputs).unwrap_or_else(|e| panic!("{e}"))
}

fn try_run(source: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let g = text::parse(source).map_err(|e| e.to_string())?;
    verify::verify(&g)?;
    let again = text::print(&text::parse(&text::print(&g)).map_err(|e| format!("{e} in\n{g}"))?);
    assert_eq!(text::print(&g), again, "the text form should parse back");
    interp::eval(&g, inputs).map_err(|e| e.to_string())
}

/// The first output of a graph of one op on inputs, whose types are those of the tensors.
fn op(call: &str, inputs: &[Tensor]) -> Tensor {
    ops(call, inputs, 1).remove(0)
}

/// As [`op`], of an op with `results` results.
fn ops(call: &str, inputs: &[Tensor], results: usize) -> Vec<Tensor> {
    run(&graph(call, inputs, results), inputs)
}

fn graph(call: &str, inputs: &[Tensor], results: usize) -> String {
    let params: Vec<String> = inputs
        .iter()
        .zip("abcdefgh".chars())
        .map(|(t, n)| format!("%{n}: {}{:?}", t.dtype(), t.shape()))
        .collect();
    let names: Vec<String> = (0..results).map(|i| format!("%r{i}")).collect();
    let names = names.join(", ");
    format!("graph({}) {{ {names} = {call} return {names} }}", params.join(", "))
}

fn f32s(shape: &[usize], values: &[f64]) -> Tensor {
    Tensor::from_f64s(DType::F32, shape, values.iter().copied())
}

fn i64s(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_slice(shape, values)
}

fn sample(shape: &[usize], seed: u64) -> Tensor {
    interp::sample(DType::F32, shape, seed)
}

/// Fails unless shape and elements (to a few bits of a float) are these.
fn check(t: &Tensor, shape: &[usize], values: &[f64]) {
    assert_eq!(t.shape(), shape, "shape of {t:?}");
    let found = t.to_f64s();
    assert_eq!(found.len(), values.len());
    for (i, (a, b)) in found.iter().zip(values).enumerate() {
        let close = (a - b).abs() <= 2e-6 * (1.0 + b.abs()) || a == b || (a.is_nan() && b.is_nan());
        assert!(close, "element {i} is {a}, should be {b}, in {found:?}, should be {values:?}");
    }
}
