//! The gradient of a tensor of the model, written out in ops: from the result back to what it is asked for.
//!
//! A scalar primitive has its derivative in `derivatives`, and with that every pointwise op; another op has an arm
//! there.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::super::scope::Entity;
use super::{Import, Row};
use derivatives::{Passed, of_op, of_prim};
use sardonyx_ir::scalar::{Node, Prim, Scalar};
use sardonyx_ir::{NodeId, Op, Value};
use sardonyx_tensor::DType;
use std::collections::{HashMap, HashSet};

mod derivatives;

pub(super) const ROWS: &[Row] =
    &[Row { domain: "ai.onnx.preview.training", name: "Gradient", since: 1, import: Import::Many(gradient) }];

/// The derivatives of the sum of `y` by each of `xs`, where these and `zs` have the values of the operands.
fn gradient(cx: &mut Context) -> Built<Vec<Value>> {
    let mut names = cx.strings("xs")?.ok_or("the attribute `xs` is missing")?;
    let count = names.len();
    names.extend(cx.strings("zs")?.unwrap_or_default());
    let y = cx.string_if("y")?.ok_or("the attribute `y` is missing")?;
    let given = cx.operands()?;
    if given.len() != names.len() {
        return invalid(format!("{} operands for {} names in `xs` and `zs`", given.len(), names.len()));
    }
    let y = named(cx, &y)?;
    let mut known = HashMap::new();
    for (name, &value) in names.iter().zip(&given) {
        known.insert(named(cx, name)?, value);
    }
    let path = path(cx, y, &known);
    let xs = &given[..count];
    let (y, path) = repeated(cx, y, path, known)?;
    let (shape, one) = (cx.shape(y), cx.like(y, 1.0));
    let mut found = HashMap::from([(y, cx.expand(one, shape)?)]);
    let mut active: HashSet<Value> = xs.iter().copied().collect();
    for &id in &path {
        if cx.g().operands(id).any(|v| active.contains(&v)) {
            active
                .extend((0..cx.g().node(id).types.len()).map(|port| Value { node: id, port: 0 }.port(port)));
        }
    }
    for &id in path.iter().rev() {
        backward(cx, id, &active, &mut found)?;
    }
    let zero = |cx: &mut Context, x: Value| {
        let (zero, shape) = (cx.like(x, 0.0), cx.shape(x));
        cx.expand(zero, shape)
    };
    xs.iter().map(|x| found.get(x).map_or_else(|| zero(cx, *x), |&v| Ok(v))).collect()
}

fn named(cx: &mut Context, name: &str) -> Built {
    match cx.importer.scope.lookup(name)? {
        Entity::Value(v) => Ok(v),
        _ => invalid(format!("`{name}` is no tensor")),
    }
}

/// The nodes between known values and `y`, operands first.
fn path(cx: &Context, y: Value, known: &HashMap<Value, Value>) -> Vec<NodeId> {
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    let mut open = vec![(y, false)];
    while let Some((v, done)) = open.pop() {
        if done {
            order.push(v.node);
        } else if !known.contains_key(&v) && seen.insert(v.node) {
            open.push((v, true));
            open.extend(cx.g().operands(v.node).map(|o| (o, false)));
        }
    }
    order
}

/// The same nodes on the values that known ones stand for: what depends on those that differ is made again.
fn repeated(
    cx: &mut Context,
    y: Value,
    path: Vec<NodeId>,
    mut known: HashMap<Value, Value>,
) -> Built<(Value, Vec<NodeId>)> {
    known.retain(|from, to| *from != *to);
    let mut nodes = Vec::new();
    for id in path {
        let operands: Vec<Value> = cx.g().operands(id).collect();
        if !operands.iter().any(|v| known.contains_key(v)) {
            nodes.push(id);
            continue;
        }
        let operands: Vec<Value> = operands.iter().map(|v| *known.get(v).unwrap_or(v)).collect();
        let (op, ports) = (cx.g().node(id).op.clone(), cx.g().node(id).types.len());
        let new = cx.importer.scope.graph_mut().add(op, &operands)?;
        nodes.push(new.node);
        let old = Value { node: id, port: 0 };
        known.extend((0..ports).map(|port| (old.port(port), new.port(port))));
    }
    Ok((*known.get(&y).unwrap_or(&y), nodes))
}

/// Adds what a node passes on to its operands.
fn backward(
    cx: &mut Context,
    id: NodeId,
    active: &HashSet<Value>,
    found: &mut HashMap<Value, Value>,
) -> Built<()> {
    let y = Value { node: id, port: 0 };
    let x: Vec<Value> = cx.g().operands(id).collect();
    if !x.iter().any(|v| active.contains(v)) {
        return Ok(());
    }
    let op = cx.g().node(id).op.clone();
    if (1..cx.g().node(id).types.len()).any(|port| found.contains_key(&y.port(port))) {
        return unsupported(format!("a gradient through another result of `{}`", op.name()));
    }
    let Some(&g) = found.get(&y) else { return Ok(()) };
    let passed = match op.scalar() {
        Some(f) => of_scalar(cx, &f, &x, g)?,
        None => of_op(cx, &op, &x, y, g)?,
    };
    for (&v, g) in x.iter().zip(passed) {
        let Some(g) = g.filter(|_| active.contains(&v)) else { continue };
        let g = shrunk(cx, g, v)?;
        let g = match found.get(&v) {
            Some(&sum) => cx.plus(sum, g)?,
            None => g,
        };
        found.insert(v, g);
    }
    Ok(())
}

