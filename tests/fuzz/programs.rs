//! Program files, damaged: anywhere, or in the manifest or a blob with sums that fit again, since whatever is checked
//! behind a sum is never seen otherwise.
#[allow(missing_docs)]
#[path = "../../runtime/tests/common/mod.rs"]
mod common;

use super::bytes;
use super::random::Random;
use common::*;
use sardonyx_runtime::manifest::{Carried, Host, Loop, Place, Scan, Step, Trip};
use sardonyx_runtime::{Device, Program, plan};
use sardonyx_tensor::{Bindings, DType};
use serde_json::{Value, json};

const HEADER: usize = 48;
const PAGE: usize = 4096;

/// A program file in parts.
pub struct File {
    whole: Vec<u8>,
    manifest: Value,
    blobs: Vec<u8>,
}

/// The program files that damage starts from.
pub fn all() -> Vec<File> {
    [add_program(), steps(), late()].map(|build| split(build.finish().to_bytes().expect("a program"))).into()
}

fn split(whole: Vec<u8>) -> File {
    let length = u32::from_le_bytes(whole[12..16].try_into().expect("four bytes")) as usize;
    let manifest = serde_json::from_slice(&whole[HEADER..HEADER + length]).expect("a manifest");
    let blobs = whole[(HEADER + length).next_multiple_of(PAGE)..].to_vec();
    File { whole, manifest, blobs }
}

/// Every kind of step, of place, and a weight of each size.
fn steps() -> Build {
    let mut build = add_program();
    let (large, small) = (floats(&[100, 100], |i| i as f32), floats(&[3], |i| i as f32));
    let (a, b) = (build.weight("large", &large), build.weight("small", &small));
    let condition = build.workspace(DType::Bool, "");
    let state = build.workspace(DType::F32, "100,100");
    let row = build.workspace(DType::F32, "100");
    let part = build.buffer(DType::F32, "1", Place::Alias { of: state, offset: dim("8") });
    build.step(Step::If { condition, then: vec![Step::Copy { src: b, dst: row }], otherwise: vec![] });
    build.step(Step::Loop(Box::new(Loop {
        trip: Some(Trip::Dim(dim("b"))),
        count: Some("n".into()),
        condition: Some(condition),
        carried: vec![Carried { state, next: a, resize: vec![] }],
        scan_inputs: vec![Scan { whole: a, slice: row, reverse: false }],
        body: vec![launch("call_pointer", &[b, part], "0", "1")],
        ..Loop::default()
    })));
    build.step(Step::Set { symbol: "v".into(), value: dim("b*2+1") });
    build.builder.attachment("graph", "graph() {}".into());
    build
}

/// Sizes that the run decides.
fn late() -> Build {
    let mut build = Build::new();
    let x = build.input("x", DType::F32, "b,4");
    let count = build.workspace(DType::I64, "");
    let (taken, places) = (build.late(DType::F32, "u0"), build.late(DType::I64, "2,u1"));
    let y = build.output("y", DType::F32, "b,4");
    build.launch("count_positive", &[x, count], "b*4", "1");
    build.step(Step::Bind { buffer: count, symbols: vec!["u0".into()] });
    build.launch("take_positive", &[x, taken], "b*4", "1");
    build.step(Step::Host(Host {
        op: "nonzero".into(),
        inputs: vec![x],
        outputs: vec![places],
        attrs: Value::Null,
        binds: vec!["u1".into()],
        origins: vec![0],
    }));
    build.launch("times_table", &[x, y], "", "b*4");
    build
}

/// A damaged file.
pub fn damaged(files: &[File], random: &mut Random) -> Vec<u8> {
    let file = &files[random.below(files.len())];
    let other = &files[random.below(files.len())];
    match random.below(8) {
        0 => {
            let mut whole = file.whole.clone();
            bytes::damage(&mut whole, &other.whole, random);
            whole
        }
        // The text of the manifest.
        1..=2 => {
            let mut text = serde_json::to_vec(&file.manifest).expect("a value has a text");
            bytes::damage(&mut text, other.whole.get(HEADER..).unwrap_or_default(), random);
            joined(&text, &file.blobs)
        }
        // Code whose sum fits.
        3 => {
            let (mut manifest, mut blobs) = (file.manifest.clone(), file.blobs.clone());
            damage_code(&mut manifest, &mut blobs, random);
            joined(&serde_json::to_vec(&manifest).expect("a value has a text"), &blobs)
        }
        _ => {
            let mut manifest = file.manifest.clone();
            for _ in 0..1 + random.below(3) {
                let n = random.below(count(&manifest));
                at(&mut manifest, n, &mut |value| change(value, other, random));
            }
            joined(&serde_json::to_vec(&manifest).expect("a value has a text"), &file.blobs)
        }
    }
}

