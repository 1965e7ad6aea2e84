//! From a model to a program: the pipeline of passes, then code generation.
use crate::onnx::{ImportOptions, Model};
use crate::pipeline;
use sardonyx_codegen::compile::{CompileError, CompileOptions, Progress, Report, Special, sizes_text};
use sardonyx_codegen::toolchain::cache::Cache;
use sardonyx_codegen::toolchain::gpu::Tools;
use sardonyx_ir::rewrite::{Miss, Rewrite, Trace};
use sardonyx_ir::{Graph, at_sizes};
use sardonyx_passes::{Driver, Timing};
use sardonyx_runtime::Device;
use sardonyx_tensor::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the importer is told about sizes.
    pub import: ImportOptions,
    /// Target names; see [`sardonyx_codegen::target`].
    pub targets: Vec<String>,
    /// Kernels compiled at the same time; all cores if none.
    pub jobs: Option<usize>,
    /// Directory of the code-object cache; no cache if none.
    pub cache: Option<PathBuf>,
    /// What compiling for GPUs may use.
    pub tools: Tools,
    /// Whether kernel sources are kept in the program.
    pub keep_source: bool,
    /// Sizes for which the program has code of its own besides that for all, by symbol.
    pub special: Vec<BTreeMap<String, i64>>,
    /// What is put in place of the model's f32: f16 or bf16; nothing if none.
    pub dtype: Option<DType>,
    /// Whether sessions on GPUs may let vendors' libraries compute matrix products and convolutions, where they are
    /// faster.
    pub libraries: bool,
    /// Put `dtype` in place at so many nodes at most, the first ones; at all if none.
    pub narrowed: Option<usize>,
    /// Stop after so many rewrites.
    pub stop_after: Option<usize>,
    /// Collect near-misses of this rule.
    pub explain: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            import: ImportOptions::default(),
            targets: vec!["cpu".into()],
            jobs: None,
            cache: None,
            tools: Tools::default(),
            keep_source: false,
            special: Vec::new(),
            dtype: None,
            libraries: false,
            narrowed: None,
            stop_after: None,
            explain: None,
        }
    }
}

impl Options {
    /// For this device: the processor, or the instruction set of its GPU.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn targeting(mut self, device: &Device) -> Result<Options, sardonyx_runtime::Error> {
        self.targets = match (device.info()?, device.as_gpu()) {
            (Some(info), Some((platform, _))) => vec![format!("{}:{}", platform.name(), info.arch)],
            _ => vec!["cpu".into()],
        };
        Ok(self)
    }
}

/// A compiled model.
#[derive(Debug)]
pub struct Compiled {
    /// The bytes of the program file.
    pub bytes: Vec<u8>,
    /// What was compiled, and how large it is.
    pub report: Report,
    /// Rewrites that the passes made.
    pub rewrites: usize,
}

/// A graph after the passes.
#[derive(Debug)]
pub struct Optimized {
    /// The graph, ready for code generation.
    pub graph: Graph,
    /// Passes in the order they ran.
    pub timings: Vec<Timing>,
    /// Rewrites that were made, in order.
    pub rewrites: Vec<Rewrite>,
    /// Places where the rule to explain almost applied.
    pub misses: Vec<Miss>,
}

/// Is told the name of a pass and the change it made.
pub type Show<'a> = &'a mut dyn FnMut(&str, &str);

