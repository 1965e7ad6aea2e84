//! The importer on models built for the purpose: what real files do that the standard does not say, and what
//! hostile files do.
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "importer/gradient.rs"]
mod gradient;

use build::*;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{FunctionProto, ModelProto, StringStringEntryProto, TensorProto};
use sardonyx::onnx::{self, ImportError, ImportOptions, Model};
use sardonyx_ir::interp;
use sardonyx_tensor::{DType, Dim, Tensor};

fn import(m: &ModelProto) -> Result<Model, ImportError> {
    onnx::import_bytes(bytes(m), &ImportOptions::default())
}

fn good(m: &ModelProto) -> Model {
    import(m).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn fails(m: &ModelProto, part: &str) {
    let e = import(m).expect_err("the model is wrong").to_string();
    assert!(e.contains(part), "{e}");
}

fn run(m: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    interp::eval(&m.graph, inputs).unwrap_or_else(|e| panic!("{e}"))
}

fn x3() -> onnx_protobuf::ValueInfoProto {
    value("x", FLOAT, &[D::N(3)])
}

fn y3() -> onnx_protobuf::ValueInfoProto {
    value("y", FLOAT, &[D::N(3)])
}

#[test]
fn unsorted_nodes_and_strange_names() {
    let nodes =
        vec![node("Add", &["-> a:0", "c/ \"é"], &["y"], vec![]), node("Relu", &["x"], &["-> a:0"], vec![])];
    let m = good(&model(graph(nodes, vec![x3()], vec![y3()], vec![floats("c/ \"é", &[], &[1.0])]), 17));
    let y = run(&m, &[Tensor::from_slice([3], &[-1f32, 0.5, 2.0])]);
    assert_eq!(y[0].to_f64s(), [1.0, 1.5, 3.0]);
    assert_eq!((m.opsets["ai.onnx"], m.parameters, m.operators["Relu"]), (17, 1, 1));
    let origins: Vec<&str> = m.graph.nodes().flat_map(|n| m.graph.node(n).origin.names()).collect();
    assert!(["Relu_-> a:0", "Add_y"].iter().all(|n| origins.contains(n)), "{origins:?}");
}

#[test]
fn cycles_and_double_definitions() {
    let nodes = vec![node("Add", &["x", "b"], &["a"], vec![]), node("Relu", &["a"], &["b"], vec![])];
    fails(
        &model(graph(nodes, vec![x3()], vec![value("b", FLOAT, &[])], vec![]), 17),
        "cycle: Add `Add_a`, Relu `Relu_b`",
    );
    let twice = vec![node("Relu", &["x"], &["y"], vec![]), node("Abs", &["x"], &["y"], vec![])];
    fails(&model(graph(twice, vec![x3()], vec![y3()], vec![]), 17), "`y` is made twice");
    let nothing = vec![node("Relu", &["z"], &["y"], vec![])];
    fails(&model(graph(nothing, vec![x3()], vec![y3()], vec![]), 17), "nothing makes the value `z`");
}

#[test]
fn open_dimensions_get_symbols() {
    let dims = [D::S("batch"), D::S("-1"), D::S("?"), D::N(-1), D::Open, D::S("7"), D::N(0)];
    let nodes = vec![node("Relu", &["x"], &["y"], vec![])];
    let m = model(graph(nodes, vec![value("x", FLOAT, &dims)], vec![value("y", FLOAT, &[])], vec![]), 17);
    let g = good(&m).graph;
    let shape = &g.ty(g.outputs()[0]).shape;
    let text: Vec<String> = shape.iter().map(Dim::to_string).collect();
    assert_eq!(text, ["batch", "x_1", "x_2", "x_3", "x_4", "7", "0"]);
}

#[test]
fn options_set_dimensions() {
    let inputs = vec![value("x", FLOAT, &[D::S("b"), D::N(3)]), value("m", FLOAT, &[D::S("b"), D::N(1)])];
    let m = model(
        graph(vec![node("Add", &["x", "m"], &["y"], vec![])], inputs, vec![value("y", FLOAT, &[])], vec![]),
        17,
    );
    let with = |options: ImportOptions| onnx::import_bytes(bytes(&m), &options);
    let dims = ImportOptions { dims: [("b".into(), 8)].into(), ..Default::default() };
    let g = with(dims).expect("b is a dimension").graph;
    assert_eq!(g.ty(g.outputs()[0]).to_string(), "f32[8,3]");
    // A given shape wins over a declared size, and names the dimension for the other input.
    let shape = vec![Dim::from(4), Dim::from(5)];
    let shapes = ImportOptions { input_shapes: [("x".into(), shape)].into(), ..Default::default() };
    let g = with(shapes).expect("the shape fits").graph;
    assert_eq!(g.ty(g.outputs()[0]).to_string(), "f32[4,5]");
    for (options, part) in [
        (
            ImportOptions { dims: [("c".into(), 8)].into(), ..Default::default() },
            "no dimension `c`; it has: b",
        ),
        (ImportOptions { dims: [("b".into(), -8)].into(), ..Default::default() }, "cannot be -8"),
        (ImportOptions { input_shapes: [("z".into(), vec![])].into(), ..Default::default() }, "no input `z`"),
        (
            ImportOptions { input_shapes: [("x".into(), vec![Dim::ONE])].into(), ..Default::default() },
            "1 dimensions",
        ),
    ] {
        let e = with(options).expect_err("the option is wrong").to_string();
        assert!(e.contains(part), "{e}");
    }
}

#[test]
fn old_files_list_constants_as_inputs() {
    let inputs = vec![x3(), value("w", FLOAT, &[D::N(3)])];
    let nodes = vec![node("Mul", &["x", "w"], &["y"], vec![])];
    let mut m = model(graph(nodes, inputs, vec![y3()], vec![floats("w", &[3], &[1.0, 2.0, 3.0])]), 8);
    m.ir_version = 3;
    m.opset_import.push(opset("com.unknown", 3));
    let m = good(&m);
    assert_eq!(m.graph.inputs().len(), 1);
    assert_eq!(run(&m, &[Tensor::from_slice([3], &[1f32; 3])])[0].to_f64s(), [1.0, 2.0, 3.0]);
}

#[test]
fn everything_unsupported_is_named() {
    let mut custom = node("Frobnicate", &["x"], &["a"], vec![]);
    custom.domain = "com.acme".into();
    let nodes = vec![
        custom,
        node("Relu", &["a"], &["b"], vec![]),
        node("NoSuchOp", &["b", "x"], &["c"], vec![]),
        node("Gelu", &["x"], &["d"], vec![]),
        node("Concat", &["c", "d"], &["y"], vec![int("axis", 0)]),
    ];
    let e = import(&model(graph(nodes, vec![x3()], vec![y3()], vec![]), 17)).expect_err("nothing has them");
    let ImportError::Nodes { issues, .. } = &e else { panic!("{e}") };
    let told: Vec<String> = issues.iter().map(|i| i.to_string()).collect();
    assert_eq!(
        told,
        [
            "Frobnicate `Frobnicate_a` (com.acme 1; f32): there is no such operator here",
            "NoSuchOp `NoSuchOp_c` (ai.onnx 17; f32): there is no such operator here",
            "Gelu `Gelu_d` (ai.onnx 17; f32): only from opset 20 on",
        ]
    );
    assert!(e.to_string().starts_with("the model: 3 unsupported nodes\n"), "{e}");
}

#[test]
fn shape_arithmetic_becomes_dimensions() {
    let nodes = vec![
        node("Shape", &["x"], &["s"], vec![]),
        node("Gather", &["s", "zero"], &["b"], vec![]),
        node("Unsqueeze", &["b", "axes"], &["b1"], vec![]),
        node("Concat", &["b1", "rest"], &["shape"], vec![int("axis", 0)]),
        node("Reshape", &["x", "shape"], &["y"], vec![]),
    ];
    let constants = vec![ints("zero", &[], &[0]), ints("axes", &[1], &[0]), ints("rest", &[2], &[-1, 4])];
    let input = value("x", FLOAT, &[D::S("b"), D::N(3), D::N(8)]);
    let m = good(&model(graph(nodes, vec![input], vec![value("y", FLOAT, &[])], constants), 13));
    assert_eq!(m.graph.ty(m.graph.outputs()[0]).to_string(), "f32[b,6,4]");
    assert_eq!(m.graph.order().len(), 2);
}

#[test]
fn a_shape_that_only_the_run_knows() {
    let nodes = vec![node("Reshape", &["x", "shape"], &["y"], vec![])];
    let inputs = vec![value("x", FLOAT, &[D::S("n"), D::N(6)]), value("shape", INT64, &[D::N(3)])];
    let m =
        good(&model(graph(nodes, inputs, vec![value("y", FLOAT, &[D::Open, D::Open, D::Open])], vec![]), 14));
    let x = interp::sample(DType::F32, &[2, 6], 1);
    assert_eq!(run(&m, &[x.clone(), Tensor::from_slice([3], &[0i64, -1, 3])])[0], x.reshaped([2, 2, 3]));
    assert_eq!(run(&m, &[x.clone(), Tensor::from_slice([3], &[1i64, 1, -1])])[0], x.reshaped([1, 1, 12]));
}

/// A graph without inputs that makes `out` from the outer value `x`.
fn branch(op: &str, inputs: &[&str], out: &str) -> onnx_protobuf::GraphProto {
    graph(vec![node(op, inputs, &[out], vec![])], vec![], vec![value(out, FLOAT, &[D::N(3)])], vec![])
}

#[test]
fn branches_capture_and_fold() {
    let attributes = |bad: bool| {
        let wrong = if bad { branch("MatMul", &["x", "five"], "b") } else { branch("Sub", &["x", "w"], "b") };
        vec![
            graph_attribute("then_branch", branch("Add", &["x", "w"], "b")),
            graph_attribute("else_branch", wrong),
        ]
    };
    let constants =
        vec![floats("w", &[3], &[1.0; 3]), floats("five", &[5], &[0.0; 5]), raw("on", BOOL, &[], &[1])];
    let inputs = vec![x3(), value("c", BOOL, &[])];
    let build = |condition: &str, bad: bool| {
        let nodes = vec![node("If", &[condition], &["y"], attributes(bad))];
        model(graph(nodes, inputs.clone(), vec![y3()], constants.clone()), 17)
    };
    let x = Tensor::from_slice([3], &[1f32, 2.0, 3.0]);
    let m = good(&build("c", false));
    for (c, expected) in [(true, [2.0, 3.0, 4.0]), (false, [0.0, 1.0, 2.0])] {
        assert_eq!(run(&m, &[x.clone(), Tensor::scalar(c)])[0].to_f64s(), expected);
    }
    // The branch that is not taken is ill-shaped, and nobody minds.
    let m = good(&build("on", true));
    assert_eq!(run(&m, &[x, Tensor::scalar(false)])[0].to_f64s(), [2.0, 3.0, 4.0]);
}

#[test]
fn loops_carry_and_stack() {
    let body = graph(
        vec![
            node("Add", &["a", "step"], &["next"], vec![]),
            node("Identity", &["go"], &["still"], vec![]),
            node("Mul", &["next", "next"], &["square"], vec![]),
        ],
        vec![value("i", INT64, &[]), value("go", BOOL, &[]), value("a", FLOAT, &[D::N(3)])],
        vec![value("still", BOOL, &[]), value("next", FLOAT, &[D::N(3)]), value("square", FLOAT, &[D::N(3)])],
        vec![],
    );
    let nodes = vec![node("Loop", &["n", "", "x"], &["y", "rows"], vec![graph_attribute("body", body)])];
    let inputs = vec![x3(), value("n", INT64, &[]), value("step", FLOAT, &[D::N(1)])];
    let outputs = vec![y3(), value("rows", FLOAT, &[D::Open, D::N(3)])];
    let m = good(&model(graph(nodes, inputs, outputs, vec![]), 17));
    let inputs =
        [Tensor::from_slice([3], &[0f32, 1.0, 2.0]), Tensor::scalar(2i64), Tensor::from_slice([1], &[1f32])];
    let y = run(&m, &inputs);
    assert_eq!(y[0].to_f64s(), [2.0, 3.0, 4.0]);
    assert_eq!((y[1].shape(), y[1].to_f64s()), (&[2, 3][..], vec![1.0, 4.0, 9.0, 4.0, 9.0, 16.0]));
}

fn function(name: &str, nodes: Vec<onnx_protobuf::NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: vec!["v".into(), "unused".into()],
        output: vec!["r".into()],
        attribute: vec!["slope".into()],
        node: nodes,
        opset_import: vec![opset("", 17), opset("local", 1)],
        ..Default::default()
    }
}

