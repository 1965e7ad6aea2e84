//! Attributes of a node, by name and type.
use super::context::Context;
use super::error::Fault;
use super::proto::attribute_proto::AttributeType as Kind;
use super::proto::{AttributeProto, GraphProto};
use super::tensor::{dtype, tensor};
use sardonyx_tensor::{DType, Tensor};

impl<'a> Context<'a> {
    fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }
    /// The attribute, if it is there; fails if it is of another type. Old files do not say the type.
    fn typed(&self, name: &str, kind: Kind) -> Result<Option<&'a AttributeProto>, Fault> {
        match self.attribute(name) {
            Some(a) if a.r#type != kind as i32 && a.r#type != Kind::Undefined as i32 => {
                Err(Fault::Invalid(format!("the attribute `{name}` is of another type")))
            }
            other => Ok(other),
        }
    }
    /// Whether the node has the attribute.
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }
    /// An integer.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.typed(name, Kind::Int)?.map_or(default, |a| a.i))
    }
    /// An integer that may be absent.
    pub fn int_if(&self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.typed(name, Kind::Int)?.map(|a| a.i))
    }
    /// An integer that is not 0.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        Ok(self.int(name, i64::from(default))? != 0)
    }
    /// A number, as the single that the file holds.
    pub fn float(&self, name: &str, default: f64) -> Result<f64, Fault> {
        Ok(self.typed(name, Kind::Float)?.map_or(default, |a| decimal(a.f)))
    }
    /// A number that may be absent.
    pub fn float_if(&self, name: &str) -> Result<Option<f64>, Fault> {
        Ok(self.typed(name, Kind::Float)?.map(|a| decimal(a.f)))
    }
    /// A list of integers that may be absent.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        Ok(self.typed(name, Kind::Ints)?.map(|a| a.ints.clone()))
    }
    /// A list of numbers that may be absent.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f64>>, Fault> {
        Ok(self.typed(name, Kind::Floats)?.map(|a| a.floats.iter().map(|&x| decimal(x)).collect()))
    }
    /// Text.
    pub fn string(&self, name: &str, default: &str) -> Result<String, Fault> {
        match self.typed(name, Kind::String)? {
            Some(a) => Ok(String::from_utf8_lossy(&a.s).into_owned()),
            None => Ok(default.into()),
        }
    }
    /// Text that may be absent.
    pub fn string_if(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.typed(name, Kind::String)?.map(|a| String::from_utf8_lossy(&a.s).into_owned()))
    }
    /// A list of texts that may be absent.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let all = self.typed(name, Kind::Strings)?;
        Ok(all.map(|a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()))
    }
    /// An element type, given by its number in the file format.
    pub fn dtype_if(&self, name: &str) -> Result<Option<DType>, Fault> {
        self.int_if(name)?
            .map(|n| dtype(i32::try_from(n).unwrap_or(-1)).map_err(Fault::Unsupported))
            .transpose()
    }
    /// As [`Context::dtype_if`], where 0 stands for none.
    pub fn dtype_if_set(&self, name: &str) -> Result<Option<DType>, Fault> {
        if self.int(name, 0)? == 0 { Ok(None) } else { self.dtype_if(name) }
    }
    /// A tensor that may be absent.
    pub fn tensor(&mut self, name: &str) -> Result<Option<Tensor>, Fault> {
        match self.typed(name, Kind::Tensor)?.and_then(|a| a.t.as_ref()) {
            Some(t) => tensor(t, &mut self.importer.files).map(Some).map_err(Fault::Unsupported),
            None => Ok(None),
        }
    }
    /// A sparse tensor, made dense, that may be absent.
    pub fn sparse(&mut self, name: &str) -> Result<Option<Tensor>, Fault> {
        match self.typed(name, Kind::SparseTensor)?.and_then(|a| a.sparse_tensor.as_ref()) {
            Some(t) => {
                super::tensor::dense(t, &mut self.importer.files).map(Some).map_err(Fault::Unsupported)
            }
            None => Ok(None),
        }
    }
    /// A sub-graph.
    pub fn graph(&self, name: &str) -> Result<&'a GraphProto, Fault> {
        self.typed(name, Kind::Graph)?
            .and_then(|a| a.g.as_ref())
            .ok_or_else(|| Fault::Invalid(format!("there is no sub-graph `{name}`")))
    }
}

/// The double that a person would have written for this single: 0.1, not 0.10000000149011612.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}
