//! Models of any number of nodes: what grows faster than the model shows on them.
use crate::build::*;
use onnx_protobuf::{ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// A model of so many nodes.
type Make = fn(usize) -> ModelProto;

/// The kinds of models, by name, and what each stresses.
pub const KINDS: &[(&str, Make)] = &[
    ("chain", chain),
    ("wide", wide),
    ("outputs", outputs),
    ("blocks", blocks),
    ("convolutions", convolutions),
    ("shapes", shapes),
    ("constants", constants),
];

/// A graph under construction: nodes, and constants with their names.
#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Graph {
    /// Adds a node; the name of its result.
    fn add(&mut self, op: &str, inputs: &[&str]) -> String {
        self.with(op, inputs, vec![])
    }
    /// As [`Graph::add`], with attributes.
    fn with(&mut self, op: &str, inputs: &[&str], attributes: Vec<onnx_protobuf::AttributeProto>) -> String {
        let name = format!("v{}", self.nodes.len());
        self.nodes.push(node(op, inputs, &[&name], attributes));
        name
    }
    /// Adds a constant of floats that differ by constant and element.
    fn weight(&mut self, dims: &[i64]) -> String {
        let (name, k) = (format!("w{}", self.constants.len()), self.constants.len());
        let count = dims.iter().product::<i64>() as usize;
        let value = |i: usize| ((k * 31 + i * 17) % 101) as f32 / 101.0 + 0.25;
        self.constants.push(floats(&name, dims, &(0..count).map(value).collect::<Vec<_>>()));
        name
    }
    fn integers(&mut self, dims: &[i64], values: &[i64]) -> String {
        let name = format!("w{}", self.constants.len());
        self.constants.push(ints(&name, dims, values));
        name
    }
    fn model(self, inputs: Vec<ValueInfoProto>, outputs: &[String], shape: &[D]) -> ModelProto {
        let outputs = outputs.iter().map(|o| value(o, FLOAT, shape)).collect();
        model(graph(self.nodes, inputs, outputs, self.constants), 17)
    }
}

/// One value after the other, each pointwise, with a constant of its own in every second.
fn chain(n: usize) -> ModelProto {
    let mut g = Graph::default();
    let mut x = String::from("x");
    while g.nodes.len() < n {
        let w = g.weight(&[64]);
        x = match g.nodes.len() % 4 {
            0 => g.add("Mul", &[&x, &w]),
            1 => g.add("Sigmoid", &[&x]),
            2 => g.add("Add", &[&x, &w]),
            _ => g.add("Tanh", &[&x]),
        };
    }
    g.model(vec![value("x", FLOAT, &[D::S("b"), D::N(64)])], &[x], &[D::S("b"), D::N(64)])
}

/// One value with very many users, which come together again.
fn wide(n: usize) -> ModelProto {
    let mut g = Graph::default();
    let mut parts = Vec::new();
    while g.nodes.len() + 2 < n {
        let w = g.weight(&[64]);
        let y = g.add("Mul", &["x", &w]);
        parts.push(g.add("Softmax", &[&y]));
    }
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = g.with("Concat", &names, vec![int("axis", 1)]);
    let y = g.add("Relu", &[&all]);
    g.model(vec![value("x", FLOAT, &[D::S("b"), D::N(64)])], &[y], &[D::S("b"), D::Open])
}

/// Very many inputs and outputs.
fn outputs(n: usize) -> ModelProto {
    let mut g = Graph::default();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    while g.nodes.len() + 1 < n {
        let name = format!("x{}", inputs.len());
        inputs.push(value(&name, FLOAT, &[D::S("b"), D::N(8)]));
        let y = g.with("Softmax", &[&name], vec![int("axis", 1)]);
        outputs.push(g.add("Exp", &[&y]));
    }
    g.model(inputs, &outputs, &[D::S("b"), D::N(8)])
}