fn call(input: &str, output: &str) -> onnx_protobuf::NodeProto {
    let mut call = node("F", &[input], &[output], vec![float("slope", 0.5)]);
    call.domain = "local".into();
    call
}

#[test]
fn functions_are_inlined() {
    let nodes = vec![call("x", "v"), call("v", "y")];
    let mut m = model(graph(nodes, vec![x3()], vec![y3()], vec![]), 17);
    m.functions
        .push(function("F", vec![node("LeakyRelu", &["v"], &["r"], vec![reference("alpha", "slope")])]));
    let y = run(&good(&m), &[Tensor::from_slice([3], &[-4f32, 0.0, 2.0])]);
    assert_eq!(y[0].to_f64s(), [-1.0, 0.0, 2.0]);
    m.functions[0].node = vec![call("v", "r")];
    fails(&m, "functions call each other too deeply");
    m.functions[0].node = (0..40).map(|i| call("v", &format!("r{i}"))).collect();
    assert!(import(&m).is_err());
}

fn constant(t: TensorProto) -> ModelProto {
    let name = t.name.clone();
    model(
        graph(
            vec![node("Identity", &[&name], &["y"], vec![])],
            vec![],
            vec![value("y", FLOAT, &[])],
            vec![t],
        ),
        25,
    )
}

