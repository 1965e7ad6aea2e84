//! Regions around a contraction: strided operands before it, pointwise ops and a transpose after it.
use super::region::{Class, Regions, class};
use sardonyx_ir::NodeId;
use sardonyx_ir::ops::Op;
use sardonyx_tensor::Dim;
use std::collections::BTreeSet;

/// An epilogue has at most this many nodes, and a region this many operands.
const MAX_NODES: usize = 32;
const MAX_OPERANDS: usize = 12;

pub(super) fn grow(r: &mut Regions, contraction: NodeId) {
    let start = r.place(contraction);
    let region = r.home(start);
    let (epilogue, last) = epilogue(r, start);
    for place in epilogue.into_iter().chain(tail(r, last)) {
        r.assign(place, region);
    }
    let strided = match r.op(start) {
        Op::Matmul { .. } | Op::IntegerMatmul { .. } => 2,
        Op::Attention { .. } => 3,
        _ => 0,
    };
    for operand in r.operands(start).into_iter().take(strided) {
        let chain = strides(r, operand);
        r.regions[region].nodes.extend(chain);
    }
}

/// Pointwise nodes of the contraction's shape after it, and the one whose result is needed outside.
fn epilogue(r: &Regions, start: usize) -> (BTreeSet<usize>, usize) {
    let domain = r.shape(start);
    let mut grown = BTreeSet::from([start]);
    let mut best = (grown.clone(), start);
    while grown.len() < MAX_NODES {
        let next = grown.iter().flat_map(|&n| r.users(n)).filter(|u| !grown.contains(u)).min();
        let Some(next) = next else { break };
        let joins = class(r.op(next)) == Class::Pointwise && r.shape(next) == domain && r.home(next) == next;
        if !joins {
            break;
        }
        grown.insert(next);
        if operand_count(r, &grown) > MAX_OPERANDS {
            break;
        }
        let mut needed = grown.iter().filter(|&&n| r.needed_outside(n, &grown));
        if let (Some(&last), None) = (needed.next(), needed.next()) {
            best = (grown.clone(), last);
        }
    }
    best.0.remove(&start);
    best
}

fn operand_count(r: &Regions, nodes: &BTreeSet<usize>) -> usize {
    let operands: BTreeSet<usize> = nodes.iter().flat_map(|&n| r.operands(n)).collect();
    operands.difference(nodes).count()
}

/// Transposes (and reshapes between them) after the last node that leave the innermost axis in place.
fn tail(r: &Regions, last: usize) -> Vec<usize> {
    let (mut chain, mut kept, mut end) = (Vec::new(), 0, last);
    loop {
        let users = r.users(end);
        let [next] = users[..] else { break };
        if r.is_output(end) || r.home(next) != next {
            break;
        }
        match r.op(next) {
            Op::Reshape { .. } => chain.push(next),
            Op::Transpose { perm } if perm.last() == Some(&(perm.len() as i64 - 1)) => {
                chain.push(next);
                kept = chain.len();
            }
            _ => break,
        }
        end = next;
    }
    chain.truncate(kept);
    chain
}

/// The movement through which an operand comes that strides can express, outermost last.
fn strides(r: &Regions, operand: usize) -> Vec<usize> {
    let (mut chain, mut kept, mut at) = (Vec::new(), 0, operand);
    while r.home(at) == at && r.regions[at].nodes.len() == 1 {
        let splits = match r.op(at) {
            Op::Transpose { .. } | Op::Expand { .. } => false,
            Op::Slice { steps, .. } if steps.iter().all(|&s| s > 0) => false,
            Op::Reshape { shape } if only_splits(r.shape(r.operands(at)[0]), shape) => true,
            _ => break,
        };
        chain.push(at);
        if !splits {
            kept = chain.len();
        }
        at = r.operands(at)[0];
    }
    chain.truncate(kept);
    chain
}

/// Whether a reshape only splits axes and adds axes of 1, so that strides can express it on any strides.
fn only_splits(from: &[Dim], to: &[Dim]) -> bool {
    let mut rest = to.iter().peekable();
    for d in from {
        let mut product = Dim::ONE;
        while product != *d {
            match rest.next() {
                Some(next) => product *= next,
                None => return false,
            }
        }
    }
    rest.all(|d| *d == Dim::ONE)
}
