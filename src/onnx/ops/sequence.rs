//! Sequences and optionals. Those whose lengths the importer knows leave no trace in the graph; others are lists,
//! which ops of the graph read and change.
use super::super::context::{Built, Context};
use super::super::error::{Fault, invalid, unsupported};
use super::super::kind::Kind;
use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use super::super::scope::{Binding, Entity};
use super::slice::parts;
use super::{Row, any};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    any("ConcatFromSequence", 11, concat),
    any("Identity", 1, |cx| Ok(vec![cx.entity(0)?.clone()])),
    any("Optional", 15, |cx| Ok(vec![cx.entity_if(0).cloned().unwrap_or(Entity::Nothing)])),
    any("OptionalGetElement", 15, get_element),
    any("OptionalHasElement", 15, has_element),
    any("SequenceAt", 11, at),
    any("SequenceConstruct", 11, construct),
    any("SequenceEmpty", 11, |_| Ok(vec![Entity::Sequence(Vec::new())])),
    any("SequenceErase", 11, erase),
    any("SequenceInsert", 11, insert),
    any("SequenceLength", 11, length),
    any("SequenceMap", 17, map),
    any("SplitToSequence", 11, split),
];

/// The longest sequence that a split makes.
const MAX_LENGTH: i64 = 1 << 16;

fn construct(cx: &mut Context) -> Built<Vec<Entity>> {
    let all: Vec<Entity> = (0..cx.count()).map(|i| cx.entity(i).cloned()).collect::<Result<_, _>>()?;
    Ok(vec![Entity::Sequence(all)])
}

/// The place that operand `i` names in a sequence of `n` elements, or where `ends` is set between them.
fn place(cx: &Context, i: usize, n: usize, ends: bool) -> Built<Option<usize>> {
    let Some(list) = cx.known_ints(i, "a place in a sequence")? else { return Ok(None) };
    let [at] = list[..] else { return invalid("one place is needed") };
    let from_front = if at < 0 { at + n as i64 } else { at };
    match usize::try_from(from_front) {
        Ok(p) if p < n || (ends && p == n) => Ok(Some(p)),
        _ => invalid(format!("place {at} in a sequence of {n}")),
    }
}

/// The sequence that operand 0 is, where it and the place that operand `i` names are known.
fn known<'a>(cx: &Context<'a>, i: usize) -> Built<Option<&'a [Entity]>> {
    let Entity::Sequence(all) = cx.entity(0)? else { return Ok(None) };
    let place = cx.operand_if(i)?;
    Ok(place.is_none_or(|v| cx.ints_of(v).is_some()).then_some(&all[..]))
}

/// The place that operand `i` names, as a value.
fn place_value(cx: &mut Context, i: usize) -> Built<Option<Value>> {
    let Some(v) = cx.operand_if(i)? else { return Ok(None) };
    let v = cx.cast(v, DType::I64)?;
    Ok(Some(cx.as_scalar(v)?))
}

/// Sizes as dimensions, new symbols where they are not known.
fn sizes(cx: &mut Context, shape: &[Option<i64>]) -> Vec<Dim> {
    shape.iter().map(|n| n.map_or_else(|| cx.importer.symbol(), Dim::from)).collect()
}

/// The item of a list at a place.
fn item(cx: &mut Context, list: Value, at: Value, kind: &Kind) -> Built<Entity> {
    let (to, shape) = match kind {
        Kind::Tensor(dtype, Some(shape)) => (*dtype, sizes(cx, shape)),
        Kind::Sequence(_) | Kind::Map(..) | Kind::Optional(_) => (DType::List, Vec::new()),
        Kind::Tensor(_, None) => return unsupported("an item whose rank only the run knows"),
        Kind::Unknown => return unsupported("an item of which nothing tells the type"),
    };
    let v = cx.add(Op::ListAt { to, shape }, &[list, at])?;
    Ok(kind.entity(v))
}

fn list(v: Value, item: Kind) -> Vec<Entity> {
    vec![Entity::List(v, Kind::Sequence(Box::new(item)))]
}

