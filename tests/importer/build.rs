//! Builds ONNX models with the `onnx-protobuf` crate, an encoder that is not the importer's own.
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// Element types by their number in the file format.
pub const FLOAT: i32 = 1;
pub const INT64: i32 = 7;
pub const BOOL: i32 = 9;

/// A dimension: a number, a name, or nothing.
#[derive(Clone, Copy)]
pub enum D<'a> {
    N(i64),
    S(&'a str),
    Open,
}

pub fn value(name: &str, elem: i32, dims: &[D]) -> ValueInfoProto {
    let dim = |d: &D| Dimension {
        value: match d {
            D::N(n) => Some(dimension::Value::DimValue(*n)),
            D::S(s) => Some(dimension::Value::DimParam(s.to_string())),
            D::Open => None,
        },
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: elem, shape: Some(shape).into(), ..Default::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(ty).into(), ..Default::default() }
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{op}_{}", outputs.first().unwrap_or(&"")),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        attribute: attributes,
        ..Default::default()
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INT.into(), i, ..Default::default() }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::FLOAT.into(), f, ..Default::default() }
}

pub fn integers(name: &str, values: &[i64]) -> AttributeProto {
    let (type_, ints) = (AttributeType::INTS.into(), values.to_vec());
    AttributeProto { name: name.into(), type_, ints, ..Default::default() }
}

pub fn tensor_attribute(name: &str, t: TensorProto) -> AttributeProto {
    let type_ = AttributeType::TENSOR.into();
    AttributeProto { name: name.into(), type_, t: Some(t).into(), ..Default::default() }
}

pub fn graph_attribute(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: Some(g).into(),
        ..Default::default()
    }
}

pub fn reference(name: &str, to: &str) -> AttributeProto {
    let type_ = AttributeType::FLOAT.into();
    AttributeProto { name: name.into(), type_, ref_attr_name: to.into(), ..Default::default() }
}

pub fn raw(name: &str, elem: i32, dims: &[i64], bytes: &[u8]) -> TensorProto {
    let (dims, raw_data) = (dims.to_vec(), bytes.to_vec());
    TensorProto { name: name.into(), data_type: elem, dims, raw_data, ..Default::default() }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    raw(name, FLOAT, dims, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

pub fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    raw(name, INT64, dims, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

pub fn graph(
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    initializers: Vec<TensorProto>,
) -> GraphProto {
    GraphProto {
        name: "g".into(),
        node: nodes,
        input: inputs,
        output: outputs,
        initializer: initializers,
        ..Default::default()
    }
}

pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: domain.into(), version, ..Default::default() }
}

pub fn model(graph: GraphProto, version: i64) -> ModelProto {
    ModelProto {
        ir_version: 10,
        producer_name: "test".into(),
        opset_import: vec![opset("", version)],
        graph: Some(graph).into(),
        ..Default::default()
    }
}

pub fn bytes(m: &ModelProto) -> Vec<u8> {
    m.write_to_bytes().expect("a model should encode")
}
