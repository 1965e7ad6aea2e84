//! Orders the nodes of a graph so that every value is made before it is used.
use super::proto::{GraphProto, NodeProto};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// The indices of the nodes, each after those it uses, otherwise in the order of the file. Fails with the
/// reason when a value is made twice or nodes depend on themselves.
pub(crate) fn sorted(nodes: &[NodeProto]) -> Result<Vec<usize>, String> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if let Some(first) = makers.insert(name, i) {
                let by = |i: usize| format!("{} `{}`", nodes[i].op_type, nodes[i].name);
                return Err(format!("the value `{name}` is made twice: by {} and {}", by(first), by(i)));
            }
        }
    }
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut open = vec![0usize; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let mut used = HashSet::new();
        uses(node, &mut used);
        for maker in used.iter().filter_map(|name| makers.get(name)) {
            users[*maker].push(i);
            open[i] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..nodes.len()).filter(|&i| open[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &user in &users[i] {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    if order.len() == nodes.len() { Ok(order) } else { Err(cycle(nodes, &open)) }
}

/// The names that a node uses, in its sub-graphs too.
fn uses<'a>(node: &'a NodeProto, names: &mut HashSet<&'a str>) {
    names.extend(node.input.iter().filter(|n| !n.is_empty()).map(String::as_str));
    for attribute in &node.attribute {
        // A gradient names what it is of.
        if node.op_type == "Gradient" && attribute.name == "y" {
            names.extend(std::str::from_utf8(&attribute.s));
        }
        attribute.g.iter().chain(&attribute.graphs).for_each(|g| graph_uses(g, names));
    }
}

/// What a sub-graph uses that it does not make itself.
fn graph_uses<'a>(graph: &'a GraphProto, names: &mut HashSet<&'a str>) {
    let mut inner = HashSet::new();
    graph.node.iter().for_each(|n| uses(n, &mut inner));
    inner.extend(graph.output.iter().map(|o| o.name.as_str()));
    let made = graph.node.iter().flat_map(|n| &n.output).chain(graph.input.iter().map(|i| &i.name));
    for name in made.chain(graph.initializer.iter().map(|t| &t.name)) {
        inner.remove(name.as_str());
    }
    names.extend(inner);
}

fn cycle(nodes: &[NodeProto], open: &[usize]) -> String {
    let names: Vec<String> = (0..nodes.len())
        .filter(|&i| open[i] > 0)
        .take(8)
        .map(|i| format!("{} `{}`", nodes[i].op_type, nodes[i].name))
        .collect();
    format!("nodes depend on each other in a cycle: {}", names.join(", "))
}
