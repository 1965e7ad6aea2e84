//! The manifest of a program file: what is in it, and the steps that run it. Plain data, JSON in the file.
//!
//! Everything that depends on the sizes of inputs is a [`Dim`] over the program's symbols: those of the input
//! shapes, which are bound when inputs are given, and those that `bind`, `set`, `loop` and `host` steps give
//! values to while the program runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use sardonyx_tensor::{DType, Dim};

/// The version of the format that this crate writes and the newest it reads.
pub const FORMAT: u32 = 1;

/// The index of a buffer in [`TargetProgram::buffers`].
pub type BufferIndex = usize;

/// The whole manifest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format, [`FORMAT`].
    pub format: u32,
    /// The compiler that wrote the file, with its version.
    pub compiler: String,
    /// The name of the model.
    pub model: String,
    /// The symbols of the input shapes, bound when inputs are given.
    pub symbols: Vec<String>,
    /// What must hold between the symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// What a run is given, in order.
    pub inputs: Vec<Port>,
    /// What a run gives, in order.
    pub outputs: Vec<Port>,
    /// Constant tensors, shared by all targets.
    pub weights: Vec<Weight>,
    /// One program per target, the preferred first.
    pub targets: Vec<TargetProgram>,
    /// Inputs with the outputs they should give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
    /// Texts for people: the final graph, kernel sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The blobs of the file. `ProgramBuilder` fills this in.
    #[serde(default)]
    pub blobs: Vec<Blob>,
}

/// Two dimensions that the model needs to be equal, such as two symbols that meet in a broadcast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// One side.
    pub left: Dim,
    /// The other side.
    pub right: Dim,
    /// Where the model needs it, for the error: `node "/layer.0/Add"`.
    pub place: String,
}

/// An input or output of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its ONNX name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape. A symbol in an input shape is bound there; other expressions are checked.
    pub shape: Vec<Dim>,
}

/// A constant tensor: row-major bytes in a blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// Its name in the model, or what the compiler made it from.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The blob that holds it.
    pub blob: usize,
    /// Where it starts in the blob, in bytes; a multiple of 64.
    pub offset: u64,
}

/// A range of the file, aligned to 4096 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Where it starts, from the first aligned byte behind the manifest.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The BLAKE3 sum of its bytes, in hexadecimal.
    pub blake3: String,
}

/// A text kept in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What it is, such as `graph` or `source/kernel_3.ll`.
    pub name: String,
    /// The blob that holds it.
    pub blob: usize,
}

/// Inputs and the outputs they should give, for the self-test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// A weight per input.
    pub inputs: Vec<usize>,
    /// A weight per output.
    pub outputs: Vec<usize>,
    /// Absolute tolerance of floating-point outputs.
    pub atol: f64,
    /// Relative tolerance of floating-point outputs.
    pub rtol: f64,
}

/// The program as compiled for one target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetProgram {
    /// The name of the target, such as `cpu:znver5`.
    pub name: String,
    /// CPU features the code needs, as the Rust standard library calls them: `avx2`, `avx512f`.
    pub features: Vec<String>,
    /// The blobs that hold code objects.
    pub code: Vec<usize>,
    /// The kernels in the code objects.
    pub kernels: Vec<Kernel>,
    /// The buffers that steps read and write.
    pub buffers: Vec<Buffer>,
    /// What a run does.
    pub steps: Vec<Step>,
    /// The placement line that `compile` printed.
    pub placement: String,
    /// The names of the ONNX nodes that steps come from.
    pub origins: Vec<String>,
}

/// A compiled function.
///
/// On the CPU it is `extern "C" fn(args: *const *mut u8, dims: *const i64, begin: i64, end: i64,
/// scratch: *mut u8)` and computes the work items `begin..end` of its grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its name in the code object.
    pub symbol: String,
    /// The index into [`TargetProgram::code`].
    pub code: usize,
    /// The number of buffer arguments.
    pub args: usize,
    /// The number of run-time dimension parameters.
    pub dims: usize,
    /// Bytes of scratch memory per thread, over the symbols `d0`, `d1`, …: the dimension parameters.
    pub scratch: Dim,
}

/// Memory that steps read and write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: Vec<Dim>,
    /// The size in bytes, at least that of the elements.
    pub bytes: Dim,
    /// Where it is.
    pub place: Place,
}

/// Where a buffer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// The memory of an input, which is only read.
    Input(usize),
    /// The memory of an output, written by steps. At most one buffer per output.
    Output(usize),
    /// A weight, which is only read.
    Weight(usize),
    /// A range of the workspace, free for other buffers outside its lifetime.
    ///
    /// Steps are numbered depth-first from 0, a step before those nested in it.
    Workspace {
        /// The first step that uses it.
        first: usize,
        /// The last step that uses it. A buffer that a loop body reads from the iteration before lives as
        /// long as the loop.
        last: usize,
    },
    /// A part of another buffer.
    Alias {
        /// The other buffer.
        of: BufferIndex,
        /// Where it starts there, in bytes.
        offset: Dim,
    },
    /// Memory of its own, sized whenever a symbol of its shape is given a value during the run.
    Late,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Runs a kernel.
    Launch(Launch),
    /// Copies the bytes of `src` over the start of `dst`.
    Copy {
        /// What is copied.
        src: BufferIndex,
        /// What is written, at least as large.
        dst: BufferIndex,
    },
    /// Gives symbols the values of the first elements of an integer buffer.
    Bind {
        /// An integer or `bool` buffer.
        buffer: BufferIndex,
        /// As many symbols as elements are read.
        symbols: Vec<String>,
    },
    /// Gives a symbol a value.
    Set {
        /// The symbol.
        symbol: String,
        /// The value.
        value: Dim,
    },
    /// Runs one of two lists of steps.
    If {
        /// A `bool` buffer of one element.
        condition: BufferIndex,
        /// Run where it is true.
        then: Vec<Step>,
        /// Run where it is false.
        otherwise: Vec<Step>,
    },
    /// Runs steps repeatedly.
    Loop(Box<Loop>),
    /// Runs an operation of the runtime itself.
    Host(Host),
}

