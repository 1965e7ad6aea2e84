//! If, Loop and Scan.
use super::super::context::{Built, Context};
use super::super::error::{Fault, invalid, unsupported};
use super::super::kind::{Kind, lowered};
use super::super::proto::GraphProto;
use super::super::scope::{Entity, Level};
use super::{Row, any};
use sardonyx_ir::{Graph, Op, Type, Value};
use sardonyx_tensor::{DType, Dim, Tensor};
use std::collections::BTreeSet;

pub(super) const ROWS: &[Row] =
    &[any("If", 1, if_), any("Loop", 1, loop_), any("Scan", 8, batched_scan), any("Scan", 9, scan)];

/// With a known condition only the branch taken is looked at: the other may be ill-shaped.
fn if_(cx: &mut Context) -> Built<Vec<Entity>> {
    let condition = cx.operand(0)?;
    let (then, otherwise) = (cx.graph("then_branch")?, cx.graph("else_branch")?);
    if let Some(&[taken]) = cx.ints_of(condition).as_deref() {
        return cx.importer.inlined(if taken != 0 { then } else { otherwise });
    }
    let equal = assumed(cx, condition);
    let before = cx.importer.problems();
    let branches = (cx.importer.level(then, &[], &[]), cx.importer.level(otherwise, &[], &[]));
    let mut kinds = Vec::new();
    let branches = match branches {
        (Ok(mut yes), Ok(mut no)) => {
            kinds = common_kinds(&yes, &no)?;
            leave(&mut yes, &kinds)?;
            leave(&mut no, &kinds)?;
            (Ok(yes), Ok(no))
        }
        (Ok(mut only), Err(fault)) => {
            kinds = leave_alone(&mut only)?;
            (Ok(only), Err(fault))
        }
        (Err(fault), Ok(mut only)) => {
            kinds = leave_alone(&mut only)?;
            (Err(fault), Ok(only))
        }
        both => both,
    };
    let (mut yes, mut no) = match (branches, equal) {
        ((Ok(yes), Ok(no)), None) => (yes, no),
        ((Ok(yes), Ok(no)), Some(_)) if ranks_agree(&yes, &no) => (yes, no),
        ((Ok(_), _), Some((a, b))) => {
            // What follows is written for one of the two shapes: that of equal sizes.
            cx.importer.forget_problems(before)?;
            cx.importer.scope.graph_mut().require(a, b);
            return cx.importer.inlined(then);
        }
        ((Ok(yes), Err(_)), _) => {
            cx.importer.forget_problems(before)?;
            let no = impossible(&yes)?;
            (yes, no)
        }
        ((Err(_), Ok(no)), _) => {
            cx.importer.forget_problems(before)?;
            (impossible(&no)?, no)
        }
        ((Err(fault), Err(_)), _) => return Err(fault),
    };
    single_elements(&mut yes, &mut no)?;
    let (yes, no, captures) = aligned(yes, no)?;
    let condition = cx.as_scalar(condition)?;
    let op = Op::If { then: Box::new(yes), otherwise: Box::new(no), types: Vec::new() };
    let v = with_types(cx, op, [vec![condition], captures].concat())?;
    Ok(kinds.iter().enumerate().map(|(p, kind)| kind.entity(v.port(p))).collect())
}

/// What the results are of whichever branch is taken.
fn common_kinds(yes: &Level, no: &Level) -> Built<Vec<Kind>> {
    if yes.results.len() != no.results.len() {
        return invalid(format!("branches of {} and {} results", yes.results.len(), no.results.len()));
    }
    let pairs = yes.results.iter().zip(&no.results);
    let kind = |(a, b): (&Entity, &Entity)| match (a, b) {
        (Entity::Value(_), Entity::Value(_)) => Ok(Kind::Unknown),
        _ => Kind::of(a, &yes.graph)?.joined(&Kind::of(b, &no.graph)?),
    };
    pairs.map(kind).collect()
}

