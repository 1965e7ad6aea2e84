//! Control flow, sequences, optionals and texts.
use super::build::{self, BOOL, D, FLOAT, INT64, graph, int, node, value};
use super::case::Case;
use super::{LAST, list, op, truth};
use onnx_protobuf::{GraphProto, NodeProto, ValueInfoProto};
use sardonyx_tensor::DType::{Bool, F32, I64, String as Text};
use sardonyx_tensor::Tensor;

/// A value of one element type whose shape nothing tells.
fn open(name: &str, elem: i32) -> ValueInfoProto {
    let mut v = value(name, elem, &[]);
    if let Some(onnx_protobuf::type_proto::Value::TensorType(t)) =
        &mut v.type_.as_mut().expect("a value should have a type").value
    {
        t.shape = None.into();
    }
    v
}

/// A branch that makes `r` from `i1` of outside.
fn branch(op: &str) -> GraphProto {
    graph(vec![node(op, &["i1"], &["r"], vec![])], vec![], vec![open("r", FLOAT)], vec![])
}

fn choices() -> Vec<Case> {
    let mut all = Vec::new();
    for yes in [true, false] {
        // The condition is not an operand of the branches; what they use of outside has no place in the node.
        let chosen = NodeProto {
            attribute: vec![
                build::graph_attribute("then_branch", branch("Neg")),
                build::graph_attribute("else_branch", branch("Abs")),
            ],
            ..node("If", &["i0"], &["o0"], vec![])
        };
        let c = op("If", 7, LAST).input(truth(yes)).x(F32, &[3]).out(F32).body(vec![chosen.clone()]);
        all.push(c);
        all.push(op("If", 7, LAST).constant(truth(yes)).x(F32, &[3]).out(F32).body(vec![chosen]));
    }
    all
}

/// A body that adds 1 to the state while it is below 4, and gives the state of each round.
fn rounds() -> GraphProto {
    let nodes = vec![
        node("Add", &["state", "one"], &["next"], vec![]),
        node("Less", &["next", "four"], &["go_on"], vec![]),
        node("Identity", &["next"], &["seen"], vec![]),
    ];
    let inputs = vec![value("round", INT64, &[]), value("go", BOOL, &[]), value("state", FLOAT, &[])];
    let outputs = vec![value("go_on", BOOL, &[]), value("next", FLOAT, &[]), value("seen", FLOAT, &[])];
    let constants = vec![build::floats("one", &[], &[1.0]), build::floats("four", &[], &[4.0])];
    graph(nodes, inputs, outputs, constants)
}

/// A body of a scan over `x`: the running sum, and twice each element.
fn running() -> GraphProto {
    let nodes =
        vec![node("Add", &["sum", "x"], &["next"], vec![]), node("Add", &["x", "x"], &["twice"], vec![])];
    let of = |name: &str| value(name, FLOAT, &[D::N(2)]);
    graph(nodes, vec![of("sum"), of("x")], vec![of("next"), of("twice")], vec![])
}

fn loops() -> Vec<Case> {
    let most = |n: i64| Tensor::from_slice([], &[n]);
    let start = || Tensor::from_slice([], &[0.5f32]);
    let looped = |c: Case| c.graph("body", rounds()).input(start()).outs(&[F32, F32]);
    let scan =
        |since: i64, until: i64| op("Scan", since, until).int("num_scan_inputs", 1).graph("body", running());
    vec![
        looped(op("Loop", 7, LAST).input(most(2)).input(truth(true))),
        looped(op("Loop", 7, LAST).input(most(9)).input(truth(true))),
        looped(op("Loop", 7, LAST).constant(most(3)).none()),
        looped(op("Loop", 7, LAST).none().constant(truth(true))),
        // Batches, with the lengths of their sequences, are of version 8 alone.
        scan(8, 8).none().x(F32, &[3, 2]).x(F32, &[3, 4, 2]).outs(&[F32, F32]),
        scan(8, 8).ints("directions", &[1]).none().x(F32, &[1, 2]).x(F32, &[1, 4, 2]).outs(&[F32, F32]),
        scan(9, LAST).x(F32, &[2]).x(F32, &[4, 2]).outs(&[F32, F32]),
        scan(9, LAST).ints("scan_input_directions", &[1]).x(F32, &[2]).x(F32, &[4, 2]).outs(&[F32, F32]),
        scan(9, LAST)
            .ints("scan_input_axes", &[1])
            .ints("scan_output_axes", &[1])
            .x(F32, &[2])
            .x(F32, &[2, 4])
            .outs(&[F32, F32]),
        // Axes count from the end since version 11.
        scan(11, LAST)
            .ints("scan_input_axes", &[-1])
            .ints("scan_output_axes", &[-1])
            .x(F32, &[2])
            .x(F32, &[2, 4])
            .outs(&[F32, F32]),
    ]
}