/// A gradient summed over the axes along which `x` was broadcast.
fn shrunk(cx: &mut Context, g: Value, x: Value) -> Built {
    let (from, to) = (cx.shape(g), cx.shape(x));
    let extra = from.len() - to.len().min(from.len());
    let axes: Vec<usize> =
        (0..from.len()).filter(|&a| a < extra || (to[a - extra] == 1 && from[a] != 1)).collect();
    let g = if axes.is_empty() { g } else { cx.reduce_sum(g, &axes)? };
    cx.reshape(g, to)
}

/// Of a pointwise op: its expression node by node, each primitive an op of its own.
fn of_scalar(cx: &mut Context, f: &Scalar, x: &[Value], g: Value) -> Built<Passed> {
    let dtypes: Vec<DType> = x.iter().map(|&v| cx.dtype(v)).collect();
    let types = f.types(&dtypes)?;
    let dtype = cx.dtype(g);
    let mut values: Vec<Value> = Vec::new();
    for (node, ty) in f.nodes.iter().zip(&types) {
        let v = match node {
            Node::Arg(i) => x[*i],
            Node::Num(n) => cx.scalar(ty.unwrap_or(dtype), *n),
            Node::Cast(to, a) => cx.cast(values[*a], *to)?,
            Node::Prim(p, a) => {
                let operands: Vec<Value> = a.iter().map(|&i| values[i]).collect();
                prim(cx, *p, &operands)?
            }
        };
        values.push(v);
    }
    let mut found: Vec<Option<Value>> = vec![None; values.len()];
    found[f.root] = Some(g);
    for i in (0..values.len()).rev() {
        let Some(g) = found[i] else { continue };
        let (operands, passed) = match &f.nodes[i] {
            Node::Arg(_) | Node::Num(_) => continue,
            Node::Cast(_, a) => {
                let from = cx.dtype(values[*a]);
                let through = from.is_float() && cx.dtype(values[i]).is_float();
                (vec![*a], vec![if through { Some(cx.cast(g, from)?) } else { None }])
            }
            Node::Prim(p, a) => {
                let operands: Vec<Value> = a.iter().map(|&i| values[i]).collect();
                (a.to_vec(), of_prim(cx, *p, &operands, values[i], g)?)
            }
        };
        for (a, g) in operands.into_iter().zip(passed) {
            found[a] = match (found[a], g) {
                (Some(sum), Some(g)) => Some(cx.plus(sum, g)?),
                (sum, g) => sum.or(g),
            };
        }
    }
    let of = |i: usize| f.nodes.iter().position(|n| *n == Node::Arg(i)).and_then(|n| found[n]);
    Ok((0..x.len()).map(of).collect())
}

/// A primitive as an op of the graph.
fn prim(cx: &mut Context, p: Prim, x: &[Value]) -> Built {
    let op = match p {
        Prim::Expm1 => {
            let power = cx.exp(x[0])?;
            return cx.plus_number(power, -1.0);
        }
        Prim::Log1p => {
            let moved = cx.plus_number(x[0], 1.0)?;
            return cx.log(moved);
        }
        Prim::Trunc => {
            let (size, sign) = (cx.abs(x[0])?, cx.add(Op::Sign {}, x)?);
            let size = cx.add(Op::Floor {}, &[size])?;
            return cx.times(size, sign);
        }
        Prim::Add => Op::Add {},
        Prim::Sub => Op::Sub {},
        Prim::Mul => Op::Mul {},
        Prim::Div => Op::Div {},
        Prim::Mod => Op::Mod {},
        Prim::Rem => Op::Rem {},
        Prim::Pow => Op::Pow {},
        Prim::Min => Op::Min {},
        Prim::Max => Op::Max {},
        Prim::Neg => Op::Neg {},
        Prim::Abs => Op::Abs {},
        Prim::Sign => Op::Sign {},
        Prim::Floor => Op::Floor {},
        Prim::Ceil => Op::Ceil {},
        Prim::Round => Op::Round {},
        Prim::Sqrt => Op::Sqrt {},
        Prim::Exp => Op::Exp {},
        Prim::Log => Op::Log {},
        Prim::Sin => Op::Sin {},
        Prim::Cos => Op::Cos {},
        Prim::Tan => Op::Tan {},
        Prim::Asin => Op::Asin {},
        Prim::Acos => Op::Acos {},
        Prim::Atan => Op::Atan {},
        Prim::Sinh => Op::Sinh {},
        Prim::Cosh => Op::Cosh {},
        Prim::Tanh => Op::Tanh {},
        Prim::Asinh => Op::Asinh {},
        Prim::Acosh => Op::Acosh {},
        Prim::Atanh => Op::Atanh {},
        Prim::Erf => Op::Erf {},
        Prim::Eq => Op::Eq {},
        Prim::Lt => Op::Lt {},
        Prim::Le => Op::Le {},
        Prim::And => Op::And {},
        Prim::Or => Op::Or {},
        Prim::Xor => Op::Xor {},
        Prim::Not => Op::Not {},
        Prim::Shl => Op::ShiftLeft {},
        Prim::Shr => Op::ShiftRight {},
        Prim::IsNan => Op::IsNan {},
        Prim::IsInf => Op::IsInf {},
        Prim::Select => Op::Select {},
    };
    cx.add(op, x)
}
