//! What several verbs do: read sizes, load or compile a program, make inputs, run, print tables.
use super::Failure;
use super::args::{BuildArgs, DeviceArgs, ImageLayout, InputArgs, Libraries, OrtArgs, Precision, SizeArgs};
use crate::compile::{self, Options};
use crate::images::ImageForm;
use crate::inputs::{self, Given, Named, Sizes, Wanted};
use crate::onnx::{ImportOptions, Model};
use crate::ort::Level;
use anyhow::anyhow;
use comfy_table::{ContentArrangement, Table, presets};
use sardonyx_codegen::toolchain::gpu::Tools;
use sardonyx_runtime::{Device, Program, Session};
use sardonyx_tensor::{Dim, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A program ready to run, and what is known of the model behind it.
pub struct Loaded {
    /// The program.
    pub program: Program,
    /// The model, if one was given.
    pub source: Option<(PathBuf, Model)>,
    /// Seconds it took to open the program (not to compile it).
    pub seconds: f64,
}

impl Loaded {
    /// The imported model. Fails for a program without one.
    pub fn model(&self) -> Result<&Model, Failure> {
        self.source.as_ref().map(|(_, m)| m).ok_or_else(need_model)
    }
    /// The model's file. Fails for a program without one.
    pub fn model_path(&self) -> Result<&Path, Failure> {
        self.source.as_ref().map(|(p, _)| p.as_path()).ok_or_else(need_model)
    }
}

fn need_model() -> Failure {
    Failure::Usage(anyhow!(
        "a program file does not hold the model that the oracle runs: give it with --oracle-model MODEL.onnx"
    ))
}

/// Programs for some sizes that a file may have.
const SPECIAL: usize = 64;

/// The sizes that the user gave.
pub fn sizes(args: &SizeArgs) -> Result<Sizes, Failure> {
    let (sizes, special) = sizes_and_special(args)?;
    match special.is_empty() {
        true => Ok(sizes),
        false => {
            Err(Failure::Usage(anyhow!("--dim NAME=N,M is for `compile`; here a dimension has one size")))
        }
    }
}

/// The sizes that the user gave, and those of programs for some sizes: all combinations of dimensions with several.
pub fn sizes_and_special(args: &SizeArgs) -> Result<(Sizes, Vec<BTreeMap<String, i64>>), Failure> {
    let mut sizes = Sizes::default();
    let mut special: Vec<BTreeMap<String, i64>> = Vec::new();
    for pair in &args.dims {
        let size = |n: &str| n.parse::<i64>().ok().filter(|&n| n >= 0);
        let parsed = pair.rsplit_once('=').and_then(|(name, list)| {
            Some((name.to_string(), list.split(',').map(size).collect::<Option<BTreeSet<i64>>>()?))
        });
        let (name, list) = parsed.ok_or_else(|| {
            Failure::Usage(anyhow!("--dim {pair}: expected NAME=N or NAME=N,M,… with sizes from 0 on"))
        })?;
        match list.first() {
            Some(&n) if list.len() == 1 => drop(sizes.dims.insert(name, n)),
            _ => {
                let before = if special.is_empty() { vec![BTreeMap::new()] } else { special };
                let with = |(some, n): (&BTreeMap<String, i64>, i64)| {
                    let mut some = some.clone();
                    some.insert(name.clone(), n);
                    some
                };
                special =
                    list.iter().flat_map(|&n| before.iter().map(move |some| (some, n))).map(with).collect();
            }
        }
    }
    if special.len() > SPECIAL {
        let (count, most) = (special.len(), SPECIAL);
        return Err(Failure::Usage(anyhow!(
            "--dim: {count} combinations of sizes; a program has {most} at most"
        )));
    }
    for pair in &args.input_shapes {
        let parsed = pair.rsplit_once('=').and_then(|(name, shape)| {
            let shape = if shape.is_empty() {
                Some(vec![])
            } else {
                shape.split(['x', ',']).map(|n| n.parse().ok().filter(|&n: &i64| n >= 0)).collect()
            };
            Some((name.to_string(), shape?))
        });
        let (name, shape) = parsed
            .ok_or_else(|| Failure::Usage(anyhow!("--input-shape {pair}: expected NAME=1x3x224x224")))?;
        sizes.shapes.insert(name, shape);
    }
    Ok((sizes, special))
}

/// How `run`, `verify` and `perf` compile: for the device, with symbolic sizes left open.
pub fn compile_options(device: &DeviceArgs, build: &BuildArgs) -> Result<Options, Failure> {
    options(build).targeting(&device_of(device)?).map_err(Failure::run)
}

/// The device that the user chose.
fn device_of(device: &DeviceArgs) -> Result<Device, Failure> {
    let chosen: Device = device.device.parse().map_err(Failure::usage)?;
    Ok(chosen.threads(threads(device)))
}

/// Options that do not depend on device or sizes.
pub fn options(build: &BuildArgs) -> Options {
    Options {
        jobs: build.jobs,
        cache: build.cache.clone().or_else(default_cache),
        dtype: build.dtype.and_then(Precision::half),
        libraries: build.libraries == Libraries::Auto,
        stop_after: build.stop_after,
        tools: tools(build.nvrtc_library.clone()),
        ..Options::default()
    }
}

/// What compiling for GPUs uses: this binary as worker process, and NVRTC where the user says it is.
pub fn tools(nvrtc: Option<PathBuf>) -> Tools {
    let worker = std::env::current_exe().ok().and_then(|path| path.to_str().map(String::from));
    Tools {
        worker: worker.map(|path| vec![path, "compile-worker".into()]).unwrap_or_default(),
        nvrtc: nvrtc.or_else(|| std::env::var_os("NVRTC_DYLIB_PATH").map(PathBuf::from)),
        ..Tools::default()
    }
}

/// The sizes as the importer takes them: fixed in the program.
pub fn import_options(sizes: &Sizes) -> ImportOptions {
    let shapes = sizes.shapes.iter().map(|(n, s)| (n.clone(), s.iter().map(|&d| Dim::from(d)).collect()));
    ImportOptions { dims: sizes.dims.clone(), input_shapes: shapes.collect() }
}

/// Reads a model with its symbolic sizes left open, and those fixed sizes too that the user contradicts.
fn import_open(path: &Path, sizes: &Sizes) -> Result<Model, Failure> {
    let model = import(path, &ImportOptions::default())?;
    let mut shapes = BTreeMap::new();
    for v in model.graph.inputs() {
        let (name, ty) = (model.graph.input_name(v), model.graph.ty(v));
        let Some(given) = sizes.shapes.get(name) else { continue };
        let differs = |d: &Dim, n: i64| d.known().is_some_and(|k| k != n);
        if given.len() != ty.rank() || ty.shape.iter().zip(given).any(|(d, &n)| differs(d, n)) {
            let open = given.iter().enumerate().map(|(i, &n)| match ty.shape.get(i) {
                Some(d) if !differs(d, n) => d.clone(),
                _ => Dim::symbol(&format!("{}_{i}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))),
            });
            shapes.insert(name.to_string(), open.collect());
        }
    }
    match shapes.is_empty() {
        true => Ok(model),
        false => import(path, &ImportOptions { input_shapes: shapes, ..ImportOptions::default() }),
    }
}

/// The user's cache directory for code objects.
pub fn default_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))?;
    Some(base.join("sardonyx"))
}

