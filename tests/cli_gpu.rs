//! What the command says, and its exit code, where a GPU, its driver or a program for it is at fault.
#![cfg(feature = "cpu")]
#![allow(clippy::unwrap_used)]
#[path = "../runtime/tests/common/mod.rs"]
mod common;
#[path = "hip_double/mod.rs"]
mod hip_double;

use common::{Build, GPU_KERNELS, GPU_TABLE, floats, gpu_launch};
use sardonyx_runtime::tensor::DType;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program for the double: `z = (x + y) * table`, for `f32[b, 4]`.
fn program(folder: &Path) -> PathBuf {
    let names: Vec<&str> = GPU_TABLE.iter().map(|row| row.0).collect();
    let mut build = Build::for_gpu("hip:host", &hip_double::code_object(GPU_KERNELS, &names));
    let x = build.input("x", DType::F32, "b,4");
    let y = build.input("y", DType::F32, "b,4");
    let table = build.weight("table", &floats(&[8], |i| i as f32));
    let sum = build.workspace(DType::F32, "b,4");
    let z = build.output("z", DType::F32, "b,4");
    build.step(gpu_launch("add", &[x, y, sum], "b*4", "(b*4 + 63)/64"));
    build.step(gpu_launch("times_table", &[sum, table, z], "b*4", "(b*4 + 63)/64"));
    let path = folder.join("program.sdx");
    std::fs::write(&path, build.finish().to_bytes().unwrap()).unwrap();
    path
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("sardonyx"));
    command.args(args);
    command
}

/// Runs a command that should end with this code and say this.
fn check(mut command: Command, code: i32, says: &str) {
    let output = command.output().unwrap();
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = text.concat();
    assert_eq!(output.status.code(), Some(code), "{command:?}:\n{text}");
    assert!(text.contains(says), "`{says}` is not in what {command:?} says:\n{text}");
    assert!(!text.contains("panicked"), "{command:?}:\n{text}");
}

#[test]
fn runs_over_the_double() {
    if !hip_double::available("runs_over_the_double") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    for (settings, device, rows, code, says) in [
        ("", "hip:0", 3, 0, "z: f32[3, 4]"),
        ("devices=0", "hip:0", 3, 3, "no device `hip:0`: AMD's driver finds no device"),
        ("", "hip:1", 3, 3, "no device `hip:1`: AMD's driver finds 1 device"),
        (
            "arch=gfx942:sramecc+:xnack-",
            "hip:0",
            3,
            3,
            "the program does not run on hip:0, a gfx942: target hip:host is for host",
        ),
        ("memory=100000", "hip:0", 3000, 3, "cannot allocate 48000 bytes for "),
        (
            "fault=times_table",
            "hip:0",
            3,
            3,
            "step 1 (times_table from /layer/Node): hip:0 faulted: an illegal memory access was encountered \
             (hipErrorIllegalAddress, 700)",
        ),
    ] {
        let dim = format!("b={rows}");
        let mut command = command(&["run", program.to_str().unwrap(), "--device", device, "--dim", &dim]);
        hip_double::run_over(&mut command, settings, &[]);
        check(command, code, says);
    }
    let mut old = command(&["run", program.to_str().unwrap(), "--device", "hip:0"]);
    hip_double::run_over(&mut old, "", &["-DHIP_DOUBLE_OLD"]);
    check(
        old,
        3,
        "AMD's driver library libamdhip64.so.7 is too old: it has no function `hipGetDeviceProperties`",
    );
}

#[test]
fn a_driver_that_cannot_be_loaded() {
    if !hip_double::available("a_driver_that_cannot_be_loaded") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    // Whatever is installed, these are found first.
    for name in ["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"] {
        std::fs::write(folder.path().join(name), "no library").unwrap();
    }
    let mut command = command(&["run", program.to_str().unwrap(), "--device", "hip:0"]);
    command.env("LD_LIBRARY_PATH", folder.path());
    check(command, 3, "driver library is not here (tried libamdhip64.so.7, libamdhip64.so.6, ");
}

#[test]
fn archs_that_are_not_known() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/small/bert_base.ts17.onnx");
    for target in ["hip:gfx4711", "hip:", "cuda:sm_1", "hip:sm_90", "rocm:gfx942"] {
        let command = command(&["compile", model, "-o", "never.sdx", "--target", target]);
        check(command, 2, &format!("unknown target `{target}`"));
    }
}
