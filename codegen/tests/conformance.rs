//! Compiled programs against the reference interpreter: the graphs of `conformance/*.ir`, and every
//! pointwise op of the table on every element type. One program serves all sizes of a case.
#[path = "common/cases.rs"]
mod cases;

use cases::{Case, bindings, differ, input};
use sardonyx_codegen::compile::{CompileOptions, compile};
use sardonyx_codegen::toolchain::gpu::Tools;
use sardonyx_ir::ops::TABLE;
use sardonyx_ir::{interp, text};
use sardonyx_runtime::{Device, Program, Session};
use sardonyx_tensor::DType;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The device that programs run on, the CPU or what `SARDONYX_DEVICE` names (`cuda:0`), and its target.
fn device() -> (Device, String) {
    let name = std::env::var("SARDONYX_DEVICE").unwrap_or_else(|_| "cpu".into());
    let device: Device = name.parse().unwrap_or_else(|e| panic!("SARDONYX_DEVICE={name}: {e}"));
    let info = device.info().unwrap_or_else(|e| panic!("{e}"));
    let target = match (info, device.as_gpu()) {
        (Some(info), Some((platform, _))) => format!("{}:{}", platform.name(), info.arch),
        _ => "cpu".into(),
    };
    (device.threads(2), target)
}

fn session(case: &Case) -> Session {
    let (device, target) = device();
    let tools = Tools { nvrtc: std::env::var_os("NVRTC_DYLIB_PATH").map(Into::into), ..Tools::default() };
    let (model, targets) = (case.name.clone(), vec![target]);
    // `auto`: by the vendor's library what it is faster at.
    let libraries = std::env::var_os("SARDONYX_LIBRARIES").is_some_and(|value| value == "auto");
    let options = CompileOptions { model, targets, libraries, tools: Some(&tools), ..Default::default() };
    let (bytes, _) = compile(&case.graph, &options)
        .unwrap_or_else(|e| panic!("{}: {e}\n{}", case.name, text::print(&case.graph)));
    let program = Program::from_bytes(bytes).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    program.session(device).unwrap_or_else(|e| panic!("{}: {e}", case.name))
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

/// The same, where a panic is a difference too.
fn check_safely(case: &Case) -> Vec<String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(case)));
    result.unwrap_or_else(|e| {
        let text = e.downcast_ref::<String>().cloned();
        vec![format!("{}: panic: {}", case.name, text.unwrap_or_default())]
    })
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether this build compiles for the device.
fn can_compile() -> bool {
    cfg!(feature = "cpu") || device().0.as_gpu().is_some()
}

#[test]
fn graphs() {
    if !can_compile() {
        return eprintln!("skipped: this build has no LLVM");
    }
    let mut wrong = Vec::new();
    for case in cases::chosen() {
        wrong.extend(check_safely(&case));
    }
    report(wrong);
}

#[test]
fn pointwise_ops_on_every_type() {
    if !can_compile() {
        return eprintln!("skipped: this build has no LLVM");
    }
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
                    format!("%{n}: {t}[{}]", if i % 2 == 0 { "b,n" } else { "n" })
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
    // Most of the time goes into compiling, on all cores.
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((name, sources)) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found: Vec<String> =
                sources.iter().flat_map(|source| check_pointwise(name, source)).collect();
            wrong.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    report(wrong.into_inner().unwrap());
}

/// What differs for an op on a type, if it takes that type.
fn check_pointwise(name: &str, source: &str) -> Vec<String> {
    // Types that the op does not take are refused when the graph is read.
    let Ok(graph) = text::parse(source) else { return Vec::new() };
    // Less than a vector along the last axis, and vectors alone.
    let sizes = vec![bindings("b=5,n=7"), bindings("b=2,n=32")];
    check_safely(&Case { name: name.into(), graph, sizes, tolerance: None })
}

#[cfg(feature = "cpu")]
#[test]
fn the_same_graph_gives_the_same_bytes() {
    let source = include_str!("conformance/contraction.ir").split("\n---\n").next().unwrap();
    let bytes = || {
        let case = cases::parse("contraction", source);
        let options = CompileOptions { targets: vec!["cpu:x86-64-v3".into()], ..Default::default() };
        compile(&case.graph, &options).unwrap_or_else(|e| panic!("{e}")).0
    };
    assert!(bytes() == bytes());
}

#[cfg(feature = "cpu")]
#[test]
fn nodes_without_a_kernel_are_all_named() {
    let g = text::parse(
        "graph(%x: f32[4,2], %y: f32[3,2]) { %0 = dft(%x) {axis=0, length=4} %1 = neg(%y) %2 = dft(%1) {axis=0, length=3} return %0, %2 }",
    )
    .unwrap();
    let options = CompileOptions { targets: vec!["cpu".into()], ..Default::default() };
    let Err(e) = compile(&g, &options) else { panic!("a transform has no kernel") };
    let lines: Vec<String> = e.to_string().lines().map(String::from).collect();
    assert!(lines[0].starts_with("2 of"), "{e}");
    assert!(lines[1].contains("dft f32[4,2]") && lines[2].contains("dft f32[3,2]"), "{e}");
}
