//! Matching a left side at a value: depth first with backtracking over the orders of commutative operands
//! and the associations of chains.
use super::build::{Chained, Pattern};
use super::{Match, Plan, Rule};
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;

/// At most so many associations of one chain are tried.
const MAX_EXPANSIONS: usize = 64;

/// Ops of two operands that match in both orders, besides the chains.
const COMMUTATIVE: [&str; 6] = ["min", "max", "eq", "and", "or", "xor"];

/// What stands in a chain: a value, or a number that a division or subtraction stands for.
#[derive(Clone, Copy)]
enum Leaf {
    Value(Value),
    Num(f64),
}

/// A pattern and what it has to match.
type Goal = (usize, Leaf);

/// A match that applies.
pub(super) struct Found {
    pub plan: Plan,
    pub vars: Vec<Value>,
    pub nodes: Vec<NodeId>,
}

/// The search for one match.
pub(super) struct Matcher<'a> {
    g: &'a Graph,
    rule: &'a Rule,
    root: Value,
    bound: Vec<Option<Value>>,
    nodes: Vec<(usize, NodeId)>,
    found: Option<Found>,
    explain: bool,
    /// How many nodes the best attempt matched, and why it failed.
    miss: Option<(usize, String)>,
}

/// Matches `rule` at `root`. If it does not apply, gives the reason why the best attempt failed, if
/// `explain` asks for it and it got past the root.
pub(super) fn find(g: &Graph, rule: &Rule, root: Value, explain: bool) -> Result<Found, Option<String>> {
    let bound = vec![None; rule.patterns.len()];
    let mut m = Matcher { g, rule, root, bound, nodes: vec![], found: None, explain, miss: None };
    m.solve(&mut vec![(rule.root, Leaf::Value(root))]);
    m.found.ok_or(m.miss.filter(|(matched, _)| *matched > 1).map(|(_, why)| why))
}

impl<'a> Matcher<'a> {
    /// Whether all goals can be met. If not, `goals` is as it was.
    fn solve(&mut self, goals: &mut Vec<Goal>) -> bool {
        let Some(goal) = goals.pop() else { return self.accept() };
        let met = self.meet(goal, goals);
        if !met {
            goals.push(goal);
        }
        met
    }

    fn meet(&mut self, (p, leaf): Goal, goals: &mut Vec<Goal>) -> bool {
        let rule: &'a Rule = self.rule;
        let v = match (&rule.patterns[p], leaf) {
            (Pattern::Num(x), _) => {
                return number(self.g, leaf).is_some_and(|y| close(*x, y)) && self.solve(goals);
            }
            (_, Leaf::Num(_)) => return false,
            (_, Leaf::Value(v)) => v,
        };
        if let Some(earlier) = self.bound[p] {
            return earlier == v && self.solve(goals);
        }
        match &rule.patterns[p] {
            Pattern::Var(_) => self.bind(p, v, &[], goals, &[]),
            Pattern::Num(_) => panic!("bug: numbers are done"),
            Pattern::Op { name, operands } => self.meet_op(p, v, name, operands, goals),
            Pattern::Chain { op, terms } => {
                let chains = expansions(self.g, v, *op, terms.len());
                if chains.is_empty() {
                    self.missed(|g| {
                        format!("expected a chain of {} {op:?}, found {}", terms.len(), g.op(v).name())
                    });
                }
                chains.iter().any(|c| {
                    let mut taken = vec![false; c.leaves.len()];
                    self.assign(p, v, c, terms, &mut taken, &mut Vec::new(), goals)
                })
            }
        }
    }

