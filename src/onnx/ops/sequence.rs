//! Sequences and optionals, whose lengths the importer knows: they leave no trace in the graph.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::super::scope::{Binding, Entity};
use super::slice::parts;
use super::{Row, any};
use sardonyx_ir::Value;
use sardonyx_tensor::{Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    any("ConcatFromSequence", 11, concat),
    any("Identity", 1, |cx| Ok(vec![cx.entity(0)?.clone()])),
    any("Optional", 15, |cx| Ok(vec![cx.entity_if(0).cloned().unwrap_or(Entity::Nothing)])),
    any("OptionalGetElement", 15, |cx| Ok(vec![cx.entity(0)?.clone()])),
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

fn at(cx: &mut Context) -> Built<Vec<Entity>> {
    let all = cx.sequence(0)?;
    let at = place(cx, 1, all.len(), false)?.ok_or("the place is missing")?;
    Ok(vec![all[at].clone()])
}

fn insert(cx: &mut Context) -> Built<Vec<Entity>> {
    let mut all = cx.sequence(0)?.to_vec();
    let at = place(cx, 2, all.len(), true)?.unwrap_or(all.len());
    all.insert(at, cx.entity(1)?.clone());
    Ok(vec![Entity::Sequence(all)])
}

fn erase(cx: &mut Context) -> Built<Vec<Entity>> {
    let mut all = cx.sequence(0)?.to_vec();
    let last = all.len().checked_sub(1).ok_or("the sequence is empty")?;
    all.remove(place(cx, 1, all.len(), false)?.unwrap_or(last));
    Ok(vec![Entity::Sequence(all)])
}

fn length(cx: &mut Context) -> Built<Vec<Entity>> {
    let n = cx.sequence(0)?.len() as i64;
    Ok(vec![Entity::Value(cx.constant(Tensor::scalar(n)))])
}

fn has_element(cx: &mut Context) -> Built<Vec<Entity>> {
    let there = cx.entity_if(0).is_some();
    Ok(vec![Entity::Value(cx.constant(Tensor::scalar(there)))])
}

fn values(all: &[Entity]) -> Built<Vec<Value>> {
    all.iter()
        .map(|e| match e {
            Entity::Value(v) => Ok(*v),
            _ => invalid("a sequence of sequences"),
        })
        .collect()
}

fn concat(cx: &mut Context) -> Built<Vec<Entity>> {
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

fn split(cx: &mut Context) -> Built<Vec<Entity>> {
    let (x, list) = (cx.operand(0)?, cx.operand_if(1)?);
    let axis = cx.axis(x, cx.int("axis", 0)?)?;
    let n = cx.shape(x)[axis].clone();
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
    let n = cx.sequence(0)?.len();
    let mut results = vec![Vec::new(); body.output.len()];
    for i in 0..n {
        let opsets = cx.importer.scope.opsets().clone();
        cx.importer.scope.enter_block(opsets);
        for (k, info) in body.input.iter().enumerate() {
            let element = match cx.entity(k)? {
                Entity::Sequence(all) => all.get(i).cloned().ok_or("sequences of different lengths")?,
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
