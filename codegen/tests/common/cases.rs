//! The cases of conformance files: graphs, sizes, data and what counts as equal.
#![allow(dead_code, clippy::unwrap_used)]
use sardonyx_ir::{Graph, interp, text};
use sardonyx_tensor::{Bindings, DType, Tensor};

/// A case: a graph and the sizes it runs at.
pub struct Case {
    /// `file.number`.
    pub name: String,
    /// What is computed.
    pub graph: Graph,
    /// One set of symbols per run.
    pub sizes: Vec<Bindings>,
    /// Of outputs, absolute and relative.
    pub tolerance: Option<f64>,
}

/// The cases of the files of `conformance/` whose names contain `only`. One file may hold several graphs,
/// separated by lines of dashes.
pub fn of_files(only: &str) -> Vec<Case> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "ir")) {
        let name = file.file_stem().unwrap().to_string_lossy().to_string();
        let source = std::fs::read_to_string(file).unwrap();
        if name.contains(only) {
            let parts = source.split("\n---\n").enumerate();
            cases.extend(parts.map(|(k, part)| parse(&format!("{name}.{k}"), part)));
        }
    }
    assert!(!cases.is_empty(), "no file of {directory} has a name with `{only}`");
    cases
}

/// The cases of the files that `SARDONYX_ONLY` names a part of; without it, of all.
pub fn chosen() -> Vec<Case> {
    of_files(&std::env::var("SARDONYX_ONLY").unwrap_or_default())
}

/// Test data; names say where special values are needed: `positive…`, `index<n>…`.
pub fn input(name: &str, dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let t = interp::sample(dtype, shape, seed);
    if name.starts_with("positive") {
        return Tensor::from_f64s(
            dtype,
            shape,
            t.to_f64s().iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>(),
        );
    }
    match name.strip_prefix("index").and_then(|n| n.parse::<i64>().ok()) {
        Some(n) => Tensor::from_i64s(
            dtype,
            shape,
            (0..t.len() as i64).map(|i| (i * 7 + seed as i64) % (2 * n) - n).collect::<Vec<_>>(),
        ),
        None => t,
    }
}

pub fn differ(a: &Tensor, e: &Tensor, tolerance: Option<f64>) -> Option<String> {
    if a.dtype() != e.dtype() || a.shape() != e.shape() {
        return Some(format!("{}{:?} instead of {}{:?}", a.dtype(), a.shape(), e.dtype(), e.shape()));
    }
    if e.dtype().is_reference() {
        return (a != e).then(|| format!("{a:?} instead of {e:?}"));
    }
    if !e.dtype().is_float() {
        let (a, e) = (a.to_i128s(), e.to_i128s());
        let at = a.iter().zip(&e).position(|(a, e)| a != e)?;
        return Some(format!("element {at} is {} instead of {} (of {})", a[at], e[at], e.len()));
    }
    let tolerance = tolerance.unwrap_or(match e.dtype() {
        DType::F64 => 1e-9,
        DType::F32 => 2e-5,
        DType::F16 => 2e-3,
        DType::BF16 => 1.6e-2,
        _ => 0.26,
    });
    let (a, e) = (a.to_f64s(), e.to_f64s());
    let close =
        |a: f64, e: f64| a == e || (a.is_nan() && e.is_nan()) || (a - e).abs() <= tolerance * (1.0 + e.abs());
    let at = a.iter().zip(&e).position(|(&a, &e)| !close(a, e))?;
    let count = a.iter().zip(&e).filter(|(a, e)| !close(**a, **e)).count();
    Some(format!("element {at} is {} instead of {} ({count} of {} differ)", a[at], e[at], e.len()))
}

pub fn bindings(text: &str) -> Bindings {
    let mut b = Bindings::default();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').expect("sizes are given as `b=2`");
        b.set(name.trim(), value.trim().parse().expect("a size is a number"));
    }
    b
}

pub fn parse(name: &str, source: &str) -> Case {
    let header = |key: &str| {
        source.lines().find_map(|l| l.strip_prefix("// ")?.strip_prefix(key)).map(|v| v.trim().to_string())
    };
    let sizes = header("sizes:").map_or(vec![bindings("")], |s| s.split(';').map(bindings).collect());
    let tolerance = header("tolerance:").map(|t| t.parse().expect("a tolerance is a number"));
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{name}: {e}"));
    Case { name: name.to_string(), graph, sizes, tolerance }
}