    fn meet_op(&mut self, p: usize, v: Value, name: &str, operands: &[usize], goals: &mut Vec<Goal>) -> bool {
        let op = self.g.op(v).name();
        if op != name || v.port != 0 || self.g.operands(v.node).len() != operands.len() {
            self.missed(|_| format!("expected {name}, found {op}"));
            return false;
        }
        let values: Vec<Leaf> = self.g.operands(v.node).map(Leaf::Value).collect();
        let orders = if COMMUTATIVE.contains(&op) { 2 } else { 1 };
        (0..orders).any(|order| {
            let at = |i: usize| if order == 0 { i } else { operands.len() - 1 - i };
            let subgoals: Vec<Goal> = (0..operands.len()).map(|i| (operands[i], values[at(i)])).collect();
            self.bind(p, v, &[v.node], goals, &subgoals)
        })
    }

    /// Tries every assignment of the terms of a chain to its leaves.
    #[allow(clippy::too_many_arguments)]
    fn assign(
        &mut self,
        p: usize,
        v: Value,
        chain: &Expansion,
        terms: &[usize],
        taken: &mut [bool],
        subgoals: &mut Vec<Goal>,
        goals: &mut Vec<Goal>,
    ) -> bool {
        let Some(&term) = terms.get(subgoals.len()) else {
            let mut ordered = subgoals.clone();
            ordered.sort_by_key(|(t, _)| !matches!(self.rule.patterns[*t], Pattern::Var(_)));
            return self.bind(p, v, &chain.nodes, goals, &ordered);
        };
        for i in 0..taken.len() {
            if taken[i] || !self.plausible(term, chain.leaves[i]) {
                continue;
            }
            taken[i] = true;
            subgoals.push((term, chain.leaves[i]));
            if self.assign(p, v, chain, terms, taken, subgoals, goals) {
                return true;
            }
            subgoals.pop();
            taken[i] = false;
        }
        if subgoals.is_empty() {
            self.missed(|_| "the operands of the chain do not fit".to_string());
        }
        false
    }

    /// Whether a pattern may match, going by its own op only.
    fn plausible(&self, p: usize, leaf: Leaf) -> bool {
        match (&self.rule.patterns[p], leaf) {
            (Pattern::Num(x), _) => number(self.g, leaf).is_some_and(|y| close(*x, y)),
            (_, Leaf::Num(_)) => false,
            (Pattern::Var(_), Leaf::Value(v)) => self.bound[p].is_none_or(|w| w == v),
            (Pattern::Op { name, .. }, Leaf::Value(v)) => self.g.op(v).name() == *name,
            (Pattern::Chain { op, .. }, Leaf::Value(v)) => parts(self.g, v, *op).is_some(),
        }
    }

    /// Binds a pattern to a value and goes on with more goals; undone if they cannot be met.
    fn bind(&mut self, p: usize, v: Value, nodes: &[NodeId], goals: &mut Vec<Goal>, more: &[Goal]) -> bool {
        let (open, matched) = (goals.len(), self.nodes.len());
        self.bound[p] = Some(v);
        self.nodes.extend(nodes.iter().map(|&n| (p, n)));
        goals.extend_from_slice(more);
        if self.solve(goals) {
            return true;
        }
        goals.truncate(open);
        self.nodes.truncate(matched);
        self.bound[p] = None;
        false
    }

    /// Everything matches: whether the rule also applies.
    fn accept(&mut self) -> bool {
        if let Some(op) = self.used_elsewhere() {
            self.missed(|_| format!("the value of {op} is used elsewhere too"));
            return false;
        }
        let mut nodes = self.nodes.clone();
        nodes.sort_by_key(|(p, _)| std::cmp::Reverse(*p));
        let nodes: Vec<NodeId> = nodes.into_iter().map(|(_, n)| n).collect();
        let of_var = |i| self.rule.patterns.iter().position(|p| matches!(p, Pattern::Var(j) if *j == i));
        let vars: Vec<Value> = (0..).map_while(of_var).filter_map(|p| self.bound[p]).collect();
        let m = Match { graph: self.g, root: self.root, vars, nodes };
        match (self.rule.plan)(&m) {
            Ok(plan) => {
                self.found = Some(Found { plan, vars: m.vars, nodes: m.nodes });
                true
            }
            Err(reason) => {
                self.missed(|_| reason);
                false
            }
        }
    }

