//! Fuzzing what reads files of strangers: each target makes damaged inputs from a seed and takes them. What it starts
//! from is in the repository: models of `models.rs` and `models/small`, the graphs of all `.ir` files, programs of
//! `programs.rs`.
mod bytes;
mod memory;
mod models;
mod programs;
mod random;
pub mod run;
mod text;
mod wire;

pub use random::Random;
use run::{Make, Target};

use sardonyx::inputs::npz_tensors;
use sardonyx::onnx::{self, ImportOptions};
use sardonyx_ir::verify;
use sardonyx_tensor::{DType, Tensor};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// The seed of all sessions: a run is known by its target and number.
pub const SEED: u64 = 0x5a4d_0a11;

/// All targets.
pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "model", make: model(), take: take_model },
        Target { name: "text", make: graph(), take: take_graph },
        Target { name: "program", make: program(), take: programs::open },
        Target { name: "tensor", make: tensor(), take: take_tensor },
        Target { name: "array", make: array(), take: take_array },
    ]
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A seed's bytes and its fields.
struct Message {
    bytes: Vec<u8>,
    fields: Vec<wire::Field>,
}

impl Message {
    fn of(bytes: Vec<u8>) -> Message {
        let fields = wire::parse(&bytes).expect("a message that an encoder wrote");
        Message { bytes, fields }
    }
}

/// A message with fields or bytes that are damaged, from a few of them.
fn damaged(seeds: &[Message], words: &[String], random: &mut Random) -> Vec<u8> {
    let (seed, other) = (&seeds[random.below(seeds.len())], &seeds[random.below(seeds.len())]);
    let mut message = match random.below(5) {
        0 => seed.bytes.clone(),
        _ => {
            let mut fields = seed.fields.clone();
            wire::damage(&mut fields, &other.fields, words, random);
            wire::encode(&fields)
        }
    };
    if random.once_in(4) {
        bytes::damage(&mut message, &other.bytes, random);
    }
    message
}

fn model() -> Make {
    let seeds: Vec<Message> = models::all().into_iter().map(Message::of).collect();
    let exported = ["crnn.ts17.onnx", "llama_kv.dynamo23.onnx"].map(|name| {
        Message::of(std::fs::read(root().join("models/small").join(name)).expect("a committed model"))
    });
    let operators = onnx::supported();
    let mut words: Vec<String> = models::ATTRIBUTES.iter().map(|s| s.to_string()).collect();
    words.extend(operators.iter().map(|(_, op, _)| op.to_string()));
    seeds.iter().for_each(|s| wire::texts(&s.fields, &mut words));
    Box::new(move |random| match random.below(64) {
        0 => damaged(&exported, &words, random),
        1..32 => models::any(&operators, random),
        32..40 => damaged(&[Message::of(models::any(&operators, random))], &words, random),
        _ => damaged(&seeds, &words, random),
    })
}

fn take_model(bytes: &[u8]) -> bool {
    match onnx::import_bytes(bytes.to_vec(), &ImportOptions::default()) {
        Ok(model) => {
            verify::verify(&model.graph).unwrap_or_else(|e| panic!("an imported graph is not valid: {e}"));
            true
        }
        Err(error) => error.to_string().is_empty(),
    }
}

fn graph() -> Make {
    let mut files = Vec::new();
    ["ir/tests", "passes/tests", "codegen/tests"].iter().for_each(|f| collect(&root().join(f), &mut files));
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .flat_map(|f| {
            let text = std::fs::read_to_string(f).expect("a text");
            text.split("\n---\n").map(str::to_string).collect::<Vec<_>>()
        })
        .collect();
    Box::new(move |random| {
        let (text, other) = (&texts[random.below(texts.len())], &texts[random.below(texts.len())]);
        text::damage(text, other, random).into_bytes()
    })
}

/// The `.ir` files in a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(e) if e == "ir" => files.push(path),
            _ => {}
        }
    }
}

fn take_graph(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let Ok(graph) = sardonyx_ir::text::parse(source) else { return false };
    if verify::verify(&graph).is_err() {
        return true;
    }
    let printed = sardonyx_ir::text::print(&graph);
    let again = sardonyx_ir::text::parse(&printed).unwrap_or_else(|e| panic!("{e} in\n{printed}"));
    assert_eq!(sardonyx_ir::text::print(&again), printed);
    true
}

fn program() -> Make {
    let files = programs::all();
    Box::new(move |random| programs::damaged(&files, random))
}

/// Tensors in files of their own, as in ONNX's test data.
fn tensor() -> Make {
    let seeds: Vec<Message> = models::tensors_alone().into_iter().map(Message::of).collect();
    let mut words = Vec::new();
    seeds.iter().for_each(|s| wire::texts(&s.fields, &mut words));
    Box::new(move |random| damaged(&seeds, &words, random))
}

fn take_tensor(bytes: &[u8]) -> bool {
    onnx::tensor_from_bytes(bytes.to_vec()).is_ok()
}

/// Arrays of NumPy, alone and in archives.
fn array() -> Make {
    let array = |t: &Tensor| {
        let mut bytes = Vec::new();
        t.write_npy(&mut bytes).expect("a vector takes all bytes");
        bytes
    };
    let mut seeds: Vec<Vec<u8>> = [DType::F32, DType::I64, DType::Bool, DType::F16, DType::U8]
        .iter()
        .map(|&dtype| array(&Tensor::zeros(dtype, [2, 3])))
        .collect();
    let fortran = String::from_utf8_lossy(&seeds[4]).replace("False", "True ").into_bytes();
    seeds.extend([fortran, array(&Tensor::scalar(1.0f64))]);
    let archive = root().join("models/small/distilbert.dynamo23.npz");
    seeds.push(std::fs::read(archive).expect("a committed archive"));
    Box::new(move |random| {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        if bytes.starts_with(b"\x93NUMPY") && random.once_in(2) {
            // The text of the header, whose length stays.
            let header = bytes.len().min(10)..bytes.len().min(128);
            let text = String::from_utf8_lossy(&bytes[header.clone()]).into_owned();
            let mut text =
                text::damage(&text, "'shape': (3, 1099511627776, 0), '<f8' '|b1'", random).into_bytes();
            text.resize(header.len(), b' ');
            bytes.splice(header, text);
        } else {
            bytes::damage(&mut bytes, other, random);
        }
        bytes
    })
}

fn take_array(bytes: &[u8]) -> bool {
    let archive = npz_tensors(Cursor::new(bytes)).is_ok();
    Tensor::read_npy(&mut &bytes[..]).is_ok() || archive
}
