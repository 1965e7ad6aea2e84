//! Compilation: a graph in, a program file out.
use crate::emit;
use crate::kernel::Kernel;
use crate::lower::{self, Lowered, Unsupported};
use crate::plan;
use crate::sharing::Sharing;
use crate::target::{GpuSpec, Target, TargetSpec};
use crate::toolchain::{self, Options, ToolchainError, cache::Cache, gpu::Tools};
use crate::unit::Unit;
use sardonyx_ir::{Graph, Op};
use sardonyx_runtime::manifest::{Buffer, Constraint, LibraryCall, Place, Port, Step, TargetProgram, walk};
use sardonyx_runtime::{Error as ProgramError, ProgramBuilder};
use sardonyx_tensor::{Dim, Tensor};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

/// How to compile.
#[derive(Default)]
pub struct CompileOptions<'a> {
    /// The name of the model.
    pub model: String,
    /// The targets, the preferred first: `cpu` (this machine), `cpu:x86-64-v3`, ….
    pub targets: Vec<String>,
    /// The number of threads; 0 is one per processor.
    pub jobs: usize,
    /// Where code objects are kept between runs.
    pub cache: Option<&'a Cache>,
    /// What compiling for GPUs may use; what it finds itself if none.
    pub tools: Option<&'a Tools>,
    /// Whether the program keeps the text of the graph and of its kernels.
    pub keep_source: bool,
    /// Inputs with the outputs they should give, and the absolute and relative tolerance, for the self-test.
    pub golden: Option<Golden<'a>>,
    /// Whether sessions on GPUs may let rocBLAS or cuBLAS compute matrix products, where they are faster.
    pub libraries: bool,
    /// Graphs for some sizes alone, for which every target gets a program of its own besides that for all sizes.
    pub special: &'a [Special],
    /// Is told what is going on.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

/// A graph for some sizes alone.
#[derive(Debug)]
pub struct Special {
    /// The sizes, by input symbol.
    pub sizes: BTreeMap<String, i64>,
    /// The graph, of the same inputs and outputs, in which they are known.
    pub graph: Graph,
}

/// Inputs and outputs of the self-test.
pub struct Golden<'a> {
    /// A tensor per input.
    pub inputs: &'a [Tensor],
    /// A tensor per output.
    pub outputs: &'a [Tensor],
    /// Absolute tolerance.
    pub atol: f64,
    /// Relative tolerance.
    pub rtol: f64,
}

/// How far a compilation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nodes become kernels.
    Lowering {
        /// How many.
        nodes: usize,
    },
    /// Kernels become code.
    Compiling {
        /// How many are done.
        done: usize,
        /// How many there are.
        kernels: usize,
    },
    /// The program is put together.
    Packing,
}

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Nodes without a kernel.
    #[error("{} of {nodes} nodes cannot be compiled for {target}:\n{}", list.len(), listed(list))]
    Unsupported {
        /// The target.
        target: String,
        /// The nodes of the graph.
        nodes: usize,
        /// Those without a kernel.
        list: Vec<Unsupported>,
    },
    /// The target is not known.
    #[error(
        "unknown target `{0}`; targets are `cpu`, `cpu:PROCESSOR`, `hip:ARCH` and `cuda:ARCH` (`sardonyx targets` lists them)"
    )]
    Target(String),
    /// The graph cannot have these sizes.
    #[error("sizes {sizes}: {reason}")]
    Sizes {
        /// The sizes.
        sizes: String,
        /// What does not fit.
        reason: String,
    },
    /// The toolchain failed.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The program could not be put together.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

fn listed(list: &[Unsupported]) -> String {
    let line = |u: &Unsupported| {
        let origin = if u.origin.is_empty() { String::new() } else { format!(" (node {})", u.origin) };
        format!("  {} {}{origin}: {}", u.op, u.ty, u.reason)
    };
    list.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a compilation made.
#[derive(Clone, Default, Debug, serde::Serialize)]
pub struct Report {
    /// One line per target: where nodes run.
    pub placement: Vec<String>,
    /// Launches of kernels.
    pub launches: usize,
    /// Distinct kernels.
    pub kernels: usize,
    /// Kernels that came from the cache.
    pub cached: usize,
    /// Bytes of code objects.
    pub code: usize,
    /// Bytes of weights, those that targets share once.
    pub weights: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.launches - self.kernels.min(self.launches);
        let compiled = self.kernels - self.cached;
        write!(f, "kernels: {compiled} compiled, {shared} shared, {} from the cache", self.cached)
    }
}

/// The stages of one kernel, as text.
pub struct KernelText {
    /// Its name.
    pub name: String,
    /// How often it is launched, by what.
    pub launches: Vec<String>,
    /// What it computes.
    pub kernel: String,
    /// Its loops.
    pub nest: String,
    /// What the toolchain is given.
    pub source: String,
}