/// The graph of a model after the passes; `dump` is a pass name or `all`, and what is told the change that
/// each such pass made.
pub fn optimize(model: &Model, options: &Options, dump: Option<(&str, Show<'_>)>) -> Optimized {
    let passes = pass_options(options, options.explain.clone());
    let mut graph = model.graph.clone();
    let mut driver = Driver::new(&passes);
    if let Some((pass, show)) = dump {
        driver = driver.dump_after(pass, show);
    }
    pipeline::optimize(&mut driver, &mut graph);
    let timings = driver.timings().to_vec();
    Optimized { graph, timings, rewrites: passes.trace.rewrites(), misses: passes.trace.misses() }
}

/// The graphs of a model, after the passes, for the sizes that have code of their own.
///
/// # Errors
/// When no input has a dimension of such a name, and when a size does not fit the model.
pub fn specialize(model: &Model, options: &Options) -> Result<Vec<Special>, CompileError> {
    let shapes = model.graph.inputs().flat_map(|v| model.graph.ty(v).shape.iter());
    let known: BTreeSet<String> = shapes.filter_map(Dim::as_symbol).map(String::from).collect();
    let special = |sizes: &BTreeMap<String, i64>| {
        let failed = |reason| CompileError::Sizes { sizes: sizes_text(sizes), reason };
        if let Some(name) = sizes.keys().find(|name| !known.contains(*name)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(failed(format!("no input has an open dimension `{name}`; there are: {known}")));
        }
        let mut graph = at_sizes(&model.graph, sizes).map_err(failed)?;
        pipeline::optimize(&mut Driver::new(&pass_options(options, None)), &mut graph);
        Ok(Special { sizes: sizes.clone(), graph })
    };
    options.special.iter().map(special).collect()
}

fn pass_options(options: &Options, explain: Option<String>) -> sardonyx_passes::Options {
    sardonyx_passes::Options {
        trace: Trace::new(options.stop_after, explain),
        dtype: options.dtype,
        narrowed: options.narrowed,
        channels: options.targets.iter().all(|target| !target.starts_with("cpu")),
    }
}

/// The graph as it is after the last run of the pass `name`.
pub fn optimized_until(model: &Model, options: &Options, name: &str) -> Graph {
    let passes = pass_options(options, None);
    let mut graph = model.graph.clone();
    let mut last = graph.clone();
    let mut keep = |pass: &str, g: &Graph| {
        if pass == name {
            last = g.clone();
        }
    };
    pipeline::optimize(&mut Driver::new(&passes).observe(&mut keep), &mut graph);
    last
}

/// Compiles a model into a program.
///
/// # Errors
/// When nodes have no kernel on a target, a target is unknown, or a toolchain is missing.
pub fn compile(model: &Model, options: &Options) -> Result<Compiled, CompileError> {
    let (optimized, special) = (optimize(model, options, None), specialize(model, options)?);
    let mut bytes = Vec::new();
    let report = generate_to(&optimized.graph, &special, &model.name, options, None, &mut bytes)?;
    Ok(Compiled { bytes, report, rewrites: optimized.rewrites.len() })
}

/// Compiles a graph that went through the passes; `progress` is told how far it is.
///
/// # Errors
/// As of [`compile`].
pub fn generate(
    graph: &Graph,
    name: &str,
    options: &Options,
    progress: Option<&(dyn Fn(Progress) + Sync)>,
) -> Result<(Vec<u8>, Report), CompileError> {
    let mut bytes = Vec::new();
    let report = generate_to(graph, &[], name, options, progress, &mut bytes)?;
    Ok((bytes, report))
}

/// As [`generate`], with code for some sizes alone, into a file or what else takes bytes: the program is never in memory
/// as a whole.
///
/// # Errors
/// As of [`compile`], and when writing fails.
pub fn generate_to(
    graph: &Graph,
    special: &[Special],
    name: &str,
    options: &Options,
    progress: Option<&(dyn Fn(Progress) + Sync)>,
    out: &mut dyn Write,
) -> Result<Report, CompileError> {
    let cache = options.cache.as_ref().map(Cache::new);
    let options = CompileOptions {
        model: name.to_string(),
        targets: options.targets.clone(),
        jobs: options.jobs.unwrap_or(0),
        cache: cache.as_ref(),
        tools: Some(&options.tools),
        keep_source: options.keep_source,
        golden: None,
        libraries: options.libraries,
        special,
        progress,
    };
    sardonyx_codegen::compile::compile_to(graph, &options, out)
}
