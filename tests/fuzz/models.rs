//! Models that damage starts from: together they have every part of the format, and a node of any operator.
use super::random::Random;
use crate::build::*;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, SparseTensorProto,
    StringStringEntryProto, TensorProto,
};

/// Element types of the format, by number.
const TYPES: std::ops::Range<i32> = 0..28;
/// Names of attributes.
pub const ATTRIBUTES: &[&str] = &[
    "axis",
    "axes",
    "keepdims",
    "perm",
    "to",
    "mode",
    "pads",
    "strides",
    "kernel_shape",
    "dilations",
    "group",
    "alpha",
    "beta",
    "transA",
    "transB",
    "epsilon",
    "num_heads",
    "kv_num_heads",
    "q_num_heads",
    "direction",
    "hidden_size",
    "equation",
    "blocksize",
    "block_size",
    "auto_pad",
    "ceil_mode",
    "largest",
    "sorted",
    "exclusive",
    "reverse",
    "value",
    "value_float",
    "value_ints",
    "shape",
    "split",
    "num_outputs",
    "starts",
    "ends",
    "scales",
    "sizes",
    "coordinate_transformation_mode",
    "nearest_mode",
    "antialias",
    "min",
    "max",
    "fmod",
    "upper",
    "body",
    "then_branch",
    "else_branch",
    "num_scan_inputs",
    "dtype",
    "output_dtype",
    "seed",
    "reduction",
    "ignore_index",
    "noop_with_empty_axes",
    "select_last_index",
    "batch_dims",
    "storage_order",
    "count_include_pad",
    "onesided",
    "center_point_box",
    "sampling_ratio",
    "output_height",
    "bits",
    "K",
    "N",
    "is_causal",
    "scale",
    "softcap",
    "qk_matmul_output_mode",
    "interleaved",
    "rotary_embedding_dim",
    "size",
    "stash_type",
    "saturate",
    "allowzero",
    "clip",
    "layout",
    "linear_before_reset",
    "activations",
    "num_groups",
    "nodes_values",
    "nodes_featureids",
    "n_targets",
    "keys_strings",
    "values_int64s",
    "cats_int64s",
    "norm",
];

/// The models that are always there.
pub fn all() -> Vec<Vec<u8>> {
    let models =
        [dense(), shapes(), control(), scan(), function(), tensors(), sequences(), network(), quantized()];
    models.iter().map(bytes).collect()
}

fn with(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    node(op, inputs, &[output], vec![])
}

fn dense() -> ModelProto {
    let typed = TensorProto {
        name: "bias".into(),
        data_type: FLOAT,
        dims: vec![3],
        float_data: vec![0.5, -1.0, 2.0],
        ..Default::default()
    };
    let nodes = vec![
        with("MatMul", &["x", "w"], "a"),
        with("Add", &["a", "bias"], "b"),
        with("Relu", &["b"], "c"),
        node("Softmax", &["c"], &["y"], vec![int("axis", -1)]),
        node("Gemm", &["c", "v"], &["z"], vec![int("transB", 1), float("alpha", 0.5)]),
    ];
    let outputs = vec![value("y", FLOAT, &[D::S("b"), D::N(3)]), value("z", FLOAT, &[D::S("b"), D::Open])];
    let weights = vec![floats("w", &[2, 3], &[1.0; 6]), typed, floats("v", &[2, 3], &[0.1; 6])];
    model(graph(nodes, vec![value("x", FLOAT, &[D::S("b"), D::N(2)])], outputs, weights), 13)
}

fn shapes() -> ModelProto {
    let nodes = vec![
        with("Shape", &["x"], "s"),
        node("Gather", &["s", "zero"], &["n"], vec![int("axis", 0)]),
        with("Unsqueeze", &["n", "axis"], "m"),
        node("Concat", &["m", "rest"], &["t"], vec![int("axis", 0)]),
        with("Reshape", &["x", "t"], "r"),
        with("Slice", &["r", "axis", "rest", "axis", "one"], "c"),
        with("Expand", &["c", "s"], "e"),
        with("Tile", &["one", "m"], "u"),
        with("Range", &["zero", "n", "step"], "g"),
        node("Split", &["x"], &["p", "q"], vec![int("axis", 1), int("num_outputs", 2)]),
        node("Pad", &["p", "pads"], &["y"], vec![]),
    ];
    let outputs = ["e", "u", "g", "q", "y"].map(|n| value(n, FLOAT, &[])).to_vec();
    let weights = vec![
        ints("zero", &[], &[0]),
        ints("step", &[], &[1]),
        ints("axis", &[1], &[0]),
        ints("one", &[1], &[1]),
        ints("rest", &[1], &[-1]),
        ints("pads", &[4], &[0, 1, 0, 1]),
    ];
    model(graph(nodes, vec![value("x", FLOAT, &[D::S("b"), D::N(4)])], outputs, weights), 18)
}

