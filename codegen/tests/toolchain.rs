//! Compiling many nests: equal ones once, the same bytes whatever the number of threads, objects kept.
#![cfg(feature = "cpu")]
use sardonyx_codegen::nest::{Builder, Nest};
use sardonyx_codegen::toolchain::{self, Options, ToolchainError, cache::Cache};
use sardonyx_tensor::DType;

fn add(name: &str, n: i64) -> Nest {
    let b = Builder::new(name);
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    b.vectorize(0, 64, |i| b.store(y, b.grid() * 64 + i, b.load(x, b.grid() * 64 + i) + n as f64));
    b.finish(4)
}

#[test]
fn equal_nests_are_compiled_once_and_names_differ() {
    let target = toolchain::cpu("x86-64-v3").unwrap();
    let nests = [add("first", 1), add("second", 1), add("first", 2)];
    let built = toolchain::compile(&nests, &target, &Options::default()).unwrap();
    assert_eq!(built.places[0], built.places[1]);
    assert_ne!(built.places[0], built.places[2]);
}

#[test]
fn objects_do_not_depend_on_threads_or_the_cache() {
    let target = toolchain::cpu("x86-64-v4").unwrap();
    let nests: Vec<Nest> = (0..40).map(|n| add("add", n)).collect();
    let directory = std::env::temp_dir().join(format!("sardonyx-objects-{}", std::process::id()));
    let cache = Cache::new(&directory);
    let build = |jobs, cache| {
        toolchain::compile(&nests, &target, &Options { jobs, cache, progress: None }).unwrap().objects
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
