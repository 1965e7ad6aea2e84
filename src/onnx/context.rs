//! What an import function sees: the node, its operands, and the graph to build in.
use super::error::{Fault, invalid, unsupported};
use super::import::Importer;
use super::kind::{Kind, lowered};
use super::proto::NodeProto;
use super::scope::Entity;
use sardonyx_ir::{Graph, Type, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

/// A value, or why there is none.
pub(crate) type Built<T = Value> = Result<T, Fault>;

/// A node under import.
pub(crate) struct Context<'a> {
    pub importer: &'a mut Importer,
    pub node: &'a NodeProto,
    operands: &'a [Option<Entity>],
    /// The version of the node's domain.
    pub opset: i64,
}

impl<'a> Context<'a> {
    /// A node with its operands.
    pub fn new(
        importer: &'a mut Importer,
        node: &'a NodeProto,
        operands: &'a [Option<Entity>],
        opset: i64,
    ) -> Context<'a> {
        Context { importer, node, operands, opset }
    }

    /// The graph.
    pub fn g(&self) -> &Graph {
        self.importer.scope.graph()
    }
    /// The number of operands, those left out in between included.
    pub fn count(&self) -> usize {
        self.operands.len()
    }
    /// Whether result `i` is used.
    pub fn wants(&self, i: usize) -> bool {
        self.node.output.get(i).is_some_and(|o| !o.is_empty())
    }
    /// Operand `i` of any kind, unless it is left out.
    pub fn entity_if(&self, i: usize) -> Option<&'a Entity> {
        self.operands.get(i).and_then(Option::as_ref).filter(|e| !matches!(e, Entity::Nothing))
    }
    /// Operand `i` of any kind.
    pub fn entity(&self, i: usize) -> Built<&'a Entity> {
        self.entity_if(i).ok_or_else(|| Fault::Invalid(format!("operand {i} is missing")))
    }
    /// Operand `i`, unless it is left out.
    pub fn operand_if(&self, i: usize) -> Built<Option<Value>> {
        match self.entity_if(i) {
            None => Ok(None),
            Some(Entity::Value(v)) => Ok(Some(*v)),
            Some(_) => invalid(format!("operand {i} is a sequence, not a tensor")),
        }
    }
    /// Operand `i`.
    pub fn operand(&self, i: usize) -> Built {
        self.operand_if(i)?.ok_or_else(|| Fault::Invalid(format!("operand {i} is missing")))
    }
    /// All operands, none of which may be left out.
    pub fn operands(&self) -> Built<Vec<Value>> {
        (0..self.count()).map(|i| self.operand(i)).collect()
    }
    /// Operand `i`, which is a sequence.
    pub fn sequence(&self, i: usize) -> Built<&'a [Entity]> {
        match self.entity(i)? {
            Entity::Sequence(all) => Ok(all),
            _ => invalid(format!("operand {i} is no sequence")),
        }
    }
    /// Operand `i`, a sequence, as a value of the graph, and what its items are.
    pub fn list(&mut self, i: usize) -> Built<(Value, Kind)> {
        let entity = self.entity(i)?;
        let kind = Kind::of(entity, self.g())?;
        let v = lowered(self.importer.scope.graph_mut(), entity, &kind)?;
        match kind {
            Kind::Sequence(item) => Ok((v, *item)),
            Kind::Optional(item) => match *item {
                Kind::Sequence(item) => {
                    let first = self.int_scalar(0);
                    let op = sardonyx_ir::Op::ListAt { to: DType::List, shape: Vec::new() };
                    Ok((self.add(op, &[v, first])?, *item))
                }
                _ => invalid(format!("operand {i} is no sequence")),
            },
            _ => invalid(format!("operand {i} is no sequence")),
        }
    }
    /// Entities as values of the graph, of these kinds.
    pub fn lowered(&mut self, entities: &[Entity], kinds: &[Kind]) -> Built<Vec<Value>> {
        let g = self.importer.scope.graph_mut();
        entities.iter().zip(kinds).map(|(e, kind)| lowered(g, e, kind)).collect()
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> Type {
        self.g().ty(v).clone()
    }
    /// The element type of a value.
    pub fn dtype(&self, v: Value) -> DType {
        self.g().ty(v).dtype
    }
    /// The shape of a value.
    pub fn shape(&self, v: Value) -> Vec<Dim> {
        self.g().ty(v).shape.clone()
    }
    /// The rank of a value.
    pub fn rank(&self, v: Value) -> usize {
        self.g().ty(v).rank()
    }
    /// Fails unless a value has this rank.
    pub fn ranked(&self, v: Value, rank: usize) -> Built {
        if self.rank(v) == rank { Ok(v) } else { invalid(format!("{} has not rank {rank}", self.ty(v))) }
    }
    /// An axis counted from the front.
    pub fn axis(&self, v: Value, axis: i64) -> Built<usize> {
        Ok(self.g().ty(v).axis(axis)?)
    }
    /// Axes counted from the front, which may repeat none.
    pub fn axes(&self, rank: usize, axes: &[i64]) -> Built<Vec<usize>> {
        let mut result = Vec::new();
        for &axis in axes {
            let a = if axis < 0 { axis + rank as i64 } else { axis };
            match usize::try_from(a) {
                Ok(a) if a < rank && !result.contains(&a) => result.push(a),
                _ => return invalid(format!("axis {axis} of {axes:?} repeats or is outside of rank {rank}")),
            }
        }
        Ok(result)
    }
    /// The elements of a constant.
    pub fn constant_of(&self, v: Value) -> Option<Tensor> {
        self.g().const_value(v).cloned()
    }
    /// The elements of an integer value, as far as they are known symbolically.
    pub fn dims_of(&self, v: Value) -> Option<Vec<Dim>> {
        self.g().fact(v).cloned()
    }
    /// The elements of an integer value that is known.
    pub fn ints_of(&self, v: Value) -> Option<Vec<i64>> {
        if self.g().ty(v).elements() == 0 {
            return Some(Vec::new());
        }
        match self.g().fact(v) {
            Some(dims) => dims.iter().map(Dim::known).collect(),
            None => self
                .constant_of(v)
                .filter(|t| t.dtype().is_int() || t.dtype() == DType::Bool)
                .map(|t| t.to_i64s()),
        }
    }
    /// The integers of operand `i`, which must be known; `None` if it is left out.
    pub fn known_ints(&self, i: usize, what: &str) -> Built<Option<Vec<i64>>> {
        let Some(v) = self.operand_if(i)? else { return Ok(None) };
        match self.ints_of(v) {
            Some(ints) => Ok(Some(ints)),
            None => unsupported(format!("{what} that only the run knows")),
        }
    }
    /// Axes from the attribute (old opsets) or operand `i` (new ones); `None` where neither is there.
    pub fn axes_from(&self, name: &str, i: usize) -> Built<Option<Vec<i64>>> {
        match self.ints(name)? {
            Some(axes) => Ok(Some(axes)),
            None => self.known_ints(i, "axes"),
        }
    }
}