fn control() -> ModelProto {
    let branch = |op: &str| graph(vec![with(op, &["x"], "o")], vec![], vec![value("o", FLOAT, &[])], vec![]);
    let branches =
        vec![graph_attribute("then_branch", branch("Relu")), graph_attribute("else_branch", branch("Neg"))];
    let body = graph(
        vec![
            with("Add", &["state", "x"], "next"),
            with("Identity", &["go"], "again"),
            with("Mul", &["next", "next"], "row"),
        ],
        vec![value("i", INT64, &[]), value("go", BOOL, &[]), value("state", FLOAT, &[D::N(2)])],
        vec![value("again", BOOL, &[]), value("next", FLOAT, &[D::N(2)]), value("row", FLOAT, &[D::N(2)])],
        vec![],
    );
    let nodes = vec![
        node("If", &["c"], &["a"], branches),
        node("Loop", &["trip", "c", "a"], &["last", "rows"], vec![graph_attribute("body", body)]),
    ];
    let inputs = vec![value("x", FLOAT, &[D::N(2)]), value("c", BOOL, &[])];
    let outputs = vec![value("last", FLOAT, &[D::N(2)]), value("rows", FLOAT, &[D::Open, D::N(2)])];
    model(graph(nodes, inputs, outputs, vec![ints("trip", &[], &[3])]), 16)
}

fn scan() -> ModelProto {
    let body = graph(
        vec![with("Add", &["s", "e"], "n"), with("Identity", &["n"], "o")],
        vec![value("s", FLOAT, &[D::N(2)]), value("e", FLOAT, &[D::N(2)])],
        vec![value("n", FLOAT, &[D::N(2)]), value("o", FLOAT, &[D::N(2)])],
        vec![],
    );
    let attributes = vec![int("num_scan_inputs", 1), graph_attribute("body", body)];
    let nodes = vec![
        node("Scan", &["s0", "x"], &["last", "all"], attributes),
        node("LSTM", &["t", "w", "r"], &["h"], vec![int("hidden_size", 1)]),
        node("Einsum", &["all", "all"], &["z"], {
            let s = b"ij,kj->ik".to_vec();
            vec![AttributeProto {
                name: "equation".into(),
                type_: AttributeType::STRING.into(),
                s,
                ..Default::default()
            }]
        }),
    ];
    let inputs =
        vec![value("x", FLOAT, &[D::S("t"), D::N(2)]), value("t", FLOAT, &[D::N(2), D::N(1), D::N(2)])];
    let outputs = ["last", "all", "h", "z"].map(|n| value(n, FLOAT, &[])).to_vec();
    let weights = vec![
        floats("s0", &[2], &[0.0; 2]),
        floats("w", &[1, 4, 2], &[0.1; 8]),
        floats("r", &[1, 4, 1], &[0.1; 4]),
    ];
    model(graph(nodes, inputs, outputs, weights), 14)
}

fn function() -> ModelProto {
    let mut leaky = with("LeakyRelu", &["a"], "b");
    leaky.attribute = vec![reference("alpha", "slope")];
    let function = FunctionProto {
        name: "Twice".into(),
        domain: "own".into(),
        input: vec!["a".into()],
        output: vec!["c".into()],
        attribute: vec!["slope".into()],
        node: vec![leaky, with("Add", &["b", "b"], "c")],
        opset_import: vec![opset("", 17)],
        ..Default::default()
    };
    let mut call = node("Twice", &["x"], &["m"], vec![float("slope", 0.1)]);
    call.domain = "own".into();
    let mut again = node("Twice", &["m"], &["y"], vec![]);
    again.domain = "own".into();
    let xs = [D::S("n")];
    let g = graph(vec![again, call], vec![value("x", FLOAT, &xs)], vec![value("y", FLOAT, &xs)], vec![]);
    let mut model = model(g, 17);
    model.opset_import.push(opset("own", 1));
    model.functions.push(function);
    model
}

/// The tensors of a model, each a message of its own.
pub fn tensors_alone() -> Vec<Vec<u8>> {
    let tensors = tensors().graph.initializer.clone();
    tensors.iter().map(|t| t.write_to_bytes().expect("a tensor should encode")).collect()
}

