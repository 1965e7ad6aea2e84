//! The section of `docs/onnx-support.md` that says what the tests gave.
use super::cases::Group;
use super::{Outcome, Tested, passed};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many tests pass, by group and by operator, then every test that does not, by reason.
pub fn text(all: &[(&Group, BTreeMap<String, Tested>)]) -> String {
    let mut text = String::from(
        "## ONNX's own tests\n\nThose of `onnx==1.22.0`, at its tolerances; results of random operators are checked by type and distribution.\n\n",
    );
    let _ = writeln!(text, "| tests | | number | reference | CPU |\n|---|---|---|---|---|");
    for (group, results) in all {
        let (reference, cpu) = (passed(results, |r| &r.reference), passed(results, |r| &r.cpu));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {reference} | {cpu} |",
            group.folder,
            group.about,
            results.len()
        );
    }
    let _ = writeln!(text, "\n### Node tests by operator\n");
    operators(&mut text, &all[0].1);
    let _ = writeln!(
        text,
        "\n### What does not pass on the CPU target\n\n| tests | reason | names |\n|---|---|---|"
    );
    for (group, results) in all {
        let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, r) in results.iter().filter(|(_, r)| r.cpu != Outcome::Pass) {
            reasons.entry(reason(name, r)).or_default().push(name.trim_start_matches("test_"));
        }
        for (reason, names) in reasons {
            let _ = writeln!(text, "| {} | {reason} | {} |", group.folder, names.join(", "));
        }
    }
    text
}

fn operators(text: &mut String, results: &BTreeMap<String, Tested>) {
    let mut ops: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for r in results.values() {
        let row = ops.entry(&r.op).or_default();
        row[0] += 1;
        row[1] += usize::from(r.reference == Outcome::Pass);
        row[2] += usize::from(r.cpu == Outcome::Pass);
    }
    let (passed, others): (Vec<_>, Vec<_>) = ops.into_iter().partition(|(_, [n, a, b])| n == a && n == b);
    let counts: Vec<String> = passed.iter().map(|(op, [tests, ..])| format!("{op} {tests}")).collect();
    let _ = writeln!(text, "All pass of: {}.\n", counts.join(", "));
    let _ = writeln!(text, "| operator | tests | reference | CPU |\n|---|---|---|---|");
    for (op, [tests, reference, cpu]) in others {
        let _ = writeln!(text, "| {op} | {tests} | {reference} | {cpu} |");
    }
}

/// Where the tests and ONNX Runtime differ, what is meant here.
const NOTES: &[(&str, &str)] = &[
    (
        "align_corners",
        "the test's values are made with a size that is not rounded; here, as in ONNX Runtime, it is that of the result",
    ),
    ("decode_jpeg_", "the test's values are those of libjpeg; the decoder here rounds otherwise"),
];

/// Why a test does not pass on the CPU target, without figures that differ between machines.
fn reason(name: &str, r: &Tested) -> String {
    let text = match &r.cpu {
        Outcome::Pass => String::new(),
        Outcome::Unsupported(e) => format!("{}: not supported: {e}", r.op),
        Outcome::Error(e) => format!("{}: {e}", r.op),
        Outcome::Wrong(_) => {
            let note = NOTES.iter().find(|(part, _)| name.contains(part)).map(|(_, note)| *note);
            format!("{}: {}", r.op, note.unwrap_or("other values than the test's"))
        }
        Outcome::Crash(_) => format!("{}: crash", r.op),
    };
    text.chars().take(160).collect::<String>().replace(['|', '\n'], " ")
}
