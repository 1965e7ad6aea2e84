//! How much memory a compilation takes, of models whose weights lie in a file of their own: the highest resident
//! memory of the command, which counts the pages of mapped files, the weights among them.
#![cfg(all(feature = "cpu", target_os = "linux"))]
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;

use assert_cmd::Command;
use build::*;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{StringStringEntryProto, TensorProto};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

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

/// What the command takes for a model of so many layers, and the bytes of the model's weights.
fn compile(layers: usize, target: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, weights) = write_model(folder.path(), layers);
    let program = folder.path().join("model.sdx");
    let mut command = Command::cargo_bin("sardonyx").expect("the command should be built");
    command.env("XDG_CACHE_HOME", folder.path().join("cache"));
    command.arg("compile").arg(path).arg("-o").arg(&program).args(["--target", target, "--json"]);
    let output = command.output().expect("the command should run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    let peak = report["peak_memory"].as_u64().expect("a number of bytes") as usize;
    println!("{} MiB of weights for {target}: {} MiB", weights >> 20, peak >> 20);
    (peak, weights)
}

/// How much memory a byte of weights takes: the growth between two sizes.
fn growth(layers: [usize; 2], target: &str) -> f64 {
    let [(less, small), (more, large)] = layers.map(|layers| compile(layers, target));
    (more as f64 - less as f64) / (large - small) as f64
}

#[test]
fn memory_grows_with_the_weights_once() {
    let growth = growth([20, 70], "cpu:x86-64-v3");
    assert!(growth < 1.1, "{growth} bytes for each byte of weights");
}

#[test]
#[ignore = "takes 4 GB of disk and 2 of memory"]
fn two_gigabytes() {
    let (peak, weights) = compile(512, "cpu:x86-64-v3");
    assert!((peak as f64) < 1.5 * weights as f64);
}
