//! The time of every stage from the bytes of a model to a planned run.
use crate::build;
use onnx_protobuf::ModelProto;
use sardonyx::onnx::{self, ImportOptions};
use sardonyx::pipeline;
use sardonyx_codegen::plan;
use sardonyx_codegen::{lower, toolchain};
use sardonyx_passes::Driver;
use sardonyx_tensor::Bindings;
use std::time::Instant;

/// Stages in order, with their seconds.
pub type Times = Vec<(String, f64)>;

/// Runs a model through all stages but the code generation of LLVM, whose time per kernel is its own matter.
pub fn measure(model: &ModelProto) -> Times {
    let mut times = Times::new();
    let bytes = build::bytes(model);
    let (model, t) = timed(|| onnx::import_bytes(bytes, &ImportOptions::default()).expect("a valid model"));
    times.push(("import".into(), t));
    let passes = sardonyx_passes::Options::default();
    let (mut graph, t) = timed(|| model.graph.clone());
    times.push(("clone".into(), t));
    let mut driver = Driver::new(&passes);
    // Passes are timed by the clock, so what is left for verification is too.
    let start = Instant::now();
    pipeline::optimize(&mut driver, &mut graph);
    let whole = start.elapsed().as_secs_f64();
    let mut total = 0.0;
    for timing in driver.timings() {
        let seconds = timing.time.as_secs_f64();
        total += seconds;
        match times.iter_mut().find(|(s, _)| s == timing.pass) {
            Some((_, t)) => *t += seconds,
            None => times.push((timing.pass.into(), seconds)),
        }
    }
    times.push(("verify".into(), whole - total));
    let target = sardonyx_codegen::compile::target("cpu:x86-64-v3").expect("a known processor");
    let (lowered, t) = timed(|| lower::lower(&graph, &target));
    assert!(lowered.unsupported.is_empty(), "{:?}", lowered.unsupported);
    times.push(("lower".into(), t));
    let places: Vec<(usize, String)> = (0..lowered.units.len()).map(|k| (0, format!("k{k}"))).collect();
    let (_, t) = timed(|| toolchain::distinct(&lowered.units));
    times.push(("distinct".into(), t));
    let (planned, t) = timed(|| plan::plan(&lowered, &places, false));
    times.push(("plan".into(), t));
    let symbols = Bindings::from([("b", 2), ("s", 3)]);
    let (_, t) = timed(|| sardonyx_runtime::plan::workspace_size(&planned.program, &symbols).expect("sizes"));
    times.push(("places".into(), t));
    let sum = times.iter().map(|(_, t)| t).sum();
    times.push(("all".into(), sum));
    times
}

/// The seconds that a function takes of the processor, or where the system does not say, of the clock.
fn timed<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let (clock, processor) = (Instant::now(), processor_seconds());
    let result = f();
    let (clock, after) = (clock.elapsed().as_secs_f64(), processor_seconds());
    (result, processor.zip(after).map_or(clock, |(before, after)| after - before))
}

/// What this thread has had of the processor.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}
