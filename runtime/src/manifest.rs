//! The manifest of a program file: what is in it, and the steps that run it. Plain data, JSON in the file.
//!
//! Everything that depends on the sizes of inputs is a [`Dim`] over the program's symbols: those of the input
//! shapes, which are bound when inputs are given, and those that `bind`, `set`, `loop` and `host` steps give
//! values to while the program runs.

mod convolution;
mod library;
mod product;
mod step;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use sardonyx_tensor::{DType, Dim};

pub use convolution::{Bias, Convolution, Image, Weights};
pub use library::LibraryCall;
pub use product::{Matrix, Product};
pub use step::{Carried, Host, Launch, Loop, Scan, Step, Trip, count_steps, walk};

/// The version of the format that this crate writes and the newest it reads.
pub const FORMAT: u32 = 2;

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
    /// The texts of weights, whose elements are their numbers: from 1 on, 0 is the empty text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// One program per target, the preferred first, and more for some sizes.
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

/// A constant tensor: row-major bytes in a blob; of texts their numbers, of lists there is none.
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
    /// The sizes that the program is for, by input symbol. Where there are none it is for all; there is one such
    /// program for every target. Since format 2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, i64>,
    /// CPU features the code needs, as the Rust standard library calls them: `avx2`, `avx512f`.
    pub features: Vec<String>,
    /// The blobs that hold code objects.
    pub code: Vec<usize>,
    /// The kernels in the code objects.
    pub kernels: Vec<Kernel>,
    /// Constants that are made of weights when the target is used. Since format 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packed: Vec<Packed>,
    /// The buffers that steps read and write.
    pub buffers: Vec<Buffer>,
    /// What a run does.
    pub steps: Vec<Step>,
    /// The placement line that `compile` printed.
    pub placement: String,
    /// The names of the ONNX nodes that steps come from.
    pub origins: Vec<String>,
}

impl TargetProgram {
    /// The buffer of each of `count` outputs, where there is one.
    pub fn output_buffers(&self, count: usize) -> Vec<Option<usize>> {
        let mut buffers = vec![None; count];
        for (index, buffer) in self.buffers.iter().enumerate() {
            if let Place::Output(output) = buffer.place
                && let Some(found @ None) = buffers.get_mut(output)
            {
                *found = Some(index);
            }
        }
        buffers
    }
}

/// A constant that is made of a weight: matrices in panels, one after the other, as kernels of the CPU read them. See
/// [`crate::panels`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// The weight.
    pub weight: usize,
    /// The element type of the panels.
    pub dtype: DType,
    /// The matrices.
    pub matrices: Vec<PackedMatrix>,
}

/// A matrix in a weight; the fields are those of [`crate::panels::Matrix`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedMatrix {
    /// Where it begins, in elements.
    pub place: i64,
    /// The weight of `i64` that says where its rows stand.
    pub depth: usize,
    /// The weight of `i64` that says where its columns stand.
    pub columns: usize,
    /// Columns of a panel.
    pub width: usize,
    /// Rows that stand side by side in a panel.
    pub beside: usize,
}

/// A compiled function.
///
/// On a GPU it is a kernel whose parameters are, in this order: a pointer per buffer argument, the run-time
/// dimension parameters as 64-bit integers, and, where `scratch` is not 0, a pointer to the scratch memory of
/// all blocks. The grid of a launch is the number of blocks, in one dimension.
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
    /// Bytes of scratch memory per thread (on a GPU: per block), over the symbols `d0`, `d1`, …: the
    /// dimension parameters.
    pub scratch: Dim,
    /// Threads of a block; 0 on the CPU.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub threads: u32,
    /// Bytes of shared memory per block that a launch has to ask for, beyond what the code declares itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
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
    /// One of [`TargetProgram::packed`], which is only read.
    Packed(usize),
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
