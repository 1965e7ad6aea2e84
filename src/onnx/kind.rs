//! What a value of a model is that is no tensor: sequences and optionals.
//!
//! A sequence whose length the importer knows stays a list of entities and leaves no trace in the graph. Where
//! only the run knows it, and where a sequence or optional leaves a graph, it is a value of type `list[]`: an
//! optional is a list of one item or none.
use super::context::Built;
use super::error::{Fault, unsupported};
use super::proto::tensor_shape_proto::dimension::Value as DimValue;
use super::proto::type_proto::{Tensor as TensorType, Value as TypeValue};
use super::proto::{TypeProto, ValueInfoProto};
use super::scope::Entity;
use super::tensor::dtype;
use sardonyx_ir::{Graph, Op, Value};
use sardonyx_tensor::{DType, Dim};

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Something that no value tells about: an item of what is empty.
    Unknown,
    /// A tensor: the type of its elements, and its sizes as far as they are known; `None` where not even their
    /// number is.
    Tensor(DType, Option<Vec<Option<i64>>>),
    /// A sequence of such items.
    Sequence(Box<Kind>),
    /// A map, of the types of its keys and values: the list of both, each a list of one dimension.
    Map(DType, DType),
    /// One such item or none.
    Optional(Box<Kind>),
}

impl Kind {
    /// The kind that the model declares for an input or output.
    pub(crate) fn declared(info: &ValueInfoProto) -> Result<Kind, String> {
        Kind::of_type(info.r#type.as_ref()).map_err(|what| format!("the value `{}` {what}", info.name))
    }

    fn of_type(ty: Option<&TypeProto>) -> Result<Kind, String> {
        Ok(match ty.and_then(|t| t.value.as_ref()) {
            Some(TypeValue::TensorType(t)) => Kind::of_tensor(t)?,
            Some(TypeValue::SequenceType(s)) => {
                Kind::Sequence(Box::new(Kind::of_type(s.elem_type.as_deref())?))
            }
            Some(TypeValue::OptionalType(o)) => {
                Kind::Optional(Box::new(Kind::of_type(o.elem_type.as_deref())?))
            }
            Some(TypeValue::MapType(m)) => {
                let key = dtype(m.key_type).map_err(|e| format!("has keys: {e}"))?;
                match Kind::of_type(m.value_type.as_deref())? {
                    Kind::Tensor(value, _) => Kind::Map(key, value),
                    _ => return Err("is a map to what is no tensor".into()),
                }
            }
            Some(TypeValue::SparseTensorType(_)) => return Err("is sparse".into()),
            None => return Err("has no type".into()),
        })
    }

    fn of_tensor(t: &TensorType) -> Result<Kind, String> {
        let size = |d: &super::proto::tensor_shape_proto::Dimension| match d.value {
            Some(DimValue::DimValue(n)) if n >= 0 => Some(n),
            _ => None,
        };
        let dtype = dtype(t.elem_type).map_err(|e| format!("has {e}"))?;
        Ok(Kind::Tensor(dtype, t.shape.as_ref().map(|s| s.dim.iter().map(size).collect())))
    }

    /// What an entity of a graph is.
    pub(crate) fn of(entity: &Entity, g: &Graph) -> Built<Kind> {
        Ok(match entity {
            Entity::Value(v) => {
                let ty = g.ty(*v);
                Kind::Tensor(ty.dtype, Some(ty.shape.iter().map(Dim::known).collect()))
            }
            Entity::List(_, kind) => kind.clone(),
            Entity::Nothing => Kind::Optional(Box::new(Kind::Unknown)),
            Entity::Sequence(all) => {
                let mut item = Kind::Unknown;
                for e in all {
                    item = item.joined(&Kind::of(e, g)?)?;
                }
                Kind::Sequence(Box::new(item))
            }
            Entity::Missing => return Err(Fault::Missing),
        })
    }

    /// The kind that values of both kinds are of.
    pub(crate) fn joined(&self, other: &Kind) -> Built<Kind> {
        let boxed = |a: &Kind, b: &Kind| a.joined(b).map(Box::new);
        Ok(match (self, other) {
            (Kind::Unknown, k) | (k, Kind::Unknown) => k.clone(),
            (Kind::Tensor(a, s), Kind::Tensor(b, t)) if a == b => {
                let shape = s.as_ref().zip(t.as_ref()).filter(|(s, t)| s.len() == t.len());
                let size = |(a, b): (&Option<i64>, &Option<i64>)| a.filter(|_| a == b);
                Kind::Tensor(*a, shape.map(|(s, t)| s.iter().zip(t).map(size).collect()))
            }
            (Kind::Map(a, x), Kind::Map(b, y)) if (a, x) == (b, y) => Kind::Map(*a, *x),
            (Kind::Sequence(a), Kind::Sequence(b)) => Kind::Sequence(boxed(a, b)?),
            (Kind::Optional(a), Kind::Optional(b)) => Kind::Optional(boxed(a, b)?),
            (Kind::Optional(a), b) | (b, Kind::Optional(a)) => Kind::Optional(boxed(a, b)?),
            (a, b) => return unsupported(format!("a value that is both {a:?} and {b:?}")),
        })
    }

    /// Whether there is something in it that no value tells about.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Kind::Unknown => true,
            Kind::Tensor(..) | Kind::Map(..) => false,
            Kind::Sequence(item) | Kind::Optional(item) => item.is_open(),
        }
    }

    /// The entity that a value of the graph is.
    pub(crate) fn entity(&self, v: Value) -> Entity {
        match self {
            Kind::Tensor(..) | Kind::Unknown => Entity::Value(v),
            kind => Entity::List(v, kind.clone()),
        }
    }
}

/// An entity as a value of its graph, of a kind that it is of.
pub(crate) fn lowered(g: &mut Graph, entity: &Entity, kind: &Kind) -> Built {
    let mut all = |entities: &[Entity], item: &Kind| -> Built {
        let values: Vec<Value> = entities.iter().map(|e| lowered(g, e, item)).collect::<Result<_, _>>()?;
        Ok(g.add(Op::ListOf {}, &values)?)
    };
    match (entity, kind) {
        (Entity::Missing, _) => Err(Fault::Missing),
        (Entity::List(v, Kind::Optional(_)), Kind::Optional(_)) => Ok(*v),
        (Entity::Nothing, _) => all(&[], &Kind::Unknown),
        (e, Kind::Optional(item)) => all(std::slice::from_ref(e), item),
        (Entity::Value(v) | Entity::List(v, _), _) => Ok(*v),
        (Entity::Sequence(entities), Kind::Sequence(item)) => all(entities, item),
        (Entity::Sequence(entities), _) => all(entities, &Kind::Unknown),
    }
}