/// The distinct kernels of a graph on a target, as text.
pub fn kernels(graph: &Graph, target_name: &str) -> Result<Vec<KernelText>, CompileError> {
    let spec = target(target_name)?;
    let lowered = lower::lower(graph, &spec);
    if !lowered.unsupported.is_empty() {
        return Err(CompileError::Unsupported {
            target: spec.name(),
            nodes: graph.len(),
            list: lowered.unsupported,
        });
    }
    let labels = lowered.labels();
    let (unique, which) = toolchain::distinct(&lowered.units);
    let launches =
        |k: usize| which.iter().zip(&labels).filter(|(w, _)| **w == k).map(|(_, l)| l.clone()).collect();
    let text = |(k, unit): (usize, &Unit)| KernelText {
        name: unit.name().to_string(),
        launches: launches(k),
        kernel: which.iter().position(|&w| w == k).map_or(String::new(), |n| lowered.kernels[n].to_string()),
        nest: unit.to_string(),
        source: emit::source(unit, &spec),
    };
    Ok(unique.iter().enumerate().map(text).collect())
}

/// Compiles a graph; the bytes of the program file. The same graph and options give the same bytes.
pub fn compile(graph: &Graph, options: &CompileOptions<'_>) -> Result<(Vec<u8>, Report), CompileError> {
    let mut bytes = Vec::new();
    let report = compile_to(graph, options, &mut bytes)?;
    Ok((bytes, report))
}

/// As [`compile`], into a file or what else takes bytes: the program is never in memory as a whole.
pub fn compile_to(
    graph: &Graph,
    options: &CompileOptions<'_>,
    out: &mut dyn Write,
) -> Result<Report, CompileError> {
    let progress = |p| options.progress.iter().for_each(|f| f(p));
    let mut report = Report::default();
    let any = BTreeMap::new();
    let mut graphs: Vec<(&BTreeMap<String, i64>, &Graph)> = vec![(&any, graph)];
    graphs.extend(options.special.iter().map(|special| (&special.sizes, &special.graph)));
    let mut lowered: Vec<(Target, Lowered)> = Vec::new();
    for name in &options.targets {
        let spec = target(name)?;
        for (_, graph) in &graphs {
            progress(Progress::Lowering { nodes: graph.len() });
            let one = lower::lower(graph, &spec);
            if !one.unsupported.is_empty() {
                let (nodes, list) = (graph.len(), one.unsupported);
                return Err(CompileError::Unsupported { target: spec.name(), nodes, list });
            }
            lowered.push((spec.clone(), one));
        }
    }
    let mut builder = ProgramBuilder::new(concat!("sardonyx ", env!("CARGO_PKG_VERSION")), &options.model);
    describe(graph, &mut builder);
    let mut planned = Vec::new();
    for (spec, one) in &lowered {
        let compiling = |done, kernels| progress(Progress::Compiling { done, kernels });
        let (jobs, cache, tools) = (options.jobs, options.cache, options.tools);
        let how = Options { jobs, cache, tools, progress: Some(&compiling) };
        let objects = toolchain::compile(&one.units, spec, &how)?;
        let plan = plan::plan(one, &objects.places, options.libraries && spec.cpu().is_none());
        report.kernels += objects.kernels;
        report.cached += objects.cached;
        report.launches += one.units.len();
        report.code += objects.objects.iter().map(Vec::len).sum::<usize>();
        planned.push((plan, objects.objects));
    }
    let mut sharing = Sharing::new(lowered.iter().zip(planned.iter().map(|(plan, _)| plan)));
    for (target, ((spec, one), (plan, objects))) in lowered.iter().zip(planned).enumerate() {
        let (sizes, graph) = graphs[target % graphs.len()];
        let mut program = plan.program;
        sharing.place(target, &mut program, &mut builder);
        program.code = objects.into_iter().map(|object| builder.code(object)).collect();
        program.placement = placement(&place(spec, sizes), graph, one, &program);
        program.name = spec.name();
        program.sizes = sizes.clone();
        program.features = spec.cpu().map(features).unwrap_or_default();
        report.placement.push(program.placement.clone());
        builder.manifest.targets.push(program);
    }
    report.weights = builder.weight_bytes();
    progress(Progress::Packing);
    if options.keep_source {
        builder.attachment("graph", sardonyx_ir::text::print(graph));
        for (k, (spec, one)) in lowered.iter().enumerate() {
            keep_source(&mut builder, &place(spec, graphs[k % graphs.len()].0), spec, one);
        }
    }
    if let Some(golden) = &options.golden {
        add_golden(&mut builder, golden);
    }
    builder.write(out)?;
    Ok(report)
}

/// Keeps the text of every launch's loops and code.
fn keep_source(builder: &mut ProgramBuilder<'_>, place: &str, target: &Target, lowered: &Lowered) {
    let extension = if target.cpu().is_some() { "ll" } else { "hip" };
    for (k, unit) in lowered.units.iter().enumerate() {
        let name = format!("{place}/{k}.{}", unit.name());
        builder.attachment(&format!("nest/{name}"), unit.to_string());
        builder.attachment(&format!("source/{name}.{extension}"), emit::source(unit, target));
    }
}

