//! Gradient: what the importer writes out, beside differences of the function itself.
use super::build::*;
use super::{fails, good, run};
use onnx_protobuf::{AttributeProto, ModelProto, NodeProto, attribute_proto::AttributeType};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::{DType, Tensor};

const DOUBLE: i32 = 11;

/// Nodes that make `t` of the inputs `a`, `b`, …, and the inputs.
struct Function {
    nodes: Vec<NodeProto>,
    inputs: Vec<Tensor>,
}

fn text(name: &str, s: &str) -> AttributeProto {
    let type_ = AttributeType::STRING.into();
    AttributeProto { name: name.into(), type_, s: s.into(), ..Default::default() }
}

fn texts(name: &str, all: &[&str]) -> AttributeProto {
    let strings = all.iter().map(|s| s.as_bytes().to_vec()).collect();
    AttributeProto { name: name.into(), type_: AttributeType::STRINGS.into(), strings, ..Default::default() }
}

fn names(count: usize) -> Vec<&'static str> {
    ["a", "b", "c"][..count].to_vec()
}

impl Function {
    /// `y` is the sum of the elements of `t`, each times a number of its own; the other outputs are the gradients
    /// by all inputs.
    fn model(&self) -> ModelProto {
        let xs = names(self.inputs.len());
        let doubled = |to: &str| node("Cast", &["k"], &[to], vec![int("to", i64::from(DOUBLE))]);
        let mut nodes = self.nodes.clone();
        nodes.extend([
            node("Shape", &["t"], &["shape"], vec![]),
            node("Size", &["t"], &["count"], vec![]),
            node("Range", &["zero", "count", "one"], &["flat"], vec![]),
            node("Reshape", &["flat", "shape"], &["k"], vec![]),
            doubled("wide"),
            node("Sin", &["wide"], &["w"], vec![]),
            node("Mul", &["t", "w"], &["weighted"], vec![]),
            node("ReduceSum", &["weighted"], &["y"], vec![int("keepdims", 0)]),
        ]);
        let results: Vec<String> = xs.iter().map(|x| format!("d{x}")).collect();
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        let mut gradient = node("Gradient", &xs, &results, vec![texts("xs", &xs), text("y", "y")]);
        gradient.domain = "ai.onnx.preview.training".into();
        nodes.push(gradient);
        let dims = |t: &Tensor| t.shape().iter().map(|&n| D::N(n as i64)).collect::<Vec<_>>();
        let inputs = xs.iter().zip(&self.inputs).map(|(x, t)| value(x, DOUBLE, &dims(t))).collect();
        let outputs = ["y"].iter().chain(&results).map(|name| value(name, DOUBLE, &[])).collect();
        let constants =
            vec![ints("zero", &[], &[0]), ints("one", &[], &[1]), ints("picked", &[2, 2], &[2, 0, -1, 0])];
        model(graph(nodes, inputs, outputs, constants), 20)
    }

    /// Holds every derivative against a difference quotient.
    fn check(&self, name: &str) {
        const STEP: f64 = 1e-6;
        let model = good(&self.model());
        let found = run(&model, &self.inputs);
        for (i, x) in self.inputs.iter().enumerate() {
            assert_eq!(found[1 + i].shape(), x.shape(), "{name}");
            let derivatives = found[1 + i].to_f64s();
            for (k, &derivative) in derivatives.iter().enumerate() {
                let moved = |by: f64| {
                    let mut inputs = self.inputs.clone();
                    let mut values = x.to_f64s();
                    values[k] += by;
                    inputs[i] = Tensor::from_f64s(DType::F64, x.shape().to_vec(), values);
                    run(&model, &inputs)[0].get_f64(0)
                };
                let quotient = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let near = (derivative - quotient).abs() <= 1e-6 + 1e-5 * quotient.abs();
                assert!(near, "{name}, input {i}, element {k}: {derivative}, the quotient is {quotient}");
            }
        }
    }
}

/// Seeded numbers between two bounds.
fn between(low: f64, high: f64, shape: &[usize], seed: u64) -> Tensor {
    let values = sample(DType::F64, shape, seed).to_f64s();
    Tensor::from_f64s(
        DType::F64,
        shape.to_vec(),
        values.into_iter().map(|x| low + (high - low) / (1.0 + (-x).exp())),
    )
}

fn of(op: &str, inputs: Vec<Tensor>, attributes: Vec<AttributeProto>) -> Function {
    Function { nodes: vec![node(op, &names(inputs.len()), &["t"], attributes)], inputs }
}

