//! The device that models run on in tests: the CPU, or what `SARDONYX_DEVICE` names (`cuda:0`), where
//! `scripts/gpu-check` runs the same tests, with vendors' libraries if `SARDONYX_LIBRARIES` is `auto`.
use sardonyx::compile::Options;
use sardonyx_codegen::toolchain::gpu::Tools;
use sardonyx_runtime::Device;

/// The device.
pub fn device() -> Device {
    let name = std::env::var("SARDONYX_DEVICE").unwrap_or_else(|_| "cpu".into());
    name.parse().unwrap_or_else(|error| panic!("SARDONYX_DEVICE={name}: {error}"))
}

/// Whether this build compiles for the device; says so if not.
pub fn can_compile() -> bool {
    let can = cfg!(feature = "cpu") || device().as_gpu().is_some();
    if !can {
        eprintln!("skipped: this build has no LLVM");
    }
    can
}

/// How models are compiled for it, with so many kernels at once (0: one per core).
pub fn options(jobs: usize) -> Options {
    // A test program that was carried to another machine is told where the command is.
    let command = std::env::var("SARDONYX_COMMAND").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sardonyx").into());
    let tools = Tools {
        worker: vec![command, "compile-worker".into()],
        nvrtc: std::env::var_os("NVRTC_DYLIB_PATH").map(Into::into),
        ..Tools::default()
    };
    let libraries = std::env::var_os("SARDONYX_LIBRARIES").is_some_and(|value| value == "auto");
    let options = Options { jobs: Some(jobs), tools, libraries, ..Options::default() };
    options.targeting(&device()).unwrap_or_else(|error| panic!("{error}"))
}
