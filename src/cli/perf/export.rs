//! The report of `perf` as files for other programs: a trace, and a page.
use super::super::Failure;
use super::Report;
use anyhow::anyhow;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::Usage(anyhow!("{}: {e}", path.display())))
}

/// The steps of one run in the Trace Event Format (JSON object form, complete events). Steps have the mean times of
/// the profiled runs and follow each other without gaps; the steps of a sub-graph stand together.
pub(super) fn trace(report: &Report) -> String {
    let mut rows: Vec<_> = report.kernels.iter().collect();
    rows.sort_by_key(|row| row.step);
    let mut start = 0.0;
    let events: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            let event = json!({
                "name": row.label,
                "cat": row.label.split_whitespace().next().unwrap_or_default(),
                "ph": "X",
                "pid": 1,
                "tid": 1,
                "ts": start * 1e6,
                "dur": row.seconds * 1e6,
                "args": {
                    "ONNX nodes": row.origins, "calls": row.calls, "GFLOP/s": row.gflops, "GB/s": row.gbytes,
                },
            });
            start += row.seconds;
            event
        })
        .collect();
    let about = json!({
        "model": report.model, "device": report.device, "times": "means over profiled runs, one after the other",
    });
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": about }).to_string()
}

/// A page that holds the report and shows it.
pub(super) fn page(report: &Report) -> String {
    // Within a script element nothing is escaped, but a `<` could end the element.
    let data = serde_json::to_string(report).expect("a report should serialize").replace('<', "\\u003c");
    include_str!("report.html").replace("{{report}}", &data)
}
