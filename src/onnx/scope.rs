//! Names and graphs while a model is imported.
//!
//! A *level* is a graph under construction: the model's, then those of the sub-graphs around the current
//! node. A *frame* is a set of names: that of a graph, or that of a function body, which is inlined into the
//! current level and cannot see the names of its caller.
use super::error::Fault;
use super::kind::Kind;
use sardonyx_ir::{Graph, Op, Value};
use sardonyx_tensor::{Dim, Tensor};
use std::collections::HashMap;

/// What a name of the model stands for.
#[derive(Debug, Clone)]
pub(crate) enum Entity {
    /// A tensor.
    Value(Value),
    /// A sequence, whose length the importer knows.
    Sequence(Vec<Entity>),
    /// A sequence or optional of which only the run knows the items: a value of type `list[]`.
    List(Value, Kind),
    /// An optional without a value.
    Nothing,
    /// A result of a node that could not be imported.
    Missing,
}

impl From<Value> for Entity {
    fn from(v: Value) -> Entity {
        Entity::Value(v)
    }
}

/// What a name is bound to in a frame.
#[derive(Debug, Clone)]
pub(crate) enum Binding {
    /// Something in the graph of the frame's level.
    Entity(Entity),
    /// A constant that no node has used yet.
    Tensor(Tensor),
    /// A constant that cannot be read, and why.
    Broken(String),
}

/// A set of names.
pub(crate) struct Frame {
    names: HashMap<String, Binding>,
    level: usize,
    opaque: bool,
    /// The versions of the domains in force.
    pub opsets: HashMap<String, i64>,
}

/// A graph under construction, and what it takes from the level around it.
#[derive(Default)]
pub(crate) struct Level {
    pub graph: Graph,
    /// Values of the level below, and the inputs they became.
    pub captures: Vec<(Value, Value)>,
    /// What the outputs are, before they are values of the graph.
    pub results: Vec<Entity>,
    /// What values of the level below are here: constants and shapes built again, and inputs.
    copies: HashMap<Value, Value>,
}

/// All frames and levels around the current node.
#[derive(Default)]
pub(crate) struct Scope {
    levels: Vec<Level>,
    frames: Vec<Frame>,
}

impl Scope {
    /// The graph that nodes are added to.
    pub fn graph(&self) -> &Graph {
        &self.levels.last().expect("a scope should have a graph").graph
    }
    /// As [`Scope::graph`], to change it.
    pub fn graph_mut(&mut self) -> &mut Graph {
        &mut self.levels.last_mut().expect("a scope should have a graph").graph
    }
    /// The versions of the domains in force.
    pub fn opsets(&self) -> &HashMap<String, i64> {
        &self.frames.last().expect("a scope should have a frame").opsets
    }
    /// The number of frames.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }
    /// Opens a graph with its names.
    pub fn enter_graph(&mut self, opsets: HashMap<String, i64>) {
        let origin = self.levels.last().map(|l| l.graph.origin.clone()).unwrap_or_default();
        let mut graph = Graph::new();
        graph.origin = origin;
        self.levels.push(Level { graph, ..Level::default() });
        self.push_frame(opsets, false);
    }
    /// Closes the current graph.
    pub fn leave_graph(&mut self) -> Level {
        self.frames.pop();
        self.levels.pop().expect("a scope should have a graph")
    }
    /// Opens the names of a function body.
    pub fn enter_function(&mut self, opsets: HashMap<String, i64>) {
        self.push_frame(opsets, true);
    }
    /// Opens the names of a sub-graph that is inlined: it sees the names around it.
    pub fn enter_block(&mut self, opsets: HashMap<String, i64>) {
        self.push_frame(opsets, false);
    }
    /// Closes the names of a function body or a block.
    pub fn leave_function(&mut self) {
        self.frames.pop();
    }
    fn push_frame(&mut self, opsets: HashMap<String, i64>, opaque: bool) {
        let level = self.levels.len() - 1;
        self.frames.push(Frame { names: HashMap::new(), level, opaque, opsets });
    }

    /// Gives a name its meaning in the current frame.
    pub fn bind(&mut self, name: &str, binding: Binding) {
        self.frames.last_mut().expect("a scope should have a frame").names.insert(name.into(), binding);
    }

    /// What a name stands for, brought into the current graph.
    pub fn lookup(&mut self, name: &str) -> Result<Entity, Fault> {
        let mut found = None;
        for (i, frame) in self.frames.iter().enumerate().rev() {
            if frame.names.contains_key(name) {
                found = Some(i);
                break;
            }
            if frame.opaque {
                break;
            }
        }
        let Some(i) = found else {
            return Err(Fault::Invalid(format!("nothing makes the value `{name}`")));
        };
        let level = self.frames[i].level;
        let entity = match &self.frames[i].names[name] {
            Binding::Entity(e) => e.clone(),
            Binding::Broken(reason) => return Err(Fault::Invalid(format!("`{name}`: {reason}"))),
            Binding::Tensor(t) => {
                let t = t.clone();
                let v = self.levels[level].graph.constant(t);
                self.frames[i].names.insert(name.into(), Binding::Entity(Entity::Value(v)));
                Entity::Value(v)
            }
        };
        Ok(self.carried(entity, level))
    }

    /// An entity of a lower level in the current graph.
    fn carried(&mut self, entity: Entity, level: usize) -> Entity {
        match entity {
            Entity::Value(v) => {
                Entity::Value((level + 1..self.levels.len()).fold(v, |v, inner| self.captured(v, inner)))
            }
            Entity::List(v, kind) => match self.carried(Entity::Value(v), level) {
                Entity::Value(v) => Entity::List(v, kind),
                other => other,
            },
            Entity::Sequence(all) => {
                Entity::Sequence(all.into_iter().map(|e| self.carried(e, level)).collect())
            }
            other => other,
        }
    }

    /// A value of level `inner - 1` in level `inner`: known elements are built again, others become inputs.
    fn captured(&mut self, v: Value, inner: usize) -> Value {
        if let Some(&copy) = self.levels[inner].copies.get(&v) {
            return copy;
        }
        let outer = &self.levels[inner - 1].graph;
        let (op, ty, fact) = (outer.op(v).clone(), outer.ty(v).clone(), outer.fact(v).cloned());
        let level = &mut self.levels[inner];
        let copy = match (&op, fact) {
            (Op::Const { .. }, _) => level.graph.add(op, &[]).ok(),
            (_, Some(values)) => known(&mut level.graph, values, &ty),
            _ => None,
        };
        if let Some(copy) = copy {
            level.copies.insert(v, copy);
            return copy;
        }
        let input = level.graph.input(&format!("capture{}", level.captures.len()), ty);
        level.captures.push((v, input));
        level.copies.insert(v, input);
        input
    }
}

/// A tensor whose elements are known symbolically.
pub(crate) fn known(g: &mut Graph, values: Vec<Dim>, ty: &sardonyx_ir::Type) -> Option<Value> {
    let dims = g.add(Op::Dims { values }, &[]).ok()?;
    let shaped = g.add(Op::Reshape { shape: ty.shape.clone() }, &[dims]).ok()?;
    if ty.dtype == sardonyx_tensor::DType::I64 {
        Some(shaped)
    } else {
        g.add(Op::Cast { to: ty.dtype }, &[shaped]).ok()
    }
}
