//! The command line, as text: every verb, every flag.
use clap::{Args, Parser, Subcommand, ValueEnum};
use sardonyx_tensor::DType;
use std::path::PathBuf;

/// Compiles ONNX models ahead of time for AMD GPUs, NVIDIA GPUs and CPUs, and runs, verifies and times them.
#[derive(Parser, Debug)]
#[command(name = "sardonyx", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Show a model: opsets, inputs and outputs, parameters, FLOPs, everything that is not supported.
    Inspect(Inspect),
    /// Compile a model into a program file.
    Compile(Compile),
    /// Run a program, or a model compiled on the spot.
    Run(Run),
    /// Compare a model's outputs with an oracle's.
    Verify(Verify),
    /// Measure how long a program takes.
    Perf(Perf),
    /// Print a stage of the compilation: graph, kernels, nests, source or manifest.
    Dump(Dump),
    /// List the operators that can be imported.
    Ops,
    /// List the targets that can be compiled for.
    Targets,
    /// Say which devices, libraries and toolchains were found, and what is missing for what.
    Doctor,
    /// Look at or clean the code-object cache.
    Cache(Cache),
    /// Answer requests of a compiling process: run a GPU's run-time compiler.
    #[command(hide = true)]
    CompileWorker {
        /// NVRTC's library.
        #[arg(long)]
        nvrtc_library: Option<PathBuf>,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How large symbolic dimensions are.
#[derive(Args, Debug, Default, Clone)]
pub struct SizeArgs {
    /// Size of a symbolic dimension (repeatable). In `compile`, several sizes `NAME=1,8` add code for each to that for
    /// all; a run takes what fits its inputs.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<String>,
    /// Shape of a whole input, also where the model declares none or another (repeatable).
    #[arg(long = "input-shape", value_name = "NAME=1x3x224x224")]
    pub input_shapes: Vec<String>,
}

/// Where inputs come from.
#[derive(Args, Debug, Default, Clone)]
pub struct InputArgs {
    /// An input from an .npy, .png or .jpg file, or a number for a scalar (repeatable).
    #[arg(long = "input", value_name = "NAME=FILE.npy")]
    pub input: Vec<String>,
    /// How images lie in their inputs; they are scaled to the input's height and width.
    #[arg(long, value_enum, default_value_t)]
    pub image_layout: ImageLayout,
    /// What is subtracted from an image's channels, whose values are from 0 to 1: a number, or one per channel.
    #[arg(long, value_name = "0.485,0.456,0.406", value_delimiter = ',', default_value = "0")]
    pub mean: Vec<f32>,
    /// What an image's channels are divided by after that: a number, or one per channel.
    #[arg(long, value_name = "0.229,0.224,0.225", value_delimiter = ',', default_value = "1")]
    pub std: Vec<f32>,
    /// Inputs from an .npz file; keys `out:NAME` are expected outputs.
    #[arg(long, value_name = "X.npz")]
    pub inputs: Option<PathBuf>,
    /// Inputs and expected outputs from an ONNX test_data_set folder.
    #[arg(long, value_name = "DIR")]
    pub test_data: Option<PathBuf>,
    /// Seed of generated inputs.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// The order of an image's axes.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageLayout {
    /// Batch, channels, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// How a model is compiled, when a verb needs a program and is given a model.
#[derive(Args, Debug, Default, Clone)]
pub struct BuildArgs {
    /// Kernels compiled at the same time (default: all cores).
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Directory of the code-object cache.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Compute in this type where the model has f32; inputs and outputs keep their types.
    #[arg(long, value_enum)]
    pub dtype: Option<Precision>,
    /// On GPUs: let rocBLAS and MIOpen, or cuBLAS and cuDNN, compute the matrix products and convolutions that they are
    /// faster at, where they are found.
    #[arg(long, value_enum, default_value = "none")]
    pub libraries: Libraries,
    /// Stop after N rewrites (for finding the rewrite that breaks a model).
    #[arg(long, value_name = "N")]
    pub stop_after: Option<usize>,
    /// NVRTC's library, for cuda targets (default: NVRTC_DYLIB_PATH, then the loader's search path).
    #[arg(long, value_name = "FILE")]
    pub nvrtc_library: Option<PathBuf>,
}

/// Whether vendors' libraries are used.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Libraries {
    /// Generated kernels only.
    #[default]
    None,
    /// What is faster, measured by the session.
    Auto,
}

/// What the model's f32 becomes.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// IEEE half precision, f32 where range or precision asks for it.
    Fp16,
    /// bfloat16, f32 where precision asks for it.
    Bf16,
    /// The model's own types.
    F32,
}

impl Precision {
    /// What is put in place of f32.
    pub fn half(self) -> Option<DType> {
        match self {
            Precision::Fp16 => Some(DType::F16),
            Precision::Bf16 => Some(DType::BF16),
            Precision::F32 => None,
        }
    }
}

