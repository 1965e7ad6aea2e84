//! The command line: one file a verb. Only here errors become text and exit codes.
pub mod args;
mod bisect;
mod cache;
mod common;
mod compile;
mod doctor;
mod dump;
mod inspect;
mod lists;
mod perf;
mod run;
mod verify;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use sardonyx_codegen::toolchain::gpu::{self, Tools};
use std::fmt;

/// Why the command ended without success; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// A mismatch or regression: 1. Everything was said already.
    Mismatch,
    /// The model cannot be compiled: 2.
    Compile(anyhow::Error),
    /// A run or device error: 3.
    Run(anyhow::Error),
    /// The command line asks for what does not exist: 4.
    Usage(anyhow::Error),
}

/// The result of a verb.
pub type Outcome = Result<(), Failure>;

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Mismatch => 1,
            Failure::Compile(_) => 2,
            Failure::Run(_) => 3,
            Failure::Usage(_) => 4,
        }
    }
    /// For `map_err`: the model cannot be compiled.
    pub fn compile(e: impl Into<anyhow::Error>) -> Failure {
        Failure::Compile(e.into())
    }
    /// For `map_err`: a run or device error.
    pub fn run(e: impl Into<anyhow::Error>) -> Failure {
        Failure::Run(e.into())
    }
    /// For `map_err`: a usage error.
    pub fn usage(e: impl Into<anyhow::Error>) -> Failure {
        Failure::Usage(e.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Mismatch => Ok(()),
            Failure::Compile(e) | Failure::Run(e) | Failure::Usage(e) => write!(f, "{e:#}"),
        }
    }
}

/// Runs the command line of this process; the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let help = !e.use_stderr();
            // Where stdout or stderr is closed there is nobody to tell.
            let _ = e.print();
            return if help { 0 } else { 4 };
        }
    };
    match dispatch(cli) {
        Ok(()) => 0,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                eprintln!("error: {text}");
            }
            failure.code()
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    match cli.verb {
        Verb::Inspect(a) => inspect::inspect(&a),
        Verb::Compile(a) => compile::compile(&a),
        Verb::Run(a) => run::run(&a),
        Verb::Verify(a) => verify::verify(&a),
        Verb::Perf(a) => perf::perf(&a),
        Verb::Dump(a) => dump::dump(&a),
        Verb::Ops => lists::ops(),
        Verb::Targets => lists::targets(),
        Verb::Doctor => doctor::doctor(),
        Verb::Cache(a) => cache::cache(&a),
        Verb::CompileWorker { nvrtc_library } => {
            let tools = Tools { nvrtc: nvrtc_library, ..Tools::default() };
            gpu::serve(&tools, std::io::stdin().lock(), std::io::stdout().lock()).map_err(Failure::run)
        }
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "sardonyx", &mut std::io::stdout());
            Ok(())
        }
    }
}
