//! Damaged files: every byte sequence gives a model or an error, never a panic.
use sardonyx::onnx::{self, ImportError, ImportOptions};
use std::path::Path;

/// Small models with most of what the format has.
const MODELS: [&str; 4] =
    ["bert_base.dynamo23.onnx", "crnn.ts17.onnx", "gpt2_kv.ts17.onnx", "llama_kv.dynamo23.onnx"];

fn read(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small").join(name))
        .expect("a committed model")
}

fn import(bytes: Vec<u8>) -> Result<onnx::Model, ImportError> {
    onnx::import_bytes(bytes, &ImportOptions::default())
}

/// A pseudo-random sequence.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

#[test]
fn truncated_files() {
    for name in MODELS {
        let whole = read(name);
        for part in 0..=100 {
            let result = import(whole[..whole.len() * part / 100].to_vec());
            assert_eq!(result.is_ok(), part == 100, "{name} at {part} %");
        }
    }
    assert!(matches!(import(Vec::new()), Err(ImportError::Decode { .. })));
}

/// The model with up to eight bytes changed.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len());
        bytes[at] = match random.below(4) {
            0 => 0xff,
            1 => bytes[at] ^ (1 << random.below(8)),
            _ => random.next() as u8,
        };
    }
    bytes
}

#[test]
fn changed_bytes() {
    let mut random = Random(0x5a4d_0211);
    for name in MODELS {
        let whole = read(name);
        (0..1000).for_each(|_| drop(import(damaged(&whole, &mut random))));
    }
}

/// As [`changed_bytes`], on ONNX's node tests: small models with every operator.
#[test]
fn changed_bytes_of_node_tests() {
    let Some(data) = std::env::var_os("SARDONYX_ONNX_TESTS") else { return };
    let mut random = Random(0x5a4d_0212);
    for folder in std::fs::read_dir(Path::new(&data).join("node")).expect("the node tests").flatten() {
        let Ok(whole) = std::fs::read(folder.path().join("model.onnx")) else { continue };
        for _ in 0..50 {
            let bytes = damaged(&whole, &mut random);
            let copy = bytes.clone();
            let outcome = std::panic::catch_unwind(move || drop(import(bytes)));
            assert!(outcome.is_ok(), "{} with {copy:?}", folder.path().display());
        }
    }
}

#[test]
fn noise() {
    let mut random = Random(77);
    for length in 0..600 {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        assert!(import(bytes).is_err());
    }
}