/// Makes the results outputs, of these kinds.
fn leave(level: &mut Level, kinds: &[Kind]) -> Built<()> {
    let outputs = level.results.iter().zip(kinds).map(|(e, kind)| lowered(&mut level.graph, e, kind));
    let outputs = outputs.collect::<Result<_, _>>()?;
    level.graph.set_outputs(outputs, Vec::new());
    Ok(())
}

/// As [`leave`], of the kinds that the results are of.
fn leave_alone(level: &mut Level) -> Built<Vec<Kind>> {
    let kinds = level.results.iter().map(|e| Kind::of(e, &level.graph)).collect::<Result<Vec<_>, _>>()?;
    leave(level, &kinds)?;
    Ok(kinds)
}

/// The two sizes that a condition compares: `If(size == 1)` is how PyTorch writes a squeeze.
fn assumed(cx: &Context, condition: Value) -> Option<(Dim, Dim)> {
    let mut v = condition;
    while matches!(cx.g().op(v), Op::Reshape { .. } | Op::Cast { .. }) {
        v = cx.g().operand(v.node, 0);
    }
    if !matches!(cx.g().op(v), Op::Eq {}) {
        return None;
    }
    let side = |i: usize| match cx.dims_of(cx.g().operand(v.node, i))?.as_slice() {
        [d] => Some(d.clone()),
        _ => None,
    };
    Some((side(0)?, side(1)?))
}

fn ranks_agree(a: &Level, b: &Level) -> bool {
    let ranks = |l: &Level| l.graph.outputs().iter().map(|&v| l.graph.ty(v).rank()).collect::<Vec<_>>();
    ranks(a) == ranks(b)
}

/// Results of one element that have no rank in common get that of the lesser one.
fn single_elements(a: &mut Level, b: &mut Level) -> Built<()> {
    let (mut left, mut right) = (a.graph.outputs().to_vec(), b.graph.outputs().to_vec());
    for (x, y) in left.iter_mut().zip(&mut right) {
        let (t, u) = (a.graph.ty(*x).clone(), b.graph.ty(*y).clone());
        if t.rank() == u.rank() || t.elements() != 1 || u.elements() != 1 {
            continue;
        }
        let shape = if t.rank() < u.rank() { t.shape } else { u.shape };
        *x = a.graph.add(Op::Reshape { shape: shape.clone() }, &[*x])?;
        *y = b.graph.add(Op::Reshape { shape }, &[*y])?;
    }
    a.graph.set_outputs(left, Vec::new());
    b.graph.set_outputs(right, Vec::new());
    Ok(())
}

/// A branch that cannot work for the given shapes: its results are NaN, or zero where there is none.
fn impossible(like: &Level) -> Built<Level> {
    let mut level = Level::default();
    let mut outputs = Vec::new();
    for &v in like.graph.outputs() {
        let ty = like.graph.ty(v);
        if ty.dtype == DType::List {
            outputs.push(level.graph.add(Op::ListOf {}, &[])?);
            continue;
        }
        let value = level.graph.constant(Tensor::from_f64s(ty.dtype, [], [f64::NAN]));
        outputs.push(level.graph.add(Op::Expand { shape: ty.shape.clone() }, &[value])?);
    }
    level.graph.set_outputs(outputs, Vec::new());
    Ok(level)
}

/// Both branches with the same inputs, and what these are outside.
fn aligned(then: Level, otherwise: Level) -> Built<(Graph, Graph, Vec<Value>)> {
    let mut captures: Vec<Value> = then.captures.iter().map(|(outer, _)| *outer).collect();
    captures.extend(
        otherwise
            .captures
            .iter()
            .map(|(outer, _)| *outer)
            .filter(|v| !then.captures.iter().any(|(o, _)| o == v)),
    );
    let type_of = |v: &Value| {
        let of = |level: &Level| {
            level.captures.iter().find(|(o, _)| o == v).map(|&(_, inner)| level.graph.ty(inner).clone())
        };
        of(&then).or_else(|| of(&otherwise)).ok_or_else(|| Fault::Invalid("a capture without a type".into()))
    };
    let types: Vec<Type> = captures.iter().map(type_of).collect::<Result<_, _>>()?;
    let graphs = [&then, &otherwise].map(|level| with_inputs(level, 0, &captures, &types));
    let [then, otherwise] = graphs;
    Ok((then?, otherwise?, captures))
}

