//! Puts a fused node in place of a set of nodes.
use super::region::Group;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, Origin, Value};
use std::collections::{HashMap, HashSet};

/// Fuses the nodes of a group; the origin of the new node.
pub(super) fn fuse(g: &mut Graph, Group { nodes, outputs }: &Group) -> Origin {
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let mut body = Graph::new();
    let mut inputs: Vec<Value> = Vec::new();
    let mut copies: HashMap<Value, Value> = HashMap::new();
    for v in nodes.iter().flat_map(|&n| g.operands(n)).filter(|v| !inside.contains(&v.node)) {
        if copies.contains_key(&v) {
            continue;
        }
        let copy = match g.const_value(v).filter(|t| t.len() == 1) {
            Some(t) => body.constant(t.clone()),
            None => {
                inputs.push(v);
                body.input(&format!("x{}", inputs.len() - 1), g.ty(v).clone())
            }
        };
        copies.insert(v, copy);
    }
    for &n in nodes {
        let node = g.node(n);
        let operands: Vec<Value> = g.operands(n).map(|v| copies[&v]).collect();
        body.origin = node.origin.clone();
        let copy = body.add(node.op.clone(), &operands).expect("an op should fit where it fitted before");
        for port in 0..node.types.len() {
            copies.insert(Value { node: n, port: 0 }.port(port), copy.port(port));
        }
    }
    body.set_outputs(outputs.iter().map(|v| copies[v]).collect(), vec![]);
    let origin = Origin::union(nodes.iter().map(|&n| &g.node(n).origin));
    g.origin = origin.clone();
    let fused = g.add(Op::Fused { body: Box::new(body) }, &inputs).expect("a body should be well typed");
    for (port, &v) in outputs.iter().enumerate() {
        g.replace(v, fused.port(port));
    }
    origin
}