fn tensors() -> ModelProto {
    let named = |name: &str, data_type: i32, dims: &[i64]| TensorProto {
        name: name.into(),
        data_type,
        dims: dims.to_vec(),
        ..Default::default()
    };
    let sparse = SparseTensorProto {
        values: Some(floats("sparse", &[2], &[1.0, 2.0])).into(),
        indices: Some(ints("", &[2, 2], &[0, 1, 1, 0])).into(),
        dims: vec![2, 2],
        ..Default::default()
    };
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    };
    let external = TensorProto {
        data_location: DataLocation::EXTERNAL.into(),
        external_data: vec![entry("location", "weights"), entry("offset", "0"), entry("length", "8")],
        ..named("far", FLOAT, &[2])
    };
    let mut weights = vec![
        TensorProto { int32_data: vec![1, 0], ..named("bools", BOOL, &[2]) },
        TensorProto { int32_data: vec![0x21], ..named("nibbles", 22, &[2]) },
        TensorProto { int32_data: vec![15360, 0], ..named("halves", 10, &[2]) },
        TensorProto { double_data: vec![1.0, 2.0], ..named("doubles", 11, &[2]) },
        TensorProto { uint64_data: vec![1, u64::MAX], ..named("big", 13, &[2]) },
        TensorProto { int64_data: vec![-1, 1], ..named("longs", INT64, &[2]) },
        TensorProto { string_data: vec![b"a".to_vec(), b"b".to_vec()], ..named("texts", 8, &[2]) },
        external,
    ];
    weights.extend(TYPES.map(|t| raw(&format!("t{t}"), t, &[4], &[1; 16][..if t == 7 { 16 } else { 4 }])));
    let nodes =
        vec![with("Add", &["sparse", "x"], "y"), with("Not", &["bools"], "z"), with("Neg", &["longs"], "l")];
    let outputs = ["y", "z", "l"].map(|n| value(n, FLOAT, &[])).to_vec();
    let mut g = graph(nodes, vec![value("x", FLOAT, &[D::N(2), D::N(2)])], outputs, weights);
    g.sparse_initializer.push(sparse);
    model(g, 21)
}

fn sequences() -> ModelProto {
    let nodes = vec![
        node("SplitToSequence", &["x"], &["s"], vec![int("axis", 0), int("keepdims", 0)]),
        with("SequenceAt", &["s", "i"], "a"),
        with("SequenceInsert", &["s", "a", "i"], "t"),
        with("SequenceErase", &["t", "i"], "u"),
        with("SequenceLength", &["u"], "n"),
        node("ConcatFromSequence", &["u"], &["y"], vec![int("axis", 0), int("new_axis", 1)]),
        with("Optional", &["y"], "o"),
        with("OptionalGetElement", &["o"], "z"),
        with("NonZero", &["x"], "at"),
        node("TopK", &["x", "k"], &["values", "places"], vec![]),
        node("Unique", &["x"], &["v"], vec![]),
    ];
    let outputs = ["n", "z", "at", "values", "v"].map(|n| value(n, FLOAT, &[])).to_vec();
    let weights = vec![ints("i", &[], &[1]), ints("k", &[1], &[2])];
    model(graph(nodes, vec![value("x", FLOAT, &[D::N(3), D::N(2)])], outputs, weights), 18)
}

fn network() -> ModelProto {
    let nodes = vec![
        node(
            "Conv",
            &["x", "w"],
            &["a"],
            vec![integers("pads", &[1, 1, 1, 1]), integers("strides", &[1, 1])],
        ),
        with("BatchNormalization", &["a", "s", "s", "s", "s"], "b"),
        node("MaxPool", &["b"], &["c"], vec![integers("kernel_shape", &[2, 2]), int("ceil_mode", 1)]),
        node("ConvTranspose", &["c", "v"], &["d"], vec![integers("strides", &[2, 2])]),
        with("Resize", &["d", "", "scales"], "e"),
        with("GlobalAveragePool", &["e"], "f"),
        node("Flatten", &["f"], &["y"], vec![int("axis", 1)]),
        node("Transpose", &["e"], &["z"], vec![integers("perm", &[0, 2, 3, 1])]),
    ];
    let outputs = ["y", "z"].map(|n| value(n, FLOAT, &[])).to_vec();
    let weights = vec![
        floats("w", &[2, 1, 3, 3], &[0.1; 18]),
        floats("v", &[2, 2, 2, 2], &[0.1; 16]),
        floats("s", &[2], &[1.0; 2]),
        floats("scales", &[4], &[1.0, 1.0, 2.0, 0.5]),
    ];
    let x = value("x", FLOAT, &[D::S("b"), D::N(1), D::S("h"), D::N(8)]);
    model(graph(nodes, vec![x], outputs, weights), 13)
}

