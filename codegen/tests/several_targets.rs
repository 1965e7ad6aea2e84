//! A file for several targets: every constant once, in whatever order the first of them reads it, and panels for the CPU
//! made of it when a session begins.
#![cfg(feature = "cpu")]
#![allow(clippy::unwrap_used)]
#[path = "common/cases.rs"]
mod cases;

use sardonyx_codegen::compile::{CompileOptions, Report, compile};
use sardonyx_codegen::target::GpuSpec;
use sardonyx_codegen::toolchain::gpu::{Clang, Tools};
use sardonyx_ir::{Graph, Value, text};
use sardonyx_runtime::manifest::Place;
use sardonyx_runtime::{Device, Program};
use sardonyx_tensor::{Bindings, Tensor};

/// Products of floats and of bytes, by columns and by rows, of several matrices, convolutions plain, in groups, apart and transposed: every
/// way in which constants are packed.
const GRAPH: &str = "graph(%x: f32[b,64,14,14], %q: u8[b,5,130]) {
  %c0 = const rand(1) : f32[256,64,3,3]
  %c1 = const rand(2) : f32[256,64,3,3]
  %c2 = const rand(3) : f32[256,1,5,5]
  %c3 = const rand(4) : f32[256,64,4,4]
  %m0 = const rand(5) : f32[64,600]
  %m1 = const rand(6) : f32[14,600,50]
  %m2 = const rand(7) : f32[300,64]
  %m3 = const rand(8) : i8[130,300]
  %0 = conv(%x, %c0) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
  %1 = conv(%0, %c1) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=4}
  %2 = conv(%1, %c2) {strides=[2, 2], pads=[2, 2, 2, 2], dilations=[1, 1], group=256}
  %3 = conv_transpose(%2, %c3) {strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], output_padding=[0, 0]}
  %4 = transpose(%3) {perm=[0, 2, 3, 1]}
  %5 = matmul(%4, %m0)
  %6 = matmul(%5, %m1)
  %7 = transpose(%3) {perm=[0, 2, 1, 3]}
  %8 = matmul(%m2, %7)
  %9 = integer_matmul(%q, %m3)
  return %6, %8, %9
}";

fn program(graph: &Graph, targets: &[&str]) -> (Program, Report) {
    let tools = Tools { clang: true, ..Tools::default() };
    let targets = targets.iter().map(ToString::to_string).collect();
    let options =
        CompileOptions { model: "several".into(), targets, tools: Some(&tools), ..Default::default() };
    let (bytes, report) = compile(graph, &options).unwrap();
    (Program::from_bytes(bytes).unwrap(), report)
}

fn outputs(graph: &Graph, program: &Program) -> Vec<Tensor> {
    let mut sizes = Bindings::new();
    sizes.set("b", 2);
    let input = |(k, v)| {
        let ty = graph.ty(v);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(&sizes).unwrap() as usize).collect();
        (graph.input_name(v).to_string(), cases::input("x", ty.dtype, &shape, k as u64))
    };
    let mut session = program.session(Device::cpu().threads(2)).unwrap();
    session.run(graph.inputs().enumerate().map(input)).unwrap().to_vec()
}

/// How many constants of the target for the CPU are in the file, and how many are made.
fn constants(program: &Program) -> (usize, usize) {
    let target = program.manifest().targets.iter().find(|target| target.name.starts_with("cpu")).unwrap();
    let count = |f: fn(&Place) -> bool| target.buffers.iter().filter(|buffer| f(&buffer.place)).count();
    (count(|place| matches!(place, Place::Weight(_))), count(|place| matches!(place, Place::Packed(_))))
}

#[test]
fn a_file_for_gpus_and_the_cpu_has_every_constant_once() {
    if !Clang::find().is_some_and(|clang| clang.knows(GpuSpec::named("hip:gfx1100").unwrap())) {
        return eprintln!("skipped: no clang for AMD is here");
    }
    let graph = text::parse(GRAPH).unwrap();
    let all: usize = graph
        .nodes()
        .filter_map(|id| graph.const_value(Value { node: id, port: 0 }))
        .map(|tensor| tensor.bytes().len())
        .sum();
    let (alone, _) = program(&graph, &["cpu"]);
    let (several, report) = program(&graph, &["hip:gfx942", "hip:gfx1100", "cpu"]);
    let bound = 1.1 * (all + report.code) as f64;
    assert!(
        (several.file_size() as f64) < bound,
        "{} bytes, {all} of constants, {report:?}",
        several.file_size()
    );
    assert_eq!(constants(&alone).1, 0, "panels stand in the file of one target");
    let (_, made) = constants(&several);
    assert!(made >= 6, "{made} constants are made when a session begins");
    assert!(outputs(&graph, &alone) == outputs(&graph, &several), "the same kernels on the same panels");
}

#[test]
fn a_file_for_two_processors_has_every_constant_once() {
    let graph = text::parse(GRAPH).unwrap();
    let all: usize = graph
        .nodes()
        .filter_map(|id| graph.const_value(Value { node: id, port: 0 }))
        .map(|tensor| tensor.bytes().len())
        .sum();
    let (several, report) = program(&graph, &["cpu:x86-64-v4", "cpu:x86-64-v2"]);
    let bound = 1.1 * (all + report.code) as f64;
    assert!(
        (several.file_size() as f64) < bound,
        "{} bytes, {all} of constants, {report:?}",
        several.file_size()
    );
    let name = several.session(Device::cpu()).unwrap().target().to_string();
    let (alone, _) = program(&graph, &[&name]);
    assert!(outputs(&graph, &alone) == outputs(&graph, &several), "the same kernels on the same panels");
}
