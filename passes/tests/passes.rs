//! The file tests of the passes: every `passes/<pass>/*.ir` is a graph with a header
//!
//! ```text
//! // passes: algebra, fold       the passes to run, in order
//! // tolerance: 1e-4             largest difference of a value, relative to 1 + |value|; 1e-5 if not given
//! // sizes: b=2,5                the two values of a symbol, where any two will not do
//! // dtype: f16                  what is put in place of f32
//! // channels                    images of few channels are filled up
//! // same                        the graph does not change
//! ```
//! For each: the text form round-trips, the verifier accepts the graph before and after, reference values on
//! random inputs are the same before and after at two sizes of every symbol, running the passes again changes
//! nothing, and the result with the list of rewrites is a snapshot.
#![allow(clippy::unwrap_used)]
use sardonyx_ir::{Graph, interp, text, verify};
use sardonyx_passes::{Driver, Options, PASSES, pass};
use sardonyx_tensor::{Bindings, DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

struct Case {
    passes: Vec<String>,
    tolerance: f64,
    sizes: BTreeMap<String, [i64; 2]>,
    dtype: Option<DType>,
    channels: bool,
    same: bool,
    graph: Graph,
}

fn read(path: &Path) -> Case {
    let source = std::fs::read_to_string(path).unwrap();
    let graph = text::parse(&source).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let sizes = BTreeMap::new();
    let mut case =
        Case { passes: vec![], tolerance: 1e-5, sizes, dtype: None, channels: false, same: false, graph };
    for line in source.lines().map_while(|l| l.strip_prefix("// ")) {
        match line.split_once(": ") {
            Some(("passes", names)) => case.passes = names.split(", ").map(str::to_string).collect(),
            Some(("tolerance", t)) => case.tolerance = t.parse().unwrap(),
            Some(("dtype", name)) => case.dtype = Some(name.parse().unwrap()),
            Some(("sizes", list)) => {
                for item in list.split("; ") {
                    let (name, values) = item.split_once('=').unwrap();
                    let values: Vec<i64> = values.split(',').map(|v| v.trim().parse().unwrap()).collect();
                    case.sizes.insert(name.to_string(), [values[0], values[1]]);
                }
            }
            _ if line == "same" => case.same = true,
            _ if line == "channels" => case.channels = true,
            _ => {}
        }
    }
    assert!(!case.passes.is_empty(), "{}: no passes", path.display());
    case
}

fn round_trip(g: &Graph) {
    let printed = text::print(g);
    let again = text::parse(&printed).unwrap_or_else(|e| panic!("{e} in\n{printed}"));
    assert_eq!(printed, text::print(&again));
    verify::verify(g).unwrap_or_else(|e| panic!("{e} in\n{printed}"));
}

/// The outputs on random inputs, with every symbol at its first or second size.
fn outputs(g: &Graph, case: &Case, which: usize) -> Vec<Tensor> {
    let symbols: BTreeSet<String> =
        g.inputs().flat_map(|v| g.ty(v).shape.iter().flat_map(|d| d.symbols()).collect::<Vec<_>>()).collect();
    let mut bindings = Bindings::new();
    for (i, s) in symbols.iter().enumerate() {
        let free = [2 + i as i64, 5 + i as i64 * 2];
        bindings.set(s, case.sizes.get(s).unwrap_or(&free)[which]);
    }
    let inputs: Vec<Tensor> = g
        .inputs()
        .enumerate()
        .map(|(i, v)| {
            let shape: Vec<usize> =
                g.ty(v).shape.iter().map(|d| usize::try_from(d.eval(&bindings).unwrap()).unwrap()).collect();
            interp::sample(g.ty(v).dtype, &shape, i as u64 + 10 * which as u64)
        })
        .collect();
    interp::eval(g, &inputs).unwrap_or_else(|e| panic!("{e} in\n{g}"))
}

fn assert_close(before: &[Tensor], after: &[Tensor], tolerance: f64) {
    for (i, (b, a)) in before.iter().zip(after).enumerate() {
        assert_eq!((b.dtype(), b.shape()), (a.dtype(), a.shape()), "output {i}");
        for (k, (x, y)) in b.to_f64s().into_iter().zip(a.to_f64s()).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + x.abs());
            assert!(same, "output {i}[{k}]: {x} before, {y} after");
        }
    }
}

/// Runs the passes of a case; the rules that applied, in order.
fn run(case: &Case, g: &mut Graph) -> Vec<&'static str> {
    let options = Options { dtype: case.dtype, channels: case.channels, ..Options::default() };
    let mut driver = Driver::new(&options);
    for name in &case.passes {
        driver.run(pass(name).unwrap_or_else(|| panic!("no pass {name}")), g);
    }
    options.trace.rewrites().into_iter().map(|r| r.rule).collect()
}

fn check(path: &Path) -> (String, Vec<&'static str>) {
    let case = read(path);
    round_trip(&case.graph);
    let mut g = case.graph.clone();
    let rules = run(&case, &mut g);
    round_trip(&g);
    for which in [0, 1] {
        assert_close(&outputs(&case.graph, &case, which), &outputs(&g, &case, which), case.tolerance);
    }
    let mut twice = g.clone();
    let again = run(&case, &mut twice);
    assert!(again.is_empty(), "{}: the second time: {again:?}\n{g}\n{twice}", path.display());
    assert_eq!(case.same, rules.is_empty(), "{}: {rules:?}", path.display());
    let mut shown = String::new();
    for r in &rules {
        writeln!(shown, "// {r}").unwrap();
    }
    (shown + &text::print(&g), rules)
}

#[test]
fn files() {
    insta::glob!("passes/*/*.ir", |path| {
        let (shown, _) = check(path);
        insta::assert_snapshot!(shown);
    });
}

#[test]
fn every_rule_is_exercised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes");
    let mut seen = BTreeSet::new();
    for dir in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(dir.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "ir") {
                seen.extend(run(&read(&path), &mut read(&path).graph));
            }
        }
    }
    let all: BTreeSet<&str> = PASSES.iter().flat_map(|p| (p.rules)()).collect();
    let missing: Vec<&&str> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "no file exercises {missing:?}");
}
