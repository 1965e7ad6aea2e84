//! `doctor`: which devices, libraries and toolchains are here, and what is missing for what.
use super::Outcome;
use super::common;
use sardonyx_codegen::toolchain::gpu::{Clang, Compiler};
use sardonyx_runtime::Platform;
use sardonyx_runtime::{Device, DeviceInfo};
use std::path::Path;

pub(super) fn doctor() -> Outcome {
    let mut table = common::table(&["what", "found", "for"]);
    let mut row = |what: &str, found: String, purpose: &str| {
        table.add_row(vec![what.to_string(), found, purpose.to_string()]);
    };
    row("CPU", cpu(), "running cpu programs");
    row("LLVM", llvm(), "compiling for cpu targets");
    row("ONNX Runtime", onnx_runtime(), "verify and perf --against ort");
    let compiler = |platform| match Compiler::load(platform, common::tools(None).nvrtc.as_deref()) {
        Ok(compiler) => compiler.version(),
        Err(reason) => format!("missing: {reason}"),
    };
    row("hiprtc", compiler(Platform::Hip), "compiling for hip targets that it knows");
    let clang = Clang::find().map_or("missing: packages clang-19 and lld-19".into(), |clang| clang.version);
    row("clang", clang, "compiling for all other hip targets");
    row("NVRTC", compiler(Platform::Cuda), "compiling for cuda targets");
    for platform in [Platform::Hip, Platform::Cuda] {
        row(&format!("{} devices", platform.name()), devices(platform), "running programs on them");
    }
    println!("{table}");
    Ok(())
}

fn devices(platform: Platform) -> String {
    match Device::list(platform) {
        Ok(list) if list.is_empty() => "none".into(),
        Ok(list) => {
            let line = |d: &DeviceInfo| {
                let memory = common::mebibytes(d.memory);
                format!("{}: {} ({}), {memory}, driver {}", d.device, d.name, d.arch, d.driver)
            };
            list.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown model", |l| l.trim_start_matches([' ', '\t', ':']));
    format!("{model}, {} threads", std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(feature = "cpu")]
fn llvm() -> String {
    use sardonyx_codegen::toolchain::llvm;
    format!("{}, host processor {}", llvm::version(), llvm::host().cpu)
}
#[cfg(not(feature = "cpu"))]
fn llvm() -> String {
    "left out of this build (cargo feature `cpu`)".into()
}

fn onnx_runtime() -> String {
    match std::env::var_os("ORT_DYLIB_PATH") {
        Some(path) if Path::new(&path).exists() => format!("{}", Path::new(&path).display()),
        Some(path) => format!("ORT_DYLIB_PATH names {}, which does not exist", Path::new(&path).display()),
        None => "not given (ORT_DYLIB_PATH or --ort-library; PyPI's onnxruntime holds it)".into(),
    }
}
