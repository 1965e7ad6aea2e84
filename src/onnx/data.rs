//! Tensors, sequences and optionals in the files of the format's tests (`input_0.pb`, …).
use super::file::Files;
use super::kind::Kind;
use super::proto::TensorProto;
use super::tensor::tensor;
use bytes::Bytes;
use prost::Message;
use sardonyx_tensor::Tensor;

/// The format's `SequenceProto`, without what is not read: sparse tensors and maps.
#[derive(Clone, PartialEq, Message)]
struct SequenceProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "5")]
    sequences: Vec<SequenceProto>,
    #[prost(message, repeated, tag = "7")]
    optionals: Vec<OptionalProto>,
}

/// The format's `OptionalProto`.
#[derive(Clone, PartialEq, Message)]
struct OptionalProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "3")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "5")]
    sequence: Option<SequenceProto>,
    #[prost(message, optional, boxed, tag = "7")]
    optional: Option<Box<OptionalProto>>,
}

/// The name and the value, lists for sequences and optionals.
pub(crate) fn decoded(bytes: Bytes, kind: &Kind) -> Result<(String, Tensor), String> {
    let wrong = |e: prost::DecodeError| e.to_string();
    match kind {
        Kind::Sequence(_) => {
            let proto = SequenceProto::decode(bytes).map_err(wrong)?;
            Ok((proto.name.clone(), sequence(&proto)?))
        }
        Kind::Optional(_) => {
            let proto = OptionalProto::decode(bytes).map_err(wrong)?;
            Ok((proto.name.clone(), optional(&proto)?))
        }
        Kind::Tensor(..) | Kind::Unknown => {
            let proto = TensorProto::decode(bytes).map_err(wrong)?;
            let tensor = tensor(&proto, &mut Files::none())?;
            Ok((proto.name, tensor))
        }
    }
}

fn sequence(proto: &SequenceProto) -> Result<Tensor, String> {
    let tensors = proto.tensors.iter().map(|t| tensor(t, &mut Files::none()));
    let sequences = proto.sequences.iter().map(sequence);
    let items = tensors.chain(sequences).chain(proto.optionals.iter().map(optional));
    Ok(Tensor::from_list(items.collect::<Result<Vec<_>, _>>()?))
}

fn optional(proto: &OptionalProto) -> Result<Tensor, String> {
    let tensor = proto.tensor.iter().map(|t| tensor(t, &mut Files::none()));
    let items = tensor.chain(proto.sequence.iter().map(sequence));
    let items = items.chain(proto.optional.iter().map(|o| optional(o)));
    Ok(Tensor::from_list(items.collect::<Result<Vec<_>, _>>()?))
}
