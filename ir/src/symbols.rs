//! Which nodes give symbols their values when the program runs.
//!
//! Most symbols stand for sizes of the graph's inputs. `bind`, `non_zero` and ops with regions also make
//! new ones; what uses such a symbol has to come after the node that makes it, though no edge says so.
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use sardonyx_tensor::Dim;
use std::collections::{BTreeSet, HashMap, HashSet};

impl Op {
    /// Whether a result may have symbols that the operands do not have.
    pub(crate) fn makes_symbols(&self) -> bool {
        let found = self.sizes_are_found() && !matches!(self, Op::Fused { .. });
        matches!(self, Op::Bind { .. }) || found
    }
}

/// The node that makes each symbol, of those that nodes make.
pub(crate) fn makers(g: &Graph) -> HashMap<String, NodeId> {
    let mut makers = HashMap::new();
    let mut makes: Vec<NodeId> = g.nodes().filter(|&id| g.node(id).op.makes_symbols()).collect();
    if makes.is_empty() {
        return makers;
    }
    makes.sort_unstable();
    let given: BTreeSet<String> =
        g.inputs().flat_map(|v| &g.ty(v).shape).filter_map(|d| d.as_symbol().map(String::from)).collect();
    for id in makes {
        let node = g.node(id);
        let bound: &[Dim] = if let Op::Bind { dims } = &node.op { dims } else { &[] };
        let operands: Vec<&Dim> = g.operands(id).flat_map(|v| &g.ty(v).shape).collect();
        for d in node.types.iter().flat_map(|t| &t.shape).chain(bound) {
            if let Some(s) = d.as_symbol()
                && !given.contains(s)
                && !operands.iter().any(|o| o.symbols().contains(s))
            {
                makers.entry(s.to_string()).or_insert(id);
            }
        }
    }
    makers
}

/// The symbols that a node needs to be known: in its attributes, results and regions.
pub(crate) fn used(g: &Graph, id: NodeId) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(g, id, &mut names);
    names
}

fn collect(g: &Graph, id: NodeId, names: &mut BTreeSet<String>) {
    let node = g.node(id);
    node.types.iter().flat_map(|t| &t.shape).for_each(|d| names.extend(d.symbols()));
    node.op.visit_dims(&mut |d| names.extend(d.symbols()));
    for (_, region) in node.op.regions() {
        region.nodes().for_each(|inner| collect(region, inner, names));
    }
}

impl Graph {
    /// Each node that makes symbols with each that uses them, in program order of the users: they come after
    /// it, though no edge says so.
    pub fn symbol_uses(&self) -> Vec<(NodeId, NodeId)> {
        let makers = makers(self);
        if makers.is_empty() {
            return Vec::new();
        }
        let order = self.order();
        let listed: HashSet<NodeId> = order.iter().copied().collect();
        let mut uses = Vec::new();
        for user in order {
            let of: BTreeSet<NodeId> =
                used(self, user).iter().filter_map(|s| makers.get(s).copied()).collect();
            uses.extend(of.into_iter().filter(|m| *m != user && listed.contains(m)).map(|m| (m, user)));
        }
        uses
    }
}
