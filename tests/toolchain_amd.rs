//! Code objects of GPUs without a GPU: every kernel of the small exports compiles with each toolchain that is
//! here, no vector register is spilled, and what is missing is named. Ignored tests (`toolchain_amd/sweep.rs`) take
//! all models and GPUs.
//!
//! hiprtc and clang are Debian packages, `NVRTC_DYLIB_PATH` names NVRTC's library; `source scripts/setup --amd`
//! brings all of them. A toolchain that is not here is skipped with a message.
#[path = "toolchain_amd/sweep.rs"]
mod sweep;

use sardonyx::compile::{Options, optimize};
use sardonyx::onnx::{self, ImportOptions};
use sardonyx_codegen::compile::{CompileError, kernels, target};
use sardonyx_codegen::target::{GpuSpec, Platform};
use sardonyx_codegen::toolchain::gpu::resources::{self, Resources};
use sardonyx_codegen::toolchain::gpu::{self, Clang, Compiler, Tools};
use sardonyx_codegen::toolchain::{self, ToolchainError};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tools() -> Tools {
    Tools {
        worker: vec![env!("CARGO_BIN_EXE_sardonyx").into(), "compile-worker".into()],
        nvrtc: std::env::var_os("NVRTC_DYLIB_PATH").map(PathBuf::from),
        ..Tools::default()
    }
}

/// Whether a compiler for the GPU is here; says so if not.
fn has_compiler(spec: &GpuSpec) -> bool {
    let rtc = Compiler::load(spec.platform, tools().nvrtc.as_deref());
    let here = rtc.is_ok_and(|compiler| compiler.knows(spec))
        || (spec.platform == Platform::Hip && Clang::find().is_some_and(|clang| clang.knows(spec)));
    if !here {
        eprintln!("skipped: no compiler for {} is here", spec.arch);
    }
    here
}

/// The distinct kernels' texts of a model for a GPU.
fn texts(path: &Path, target: &str) -> Vec<String> {
    let model = onnx::import(path, &ImportOptions::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let graph = optimize(&model, &Options::default(), None).graph;
    let kernels = kernels(&graph, target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    kernels.into_iter().map(|kernel| kernel.source).collect()
}

/// Compiles the kernels of models for a GPU; what each takes.
fn compile(models: &[PathBuf], spec: &GpuSpec) -> Vec<Resources> {
    let name = format!("{}:{}", spec.platform.name(), spec.arch);
    let mut all: Vec<String> = models.iter().flat_map(|path| texts(path, &name)).collect();
    all.sort_unstable();
    all.dedup();
    let tools = tools();
    let options = toolchain::Options { tools: Some(&tools), ..toolchain::Options::default() };
    let found = gpu::resources(&all, spec, &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.len(), all.len());
    found
}

fn check_spills(found: &[Resources], spec: &GpuSpec) {
    for resources in found {
        assert_eq!(resources.vgpr_spills, 0, "{}: {} {resources}", spec.arch, resources.name);
    }
}

fn small(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| root().join(format!("models/small/{name}.onnx"))).collect()
}

#[test]
fn small_exports_compile_with_each_toolchain() {
    // hiprtc of Debian knows the first, clang the second.
    for name in ["hip:gfx90a", "hip:gfx1100"] {
        let spec = GpuSpec::named(name).unwrap();
        if has_compiler(spec) {
            check_spills(&compile(&small(&["bert_base.dynamo23", "mobilenet_v3_large.ts17"]), spec), spec);
        }
    }
}

#[test]
fn nvidia_code_compiles_without_a_gpu() {
    let spec = GpuSpec::named("cuda:sm_90").unwrap();
    if !has_compiler(spec) {
        return;
    }
    let (tools, graph) = (tools(), {
        let model = onnx::import(&small(&["bert_base.ts17"])[0], &ImportOptions::default()).unwrap();
        optimize(&model, &Options::default(), None).graph
    });
    let options = sardonyx_codegen::compile::CompileOptions {
        model: "bert".into(),
        targets: vec!["cuda:sm_90".into()],
        tools: Some(&tools),
        ..Default::default()
    };
    let (bytes, report) = sardonyx_codegen::compile::compile(&graph, &options).unwrap();
    assert!(report.kernels > 0 && report.cached == 0);
    let program = sardonyx_runtime::Program::from_bytes(bytes).unwrap();
    assert_eq!(program.manifest().targets[0].name, "cuda:sm_90");
    assert!(program.manifest().targets[0].kernels.iter().all(|kernel| kernel.threads > 0));
}

#[test]
fn what_is_missing_is_named() {
    assert!(matches!(target("hip:gfx999"), Err(CompileError::Target(_))));
    let newest = GpuSpec::named("hip:gfx942").unwrap().clone();
    let spec = GpuSpec { arch: "gfx4711", llvm: 9999, ..newest };
    let error = gpu::resources(&["".into()], &spec, &toolchain::Options::default()).unwrap_err();
    assert!(matches!(error, ToolchainError::NoGpuToolchain { .. }), "{error}");
    assert!(error.to_string().contains("gfx4711"), "{error}");
    let missing = Tools { nvrtc: Some("/nowhere/libnvrtc.so".into()), ..Tools::default() };
    let options = toolchain::Options { tools: Some(&missing), ..toolchain::Options::default() };
    let error = gpu::resources(&["".into()], GpuSpec::named("cuda:sm_90").unwrap(), &options).unwrap_err();
    assert!(error.to_string().contains("/nowhere/libnvrtc.so"), "{error}");
}

#[test]
fn a_kernel_that_does_not_compile_is_named_with_the_message() {
    let spec = GpuSpec::named("hip:gfx90a").unwrap();
    if !has_compiler(spec) {
        return;
    }
    let tools = tools();
    let options = toolchain::Options { tools: Some(&tools), ..toolchain::Options::default() };
    let error = gpu::resources(&["this is no kernel".into()], spec, &options).unwrap_err().to_string();
    assert!(error.contains("gfx90a") && error.contains("error"), "{error}");
}

#[test]
fn bytes_that_are_no_code_object_are_refused() {
    for bytes in [&b""[..], b"\x7fELF", &[0xff; 100]] {
        assert!(resources::of_object(bytes).is_err());
    }
}