#[test]
fn tensors_of_narrow_types() {
    let read = |t: TensorProto| run(&good(&constant(t)), &[]).remove(0);
    let t = read(raw("w", 22, &[3], &[0x8f, 0x07]));
    assert_eq!((t.dtype(), t.to_i64s()), (DType::I4, vec![-1, -8, 7]));
    let t = read(raw("w", 25, &[5], &[0b1110_0100, 1]));
    assert_eq!((t.dtype(), t.to_i64s()), (DType::U2, vec![0, 1, 2, 3, 1]));
    let t = read(TensorProto {
        name: "w".into(),
        data_type: 16,
        dims: vec![2],
        int32_data: vec![0x3f80, 0xc000],
        ..Default::default()
    });
    assert_eq!((t.dtype(), t.to_f64s()), (DType::BF16, vec![1.0, -2.0]));
    let t = read(raw("w", BOOL, &[2], &[7, 0]));
    assert_eq!(t.to_i64s(), [1, 0]);
}

#[test]
fn tensors_that_lie() {
    let with = |dims: &[i64], bytes: usize| constant(raw("w", FLOAT, dims, &vec![0; bytes]));
    fails(&with(&[3], 11), "11 bytes of data, its shape [3] takes 12");
    fails(&with(&[-1], 4), "negative size");
    fails(&with(&[i64::MAX, i64::MAX], 4), "too large");
    fails(&with(&[1 << 40], 4), "its shape [1099511627776] takes 4398046511104");
    fails(
        &constant(TensorProto {
            name: "w".into(),
            data_type: FLOAT,
            dims: vec![1 << 50],
            ..Default::default()
        }),
        "0 elements of data",
    );
    fails(&constant(raw("w", 8, &[1], &[0])), "0 texts, its shape [1] has 1");
    fails(&constant(raw("w", 99, &[1], &[0])), "element type 99");
}

