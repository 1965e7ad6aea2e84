//! A case: one node with its attributes, operands and results, and what ONNX Runtime is expected to do with it.
use super::build::{self, D, graph, node, opset, value};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, type_proto};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::{DType, Tensor};
use std::fmt::Write;

/// The domain of ONNX Runtime's own operators.
pub const MS: &str = "com.microsoft";
/// The domain of ONNX's operators for classical machine learning.
pub const ML: &str = "ai.onnx.ml";

/// An operand of the node.
#[derive(Clone)]
enum Slot {
    /// Left out.
    Nothing,
    /// An input of the model; names of dimensions that are symbols there.
    Input(Tensor, Vec<&'static str>),
    /// An initializer.
    Constant(Tensor),
}

/// What the case expects.
#[derive(Clone, PartialEq)]
pub enum Expected {
    /// All three agree.
    Agreement,
    /// ONNX Runtime refuses the node with an error that holds these words; reference and CPU agree.
    Refused(&'static str),
    /// The importer refuses the node with an error that holds these words.
    Unsupported(&'static str),
    /// All three agree, or ONNX Runtime has no kernel for the node; then reference and CPU agree.
    Offered,
    /// Results are random: all three agree on their types and shapes.
    Random,
}

/// One node as a model, with seeded inputs.
#[derive(Clone)]
pub struct Case {
    pub domain: &'static str,
    pub op: &'static str,
    /// The version of the domain.
    pub version: i64,
    /// The version of the standard domain.
    pub opset: i64,
    /// The last version of the standard domain in which the node has this form and meaning.
    pub until: i64,
    attributes: Vec<AttributeProto>,
    slots: Vec<Slot>,
    outputs: Vec<Option<DType>>,
    body: Option<Vec<NodeProto>>,
    oracle: Option<Vec<NodeProto>>,
    words: String,
    pub expected: Expected,
    /// Absolute and relative tolerance, where the usual one of the type does not fit.
    pub tolerance: Option<(f64, f64)>,
}

/// An operator of ONNX Runtime.
pub fn ms(op: &'static str) -> Case {
    Case::new(MS, op, 1)
}

impl Case {
    pub fn new(domain: &'static str, op: &'static str, version: i64) -> Case {
        Case {
            domain,
            op,
            version,
            opset: 21,
            until: 21,
            attributes: Vec::new(),
            slots: Vec::new(),
            outputs: Vec::new(),
            body: None,
            oracle: None,
            words: String::new(),
            expected: Expected::Agreement,
            tolerance: None,
        }
    }

    fn attribute(mut self, a: AttributeProto, value: impl std::fmt::Debug) -> Case {
        let _ = write!(self.words, " {}={value:?}", a.name);
        self.attributes.push(a);
        self
    }
    pub fn int(self, name: &str, i: i64) -> Case {
        self.attribute(build::int(name, i), i)
    }
    pub fn float(self, name: &str, f: f32) -> Case {
        self.attribute(build::float(name, f), f)
    }
    pub fn text(self, name: &str, s: &str) -> Case {
        let a = AttributeProto { s: s.into(), ..typed(name, AttributeType::STRING) };
        self.attribute(a, s)
    }
    pub fn texts(self, name: &str, list: &[&str]) -> Case {
        let strings = list.iter().map(|s| s.as_bytes().to_vec()).collect();
        let a = AttributeProto { strings, ..typed(name, AttributeType::STRINGS) };
        self.attribute(a, brief(list))
    }
    pub fn ints(self, name: &str, list: &[i64]) -> Case {
        self.attribute(ints(name, list), brief(list))
    }
    pub fn floats(self, name: &str, floats: &[f32]) -> Case {
        let a = AttributeProto { floats: floats.to_vec(), ..typed(name, AttributeType::FLOATS) };
        self.attribute(a, brief(floats))
    }
    pub fn graph(self, name: &str, g: GraphProto) -> Case {
        self.attribute(build::graph_attribute(name, g), "graph")
    }
    /// A tensor, as [`tensor`] makes it.
    pub fn tensor(self, a: AttributeProto) -> Case {
        let t = a.t.data_type;
        self.attribute(a, t)
    }
    /// Nodes that make `o0`, … from `i0`, … in place of the one; the operator of the case is among them.
    pub fn body(mut self, nodes: Vec<NodeProto>) -> Case {
        self.body = Some(nodes);
        self
    }
    /// The same node in a version of the standard domain.
    pub fn at(mut self, opset: i64) -> Case {
        self.opset = opset;
        self
    }
    /// A seeded input.
    pub fn x(self, dtype: DType, shape: &[usize]) -> Case {
        let seed = self.slots.len() as u64 + 7;
        self.input(sample(dtype, shape, seed))
    }
    /// A seeded initializer.
    pub fn w(self, dtype: DType, shape: &[usize]) -> Case {
        let seed = self.slots.len() as u64 + 7;
        self.constant(sample(dtype, shape, seed))
    }
    /// An input; an initializer where ONNX Runtime takes no inputs of the type.
    pub fn input(mut self, t: Tensor) -> Case {
        if is_hidden(t.dtype()) {
            return self.constant(t);
        }
        let _ = write!(self.words, " {}{:?}", t.dtype(), t.shape());
        self.slots.push(Slot::Input(t, Vec::new()));
        self
    }
    pub fn constant(mut self, t: Tensor) -> Case {
        let _ = write!(self.words, " const {}{:?}", t.dtype(), t.shape());
        self.slots.push(Slot::Constant(t));
        self
    }
    /// An operand that is left out.
    pub fn none(mut self) -> Case {
        self.words.push_str(" -");
        self.slots.push(Slot::Nothing);
        self
    }
    /// The last operand if it is there, else nothing in its place.
    pub fn either(self, given: bool, f: impl FnOnce(Case) -> Case) -> Case {
        if given { f(self) } else { self.none() }
    }
    /// The dimensions of the last input are symbols of these names; an empty name is the size.
    pub fn named(mut self, names: &[&'static str]) -> Case {
        if let Some(Slot::Input(_, all)) = self.slots.last_mut() {
            *all = names.to_vec();
            let _ = write!(self.words, "{names:?}");
        }
        self
    }
    pub fn out(mut self, dtype: DType) -> Case {
        self.outputs.push(Some(dtype));
        self
    }
    /// A result that nothing asks for.
    pub fn no_out(mut self) -> Case {
        self.outputs.push(None);
        self
    }
    /// Several results.
    pub fn outs(mut self, dtypes: &[DType]) -> Case {
        let _ = write!(self.words, " -> {}", dtypes.len());
        self.outputs.extend(dtypes.iter().map(|&d| Some(d)));
        self
    }
    /// What ONNX Runtime runs instead, for forms that its CPU provider does not have: nodes that make `o0`, …
    /// from `i0`, ….
    pub fn oracle(mut self, nodes: Vec<NodeProto>) -> Case {
        self.oracle = Some(nodes);
        self
    }
    /// With results that differ from run to run.
    pub fn random(mut self) -> Case {
        self.expected = Expected::Random;
        self
    }
    pub fn refused(mut self, words: &'static str) -> Case {
        self.expected = Expected::Refused(words);
        self
    }
    /// A node that cannot be imported. ONNX Runtime is not asked.
    pub fn unsupported(mut self, words: &'static str) -> Case {
        self.expected = Expected::Unsupported(words);
        self
    }
    pub fn within(mut self, atol: f64, rtol: f64) -> Case {
        self.tolerance = Some((atol, rtol));
        self
    }

    /// What the case is called in messages.
    pub fn name(&self) -> String {
        format!("{} ({}){}", self.op, self.opset, self.words)
    }

    /// The element type of an operand, or of the first result.
    pub fn dtype(&self, operand: Option<usize>) -> Option<DType> {
        match operand {
            Some(i) => match self.slots.get(i)? {
                Slot::Nothing => None,
                Slot::Input(t, _) | Slot::Constant(t) => Some(t.dtype()),
            },
            None => *self.outputs.first()?,
        }
    }

    /// The same node with every tensor of one type, or one operand alone, in another type; whole numbers are
    /// small and not zero.
    pub fn retyped(mut self, from: DType, to: DType, alone: Option<usize>) -> Case {
        let most = if to.bits() == 2 { 1.0 } else { 7.0 };
        let whole = |x: f64| match (x * 4.0).round() {
            0.0 => 1.0,
            y if to.is_signed() => y.clamp(-most, most),
            y => y.abs().clamp(1.0, 3.0),
        };
        let convert = |t: &Tensor| match to {
            DType::String | DType::Bool => sample(to, t.shape(), 7),
            _ if to.is_float() => Tensor::from_f64s(to, t.shape(), t.to_f64s()),
            _ => Tensor::from_i64s(to, t.shape(), t.to_f64s().into_iter().map(|x| whole(x) as i64)),
        };
        for (_, slot) in self.slots.iter_mut().enumerate().filter(|(i, _)| alone.is_none_or(|a| a == *i)) {
            *slot = match std::mem::replace(slot, Slot::Nothing) {
                Slot::Input(t, _) if t.dtype() == from && is_hidden(to) => Slot::Constant(convert(&t)),
                Slot::Input(t, names) if t.dtype() == from => Slot::Input(convert(&t), names),
                Slot::Constant(t) if t.dtype() == from => Slot::Constant(convert(&t)),
                other => other,
            };
        }
        self.outputs.iter_mut().flatten().filter(|o| **o == from).for_each(|o| *o = to);
        let _ = write!(self.words, " as {to}");
        self.tolerance = None;
        self
    }

    /// Whether the node has a graph of its own.
    pub fn has_graph(&self) -> bool {
        let nested = |n: &NodeProto| n.attribute.iter().any(|a| a.g.is_some());
        self.attributes.iter().any(|a| a.g.is_some()) || self.body.iter().flatten().any(nested)
    }

    /// The inputs by name.
    pub fn inputs(&self) -> Vec<(String, Tensor)> {
        let named = |(i, s): (usize, &Slot)| match s {
            Slot::Input(t, _) => Some((format!("i{i}"), t.clone())),
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(named).collect()
    }

    /// The model.
    pub fn model(&self) -> ModelProto {
        if let Some(nodes) = &self.body {
            return self.around(nodes.clone());
        }
        let names: Vec<String> = (self.slots.iter().enumerate())
            .map(|(i, s)| if matches!(s, Slot::Nothing) { String::new() } else { format!("i{i}") })
            .collect();
        let results: Vec<String> = (self.outputs.iter().enumerate())
            .map(|(i, o)| if o.is_some() { format!("o{i}") } else { String::new() })
            .collect();
        let (ins, outs): (Vec<&str>, Vec<&str>) =
            (names.iter().map(String::as_str).collect(), results.iter().map(String::as_str).collect());
        let mut node = node(self.op, &ins, &outs, self.attributes.clone());
        node.domain = self.domain.into();
        let mut nodes = vec![node];
        for (i, _) in self.outputs.iter().enumerate().filter(|(_, o)| o.is_some_and(is_hidden)) {
            nodes[0].output[i] = format!("hidden{i}");
            let to = vec![build::int("to", number(DType::F32).into())];
            let mut cast = build::node("Cast", &[&format!("hidden{i}")], &[&format!("o{i}")], to);
            cast.name.push_str("_seen");
            nodes.push(cast);
        }
        self.around(nodes)
    }

    /// Whether ONNX Runtime runs other nodes.
    pub fn has_oracle(&self) -> bool {
        self.oracle.is_some()
    }

    /// What ONNX Runtime is given.
    pub fn oracle_model(&self) -> ModelProto {
        self.oracle.as_ref().map_or_else(|| self.model(), |nodes| self.around(nodes.clone()))
    }

    /// A model of these nodes with the case's inputs and outputs.
    fn around(&self, nodes: Vec<NodeProto>) -> ModelProto {
        let (mut inputs, mut constants) = (Vec::new(), Vec::new());
        for (i, slot) in self.slots.iter().enumerate() {
            match slot {
                Slot::Nothing => {}
                Slot::Constant(t) => constants.push(encode(&format!("i{i}"), t)),
                Slot::Input(t, names) => {
                    let dim = |(k, &n): (usize, &usize)| match names.get(k) {
                        Some(name) if !name.is_empty() => D::S(name),
                        _ => D::N(n as i64),
                    };
                    let dims: Vec<D> = t.shape().iter().enumerate().map(dim).collect();
                    let mut input = value(&format!("i{i}"), number(t.dtype()), &dims);
                    if t.dtype() == DType::List
                        && let [keys, values] = t.items(0)
                    {
                        input.type_ = Some(map_type(keys.dtype(), values.dtype())).into();
                    }
                    inputs.push(input);
                }
            }
        }
        let result = |(i, o): (usize, &Option<DType>)| {
            let seen = if is_hidden((*o)?) { DType::F32 } else { (*o)? };
            let mut v = value(&format!("o{i}"), number(seen), &[]);
            if *o == Some(DType::List) {
                v.type_ = None.into();
            } else if let Some(type_proto::Value::TensorType(t)) = &mut v.type_.as_mut()?.value {
                t.shape = None.into();
            }
            Some(v)
        };
        let outputs = self.outputs.iter().enumerate().filter_map(result).collect();
        let mut model = build::model(graph(nodes, inputs, outputs, constants), self.opset);
        model.opset_import.push(opset(MS, 1));
        model.opset_import.push(opset(ML, if self.domain == ML { self.version } else { 5 }));
        model
    }
}

/// Whether tensors of this type cannot be given to ONNX Runtime or read from it: results are cast to singles.
fn is_hidden(dtype: DType) -> bool {
    dtype.is_float() && dtype.bits() <= 8 || matches!(dtype.bits(), 2 | 4)
}

/// A node of ONNX Runtime's domain.
pub fn ms_node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto { domain: MS.into(), ..node(op, inputs, outputs, attributes) }
}

/// The type of maps from numbers or texts to single elements.
fn map_type(key: DType, item: DType) -> TypeProto {
    let mut map = type_proto::Map { key_type: number(key), ..Default::default() };
    map.value_type = value("", number(item), &[]).type_;
    TypeProto { value: Some(type_proto::Value::MapType(map)), ..Default::default() }
}

fn typed(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: kind.into(), ..Default::default() }
}

/// A tensor as an attribute.
pub fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t).into(), ..typed(name, AttributeType::TENSOR) }
}