fn at(cx: &mut Context) -> Built<Vec<Entity>> {
    if let Some(all) = known(cx, 1)? {
        let at = place(cx, 1, all.len(), false)?.ok_or("the place is missing")?;
        return Ok(vec![all[at].clone()]);
    }
    let (all, kind) = cx.list(0)?;
    let at = place_value(cx, 1)?.ok_or("the place is missing")?;
    Ok(vec![item(cx, all, at, &kind)?])
}

fn insert(cx: &mut Context) -> Built<Vec<Entity>> {
    if let Some(all) = known(cx, 2)? {
        let mut all = all.to_vec();
        let at = place(cx, 2, all.len(), true)?.unwrap_or(all.len());
        all.insert(at, cx.entity(1)?.clone());
        return Ok(vec![Entity::Sequence(all)]);
    }
    let (all, kind) = cx.list(0)?;
    let new = cx.entity(1)?;
    let own = Kind::of(new, cx.g())?;
    let new = cx.lowered(std::slice::from_ref(new), std::slice::from_ref(&own))?[0];
    let at = match place_value(cx, 2)? {
        Some(at) => at,
        None => cx.add(Op::ListLength {}, &[all])?,
    };
    Ok(list(cx.add(Op::ListInsert {}, &[all, new, at])?, kind.joined(&own)?))
}

fn erase(cx: &mut Context) -> Built<Vec<Entity>> {
    if let Some(all) = known(cx, 1)? {
        let mut all = all.to_vec();
        let last = all.len().checked_sub(1).ok_or("the sequence is empty")?;
        all.remove(place(cx, 1, all.len(), false)?.unwrap_or(last));
        return Ok(vec![Entity::Sequence(all)]);
    }
    let (all, kind) = cx.list(0)?;
    let at = place_value(cx, 1)?.unwrap_or_else(|| cx.int_scalar(-1));
    Ok(list(cx.add(Op::ListErase {}, &[all, at])?, kind))
}

fn length(cx: &mut Context) -> Built<Vec<Entity>> {
    if let Entity::Sequence(all) = cx.entity(0)? {
        let n = all.len() as i64;
        return Ok(vec![Entity::Value(cx.int_scalar(n))]);
    }
    let (all, _) = cx.list(0)?;
    Ok(vec![Entity::Value(cx.add(Op::ListLength {}, &[all])?)])
}

fn has_element(cx: &mut Context) -> Built<Vec<Entity>> {
    if let Some(&Entity::List(v, Kind::Optional(_))) = cx.entity_if(0) {
        let count = cx.add(Op::ListLength {}, &[v])?;
        return Ok(vec![Entity::Value(cx.cast(count, DType::Bool)?)]);
    }
    let there = cx.entity_if(0).is_some();
    Ok(vec![Entity::Value(cx.constant(Tensor::scalar(there)))])
}

fn get_element(cx: &mut Context) -> Built<Vec<Entity>> {
    let entity = cx.entity(0)?;
    let Entity::List(v, Kind::Optional(kind)) = entity else { return Ok(vec![entity.clone()]) };
    let first = cx.int_scalar(0);
    Ok(vec![item(cx, *v, first, kind)?])
}

fn values(all: &[Entity]) -> Built<Vec<Value>> {
    all.iter()
        .map(|e| match e {
            Entity::Value(v) => Ok(*v),
            _ => invalid("a sequence of sequences"),
        })
        .collect()
}

/// The items of a list, along an axis.
fn concat_list(cx: &mut Context) -> Built<Vec<Entity>> {
    let (list, kind) = cx.list(0)?;
    let Kind::Tensor(to, Some(mut shape)) = kind else {
        return unsupported("items of which nothing tells the type and rank");
    };
    let axis = cx.int_if("axis")?.ok_or("the attribute `axis` is missing")?;
    let stack = cx.flag("new_axis", false)?;
    if stack {
        shape.insert(cx.axes(shape.len() + 1, &[axis])?[0], None);
    } else {
        let axis = cx.axes(shape.len(), &[axis])?[0];
        shape[axis] = None;
    }
    let shape = sizes(cx, &shape);
    Ok(vec![Entity::Value(cx.add(Op::ListConcat { axis, stack, to, shape }, &[list])?)])
}

