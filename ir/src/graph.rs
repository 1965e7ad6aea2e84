//! The graph: a petgraph `StableDiGraph` behind a small interface, and the only file that names petgraph.
//!
//! Edges are the only record of use. A node keeps its in-edges in operand order, so operand `i` is one
//! lookup and nobody sorts edges; an edge says which result of its source it carries. There are five
//! mutations: [`Graph::add`], [`Graph::replace`], [`Graph::set_operand`], [`Graph::set_outputs`] and
//! [`Graph::remove_dead`], of which [`Graph::prune`] is the part that starts at one node.
use crate::facts::{self, Fact, Known};
use crate::ops::{Infer, Op};
use crate::symbols;
use crate::types::Type;
use petgraph::Direction::Outgoing;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use sardonyx_tensor::{Dim, Tensor};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// A node of a graph.
pub type NodeId = NodeIndex;

/// A result of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value {
    /// The node.
    pub node: NodeId,
    /// Which of its results.
    pub port: u16,
}

impl Value {
    /// Another result of the same node.
    pub fn port(self, port: usize) -> Value {
        Value { node: self.node, port: u16::try_from(port).expect("an op should have few results") }
    }
}

/// The ONNX nodes a value came from; kept through all rewrites.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Origin(Arc<BTreeSet<Arc<str>>>);

impl Origin {
    /// The origin that names one node.
    pub fn named(name: &str) -> Origin {
        Origin(Arc::new(BTreeSet::from([name.into()])))
    }
    /// What came from any of these.
    pub fn union<'a>(all: impl IntoIterator<Item = &'a Origin>) -> Origin {
        all.into_iter().fold(Origin::default(), |a, b| match () {
            _ if a.0.is_empty() || a == *b => b.clone(),
            _ if b.0.is_empty() => a,
            _ => Origin(Arc::new(a.0.union(&b.0).cloned().collect())),
        })
    }
    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|n| &**n)
    }
}

/// What a node is: an op, the types and facts of its results, where it came from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op with its attributes.
    pub op: Op,
    /// One type a result.
    pub types: SmallVec<[Type; 1]>,
    /// The ONNX nodes it came from.
    pub origin: Origin,
    facts: SmallVec<[Known; 1]>,
    operands: SmallVec<[EdgeIndex; 4]>,
}

/// Two dimensions that must be equal when the program runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// One dimension.
    pub left: Dim,
    /// The other.
    pub right: Dim,
}

/// A graph of tensor operations. Sub-graphs are closed: what they use from outside is an input.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    g: StableDiGraph<Node, u16>,
    inputs: Vec<NodeId>,
    outputs: Vec<Value>,
    output_names: Vec<String>,
    requirements: Vec<Requirement>,
    /// What nodes added from now on came from.
    pub origin: Origin,
}

