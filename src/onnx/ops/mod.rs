//! The table of ONNX operators: a row for every (domain, name, range of versions).
//!
//! Rows stand in the files beside this one, grouped by kind, each above the functions it names. A row says
//! from which version of the operator's domain on it holds; the next row of the same name ends it.
use super::context::{Built, Context};
use super::error::{Fault, unsupported};
use super::scope::Entity;
use sardonyx_ir::{Op, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

mod attention;
mod cast;
mod control;
mod conv;
mod detection;
mod einsum;
mod gradient;
mod index;
mod late;
mod legacy;
mod loss;
mod math;
mod microsoft;
mod ml;
mod ngrams;
mod norm;
mod pad;
mod quant;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod sequence;
mod shape;
mod signal;
mod slice;
mod state;
mod text;
mod training;

/// The newest version of the standard domain that is known.
pub(crate) const LAST_OPSET: i64 = 27;

/// An operator from one version of its domain on.
pub(crate) struct Row {
    domain: &'static str,
    name: &'static str,
    since: i64,
    import: Import,
}

/// How the results of a node are built.
enum Import {
    /// One op of the graph on all operands.
    Same(fn() -> Op),
    /// A function with one result.
    One(fn(&mut Context) -> Built),
    /// A function with several.
    Many(fn(&mut Context) -> Built<Vec<Value>>),
    /// A function whose operands or results are sequences or optionals.
    Any(fn(&mut Context) -> Built<Vec<Entity>>),
}

/// An operator that is one op of the graph.
const fn same(name: &'static str, since: i64, op: fn() -> Op) -> Row {
    Row { domain: "", name, since, import: Import::Same(op) }
}
/// An operator with one result.
const fn one(name: &'static str, since: i64, f: fn(&mut Context) -> Built) -> Row {
    Row { domain: "", name, since, import: Import::One(f) }
}
/// An operator with several results.
const fn many(name: &'static str, since: i64, f: fn(&mut Context) -> Built<Vec<Value>>) -> Row {
    Row { domain: "", name, since, import: Import::Many(f) }
}

/// An operator on sequences or optionals.
const fn any(name: &'static str, since: i64, f: fn(&mut Context) -> Built<Vec<Entity>>) -> Row {
    Row { domain: "", name, since, import: Import::Any(f) }
}

/// The files' rows.
static GROUPS: &[&[Row]] = &[
    math::ROWS,
    cast::ROWS,
    shape::ROWS,
    pad::ROWS,
    signal::ROWS,
    reduce::ROWS,
    conv::ROWS,
    norm::ROWS,
    index::ROWS,
    attention::ROWS,
    recurrent::ROWS,
    quant::ROWS,
    resize::ROWS,
    einsum::ROWS,
    control::ROWS,
    sequence::ROWS,
    loss::ROWS,
    training::ROWS,
    gradient::ROWS,
    random::ROWS,
    detection::ROWS,
    state::ROWS,
    legacy::ROWS,
    ngrams::ROWS,
    text::ROWS,
];

/// Rows by domain and name, oldest first.
static TABLE: LazyLock<HashMap<(&str, &str), Vec<&Row>>> = LazyLock::new(|| {
    let mut table: HashMap<(&str, &str), Vec<&Row>> = HashMap::new();
    for row in GROUPS.iter().chain(microsoft::GROUPS).chain(ml::GROUPS).copied().flatten() {
        table.entry((row.domain, row.name)).or_default().push(row);
    }
    table.values_mut().for_each(|rows| rows.sort_by_key(|r| r.since));
    table
});

/// The row for an operator in a version of its domain.
pub(crate) fn find(domain: &str, name: &str, opset: i64) -> Result<&'static Row, Fault> {
    let Some(rows) = TABLE.get(&(domain, name)) else {
        return unsupported("there is no such operator here");
    };
    match rows.iter().rev().find(|r| r.since <= opset) {
        Some(row) => Ok(row),
        None => unsupported(format!("only from opset {} on", rows[0].since)),
    }
}

/// The supported operators: domain (`ai.onnx` for the standard one), name, and the versions since which they
/// are read; sorted.
pub fn supported() -> Vec<(&'static str, &'static str, Vec<i64>)> {
    let named = |d: &'static str| if d.is_empty() { "ai.onnx" } else { d };
    let rows = TABLE
        .iter()
        .map(|((domain, name), rows)| (named(domain), *name, rows.iter().map(|r| r.since).collect()));
    let mut all: Vec<(&str, &str, Vec<i64>)> = rows.collect();
    all.sort();
    all
}

impl Row {
    /// The results of a node.
    pub fn import(&self, cx: &mut Context) -> Built<Vec<Entity>> {
        let values = match &self.import {
            Import::Same(op) => {
                let operands = cx.operands()?;
                vec![cx.add(op(), &operands)?]
            }
            Import::One(f) => vec![f(cx)?],
            Import::Many(f) => f(cx)?,
            Import::Any(f) => return f(cx),
        };
        Ok(values.into_iter().map(Entity::Value).collect())
    }
}