fn concat(cx: &mut Context) -> Built<Vec<Entity>> {
    if matches!(cx.entity(0)?, Entity::List(..)) {
        return concat_list(cx);
    }
    let all = values(cx.sequence(0)?)?;
    let first = *all.first().ok_or("the sequence is empty")?;
    let axis = cx.int_if("axis")?.ok_or("the attribute `axis` is missing")?;
    if !cx.flag("new_axis", false)? {
        let axis = cx.axis(first, axis)?;
        return Ok(vec![Entity::Value(cx.concat(&all, axis)?)]);
    }
    let axis = cx.axes(cx.rank(first) + 1, &[axis])?[0];
    let mut rows = Vec::new();
    for v in all {
        rows.push(cx.unsqueeze(v, &[axis])?);
    }
    Ok(vec![Entity::Value(cx.concat(&rows, axis)?)])
}

/// The parts of a tensor where only the run knows how many there are.
fn split_list(cx: &mut Context, x: Value, sizes: Option<Value>, axis: usize) -> Built<Vec<Entity>> {
    let keep = sizes.is_some() || cx.flag("keepdims", true)?;
    let one = sizes.is_none();
    let sizes = match sizes {
        Some(v) => cx.cast(v, DType::I64)?,
        None => cx.int_scalar(1),
    };
    let mut shape: Vec<Option<i64>> = cx.shape(x).iter().map(Dim::known).collect();
    shape[axis] = one.then_some(1);
    if !keep {
        shape.remove(axis);
    }
    let parts = cx.add(Op::ListSplit { axis: axis as i64, keep }, &[x, sizes])?;
    Ok(list(parts, Kind::Tensor(cx.dtype(x), Some(shape))))
}

fn split(cx: &mut Context) -> Built<Vec<Entity>> {
    let (x, list) = (cx.operand(0)?, cx.operand_if(1)?);
    let axis = cx.axis(x, cx.int("axis", 0)?)?;
    let n = cx.shape(x)[axis].clone();
    let open = match list {
        None => n.known().is_none(),
        Some(v) if cx.rank(v) == 0 => n.known().is_none() || cx.ints_of(v).is_none(),
        Some(v) => cx.shape(v)[0].known().is_none(),
    };
    if open {
        return split_list(cx, x, list, axis);
    }
    let count = |size: i64| -> Built<i64> {
        match n.known() {
            Some(n) if size > 0 && n / size < MAX_LENGTH => Ok(n / size + i64::from(n % size != 0)),
            _ => unsupported("a sequence whose length only the run knows"),
        }
    };
    let mut keep = true;
    let sizes = match list {
        None => {
            keep = cx.flag("keepdims", true)?;
            vec![Dim::ONE; count(1)? as usize]
        }
        Some(v) if cx.rank(v) == 0 => {
            let Some(&[size]) = cx.ints_of(v).as_deref() else {
                return unsupported("a sequence whose length only the run knows");
            };
            let count = count(size)?;
            let mut sizes = vec![Dim::from(size); (count as usize).saturating_sub(1)];
            sizes.push(&n - Dim::from(size) * (count - 1));
            sizes
        }
        Some(v) => cx.shape_from(v)?,
    };
    let mut all = parts(cx, x, axis, &sizes)?;
    if !keep {
        for v in &mut all {
            *v = cx.squeeze(*v, &[axis])?;
        }
    }
    Ok(vec![Entity::Sequence(all.into_iter().map(Entity::Value).collect())])
}

