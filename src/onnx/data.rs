//! Tensors, sequences and optionals in the files of the format's tests (`input_0.pb`, …).
use super::file::Files;
use super::kind::Kind;
use super::proto::TensorProto;
use super::tensor::tensor;
use bytes::Bytes;
use prost::Message;
use sardonyx_tensor::Tensor;

/// The format's `SequenceProto`, without what is not read: sparse tensors.
#[derive(Clone, PartialEq, Message)]
struct SequenceProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "5")]
    sequences: Vec<SequenceProto>,
    #[prost(message, repeated, tag = "6")]
    maps: Vec<MapProto>,
    #[prost(message, repeated, tag = "7")]
    optionals: Vec<OptionalProto>,
}

/// The format's `MapProto`.
#[derive(Clone, PartialEq, Message)]
struct MapProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, repeated, tag = "3")]
    keys: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    string_keys: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    values: Option<SequenceProto>,
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
        Kind::Map(..) => {
            let proto = MapProto::decode(bytes).map_err(wrong)?;
            Ok((proto.name.clone(), map(&proto)?))
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
    let items = tensors
        .chain(sequences)
        .chain(proto.maps.iter().map(map))
        .chain(proto.optionals.iter().map(optional));
    Ok(Tensor::from_list(items.collect::<Result<Vec<_>, _>>()?))
}

/// The list of keys and values.
fn map(proto: &MapProto) -> Result<Tensor, String> {
    let texts: Vec<_> = proto.string_keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
    let keys = match texts.is_empty() {
        true => Tensor::from_slice([proto.keys.len()], &proto.keys),
        false => Tensor::from_texts([texts.len()], &texts),
    };
    let flat = |t: &TensorProto| {
        let t = tensor(t, &mut Files::none())?;
        let count = t.len();
        Ok(t.reshaped([count]))
    };
    let values = proto.values.iter().flat_map(|values| &values.tensors).map(flat);
    let values = values.collect::<Result<Vec<Tensor>, String>>()?;
    let values = sardonyx_values::list_concat(&Tensor::from_list(values), 0, false)?;
    if keys.len() != values.len() {
        return Err(format!("a map of {} keys and {} values", keys.len(), values.len()));
    }
    Ok(Tensor::from_list([keys, values]))
}

fn optional(proto: &OptionalProto) -> Result<Tensor, String> {
    let tensor = proto.tensor.iter().map(|t| tensor(t, &mut Files::none()));
    let items = tensor.chain(proto.sequence.iter().map(sequence));
    let items = items.chain(proto.optional.iter().map(|o| optional(o)));
    Ok(Tensor::from_list(items.collect::<Result<Vec<_>, _>>()?))
}
