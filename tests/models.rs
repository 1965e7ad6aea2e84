//! Whole models, compiled once, against ONNX Runtime at every size of `models/checks.json`, and the
//! committed exports against the outputs PyTorch gave.
//!
//! The public models are looked for in `SARDONYX_MODELS` and more exports in `SARDONYX_EXPORTS`; without
//! them, and without ONNX Runtime (`ORT_DYLIB_PATH`), those tests say so and pass.
#![cfg(feature = "ort")]
#[path = "common/device.rs"]
mod device;
#[path = "models/neighbours.rs"]
mod neighbours;

use sardonyx::compare::{Tolerance, compare, quantizes, spread};
use sardonyx::compile::{Options, compile};
use sardonyx::inputs::{Sizes, Wanted, complete, index_bounds, read_npz};
use sardonyx::onnx::{ImportOptions, Model, import};
use sardonyx::ort::{Level, Ort};
use sardonyx_runtime::{Program, Session};
use sardonyx_tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct Check {
    name: String,
    sizes: Vec<BTreeMap<String, Vec<i64>>>,
    #[serde(default)]
    values: BTreeMap<String, f64>,
    #[serde(default)]
    below: BTreeMap<String, i64>,
}

type Named = Vec<(String, Tensor)>;

fn session(model: &Model, half: Option<DType>) -> Result<Session, String> {
    let options = Options { dtype: half, ..device::options(0) };
    let compiled = compile(model, &options).map_err(|e| e.to_string())?;
    let program = Program::from_bytes(compiled.bytes).map_err(|e| e.to_string())?;
    program.session(device::device()).map_err(|e| e.to_string())
}

fn run(session: &mut Session, inputs: &Named) -> Result<Named, String> {
    let outputs =
        session.run(inputs.iter().map(|(n, t)| (n.as_str(), t.clone()))).map_err(|e| e.to_string())?.to_vec();
    Ok(session.program().outputs().iter().map(|p| p.name.clone()).zip(outputs).collect())
}

/// Every difference between outputs and what they should be, in words.
fn differences(ours: &Named, theirs: &Named) -> Vec<String> {
    differences_within(ours, theirs, |_, t| Tolerance::network(t.dtype()))
}

/// Every difference beyond the tolerance of an output by number, in words.
fn differences_within(
    ours: &Named,
    theirs: &Named,
    tolerance: impl Fn(usize, &Tensor) -> Tolerance,
) -> Vec<String> {
    let mut all = Vec::new();
    for (k, (name, reference)) in theirs.iter().enumerate() {
        let Some((_, t)) = ours.iter().find(|(n, _)| n == name) else {
            all.push(format!("no output {name}"));
            continue;
        };
        let c = compare(name, t, reference, tolerance(k, reference));
        if !c.pass {
            all.push(format!(
                "{name}: {:?} worst {:?}, least atol {:.2e}",
                c.mismatch, c.worst, c.least_atol
            ));
        }
    }
    all
}

fn seeded(
    model: &Model,
    check: &Check,
    sizes: &BTreeMap<String, Vec<i64>>,
    seed: u64,
) -> Result<Named, String> {
    let bounds = index_bounds(&model.graph);
    let mut given = BTreeMap::new();
    let mut wanted = Vec::new();
    for v in model.graph.inputs() {
        let (name, ty) = (model.graph.input_name(v).to_string(), model.graph.ty(v));
        if let Some(&x) = check.values.get(&name) {
            let value = match ty.dtype.is_float() {
                true => Tensor::from_f64s(ty.dtype, vec![], [x]),
                false => Tensor::from_i128s(ty.dtype, vec![], [x as i128]),
            };
            given.insert(name.clone(), value);
        }
        let bound = check.below.get(&name).copied().or(bounds.get(&v).copied());
        wanted.push(Wanted { name, dtype: ty.dtype, shape: ty.shape.clone(), bound });
    }
    let sizes = Sizes { shapes: sizes.clone(), ..Sizes::default() };
    complete(&wanted, &given, &sizes, seed).map(|(inputs, _)| inputs).map_err(|e| e.to_string())
}