/// The body on every element of the first sequence, with the elements of the others or whole tensors.
fn map(cx: &mut Context) -> Built<Vec<Entity>> {
    let body = cx.graph("body")?;
    let Entity::Sequence(first) = cx.entity(0)? else { return map_list(cx, body) };
    let n = first.len();
    let mut results = vec![Vec::new(); body.output.len()];
    for i in 0..n {
        let opsets = cx.importer.scope.opsets().clone();
        cx.importer.scope.enter_block(opsets);
        for (k, info) in body.input.iter().enumerate() {
            let element = match cx.entity(k)? {
                Entity::Sequence(all) => all.get(i).cloned().ok_or("sequences of different lengths")?,
                Entity::List(..) => return unsupported("a sequence of unknown length beside a known one"),
                other => other.clone(),
            };
            cx.importer.scope.bind(&info.name, Binding::Entity(element));
        }
        let outputs = cx.importer.inlined(body);
        cx.importer.scope.leave_function();
        outputs?.into_iter().zip(&mut results).for_each(|(e, all)| all.push(e));
    }
    Ok(results.into_iter().map(Entity::Sequence).collect())
}

/// As the standard writes the operator out: a loop that appends what the body gives to sequences.
fn map_list(cx: &mut Context, body: &GraphProto) -> Built<Vec<Entity>> {
    let named = |name: &str| ValueInfoProto { name: name.into(), ..Default::default() };
    let node = |op: &str, input: &[&str], output: &[&str]| NodeProto {
        op_type: op.into(),
        input: input.iter().map(|s| s.to_string()).collect(),
        output: output.iter().map(|s| s.to_string()).collect(),
        name: format!("{}/{op}", cx.node.output.first().map_or("", |o| o)),
        ..Default::default()
    };
    let mut inner: Vec<NodeProto> = Vec::new();
    for (k, info) in body.input.iter().enumerate() {
        let outer = cx.node.input.get(k).ok_or("there are fewer operands than inputs of the body")?;
        inner.push(match cx.entity(k)? {
            Entity::Sequence(_) | Entity::List(..) => node("SequenceAt", &[outer, "map:i"], &[&info.name]),
            _ => node("Identity", &[outer], &[&info.name]),
        });
    }
    inner.extend(body.node.iter().cloned());
    let names =
        |what: &str| -> Vec<String> { (0..body.output.len()).map(|k| format!("map:{what}{k}")).collect() };
    let (empty, sofar, more, all) = (names("empty"), names("sofar"), names("more"), names("all"));
    for (k, info) in body.output.iter().enumerate() {
        inner.push(node("SequenceInsert", &[&sofar[k], &info.name], &[&more[k]]));
    }
    inner.push(node("Identity", &["map:go"], &["map:on"]));
    let graph = GraphProto {
        node: inner,
        initializer: body.initializer.clone(),
        sparse_initializer: body.sparse_initializer.clone(),
        input: ["map:i", "map:go"].into_iter().chain(sofar.iter().map(String::as_str)).map(named).collect(),
        output: std::iter::once("map:on").chain(more.iter().map(String::as_str)).map(named).collect(),
        ..Default::default()
    };
    let mut nodes: Vec<NodeProto> = empty.iter().map(|e| node("SequenceEmpty", &[], &[e])).collect();
    nodes.push(node("SequenceLength", &[&cx.node.input[0]], &["map:count"]));
    let inputs: Vec<&str> = ["map:count", ""].into_iter().chain(empty.iter().map(String::as_str)).collect();
    let outputs: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut repeat = node("Loop", &inputs, &outputs);
    repeat.attribute = vec![AttributeProto {
        name: "body".into(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..Default::default()
    }];
    nodes.push(repeat);
    let opsets = cx.importer.scope.opsets().clone();
    cx.importer.scope.enter_block(opsets);
    let before = cx.importer.problems();
    let made = cx.importer.nodes(&nodes).map_err(Fault::Invalid);
    let results = made.and_then(|()| all.iter().map(|name| cx.importer.scope.lookup(name)).collect());
    cx.importer.scope.leave_function();
    if cx.importer.problems() > before { Err(Fault::Missing) } else { results }
}
