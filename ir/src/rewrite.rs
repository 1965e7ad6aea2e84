//! Rewrite rules: a left side, a right side, both closures over the same variables, written with the ops'
//! own builder methods.
//!
//! ```
//! use sardonyx_ir::{OpBuilder, rewrite::rule};
//! let silu = rule("silu", |[x]| x * x.sigmoid(), |[x]| x.silu(1.0));
//! let gelu = rule("gelu", |[x]| x * 0.5 * ((x / 2f64.sqrt()).erf() + 1.0), |[x]| x.gelu());
//! ```
//! What the matcher does for every rule:
//! - A left side compares ops and operand counts; attributes are the business of the guard ([`rule_if`]).
//! - `add` and `mul` match as flattened chains in any order and association; division by a float constant
//!   is a factor, subtraction of a constant a term. `min`, `max`, `eq`, `and`, `or`, `xor` match both ways.
//! - A number matches any constant of one element: 0 and 1 exactly, others to a relative 1e-4.
//! - A variable used twice is one value, and so is a sub-expression bound with `let` and used twice.
//! - A value inside the match that is used elsewhere too stops the rule.
//! - No rule changes a type: where the right side has another type, the rule does not apply. Dimensions
//!   that the graph requires to be equal are the same.
//!
//! New nodes carry the origins of everything that was matched.
mod build;
mod driver;
mod matcher;
mod trace;

pub use build::{Pat, Val};
pub use driver::RuleSet;
pub use trace::{Miss, Rewrite, Trace};

use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;
use crate::types::Type;
use build::{Arena, Builder, Pattern};
use sardonyx_tensor::{Dim, Tensor};
use std::rc::Rc;

/// Whether a rule applies, and if not, why; read by `--explain`.
pub type Check<T = ()> = Result<T, String>;

/// Holds, or is the reason why a rule does not apply.
pub fn need(holds: bool, reason: &str) -> Check {
    if holds { Ok(()) } else { Err(reason.to_string()) }
}

/// Makes the right side of a match.
type Plan = Box<dyn FnOnce(&Builder, &[Value]) -> Value>;
/// The guard of a rule, and the right side of what it lets through.
type Planner = Box<dyn Fn(&Match) -> Check<Plan>>;

/// A left side, a guard and a right side.
pub struct Rule {
    /// What the rule makes.
    pub name: &'static str,
    patterns: Vec<Pattern>,
    root: usize,
    plan: Planner,
}

/// `left` becomes `right`. Both are functions of the same variables.
pub fn rule<const N: usize>(
    name: &'static str,
    left: impl for<'a> Fn([Pat<'a>; N]) -> Pat<'a>,
    right: impl for<'g> Fn([Val<'g>; N]) -> Val<'g> + 'static,
) -> Rule {
    rule_if(name, left, |_| Ok(()), move |values, ()| right(values))
}

/// As [`rule`], where `guard` says whether it applies and hands over to `right` what that needs of the match.
pub fn rule_if<const N: usize, E: 'static>(
    name: &'static str,
    left: impl for<'a> Fn([Pat<'a>; N]) -> Pat<'a>,
    guard: impl Fn(&Match) -> Check<E> + 'static,
    right: impl for<'g> Fn([Val<'g>; N], &E) -> Val<'g> + 'static,
) -> Rule {
    let arena = Arena::default();
    let root = left(std::array::from_fn(|i| arena.var(i))).id();
    let right = Rc::new(right);
    let plan = move |m: &Match| -> Check<Plan> {
        let (carried, right) = (guard(m)?, right.clone());
        Ok(Box::new(move |b: &Builder, vars: &[Value]| {
            right(std::array::from_fn(|i| b.val(vars[i])), &carried).value()
        }))
    };
    Rule { name, patterns: arena.finish(N), root, plan: Box::new(plan) }
}

/// The match of a left side, as guards see it.
pub struct Match<'g> {
    graph: &'g Graph,
    root: Value,
    vars: Vec<Value>,
    /// Matched nodes, the root first, then those nearest to it in the order of the left side.
    nodes: Vec<NodeId>,
}

impl<'g> Match<'g> {
    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }
    /// The value that is to be replaced.
    pub fn root(&self) -> Value {
        self.root
    }
    /// Its type.
    pub fn ty(&self) -> &'g Type {
        self.graph.ty(self.root)
    }
    /// The value of a variable.
    pub fn var(&self, i: usize) -> Value {
        self.vars[i]
    }
    /// The type of a variable.
    pub fn var_type(&self, i: usize) -> &'g Type {
        self.graph.ty(self.vars[i])
    }
    /// The tensor that a variable is.
    pub fn constant(&self, i: usize) -> Check<&'g Tensor> {
        let v = self.vars[i];
        self.graph.const_value(v).ok_or_else(|| format!("{} is not a constant", self.graph.op(v).name()))
    }
    /// The number that a variable is: a constant of one element.
    pub fn number(&self, i: usize) -> Check<f64> {
        let t = self.constant(i)?;
        need(t.len() == 1, "the constant has more than one element")?;
        Ok(t.get_f64(0))
    }
    /// The matched ops of that name, those nearest the root first.
    pub fn ops(&self, name: &str) -> impl Iterator<Item = &'g Op> {
        let graph = self.graph;
        self.nodes.iter().map(move |&n| &graph.node(n).op).filter(move |op| op.name() == name)
    }
    /// The matched op of that name which is nearest the root.
    pub fn op(&self, name: &str) -> &'g Op {
        self.ops(name).next().unwrap_or_else(|| panic!("bug: the rule matches no {name}"))
    }
}

/// Whether two dimensions are equal, by their form or because the graph requires it.
pub fn equal_dims(g: &Graph, a: &Dim, b: &Dim) -> bool {
    a == b || g.requirements().any(|r| (&r.left == a && &r.right == b) || (&r.left == b && &r.right == a))
}

/// Whether two types are equal, up to dimensions that the graph requires to be equal.
pub fn equal_types(g: &Graph, a: &Type, b: &Type) -> bool {
    a.dtype == b.dtype
        && a.rank() == b.rank()
        && a.shape.iter().zip(&b.shape).all(|(x, y)| equal_dims(g, x, y))
}