/// The graph with its own inputs first, then one for each of these values of the level around it.
fn with_inputs(level: &Level, own: usize, captures: &[Value], types: &[Type]) -> Built<Graph> {
    let mut new = Graph::new();
    let inner: Vec<Value> = level.graph.inputs().collect();
    let mut map = std::collections::HashMap::new();
    for &v in &inner[..own] {
        map.insert(v.node, new.input(level.graph.input_name(v), level.graph.ty(v).clone()));
    }
    for (i, (outer, ty)) in captures.iter().zip(types).enumerate() {
        let input = new.input(&format!("capture{i}"), ty.clone());
        if let Some((_, old)) = level.captures.iter().find(|(o, _)| o == outer) {
            map.insert(old.node, input);
        }
    }
    for id in level.graph.order() {
        if map.contains_key(&id) {
            continue;
        }
        let operands: Vec<Value> =
            level.graph.operands(id).map(|o| map[&o.node].port(usize::from(o.port))).collect();
        new.origin = level.graph.node(id).origin.clone();
        let v = new.add(level.graph.node(id).op.clone(), &operands)?;
        map.insert(id, v);
    }
    let outputs = level.graph.outputs().iter().map(|o| map[&o.node].port(usize::from(o.port))).collect();
    new.set_outputs(outputs, Vec::new());
    Ok(new)
}

/// A node with regions, with declared result types where they depend on the run.
fn with_types(cx: &mut Context, mut op: Op, operands: Vec<Value>) -> Built {
    let types: Vec<Type> = operands.iter().map(|&v| cx.ty(v)).collect();
    op.declare_types(&types, &mut || cx.importer.symbol())?;
    Ok(cx.importer.scope.graph_mut().add(op, &operands)?)
}

fn loop_(cx: &mut Context) -> Built<Vec<Entity>> {
    let body = cx.graph("body")?;
    let initial: Vec<Entity> = (2..cx.count()).map(|i| initial(cx, i)).collect::<Result<_, _>>()?;
    let mut kinds = carried_kinds(cx, body, &initial)?;
    let trip = match cx.operand_if(0)? {
        Some(v) => {
            let v = cx.cast(v, DType::I64)?;
            cx.as_scalar(v)?
        }
        None => cx.constant(Tensor::scalar(i64::MAX)),
    };
    let go = match cx.operand_if(1)? {
        Some(v) => cx.as_scalar(v)?,
        None => cx.scalar(DType::Bool, 1.0),
    };
    let outputs = body.output.len();
    if body.input.len() != initial.len() + 2 || outputs < initial.len() + 1 {
        return invalid(format!(
            "a body of {} inputs and {outputs} outputs for {} carried values",
            body.input.len(),
            initial.len()
        ));
    }
    let mut carried = cx.lowered(&initial, &kinds)?;
    let mut types: Vec<Type> = carried.iter().map(|&v| cx.ty(v)).collect();
    // A carried value may change its shape; then the body is built for any size of that dimension.
    for _ in 0..8 {
        let outside = cx.importer.symbols();
        let all = [vec![Type::scalar(DType::I64), Type::scalar(DType::Bool)], types.clone()].concat();
        let inner = [vec![Kind::Unknown; 2], kinds.clone()].concat();
        let mut level = cx.importer.level(body, &all, &inner)?;
        if widened(&level, &mut kinds)? {
            // What was no list may be one now.
            carried = cx.lowered(&initial, &kinds)?;
            types = carried.iter().map(|&v| cx.ty(v)).collect();
            continue;
        }
        let scans = outputs - 1 - initial.len();
        let all = [vec![Kind::Unknown], kinds.clone(), vec![Kind::Unknown; scans]].concat();
        leave(&mut level, &all)?;
        settle(&mut level, &types)?;
        let filled = placeholders(cx, &level.graph, &mut types, &mut carried, &outside)?;
        let changed = filled || loosened(cx, &level.graph, &mut types)?;
        if changed {
            continue;
        }
        let captures: Vec<Value> = level.captures.iter().map(|(outer, _)| *outer).collect();
        let op = Op::Loop { body: Box::new(level.graph), carried: carried.len() as i64, types: Vec::new() };
        let v = with_types(cx, op, [vec![trip, go], carried, captures].concat())?;
        return Ok((0..outputs - 1).map(|p| all[1 + p].entity(v.port(p))).collect());
    }
    unsupported("a carried value whose shape does not settle")
}