#[test]
fn pointwise_functions() {
    let ranges: &[(f64, f64, &[&str])] = &[
        (-2.0, 2.0, &["Abs", "Neg", "Exp", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Erf"]),
        (-2.0, 2.0, &["Sigmoid", "Softplus", "Softsign", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Mish"]),
        (-2.0, 2.0, &["Gelu", "HardSigmoid", "HardSwish", "ThresholdedRelu", "Identity", "Floor", "Sign"]),
        (-0.9, 0.9, &["Asin", "Acos", "Atanh", "Tan"]),
        (1.1, 3.0, &["Acosh", "Log", "Sqrt", "Reciprocal"]),
    ];
    for (low, high, ops) in ranges {
        for op in *ops {
            of(op, vec![between(*low, *high, &[2, 3], 3)], vec![]).check(op);
        }
    }
    of("Gelu", vec![between(-2.0, 2.0, &[4], 3)], vec![text("approximate", "tanh")]).check("Gelu tanh");
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu", "Sum", "Mean"] {
        for shapes in [[&[2, 3][..], &[2, 3]], [&[2, 3], &[3]], [&[4, 2, 3], &[2, 1]]] {
            let inputs = vec![between(0.5, 2.0, shapes[0], 1), between(0.5, 3.0, shapes[1], 2)];
            of(op, inputs, vec![]).check(op);
        }
    }
    of("Mod", vec![between(5.0, 9.0, &[3], 1), between(1.0, 2.0, &[3], 2)], vec![int("fmod", 1)])
        .check("Mod");
}

#[test]
fn moves_reductions_and_products() {
    let x = |shape: &[usize]| between(-2.0, 2.0, shape, 5);
    of("Transpose", vec![x(&[2, 3, 4])], vec![integers("perm", &[2, 0, 1])]).check("Transpose");
    of("Flatten", vec![x(&[2, 3, 4])], vec![]).check("Flatten");
    of("Concat", vec![x(&[2, 3]), x(&[2, 1])], vec![int("axis", -1)]).check("Concat");
    for op in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp"] {
        of(op, vec![x(&[2, 3, 4])], vec![int("keepdims", 0)]).check(op);
        of(op, vec![x(&[2, 3])], vec![]).check(op);
    }
    for op in ["Softmax", "LogSoftmax"] {
        of(op, vec![x(&[2, 3, 4])], vec![int("axis", 1)]).check(op);
    }
    for shapes in [[&[2, 3][..], &[3, 4]], [&[5, 2, 3], &[3, 2]], [&[1, 2, 3], &[4, 3, 1]], [&[3], &[3, 2]]] {
        of("MatMul", vec![x(shapes[0]), x(shapes[1])], vec![]).check("MatMul");
    }
    let attributes = vec![int("transB", 1), float("alpha", 0.5)];
    of("Gemm", vec![x(&[2, 3]), x(&[4, 3]), x(&[4])], attributes).check("Gemm");
    for axis in [0, 1] {
        let nodes = vec![node("Gather", &["a", "picked"], &["t"], vec![int("axis", axis)])];
        Function { nodes, inputs: vec![x(&[3, 3, 2])] }.check("Gather");
    }
    // A value that is used twice, and one that is not used.
    let nodes = vec![
        node("Mul", &["a", "a"], &["square"], vec![]),
        node("Sin", &["square"], &["sin"], vec![]),
        node("Add", &["sin", "a"], &["t"], vec![]),
    ];
    Function { nodes, inputs: vec![x(&[3]), x(&[2])] }.check("twice");
}

/// The operands need not be the tensors that the gradient names.
#[test]
fn other_values_than_those_of_the_model() {
    let mut gradient = node("Gradient", &["b"], &["d"], vec![texts("xs", &["a"]), text("y", "y")]);
    gradient.domain = "ai.onnx.preview.training".into();
    let nodes = vec![gradient, node("Mul", &["a", "a"], &["y"], vec![])];
    let inputs = vec![value("a", DOUBLE, &[D::N(2)]), value("b", DOUBLE, &[D::N(2)])];
    let outputs = vec![value("y", DOUBLE, &[]), value("d", DOUBLE, &[])];
    let m = model(graph(nodes, inputs, outputs, vec![]), 20);
    let of = |values: [f64; 2]| Tensor::from_slice([2], &values);
    let found = run(&good(&m), &[of([1.0, 2.0]), of([5.0, -3.0])]);
    assert_eq!((found[0].to_f64s(), found[1].to_f64s()), (vec![1.0, 4.0], vec![10.0, -6.0]));
}

#[test]
fn what_has_no_rule_is_told() {
    let f = of("CumSum", vec![between(0.0, 1.0, &[3], 1)], vec![]);
    let mut m = f.model();
    m.graph.as_mut().expect("a graph").node[0].input.push("zero".into());
    fails(&m, "there is no rule for the derivative of `cumsum`");
}