fn sequences() -> Vec<Case> {
    let three = || node("SequenceConstruct", &["i0", "i1", "i0"], &["s"], vec![]);
    let joined = |s: &str| node("ConcatFromSequence", &[s], &["o0"], vec![int("axis", 0)]);
    let case =
        |name, since: i64, nodes| op(name, since, LAST).x(F32, &[2, 3]).x(F32, &[1, 3]).out(F32).body(nodes);
    let at = |place: i64| Tensor::from_slice([], &[place]);
    let placed = |name, place: i64, nodes| case(name, 11, nodes).constant(at(place));
    let stacked = node("ConcatFromSequence", &["s"], &["o0"], vec![int("axis", -1), int("new_axis", 1)]);
    let each = graph(
        vec![node("Neg", &["e"], &["n"], vec![])],
        vec![open("e", FLOAT)],
        vec![open("n", FLOAT)],
        vec![],
    );
    let mapped = NodeProto {
        attribute: vec![build::graph_attribute("body", each)],
        ..node("SequenceMap", &["s"], &["t"], vec![])
    };
    let split = |axis: i64, keep: i64| {
        vec![
            node("SplitToSequence", &["i0", "i1"], &["s"], vec![int("axis", axis), int("keepdims", keep)]),
            node("SequenceAt", &["s", "i2"], &["o0"], vec![]),
        ]
    };
    let parts = |c: Case, lengths: Tensor| c.x(F32, &[4, 3]).constant(lengths).constant(at(1)).out(F32);
    vec![
        placed("SequenceAt", 1, vec![three(), node("SequenceAt", &["s", "i2"], &["o0"], vec![])]),
        placed("SequenceAt", -1, vec![three(), node("SequenceAt", &["s", "i2"], &["o0"], vec![])]),
        case("SequenceConstruct", 11, vec![three(), joined("s")]),
        case("ConcatFromSequence", 11, vec![three(), joined("s")]),
        op("ConcatFromSequence", 11, LAST)
            .x(F32, &[2, 3])
            .out(F32)
            .body(vec![node("SequenceConstruct", &["i0", "i0"], &["s"], vec![]), stacked]),
        placed(
            "SequenceErase",
            1,
            vec![three(), node("SequenceErase", &["s", "i2"], &["t"], vec![]), joined("t")],
        ),
        case("SequenceErase", 11, vec![three(), node("SequenceErase", &["s"], &["t"], vec![]), joined("t")]),
        placed(
            "SequenceInsert",
            1,
            vec![three(), node("SequenceInsert", &["s", "i1", "i2"], &["t"], vec![]), joined("t")],
        ),
        case(
            "SequenceEmpty",
            11,
            vec![
                node("SequenceEmpty", &[], &["s"], vec![]),
                node("SequenceInsert", &["s", "i1"], &["t"], vec![]),
                joined("t"),
            ],
        ),
        op("SequenceLength", 11, LAST)
            .x(F32, &[2, 3])
            .x(F32, &[1, 3])
            .out(I64)
            .body(vec![three(), node("SequenceLength", &["s"], &["o0"], vec![])]),
        case("SequenceMap", 17, vec![three(), mapped, joined("t")]),
        parts(op("SplitToSequence", 11, LAST), list(&[1, 3])).body(split(0, 1)),
        parts(op("SplitToSequence", 11, LAST), at(2)).body(split(-1, 1)),
        op("SplitToSequence", 11, LAST).x(F32, &[4, 3]).out(F32).body(vec![
            node("SplitToSequence", &["i0"], &["s"], vec![int("keepdims", 0)]),
            node("ConcatFromSequence", &["s"], &["o0"], vec![int("axis", 0)]),
        ]),
    ]
}

fn optionals() -> Vec<Case> {
    let held = || node("Optional", &["i0"], &["p"], vec![]);
    vec![
        op("Optional", 15, LAST)
            .x(F32, &[2])
            .out(F32)
            .body(vec![held(), node("OptionalGetElement", &["p"], &["o0"], vec![])]),
        op("OptionalGetElement", 15, LAST)
            .x(F32, &[2])
            .out(F32)
            .body(vec![held(), node("OptionalGetElement", &["p"], &["o0"], vec![])]),
        op("OptionalHasElement", 15, LAST)
            .x(F32, &[2])
            .out(Bool)
            .body(vec![held(), node("OptionalHasElement", &["p"], &["o0"], vec![])]),
        // Since version 18 what is not an optional is taken too, and nothing at all is asked about.
        op("OptionalGetElement", 18, LAST).x(F32, &[2]).out(F32),
        op("OptionalHasElement", 18, LAST).x(F32, &[2]).out(Bool),
        op("OptionalHasElement", 18, LAST).out(Bool),
    ]
}

fn texts() -> Vec<Case> {
    let words = || Tensor::from_texts([4], &["Monday", "a b", "", "a,b"]);
    let grams = |mode: &str| {
        op("TfIdfVectorizer", 9, LAST)
            .text("mode", mode)
            .int("min_gram_length", 1)
            .int("max_gram_length", 2)
            .int("max_skip_count", 1)
            .ints("ngram_counts", &[0, 2])
            .ints("ngram_indexes", &[0, 1, 2, 3])
            .ints("pool_int64s", &[1, 2, 1, 2, 2, 1])
            .floats("weights", &[0.5, 1.0, 2.0, 3.0])
            .input(Tensor::from_slice([6], &[1i64, 2, 1, 3, 2, 1]))
            .out(F32)
    };
    vec![
        op("StringConcat", 20, LAST).input(words()).x(Text, &[1]).out(Text),
        // ONNX Runtime makes no part of an empty text between delimiters, where ONNX's reference makes one.
        op("StringSplit", 20, LAST).text("delimiter", ",").x(Text, &[4]).outs(&[Text, I64]),
        op("StringSplit", 20, LAST).int("maxsplit", 1).input(words()).outs(&[Text, I64]),
        op("StringNormalizer", 10, LAST)
            .text("case_change_action", "UPPER")
            .text("locale", "C")
            .input(words())
            .out(Text),
        op("RegexFullMatch", 20, LAST).text("pattern", "a.*").input(words()).out(Bool),
        grams("TF"),
        grams("IDF"),
        grams("TFIDF"),
    ]
}

pub fn cases() -> Vec<Case> {
    [choices(), loops(), sequences(), optionals(), texts()].into_iter().flatten().collect()
}