/// The launch of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The index into [`TargetProgram::kernels`].
    pub kernel: usize,
    /// The buffer arguments: what it reads, then what it writes.
    pub args: Vec<BufferIndex>,
    /// The run-time dimension parameters, in the kernel's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dims: Vec<Dim>,
    /// The number of work items.
    pub grid: Dim,
    /// What it computes, for profiles: `matmul+add+gelu f32[b*128,3072]`.
    pub label: String,
    /// The ONNX nodes it comes from: indices into [`TargetProgram::origins`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<usize>,
    /// Floating-point operations.
    #[serde(default)]
    pub flops: Dim,
    /// Bytes that have to be read and written at least.
    #[serde(default)]
    pub bytes: Dim,
}

/// A loop: ONNX `Loop` and `Scan`.
///
/// Before each iteration: the trip count and `condition` are checked, `iteration` is written, the slices of
/// `scan_inputs` are copied. Then the body runs; slices of `scan_outputs` are appended; every `carried.next`
/// is copied over its `carried.state`. The state before the first iteration is written by steps before the
/// loop; after the loop the states hold the final values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loop {
    /// The greatest number of iterations; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trip: Option<Trip>,
    /// A `bool` buffer of one element, read before each iteration; false ends the loop. The body's own
    /// condition reaches it through `carried`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<BufferIndex>,
    /// An `i64` buffer of one element that is given the number of the iteration, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<BufferIndex>,
    /// A symbol that is given the number of iterations that were run, after the loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// Values that an iteration hands to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// Tensors of which each iteration is given one slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scan_inputs: Vec<Scan>,
    /// Tensors to which each iteration adds one slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scan_outputs: Vec<Scan>,
    /// The steps of an iteration.
    pub body: Vec<Step>,
}

/// The greatest number of iterations of a loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trip {
    /// The first element of an integer buffer.
    Buffer(BufferIndex),
    /// A value known when the loop starts.
    Dim(Dim),
}

/// A value that an iteration of a loop hands to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// What the body reads.
    pub state: BufferIndex,
    /// What the body writes; may be the same buffer, but not the state of an earlier entry: the copies are
    /// made in order.
    pub next: BufferIndex,
    /// Symbols of the shape of `state`, with the values they are given (over the symbols of the shape of
    /// `next`) before the copy, where the shape changes from one iteration to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resize: Vec<(String, Dim)>,
}

/// A tensor that a loop takes apart or puts together along its first dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// The whole tensor. As a scan output it may be `Late`, with the loop's `count` as first dimension.
    pub whole: BufferIndex,
    /// The slice of one iteration.
    pub slice: BufferIndex,
    /// Whether the first iteration is given, or gives, the last slice.
    #[serde(default)]
    pub reverse: bool,
}

/// An operation that the runtime does itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name in the runtime's registry.
    pub op: String,
    /// The buffers it reads.
    pub inputs: Vec<BufferIndex>,
    /// The buffers it writes; those whose size it decides are `Late`.
    pub outputs: Vec<BufferIndex>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub attrs: Value,
    /// Symbols whose values it decides: each stands alone as a dimension in the shape of an output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
    /// The ONNX nodes it comes from: indices into [`TargetProgram::origins`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<usize>,
}

impl Step {
    /// The lists of steps nested in this one, in the order of their numbers.
    pub fn nested(&self) -> Vec<&[Step]> {
        match self {
            Step::If { then, otherwise, .. } => vec![then, otherwise],
            Step::Loop(inner) => vec![&inner.body],
            _ => Vec::new(),
        }
    }

    /// How many numbers the step takes: itself and all nested in it.
    pub fn count(&self) -> usize {
        1 + self.nested().into_iter().map(count_steps).sum::<usize>()
    }
}

/// How many numbers a list of steps takes.
pub fn count_steps(steps: &[Step]) -> usize {
    steps.iter().map(Step::count).sum()
}

/// Calls `visit` with every step and its number, depth-first, a step before those nested in it.
pub fn walk<'a>(steps: &'a [Step], visit: &mut dyn FnMut(usize, &'a Step)) {
    fn walk_from<'a>(steps: &'a [Step], next: &mut usize, visit: &mut dyn FnMut(usize, &'a Step)) {
        for step in steps {
            visit(*next, step);
            *next += 1;
            step.nested().into_iter().for_each(|steps| walk_from(steps, next, visit));
        }
    }
    walk_from(steps, &mut 0, visit);
}