/// The file of a manifest, whose sum is right, and blobs.
fn joined(manifest: &[u8], blobs: &[u8]) -> Vec<u8> {
    let mut file = b"sardonyx\x01\0\0\0".to_vec();
    file.extend((manifest.len() as u32).to_le_bytes());
    file.extend(blake3::hash(manifest).as_bytes());
    file.extend(manifest);
    file.resize(file.len().next_multiple_of(PAGE), 0);
    file.extend(blobs);
    file
}

fn damage_code(manifest: &mut Value, blobs: &mut [u8], random: &mut Random) {
    let Some(blob) = manifest["targets"][0]["code"][0].as_u64() else { return };
    let blob = &mut manifest["blobs"][blob as usize];
    let (offset, size) = (blob["offset"].as_u64().unwrap_or(0), blob["size"].as_u64().unwrap_or(0));
    let range = offset as usize..(offset + size) as usize;
    let mut code = blobs[range.clone()].to_vec();
    bytes::damage(&mut code, b"", random);
    code.resize(range.len(), 0);
    blob["blake3"] = json!(blake3::hash(&code).to_hex().to_string());
    blobs[range].copy_from_slice(&code);
}

/// The number of values in a value.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum::<usize>(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Calls `f` with value number `n`.
fn at(value: &mut Value, n: usize, f: &mut dyn FnMut(&mut Value)) -> Option<usize> {
    if n == 0 {
        f(value);
        return None;
    }
    let mut n = n - 1;
    match value {
        Value::Array(list) => {
            for inner in list {
                n = at(inner, n, f)?;
            }
        }
        Value::Object(map) => {
            for inner in map.values_mut() {
                n = at(inner, n, f)?;
            }
        }
        _ => {}
    }
    Some(n)
}

const DIMS: &[&str] = &[
    "b",
    "n",
    "u0",
    "u1",
    "v",
    "d0",
    "b*b*b*b*b",
    "9223372036854775807",
    "b*4611686018427387904",
    "b-3",
    "-b",
    "b/0",
    "(b+1)/2*2",
    "min(b, 3)",
    "max(b, n)",
    "mod(b, 0)",
    "((((b",
    "-9223372036854775808",
    "b*0",
    "",
];

fn change(value: &mut Value, other: &File, random: &mut Random) {
    if random.once_in(6) {
        let (all, mut from) = (count(&other.manifest), other.manifest.clone());
        at(&mut from, random.below(all), &mut |found| *value = found.clone());
        return;
    }
    match value {
        Value::Number(number) => {
            let near = number.as_u64().unwrap_or(0);
            *value = match random.below(4) {
                0 => json!(random.number(near) as i64),
                1 => json!(random.pick(DIMS)),
                _ => json!(random.number(near)),
            };
        }
        Value::String(_) => *value = json!(random.pick(DIMS)),
        Value::Array(list) if !list.is_empty() => {
            let i = random.below(list.len());
            match random.below(4) {
                0 => drop(list.remove(i)),
                1 => list.insert(i, list[i].clone()),
                2 => list.truncate(i),
                _ => {
                    let j = random.below(list.len());
                    list.swap(i, j);
                }
            }
        }
        Value::Object(map) => {
            let key = map.keys().nth(random.below(map.len())).cloned();
            if let Some(key) = key {
                map.remove(&key);
            }
        }
        _ => {
            *value =
                json!([Value::Null, json!(true), json!(0), json!([0, 1]), json!("late")][random.below(5)])
        }
    }
}

/// Opens a program and looks at all of it, short of running code that is not the compiler's.
pub fn open(bytes: &[u8]) -> bool {
    let Ok(program) = Program::from_bytes(bytes.to_vec()) else { return false };
    let _sums = program.verify();
    for (index, _) in program.manifest().weights.iter().enumerate() {
        assert!(program.weight(index).bytes().len() <= bytes.len(), "a weight should lie in the file");
    }
    for target in &program.manifest().targets {
        for size in [0, 1, 3, i64::MAX] {
            let symbols: Bindings = program.manifest().symbols.iter().map(|s| (s.clone(), size)).collect();
            let _bytes = plan::workspace_size(target, &symbols);
        }
    }
    let _text = program.attachment("graph").map(str::len);
    let _session = program.session(Device::cpu().threads(1));
    true
}
