//! The steps of a program.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use sardonyx_tensor::Dim;

#[cfg(doc)]
use super::TargetProgram;
use super::{BufferIndex, Constraint, LibraryCall};

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
    /// Fails unless two sizes that the run decides are equal.
    Check(Constraint),
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
    /// On a GPU: what a library may compute in place of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryCall>,
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
    /// The symbols that this step itself gives values to.
    pub fn defines(&self) -> Vec<&str> {
        match self {
            Step::Bind { symbols, .. } => symbols.iter().map(String::as_str).collect(),
            Step::Set { symbol, .. } => vec![symbol],
            Step::Loop(inner) => {
                let sizes = inner.carried.iter().flat_map(|c| &c.resize).map(|(name, _)| name.as_str());
                inner.count.as_deref().into_iter().chain(sizes).collect()
            }
            Step::Host(host) => host.binds.iter().map(String::as_str).collect(),
            Step::Launch(_) | Step::Copy { .. } | Step::Check(_) | Step::If { .. } => Vec::new(),
        }
    }

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
