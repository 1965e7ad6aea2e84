//! `compile`: a model into a program file, with the passes and kernels on view.
use super::args::Compile;
use super::common;
use super::{Failure, Outcome};
use crate::compile::{self, Optimized, Options};
use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use sardonyx_codegen::compile::{CompileError, Progress, Report};
use sardonyx_ir::Graph;
use sardonyx_runtime::Error as ProgramError;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

/// What `--json` prints; sizes in bytes, times in seconds.
#[derive(Serialize)]
struct Summary<'a> {
    model: String,
    program: String,
    size: u64,
    seconds: f64,
    /// The most that was in memory, mapped files and all but the processes of other compilers.
    peak_memory: u64,
    nodes: usize,
    rewrites: usize,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn compile(args: &Compile) -> Outcome {
    let start = Instant::now();
    let mut options = common::options(&args.build);
    options.targets = args.target.clone();
    let (sizes, special) = common::sizes_and_special(&args.sizes)?;
    (options.import, options.special) = (common::import_options(&sizes), special);
    options.keep_source = args.keep_source;
    options.explain = args.explain.clone();
    let model = common::import(&args.model, &options.import)?;
    let optimized = optimize(args, &model, &options)?;
    let special = compile::specialize(&model, &options).map_err(Failure::compile)?;
    let bar = progress_bar();
    let progress = |p: Progress| match p {
        Progress::Lowering { nodes } => bar.set_message(format!("lowering {nodes} nodes")),
        Progress::Compiling { done, kernels } => {
            bar.set_message("kernels");
            bar.set_length(kernels as u64);
            bar.set_position(done as u64);
        }
        Progress::Packing => bar.set_message("packing"),
    };
    let report = write_atomically(&args.output, |file| {
        compile::generate_to(&optimized.graph, &special, &model.name, &options, Some(&progress), file)
    })?;
    bar.finish_and_clear();
    if let [stage, dir] = args.emit.as_slice() {
        emit(stage, Path::new(dir), &optimized.graph, &options)?;
    }
    let summary = Summary {
        model: args.model.display().to_string(),
        program: args.output.display().to_string(),
        size: std::fs::metadata(&args.output).map_or(0, |m| m.len()),
        seconds: start.elapsed().as_secs_f64(),
        peak_memory: common::peak_memory(),
        nodes: optimized.graph.len(),
        rewrites: optimized.rewrites.len(),
        report: &report,
    };
    if args.json {
        common::print_json(&summary)
    } else {
        print(&summary)
    }
    Ok(())
}

fn optimize(args: &Compile, model: &crate::onnx::Model, options: &Options) -> Result<Optimized, Failure> {
    if let Some(name) = args.dump_after.as_ref().filter(|n| *n != "all" && sardonyx_passes::pass(n).is_none())
    {
        let known: Vec<&str> = sardonyx_passes::PASSES.iter().map(|p| p.name).collect();
        return Err(Failure::Usage(anyhow!("--dump-after {name}: the passes are {}", known.join(", "))));
    }
    let mut show = |pass: &str, change: &str| eprintln!("--- after {pass}\n{change}");
    let dump = args.dump_after.as_deref().map(|name| (name, &mut show as &mut dyn FnMut(&str, &str)));
    let optimized = compile::optimize(model, options, dump);
    if args.time_passes {
        let mut table = common::table(&["pass", "ms", "rewrites", "nodes after"]);
        for t in &optimized.timings {
            let ms = format!("{:.2}", t.time.as_secs_f64() * 1e3);
            table.add_row(vec![t.pass.to_string(), ms, t.rewrites.to_string(), t.nodes.to_string()]);
        }
        eprintln!("{table}");
    }
    if let Some(rule) = &args.explain {
        eprintln!("{rule}: {} places where it almost applied", optimized.misses.len());
        for m in &optimized.misses {
            eprintln!("  {}: {}", m.at, m.reason);
        }
    }
    Ok(optimized)
}

/// A bar on stderr with the kernels done, their number and the time left; hidden where no terminal is.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {pos}/{len} {bar:30} {elapsed} (about {eta} left)");
    ProgressBar::new(0).with_style(style.expect("the template should be valid"))
}

/// Writes the whole file or none of it.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<Report, CompileError>,
) -> Result<Report, Failure> {
    let failed = |e: std::io::Error| Failure::Run(anyhow!("{}: {e}", path.display()));
    let temporary = path.with_extension(format!("sdx.{}.tmp", std::process::id()));
    let mut file = BufWriter::new(File::create(&temporary).map_err(failed)?);
    let result = write(&mut file).map_err(|e| match e {
        CompileError::Program(ProgramError::Io { source, .. }) => failed(source),
        e => Failure::compile(e),
    });
    let result = result.and_then(|report| {
        file.flush().and_then(|()| std::fs::rename(&temporary, path)).map_err(failed)?;
        Ok(report)
    });
    if result.is_err() {
        // Nothing is left behind; that it cannot be removed is no worse than what went wrong.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Writes one stage of the compilation as files for reading.
fn emit(stage: &str, dir: &Path, graph: &Graph, options: &Options) -> Outcome {
    let files: Vec<(String, String)> = match stage {
        "ir" => vec![("graph.ir".into(), graph.to_string())],
        "dot" => vec![("graph.dot".into(), super::dump::dot(graph))],
        "kernels" | "nest" => super::dump::stages(graph, &options.targets[0], stage)?,
        "llvm" | "hip" => {
            let fits = |t: &&String| t.starts_with("cpu") == (stage == "llvm");
            let kind = if stage == "llvm" { "cpu" } else { "hip or cuda" };
            let target = options.targets.iter().find(fits);
            let target =
                target.ok_or_else(|| Failure::Usage(anyhow!("--emit {stage}: no {kind} target is given")))?;
            super::dump::stages(graph, target, "source")?
        }
        _ => {
            return Err(Failure::Usage(anyhow!(
                "--emit {stage}: the stages are ir, kernels, nest, llvm, hip, dot"
            )));
        }
    };
    let error = |e: std::io::Error| Failure::Run(anyhow!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(error)?;
    for (name, text) in files {
        std::fs::write(dir.join(name), text).map_err(error)?;
    }
    Ok(())
}

fn print(s: &Summary) {
    let r = s.report;
    for line in &r.placement {
        println!("placement: {line}");
    }
    println!("{r}");
    let mib = |n: usize| common::mebibytes(n as u64);
    let (size, weights, code) = (common::mebibytes(s.size), mib(r.weights), mib(r.code));
    println!("{}: {size} (weights {weights}, code {code}) in {:.2} s", s.program, s.seconds);
}
