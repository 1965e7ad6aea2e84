//! Applying rules to a fixpoint with a worklist, so that the cost follows the number of rewrites and not
//! the size of the graph.
use super::build::{Builder, Chained, Pattern};
use super::matcher::{self, Found};
use super::{Rule, Trace, equal_types};
use crate::graph::{Graph, NodeId, Origin, Value};
use crate::ops::Op;
use std::collections::{HashMap, HashSet, VecDeque};

/// Rules with an index from root op to rules.
pub struct RuleSet {
    rules: Vec<Rule>,
    roots: HashMap<&'static str, Vec<usize>>,
    depth: usize,
}

impl RuleSet {
    /// These rules; where several apply, the earlier goes first.
    pub fn new(rules: Vec<Rule>) -> RuleSet {
        let mut roots: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (i, r) in rules.iter().enumerate() {
            for name in r.root_ops() {
                roots.entry(name).or_default().push(i);
            }
        }
        let depth = rules.iter().map(|r| r.depth(r.root)).max().unwrap_or(0);
        RuleSet { rules, roots, depth }
    }

    /// The names of the rules.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().map(|r| r.name)
    }

    /// Applies the rules until none applies; says whether any did.
    pub fn apply(&self, g: &mut Graph, trace: &Trace) -> bool {
        let mut work = Work::new(g.order());
        let limit = 1000 + 20 * g.len();
        let before = trace.len();
        while let Some(id) = work.next() {
            if !g.contains(id) {
                continue;
            }
            if let Some(changed) = self.apply_at(g, id, trace) {
                let made = trace.len() - before;
                assert!(made < limit, "bug: the rules do not terminate: {}", trace.rewrites()[made - 1].rule);
                work.add_with_users(g, &changed, self.depth);
            }
        }
        trace.len() > before
    }

    /// Applies the first rule that matches at a node; the nodes around which more may apply.
    fn apply_at(&self, g: &mut Graph, id: NodeId, trace: &Trace) -> Option<Vec<NodeId>> {
        let root = Value { node: id, port: 0 };
        for &i in self.roots.get(g.node(id).op.name())? {
            let rule = &self.rules[i];
            match matcher::find(g, rule, root, trace.explains(rule.name)) {
                Ok(_) if !trace.permits() => return None,
                Ok(found) => match replace(g, root, found) {
                    Ok((changed, origin)) => {
                        trace.made(rule.name, origin);
                        return Some(changed);
                    }
                    Err(reason) => trace.missed(rule.name, g, id, reason),
                },
                Err(Some(reason)) => trace.missed(rule.name, g, id, reason),
                Err(None) => {}
            }
        }
        None
    }
}

impl Rule {
    fn root_ops(&self) -> Vec<&'static str> {
        let numbers = |terms: &[usize]| terms.iter().any(|&t| matches!(self.patterns[t], Pattern::Num(_)));
        match &self.patterns[self.root] {
            Pattern::Op { name, .. } => vec![name],
            Pattern::Chain { op: Chained::Add, terms } if numbers(terms) => vec!["add", "sub"],
            Pattern::Chain { op: Chained::Mul, terms } if numbers(terms) => vec!["mul", "div"],
            Pattern::Chain { op: Chained::Add, .. } => vec!["add"],
            Pattern::Chain { op: Chained::Mul, .. } => vec!["mul"],
            Pattern::Var(_) | Pattern::Num(_) => panic!("bug: the left side of {} is no op", self.name),
        }
    }

    /// How many ops lie above each other in the left side.
    fn depth(&self, p: usize) -> usize {
        let deepest = |ps: &[usize]| ps.iter().map(|&p| self.depth(p)).max().unwrap_or(0);
        match &self.patterns[p] {
            Pattern::Var(_) | Pattern::Num(_) => 0,
            Pattern::Op { operands, .. } => 1 + deepest(operands),
            Pattern::Chain { terms, .. } => terms.len() - 1 + deepest(terms),
        }
    }
}

/// Puts the right side of a match in place of `root`; the nodes around which something changed, and the
/// origin of the new nodes. Where the right side does not fit, the graph is as it was.
fn replace(g: &mut Graph, root: Value, found: Found) -> Result<(Vec<NodeId>, Origin), String> {
    let origin = Origin::union(found.nodes.iter().map(|&n| &g.node(n).origin));
    let requirements = g.requirements().count();
    let outer = std::mem::replace(&mut g.origin, origin.clone());
    let builder = Builder::new(std::mem::take(g));
    let new = (found.plan)(&builder, &found.vars);
    let (graph, mut created, error) = builder.finish();
    *g = graph;
    let fitted = match error {
        Some(e) => Err(e),
        None => fit(g, root, new),
    };
    g.origin = outer;
    match fitted {
        Ok(new) => {
            created.push(new.node);
            g.replace(root, new);
            created.extend(g.prune(root.node));
            created.retain(|&n| g.contains(n));
            Ok((created, origin))
        }
        Err(reason) => {
            for &n in created.iter().rev() {
                g.prune(n);
            }
            g.truncate_requirements(requirements);
            Err(reason)
        }
    }
}

/// `new` with the type of `root`.
fn fit(g: &mut Graph, root: Value, new: Value) -> Result<Value, String> {
    if new == root {
        return Err("nothing changes".to_string());
    }
    let (wanted, given) = (g.ty(root).clone(), g.ty(new).clone());
    if wanted == given {
        return Ok(new);
    }
    if !equal_types(g, &wanted, &given) {
        return Err(format!("the type would change from {wanted} to {given}"));
    }
    g.add(Op::Reshape { shape: wanted.shape }, &[new])
}

/// Nodes to look at, each listed once at a time.
struct Work {
    queue: VecDeque<NodeId>,
    queued: HashSet<NodeId>,
}

impl Work {
    fn new(nodes: Vec<NodeId>) -> Work {
        Work { queued: nodes.iter().copied().collect(), queue: nodes.into() }
    }
    fn next(&mut self) -> Option<NodeId> {
        let id = self.queue.pop_front()?;
        self.queued.remove(&id);
        Some(id)
    }
    /// Adds nodes and those above them whose match can reach down to them.
    fn add_with_users(&mut self, g: &Graph, nodes: &[NodeId], depth: usize) {
        let mut level: Vec<NodeId> = nodes.to_vec();
        let mut seen: HashSet<NodeId> = level.iter().copied().collect();
        for _ in 0..=depth {
            let mut above = Vec::new();
            for &id in &level {
                // A constant's other users match as before, and there may be very many.
                if matches!(g.node(id).op, Op::Const { .. }) {
                    continue;
                }
                if self.queued.insert(id) {
                    self.queue.push_back(id);
                }
                for port in 0..g.node(id).types.len() {
                    let users = g.users(Value { node: id, port: 0 }.port(port));
                    above.extend(users.into_iter().map(|(user, _)| user).filter(|&u| seen.insert(u)));
                }
            }
            level = above;
        }
    }
}