fn check_public(check: &Check, path: &Path) -> Result<(), String> {
    let model = import(path, &ImportOptions::default()).map_err(|e| e.to_string())?;
    let mut session = session(&model, None)?;
    // What a network that quantizes rounds differently is judged by how far ONNX Runtime's levels differ, on a GPU,
    // which sums in another order, also by how far its results for neighbouring weights do.
    let quantized = quantizes(&model.graph);
    let mut near = match quantized && device::device().as_gpu().is_some() {
        true => neighbours::open(path)?,
        false => Vec::new(),
    };
    let levels = if quantized { &Level::EVERY[..] } else { &[Level::All] };
    let open = |&level: &Level| Ort::open_at(path, 1, None, level).map_err(|e| e.to_string());
    let mut oracles = levels.iter().map(open).collect::<Result<Vec<Ort>, _>>()?;
    for (i, sizes) in check.sizes.iter().enumerate() {
        let inputs = seeded(&model, check, sizes, i as u64)?;
        let ours = run(&mut session, &inputs).map_err(|e| format!("{sizes:?}: {e}"))?;
        let run = |oracle: &mut Ort| oracle.run(&inputs).map_err(|e| format!("{sizes:?}: {e}"));
        let all = oracles.iter_mut().map(run).collect::<Result<Vec<Named>, _>>()?;
        let theirs = &all[all.len() - 1];
        let near = near.iter_mut().map(run).collect::<Result<Vec<Named>, _>>()?;
        let wrong = differences_within(&ours, theirs, |k, t| match quantized {
            true => {
                let results: Vec<&Tensor> = all.iter().chain(&near).map(|outputs| &outputs[k].1).collect();
                Tolerance::quantized(t.dtype(), spread(&results))
            }
            false => Tolerance::network(t.dtype()),
        });
        if !wrong.is_empty() {
            return Err(format!("{sizes:?}: {}", wrong.join("; ")));
        }
    }
    Ok(())
}

/// A model with the inputs and outputs in an `.npz`, compiled as it is or in half precision.
fn check_export(path: &Path, npz: &Path, half: Option<DType>) -> Result<(), String> {
    let model = import(path, &ImportOptions::default()).map_err(|e| e.to_string())?;
    let (mut inputs, mut expected) = (Named::new(), Named::new());
    for (key, t) in read_npz(npz).map_err(|e| e.to_string())? {
        match key.split_once(':') {
            Some(("in", name)) => inputs.push((name.to_string(), t)),
            Some(("out", name)) => expected.push((name.to_string(), t)),
            _ => return Err(format!("key {key} is neither in:NAME nor out:NAME")),
        }
    }
    let ours = run(&mut session(&model, half)?, &inputs)?;
    if let Some(half) = half {
        // Attention without a scale: an output near 0 is off by 1.1e-2, where 1e-2 is allowed (measured).
        let wider = half == DType::F16 && path.to_string_lossy().contains("t5_encoder");
        let wrong = differences_within(&ours, &expected, |_, t| {
            let plain = Tolerance::network(if t.dtype() == DType::F32 { half } else { t.dtype() });
            Tolerance { atol: if wider { 2e-2 } else { plain.atol }, ..plain }
        });
        return if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) };
    }
    let mut wrong = differences(&ours, &expected);
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        let theirs = Ort::open(path, 1, None).and_then(|mut o| o.run(&inputs)).map_err(|e| e.to_string())?;
        wrong.extend(differences(&ours, &theirs).into_iter().map(|w| format!("against ONNX Runtime: {w}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Runs all checks on the device, names every failure, and fails if there is one.
fn report<'a>(checks: impl IntoIterator<Item = (String, Box<dyn FnOnce() -> Result<(), String> + 'a>)>) {
    if !device::can_compile() {
        return;
    }
    let mut failures = Vec::new();
    for (name, check) in checks {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
            Ok(Ok(())) => eprintln!("PASS {name}"),
            Ok(Err(e)) => failures.push(format!("FAIL {name}: {e}")),
            Err(_) => failures.push(format!("FAIL {name}: panicked")),
        }
    }
    assert!(failures.is_empty(), "{} models fail:\n{}", failures.len(), failures.join("\n"));
}