/// The carried value that operand `i` begins with; nothing where it is an optional without a value.
fn initial(cx: &Context, i: usize) -> Built<Entity> {
    Ok(cx.entity_if(i).cloned().unwrap_or(Entity::Nothing))
}

/// What the carried values begin as; what is open there is as the body declares it. Tensors are `Unknown`: their
/// types are settled apart.
fn carried_kinds(cx: &Context, body: &GraphProto, initial: &[Entity]) -> Built<Vec<Kind>> {
    let mut kinds = Vec::new();
    for (k, entity) in initial.iter().enumerate() {
        let kind = Kind::of(entity, cx.g())?;
        kinds.push(match (entity, body.input.get(2 + k).map(Kind::declared)) {
            (Entity::Value(_), _) => Kind::Unknown,
            (_, Some(Ok(declared))) if kind.is_open() => kind.joined(&declared)?,
            _ => kind,
        });
    }
    Ok(kinds)
}

/// Makes the kinds of carried values those that what the body gives back is of, too; whether that changed any.
fn widened(level: &Level, kinds: &mut [Kind]) -> Built<bool> {
    let mut changed = false;
    for (kind, result) in kinds.iter_mut().zip(level.results.iter().skip(1)) {
        if matches!((&*kind, result), (Kind::Unknown, Entity::Value(_))) {
            continue;
        }
        let new = kind.joined(&Kind::of(result, &level.graph)?)?;
        changed |= new != *kind;
        *kind = new;
    }
    Ok(changed)
}

/// Gives the condition and carried values of one element the rank they came in with.
fn settle(level: &mut Level, types: &[Type]) -> Built<()> {
    let condition = Type::scalar(DType::Bool);
    let mut outputs = level.graph.outputs().to_vec();
    for (v, ty) in outputs.iter_mut().zip(std::iter::once(&condition).chain(types)) {
        let own = level.graph.ty(*v);
        if own.rank() != ty.rank() && own.elements() == 1 && ty.elements() == 1 {
            *v = level.graph.add(Op::Reshape { shape: ty.shape.clone() }, &[*v])?;
        }
    }
    level.graph.set_outputs(outputs, Vec::new());
    Ok(())
}

/// Carried values that the body never reads are placeholders for what it makes: they get its type.
fn placeholders(
    cx: &mut Context,
    body: &Graph,
    types: &mut [Type],
    carried: &mut [Value],
    outside: &BTreeSet<String>,
) -> Built<bool> {
    let mut changed = false;
    for (i, input) in body.inputs().skip(2).take(types.len()).enumerate() {
        let result = body.ty(body.outputs()[1 + i]);
        let known = result.shape.iter().all(|d| d.symbols().is_subset(outside));
        if *result == types[i] || body.use_count(input) > 0 || !known {
            continue;
        }
        let zero = cx.scalar(result.dtype, 0.0);
        carried[i] = cx.expand(zero, result.shape.clone())?;
        types[i] = result.clone();
        changed = true;
    }
    Ok(changed)
}

/// Makes dimensions of carried values symbolic that the body gives back with another size.
fn loosened(cx: &mut Context, body: &Graph, types: &mut [Type]) -> Built<bool> {
    let mut changed = false;
    for (i, ty) in types.iter_mut().enumerate() {
        let result = body.ty(body.outputs()[1 + i]).clone();
        if result.rank() != ty.rank() || result.dtype != ty.dtype {
            return unsupported(format!("a carried value that turns from {ty} into {result}"));
        }
        for (d, r) in ty.shape.iter_mut().zip(&result.shape) {
            let free = d.as_symbol().is_some_and(|s| s.starts_with('u'));
            if d != r && !free {
                *d = cx.importer.symbol();
                changed = true;
            }
        }
    }
    Ok(changed)
}

