//! `dump`: a stage of the compilation as text.
use super::args::{Dump, Stage};
use super::common;
use super::{Failure, Outcome};
use crate::compile::{self, Options};
use anyhow::anyhow;
use sardonyx_codegen::target::{GpuSpec, Platform};
use sardonyx_codegen::toolchain::{self, cache::Cache};
use sardonyx_ir::{Graph, Op, text};
use sardonyx_runtime::Program;
use std::fmt::Write;

pub(super) fn dump(args: &Dump) -> Outcome {
    if common::is_program(&args.model) {
        return dump_program(args);
    }
    let mut options = common::options(&args.build);
    options.targets = vec![args.target.clone()];
    options.import = common::import_options(&common::sizes(&args.sizes)?);
    let model = common::import(&args.model, &options.import)?;
    if args.stage == Stage::Graph {
        print!("{}", graph_after(&model, &options, args.after.as_deref())?);
        return Ok(());
    }
    let graph = compile::optimize(&model, &options, None).graph;
    if args.stage == Stage::Manifest {
        let (bytes, _) = compile::generate(&graph, &model.name, &options, None).map_err(Failure::compile)?;
        common::print_json(common::open(bytes)?.manifest());
        return Ok(());
    }
    let stage = match args.stage {
        Stage::Kernels => "kernels",
        Stage::Nests => "nest",
        _ => "source",
    };
    let texts = stages(&graph, &args.target, stage)?;
    let notes = match GpuSpec::named(&args.target).filter(|_| args.stage == Stage::Kernels) {
        Some(gpu) if gpu.platform == Platform::Hip => resources(&graph, gpu, &options)?,
        _ => Vec::new(),
    };
    for (k, (name, text)) in texts.into_iter().enumerate() {
        println!("// {name}");
        if let Some(note) = notes.get(k) {
            println!("// {note}");
        }
        println!("{text}");
    }
    Ok(())
}

/// The graph as imported, after a pass (the last time it ran), or after all.
fn graph_after(
    model: &crate::onnx::Model,
    options: &Options,
    after: Option<&str>,
) -> Result<String, Failure> {
    match after {
        None => Ok(text::print(&compile::optimize(model, options, None).graph)),
        Some("import") => Ok(text::print(&model.graph)),
        Some(name) if sardonyx_passes::pass(name).is_some() => {
            Ok(text::print(&compile::optimized_until(model, options, name)))
        }
        Some(name) => {
            let known: Vec<&str> = sardonyx_passes::PASSES.iter().map(|p| p.name).collect();
            Err(Failure::Usage(anyhow!("--after {name}: the stages are import, {}", known.join(", "))))
        }
    }
}

fn dump_program(args: &Dump) -> Outcome {
    let program = Program::open(&args.model).map_err(Failure::run)?;
    match args.stage {
        Stage::Manifest => common::print_json(program.manifest()),
        Stage::Graph => match program.attachment("graph") {
            Some(text) => print!("{text}"),
            None => {
                return Err(Failure::Usage(anyhow!(
                    "the program holds no graph: compile it with --keep-source"
                )));
            }
        },
        Stage::Source => {
            let sources = program.manifest().attachments.iter().filter(|a| a.name.starts_with("source/"));
            let texts: Vec<&str> = sources.filter_map(|a| program.attachment(&a.name)).collect();
            if texts.is_empty() {
                return Err(Failure::Usage(anyhow!(
                    "the program holds no sources: compile it with --keep-source"
                )));
            }
            println!("{}", texts.join("\n"));
        }
        Stage::Kernels | Stage::Nests => {
            return Err(Failure::Usage(anyhow!(
                "kernels and nests are dumped from a model, not from a program"
            )));
        }
    }
    Ok(())
}

/// What each kernel takes of an AMD GPU.
fn resources(graph: &Graph, gpu: &GpuSpec, options: &Options) -> Result<Vec<String>, Failure> {
    let kernels = sardonyx_codegen::compile::kernels(graph, &options.targets[0]).map_err(Failure::compile)?;
    let texts: Vec<String> = kernels.into_iter().map(|kernel| kernel.source).collect();
    let cache = options.cache.as_ref().map(Cache::new);
    let (jobs, cache, tools) = (options.jobs.unwrap_or(0), cache.as_ref(), Some(&options.tools));
    let how = toolchain::Options { jobs, cache, tools, progress: None };
    let found = toolchain::gpu::resources(&texts, gpu, &how).map_err(Failure::compile)?;
    Ok(found.iter().map(|r| r.line(gpu)).collect())
}

/// One stage of every kernel: file name and text.
pub(super) fn stages(graph: &Graph, target: &str, stage: &str) -> Result<Vec<(String, String)>, Failure> {
    let kernels = sardonyx_codegen::compile::kernels(graph, target).map_err(Failure::compile)?;
    let file = |name: &str, ending: &str| format!("{name}.{ending}");
    let source = if target.starts_with("cpu") { "ll" } else { "hip" };
    Ok(kernels
        .into_iter()
        .map(|k| match stage {
            "kernels" => (file(&k.name, "kernel"), format!("{}\n{}\n", k.launches.join("\n"), k.kernel)),
            "nest" => (file(&k.name, "nest"), k.nest),
            _ => (file(&k.name, source), k.source),
        })
        .collect())
}

/// The graph in Graphviz's language.
pub(super) fn dot(graph: &Graph) -> String {
    let mut out = String::from("digraph {\n  node [shape=box];\n");
    for id in graph.order() {
        let node = graph.node(id);
        let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
        let label = match &node.op {
            Op::Input { name } => name.clone(),
            op => op.name().to_string(),
        };
        let label = format!("{label}\\n{}", types.join(", ")).replace('"', "\\\"");
        // A String takes any text.
        let _ = writeln!(out, "  n{} [label=\"{label}\"];", id.index());
        for v in graph.operands(id) {
            let _ = writeln!(out, "  n{} -> n{};", v.node.index(), id.index());
        }
    }
    out + "}\n"
}