fn onnx_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(onnx_files(&path));
        } else if path.extension().is_some_and(|e| e == "onnx") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn public_models_agree_with_onnx_runtime_at_every_size_from_one_program() {
    let Some(dir) = std::env::var_os("SARDONYX_MODELS").map(PathBuf::from) else {
        return eprintln!("skipped: run scripts/test, which fetches the public models");
    };
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        return eprintln!("skipped: run scripts/test, which installs ONNX Runtime");
    }
    let checks: Vec<Check> =
        serde_json::from_str(include_str!("../models/checks.json")).expect("models/checks.json should parse");
    let only = std::env::var("SARDONYX_ONLY").ok();
    report(checks.iter().filter(|c| only.as_ref().is_none_or(|o| c.name.contains(o))).map(|c| {
        let path = dir.join(format!("{}.onnx", c.name));
        let run: Box<dyn FnOnce() -> Result<(), String>> = Box::new(move || check_public(c, &path));
        (c.name.clone(), run)
    }));
}

#[test]
fn exports_agree_with_pytorch_and_onnx_runtime() {
    let mut files = onnx_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small"));
    assert!(files.len() >= 8, "the committed exports should be there");
    if let Some(dir) = std::env::var_os("SARDONYX_EXPORTS") {
        files.extend(onnx_files(Path::new(&dir)));
    }
    let only = std::env::var("SARDONYX_ONLY").ok();
    report(files.iter().filter(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o))).map(
        |path| {
            let run: Box<dyn FnOnce() -> Result<(), String>> =
                Box::new(move || check_export(path, &path.with_extension("npz"), None));
            (path.display().to_string(), run)
        },
    ));
}

#[test]
fn exports_in_half_precision_agree_with_pytorch() {
    let files = onnx_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small"));
    let only = std::env::var("SARDONYX_ONLY").ok();
    let wanted = |f: &&PathBuf| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o));
    let halves = [DType::F16, DType::BF16];
    report(files.iter().filter(wanted).flat_map(|path| halves.map(|half| (path, half))).map(
        |(path, half)| {
            let run: Box<dyn FnOnce() -> Result<(), String>> =
                Box::new(move || check_export(path, &path.with_extension("npz"), Some(half)));
            (format!("{} {half}", path.display()), run)
        },
    ));
}

#[test]
fn what_onnx_runtimes_optimizer_writes_agrees_with_pytorch_and_onnx_runtime() {
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        return eprintln!("skipped: run scripts/test, which installs ONNX Runtime");
    }
    let files = onnx_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/small"));
    let folder = tempfile::tempdir().expect("a folder should be made");
    let only = std::env::var("SARDONYX_ONLY").ok();
    let fused = std::cell::RefCell::new(BTreeMap::<String, usize>::new());
    report(files.iter().filter(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o))).map(
        |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (to, fused) = (folder.path().join(&name), &fused);
            let run: Box<dyn FnOnce() -> Result<(), String>> = Box::new(move || {
                Ort::write_optimized(path, &to).map_err(|e| e.to_string())?;
                let model = import(&to, &ImportOptions::default()).map_err(|e| e.to_string())?;
                for (op, n) in
                    model.operators.iter().filter(|(op, _)| op.contains("::") || op.contains("Simplified"))
                {
                    *fused.borrow_mut().entry(op.clone()).or_default() += n;
                }
                check_export(&to, &path.with_extension("npz"), None)
            });
            (name, run)
        },
    ));
    eprintln!("{:?}", fused.borrow());
    let expected =
        ["com.microsoft::BiasGelu", "com.microsoft::SkipLayerNormalization", "com.microsoft::FusedMatMul"];
    if only.is_none() && device::can_compile() {
        assert!(expected.iter().all(|op| fused.borrow().contains_key(*op)), "{:?}", fused.borrow());
    }
}
