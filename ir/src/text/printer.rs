//! Graph to text.
use super::is_plain;
use crate::graph::{Graph, NodeId, Value};
use crate::ops::{Attribute, Op};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

const FULL: &str = "a string should take text";
const ENDLESS: &str = "numbers should not end";

/// The text of a graph.
pub fn print(g: &Graph) -> String {
    let mut out = String::from("graph");
    write_graph(g, 0, &mut out);
    out.push('\n');
    out
}

/// The text of a sub-graph, without the word `graph`.
pub fn print_region(g: &Graph, out: &mut String) {
    write_graph(g, 1, out);
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

fn write_graph(g: &Graph, depth: usize, out: &mut String) {
    let mut names: HashMap<Value, String> = HashMap::new();
    out.push('(');
    for (i, v) in g.inputs().enumerate() {
        let name = g.input_name(v);
        let name = if is_plain(name) { format!("%{name}") } else { format!("%{name:?}") };
        write!(out, "{}{name}: {}", if i > 0 { ", " } else { "" }, g.ty(v)).expect(FULL);
        names.insert(v, name);
    }
    out.push_str(") {\n");
    let pad = "  ".repeat(depth + 1);
    for r in g.requirements() {
        writeln!(out, "{pad}require {} == {}", r.left, r.right).expect(FULL);
    }
    let named: HashSet<&str> = g.inputs().map(|v| g.input_name(v)).collect();
    let mut numbers = (0..).map(|n: usize| n.to_string()).filter(|n| !named.contains(n.as_str()));
    for id in g.order() {
        if matches!(g.node(id).op, Op::Input { .. }) || is_literal_everywhere(g, id) {
            continue;
        }
        for port in 0..g.node(id).types.len() {
            names.insert(
                Value { node: id, port: 0 }.port(port),
                format!("%{}", numbers.next().expect(ENDLESS)),
            );
        }
        write_node(g, id, &names, depth, out);
    }
    write!(out, "{pad}return ").expect(FULL);
    for (i, v) in g.outputs().iter().enumerate() {
        write!(out, "{}{}", if i > 0 { ", " } else { "" }, names[v]).expect(FULL);
        if let Some(name) = g.output_names().get(i) {
            write!(out, " as {name:?}").expect(FULL);
        }
    }
    write!(out, "\n{}}}", "  ".repeat(depth)).expect(FULL);
}

fn write_node(g: &Graph, id: NodeId, names: &HashMap<Value, String>, depth: usize, out: &mut String) {
    let n = g.node(id);
    let pad = "  ".repeat(depth + 1);
    out.push_str(&pad);
    for port in 0..n.types.len() {
        let v = Value { node: id, port: 0 }.port(port);
        write!(out, "{}{}", if port > 0 { ", " } else { "" }, names[&v]).expect(FULL);
    }
    out.push_str(" = ");
    if let Op::Const { value } = &n.op {
        out.push_str("const ");
        value.print(out);
    } else {
        write!(out, "{}(", n.op.name()).expect(FULL);
        for (i, v) in g.operands(id).enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            match names.get(&v) {
                Some(name) => out.push_str(name),
                None => out.push_str(&literal(g, v).expect("an unnamed value should be a literal")),
            }
        }
        out.push(')');
        n.op.print_attributes(out);
    }
    out.push_str(" : ");
    for (i, t) in n.types.iter().enumerate() {
        write!(out, "{}{t}", if i > 0 { ", " } else { "" }).expect(FULL);
    }
    for (name, region) in n.op.regions() {
        write!(out, " {name} ").expect(FULL);
        write_graph(region, depth + 1, out);
    }
    let origin: Vec<&str> = n.origin.names().collect();
    if !origin.is_empty() {
        write!(out, "  // {}", origin.join(", ").replace('\n', " ")).expect(FULL);
    }
    out.push('\n');
}

/// The text of a scalar constant in operand position: its number and type.
fn literal(g: &Graph, v: Value) -> Option<String> {
    let t = g.const_value(v).filter(|t| t.shape().is_empty() && !t.dtype().is_reference())?;
    let mut text = String::new();
    if t.dtype().is_float() {
        t.get_f64(0).print(&mut text);
    } else {
        write!(text, "{}", t.to_i128s()[0]).expect(FULL);
    }
    write!(text, ":{}", t.dtype()).expect(FULL);
    Some(text)
}

/// Whether every use of a node can be written as a literal: a scalar constant that no graph output names.
fn is_literal_everywhere(g: &Graph, id: NodeId) -> bool {
    let v = Value { node: id, port: 0 };
    literal(g, v).is_some() && !g.outputs().contains(&v)
}
