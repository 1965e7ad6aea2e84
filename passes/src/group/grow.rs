//! Regions of pointwise, movement and reduction ops: a node takes in the regions that its operands come from.
use super::region::{Class, Kind, Regions, class};
use sardonyx_ir::NodeId;
use sardonyx_ir::ops::Op;
use sardonyx_tensor::Dim;
use std::collections::{BTreeSet, HashSet};

/// A region has at most this many nodes and operands.
const MAX_NODES: usize = 64;
const MAX_OPERANDS: usize = 16;
/// What may be computed again for every element of a broadcast, in additions.
const CHEAP: usize = 4;
/// What may be computed again by every consumer, in additions.
const FREE: usize = 2;
/// The cost of an op that is more than an addition.
const COSTLY: usize = 8;

/// Takes into the region of a node what its operands come from, as long as that is good.
pub(super) fn absorb(r: &mut Regions, id: NodeId) {
    let root = r.place(id);
    let starts = match class(r.op(root)) {
        Class::Pointwise | Class::Reduction => true,
        Class::Movement => !matches!(r.op(root), Op::Reshape { .. } | Op::Iota { .. } | Op::Dims { .. }),
        Class::Contraction | Class::Alone => false,
    };
    let region = r.home(root);
    if !starts || r.regions[region].kind == Kind::Contraction {
        return;
    }
    let mut refused = HashSet::new();
    loop {
        let open = r.external_operands(region);
        let Some(&operand) = open.iter().rev().find(|&&o| !refused.contains(&o)) else { break };
        if !take_in(r, region, root, operand) {
            refused.insert(operand);
        }
    }
    leave_views(r, region);
}

/// Takes in the region of `operand`, or a copy of it; says whether it did.
fn take_in(r: &mut Regions, region: usize, root: usize, operand: usize) -> bool {
    let from = r.home(operand);
    let (a, b) = (&r.regions[from], &r.regions[region]);
    if !matches!(a.kind, Kind::Map | Kind::Rows { .. }) || a.nodes.len() + b.nodes.len() > MAX_NODES {
        return false;
    }
    let Some(kind) = joined(r, from, region) else { return false };
    if !worthwhile(r, from, region, root) {
        return false;
    }
    let both: BTreeSet<usize> = a.nodes.union(&b.nodes).copied().collect();
    let inputs: HashSet<usize> =
        both.iter().flat_map(|&n| r.operands(n)).filter(|o| !both.contains(o)).collect();
    if inputs.len() > MAX_OPERANDS {
        return false;
    }
    // Copies of nodes that live elsewhere stay copies.
    let (own, copies): (Vec<usize>, Vec<usize>) = a.nodes.iter().partition(|&&n| r.home(n) == from);
    let needed: Vec<usize> =
        own.iter().copied().filter(|&n| needed_beside(r, n, &both, [from, region])).collect();
    let moves = needed.is_empty();
    if !moves && is_free(r, from, operand) {
        let copies = a.nodes.clone();
        r.regions[region].nodes.extend(copies);
    } else if moves || shares_outputs(r, &needed, &kind, root, &both) {
        for n in own {
            r.assign(n, region);
        }
        r.regions[region].nodes.extend(copies);
    } else {
        return false;
    }
    r.regions[region].kind = kind;
    true
}

/// Whether something outside of `both`, the nodes of two regions, needs a node. A copy in them is no reason
/// to think that the original is not needed.
fn needed_beside(r: &Regions, n: usize, both: &BTreeSet<usize>, regions: [usize; 2]) -> bool {
    let copied = |u: usize| !regions.contains(&r.home(u)) && needed_beside(r, u, both, regions);
    r.needed_outside(n, both) || r.users(n).into_iter().any(copied)
}

/// The kind of the union of a region and the one it is taken into, if there is such a kernel.
fn joined(r: &Regions, from: usize, into: usize) -> Option<Kind> {
    let (a, b) = (&r.regions[from], &r.regions[into]);
    let rows = match (&a.kind, &b.kind) {
        (Kind::Map, kind) => return Some(kind.clone()),
        (rows, Kind::Map) => rows,
        (x, y) if x == y => x,
        _ => return None,
    };
    // What depends on a reduction stands at the points of the rows.
    let mut dependent: BTreeSet<usize> = a.nodes.clone();
    for &n in &b.nodes {
        if !r.operands(n).iter().any(|o| dependent.contains(o)) {
            continue;
        }
        let pointwise = matches!(class(r.op(n)), Class::Pointwise | Class::Reduction);
        if !pointwise || !rows.on_domain(r.shape(n)) {
            return None;
        }
        dependent.insert(n);
    }
    // The outputs of one kernel have one shape, so a region that only reduces stays apart from broadcasts of
    // what it reduced to, if nothing in it has the shape of the rows.
    Some(rows.clone())
}

