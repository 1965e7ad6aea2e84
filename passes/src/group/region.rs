//! Regions under construction: sets of nodes that become one kernel.
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Value};
use sardonyx_tensor::Dim;
use std::collections::{BTreeSet, HashMap, HashSet};

/// How an op takes part in grouping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Pointwise,
    /// Takes its elements from elsewhere.
    Movement,
    Reduction,
    Contraction,
    /// A kernel of its own, or none.
    Alone,
}

pub(super) fn class(op: &Op) -> Class {
    match op {
        _ if op.row().pointwise => Class::Pointwise,
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Expand { .. }
        | Op::Slice { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::Iota { .. }
        | Op::Dims { .. } => Class::Movement,
        Op::ReduceSum { .. }
        | Op::ReduceMean { .. }
        | Op::ReduceMax { .. }
        | Op::ReduceMin { .. }
        | Op::ReduceProd { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::LayerNorm { .. }
        | Op::RmsNorm { .. } => Class::Reduction,
        Op::Matmul { .. }
        | Op::Conv { .. }
        | Op::ConvTranspose { .. }
        | Op::IntegerMatmul { .. }
        | Op::IntegerConv { .. }
        | Op::Attention { .. } => Class::Contraction,
        _ => Class::Alone,
    }
}

/// What kind of kernel a region is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    /// Pointwise and movement.
    Map,
    /// Also reductions over these axes of this domain.
    Rows {
        domain: Vec<Dim>,
        inner: Vec<bool>,
    },
    Contraction,
    Alone,
}

impl Kind {
    /// Whether a value of this shape stands at the points of the rows: at all, or one for each row.
    pub(super) fn on_domain(&self, shape: &[Dim]) -> bool {
        let Kind::Rows { domain, inner } = self else { return false };
        let reduced = domain.iter().zip(inner).map(|(d, r)| if *r { Dim::ONE } else { d.clone() });
        shape == domain || reduced.eq(shape.iter().cloned())
    }
}

/// The kind of a region of this node only.
fn kind(g: &Graph, id: NodeId) -> Kind {
    match class(&g.node(id).op) {
        Class::Pointwise | Class::Movement => Kind::Map,
        Class::Contraction => Kind::Contraction,
        Class::Alone => Kind::Alone,
        Class::Reduction => {
            let ty = g.ty(g.operand(id, 0));
            let mut inner = vec![false; ty.rank()];
            for a in reduced(&g.node(id).op, ty.rank()) {
                inner[ty.axis(a).expect("the type rule should have accepted the axis")] = true;
            }
            Kind::Rows { domain: ty.shape.clone(), inner }
        }
    }
}

/// The axes that a reduction runs over.
fn reduced(op: &Op, rank: usize) -> Vec<i64> {
    match op {
        Op::ReduceSum { axes }
        | Op::ReduceMean { axes }
        | Op::ReduceMax { axes }
        | Op::ReduceMin { axes }
        | Op::ReduceProd { axes } => axes.clone(),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => vec![*axis],
        Op::LayerNorm { axes, .. } | Op::RmsNorm { axes, .. } => (rank as i64 - axes..rank as i64).collect(),
        _ => panic!("bug: {} is no reduction", op.name()),
    }
}

/// A set of nodes.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub nodes: BTreeSet<usize>,
    pub kind: Kind,
}

/// All regions of a graph. Nodes are named by their place in program order.
pub(super) struct Regions<'g> {
    pub g: &'g Graph,
    pub order: Vec<NodeId>,
    place: HashMap<NodeId, usize>,
    /// The region each node is in; copies in other regions do not count.
    home: Vec<usize>,
    pub regions: Vec<Region>,
    outputs: HashSet<NodeId>,
    /// For nodes that make symbols, the places of those that use them.
    symbol_users: HashMap<usize, Vec<usize>>,
    /// The other way round.
    symbol_makers: HashMap<usize, Vec<usize>>,
}

