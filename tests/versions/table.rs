//! The table of ONNX's operators, their versions and the types they take (`table.txt`, which `table.py` prints).
use super::{LAST, OLDEST};
use sardonyx_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};

/// A version of an operator.
pub struct Version {
    /// The first opset at which it holds, and the last one that is tested.
    pub since: i64,
    pub last: i64,
    /// Whether the operator is gone from this version on.
    pub gone: bool,
    /// What the operand of [`Operator::place`] may be.
    pub types: BTreeSet<DType>,
}

/// An operator.
pub struct Operator {
    /// The operand whose type is told; none is the first result.
    pub place: Option<usize>,
    pub versions: Vec<Version>,
}

/// The operators of the standard domain by name.
pub type Table = BTreeMap<&'static str, Operator>;

pub fn table() -> Table {
    include_str!("table.txt").lines().filter_map(operator).collect()
}

/// What a line says, if it is of the standard domain.
fn operator(line: &'static str) -> Option<(&'static str, Operator)> {
    let mut words = line.strip_prefix("ai.onnx ")?.split(' ');
    let (name, place) = (words.next()?, words.next()?.parse().ok());
    let mut versions: Vec<Version> = words.map(version).collect();
    for i in 1..versions.len() {
        versions[i - 1].last = versions[i].since - 1;
    }
    Some((name, Operator { place, versions }))
}

fn version(word: &str) -> Version {
    let (since, types) = word.split_once(':').unwrap_or((word, ""));
    let since = since.trim_end_matches('!').parse::<i64>().expect("a version").max(OLDEST);
    let types = types.split(',').filter(|t| !t.is_empty());
    Version {
        since,
        last: LAST.max(since),
        gone: word.ends_with('!'),
        types: types.map(|t| t.parse().unwrap_or_else(|_| panic!("the type {t}"))).collect(),
    }
}