/// Whether nothing costly is computed more often than before.
fn worthwhile(r: &Regions, from: usize, into: usize, root: usize) -> bool {
    let (a, b) = (&r.regions[from], &r.regions[into]);
    if matches!(a.kind, Kind::Rows { .. }) {
        return true;
    }
    let cost: usize = a.nodes.iter().map(|&n| cost(r.op(n))).sum();
    let cheap = cost <= CHEAP;
    let points = match &b.kind {
        Kind::Rows { domain, .. } => Dim::product(domain),
        _ => Dim::product(r.shape(root)),
    };
    let once = |n: usize| (Dim::product(r.shape(n)) - &points).provably_ge(0);
    a.nodes.iter().all(|&n| {
        let users: Vec<usize> = r.users(n).into_iter().filter(|u| b.nodes.contains(u)).collect();
        users.iter().all(|&u| match r.op(u) {
            Op::Concat { .. } | Op::Pad { .. } => cheap,
            Op::Expand { .. } => cheap,
            Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => cost == 0,
            op if class(op) == Class::Movement => cheap || (users.len() == 1 && once(n)),
            _ => cheap || larger_operand(r, u) == r.shape(n),
        })
    })
}

/// The shape over which a pointwise op or reduction reads its operands.
fn larger_operand<'g>(r: &Regions<'g>, n: usize) -> &'g [Dim] {
    match class(r.op(n)) {
        Class::Reduction => r.shape(r.operands(n)[0]),
        _ => r.shape(n),
    }
}

fn cost(op: &Op) -> usize {
    match op {
        Op::Add { .. }
        | Op::Sub { .. }
        | Op::Mul { .. }
        | Op::Min { .. }
        | Op::Max { .. }
        | Op::Neg { .. }
        | Op::Abs { .. }
        | Op::Eq { .. }
        | Op::Lt { .. }
        | Op::Le { .. }
        | Op::Gt { .. }
        | Op::Ge { .. }
        | Op::And { .. }
        | Op::Or { .. }
        | Op::Xor { .. }
        | Op::Not { .. }
        | Op::Select { .. }
        | Op::Cast { .. }
        | Op::Clip { .. }
        | Op::Relu { .. } => 1,
        Op::Concat { .. } | Op::Pad { .. } => 3,
        Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. } => 3,
        _ if class(op) == Class::Movement => 0,
        _ => COSTLY,
    }
}

/// Whether every consumer may compute the region itself: a few additions that read no more than the result.
fn is_free(r: &Regions, region: usize, result: usize) -> bool {
    let nodes = &r.regions[region].nodes;
    let cost: usize = nodes.iter().map(|&n| cost(r.op(n))).sum();
    let tensors = r.external_operands(region).into_iter().filter(|&o| r.shape(o) != [] as [Dim; 0]);
    let only_moves = nodes.iter().all(|&n| class(r.op(n)) == Class::Movement);
    r.regions[region].kind == Kind::Map
        && cost <= FREE
        && !nodes.iter().any(|&n| matches!(r.op(n), Op::Concat { .. } | Op::Pad { .. }))
        && (only_moves
            || tensors.clone().count() == 0
            || (tensors.clone().count() == 1 && tensors.clone().all(|o| fits(r, o, result))))
}

/// Whether a value has no more elements than another, as far as shapes show.
fn fits(r: &Regions, a: usize, b: usize) -> bool {
    let (a, b) = (r.shape(a), r.shape(b));
    a.len() <= b.len() && a.iter().rev().zip(b.iter().rev()).all(|(x, y)| x == y || *x == Dim::ONE)
}

/// Whether values that others need too can be outputs of the region beside that of `root`.
fn shares_outputs(r: &Regions, needed: &[usize], kind: &Kind, root: usize, both: &BTreeSet<usize>) -> bool {
    let of_output = |n: usize| match kind {
        Kind::Rows { .. } => kind.on_domain(r.shape(n)),
        _ => r.shape(n) == r.shape(root),
    };
    class(r.op(root)) != Class::Movement
        && needed.iter().all(|&n| of_output(n))
        && !reached(r, needed, root, both)
}

/// Whether a use outside of `both` leads back into it: then it cannot be one kernel.
fn reached(r: &Regions, needed: &[usize], root: usize, both: &BTreeSet<usize>) -> bool {
    let mut seen: HashSet<usize> = HashSet::new();
    let outside = |n: usize| r.followers(n).into_iter().filter(|u| !both.contains(u)).collect::<Vec<_>>();
    let mut stack: Vec<usize> = needed.iter().flat_map(|&n| outside(n)).collect();
    while let Some(n) = stack.pop() {
        let home = r.home(n);
        // What comes after the root cannot lead back; a kernel may hold nodes from before and after.
        if r.regions[home].nodes.first().is_none_or(|&m| m > root) || !seen.insert(home) {
            continue;
        }
        for user in r.regions[home].nodes.iter().flat_map(|&m| r.followers(m)) {
            if both.contains(&user) {
                return true;
            }
            stack.push(user);
        }
    }
    false
}

/// Puts reshapes of operands out of the region again: outside they are views.
fn leave_views(r: &mut Regions, region: usize) {
    loop {
        let nodes = &r.regions[region].nodes;
        let edge = |&&n: &&usize| {
            matches!(r.op(n), Op::Reshape { .. }) && r.operands(n).iter().all(|o| !nodes.contains(o))
        };
        let Some(&view) = nodes.iter().find(edge) else { return };
        if r.home(view) == region {
            r.release(view);
        } else {
            r.regions[region].nodes.remove(&view);
        }
    }
}
