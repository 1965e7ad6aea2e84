//! The section of `docs/onnx-support.md` on ONNX's operators: versions, types and places.
use super::check::{Fault, Judge, OnGpu};
use super::reasons::REASONS;
use super::table::{Operator, Table};
use super::{LAST, Run, types};
use sardonyx_tensor::DType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What the runs of one operator gave.
#[derive(Default)]
struct Row<'a> {
    models: usize,
    /// Types that agree with ONNX Runtime, and those of all models that pass.
    agree: BTreeSet<DType>,
    pass: BTreeSet<DType>,
    /// Types that are not supported.
    refused: BTreeSet<DType>,
    gpu: OnGpu,
    faults: BTreeMap<&'a str, BTreeSet<DType>>,
}

impl<'a> Row<'a> {
    fn add(&mut self, run: &'a Run) {
        match &run.result {
            Ok(passed) => {
                self.models += 1;
                self.pass.extend(run.dtype);
                if passed.judge == Judge::Ort {
                    self.agree.extend(run.dtype);
                }
                if let Some(gpu) = &passed.gpu {
                    self.gpu.kernels |= gpu.kernels;
                    self.gpu.host |= gpu.host;
                    self.gpu.refused = self.gpu.refused.take().or(gpu.refused.clone());
                }
            }
            Err(Fault::Unsupported(reason) | Fault::Wrong(reason)) => {
                self.refused.extend(run.dtype);
                self.faults.entry(reason).or_default().extend(run.dtype);
            }
        }
    }

    /// Where a GPU's program computes the operator.
    fn place(&self) -> &'static str {
        match (&self.gpu.refused, self.gpu.kernels, self.gpu.host) {
            (Some(_), ..) => "no",
            (None, true, false) => "kernels",
            (None, true, true) => "kernels, host",
            (None, false, true) => "host",
            (None, false, false) => "views",
        }
    }
}

/// The opsets of each version; those that are not held against ONNX Runtime with a number of their reason.
fn versions(name: &str, operator: &Operator, notes: &mut Vec<&'static str>) -> String {
    let mut words = Vec::new();
    for v in &operator.versions {
        let end = match v.last {
            _ if v.gone => "gone".into(),
            last if last >= LAST => "…".into(),
            last if last == v.since => String::new(),
            last => format!("–{last}"),
        };
        let mut word = match end.as_str() {
            "gone" => format!("gone since {}", v.since),
            end => format!("{}{end}", v.since),
        };
        let reason = REASONS.iter().find(|r| r.op == name && r.versions.contains(&v.since));
        if let Some(reason) = reason.filter(|_| !v.gone) {
            let at = notes.iter().position(|n| *n == reason.why).unwrap_or_else(|| {
                notes.push(reason.why);
                notes.len() - 1
            });
            let _ = write!(word, " ({})", at + 1);
        }
        words.push(word);
    }
    words.join(", ")
}

pub fn text(table: &Table, runs: &[Run]) -> String {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for run in runs {
        rows.entry(run.op).or_default().add(run);
    }
    let mut text = format!(
        "## ONNX's operators, version by version\n\nNodes with seeded inputs, at the first and the last opset of \
         each version from 7 on, and one of each operator in every element type that its newest version takes. All \
         pass through the reference interpreter and on the CPU target, held against ONNX Runtime 1.31.1, or against \
         the reference alone where it has no kernel for the type. Types are those of the first operand (of what is \
         chosen or filled in for Where, OneHot and what makes tensors). {}. GPU: where a program for gfx942 computes \
         the models: in kernels (whose text `codegen/tests/hip.rs` runs on the host, op by op), in steps of the host, \
         or not at all (`views`, constants among them).\n\n| operator | opsets of each version | models | as ONNX Runtime | as the \
         reference | not supported | GPU |\n|---|---|---|---|---|---|---|\n",
        types::legend()
    );
    let mut notes = Vec::new();
    for (name, operator) in table {
        let opsets = versions(name, operator, &mut notes);
        let Some(row) = rows.get(name) else {
            let _ = writeln!(text, "| {name} | {opsets} | 0 | – | – | – | – |");
            continue;
        };
        let alone = row.pass.difference(&row.agree).copied().collect();
        let lacking = row.refused.difference(&row.pass).copied().collect();
        let [agree, alone, lacking] = [&row.agree, &alone, &lacking].map(types::listed);
        let _ = writeln!(
            text,
            "| {name} | {opsets} | {} | {agree} | {alone} | {lacking} | {} |",
            row.models,
            row.place()
        );
    }
    text.push('\n');
    for (i, note) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}.", i + 1);
    }
    let (mut faults, mut refusals) = (String::new(), String::new());
    for (name, row) in &rows {
        for (reason, dtypes) in &row.faults {
            let _ = writeln!(faults, "| {name} | {} | {} |", types::listed(dtypes), brief(reason));
        }
        if let Some(reason) = &row.gpu.refused {
            let _ = writeln!(refusals, "| {name} | {} |", brief(reason));
        }
    }
    if !faults.is_empty() {
        let _ = write!(text, "\n| not supported | types | reason |\n|---|---|---|\n{faults}");
    }
    if !refusals.is_empty() {
        let _ = write!(text, "\n| not on a GPU | reason |\n|---|---|\n{refusals}");
    }
    text
}

/// A reason as part of a table.
fn brief(reason: &str) -> String {
    reason.chars().take(160).collect::<String>().replace(['|', '\n'], " ")
}