/// Whether a path names a program file rather than a model.
pub fn is_program(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "sdx")
}

/// Opens a program file, or compiles a model for the device.
pub fn load(
    path: &Path,
    oracle: Option<&Path>,
    device: &DeviceArgs,
    size: &SizeArgs,
    build: &BuildArgs,
) -> Result<Loaded, Failure> {
    let (options, sizes) = (compile_options(device, build)?, sizes(size)?);
    if is_program(path) {
        let start = Instant::now();
        let program = Program::open(path).map_err(Failure::run)?;
        let seconds = start.elapsed().as_secs_f64();
        let source = oracle.map(|p| Ok((p.to_path_buf(), import_open(p, &sizes)?))).transpose()?;
        return Ok(Loaded { program, source, seconds });
    }
    let model = import_open(path, &sizes)?;
    let compiled = compile::compile(&model, &options).map_err(Failure::compile)?;
    let start = Instant::now();
    let program = open(compiled.bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Loaded { program, source: Some((path.to_path_buf(), model)), seconds })
}

/// Reads a model.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Model, Failure> {
    crate::onnx::import(path, options).map_err(Failure::compile)
}

/// A program from the bytes of a program file.
pub fn open(bytes: Vec<u8>) -> Result<Program, Failure> {
    Program::from_bytes(bytes).map_err(Failure::run)
}

