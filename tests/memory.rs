//! How much memory a compilation takes, of models whose weights lie in a file of their own.
#![cfg(all(feature = "cpu", target_os = "linux"))]
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;

use build::*;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{StringStringEntryProto, TensorProto};
use sardonyx::compile::{self, Options};
use sardonyx::onnx::{self, ImportOptions};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Rows and columns of each weight.
const WIDTH: usize = 1024;

/// A chain of so many products, in a folder; the bytes of its weights.
fn write_model(folder: &Path, layers: usize) -> (PathBuf, usize) {
    let size = WIDTH * WIDTH * 4;
    let mut file = BufWriter::new(File::create(folder.join("weights")).expect("a new file"));
    let (mut nodes, mut weights) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let number = |i: usize| ((i * 31 + layer * 17) % 1009) as f32 / 1009.0 - 0.5;
        let row: Vec<u8> = (0..WIDTH).flat_map(|i| number(i).to_le_bytes()).collect();
        (0..WIDTH).for_each(|_| file.write_all(&row).expect("space on the disk"));
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.into(),
            value,
            ..Default::default()
        };
        weights.push(TensorProto {
            name: format!("w{layer}"),
            data_type: FLOAT,
            dims: vec![WIDTH as i64; 2],
            data_location: DataLocation::EXTERNAL.into(),
            external_data: vec![
                entry("location", "weights".into()),
                entry("offset", (layer * size).to_string()),
                entry("length", size.to_string()),
            ],
            ..Default::default()
        });
        let (x, w, y) = (format!("x{layer}"), format!("w{layer}"), format!("x{}", layer + 1));
        nodes.push(node("MatMul", &[&x, &w], &[&y], vec![]));
    }
    file.flush().expect("space on the disk");
    let shape = [D::S("b"), D::N(WIDTH as i64)];
    let last = format!("x{layers}");
    let g = graph(nodes, vec![value("x0", FLOAT, &shape)], vec![value(&last, FLOAT, &shape)], weights);
    let path = folder.join("model.onnx");
    std::fs::write(&path, bytes(&model(g, 17))).expect("a new file");
    (path, layers * size)
}

/// The most memory that this process had so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of the process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// How often its weights a compilation takes, beyond what the process had before.
fn taken(layers: usize) -> f64 {
    // The peak is that of the process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let (path, weights) = write_model(folder.path(), layers);
    // proc(5): this resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak should be reset");
    let before = peak();
    let options = Options { targets: vec!["cpu:x86-64-v3".into()], ..Options::default() };
    let model = onnx::import(&path, &ImportOptions::default()).expect("a valid model");
    let optimized = compile::optimize(&model, &options, None);
    let mut file = BufWriter::new(File::create(folder.path().join("m.sdx")).expect("a new file"));
    compile::generate_to(&optimized.graph, "m", &options, None, &mut file).expect("a compilation");
    let ratio = (peak() - before) as f64 / weights as f64;
    println!("{} MB of weights: {ratio:.2} times as much memory", weights >> 20);
    ratio
}

/// The weights as they are mapped, and those that kernels read in another order.
const MOST: f64 = 2.4;

#[test]
fn memory_of_a_compilation() {
    assert!(taken(50) < MOST);
}

#[test]
#[ignore = "takes 4 GB of disk and of memory"]
fn memory_of_a_large_compilation() {
    assert!(taken(512) < MOST);
}
