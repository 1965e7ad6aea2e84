//! `perf`: how long a program takes, by run, by kernel and by op, and beside ONNX Runtime.
mod export;

use super::args::{Oracle, Perf};
use super::common::{self, Loaded};
use super::{Failure, Outcome};
use crate::ort::Level;
use crate::statistics::Statistics;
use anyhow::anyhow;
use sardonyx_runtime::{DeviceBuffer, DeviceInput, DeviceOutput, Session, StepProfile};
use sardonyx_tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// What `--json` prints and `--baseline` reads; times in seconds.
#[derive(Serialize, Deserialize)]
struct Report {
    model: String,
    device: String,
    threads: usize,
    load: f64,
    first_run: f64,
    run: Statistics,
    /// Of a GPU: runs whose inputs and outputs stay in its memory, each until the GPU has finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_device: Option<Statistics>,
    /// The vendor's libraries that were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    libraries: Vec<ByLibrary>,
    /// Runs per second at the median.
    throughput: f64,
    /// Highest resident memory of this process, in bytes; 0 where the system does not tell.
    peak_memory: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    onnx_runtime: Option<Statistics>,
    /// ONNX Runtime's median over ours: above 1 we are faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    speed_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kernels: Vec<Row>,
}

/// What a vendor's library computes, because it was faster.
#[derive(Serialize, Deserialize)]
struct ByLibrary {
    name: String,
    launches: usize,
}

/// The time of one step, or of all steps of one kind.
#[derive(Serialize, Deserialize, Clone)]
struct Row {
    /// The number of the step in the program.
    #[serde(default)]
    step: usize,
    label: String,
    calls: usize,
    seconds: f64,
    share: f64,
    gflops: f64,
    gbytes: f64,
    origins: Vec<String>,
}

pub(super) fn perf(args: &Perf) -> Outcome {
    let loaded =
        common::load(&args.model, args.oracle_model.as_deref(), &args.device, &args.sizes, &args.build)?;
    let (inputs, _) = common::inputs(&loaded, &args.inputs, &args.sizes)?;
    let start = Instant::now();
    let mut session = common::session(&loaded.program, &args.device)?;
    let load = loaded.seconds + start.elapsed().as_secs_f64();
    let start = Instant::now();
    common::run_session(&mut session, &inputs)?;
    let first_run = start.elapsed().as_secs_f64();
    let (ours, theirs) = measure(args, &loaded, &mut session, &inputs)?;
    let run = Statistics::of(&ours);
    let on_device = measure_on_device(args, &mut session, &inputs)?;
    let onnx_runtime = (!theirs.is_empty()).then(|| Statistics::of(&theirs));
    let kernels = match args.per_op || args.trace.is_some() || args.html.is_some() {
        true => profile(&mut session, &inputs, run.runs.clamp(1, 20))?,
        false => Vec::new(),
    };
    let report = Report {
        model: args.model.display().to_string(),
        device: args.device.device.clone(),
        threads: common::threads(&args.device),
        load,
        first_run,
        run,
        on_device,
        libraries: session
            .libraries()
            .into_iter()
            .map(|(name, launches)| ByLibrary { name: name.into(), launches })
            .collect(),
        throughput: 1.0 / run.median,
        peak_memory: common::peak_memory(),
        onnx_runtime,
        speed_ratio: onnx_runtime.map(|o| o.median / run.median),
        kernels,
    };
    if let Some(path) = &args.trace {
        export::write(path, &export::trace(&report))?;
    }
    if let Some(path) = &args.html {
        export::write(path, &export::page(&report))?;
    }
    if args.json {
        common::print_json(&report);
    } else {
        print(&report, args.per_op);
    }
    regression(args, &report)
}

/// Times of our runs and, interleaved with them, of ONNX Runtime's.
fn measure(
    args: &Perf,
    loaded: &Loaded,
    session: &mut Session,
    inputs: &[(String, Tensor)],
) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let mut other = match args.against {
        Some(Oracle::Ort) => {
            Some(common::open_ort(loaded.model_path()?, &args.device, &args.ort, Level::All)?)
        }
        Some(Oracle::Reference) => {
            return Err(Failure::Usage(anyhow!("the reference interpreter is not timed: use --against ort")));
        }
        None => None,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..args.warmup {
        common::run_session(session, inputs)?;
        if let Some(o) = &mut other {
            o.run(inputs).map_err(Failure::run)?;
        }
    }
    let began = Instant::now();
    while more(args, ours.len(), began) {
        let start = Instant::now();
        common::run_session(session, inputs)?;
        ours.push(start.elapsed().as_secs_f64());
        if let Some(o) = &mut other {
            let start = Instant::now();
            o.run(inputs).map_err(Failure::run)?;
            theirs.push(start.elapsed().as_secs_f64());
        }
    }
    Ok((ours, theirs))
}

/// Whether another run is measured.
fn more(args: &Perf, done: usize, began: Instant) -> bool {
    match args.iterations {
        Some(n) => done < n.max(1),
        None => done < 3 || began.elapsed().as_secs_f64() < args.duration,
    }
}