fn external(entries: &[(&str, &str)]) -> ModelProto {
    let entry = |(k, v): &(&str, &str)| StringStringEntryProto {
        key: k.to_string(),
        value: v.to_string(),
        ..Default::default()
    };
    constant(TensorProto {
        name: "w".into(),
        data_type: FLOAT,
        dims: vec![2],
        data_location: DataLocation::EXTERNAL.into(),
        external_data: entries.iter().map(entry).collect(),
        ..Default::default()
    })
}

#[test]
fn external_data_stays_in_the_folder() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("model");
    std::fs::create_dir_all(folder.join("sub")).expect("a folder");
    let data: Vec<u8> = [0f32, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.join("sub/w.bin"), &data).expect("a file");
    std::fs::write(outer.path().join("secret"), &data).expect("a file");
    let path = folder.join("m.onnx");
    let read = |entries: &[(&str, &str)]| {
        std::fs::write(&path, bytes(&external(entries))).expect("a file");
        onnx::import(&path, &ImportOptions::default())
    };
    let m = read(&[("checksum", "0"), ("offset", "4"), ("location", "./sub/w.bin"), ("length", "8")])
        .expect("it is there");
    assert_eq!(run(&m, &[])[0].to_f64s(), [1.0, 2.0]);
    assert_eq!(
        run(&read(&[("location", "sub/w.bin")]).expect("the length follows"), &[])[0].to_f64s(),
        [0.0, 1.0]
    );
    let absolute = outer.path().join("secret").display().to_string();
    let mut cases = vec![
        (vec![("location", "../secret")], "outside of the model's folder"),
        (vec![("location", absolute.as_str())], "outside of the model's folder"),
        (vec![("location", "")], "outside of the model's folder"),
        (vec![("location", "none")], "external data in `none`"),
        (vec![("location", "sub")], "not a regular file"),
        (vec![("location", "sub/w.bin"), ("offset", "8")], "outside `sub/w.bin`"),
        (vec![("location", "sub/w.bin"), ("offset", "18446744073709551615")], "outside `sub/w.bin`"),
        (vec![("location", "sub/w.bin"), ("offset", "-4")], "offset `-4`"),
        (vec![("location", "sub/w.bin"), ("length", "4")], "4 bytes for a tensor of 8"),
        (vec![("offset", "0")], "without a location"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link")).expect("a link");
        cases.push((vec![("location", "link")], "a link out of the model's folder"));
    }
    for (entries, part) in cases {
        let e = read(&entries).expect_err("the data is elsewhere").to_string();
        assert!(e.contains(part), "{e}");
    }
}