/// A device to run on.
#[derive(Args, Debug, Clone)]
pub struct DeviceArgs {
    /// cpu, hip:N or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Threads of the CPU target (default: all cores).
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Where ONNX Runtime is.
#[derive(Args, Debug, Default, Clone)]
pub struct OrtArgs {
    /// ONNX Runtime's shared library (default: ORT_DYLIB_PATH, then the loader's search path).
    #[arg(long, value_name = "FILE")]
    pub ort_library: Option<PathBuf>,
}

/// `inspect`
#[derive(Args, Debug)]
pub struct Inspect {
    /// The model.
    pub model: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
}

/// `compile`
#[derive(Args, Debug)]
pub struct Compile {
    /// The model.
    pub model: PathBuf,
    /// The program file to write.
    #[arg(short, long, value_name = "M.sdx")]
    pub output: PathBuf,
    /// Targets, such as cpu, cpu:x86-64-v3, hip:gfx942 or cuda:sm_90 (see `sardonyx targets`).
    #[arg(long, value_delimiter = ',', default_value = "cpu")]
    pub target: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub build: BuildArgs,
    /// Write a stage for reading: `ir|kernels|nest|llvm|hip|dot DIR`.
    #[arg(long, num_args = 2, value_names = ["STAGE", "DIR"])]
    pub emit: Vec<String>,
    /// Print the graph after a pass, or after all of them, to stderr.
    #[arg(long, value_name = "PASS|all")]
    pub dump_after: Option<String>,
    /// Print where a rule nearly applied and why it did not.
    #[arg(long, value_name = "RULE")]
    pub explain: Option<String>,
    /// Print how long each pass took.
    #[arg(long)]
    pub time_passes: bool,
    /// Keep kernel sources in the program file.
    #[arg(long)]
    pub keep_source: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `run`
#[derive(Args, Debug)]
pub struct Run {
    /// The program or model.
    pub model: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inputs: InputArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub build: BuildArgs,
    /// Write each output as an .npy file.
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Write all outputs into one .npz file.
    #[arg(long, value_name = "Y.npz")]
    pub outputs: Option<PathBuf>,
}

/// An oracle.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// ONNX Runtime's CPU provider.
    Ort,
    /// The f64 reference interpreter.
    Reference,
}

/// What to bisect over.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bisect {
    /// The rewrite after which outputs leave the tolerance.
    Passes,
    /// The node with which the compiled beginning of the model leaves the tolerance.
    Nodes,
    /// With --dtype: the node whose half precision takes outputs out of the tolerance.
    Precision,
}

/// `verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// The model or program.
    pub model: PathBuf,
    /// The oracle (default: expected outputs if given, else reference).
    #[arg(long, value_enum)]
    pub against: Option<Oracle>,
    /// For a program: the model it was compiled from, which the oracle runs.
    #[arg(long, value_name = "MODEL.onnx")]
    pub oracle_model: Option<PathBuf>,
    /// Absolute tolerance.
    #[arg(long, value_name = "A")]
    pub atol: Option<f64>,
    /// Relative tolerance.
    #[arg(long, value_name = "R")]
    pub rtol: Option<f64>,
    /// Find the first ONNX node whose value leaves the tolerance.
    #[arg(long)]
    pub per_layer: bool,
    /// Find what breaks the result.
    #[arg(long, value_enum)]
    pub bisect: Option<Bisect>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inputs: InputArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub build: BuildArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ort: OrtArgs,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `perf`
#[derive(Args, Debug)]
pub struct Perf {
    /// The program or model.
    pub model: PathBuf,
    /// Timed runs (default: as many as fit the duration).
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    pub iterations: Option<usize>,
    /// Seconds to measure.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub duration: f64,
    /// Runs before timing.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub warmup: usize,
    /// Print the time of each kernel and op, with their ONNX nodes.
    #[arg(long)]
    pub per_op: bool,
    /// Write a run's steps as a trace in the Trace Event Format, for chrome://tracing or Perfetto.
    #[arg(long, value_name = "T.json")]
    pub trace: Option<PathBuf>,
    /// Write the report as a page that needs nothing else.
    #[arg(long, value_name = "R.html")]
    pub html: Option<PathBuf>,
    /// Measure another implementation interleaved in the same process.
    #[arg(long, value_enum)]
    pub against: Option<Oracle>,
    /// For a program: the model that the other implementation runs.
    #[arg(long, value_name = "MODEL.onnx")]
    pub oracle_model: Option<PathBuf>,
    /// Compare with the JSON of an earlier run.
    #[arg(long, value_name = "B.json")]
    pub baseline: Option<PathBuf>,
    /// With --baseline: exit 1 if the median is slower by more than this.
    #[arg(long, value_name = "5%", requires = "baseline")]
    pub fail_if_slower: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inputs: InputArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub build: BuildArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ort: OrtArgs,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// A stage of the compilation.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The graph after all passes, or after one of them.
    Graph,
    /// What each kernel computes.
    Kernels,
    /// The loops of each kernel.
    Nests,
    /// The text given to the toolchain.
    Source,
    /// The program's manifest.
    Manifest,
}

/// `dump`
#[derive(Args, Debug)]
pub struct Dump {
    /// The model or program.
    pub model: PathBuf,
    /// What to print.
    #[arg(value_enum)]
    pub stage: Stage,
    /// With graph: after this pass (`import` for the graph as imported).
    #[arg(long, value_name = "PASS")]
    pub after: Option<String>,
    /// The target (default: this machine's CPU).
    #[arg(long, default_value = "cpu")]
    pub target: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sizes: SizeArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub build: BuildArgs,
}

/// `cache`
#[derive(Args, Debug)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub verb: CacheVerb,
    /// Directory of the code-object cache.
    #[arg(long, value_name = "DIR", global = true)]
    pub cache: Option<PathBuf>,
}

/// The verbs of `cache`.
#[derive(Subcommand, Debug)]
pub enum CacheVerb {
    /// List size and number of entries.
    Ls,
    /// Remove entries not used for a while.
    Gc {
        /// Remove what was not used for this many days.
        #[arg(long, default_value_t = 30)]
        days: u64,
    },
}