/// Times of runs whose inputs and outputs stay in the memory of the session's GPU; none on a CPU.
fn measure_on_device(
    args: &Perf,
    session: &mut Session,
    inputs: &[(String, Tensor)],
) -> Result<Option<Statistics>, Failure> {
    let device = session.device().clone();
    if device.as_gpu().is_none() {
        return Ok(None);
    }
    let buffer = |size: usize| DeviceBuffer::new(&device, size).map_err(Failure::run);
    let mut given = Vec::new();
    for (_, tensor) in inputs {
        let mut on_device = buffer(tensor.bytes().len())?;
        on_device.upload(tensor.bytes()).map_err(Failure::run)?;
        given.push(on_device);
    }
    let sizes: Vec<usize> = session.outputs().iter().map(|tensor| tensor.bytes().len()).collect();
    let mut taken = sizes.into_iter().map(buffer).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = session.program().outputs().iter().map(|port| port.name.clone()).collect();
    let on_device: Vec<DeviceInput> = inputs
        .iter()
        .zip(&given)
        .map(|((name, t), buffer)| DeviceInput { name, dtype: t.dtype(), shape: t.shape(), buffer })
        .collect();
    let mut outputs: Vec<DeviceOutput> =
        names.iter().zip(&mut taken).map(|(name, buffer)| DeviceOutput { name, buffer }).collect();
    let mut run = || -> Result<f64, Failure> {
        let start = Instant::now();
        session.run_device(&[], &on_device, &mut outputs).map_err(Failure::run)?;
        Ok(start.elapsed().as_secs_f64())
    };
    for _ in 0..args.warmup.max(3) {
        run()?;
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    while more(args, times.len(), began) {
        times.push(run()?);
    }
    Ok(Some(Statistics::of(&times)))
}

/// The mean time of each step over some runs, longest first.
fn profile(session: &mut Session, inputs: &[(String, Tensor)], runs: usize) -> Result<Vec<Row>, Failure> {
    session.set_profiling(true);
    for _ in 0..runs {
        common::run_session(session, inputs)?;
    }
    let steps = session.profile();
    session.set_profiling(false);
    let total: f64 = steps.iter().map(|s| s.time.as_secs_f64()).sum();
    let row = |s: StepProfile| {
        let seconds = s.time.as_secs_f64();
        let per_second = |n: i64| n as f64 * s.calls as f64 / 1e9 / seconds.max(f64::MIN_POSITIVE);
        Row {
            step: s.step,
            calls: s.calls as usize / runs,
            seconds: seconds / runs as f64,
            share: seconds / total.max(f64::MIN_POSITIVE),
            gflops: per_second(s.flops),
            gbytes: per_second(s.bytes),
            label: s.label,
            origins: s.origins,
        }
    };
    let mut rows: Vec<Row> = steps.into_iter().filter(|s| s.calls > 0).map(row).collect();
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(rows)
}

fn print(r: &Report, per_op: bool) {
    let ms = |s: f64| format!("{:.3} ms", s * 1e3);
    println!("{} on {} ({} threads)", r.model, r.device, r.threads);
    println!(
        "load {}, first run {}, peak memory {:.1} MiB",
        ms(r.load),
        ms(r.first_run),
        r.peak_memory as f64 / 1048576.0
    );
    for library in &r.libraries {
        println!("{} launches by {}", library.launches, library.name);
    }
    let mut table = common::table(&["", "runs", "min", "mean", "median", "p90", "p95", "p99", "runs/s"]);
    let mut row = |name: &str, s: &Statistics| {
        let times = [s.min, s.mean, s.median, s.p90, s.p95, s.p99].map(ms);
        let mut cells = vec![name.to_string(), s.runs.to_string()];
        cells.extend(times);
        cells.push(format!("{:.1}", 1.0 / s.median));
        table.add_row(cells);
    };
    row("sardonyx", &r.run);
    if let Some(on_device) = &r.on_device {
        row("sardonyx, inputs and outputs on the device", on_device);
    }
    if let Some(o) = &r.onnx_runtime {
        row("ONNX Runtime", o);
    }
    println!("{table}");
    if per_op {
        print_kernels(&r.kernels);
    }
    if let Some(ratio) = r.speed_ratio {
        println!("speed against ONNX Runtime: {ratio:.2} (ratio of medians, interleaved; above 1 is faster)");
    }
}

fn print_kernels(rows: &[Row]) {
    let columns = ["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "ONNX nodes"];
    let mut steps = common::table(&columns);
    let mut kinds: BTreeMap<&str, (usize, f64, f64)> = BTreeMap::new();
    for r in rows {
        steps.add_row(vec![
            r.label.clone(),
            r.calls.to_string(),
            format!("{:.3}", r.seconds * 1e3),
            format!("{:.1}%", r.share * 100.0),
            format!("{:.1}", r.gflops),
            format!("{:.1}", r.gbytes),
            common::shortened(&r.origins, 2),
        ]);
        let kind = kinds.entry(r.label.split_whitespace().next().unwrap_or_default()).or_default();
        *kind = (kind.0 + r.calls, kind.1 + r.seconds, kind.2 + r.share);
    }
    println!("{steps}");
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let mut table = common::table(&["op", "calls", "ms", "share"]);
    for (label, (calls, seconds, share)) in kinds {
        table.add_row(vec![
            label.to_string(),
            calls.to_string(),
            format!("{:.3}", seconds * 1e3),
            format!("{:.1}%", share * 100.0),
        ]);
    }
    println!("{table}");
}

fn regression(args: &Perf, report: &Report) -> Outcome {
    let Some(path) = &args.baseline else { return Ok(()) };
    let text =
        std::fs::read_to_string(path).map_err(|e| Failure::Usage(anyhow!("{}: {e}", path.display())))?;
    let baseline: Report =
        serde_json::from_str(&text).map_err(|e| Failure::Usage(anyhow!("{}: {e}", path.display())))?;
    let slower = report.run.median / baseline.run.median - 1.0;
    eprintln!("median {:+.1}% against the baseline", slower * 100.0);
    let Some(limit) = &args.fail_if_slower else { return Ok(()) };
    let percent: f64 = limit
        .trim_end_matches('%')
        .parse()
        .map_err(|_| Failure::Usage(anyhow!("--fail-if-slower {limit}: expected a percentage")))?;
    if slower * 100.0 > percent { Err(Failure::Mismatch) } else { Ok(()) }
}