/// The number of threads of the CPU target.
pub fn threads(device: &DeviceArgs) -> usize {
    device.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// A session of the program on the device.
pub fn session(program: &Program, device: &DeviceArgs) -> Result<Session, Failure> {
    program.session(device_of(device)?).map_err(Failure::run)
}

/// The inputs of a run: given ones, seeded ones for the rest; and the outputs expected for them.
pub fn inputs(loaded: &Loaded, args: &InputArgs, size: &SizeArgs) -> Result<(Named, Named), Failure> {
    let manifest = loaded.program.manifest();
    let bounds: BTreeMap<String, i64> = match &loaded.source {
        Some((_, m)) => inputs::index_bounds(&m.graph)
            .into_iter()
            .map(|(v, n)| (m.graph.input_name(v).to_string(), n))
            .collect(),
        None => BTreeMap::new(),
    };
    let wanted: Vec<Wanted> = manifest
        .inputs
        .iter()
        .map(|p| Wanted {
            name: p.name.clone(),
            dtype: p.dtype,
            shape: p.shape.clone(),
            bound: bounds.get(&p.name).copied(),
        })
        .collect();
    let mut given = Given::default();
    if let Some(path) = &args.inputs {
        given.read_npz(path).map_err(Failure::usage)?;
    }
    if let Some(dir) = &args.test_data {
        let names = |ports: &[sardonyx_runtime::manifest::Port]| {
            ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>()
        };
        given
            .read_test_data(dir, &names(&manifest.inputs), &names(&manifest.outputs))
            .map_err(Failure::usage)?;
    }
    let sizes = sizes(size)?;
    let form = ImageForm {
        channels_last: args.image_layout == ImageLayout::Nhwc,
        mean: args.mean.clone(),
        deviation: args.std.clone(),
    };
    for pair in &args.input {
        let port = |name: &str| wanted.iter().find(|w| w.name == name);
        given.read_pair(pair, port, &sizes, &form).map_err(Failure::usage)?;
    }
    let (tensors, defaulted) =
        inputs::complete(&wanted, &given.inputs, &sizes, args.seed).map_err(Failure::usage)?;
    if !defaulted.is_empty() {
        eprintln!("note: no size given for {}: using 1 (set it with --dim NAME=N)", defaulted.join(", "));
    }
    Ok((tensors, given.expected.into_iter().collect()))
}

/// The outputs of one run in a new session.
pub fn run_once(
    program: &Program,
    device: &DeviceArgs,
    inputs: &[(String, Tensor)],
) -> Result<Vec<(String, Tensor)>, Failure> {
    let mut session = session(program, device)?;
    let outputs = run_session(&mut session, inputs)?.to_vec();
    Ok(program.outputs().iter().map(|p| p.name.clone()).zip(outputs).collect())
}

/// One run; the outputs in order.
pub fn run_session<'s>(
    session: &'s mut Session,
    inputs: &[(String, Tensor)],
) -> Result<&'s [Tensor], Failure> {
    session.run(inputs.iter().map(|(n, t)| (n.as_str(), t.clone()))).map_err(Failure::run)
}

/// A model in ONNX Runtime at an optimization level.
pub fn open_ort(
    model: &Path,
    device: &DeviceArgs,
    args: &OrtArgs,
    level: Level,
) -> Result<crate::ort::Ort, Failure> {
    crate::ort::Ort::open_at(model, threads(device), args.ort_library.as_deref(), level).map_err(Failure::run)
}

/// ONNX Runtime's outputs for a model.
pub fn run_ort(
    model: &Path,
    inputs: &[(String, Tensor)],
    device: &DeviceArgs,
    args: &OrtArgs,
) -> Result<Vec<(String, Tensor)>, Failure> {
    open_ort(model, device, args, Level::All)?.run(inputs).map_err(Failure::run)
}

/// An empty table with these columns.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(columns);
    table
}

/// Prints one JSON document on stdout.
pub fn print_json(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("a report should serialize"));
}

/// The first names of a list, and how many more there are.
pub fn shortened(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > most { format!("{shown}, +{}", names.len() - most) } else { shown }
}

/// The highest resident memory of this process in bytes; 0 where the system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A count of bytes for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1048576.0)
}
