//! Compiling many nests: equal ones once, the same bytes whatever the number of threads, objects kept.
#![cfg(feature = "cpu")]
mod common;
use sardonyx_codegen::nest::{Builder, Nest};
use sardonyx_codegen::target::{CPUS, Target, TargetSpec};
use sardonyx_codegen::toolchain::{self, Options, ToolchainError, cache::Cache};
use sardonyx_codegen::unit::Unit;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;

fn add(name: &str, n: i64) -> Nest {
    let b = Builder::new(name);
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    b.vectorize(0, 64, |i| b.store(y, b.grid() * 64 + i, b.load(x, b.grid() * 64 + i) + n as f64));
    b.finish(4)
}

#[test]
fn equal_nests_are_compiled_once_and_names_differ() {
    let target = Target::Cpu(toolchain::cpu("x86-64-v3").unwrap());
    let units = [add("first", 1), add("second", 1), add("first", 2)].map(Unit::Nest);
    let built = toolchain::compile(&units, &target, &Options::default()).unwrap();
    assert_eq!(built.places[0], built.places[1]);
    assert_ne!(built.places[0], built.places[2]);
}

#[test]
fn objects_do_not_depend_on_threads_or_the_cache() {
    let target = Target::Cpu(toolchain::cpu("x86-64-v4").unwrap());
    let units: Vec<Unit> = (0..40).map(|n| Unit::Nest(add("add", n))).collect();
    let directory = std::env::temp_dir().join(format!("sardonyx-objects-{}", std::process::id()));
    let cache = Cache::new(&directory);
    let build = |jobs, cache| {
        toolchain::compile(&units, &target, &Options { jobs, cache, ..Options::default() }).unwrap().objects
    };
    let one = build(1, None);
    assert!(one == build(3, None) && one == build(2, Some(&cache)));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), one.len());
    assert!(one == build(2, Some(&cache)));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn unknown_processors_are_refused() {
    assert!(matches!(toolchain::cpu("i386"), Err(ToolchainError::UnknownCpu(name)) if name == "i386"));
    assert!(toolchain::cpu("native").is_ok());
}

/// Conversions, transcendental functions, masks and reductions: what LLVM may turn into library calls.
fn mixture(from: DType, to: DType) -> Nest {
    let b = Builder::new(&format!("mixture_{from}_{to}"));
    let (x, y) = (b.input("x", from), b.output("y", to));
    let (sum, greatest) = (b.var(b.f32(0.0)), b.var(b.f32(f64::NEG_INFINITY)));
    b.reduce(0, 100, |i| {
        let v = b.load(x, i).cast(DType::F32);
        sum.add(b.prim(Prim::Sin, &[v]).round() + b.prim(Prim::Pow, &[v, v]));
        greatest.update(|g| g.max(v));
    });
    b.vectorize(0, 100, |i| b.store(y, i, (b.load(x, i).cast(DType::F32) + sum.get()).tanh().cast(to)));
    let mask = b.first_lanes(b.grid(), 8);
    let lanes = b.load_masked(x, 8, mask).cast(DType::F32) * greatest.get();
    b.store_masked(y, 8, lanes.cast(to), mask);
    b.store(y, 17, b.prim(Prim::Rem, &[lanes.reduce(Prim::Max), sum.get()]).cast(to));
    b.finish(2)
}

#[test]
fn objects_for_every_processor_need_nothing_from_outside() {
    let pairs = [
        (DType::F32, DType::F16),
        (DType::F16, DType::BF16),
        (DType::BF16, DType::F8E4M3FN),
        (DType::I64, DType::F64),
        (DType::F64, DType::U64),
        (DType::Bool, DType::I8),
    ];
    let nests: Vec<Nest> = pairs.iter().map(|&(from, to)| mixture(from, to)).collect();
    for cpu in CPUS {
        common::load_for(&nests, &TargetSpec::named(cpu.name).unwrap());
    }
}