fn quantized() -> ModelProto {
    let mut attention = node("MultiHeadAttention", &["q", "k", "v"], &["h"], vec![int("num_heads", 2)]);
    attention.domain = "com.microsoft".into();
    let nodes = vec![
        attention,
        with("QuantizeLinear", &["h", "scale", "zero"], "i"),
        with("DequantizeLinear", &["i", "scale", "zero"], "j"),
        node("DynamicQuantizeLinear", &["j"], &["u", "us", "uz"], vec![]),
        with("MatMulInteger", &["u", "m", "uz"], "n"),
        node("Cast", &["n"], &["y"], vec![int("to", 1)]),
    ];
    let port = |n: &str| value(n, FLOAT, &[D::S("b"), D::S("s"), D::N(4)]);
    let weights =
        vec![floats("scale", &[], &[0.1]), raw("zero", 3, &[], &[0]), raw("m", 3, &[4, 4], &[2; 16])];
    let outputs = vec![value("y", FLOAT, &[])];
    let mut model = model(graph(nodes, vec![port("q"), port("k"), port("v")], outputs, weights), 20);
    model.opset_import.push(opset("com.microsoft", 1));
    model
}

/// A model of one or two nodes of any operators, with operands and attributes of any kind.
pub fn any(operators: &[(&str, &str, Vec<i64>)], random: &mut Random) -> Vec<u8> {
    let mut g = GraphProto { name: "any".into(), ..Default::default() };
    let mut names: Vec<String> = Vec::new();
    for i in 0..1 + random.below(6) {
        let name = format!("i{i}");
        operand(&name, &mut g, random);
        names.push(name);
    }
    let mut versions = Vec::new();
    for n in 0..1 + random.below(2) {
        let (domain, op, since) = &operators[random.below(operators.len())];
        versions.push(opset(domain, since[random.below(since.len())] + random.below(3) as i64));
        let named = |i: usize, random: &mut Random| match random.below(8) {
            0 => String::new(),
            1 => names[random.below(names.len())].clone(),
            _ => names[i].clone(),
        };
        let inputs = (0..1 + random.below(names.len())).map(|i| named(i, random)).collect();
        let outputs: Vec<String> = (0..1 + random.below(3)).map(|k| format!("o{n}_{k}")).collect();
        g.node.push(NodeProto {
            op_type: op.to_string(),
            domain: domain.to_string(),
            input: inputs,
            attribute: (0..random.below(4)).map(|_| attribute(random)).collect(),
            output: outputs.clone(),
            ..Default::default()
        });
        names.splice(0..0, outputs);
    }
    g.output.push(value(&names[0], FLOAT, &[]));
    bytes(&ModelProto { ir_version: 10, opset_import: versions, graph: Some(g).into(), ..Default::default() })
}

/// An operand: an input or an initializer.
fn operand(name: &str, g: &mut GraphProto, random: &mut Random) {
    let dims: Vec<i64> = (0..random.below(5)).map(|_| small(random)).collect();
    let elem = *[FLOAT, FLOAT, INT64, BOOL, 6, 2, 3, 10, 11, 16, 8].get(random.below(11)).unwrap_or(&FLOAT);
    if random.once_in(2) {
        let shape: Vec<D> = dims
            .iter()
            .map(|&n| {
                if n == 3 {
                    D::S("b")
                } else if n > 6 {
                    D::Open
                } else {
                    D::N(n)
                }
            })
            .collect();
        g.input.push(value(name, elem, &shape));
        return;
    }
    let count = dims.iter().fold(1, |n: i64, &d| n.saturating_mul(d)).clamp(0, 4096) as usize;
    g.initializer.push(match elem {
        INT64 => ints(name, &dims, &(0..count).map(|_| small(random)).collect::<Vec<_>>()),
        FLOAT => floats(name, &dims, &vec![small(random) as f32 / 2.0; count]),
        _ => TensorProto {
            name: name.into(),
            data_type: elem,
            int32_data: (0..count).map(|_| small(random) as i32).collect(),
            dims,
            ..Default::default()
        },
    });
}

fn small(random: &mut Random) -> i64 {
    if random.once_in(24) { random.number(4) as i64 } else { [1, 2, 3, 4, 0, -1, 8][random.below(7)] }
}

fn attribute(random: &mut Random) -> AttributeProto {
    let name = random.pick(ATTRIBUTES);
    let texts =
        ["linear", "NOTSET", "SAME_UPPER", "ij,jk->ik", "bidirectional", "reflect", "cubic", "add", "TF", ""];
    match random.below(8) {
        0..=2 => int(name, small(random)),
        3 => float(name, small(random) as f32 / 2.0),
        4 => tensor_attribute(name, ints("", &[2], &[small(random), small(random)])),
        5 => {
            let (type_, s) = (AttributeType::STRING.into(), random.pick(&texts).as_bytes().to_vec());
            AttributeProto { name: name.into(), type_, s, ..Default::default() }
        }
        _ => integers(name, &(0..random.below(6)).map(|_| small(random)).collect::<Vec<_>>()),
    }
}
