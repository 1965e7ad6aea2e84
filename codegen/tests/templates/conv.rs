//! Convolutions as code of GPUs; that they are right, the conformance graphs tell.
use super::{AMD, GpuSpec, assert_nothing_spills, compile, directory, matrix_instructions, nvrtc};
use sardonyx_codegen::emit::hip;
use sardonyx_codegen::lower;
use sardonyx_codegen::target::{Matrix, Target};
use sardonyx_codegen::unit::Unit;
use sardonyx_ir::text;

/// Convolutions by pixels, of channels and by channels.
const GRAPH: &str = "graph(%x: f16[4,3,64,64], %w: f16[64,3,7,7], %v: f16[64,1,3,3], %u: f16[128,64,3,3]) {
  %0 = conv(%x, %w) {strides=[2, 2], pads=[3, 3, 3, 3], dilations=[1, 1]}
  %1 = conv(%0, %v) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=64}
  %2 = conv(%1, %u) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
  return %2
}";

#[test]
fn convolutions_use_matrix_units_and_do_not_spill() {
    let directory = directory("convolutions");
    let graph = text::parse(GRAPH).unwrap();
    let units = |gpu: &GpuSpec| -> Vec<Unit> {
        let lowered = lower::lower(&graph, &Target::Gpu(gpu.clone()));
        lowered.units.into_iter().filter(|unit| matches!(unit, Unit::Template(_))).collect()
    };
    for arch in AMD {
        let gpu = GpuSpec::named(&format!("hip:{arch}")).unwrap();
        let units = units(gpu);
        assert_eq!(units.len(), 3, "{arch}");
        for (k, unit) in units.iter().enumerate() {
            let object = compile(&hip::text(unit, gpu), arch, &directory);
            let expected = gpu.matrix != Matrix::None && k != 1;
            assert_eq!(matrix_instructions(&object) > 0, expected, "{arch} {k}");
            assert_nothing_spills(&object);
        }
    }
    let gpu = GpuSpec::named("cuda:sm_90").unwrap();
    for unit in units(gpu) {
        nvrtc().compile(gpu, "convolution", &hip::text(&unit, gpu)).unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