/// The target of this name.
pub fn target(name: &str) -> Result<Target, CompileError> {
    if let Some(spec) = GpuSpec::named(name) {
        return Ok(Target::Gpu(spec.clone()));
    }
    let cpu = match name {
        "cpu" => "native",
        _ => name.strip_prefix("cpu:").ok_or_else(|| CompileError::Target(name.to_string()))?,
    };
    Ok(Target::Cpu(toolchain::cpu(cpu)?))
}

/// Ports, symbols and constraints.
fn describe(graph: &Graph, builder: &mut ProgramBuilder<'_>) {
    let manifest = &mut builder.manifest;
    let port = |name: &str, v| {
        let ty = graph.ty(v);
        Port { name: name.to_string(), dtype: ty.dtype, shape: ty.shape.clone() }
    };
    manifest.inputs = graph.inputs().map(|v| port(graph.input_name(v), v)).collect();
    let names = graph.output_names();
    let numbered = |k: usize| names.get(k).cloned().unwrap_or_else(|| format!("output{k}"));
    manifest.outputs = graph.outputs().iter().enumerate().map(|(k, &v)| port(&numbered(k), v)).collect();
    let mut symbols: Vec<String> = Vec::new();
    for dim in manifest.inputs.iter().flat_map(|p| &p.shape) {
        symbols.extend(dim.symbols().into_iter().filter(|s| !symbols.contains(s)).collect::<Vec<_>>());
    }
    manifest.symbols = symbols;
    let bound = |d: &Dim| d.symbols().iter().all(|s| manifest.symbols.contains(s));
    manifest.constraints = graph
        .requirements()
        .filter(|r| bound(&r.left) && bound(&r.right))
        .map(|r| Constraint { left: r.left.clone(), right: r.right.clone(), place: "the model".into() })
        .collect();
}

fn add_golden(builder: &mut ProgramBuilder<'_>, golden: &Golden<'_>) {
    let mut add = |what: &str, tensors: &[Tensor]| -> Vec<usize> {
        let named = tensors.iter().enumerate();
        named.map(|(k, t)| builder.owned_tensor(&format!("{what}{k}"), t)).collect()
    };
    let (inputs, outputs) = (add("golden input ", golden.inputs), add("golden output ", golden.outputs));
    let (atol, rtol) = (golden.atol, golden.rtol);
    builder.manifest.golden = Some(sardonyx_runtime::manifest::Golden { inputs, outputs, atol, rtol });
}

/// A target, and the sizes that a program is for alone.
fn place(target: &Target, sizes: &BTreeMap<String, i64>) -> String {
    match sizes.is_empty() {
        true => target.name(),
        false => format!("{} at {}", target.name(), sizes_text(sizes)),
    }
}

/// Sizes as the command line has them: `batch=8,s=128`.
pub fn sizes_text(sizes: &BTreeMap<String, i64>) -> String {
    let sizes: Vec<String> = sizes.iter().map(|(symbol, size)| format!("{symbol}={size}")).collect();
    sizes.join(",")
}

/// The line that says where nodes run.
fn placement(target: &str, graph: &Graph, lowered: &Lowered, program: &TargetProgram) -> String {
    let is_input = |id| matches!(graph.node(id).op, Op::Input { .. });
    let nodes = graph.order().into_iter().filter(|&id| !is_input(id)).count();
    let dots = lowered.kernels.iter().filter(|k| matches!(k, Kernel::Dot(_))).count();
    let integers = if dots > 0 { format!(", integer contractions {dots}") } else { String::new() };
    let (mut products, mut convolutions) = (0, 0);
    walk(&program.steps, &mut |_, step| {
        let Step::Launch(launch) = step else { return };
        match &launch.library {
            Some(LibraryCall::Product(_)) => products += 1,
            Some(LibraryCall::Convolution(_)) => convolutions += 1,
            None => {}
        }
    });
    let (blas, dnn) = if target.starts_with("hip:") { ("rocBLAS", "MIOpen") } else { ("cuBLAS", "cuDNN") };
    let or = |count, library| if count > 0 { format!(", {count} or {library}") } else { String::new() };
    let libraries = or(products, blas) + &or(convolutions, dnn);
    let packed = |b: &Buffer| if let Place::Packed(_) = b.place { b.bytes.known() } else { None };
    let packed: i64 = program.buffers.iter().filter_map(packed).sum();
    let (launches, kernels) = (lowered.units.len(), program.kernels.len());
    let made = match packed {
        0 => String::new(),
        bytes => format!(", {:.1} MiB of weights packed when loaded", bytes as f64 / (1 << 20) as f64),
    };
    format!(
        "{target} {nodes}/{nodes} nodes ({launches} launches of {kernels} kernels{integers}{libraries}{made})"
    )
}

/// What code for a processor needs, in the names of Rust's standard library.
fn features(spec: &TargetSpec) -> Vec<String> {
    let mut list: Vec<&str> = match spec.vector_bytes {
        64 => vec!["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
        32 => vec!["avx2", "fma", "f16c"],
        _ => vec!["sse4.2"],
    };
    if spec.vnni {
        list.push(if spec.vector_bytes == 64 { "avx512vnni" } else { "avxvnni" });
    }
    list.into_iter().map(String::from).collect()
}
