//! Program files: the same parts give the same bytes; whatever is wrong with a file gives an error that says
//! so, and no bytes make the runtime panic.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sardonyx_runtime::manifest::*;
use sardonyx_runtime::tensor::{DType, Tensor};
use sardonyx_runtime::{Device, Error, Program};
use serde_json::{Value, json};

const HEADER: usize = 48;

/// A program with a bit of everything.
fn build() -> Build {
    let mut build = add_program();
    let large = floats(&[100, 100], |i| i as f32);
    let (a, b) = (build.weight("large", &large), build.weight("small", &floats(&[3], |i| i as f32)));
    let condition = build.workspace(DType::Bool, "");
    let state = build.workspace(DType::F32, "100,100");
    let part = build.buffer(DType::F32, "1", Place::Alias { of: state, offset: dim("8") });
    build.step(Step::If { condition, then: vec![Step::Copy { src: b, dst: state }], otherwise: vec![] });
    build.step(Step::Loop(Box::new(Loop {
        trip: Some(Trip::Dim(dim("b"))),
        count: Some("n".into()),
        carried: vec![Carried { state, next: a, resize: vec![] }],
        body: vec![launch("call_pointer", &[b, part], "0", "1")],
        ..Loop::default()
    })));
    build.step(Step::Bind { buffer: condition, symbols: vec!["u0".into()] });
    build.builder.attachment("graph", "graph() {}".into());
    build
}

fn bytes() -> Vec<u8> {
    build().finish().to_bytes().unwrap()
}

fn open(bytes: &[u8]) -> Result<Program, Error> {
    Program::from_bytes(bytes.to_vec())
}

