//! Cutting the innermost loop where comparisons of its coordinate change: what a pad or concat asks at every
//! point is known in each segment, so that nothing is guarded inside of the loops.
use crate::kernel::body::{Body, Value, ValueId};
use crate::kernel::index::{Atom, Index};
use crate::kernel::pointwise::Map;
use crate::nest::{Expr, Ty};
use crate::nests::point::Point;
use sardonyx_ir::scalar::{Node, Prim};
use sardonyx_tensor::{DType, Dim};
use std::cmp::Ordering;

/// The most places to cut at.
const CUTS: usize = 6;
/// The most conditions of outer loops that get loops of their own for either value.
const CONDITIONS: usize = 2;

/// Where to cut, and conditions that do not vary in the loop.
pub struct Segments {
    /// In order: the coordinate, and the comparisons that change there with their value before.
    cuts: Vec<(Dim, Vec<(ValueId, bool)>)>,
    conditions: Vec<ValueId>,
}

impl Segments {
    /// Those of the last axis of a map.
    pub fn of(map: &Map) -> Segments {
        let none = Segments { cuts: vec![], conditions: vec![] };
        let Some(last) = map.domain.len().checked_sub(1) else { return none };
        let mut cuts: Vec<(Dim, Vec<(ValueId, bool)>)> = Vec::new();
        for id in 0..map.body.values.len() {
            let Some((at, before)) = comparison(&map.body, id, last) else { continue };
            match cuts.iter_mut().find(|(d, _)| *d == at) {
                Some((_, list)) => list.push((id, before)),
                None => cuts.push((at, vec![(id, before)])),
            }
        }
        let mut ordered = cuts.len() <= CUTS;
        for (k, a) in cuts.iter().enumerate() {
            ordered &= cuts[..k].iter().all(|b| a.0.compare(&b.0).is_some());
        }
        if !ordered {
            cuts.clear();
        }
        cuts.sort_by(|a, b| a.0.compare(&b.0).unwrap_or(Ordering::Equal));
        let conditions = conditions(&map.body, last);
        Segments { cuts, conditions: if conditions.len() <= CONDITIONS { conditions } else { vec![] } }
    }

    /// Runs `f` for every segment of `range`, with the comparisons known.
    pub fn run<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        range: (Expr<'b>, Expr<'b>),
        f: &mut dyn FnMut(&mut Point<'_, 'b>, (Expr<'b>, Expr<'b>)),
    ) {
        self.versions(p, &self.conditions, range, f);
    }

    fn versions<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        conditions: &[ValueId],
        range: (Expr<'b>, Expr<'b>),
        f: &mut dyn FnMut(&mut Point<'_, 'b>, (Expr<'b>, Expr<'b>)),
    ) {
        let Some((&condition, rest)) = conditions.split_first() else { return self.cut(p, range, f) };
        let b = p.b;
        let holds = p.value(condition);
        let mut version = |value: i64| {
            p.scope(|p| {
                p.define(condition, b.constant(Ty::BOOL, value));
                self.versions(p, rest, range, f);
            });
        };
        if let Some(known) = holds.as_int() {
            return version(known);
        }
        let version = std::cell::RefCell::new(version);
        b.if_else(holds, || (version.borrow_mut())(1), || (version.borrow_mut())(0));
    }

    fn cut<'b>(
        &self,
        p: &mut Point<'_, 'b>,
        range: (Expr<'b>, Expr<'b>),
        f: &mut dyn FnMut(&mut Point<'_, 'b>, (Expr<'b>, Expr<'b>)),
    ) {
        let b = p.b;
        let mut begin = range.0;
        for k in 0..=self.cuts.len() {
            let end = match self.cuts.get(k) {
                Some((at, _)) => b.dim(at).max(range.0).min(range.1),
                None => range.1,
            };
            p.scope(|p| {
                for (c, (_, comparisons)) in self.cuts.iter().enumerate() {
                    for &(id, before) in comparisons {
                        p.define(id, b.constant(Ty::BOOL, i64::from(before == (k <= c))));
                    }
                }
                f(p, (begin, end));
            });
            begin = end;
        }
    }
}

/// For a comparison of the coordinate along `axis` with a dimension: where it changes, and its value before.
fn comparison(body: &Body, id: ValueId, axis: usize) -> Option<(Dim, bool)> {
    let (Value::Apply { f, args }, DType::Bool) = &body.values[id] else { return None };
    let (&[a, c], Node::Prim(prim, operands)) = (&args[..], &f.nodes[f.root]) else { return None };
    let (Value::Position(index), Value::Position(bound)) = (&body.values[a].0, &body.values[c].0) else {
        return None;
    };
    let argument = |k: usize| match f.nodes[operands[k]] {
        Node::Arg(i) => Some(i),
        _ => None,
    };
    let before = match (prim, argument(0)?, argument(1)?) {
        (Prim::Lt, 0, 1) => true,
        (Prim::Le, 1, 0) => false,
        _ => return None,
    };
    let (Index { terms, constant }, true) = (index, bound.terms.is_empty()) else { return None };
    match &terms[..] {
        [(Atom::Axis(k), c)] if *k == axis && *c == Dim::ONE => Some((&bound.constant - constant, before)),
        _ => None,
    }
}

/// Bools that do not vary along `axis` and decide what values that do are.
fn conditions(body: &Body, axis: usize) -> Vec<ValueId> {
    let varies = body.axes(0);
    let fixed = |id: ValueId| varies[id] & (1 << axis) == 0 && body.dtype(id) == DType::Bool;
    let mut list: Vec<ValueId> = Vec::new();
    for id in (0..body.values.len()).filter(|&id| varies[id] & (1 << axis) != 0) {
        let decisive: Vec<ValueId> = match &body.values[id].0 {
            Value::Load { guard, .. } => guard.iter().copied().collect(),
            Value::Apply { f, args } => match &f.nodes[f.root] {
                Node::Prim(Prim::Select, _) if body.dtype(args[0]) == DType::Bool => vec![args[0]],
                Node::Prim(Prim::And, _) => args.clone(),
                _ => vec![],
            },
            _ => vec![],
        };
        for c in decisive.into_iter().filter(|&c| fixed(c)) {
            let computed = matches!(body.values[c].0, Value::Apply { .. });
            if computed && varies[c] != 0 && !list.contains(&c) {
                list.push(c);
            }
        }
    }
    list
}
