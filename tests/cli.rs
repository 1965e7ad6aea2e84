//! The command line as a user meets it: what it prints and the exit codes (0 good, 1 mismatch, 2 cannot
//! compile, 3 run or device error, 4 usage).
#![cfg(feature = "cpu")]
use assert_cmd::Command;
use onnx_protobuf::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto};
use protobuf::{Message, MessageField};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/small/bert_base.ts17.onnx");
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/small/bert_base.ts17.npz");

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn sardonyx(args: &[&str]) -> Said {
    let mut command = Command::cargo_bin("sardonyx").expect("the command should be built");
    let cache = std::env::temp_dir().join("sardonyx-test-cache");
    let output = command.env("XDG_CACHE_HOME", cache).args(args).output().expect("the command should run");
    Said {
        code: output.status.code().expect("the command should not be killed"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command that should end with this code and say this on stdout or stderr.
fn check(args: &[&str], code: i32, says: &str) -> Said {
    let said = sardonyx(args);
    let all = format!("{args:?}: exit {}\n{}\n{}", said.code, said.out, said.err);
    assert_eq!(said.code, code, "{all}");
    assert!(said.out.contains(says) || said.err.contains(says), "`{says}` is not in\n{all}");
    assert!(!said.err.contains("panicked"), "{all}");
    said
}

fn program(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("m.sdx");
    check(&["compile", MODEL, "-o", text(&path)], 0, "placement: cpu:");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path should be UTF-8")
}

#[test]
fn usage_errors_end_with_4() {
    check(&["frobnicate"], 4, "unrecognized subcommand");
    check(&["compile", MODEL], 4, "--output");
    check(&["run", MODEL, "--dim", "batch"], 4, "expected NAME=N");
    check(&["run", MODEL, "--dim", "batch=1,8"], 4, "is for `compile`");
    check(&["compile", MODEL, "-o", "never.sdx", "--dim", "batch=1,x"], 4, "expected NAME=N");
    check(&["run", MODEL, "--input-shape", "x=1xa"], 4, "expected NAME=1x3x224x224");
    check(&["run", MODEL, "--input", "nobody=3"], 4, "nobody");
    check(&["compile", MODEL, "-o", "never.sdx", "--dump-after", "nothing"], 4, "the passes are");
    check(&["--help"], 0, "Usage");
}

#[test]
fn a_model_is_inspected_compiled_run_and_verified() {
    let dir = TempDir::new().expect("a temporary folder");
    let said = check(&["inspect", MODEL, "--json"], 0, "opsets");
    let json: serde_json::Value =
        serde_json::from_str(&said.out).expect("stdout should be one JSON document");
    assert!(json["parameters"].as_u64().is_some_and(|n| n > 0) && json["inputs"].is_array());

    let sdx = program(&dir);
    let again = dir.path().join("again.sdx");
    check(&["compile", MODEL, "-o", text(&again)], 0, "from the cache");
    let bytes = |p: &Path| std::fs::read(p).expect("the program should be there");
    assert_eq!(bytes(&sdx), bytes(&again), "the same model should give the same bytes");

    let npz = dir.path().join("y.npz");
    check(&["run", text(&sdx), "--inputs", DATA, "--outputs", text(&npz)], 0, "f32[");
    assert!(npz.exists());
    let said = check(&["verify", text(&sdx), "--inputs", DATA], 0, "PASS");
    assert!(said.out.lines().last().is_some_and(|l| l.starts_with("PASS")));
    let said = check(
        &["verify", MODEL, "--against", "reference", "--dim", "batch=2", "--dim", "seq=7"],
        0,
        "cosine",
    );
    assert!(said.out.lines().last().is_some_and(|l| l.starts_with("PASS")));
    check(&["verify", MODEL, "--inputs", DATA, "--atol", "0", "--rtol", "0"], 1, "FAIL");
    check(&["verify", MODEL, "--per-layer", "--inputs", DATA], 0, "PASS");
}

#[test]
fn a_program_has_code_for_some_sizes() {
    let dir = TempDir::new().expect("a temporary folder");
    let path = dir.path().join("sizes.sdx");
    let said = check(
        &["compile", MODEL, "-o", text(&path), "--dim", "batch=1,2", "--dim", "seq=8,9"],
        0,
        " at batch=2,seq=9 ",
    );
    assert_eq!(said.out.matches("placement: cpu:").count(), 5, "{}", said.out);
    for dims in [["batch=2", "seq=9"], ["batch=3", "seq=9"]] {
        let verify = ["verify", text(&path), "--oracle-model", MODEL, "--against", "reference"];
        check(&[&verify[..], &["--dim", dims[0], "--dim", dims[1]]].concat(), 0, "PASS");
    }
    check(&["compile", MODEL, "-o", text(&path), "--dim", "height=1,2"], 2, "there are: batch, seq");
}

#[test]
fn bisection_names_what_leaves_the_tolerance() {
    let exact = ["--inputs", DATA, "--against", "reference", "--rtol", "0", "--atol"];
    let verify = |over: &[&str], atol: &str, code, says| {
        check(&[&["verify", MODEL, "--bisect"], over, &exact, &[atol]].concat(), code, says)
    };
    verify(&["passes"], "1e-3", 0, "nothing to bisect");
    verify(&["passes"], "0", 1, "wrong without any rewrite");
    verify(&["nodes"], "1e-3", 0, "nothing to bisect");
    // The first node whose f32 is not the reference's.
    let said = verify(&["nodes"], "0", 1, "the program is wrong from node");
    assert!(said.err.contains("the first wrong one is in"));
    verify(&["precision"], "1e-3", 4, "give --dtype");
    let said = verify(&["precision", "--dtype", "fp16"], "1e-4", 1, "f16 breaks the result from node");
    assert!(said.out.lines().last().is_some_and(|l| l.starts_with("FAIL")));
    verify(&["precision", "--dtype", "fp16"], "1", 0, "nothing to bisect");
}

#[test]
fn images_are_inputs() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/small/mobilenet_v3_large.ts17.onnx");
    let dir = TempDir::new().expect("a temporary folder");
    let (path, npz) = (dir.path().join("grey.png"), dir.path().join("y.npz"));
    image::RgbImage::from_pixel(40, 30, image::Rgb([51, 102, 204])).save(&path).expect("a writable folder");
    let input = format!("input={}", text(&path));
    let arguments = ["run", model, "--input", &input, "--input-shape", "input=1x3x64x64"];
    check(&[&arguments[..], &["--outputs", text(&npz)]].concat(), 0, "f32[1");
    check(&[&arguments[..], &["--std", "1,2"]].concat(), 4, "--std has 2 numbers for 3 channels");
    check(&[&arguments[..], &["--image-layout", "nhwc"]].concat(), 4, "is --image-layout right?");
    std::fs::write(&path, b"no image").expect("a writable folder");
    check(&arguments, 4, "grey.png");
}

#[test]
fn perf_prints_a_stable_document() {
    let said =
        check(&["perf", MODEL, "--inputs", DATA, "--iterations", "3", "--per-op", "--json"], 0, "median");
    let json: serde_json::Value =
        serde_json::from_str(&said.out).expect("stdout should be one JSON document");
    assert_eq!(json["run"]["runs"], 3);
    assert!(json["kernels"].as_array().is_some_and(|k| !k.is_empty() && k[0]["origins"].is_array()));
    let dir = TempDir::new().expect("a temporary folder");
    let (trace, page) = (dir.path().join("t.json"), dir.path().join("r.html"));
    let files = ["--trace", text(&trace), "--html", text(&page)];
    let brief =
        check(&[&["perf", MODEL, "--inputs", DATA, "--iterations", "3"], &files[..]].concat(), 0, "median");
    assert!(!brief.out.contains("ONNX nodes"), "a table by kernel comes with --per-op alone");
    let trace = std::fs::read_to_string(trace).expect("the trace should be there");
    let events = serde_json::from_str::<serde_json::Value>(&trace).expect("the trace should be JSON");
    let events = events["traceEvents"].as_array().expect("the trace should have events");
    assert_eq!(events.len(), json["kernels"].as_array().map_or(0, Vec::len));
    let ends = |e: &serde_json::Value| Some(e["ts"].as_f64()? + e["dur"].as_f64()?);
    assert!(events.windows(2).all(|e| ends(&e[0]) <= e[1]["ts"].as_f64().map(|t| t + 1e-6)));
    let page = std::fs::read_to_string(page).expect("the page should be there");
    assert!(page.contains("\"label\":\"") && !page.contains("{{report}}"));
    let baseline = dir.path().join("b.json");
    let fast = said.out.replace("\"median\": ", "\"median\": 0.0000000001, \"was\": ");
    std::fs::write(&baseline, fast).expect("the baseline should be writable");
    let args = [
        "perf",
        MODEL,
        "--inputs",
        DATA,
        "--iterations",
        "3",
        "--baseline",
        text(&baseline),
        "--fail-if-slower",
        "5%",
    ];
    check(&args, 1, "against the baseline");
}

#[test]
fn every_stage_is_dumped() {
    check(&["dump", MODEL, "graph"], 0, "attention(");
    check(&["dump", MODEL, "graph", "--after", "import"], 0, "softmax(");
    check(&["dump", MODEL, "kernels"], 0, "matmul");
    check(&["dump", MODEL, "nests"], 0, "nest ");
    check(&["dump", MODEL, "source"], 0, "define ");
    check(&["dump", MODEL, "manifest"], 0, "\"steps\"");
    check(&["dump", MODEL, "graph", "--after", "nothing"], 4, "the stages are");
    let dir = TempDir::new().expect("a temporary folder");
    let (sdx, dot) = (dir.path().join("m.sdx"), dir.path().join("dot"));
    let args =
        ["compile", MODEL, "-o", text(&sdx), "--keep-source", "--time-passes", "--emit", "dot", text(&dot)];
    check(&args, 0, "rewrites");
    assert!(dot.join("graph.dot").exists());
    check(&["dump", text(&sdx), "graph"], 0, "attention(");
    check(&["dump", text(&sdx), "source"], 0, "define ");
}

#[test]
fn lists_are_printed() {
    check(&["ops"], 0, "Conv");
    check(&["targets"], 0, "cpu:x86-64-v3");
    check(&["doctor"], 0, "LLVM");
    check(&["completions", "bash"], 0, "sardonyx");
    let dir = TempDir::new().expect("a temporary folder");
    check(&["cache", "ls", "--cache", text(dir.path())], 0, "0 objects");
    check(&["cache", "gc", "--cache", text(dir.path())], 0, "removed 0 objects");
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let dir = TempDir::new().expect("a temporary folder");
    let sdx = program(&dir);
    check(&["run", text(&sdx), "--device", "hip:0"], 3, "hip:0");
    check(&["run", text(&sdx), "--input-shape", "input_ids=3"], 4, "input_ids");
    let args = ["run", text(&sdx), "--input-shape", "input_ids=2x5", "--input-shape", "attention_mask=3x5"];
    check(&args, 3, "attention_mask");
}

#[test]
fn broken_programs_are_refused() {
    let dir = TempDir::new().expect("a temporary folder");
    let sdx = program(&dir);
    let bytes = std::fs::read(&sdx).expect("the program should be there");
    let broken = dir.path().join("broken.sdx");
    let mut flipped = bytes.clone();
    flipped[200] ^= 4;
    for (what, content) in [
        ("truncated", &bytes[..bytes.len() / 2]),
        ("foreign", b"ELF and more than that"),
        ("flipped", &flipped),
    ] {
        std::fs::write(&broken, content).expect("the file should be writable");
        let said = check(&["run", text(&broken)], 3, "broken.sdx");
        assert!(said.err.starts_with("error: "), "{what}: {}", said.err);
    }
    check(&["run", "no-such.sdx"], 3, "no-such.sdx");
}

#[test]
fn broken_models_are_refused() {
    let dir = TempDir::new().expect("a temporary folder");
    let path = dir.path().join("bad.onnx");
    std::fs::write(&path, b"not a model at all").expect("the file should be writable");
    check(&["inspect", text(&path)], 2, "bad.onnx");
    let whole = std::fs::read(MODEL).expect("the model should be there");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("the file should be writable");
    check(&["inspect", text(&path)], 2, "bad.onnx");
    check(&["compile", "no-such.onnx", "-o", "never.sdx"], 2, "no-such.onnx");
    check(&["compile", MODEL, "-o", "never.sdx", "--target", "cpu:z80"], 2, "z80");
}

#[test]
fn unsupported_operators_are_named_all_at_once() {
    let value = |name: &str| {
        let mut ty = TypeProto::new();
        let tensor = ty.mut_tensor_type();
        tensor.elem_type = 1;
        tensor.shape = MessageField::some(Default::default());
        ValueInfoProto { name: name.into(), type_: MessageField::some(ty), ..Default::default() }
    };
    let node = |op: &str, from: &str, to: &str| NodeProto {
        op_type: op.into(),
        name: format!("the_{op}"),
        domain: "com.example".into(),
        input: vec![from.into()],
        output: vec![to.into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: "g".into(),
        node: vec![node("Frob", "x", "a"), node("Grok", "a", "y")],
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let set =
        |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version, ..Default::default() };
    let model = ModelProto {
        ir_version: 8,
        graph: MessageField::some(graph),
        opset_import: vec![set("", 17), set("com.example", 3)],
        ..Default::default()
    };
    let dir = TempDir::new().expect("a temporary folder");
    let path = dir.path().join("custom.onnx");
    std::fs::write(&path, model.write_to_bytes().expect("the model should encode")).expect("a writable file");
    let said = check(&["inspect", text(&path)], 2, "the_Frob");
    for part in ["Frob", "Grok", "the_Grok", "com.example"] {
        assert!(said.err.contains(part), "`{part}` is not in {}", said.err);
    }
}
