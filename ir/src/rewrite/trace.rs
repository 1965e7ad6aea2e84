//! What happened while passes ran: the rewrites that were made, and on request why others were not.
use crate::graph::{Graph, NodeId, Origin};
use std::cell::RefCell;

/// A rewrite that was made.
#[derive(Clone, PartialEq, Debug)]
pub struct Rewrite {
    /// The rule or pass.
    pub rule: &'static str,
    /// The ONNX nodes it was made of.
    pub origin: Origin,
}

/// A place where a rule almost applied.
#[derive(Clone, PartialEq, Debug)]
pub struct Miss {
    /// The rule or pass.
    pub rule: &'static str,
    /// The ONNX nodes, or the op where there are none.
    pub at: String,
    /// Why it did not apply.
    pub reason: String,
}

/// The log of rewrites. It is shared by all passes of a run, which see it behind `&`.
#[derive(Default, Debug)]
pub struct Trace {
    log: RefCell<Vec<Rewrite>>,
    misses: RefCell<Vec<Miss>>,
    stop_after: Option<usize>,
    explained: Option<String>,
}

impl Trace {
    /// A trace that allows `stop_after` rewrites and collects the near-misses of the rule `explained`.
    pub fn new(stop_after: Option<usize>, explained: Option<String>) -> Trace {
        Trace { stop_after, explained, ..Trace::default() }
    }
    /// Whether another rewrite may be made.
    pub fn permits(&self) -> bool {
        self.stop_after.is_none_or(|n| self.log.borrow().len() < n)
    }
    /// Notes a rewrite.
    pub fn made(&self, rule: &'static str, origin: Origin) {
        self.log.borrow_mut().push(Rewrite { rule, origin });
    }
    /// Whether near-misses of the rule are wanted.
    pub fn explains(&self, rule: &str) -> bool {
        self.explained.as_deref() == Some(rule)
    }
    /// Notes why the rule does not apply at a node, if that is wanted.
    pub fn missed(&self, rule: &'static str, g: &Graph, id: NodeId, reason: impl Into<String>) {
        if !self.explains(rule) {
            return;
        }
        let node = g.node(id);
        let names: Vec<&str> = node.origin.names().collect();
        let at = if names.is_empty() { node.op.name().to_string() } else { names.join(", ") };
        let miss = Miss { rule, at, reason: reason.into() };
        let mut misses = self.misses.borrow_mut();
        if !misses.contains(&miss) {
            misses.push(miss);
        }
    }
    /// The number of rewrites so far.
    pub fn len(&self) -> usize {
        self.log.borrow().len()
    }
    /// Whether nothing was rewritten.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The rewrites, in order.
    pub fn rewrites(&self) -> Vec<Rewrite> {
        self.log.borrow().clone()
    }
    /// The near-misses of the rule that is explained.
    pub fn misses(&self) -> Vec<Miss> {
        self.misses.borrow().clone()
    }
}
