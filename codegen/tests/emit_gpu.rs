//! Snapshots of the nests and the HIP text of common kernels, and nests that must be refused; needs no toolchain.
#![allow(clippy::unwrap_used)]
use sardonyx_codegen::emit;
use sardonyx_codegen::lower;
use sardonyx_codegen::nest::Builder;
use sardonyx_codegen::target::{GpuSpec, Target};
use sardonyx_codegen::unit::Unit;
use sardonyx_ir::text;
use sardonyx_tensor::DType;

/// The only kernel of a graph, as a nest and as the text after the prelude.
fn check(name: &str, gpu: &str, graph: &str) {
    let spec = GpuSpec::named(gpu).unwrap();
    let lowered = lower::lower(&text::parse(graph).unwrap(), &Target::Gpu(spec.clone()));
    let [unit @ Unit::Nest(nest)] = &lowered.units[..] else { panic!("{} kernels", lowered.units.len()) };
    let text = emit::hip::text(unit, spec).replace(emit::hip::PRELUDE, "// prelude\n");
    insta::assert_snapshot!(name, format!("{nest}\n{text}"));
}

#[test]
fn softmax_of_rows_in_registers_of_a_wave() {
    check(
        "gpu_softmax",
        "hip:gfx90a",
        "graph(%x: f16[b,12,768]) { %0 = softmax(%x) {axis=-1}
  return %0 }",
    );
}

#[test]
fn layer_norm_of_rows_shared_by_a_block() {
    let graph = "graph(%x: f32[b,4096], %w: f32[4096], %v: f32[4096]) {
  %0 = layer_norm(%x, %w, %v) {axes=1, epsilon=1e-5}
  return %0
}";
    check("gpu_layer_norm", "hip:gfx1100", graph);
}

#[test]
fn sum_and_gelu_of_vectors() {
    let graph = "graph(%x: f16[b,768], %y: f16[768]) {
  %0 = fused(%x, %y) : f16[b,768] body (%p: f16[b,768], %q: f16[768]) {
    %1 = add(%p, %q)
    %2 = gelu(%1)
    return %2
  }
  return %0
}";
    check("gpu_add_gelu", "cuda:sm_90", graph);
}

#[test]
fn transpose_through_shared_memory() {
    let graph = "graph(%x: f32[b,197,64]) { %0 = transpose(%x) {perm=[0, 2, 1]}
  return %0 }";
    check("gpu_transpose", "hip:gfx942", graph);
}

#[test]
#[should_panic(expected = "a barrier that not all threads meet")]
fn a_barrier_under_a_condition_of_threads_is_refused() {
    let b = Builder::new("broken");
    let y = b.output("y", DType::F32);
    b.if_(b.thread().lt(7), || b.barrier());
    b.store(y, b.grid(), b.f32(0.0));
    b.finish_blocks(4, 64);
}

#[test]
#[should_panic(expected = "a reduction that not all threads meet")]
fn a_wave_reduction_in_a_loop_of_a_thread_is_refused() {
    let b = Builder::new("broken");
    let y = b.output("y", DType::I64);
    b.for_(0, b.thread() + 1, |i| b.store(y, i, i.wave_reduce(sardonyx_ir::scalar::Prim::Add)));
    b.finish_blocks(4, 64);
}

#[test]
#[should_panic(expected = "a thread of no block")]
fn threads_without_blocks_are_refused() {
    let b = Builder::new("broken");
    let y = b.output("y", DType::I64);
    b.store(y, b.grid(), b.thread());
    b.finish(4);
}
