//! The two things a rule's closures build: patterns on the left, values on the right.
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Op, OpBuilder};
use crate::types::Type;
use sardonyx_tensor::Tensor;
use std::cell::RefCell;

/// A node of a left side; operands are indices of earlier nodes.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Any value.
    Var(usize),
    /// A constant of one element.
    Num(f64),
    /// An op with these operands.
    Op { name: &'static str, operands: Vec<usize> },
    /// A flattened chain of `add` or `mul`.
    Chain { op: Chained, terms: Vec<usize> },
}

/// The ops that match as flattened chains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chained {
    Add,
    Mul,
}

/// The nodes of a left side under construction.
#[derive(Default)]
pub(super) struct Arena(RefCell<Vec<Pattern>>);

impl Arena {
    pub(super) fn var(&self, i: usize) -> Pat<'_> {
        self.push(Pattern::Var(i))
    }
    fn push(&self, p: Pattern) -> Pat<'_> {
        let mut nodes = self.0.borrow_mut();
        nodes.push(p);
        Pat { arena: self, id: nodes.len() - 1 }
    }
    fn number(&self, id: usize) -> Option<f64> {
        match self.0.borrow()[id] {
            Pattern::Num(x) => Some(x),
            _ => None,
        }
    }
    fn chain(&self, op: Chained, operands: [usize; 2]) -> Pat<'_> {
        let mut terms = Vec::new();
        for id in operands {
            match &self.0.borrow()[id] {
                Pattern::Chain { op: inner, terms: more } if *inner == op => terms.extend(more),
                _ => terms.push(id),
            }
        }
        self.push(Pattern::Chain { op, terms })
    }
    /// The nodes; every one of the variables has to be used.
    pub(super) fn finish(self, vars: usize) -> Vec<Pattern> {
        let nodes = self.0.into_inner();
        let used = |v: usize| {
            nodes.iter().any(|n| match n {
                Pattern::Op { operands, .. } => operands.contains(&v),
                Pattern::Chain { terms, .. } => terms.contains(&v),
                _ => false,
            })
        };
        assert!((0..vars).all(used), "bug: a left side leaves out a variable");
        nodes
    }
}

/// An expression of a left side. Attributes of its ops are not compared.
#[derive(Clone, Copy)]
pub struct Pat<'a> {
    arena: &'a Arena,
    id: usize,
}

impl Pat<'_> {
    pub(super) fn id(self) -> usize {
        self.id
    }
    /// A number.
    pub fn num(self, x: f64) -> Self {
        self.arena.push(Pattern::Num(x))
    }
}

impl OpBuilder for Pat<'_> {
    fn apply(op: Op, operands: &[Self]) -> Self {
        let arena = operands[0].arena;
        let ids: Vec<usize> = operands.iter().map(|p| p.id).collect();
        let second = ids.get(1).and_then(|&id| arena.number(id));
        match (&op, second) {
            (Op::Add {}, _) => arena.chain(Chained::Add, [ids[0], ids[1]]),
            (Op::Mul {}, _) => arena.chain(Chained::Mul, [ids[0], ids[1]]),
            (Op::Sub {}, Some(x)) => arena.chain(Chained::Add, [ids[0], operands[0].num(-x).id]),
            (Op::Div {}, Some(x)) => arena.chain(Chained::Mul, [ids[0], operands[0].num(1.0 / x).id]),
            _ => arena.push(Pattern::Op { name: op.name(), operands: ids }),
        }
    }
}

/// A graph to which a right side adds.
pub(super) struct Builder {
    graph: RefCell<Graph>,
    created: RefCell<Vec<NodeId>>,
    error: RefCell<Option<String>>,
}

impl Builder {
    pub(super) fn new(graph: Graph) -> Builder {
        Builder { graph: RefCell::new(graph), created: RefCell::default(), error: RefCell::default() }
    }
    pub(super) fn val(&self, value: Value) -> Val<'_> {
        Val { builder: self, value }
    }
    /// The graph, the nodes that were added, and why one could not be.
    pub(super) fn finish(self) -> (Graph, Vec<NodeId>, Option<String>) {
        (self.graph.into_inner(), self.created.into_inner(), self.error.into_inner())
    }
    fn add(&self, op: Op, operands: &[Value]) -> Value {
        match self.graph.borrow_mut().add(op, operands) {
            Ok(v) => {
                self.created.borrow_mut().push(v.node);
                v
            }
            Err(e) => {
                self.error.borrow_mut().get_or_insert(e);
                operands[0]
            }
        }
    }
}

/// A value of the graph that a right side adds to. An op that is not well typed stops the rule.
#[derive(Clone, Copy)]
pub struct Val<'g> {
    builder: &'g Builder,
    value: Value,
}

impl Val<'_> {
    pub(super) fn value(self) -> Value {
        self.value
    }
    /// The type.
    pub fn ty(self) -> Type {
        self.builder.graph.borrow().ty(self.value).clone()
    }
    /// A constant.
    pub fn constant(self, tensor: Tensor) -> Self {
        Val { value: self.builder.add(Op::constant(tensor), &[]), ..self }
    }
    /// A number of this value's dtype.
    pub fn num(self, x: f64) -> Self {
        let dtype = self.ty().dtype;
        self.constant(Tensor::from_f64s(dtype, [], [x]))
    }
    /// Another value of the graph, found by the guard.
    pub fn other(self, value: Value) -> Self {
        Val { value, ..self }
    }
    /// Another result of the same node.
    pub fn port(self, port: usize) -> Self {
        Val { value: self.value.port(port), ..self }
    }
}

impl OpBuilder for Val<'_> {
    fn apply(op: Op, operands: &[Self]) -> Self {
        let builder = operands[0].builder;
        let values: Vec<Value> = operands.iter().map(|v| v.value).collect();
        Val { builder, value: builder.add(op, &values) }
    }
}

macro_rules! infix { ($T:ident: $($Trait:ident $method:ident),*) => { $(
    impl<'a> std::ops::$Trait for $T<'a> {
        type Output = Self;
        fn $method(self, other: Self) -> Self { OpBuilder::$method(self, other) }
    }
    impl<'a> std::ops::$Trait<f64> for $T<'a> {
        type Output = Self;
        fn $method(self, other: f64) -> Self { OpBuilder::$method(self, self.num(other)) }
    }
    impl<'a> std::ops::$Trait<$T<'a>> for f64 {
        type Output = $T<'a>;
        fn $method(self, other: $T<'a>) -> $T<'a> { OpBuilder::$method(other.num(self), other) }
    }
)* } }
infix!(Pat: Add add, Sub sub, Mul mul, Div div);
infix!(Val: Add add, Sub sub, Mul mul, Div div);