/// A list of integers as an attribute.
pub fn ints(name: &str, list: &[i64]) -> AttributeProto {
    AttributeProto { ints: list.to_vec(), ..typed(name, AttributeType::INTS) }
}

/// The first few of a list.
fn brief<T: Clone>(all: &[T]) -> Vec<T> {
    all.iter().take(6).cloned().collect()
}

/// A tensor of the file format; types of four bits two a byte, of two bits four.
pub fn encode(name: &str, t: &Tensor) -> TensorProto {
    let dims: Vec<i64> = t.shape().iter().map(|&n| n as i64).collect();
    if t.dtype() == DType::String {
        let string_data = t.texts().iter().map(|text| text.as_bytes().to_vec()).collect();
        return TensorProto { string_data, ..build::raw(name, number(DType::String), &dims, &[]) };
    }
    let bytes = match t.dtype().bits() {
        4 => t.bytes().chunks(2).map(|p| (p[0] & 15) | (p.get(1).map_or(0, |b| b << 4))).collect(),
        2 => {
            let byte = |four: &[u8]| four.iter().rev().fold(0, |byte, b| byte << 2 | b & 3);
            t.bytes().chunks(4).map(byte).collect()
        }
        _ => t.bytes().to_vec(),
    };
    build::raw(name, number(t.dtype()), &dims, &bytes)
}

/// The number of an element type in the file format.
pub fn number(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::String => 8,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
        DType::F8E4M3FN => 17,
        DType::F8E4M3FNUZ => 18,
        DType::F8E5M2 => 19,
        DType::F8E5M2FNUZ => 20,
        DType::U4 => 21,
        DType::I4 => 22,
        DType::F4E2M1 => 23,
        DType::F8E8M0 => 24,
        DType::U2 => 25,
        DType::I2 => 26,
        // A list is no tensor.
        DType::List => 0,
    }
}
