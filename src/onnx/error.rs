//! Why a model cannot be imported.
use sardonyx_tensor::DType;
use std::fmt;
use std::path::PathBuf;

/// Why a model cannot be imported. Every message names the file, and what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{}: {source}", .file.display())]
    Read {
        /// The model or its external data.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no ONNX model.
    #[error("{}: not an ONNX model: {reason}\nhint: the file may be truncated, or only a pointer to a large file", .file.display())]
    Decode {
        /// The model.
        file: PathBuf,
        /// Where reading failed.
        reason: String,
    },
    /// The model as a whole breaks the rules of the format.
    #[error("{}: {reason}{}", .file.display(), .hint.as_ref().map(|h| format!("\nhint: {h}")).unwrap_or_default())]
    Model {
        /// The model.
        file: PathBuf,
        /// Which rule.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Nodes that cannot be imported: all of them at once.
    #[error("{}: {}", .file.display(), listed(.issues))]
    Nodes {
        /// The model.
        file: PathBuf,
        /// One entry a node, in graph order.
        issues: Vec<NodeIssue>,
    },
}

/// Why a node cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIssue {
    /// The node's name; that of its first output where it has none.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Its domain; `ai.onnx` for the standard one.
    pub domain: String,
    /// The version of the domain that the model asks for.
    pub opset: i64,
    /// The element types of the operands that are tensors.
    pub dtypes: Vec<DType>,
    /// What is missing or wrong.
    pub reason: String,
    /// Whether the op would have to be written; otherwise the node itself is wrong.
    pub unsupported: bool,
}

impl fmt::Display for NodeIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtypes: Vec<&str> = self.dtypes.iter().map(|d| d.name()).collect();
        let NodeIssue { node, op, domain, opset, reason, .. } = self;
        write!(f, "{op} `{node}` ({domain} {opset}; {}): {reason}", dtypes.join(", "))
    }
}

fn listed(issues: &[NodeIssue]) -> String {
    let unsupported = issues.iter().filter(|i| i.unsupported).count();
    let mut text = match (unsupported, issues.len() - unsupported) {
        (n, 0) => format!("{n} unsupported node{}", plural(n)),
        (0, n) => format!("{n} node{} cannot be imported", plural(n)),
        (a, b) => format!("{a} unsupported node{}, {b} that cannot be imported", plural(a)),
    };
    for issue in issues {
        text.push_str(&format!("\n  {issue}"));
    }
    text
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Why the import of one node stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The op, or this use of it, is not there.
    Unsupported(String),
    /// The node breaks the op's rules.
    Invalid(String),
    /// An operand comes from a node that could not be imported; that one is reported.
    Missing,
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Invalid(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Fault {
        Fault::Invalid(reason.into())
    }
}

/// A use of an op that is not there.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

/// A node that breaks the op's rules.
pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(reason.into()))
}
