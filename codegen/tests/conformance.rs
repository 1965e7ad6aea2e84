//! Compiled programs against the reference interpreter: the graphs of `conformance/*.ir`, and every
//! pointwise op of the table on every element type. One program serves all sizes of a case.
use sardonyx_codegen::compile::{CompileOptions, compile};
use sardonyx_ir::ops::TABLE;
use sardonyx_ir::{Graph, interp, text};
use sardonyx_runtime::{Device, Program, Session};
use sardonyx_tensor::{Bindings, DType, Tensor};

/// A case: a graph and the sizes it runs at.
struct Case {
    name: String,
    graph: Graph,
    sizes: Vec<Bindings>,
    /// Of outputs, absolute and relative.
    tolerance: Option<f64>,
}

fn session(case: &Case) -> Session {
    let options =
        CompileOptions { model: case.name.clone(), targets: vec!["cpu".into()], ..Default::default() };
    let (bytes, _) = compile(&case.graph, &options)
        .unwrap_or_else(|e| panic!("{}: {e}\n{}", case.name, text::print(&case.graph)));
    let program = Program::from_bytes(bytes).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    program.session(Device::cpu().threads(2)).unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// Runs a case; what differs.
fn check(case: &Case) -> Vec<String> {
    let mut session = session(case);
    let g = &case.graph;
    let mut wrong = Vec::new();
    for sizes in &case.sizes {
        let mut inputs = Vec::new();
        for (k, v) in g.inputs().enumerate() {
            let ty = g.ty(v);
            let shape: Vec<usize> =
                ty.shape.iter().map(|d| d.eval(sizes).expect("a size for every symbol") as usize).collect();
            inputs.push(input(g.input_name(v), ty.dtype, &shape, k as u64 + 1));
        }
        let expected = interp::eval(g, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let named = g.inputs().map(|v| g.input_name(v).to_string()).zip(inputs);
        let actual = match session.run(named) {
            Ok(actual) => actual,
            Err(e) => {
                wrong.push(format!("{} at {sizes:?}: {e}", case.name));
                continue;
            }
        };
        for (k, (a, e)) in actual.iter().zip(&expected).enumerate() {
            if let Some(difference) = differ(a, e, case.tolerance) {
                wrong.push(format!("{} output {k} at {sizes:?}: {difference}", case.name));
            }
        }
    }
    wrong
}

/// Test data; names say where special values are needed: `positive…`, `index<n>…`.
fn input(name: &str, dtype: DType, shape: &[usize], seed: u64) -> Tensor {
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

fn differ(a: &Tensor, e: &Tensor, tolerance: Option<f64>) -> Option<String> {
    if a.dtype() != e.dtype() || a.shape() != e.shape() {
        return Some(format!("{}{:?} instead of {}{:?}", a.dtype(), a.shape(), e.dtype(), e.shape()));
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

fn bindings(text: &str) -> Bindings {
    let mut b = Bindings::default();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').expect("sizes are given as `b=2`");
        b.set(name.trim(), value.trim().parse().expect("a size is a number"));
    }
    b
}

fn parse(name: &str, source: &str) -> Case {
    let header = |key: &str| {
        source.lines().find_map(|l| l.strip_prefix("// ")?.strip_prefix(key)).map(|v| v.trim().to_string())
    };
    let sizes = header("sizes:").map_or(vec![bindings("")], |s| s.split(';').map(bindings).collect());
    let tolerance = header("tolerance:").map(|t| t.parse().expect("a tolerance is a number"));
    let graph = text::parse(source).unwrap_or_else(|e| panic!("{name}: {e}"));
    Case { name: name.to_string(), graph, sizes, tolerance }
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn graphs() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let only = std::env::args().nth(2).unwrap_or_default();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "ir")) {
        let name = file.file_stem().unwrap().to_string_lossy().to_string();
        if !name.contains(&only) {
            continue;
        }
        let source = std::fs::read_to_string(file).unwrap();
        // One file may hold several graphs, separated by lines of dashes.
        for (k, part) in source.split("\n---\n").enumerate() {
            let case = parse(&format!("{name}.{k}"), part);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
            wrong.extend(result.unwrap_or_else(|e| {
                let text = e.downcast_ref::<String>().cloned();
                vec![format!("{}: panic: {}", case.name, text.unwrap_or_default())]
            }));
        }
    }
    report(wrong);
}

#[test]
fn pointwise_ops_on_every_type() {
    let mut sources: Vec<(String, Vec<String>)> = Vec::new();
    for row in TABLE.iter().filter(|r| r.pointwise) {
        for dtype in DType::ALL {
            let mut all = Vec::new();
            let casts: Vec<String> = match row.name() {
                "cast" => DType::ALL.iter().map(|t| format!(" {{to={t}}}")).collect(),
                _ => vec![String::new()],
            };
            for attributes in casts {
                let names: Vec<String> = (0..row.operands.len()).map(|i| format!("x{i}")).collect();
                let inputs = names.iter().enumerate().map(|(i, n)| {
                    let t = if row.name() == "select" && i == 0 { DType::Bool } else { *dtype };
                    format!("%{n}: {t}[{}]", if i % 2 == 0 { "b,7" } else { "7" })
                });
                let list: Vec<String> = names.iter().map(|n| format!("%{n}")).collect();
                all.push(format!(
                    "graph({}) {{ %0 = {}({}){attributes} return %0 }}",
                    inputs.collect::<Vec<_>>().join(", "),
                    row.name(),
                    list.join(", ")
                ));
            }
            sources.push((format!("{} {dtype}", row.name()), all));
        }
    }
    let mut wrong = Vec::new();
    for (name, sources) in sources {
        for source in sources {
            // Types that the op does not take are refused when the graph is read.
            let Ok(graph) = text::parse(&source) else { continue };
            let case = Case { name: name.clone(), graph, sizes: vec![bindings("b=5")], tolerance: None };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
            wrong.extend(result.unwrap_or_else(|e| {
                let text = e.downcast_ref::<String>().cloned();
                vec![format!("{name}: panic: {}", text.unwrap_or_default())]
            }));
        }
    }
    report(wrong);
}

#[test]
fn the_same_graph_gives_the_same_bytes() {
    let source = include_str!("conformance/contraction.ir").split("\n---\n").next().unwrap();
    let bytes = || {
        let case = parse("contraction", source);
        let options = CompileOptions { targets: vec!["cpu:x86-64-v3".into()], ..Default::default() };
        compile(&case.graph, &options).unwrap_or_else(|e| panic!("{e}")).0
    };
    assert!(bytes() == bytes());
}

#[test]
fn nodes_without_a_kernel_are_all_named() {
    let g = text::parse(
        "graph(%x: f32[4,4], %y: f32[3,3]) { %0 = det(%x) %1 = neg(%y) %2 = det(%1) return %0, %2 }",
    )
    .unwrap();
    let options = CompileOptions { targets: vec!["cpu".into()], ..Default::default() };
    let Err(e) = compile(&g, &options) else { panic!("a determinant has no kernel") };
    let lines: Vec<String> = e.to_string().lines().map(String::from).collect();
    assert!(lines[0].starts_with("2 of"), "{e}");
    assert!(lines[1].contains("det f32[]") && lines[2].contains("det f32[]"), "{e}");
}