/// Transformer blocks as exporters write them: normalization, attention and activation written out.
fn blocks(n: usize) -> ModelProto {
    const WIDTH: i64 = 16;
    let mut g = Graph::default();
    let mut x = String::from("x");
    while g.nodes.len() + 56 <= n {
        let y = normalized(&mut g, &x, WIDTH);
        let heads = g.integers(&[4], &[0, -1, 2, WIDTH / 2]);
        let project = |g: &mut Graph| {
            let (w, bias) = (g.weight(&[WIDTH, WIDTH]), g.weight(&[WIDTH]));
            let y = g.add("MatMul", &[&y, &w]);
            let y = g.add("Add", &[&y, &bias]);
            let y = g.add("Reshape", &[&y, &heads]);
            g.with("Transpose", &[&y], vec![integers("perm", &[0, 2, 1, 3])])
        };
        let (q, k, v) = (project(&mut g), project(&mut g), project(&mut g));
        let k = g.with("Transpose", &[&k], vec![integers("perm", &[0, 1, 3, 2])]);
        let scores = g.add("MatMul", &[&q, &k]);
        let scale = g.weight(&[]);
        let scores = g.add("Mul", &[&scores, &scale]);
        let scores = g.with("Softmax", &[&scores], vec![int("axis", -1)]);
        let y = g.add("MatMul", &[&scores, &v]);
        let y = g.with("Transpose", &[&y], vec![integers("perm", &[0, 2, 1, 3])]);
        let whole = g.integers(&[3], &[0, -1, WIDTH]);
        let y = g.add("Reshape", &[&y, &whole]);
        let (w, bias) = (g.weight(&[WIDTH, WIDTH]), g.weight(&[WIDTH]));
        let y = g.add("MatMul", &[&y, &w]);
        let y = g.add("Add", &[&y, &bias]);
        x = g.add("Add", &[&x, &y]);
        let y = normalized(&mut g, &x, WIDTH);
        let (w, bias) = (g.weight(&[WIDTH, 2 * WIDTH]), g.weight(&[2 * WIDTH]));
        let y = g.add("MatMul", &[&y, &w]);
        let y = g.add("Add", &[&y, &bias]);
        let y = gelu(&mut g, &y);
        let (w, bias) = (g.weight(&[2 * WIDTH, WIDTH]), g.weight(&[WIDTH]));
        let y = g.add("MatMul", &[&y, &w]);
        let y = g.add("Add", &[&y, &bias]);
        x = g.add("Add", &[&x, &y]);
    }
    let x = fill(&mut g, x, n);
    let shape = [D::S("b"), D::S("s"), D::N(WIDTH)];
    g.model(vec![value("x", FLOAT, &shape)], &[x], &shape)
}

/// Layer normalization written out.
fn normalized(g: &mut Graph, x: &str, width: i64) -> String {
    let last = || vec![integers("axes", &[-1])];
    let mean = g.with("ReduceMean", &[x], last());
    let y = g.add("Sub", &[x, &mean]);
    let square = g.add("Mul", &[&y, &y]);
    let variance = g.with("ReduceMean", &[&square], last());
    let epsilon = g.weight(&[]);
    let variance = g.add("Add", &[&variance, &epsilon]);
    let deviation = g.add("Sqrt", &[&variance]);
    let y = g.add("Div", &[&y, &deviation]);
    let (w, bias) = (g.weight(&[width]), g.weight(&[width]));
    let y = g.add("Mul", &[&y, &w]);
    g.add("Add", &[&y, &bias])
}

/// The exact GELU written out.
fn gelu(g: &mut Graph, x: &str) -> String {
    let number = |g: &mut Graph, value: f32| {
        let name = format!("w{}", g.constants.len());
        g.constants.push(floats(&name, &[], &[value]));
        name
    };
    let (root, one, half) = (number(g, 2f32.sqrt()), number(g, 1.0), number(g, 0.5));
    let y = g.add("Div", &[x, &root]);
    let y = g.add("Erf", &[&y]);
    let y = g.add("Add", &[&y, &one]);
    let y = g.add("Mul", &[x, &y]);
    g.add("Mul", &[&y, &half])
}