/// How a scan takes its operands apart and puts its results together.
struct Sweep<'a> {
    body: &'a GraphProto,
    /// The number of states.
    states: usize,
    /// The axis that is scanned, and whether from its end, for each scanned operand.
    inputs: Vec<(i64, bool)>,
    /// The same for each scanned result.
    outputs: Vec<(i64, bool)>,
}

/// A loop over slices of the scanned operands; results that are scanned are stacked.
fn scan(cx: &mut Context) -> Built<Vec<Entity>> {
    let operands = cx.operands()?;
    let sweep = sweep(cx, operands.len(), "scan_input_directions")?;
    let results = swept(cx, &sweep, &operands)?;
    Ok(results.into_iter().map(Entity::Value).collect())
}

/// Opset 8: the first axis of all operands and results is a batch, each element of which is scanned.
fn batched_scan(cx: &mut Context) -> Built<Vec<Entity>> {
    let operands: Vec<Value> = (1..cx.count()).map(|i| cx.operand(i)).collect::<Result<_, _>>()?;
    let sweep = sweep(cx, operands.len(), "directions")?;
    let Some(batch) = cx.shape(operands[0]).first().and_then(Dim::known).filter(|n| (1..=64).contains(n))
    else {
        return unsupported("a scan of a batch of symbolic size");
    };
    if let Some(lengths) = cx.known_ints(0, "the lengths of sequences")? {
        let whole = cx.shape(operands[sweep.states]).get(1).and_then(Dim::known);
        if lengths.iter().any(|&n| Some(n) != whole) {
            return unsupported("sequences that are shorter than the scanned axis");
        }
    }
    let mut results: Vec<Vec<Value>> = vec![Vec::new(); sweep.body.output.len()];
    for b in 0..batch {
        let mut own = Vec::new();
        for &v in &operands {
            own.push(cx.pick(v, 0, b)?);
        }
        for (v, all) in swept(cx, &sweep, &own)?.into_iter().zip(&mut results) {
            all.push(cx.unsqueeze(v, &[0])?);
        }
    }
    results.into_iter().map(|parts| Ok(Entity::Value(cx.concat(&parts, 0)?))).collect()
}

/// What the attributes of a scan of so many operands say.
fn sweep<'a>(cx: &Context<'a>, operands: usize, directions: &str) -> Built<Sweep<'a>> {
    let body = cx.graph("body")?;
    let scans = usize::try_from(cx.int("num_scan_inputs", 0)?).unwrap_or(0);
    let Some(states) = operands.checked_sub(scans).filter(|_| scans > 0) else {
        return invalid(format!("{scans} scanned of {operands} operands"));
    };
    let results = body.output.len().checked_sub(states).ok_or("the body gives back too few states")?;
    let with_axes = |axes: &str, directions: &str, count: usize| -> Built<Vec<(i64, bool)>> {
        let backward = cx.ints(directions)?.unwrap_or_else(|| vec![0; count]);
        if backward.len() != count {
            return invalid("directions for another number of operands");
        }
        Ok(self::axes(cx, axes, count)?.into_iter().zip(backward.iter().map(|&d| d != 0)).collect())
    };
    let inputs = with_axes("scan_input_axes", directions, scans)?;
    let outputs = with_axes("scan_output_axes", "scan_output_directions", results)?;
    Ok(Sweep { body, states, inputs, outputs })
}

