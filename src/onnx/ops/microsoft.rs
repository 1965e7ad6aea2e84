//! Operators of the domain `com.microsoft`: those that ONNX Runtime's optimizer and its quantizer write, and
//! those that its CPU provider has. Wherever possible they are written out in the ops that ONNX's own
//! operators become, so that the passes see one form.
//!
//! What they mean is said in ONNX Runtime's `docs/ContribOperators.md`; where that is silent, what its CPU
//! provider computes holds (`tests/contrib.rs`).
use super::super::context::{Built, Context};
use super::{Import, Row};
use sardonyx_ir::Value;

mod attention;
mod blocks;
mod engram;
mod forms;
mod gqa;
mod moe;
mod norm;
mod pointwise;
mod product;
mod qlinear;
mod quantized;
mod rotary;
mod windows;

/// The files' rows.
pub(super) static GROUPS: &[&[Row]] = &[
    attention::ROWS,
    blocks::ROWS,
    engram::ROWS,
    forms::ROWS,
    gqa::ROWS,
    moe::ROWS,
    norm::ROWS,
    pointwise::ROWS,
    product::ROWS,
    qlinear::ROWS,
    quantized::ROWS,
    rotary::ROWS,
    windows::ROWS,
];

/// An operator with one result.
const fn one(name: &'static str, f: fn(&mut Context) -> Built) -> Row {
    Row { domain: "com.microsoft", name, since: 1, import: Import::One(f) }
}
/// An operator with several results.
const fn many(name: &'static str, f: fn(&mut Context) -> Built<Vec<Value>>) -> Row {
    Row { domain: "com.microsoft", name, since: 1, import: Import::Many(f) }
}