/// Activations until the graph has `n` nodes.
fn fill(g: &mut Graph, mut x: String, n: usize) -> String {
    while g.nodes.len() < n {
        x = g.add("Relu", &[&x]);
    }
    x
}

/// Residual blocks: convolution, batch normalization, activation.
fn convolutions(n: usize) -> ModelProto {
    const CHANNELS: i64 = 4;
    let mut g = Graph::default();
    let mut x = String::from("x");
    while g.nodes.len() + 7 <= n {
        let mut y = x.clone();
        for k in 0..2 {
            let w = g.weight(&[CHANNELS, CHANNELS, 3, 3]);
            y = g.with("Conv", &[&y, &w], vec![integers("pads", &[1, 1, 1, 1])]);
            let parameters: Vec<String> = (0..4).map(|_| g.weight(&[CHANNELS])).collect();
            let [a, b, c, d] = &parameters[..] else { unreachable!("four parameters") };
            y = g.add("BatchNormalization", &[&y, a, b, c, d]);
            if k == 0 {
                y = g.add("Relu", &[&y]);
            }
        }
        let sum = g.add("Add", &[&x, &y]);
        x = g.add("Relu", &[&sum]);
    }
    let x = fill(&mut g, x, n);
    let shape = [D::S("b"), D::N(CHANNELS), D::N(8), D::N(8)];
    g.model(vec![value("x", FLOAT, &shape)], &[x], &shape)
}

/// Shapes computed from shapes, as exporters write every reshape.
fn shapes(n: usize) -> ModelProto {
    let mut g = Graph::default();
    let mut x = String::from("x");
    while g.nodes.len() + 10 <= n {
        let (zero, one) = (g.integers(&[], &[0]), g.integers(&[], &[1]));
        let (axis, rest) = (g.integers(&[1], &[0]), g.integers(&[1], &[-1]));
        let shape = g.add("Shape", &[&x]);
        let batch = g.with("Gather", &[&shape, &zero], vec![int("axis", 0)]);
        let length = g.with("Gather", &[&shape, &one], vec![int("axis", 0)]);
        let product = g.add("Mul", &[&batch, &length]);
        let rows = g.add("Unsqueeze", &[&product, &axis]);
        let flat = g.with("Concat", &[&rows, &rest], vec![int("axis", 0)]);
        let y = g.add("Reshape", &[&x, &flat]);
        let w = g.weight(&[8]);
        let y = g.add("Mul", &[&y, &w]);
        let y = g.add("Reshape", &[&y, &shape]);
        x = g.add("Tanh", &[&y]);
    }
    let x = fill(&mut g, x, n);
    let shape = [D::S("b"), D::S("s"), D::N(8)];
    g.model(vec![value("x", FLOAT, &shape)], &[x], &shape)
}

/// Constants made by nodes, many of them equal, computed with before they meet an input.
fn constants(n: usize) -> ModelProto {
    let mut g = Graph::default();
    let mut x = String::from("x");
    while g.nodes.len() + 4 <= n {
        let k = (g.nodes.len() % 40) as f32;
        let tensor = |k: f32| floats("", &[8], &(0..8).map(|i| k + i as f32).collect::<Vec<_>>());
        let a = g.with("Constant", &[], vec![tensor_attribute("value", tensor(k))]);
        let b = g.with("Constant", &[], vec![tensor_attribute("value", tensor(k + 1.0))]);
        let c = g.add("Mul", &[&a, &b]);
        x = g.add("Add", &[&x, &c]);
    }
    let x = fill(&mut g, x, n);
    g.model(vec![value("x", FLOAT, &[D::S("b"), D::N(8)])], &[x], &[D::S("b"), D::N(8)])
}