/// The last states, then the scanned results.
fn swept(cx: &mut Context, sweep: &Sweep<'_>, operands: &[Value]) -> Built<Vec<Value>> {
    let (states, given) = operands.split_at(sweep.states);
    // The scanned axis first, in the order of the loop.
    let mut scanned = Vec::new();
    for (&v, &(axis, backward)) in given.iter().zip(&sweep.inputs) {
        let axis = cx.axis(v, axis)?;
        let v = moved(cx, v, axis, 0)?;
        scanned.push(if backward { flipped(cx, v, 0)? } else { v });
    }
    let count = cx.shape(scanned[0])[0].clone();
    let rows = scanned.iter().map(|&v| {
        let ty = cx.ty(v);
        ty.with_shape(ty.shape[1..].to_vec())
    });
    let types: Vec<Type> = states.iter().map(|&v| cx.ty(v)).chain(rows).collect();
    let level = cx.importer.sub_graph(sweep.body, &types)?;
    let (graph, captures) = loop_body(&level, states.len(), &scanned, |v| cx.ty(v))?;
    let trip = cx.dim(count, DType::I64)?;
    let go = cx.scalar(DType::Bool, 1.0);
    let op = Op::Loop { body: Box::new(graph), carried: states.len() as i64, types: Vec::new() };
    let v = with_types(cx, op, [&[trip, go], states, &scanned, &captures].concat())?;
    let mut results: Vec<Value> = (0..states.len()).map(|p| v.port(p)).collect();
    for (i, &(axis, reversed)) in sweep.outputs.iter().enumerate() {
        let mut y = v.port(states.len() + i);
        if reversed {
            y = flipped(cx, y, 0)?;
        }
        let axis = cx.axis(y, axis)?;
        results.push(moved(cx, y, 0, axis)?);
    }
    Ok(results)
}

/// The body of a scan as the body of a loop: `(i, go, states.., scanned.., captures..)`.
fn loop_body(
    level: &Level,
    states: usize,
    scanned: &[Value],
    ty: impl Fn(Value) -> Type,
) -> Built<(Graph, Vec<Value>)> {
    let old: Vec<Value> = level.graph.inputs().collect();
    let mut new = Graph::new();
    let mut map = std::collections::HashMap::new();
    let i = new.input("i", Type::scalar(DType::I64));
    let go = new.input("go", Type::scalar(DType::Bool));
    for &v in &old[..states] {
        map.insert(v.node, new.input(level.graph.input_name(v), level.graph.ty(v).clone()));
    }
    let wholes: Vec<Value> =
        scanned.iter().enumerate().map(|(k, &v)| new.input(&format!("scan{k}"), ty(v))).collect();
    let mut captures = Vec::new();
    for (k, &(outer, inner)) in level.captures.iter().enumerate() {
        map.insert(inner.node, new.input(&format!("capture{k}"), level.graph.ty(inner).clone()));
        captures.push(outer);
    }
    for (&v, whole) in old[states..states + scanned.len()].iter().zip(wholes) {
        let row = new.add(Op::Gather { axis: 0 }, &[whole, i])?;
        map.insert(v.node, row);
    }
    for id in level.graph.order() {
        if !map.contains_key(&id) {
            let operands: Vec<Value> =
                level.graph.operands(id).map(|o| map[&o.node].port(usize::from(o.port))).collect();
            new.origin = level.graph.node(id).origin.clone();
            let v = new.add(level.graph.node(id).op.clone(), &operands)?;
            map.insert(id, v);
        }
    }
    let results = level.graph.outputs().iter().map(|o| map[&o.node].port(usize::from(o.port)));
    new.set_outputs(std::iter::once(go).chain(results).collect(), Vec::new());
    Ok((new, captures))
}

fn axes(cx: &Context, name: &str, count: usize) -> Built<Vec<i64>> {
    let axes = cx.ints(name)?.unwrap_or_else(|| vec![0; count]);
    if axes.len() == count {
        Ok(axes)
    } else {
        invalid(format!("{} axes in `{name}` for {count}", axes.len()))
    }
}

/// One axis moved to another place.
fn moved(cx: &mut Context, v: Value, from: usize, to: usize) -> Built {
    let mut perm: Vec<usize> = (0..cx.rank(v)).collect();
    let axis = perm.remove(from);
    perm.insert(to, axis);
    cx.transpose(v, &perm)
}

/// One axis backwards.
fn flipped(cx: &mut Context, v: Value, axis: usize) -> Built {
    let n = cx.shape(v)[axis].clone();
    cx.slice_axis(v, axis, &n - 1, n, -1)
}
