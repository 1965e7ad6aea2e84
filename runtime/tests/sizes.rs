//! Programs with code for some sizes alone: a session turns to what fits its inputs, and threads, weights and profiles
//! go with it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/hip_double/mod.rs"]
mod hip_double;

use common::{Build, GPU_KERNELS, GPU_TABLE, add_program, floats, gpu_launch};
use hip_double::over_double;
use sardonyx_runtime::manifest::{Step, TargetProgram};
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Error, Program, Session};
use std::collections::BTreeMap;

fn sizes(rows: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([("b".to_string(), rows)])
}

/// The program, with others like it for 2 and for 5 rows.
fn with_special(build: Build) -> Program {
    let mut builder = build.finish();
    let general = builder.manifest.targets[0].clone();
    for rows in [2, 5] {
        builder.manifest.targets.push(TargetProgram { sizes: sizes(rows), ..general.clone() });
    }
    builder.finish().unwrap()
}

/// Runs rows `(x + y) * table`, and checks which program did.
fn run(session: &mut Session, rows: usize) {
    let (x, y) = (floats(&[rows, 4], |i| i as f32), floats(&[rows, 4], |_| 1.0));
    let z = floats(&[rows, 4], |i| (i as f32 + 1.0) * (1 << (i % 8)) as f32);
    assert_eq!(session.run([("x", x), ("y", y)]).unwrap(), [z], "{rows} rows");
    let special = if [2, 5].contains(&rows) { sizes(rows as i64) } else { BTreeMap::new() };
    assert_eq!(*session.sizes(), special);
}

const ROWS: [usize; 12] = [1, 2, 2, 5, 2, 3, 5, 0, 5, 2, 1, 3];

#[test]
fn a_session_on_the_cpu_turns_to_what_fits() {
    let program = with_special(add_program());
    let mut session = program.session(Device::cpu().threads(3)).unwrap();
    session.set_profiling(true);
    for rows in ROWS {
        run(&mut session, rows);
        assert_eq!(session.profile().len(), 2, "what is measured goes on");
    }
    session.set_profiling(false);
    run(&mut session, 2);
    assert!(session.profile().is_empty());
    assert!(session.workspace_size() > 0);
}

/// The program of `add_program` on a GPU.
fn gpu_program(code: &[u8]) -> Program {
    let mut build = Build::for_gpu("hip:host", code);
    let x = build.input("x", DType::F32, "b,4");
    let y = build.input("y", DType::F32, "b,4");
    let table = build.weight("table", &floats(&[8], |i| (1 << i) as f32));
    let sum = build.workspace(DType::F32, "b,4");
    let z = build.output("z", DType::F32, "b,4");
    build.step(gpu_launch("add", &[x, y, sum], "b*4", "(b*4 + 63)/64"));
    build.step(gpu_launch("times_table", &[sum, table, z], "b*4", "(b*4 + 63)/64"));
    with_special(build)
}

#[test]
fn a_session_on_a_gpu_turns_to_what_fits_and_has_weights_once() {
    let code = || {
        let names: Vec<&str> = GPU_TABLE.iter().map(|row| row.0).collect();
        hip_double::code_object(GPU_KERNELS, &names)
    };
    let test = "a_session_on_a_gpu_turns_to_what_fits_and_has_weights_once";
    over_double(test, "", code, |code, double| {
        let mut session = gpu_program(code).session(Device::hip(0)).unwrap();
        let weights = double.calls("hipMemcpyHtoDAsync");
        assert_eq!(weights, 1);
        for rows in ROWS {
            run(&mut session, rows);
        }
        let inputs = ROWS.iter().filter(|&&rows| rows > 0).count() * 2;
        assert_eq!(double.calls("hipMemcpyHtoDAsync") - weights, inputs as u64);
        assert!(double.calls("hipGraphLaunch") > 0, "runs at one size should be replayed");
    });
}

/// What is wrong with a manifest.
fn refused(change: impl Fn(&mut Vec<TargetProgram>)) -> String {
    let mut builder = add_program().finish();
    change(&mut builder.manifest.targets);
    match builder.finish() {
        Err(Error::Manifest { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sizes_are_of_symbols_and_beside_a_program_for_all() {
    let said = refused(|targets| targets[0].sizes = sizes(2));
    assert_eq!(said, "target cpu: there is none for all sizes");
    let said = refused(|targets| {
        let sizes = BTreeMap::from([("c".to_string(), 2)]);
        let special = TargetProgram { sizes, ..targets[0].clone() };
        targets.push(special);
    });
    assert_eq!(said, "target cpu: it is for a size of `c`, which no input gives");
}

#[test]
fn texts_stay_when_the_program_changes() {
    // The heap of a session holds the texts of its inputs before the program is chosen.
    let mut build = Build::new();
    let x = build.input("x", DType::String, "b");
    let y = build.output("y", DType::String, "b");
    build.step(Step::Copy { src: x, dst: y });
    let mut session = with_special(build).session(Device::cpu()).unwrap();
    for rows in ROWS {
        let texts: Vec<String> = (0..rows).map(|i| format!("text {i} of {rows}")).collect();
        let x = Tensor::from_texts([rows], &texts);
        assert_eq!(session.run([("x", x.clone())]).unwrap(), [x]);
    }
}