impl<'g> Regions<'g> {
    /// Every node in a region of its own.
    pub(super) fn new(g: &'g Graph) -> Regions<'g> {
        let order = g.order();
        let place: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let alone = |(i, &id): (usize, &NodeId)| Region { nodes: BTreeSet::from([i]), kind: kind(g, id) };
        let regions = order.iter().enumerate().map(alone).collect();
        let outputs = g.outputs().iter().map(|v| v.node).collect();
        let (mut symbol_users, mut symbol_makers) = (HashMap::new(), HashMap::new());
        for (maker, user) in g.symbol_uses() {
            let (maker, user) = (place[&maker], place[&user]);
            symbol_users.entry(maker).or_insert_with(Vec::new).push(user);
            symbol_makers.entry(user).or_insert_with(Vec::new).push(maker);
        }
        let home = (0..order.len()).collect();
        Regions { g, order, place, home, regions, outputs, symbol_users, symbol_makers }
    }
    pub(super) fn place(&self, id: NodeId) -> usize {
        self.place[&id]
    }
    /// The region that a node is in.
    pub(super) fn home(&self, place: usize) -> usize {
        self.home[place]
    }
    pub(super) fn op(&self, place: usize) -> &'g Op {
        &self.g.node(self.order[place]).op
    }
    pub(super) fn shape(&self, place: usize) -> &'g [Dim] {
        &self.g.node(self.order[place]).types[0].shape
    }
    /// The nodes that a node's operands come from.
    pub(super) fn operands(&self, place: usize) -> Vec<usize> {
        self.g.operands(self.order[place]).map(|v| self.place[&v.node]).collect()
    }
    /// The nodes that use a node's results.
    pub(super) fn users(&self, place: usize) -> Vec<usize> {
        let id = self.order[place];
        let results = 0..self.g.node(id).types.len();
        let users = results.flat_map(|port| self.g.users(Value { node: id, port: 0 }.port(port)));
        let mut places: Vec<usize> = users.filter_map(|(user, _)| self.place.get(&user).copied()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
    /// The nodes that come after a node: they use its results, or symbols that it makes.
    pub(super) fn followers(&self, place: usize) -> Vec<usize> {
        let mut places = self.users(place);
        places.extend(self.symbol_users.get(&place).into_iter().flatten());
        places
    }
    pub(super) fn is_output(&self, place: usize) -> bool {
        self.outputs.contains(&self.order[place])
    }
    /// Whether something outside of `inside` needs the node.
    pub(super) fn needed_outside(&self, place: usize, inside: &BTreeSet<usize>) -> bool {
        self.is_output(place) || self.users(place).iter().any(|u| !inside.contains(u))
    }
    /// Nodes outside of a region whose results it uses, each once.
    pub(super) fn external_operands(&self, region: usize) -> Vec<usize> {
        let nodes = &self.regions[region].nodes;
        let mut found = Vec::new();
        for o in nodes.iter().flat_map(|&n| self.operands(n)) {
            if !nodes.contains(&o) && !found.contains(&o) {
                found.push(o);
            }
        }
        found
    }
    /// Moves a node to another region.
    pub(super) fn assign(&mut self, place: usize, region: usize) {
        let old = std::mem::replace(&mut self.home[place], region);
        self.regions[old].nodes.remove(&place);
        self.regions[region].nodes.insert(place);
    }
    /// Gives a node a region of its own.
    pub(super) fn release(&mut self, place: usize) {
        let region = self.home[place];
        self.regions[region].nodes.remove(&place);
        self.regions.push(Region { nodes: BTreeSet::from([place]), kind: kind(self.g, self.order[place]) });
        self.home[place] = self.regions.len() - 1;
    }
    /// The regions of more than one node that something needs, in program order of their last node.
    pub(super) fn finish(self) -> Vec<Group> {
        let mut live = BTreeSet::new();
        let mut needed: HashSet<usize> = self.outputs.iter().map(|id| self.place[id]).collect();
        let mut stack: Vec<usize> = needed.iter().map(|&p| self.home[p]).collect();
        while let Some(region) = stack.pop() {
            if live.insert(region) {
                let operands = self.external_operands(region);
                let nodes = &self.regions[region].nodes;
                let makers = nodes.iter().flat_map(|n| self.symbol_makers.get(n).into_iter().flatten());
                stack.extend(operands.iter().chain(makers).map(|&o| self.home[o]));
                needed.extend(operands);
            }
        }
        let mut groups: Vec<&Region> =
            live.iter().map(|&i| &self.regions[i]).filter(|r| r.nodes.len() > 1).collect();
        groups.sort_by_key(|r| r.nodes.last().copied());
        let owned = |region: &Region, n: usize| std::ptr::eq(&self.regions[self.home[n]], region);
        let group = |region: &Region| Group {
            nodes: region.nodes.iter().map(|&n| self.order[n]).collect(),
            outputs: region
                .nodes
                .iter()
                .filter(|&&n| needed.contains(&n) && owned(region, n))
                .map(|&n| Value { node: self.order[n], port: 0 })
                .collect(),
        };
        groups.into_iter().map(group).collect()
    }
}

/// The nodes of a kernel in program order, and what is needed outside of it.
pub(super) struct Group {
    pub nodes: Vec<NodeId>,
    pub outputs: Vec<Value>,
}
