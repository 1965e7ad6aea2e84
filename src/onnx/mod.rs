//! The importer: ONNX files become graphs.
//!
//! `file` and `tensor` read the format, `sort` orders nodes, `import` walks graphs, functions and
//! sub-graphs, `context` is what an import function sees of its node, `ops/` is the table of operators.
//! Shape arithmetic is resolved here through the graph's facts; what only the run knows gets a new symbol.
mod attributes;
mod build;
mod context;
mod data;
mod error;
mod file;
mod functions;
mod import;
mod inputs;
mod kind;
mod ops;
#[allow(missing_docs)]
mod proto;
mod scope;
mod sort;
mod tensor;

pub use error::{ImportError, NodeIssue};
pub use inputs::ImportOptions;
pub use kind::Kind;
pub use ops::supported;

use sardonyx_ir::Graph;
use sardonyx_tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// An imported model.
#[derive(Debug, Clone)]
pub struct Model {
    /// The graph; inputs and outputs have the model's names.
    pub graph: Graph,
    /// The name of the model's graph.
    pub name: String,
    /// Who made the file: name and version.
    pub producer: String,
    /// The version of the file format.
    pub ir_version: i64,
    /// The operator sets the file declares: domain (`ai.onnx` for the standard one) and version.
    pub opsets: BTreeMap<String, i64>,
    /// What the file says about its inputs and outputs, by name, where it says something.
    pub descriptions: BTreeMap<String, String>,
    /// How often each operator occurs, sub-graphs and functions included; other domains as `domain::Op`.
    pub operators: BTreeMap<String, usize>,
    /// What the inputs are, in order; sequences and optionals are lists in the graph.
    pub input_kinds: Vec<Kind>,
    /// What the outputs are, in order.
    pub output_kinds: Vec<Kind>,
    /// The number of elements in initializers.
    pub parameters: u64,
}

/// Reads a model from a file. Weights stay in the file, which is mapped: it should not change meanwhile.
///
/// # Errors
/// When the file or its external data cannot be read, is broken, or holds nodes that are not supported; all
/// of those are named at once.
pub fn import(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Model, ImportError> {
    let path = path.as_ref();
    let (model, files) = file::read(path)?;
    import::model(model, files, path, options)
}

/// As [`import`], of bytes in memory; a model with external data cannot be read so.
///
/// # Errors
/// As of [`import`].
pub fn import_bytes(bytes: Vec<u8>, options: &ImportOptions) -> Result<Model, ImportError> {
    let name = Path::new("the model");
    let (model, files) = file::read_bytes(bytes.into(), name)?;
    import::model(model, files, name, options)
}

/// Reads a tensor of the format's own `.pb` files, such as those of `test_data_set_0`.
///
/// # Errors
/// When the file cannot be read or holds no tensor of a known type.
pub fn read_tensor(path: impl AsRef<Path>) -> Result<(String, Tensor), ImportError> {
    read_value(path, &Kind::Unknown)
}

/// As [`read_tensor`], of a file that holds a value of this kind: a list for a sequence, a list of one item or
/// none for an optional.
///
/// # Errors
/// As of [`read_tensor`].
pub fn read_value(path: impl AsRef<Path>, kind: &Kind) -> Result<(String, Tensor), ImportError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { file: path.into(), source })?;
    decoded(bytes, path, kind)
}

/// As [`read_tensor`], of bytes in memory.
///
/// # Errors
/// As of [`read_tensor`].
pub fn tensor_from_bytes(bytes: Vec<u8>) -> Result<(String, Tensor), ImportError> {
    decoded(bytes, Path::new("the tensor"), &Kind::Unknown)
}

fn decoded(bytes: Vec<u8>, path: &Path, kind: &Kind) -> Result<(String, Tensor), ImportError> {
    data::decoded(bytes.into(), kind).map_err(|reason| ImportError::Decode { file: path.into(), reason })
}