/// Graphs are equal if their texts are.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        crate::text::print(self) == crate::text::print(other)
    }
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// A new input of the graph.
    pub fn input(&mut self, name: &str, ty: Type) -> Value {
        let node = self.insert(Op::Input { name: name.into() }, smallvec![ty], smallvec![Known::No], &[]);
        self.inputs.push(node);
        Value { node, port: 0 }
    }

    /// A constant.
    pub fn constant(&mut self, value: Tensor) -> Value {
        self.add(Op::constant(value), &[]).expect("a constant should be well typed")
    }

    /// A new node with inferred types and facts; its first result. Fails where the op's type rule does not
    /// hold, in words that name op and types.
    pub fn add(&mut self, op: Op, operands: &[Value]) -> Result<Value, String> {
        let types: Vec<Type> = operands.iter().map(|&v| self.ty(v).clone()).collect();
        let mut cx = Infer::new(&types);
        let results = op.infer(&mut cx).map_err(|e| format!("{}: {e}", op.name()))?;
        cx.into_requirements().into_iter().for_each(|r| self.require(r.left, r.right));
        let known: Vec<&Known> = operands.iter().map(|&v| self.known(v)).collect();
        let facts = facts::infer(&op, &types, &known, &results);
        let node = self.insert(op, results.into(), facts.into(), operands);
        Ok(Value { node, port: 0 })
    }

    fn insert(
        &mut self,
        op: Op,
        types: SmallVec<[Type; 1]>,
        facts: SmallVec<[Known; 1]>,
        operands: &[Value],
    ) -> NodeId {
        let origin = self.origin.clone();
        let id = self.g.add_node(Node { op, types, facts, origin, operands: SmallVec::new() });
        self.g[id].operands = operands.iter().map(|v| self.g.add_edge(v.node, id, v.port)).collect();
        id
    }

    /// The node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.g[id]
    }
    /// Whether the node has not been removed.
    pub fn contains(&self, id: NodeId) -> bool {
        self.g.contains_node(id)
    }
    /// The op that makes a value.
    pub fn op(&self, v: Value) -> &Op {
        &self.g[v.node].op
    }
    /// The type of a value.
    pub fn ty(&self, v: Value) -> &Type {
        &self.g[v.node].types[usize::from(v.port)]
    }
    /// The elements of a value, if they are known symbolically and are integers (of whatever dtype).
    pub fn fact(&self, v: Value) -> Option<&Fact> {
        self.known(v).integers()
    }
    fn known(&self, v: Value) -> &Known {
        &self.g[v.node].facts[usize::from(v.port)]
    }
    /// The tensor, if the value is a constant.
    pub fn const_value(&self, v: Value) -> Option<&Tensor> {
        match self.op(v) {
            Op::Const { value } => Some(value.tensor()),
            _ => None,
        }
    }
    /// The operands of a node, in order.
    pub fn operands(&self, id: NodeId) -> impl ExactSizeIterator<Item = Value> + '_ {
        self.g[id].operands.iter().map(|&e| self.source(e))
    }
    /// Operand `i` of a node.
    pub fn operand(&self, id: NodeId, i: usize) -> Value {
        self.source(self.g[id].operands[i])
    }
    fn source(&self, e: EdgeIndex) -> Value {
        let (node, _) = self.g.edge_endpoints(e).expect("an operand edge should exist");
        Value { node, port: self.g[e] }
    }
    /// Who uses a value as which operand, in node order; uses as graph output are not listed.
    pub fn users(&self, v: Value) -> Vec<(NodeId, usize)> {
        let mut users: Vec<(NodeId, usize)> = self
            .g
            .edges_directed(v.node, Outgoing)
            .filter(|e| *e.weight() == v.port)
            .map(|e| (e.target(), self.slot(e.target(), e.id())))
            .collect();
        users.sort_unstable();
        users
    }
    fn slot(&self, user: NodeId, e: EdgeIndex) -> usize {
        self.g[user].operands.iter().position(|&x| x == e).expect("a user should list its in-edge")
    }
    /// How often a value is used, as operand or as graph output.
    pub fn use_count(&self, v: Value) -> usize {
        let edges = self.g.edges_directed(v.node, Outgoing).filter(|e| *e.weight() == v.port).count();
        edges + self.outputs.iter().filter(|&&o| o == v).count()
    }
    /// The inputs, in order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Value> + '_ {
        self.inputs.iter().map(|&node| Value { node, port: 0 })
    }
    /// The name of an input.
    pub fn input_name(&self, v: Value) -> &str {
        match self.op(v) {
            Op::Input { name } => name,
            op => panic!("bug: {} is not an input", op.name()),
        }
    }
    /// The outputs, in order.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }
    /// The names of the outputs; empty for sub-graphs.
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }
    /// What must be equal when the program runs.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.requirements.iter()
    }
    /// Two dimensions are equal when the program runs.
    pub fn require(&mut self, left: Dim, right: Dim) {
        let r = Requirement { left, right };
        if r.left != r.right && !self.requirements.contains(&r) {
            self.requirements.push(r);
        }
    }
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.g.node_count()
    }
    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether operand edges form a cycle.
    pub fn is_cyclic(&self) -> bool {
        petgraph::algo::is_cyclic_directed(&self.g)
    }
    /// Every node, in no order that means anything.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.g.node_indices()
    }

    /// Every use of `old`, as operand or as output, becomes a use of `new`, which has the same type.
    pub fn replace(&mut self, old: Value, new: Value) {
        assert_eq!(
            self.ty(old),
            self.ty(new),
            "bug: {} replaced by {}",
            self.op(old).name(),
            self.op(new).name()
        );
        for (user, i) in self.users(old) {
            if user != new.node {
                self.set_operand(user, i, new);
            }
        }
        self.outputs.iter_mut().filter(|o| **o == old).for_each(|o| *o = new);
    }

    /// Operand `i` of `user` becomes `v`.
    pub fn set_operand(&mut self, user: NodeId, i: usize, v: Value) {
        self.g.remove_edge(self.g[user].operands[i]);
        let e = self.g.add_edge(v.node, user, v.port);
        self.g[user].operands[i] = e;
    }

    /// These values are the outputs; names as in the model, or none for a sub-graph.
    pub fn set_outputs(&mut self, outputs: Vec<Value>, names: Vec<String>) {
        assert!(names.is_empty() || names.len() == outputs.len(), "bug: every output or none has a name");
        (self.outputs, self.output_names) = (outputs, names);
    }

    /// Removes what no output needs; inputs stay.
    pub fn remove_dead(&mut self) {
        let live: HashSet<NodeId> = self.order().into_iter().chain(self.inputs.iter().copied()).collect();
        self.g.retain_nodes(|_, id| live.contains(&id));
    }

    /// Removes a node if nothing uses it, then operands that nothing uses any more, as
    /// [`Graph::remove_dead`] would; inputs stay. The operands that stay.
    pub fn prune(&mut self, id: NodeId) -> Vec<NodeId> {
        let (mut stack, mut kept) = (vec![id], Vec::new());
        while let Some(id) = stack.pop() {
            if !self.contains(id) {
                continue;
            }
            let used = self.g.edges_directed(id, Outgoing).next().is_some()
                || self.outputs.iter().any(|o| o.node == id)
                || self.node(id).op.makes_symbols()
                || matches!(self.node(id).op, Op::Input { .. });
            if used {
                kept.push(id);
            } else {
                stack.extend(self.operands(id).map(|o| o.node));
                self.g.remove_node(id);
            }
        }
        kept
    }

    /// The sub-graphs of a node, to change what they compute with; their inputs and outputs keep their types.
    pub fn regions_mut(&mut self, id: NodeId) -> Vec<&mut Graph> {
        self.g[id].op.regions_mut()
    }

    /// Forgets all but the first `count` requirements.
    pub(crate) fn truncate_requirements(&mut self, count: usize) {
        self.requirements.truncate(count);
    }

    /// Program order: operands first, left to right, from the outputs; inputs that nobody uses are left out.
    /// It depends on the graph only, not on the history of its indices. What makes a symbol (`bind`) comes
    /// before what uses the symbol.
    pub fn order(&self) -> Vec<NodeId> {
        let makers = symbols::makers(self);
        let (mut seen, mut order) = (HashSet::new(), Vec::with_capacity(self.len()));
        let mut stack: Vec<(NodeId, bool)> = self.outputs.iter().rev().map(|o| (o.node, false)).collect();
        while let Some((id, done)) = stack.pop() {
            if done {
                order.push(id);
            } else if seen.insert(id) {
                stack.push((id, true));
                let from = stack.len();
                if !makers.is_empty() {
                    let used = symbols::used(self, id);
                    stack.extend(used.iter().filter_map(|s| makers.get(s)).map(|&maker| (maker, false)));
                }
                stack.extend(self.operands(id).map(|o| (o.node, false)));
                stack[from..].reverse();
            }
        }
        order
    }

    /// The graph with every node rebuilt in program order by `f`, which is given the new operands. Types
    /// and facts are inferred anew; requirements are kept if `f` adds the same ops. Fails as [`Graph::add`].
    pub fn rebuild(
        &self,
        mut f: impl FnMut(&mut Graph, NodeId, &Node, &[Value]) -> Result<Value, String>,
    ) -> Result<Graph, String> {
        let mut new = Graph { output_names: self.output_names.clone(), ..Graph::default() };
        let mut map = std::collections::HashMap::new();
        for v in self.inputs() {
            let n = self.node(v.node);
            new.origin = n.origin.clone();
            map.insert(v.node, f(&mut new, v.node, n, &[])?);
        }
        for id in self.order() {
            if map.contains_key(&id) {
                continue;
            }
            let operands: Vec<Value> = self.operands(id).map(|o| moved(&map, o)).collect();
            new.origin = self.node(id).origin.clone();
            let v = f(&mut new, id, self.node(id), &operands)?;
            map.insert(id, v);
        }
        new.outputs = self.outputs.iter().map(|&o| moved(&map, o)).collect();
        Ok(new)
    }
}

fn moved(map: &std::collections::HashMap<NodeId, Value>, v: Value) -> Value {
    let new = map[&v.node];
    if v.port == 0 { new } else { new.port(usize::from(v.port)) }
}
