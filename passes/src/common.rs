//! Equal values are computed once.
//!
//! ```text
//! %0 = exp(%x)                 %0 = exp(%x)
//! %1 = exp(%x)           →     %1 = add(%0, %0)
//! %2 = add(%0, %1)
//! ```
//! Equal are constants with the same elements, and the same op with the same attributes on the same
//! operands. Ops with sub-graphs and random ops are left alone.
use crate::Options;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Value};
use std::collections::HashMap;
use std::fmt::Write;

pub(crate) const NAMES: &[&str] = &["common"];

/// So many bytes of a constant go into its key; the rest is compared.
const KEY_BYTES: usize = 256;

pub(crate) fn run(g: &mut Graph, options: &Options) {
    let mut seen: HashMap<String, Vec<NodeId>> = HashMap::new();
    for id in g.order() {
        let Some(key) = key(g, id) else { continue };
        let same = seen.entry(key).or_default();
        let earlier = same.iter().copied().find(|&e| g.node(e).op == g.node(id).op);
        match earlier {
            Some(earlier) if options.trace.permits() => {
                merge(g, earlier, id);
                options.trace.made(NAMES[0], g.node(earlier).origin.clone());
            }
            _ => same.push(id),
        }
    }
}

fn merge(g: &mut Graph, earlier: NodeId, later: NodeId) {
    for port in 0..g.node(later).types.len() {
        let at = |node| Value { node, port: 0 }.port(port);
        g.replace(at(later), at(earlier));
    }
}

/// A text that equal nodes have in common; `None` for nodes that are not merged.
fn key(g: &Graph, id: NodeId) -> Option<String> {
    let op = &g.node(id).op;
    let mut key = String::from(op.name());
    match op {
        Op::Input { .. } => return None,
        Op::Const { value } => {
            let t = value.tensor();
            let bytes = &t.bytes()[..t.bytes().len().min(KEY_BYTES)];
            write!(key, " {} {:?} {bytes:?}", t.dtype(), t.shape()).expect("a string should take text");
        }
        _ if !op.regions().is_empty() || op.name().starts_with("random") => return None,
        _ => {
            op.print_attributes(&mut key);
            for v in g.operands(id) {
                write!(key, " {}.{}", v.node.index(), v.port).expect("a string should take text");
            }
        }
    }
    Some(key)
}