#[test]
fn empty_names_leave_operands_out() {
    let nodes = vec![node("Clip", &["x", "", "high"], &["y"], vec![])];
    let m = good(&model(graph(nodes, vec![x3()], vec![y3()], vec![floats("high", &[], &[1.0])]), 13));
    assert_eq!(run(&m, &[Tensor::from_slice([3], &[-5f32, 0.0, 5.0])])[0].to_f64s(), [-5.0, 0.0, 1.0]);
}

#[test]
fn large_repetitions_are_refused_or_lazy() {
    let nodes = vec![node("ConstantOfShape", &["s"], &["y"], vec![])];
    let m = model(
        graph(nodes, vec![], vec![value("y", FLOAT, &[])], vec![ints("s", &[2], &[1 << 40, 1 << 40])]),
        13,
    );
    if let Ok(m) = import(&m) {
        assert!(interp::eval(&m.graph, &[]).is_err());
    }
    let nodes = vec![node("Range", &["a", "b", "c"], &["y"], vec![])];
    let constants = vec![ints("a", &[], &[0]), ints("b", &[], &[i64::MAX]), ints("c", &[], &[1])];
    let m = model(graph(nodes, vec![], vec![value("y", INT64, &[])], constants), 13);
    if let Ok(m) = import(&m) {
        assert!(interp::eval(&m.graph, &[]).is_err());
    }
}

#[test]
fn nested_graphs_do_not_overflow() {
    let mut inner = branch("Relu", &["x"], "b");
    for depth in 0..200 {
        let attributes = vec![
            graph_attribute("then_branch", inner.clone()),
            graph_attribute("else_branch", branch("Relu", &["x"], "b")),
        ];
        inner = graph(
            vec![node("If", &["c"], &["b"], attributes)],
            vec![],
            vec![value("b", FLOAT, &[D::N(3)])],
            vec![],
        );
        if depth % 40 == 0 {
            let g = graph(
                inner.node.clone(),
                vec![x3(), value("c", BOOL, &[])],
                vec![value("b", FLOAT, &[])],
                vec![],
            );
            let _ = import(&model(g, 17));
        }
    }
}

#[test]
fn texts_of_a_file_are_utf8_and_as_many_as_the_shape_says() {
    const STRING: i32 = 8;
    let with = |texts: &[&[u8]], dims: &[i64]| {
        let t = TensorProto {
            name: "w".into(),
            data_type: STRING,
            dims: dims.to_vec(),
            string_data: texts.iter().map(|t| t.to_vec()).collect(),
            ..Default::default()
        };
        let nodes = vec![node("StringConcat", &["x", "w"], &["y"], vec![])];
        let (x, y) = (value("x", STRING, &[D::N(2)]), value("y", STRING, &[D::N(2)]));
        model(graph(nodes, vec![x], vec![y], vec![t]), 20)
    };
    let m = good(&with(&["é".as_bytes(), b""], &[2]));
    assert_eq!(run(&m, &[Tensor::from_texts([2], &["a", "b"])])[0].texts(), ["aé", "b"]);
    fails(&with(&[b"\xff", b""], &[2]), "not UTF-8");
    fails(&with(&[b"a"], &[2]), "1 texts, its shape [2] has 2");
    fails(&with(&[], &[1 << 40]), "0 texts");
}

#[test]
fn texts_meet_numbers_only_where_an_operator_says_so() {
    const STRING: i32 = 8;
    let of = |op: &str, output: i32, attributes| {
        let nodes = vec![node(op, &["x"], &["y"], attributes)];
        let (x, y) = (value("x", STRING, &[D::N(2)]), value("y", output, &[D::N(2)]));
        model(graph(nodes, vec![x], vec![y], vec![]), 20)
    };
    let m = good(&of("Cast", FLOAT, vec![int("to", 1)]));
    let given = |a, b| [Tensor::from_texts([2], &[a, b])];
    assert_eq!(run(&m, &given("1.5", " -2e1"))[0].to_f64s(), [1.5, -20.0]);
    let e = interp::eval(&m.graph, &given("one", "2")).expect_err("no number").to_string();
    assert!(e.contains("`one` is not a number of type f32"), "{e}");
    fails(&of("Relu", STRING, vec![]), "string");
    fails(&of("Cast", BOOL, vec![int("to", 9)]), "casts between texts and truth values");
    fails(&of("NonZero", INT64, vec![]), "non_zero is not defined on string[2]");
}