    /// The op of a matched inner value that something outside of the match needs.
    fn used_elsewhere(&self) -> Option<&'static str> {
        let inside = |id: NodeId| self.nodes.iter().any(|&(_, n)| n == id);
        let inner = self.nodes.iter().map(|&(_, n)| n).filter(|&n| n != self.root.node);
        let needed = |n: NodeId| {
            (0..self.g.node(n).types.len()).any(|port| {
                let v = Value { node: n, port: 0 }.port(port);
                let users = self.g.users(v);
                users.len() != self.g.use_count(v) || users.iter().any(|&(user, _)| !inside(user))
            })
        };
        inner.into_iter().find(|&n| needed(n)).map(|n| self.g.node(n).op.name())
    }

    fn missed(&mut self, why: impl FnOnce(&Graph) -> String) {
        let matched = self.nodes.len();
        if self.explain && self.miss.as_ref().is_none_or(|(most, _)| *most < matched) {
            self.miss = Some((matched, why(self.g)));
        }
    }
}

/// The number a leaf is, if it is a constant of one element.
fn number(g: &Graph, leaf: Leaf) -> Option<f64> {
    match leaf {
        Leaf::Num(x) => Some(x),
        Leaf::Value(v) => {
            let number = |t: &&sardonyx_tensor::Tensor| t.len() == 1 && !t.dtype().is_reference();
            g.const_value(v).filter(number).map(|t| t.get_f64(0))
        }
    }
}

/// 0, 1 and infinities are exact; other numbers are written with few digits.
fn close(wanted: f64, x: f64) -> bool {
    if wanted == 0.0 || wanted == 1.0 || wanted.is_infinite() {
        x == wanted
    } else {
        (x - wanted).abs() <= 1e-4 * wanted.abs()
    }
}

/// A way to read a value as a chain of so many leaves, and the nodes of the chain.
struct Expansion {
    leaves: Vec<Leaf>,
    nodes: Vec<NodeId>,
}

/// The two operands of a value that is a sum or a product.
fn parts(g: &Graph, v: Value, op: Chained) -> Option<[Leaf; 2]> {
    if v.port != 0 {
        return None;
    }
    let operand = |i| g.operand(v.node, i);
    let constant = |i| number(g, Leaf::Value(operand(i)));
    match (g.op(v), op) {
        (Op::Add {}, Chained::Add) | (Op::Mul {}, Chained::Mul) => {
            Some([Leaf::Value(operand(0)), Leaf::Value(operand(1))])
        }
        (Op::Sub {}, Chained::Add) => Some([Leaf::Value(operand(0)), Leaf::Num(-constant(1)?)]),
        (Op::Div {}, Chained::Mul) if g.ty(v).dtype.is_float() => {
            let divisor = constant(1).filter(|&c| c != 0.0)?;
            Some([Leaf::Value(operand(0)), Leaf::Num(1.0 / divisor)])
        }
        _ => None,
    }
}

/// Every way to read `v` as a chain of `count` leaves.
fn expansions(g: &Graph, v: Value, op: Chained, count: usize) -> Vec<Expansion> {
    let Some(first) = parts(g, v, op) else { return Vec::new() };
    let mut complete = Vec::new();
    // Leaves before `from` stay as they are, so that every association is found once.
    let mut open = vec![(Expansion { leaves: first.to_vec(), nodes: vec![v.node] }, 0)];
    while let Some((e, from)) = open.pop() {
        if e.leaves.len() == count {
            complete.push(e);
            if complete.len() == MAX_EXPANSIONS {
                break;
            }
            continue;
        }
        for i in (from..e.leaves.len()).rev() {
            let Leaf::Value(inner) = e.leaves[i] else { continue };
            let Some(split) = parts(g, inner, op) else { continue };
            let mut leaves = e.leaves.clone();
            leaves.splice(i..=i, split);
            let nodes = e.nodes.iter().copied().chain([inner.node]).collect();
            open.push((Expansion { leaves, nodes }, i));
        }
    }
    complete
}