fn message(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

fn manifest_length(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize
}

/// The file with another manifest, whose sum is right, in front of the same blobs.
fn with_json(bytes: &[u8], json: &[u8]) -> Vec<u8> {
    let blobs = (HEADER + manifest_length(bytes)).next_multiple_of(4096);
    let mut file = bytes[..12].to_vec();
    file.extend((json.len() as u32).to_le_bytes());
    file.extend(blake3::hash(json).as_bytes());
    file.extend(json);
    file.resize(file.len().next_multiple_of(4096), 0);
    file.extend(&bytes[blobs..]);
    file
}

fn with_manifest(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let json = &bytes[HEADER..HEADER + manifest_length(bytes)];
    let mut manifest: Value = serde_json::from_slice(json).unwrap();
    change(&mut manifest);
    with_json(bytes, &serde_json::to_vec(&manifest).unwrap())
}

#[test]
fn files_are_deterministic_and_open() {
    let bytes = bytes();
    assert_eq!(bytes, self::bytes());
    let path = std::env::temp_dir().join(format!("sardonyx-{}.sdx", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    let program = Program::open(&path).unwrap();
    program.verify().unwrap();
    assert_eq!(program.weight(0), floats(&[100, 100], |i| i as f32));
    assert_eq!(program.weight(1).to_f64s(), [0.0, 1.0, 2.0]);
    assert_eq!(program.attachment("graph"), Some("graph() {}"));
    assert_eq!(program.attachment("other"), None);
    assert_eq!((program.file_size(), &*program.manifest().model), (bytes.len(), "model"));
    program.session(Device::cpu().threads(1)).unwrap();
    let leaked: &'static [u8] = bytes.leak();
    assert_eq!(Program::from_bytes(leaked).unwrap().manifest(), program.manifest());
    std::fs::remove_file(&path).unwrap();

    let missing = Program::open("no/such.sdx").unwrap_err().to_string();
    assert!(missing.starts_with("cannot read no/such.sdx: "), "{missing}");
    let folder = Program::open(std::env::temp_dir()).unwrap_err().to_string();
    assert!(folder.ends_with("not a regular file"), "{folder}");
}

#[test]
fn manifests_round_trip() {
    let program = open(&bytes()).unwrap();
    let json = serde_json::to_string(program.manifest()).unwrap();
    assert_eq!(&serde_json::from_str::<Manifest>(&json).unwrap(), program.manifest());
}

#[test]
fn equal_blobs_are_kept_once() {
    let mut build = add_program();
    let large = floats(&[10_000], |i| i as f32);
    let before = build.builder.to_bytes().unwrap().len();
    let first = build.weight("first", &large);
    let with_one = build.builder.to_bytes().unwrap().len();
    let second = build.weight("second", &large);
    let reshaped = build.weight("reshaped", &large.reshaped([100, 100]));
    let with_three = build.builder.to_bytes().unwrap().len();
    let place = |index: usize| build.target.buffers[index].place.clone();
    assert_eq!(place(first), place(second));
    assert_ne!(place(first), place(reshaped));
    assert!(with_one - before >= 40_000 && with_three - with_one <= 4096);
}

#[test]
fn foreign_newer_and_truncated_files() {
    let bytes = bytes();
    assert_eq!(message(b""), "the program is not a Sardonyx program file (.sdx)");
    assert_eq!(message(b"\x08\x08ONNX model"), "the program is not a Sardonyx program file (.sdx)");
    let mut newer = bytes.clone();
    newer[8] = 3;
    assert_eq!(
        message(&newer),
        "the program has format version 3, this runtime reads up to 2: update the runtime"
    );
    let blobs = (HEADER + manifest_length(&bytes)).next_multiple_of(4096);
    let mut lengths: Vec<usize> = (1..HEADER + 40).collect();
    lengths.extend([HEADER + manifest_length(&bytes) - 1, blobs - 1, blobs, blobs + 1, bytes.len() / 2]);
    lengths.push(bytes.len() - 4096);
    for length in lengths {
        let error = open(&bytes[..length]).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{length} bytes: {error}");
    }
    assert!(message(&bytes[..100]).starts_with("the program is truncated: it should have at least "));
}

#[test]
fn flipped_bits_are_noticed() {
    let bytes = bytes();
    let json_end = HEADER + manifest_length(&bytes);
    let blobs = json_end.next_multiple_of(4096);
    let program = open(&bytes).unwrap();
    let covered = |at: usize| {
        let in_blob = |blob: &Blob| {
            let start = blobs + blob.offset as usize;
            (start..start + blob.size as usize).contains(&at)
        };
        at < json_end || program.manifest().blobs.iter().any(in_blob)
    };
    for at in (0..json_end).chain((blobs..bytes.len()).step_by(37)).filter(|&at| covered(at)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let noticed = open(&flipped).and_then(|program| program.verify());
        assert!(noticed.is_err(), "byte {at}");
        if at >= 16 {
            assert!(matches!(noticed, Err(Error::Corrupt { .. })), "byte {at}");
        }
    }
    let mut flipped = bytes.clone();
    flipped[HEADER + 2] ^= 1;
    assert_eq!(message(&flipped), "the program is corrupt: the checksum of the manifest does not fit");
    let code = &program.manifest().blobs[program.manifest().targets[0].code[0]];
    let mut flipped = bytes;
    flipped[blobs + code.offset as usize + 100] ^= 1;
    assert_eq!(
        message(&flipped),
        "the program is corrupt: the checksum of the code of target cpu does not fit"
    );
}

/// Every inconsistent manifest has its error.
#[test]
fn hostile_manifests() {
    let bytes = bytes();
    let check = |pointer: &str, value: Value, expected: &str| {
        let file = with_manifest(&bytes, |manifest| {
            *manifest.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        });
        let error = message(&file);
        assert!(error.contains("has a bad manifest: ") && error.contains(expected), "{pointer}: {error}");
    };
    open(&with_manifest(&bytes, |_| ())).unwrap();
    check("/format", json!(0), "its format is 0, the header's 2");
    check("/blobs/0/offset", json!(u64::MAX), "larger than any file");
    check("/blobs/0/size", json!(u64::MAX), "larger than any file");
    check("/blobs/0/offset", json!(64), "not aligned");
    check("/blobs/1/offset", json!(0), "overlap");
    check("/blobs/0/blake3", json!("xyz"), "no BLAKE3 sum");
    check("/blobs/0/offset", json!(-1), "invalid value");
    check("/weights/0/blob", json!(99), "does not exist");
    check("/weights/0/offset", json!(64), "does not fit into its blob");
    check("/weights/1/offset", json!(4), "is not aligned");
    check("/weights/0/offset", json!(u64::MAX - 63), "does not fit into its blob");
    check("/weights/0/shape", json!([u64::MAX, u64::MAX]), "does not fit into its blob");
    check("/weights/0/dtype", json!("f33"), "unknown element type `f33`");
    check("/attachments/0/blob", json!(99), "text `graph` has no blob");
    check("/inputs/0/shape/0", json!("z"), "symbol `z` is not in the list");
    check("/inputs/0/shape/0", json!(-4), "negative dimension");
    check("/inputs/0/shape/0", json!("(("), "not a dimension");
    check("/inputs/1/name", json!("x"), "two inputs are called `x`");
    check("/symbols", json!(["b", "c"]), "no input gives symbol `c` its value");
    check("/symbols", json!(["b", "b"]), "stands twice");
    check("/outputs/0/shape/0", json!("q"), "uses symbol `q`, which has no value");
    check("/outputs", json!([]), "it is output 0, which does not exist");
    let target =
        |path: &str, value: Value, expected: &str| check(&format!("/targets/0/{path}"), value, expected);
    target("code/0", json!(99), "code in blob 99, which does not exist");
    target("kernels/0/code", json!(99), "is in code 99, which does not exist");
    target("kernels/2/scratch", json!("d1"), "uses symbol `d1`");
    target("buffers/0/place", json!({"input": 9}), "it is input 9, which does not exist");
    target("buffers/0/dtype", json!("f64"), "it is f64, input `x` is f32");
    target("buffers/3/place", json!("late"), "output `z` has 0 buffers");
    target("buffers/2/place", json!({"output": 0}), "output `z` has 2 buffers");
    target("buffers/2/bytes", json!(-8), "negative size");
    target("buffers/2/bytes", json!("w"), "uses symbol `w`");
    target("buffers/2/bytes", json!("u0"), "its size in the workspace uses symbol `u0`");
    target("buffers/2/place", json!({"workspace": {"first": 3, "last": 2}}), "lives from step 3 to 2");
    target("buffers/2/place", json!({"workspace": {"first": 0, "last": 99}}), "lives from step 0 to 99");
    target("buffers/4/place", json!({"weight": 9}), "it is weight 9, which does not exist");
    target("buffers/4/bytes", json!(40001), "it is larger than weight `large`");
    target("buffers/8/place", json!({"alias": {"of": 99, "offset": 0}}), "a part of buffer 99");
    target("buffers/8/place", json!({"alias": {"of": 8, "offset": 0}}), "a part of itself");
    target("buffers/8/place", json!({"elsewhere": 1}), "unknown variant `elsewhere`");
    target("steps/0/launch/kernel", json!(99), "kernel 99 does not exist");
    target("steps/0/launch/args/0", json!(99), "buffer 99 does not exist");
    target("steps/0/launch/args", json!([0]), "takes 3 buffers, not 1");
    target("steps/3/loop/body/0/launch/dims", json!([1, 2]), "takes 1 dimensions, not 2");
    target("steps/0/launch/grid", json!("q"), "uses symbol `q`");
    target("steps/0/launch/origins", json!([7]), "an origin that does not exist");
    target("steps/2/if/condition", json!(0), "should hold integers, not f32");
    target("steps/2/if/then/0/copy/dst", json!(0), "writes to buffer 0, which is only read");
    target("steps/3/loop/trip", json!({"buffer": 2}), "should hold integers");
    target("steps/3/loop/trip", Value::Null, "the loop never ends");
    target("steps/3/loop/count", json!("b"), "gives a value to symbol `b`, which inputs give one");
    target("steps/3/loop/carried/0/state", json!(4), "which is only read");
    target("steps/4/bind/symbols", json!([]), "it gives no symbol a value");
    target("steps/4", json!({"set": {"symbol": "u0", "value": "zz"}}), "uses symbol `zz`");
    let host = json!({"host": {"op": "format-disk", "inputs": [], "outputs": []}});
    target("steps/4", host, "no operation `format-disk`");
    target("steps/4", json!({"launch": {"unknown": 1}}), "unknown field");
}

#[test]
fn aliases_in_a_circle() {
    let file = with_manifest(&bytes(), |manifest| {
        let buffers = &mut manifest["targets"][0]["buffers"];
        buffers[7]["place"] = json!({"alias": {"of": 8, "offset": 0}});
        buffers[8]["place"] = json!({"alias": {"of": 7, "offset": 0}});
    });
    assert!(message(&file).contains("a part of itself"));
}

/// Panels that a session makes of weights: inconsistent ones are refused when the file is opened, places outside of the
/// weight when the session begins.
#[test]
fn hostile_panels() {
    let mut build = build();
    let places: Vec<i64> = vec![0, 9999, 100];
    let places = build.weight("places", &Tensor::from_slice([3], &places));
    let Place::Weight(places) = build.target.buffers[places].place else { panic!("a weight") };
    let bytes = build.finish().to_bytes().unwrap();
    let matrix = json!({"place": 0, "depth": places, "columns": places, "width": 3, "beside": 4});
    let with = |pointer: &str, value: Value| {
        with_manifest(&bytes, |manifest| {
            manifest["targets"][0]["packed"] = json!([{"weight": 0, "dtype": "f32", "matrices": [matrix]}]);
            manifest["targets"][0]["buffers"][4]["place"] = json!({"packed": 0});
            manifest["targets"][0]["buffers"][4]["bytes"] = json!(48);
            *manifest.pointer_mut(&format!("/targets/0/{pointer}")).unwrap() = value;
        })
    };
    let place = "packed/0/matrices/0/place";
    let error = open(&with(place, json!(0))).unwrap().session(Device::cpu()).unwrap_err().to_string();
    assert!(error.contains("panels of weight `large` have elements outside of it"), "{error}");
    let check = |pointer: &str, value: Value, expected: &str| {
        let error = message(&with(pointer, value));
        assert!(error.contains(expected), "{pointer}: {error}");
    };
    check("packed/0/weight", json!(99), "made of weight 99, which does not exist");
    check("packed/0/dtype", json!("string"), "string is made of f32");
    check("packed/0/matrices/0/width", json!(0), "of no size");
    check("packed/0/matrices/0/width", json!(2), "of no size");
    check("packed/0/matrices/0/beside", json!(0), "of no size");
    check("packed/0/matrices/0/beside", json!(u64::MAX), "of no size");
    check("packed/0/matrices/0/beside", json!(1u64 << 60), "larger than any memory");
    check("packed/0/matrices/0/depth", json!(0), "a matrix without places");
    check("packed/0/matrices/0/columns", json!(99), "a matrix without places");
    check("buffers/4/place", json!({"packed": 1}), "panels 1, which do not exist");
    check("buffers/4/bytes", json!(52 * 4), "larger than panels 0");
    check("name", json!("hip:gfx942"), "only programs for the CPU have panels");
    check("steps/2/if/then/0/copy/dst", json!(4), "which is only read");
}

#[test]
fn malformed_json() {
    let bytes = bytes();
    let deep = [br#"{"format":"#.as_slice(), &b"[".repeat(100_000)].concat();
    for json in [&b""[..], b"{", b"null", b"[]", b"{}", b"\xff\xfe", &deep] {
        assert!(matches!(open(&with_json(&bytes, json)), Err(Error::Manifest { .. })));
    }
    let mut steps = json!([]);
    for _ in 0..60 {
        steps = json!([{"if": {"condition": 0, "then": steps, "otherwise": []}}]);
    }
    let nested = with_manifest(&bytes, |manifest| manifest["targets"][0]["steps"] = steps);
    assert!(message(&nested).contains("recursion limit"));
    let expression = "(".repeat(50_000) + "b";
    let nested = with_manifest(&bytes, |manifest| manifest["inputs"][0]["shape"][0] = json!(expression));
    assert!(message(&nested).contains("nested too deeply"));
}

/// Random damage to a manifest whose sum is right: an error, or a program that still opens and makes a
/// session; never a panic.
#[test]
fn random_damage_never_panics() {
    let bytes = bytes();
    let json = &bytes[HEADER..HEADER + manifest_length(&bytes)];
    let mut state = 42u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit
    };
    for _ in 0..3000 {
        let mut damaged = json.to_vec();
        for _ in 0..1 + random(3) {
            let at = random(damaged.len());
            match random(3) {
                0 => damaged[at] = b"0123456789-,:[]{}\"*bu"[random(21)],
                1 => drop(damaged.remove(at)),
                _ => damaged.insert(at, b"0123456789"[random(10)]),
            }
        }
        if let Ok(program) = open(&with_json(&bytes, &damaged)) {
            // Code that was damaged on purpose is not run.
            let _session = program.session(Device::cpu().threads(1));
        }
    }
}

#[test]
fn damaged_objects_are_errors() {
    let load = |object: &[u8]| Build::with_code(object).program().session(Device::cpu().threads(1));
    load(KERNELS).unwrap();
    for length in (0..KERNELS.len()).step_by(61) {
        // Cut after all that is needed, an object may still load.
        let _session = load(&KERNELS[..length]);
    }
    assert!(load(&KERNELS[..1000]).unwrap_err().to_string().contains("cannot load the code of target cpu"));
    assert!(load(b"not an object").unwrap_err().to_string().contains("not an ELF object"));
    let mut other = KERNELS.to_vec();
    other[18] = 183; // e_machine: AArch64
    assert!(load(&other).unwrap_err().to_string().contains("Aarch64"));
    let mut state = 7u64;
    for _ in 0..2000 {
        let mut damaged = KERNELS.to_vec();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Behind the code and the data are the tables that the loader reads.
        let at = (state >> 33) as usize % damaged.len();
        damaged[at] ^= 1 << (state % 8);
        let _session = load(&damaged);
    }
}

/// Compiles the kernels again where a compiler is installed: the loader takes what it makes today.
#[test]
fn the_kernels_compile() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common");
    let object = std::env::temp_dir().join(format!("sardonyx-{}.o", std::process::id()));
    let compile = |compiler: &str, level: &str| {
        let mut command = std::process::Command::new(compiler);
        command
            .args(["-c", level, "-fPIC", "-ffreestanding", "kernels.c", "-o"])
            .arg(&object)
            .current_dir(folder);
        command.output().is_ok_and(|output| output.status.success())
    };
    for (compiler, level) in [("clang-19", "-O3"), ("clang-19", "-O0"), ("cc", "-O2"), ("cc", "-O0")] {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) || !compile(compiler, level) {
            continue;
        }
        let mut build = Build::with_code(&std::fs::read(&object).unwrap());
        let x = build.input("x", DType::F32, "4");
        let y = build.output("y", DType::F32, "4");
        build.launch("remainder", &[x, y], "", "4");
        build.launch("call_pointer", &[y, y], "0", "4");
        build.launch("times_table", &[y, y], "", "4");
        let mut session = build.program().session(Device::cpu().threads(1)).unwrap();
        let outputs = session.run([("x", Tensor::from_slice([4], &[1.0f32, 2.0, 3.0, 4.0]))]).unwrap();
        assert_eq!(outputs[0].to_f64s(), [2.0, 8.0, 0.0, 16.0], "{compiler} {level}");
    }
    let _missing = std::fs::remove_file(&object);
}
