//! Toolchains: source text of a platform in, object code out.
pub mod cache;
pub mod gpu;
#[cfg(feature = "cpu")]
pub mod llvm;

use crate::emit;
use crate::nest::Nest;
use crate::target::{Target, TargetSpec};
use crate::unit::Unit;
use cache::Cache;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The error of turning text into object code.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No processor of this name is known.
    #[error("unknown processor `{0}`; `sardonyx targets` lists those that code can be compiled for")]
    UnknownCpu(String),
    /// This build has no code generator for the platform.
    #[error("this build of the compiler has no LLVM: it was built without the feature `cpu`")]
    NoLlvm,
    /// There is no compiler for the GPU here.
    #[error("no compiler for {arch} is here: {reason}")]
    NoGpuToolchain {
        /// The instruction set.
        arch: String,
        /// What was looked for.
        reason: String,
    },
    /// A GPU's compiler refused a kernel.
    #[error("{toolchain} for {arch}, kernel {kernel}: {message}")]
    Gpu {
        /// The instruction set.
        arch: String,
        /// The compiler and its version.
        toolchain: String,
        /// The kernel.
        kernel: String,
        /// What the compiler says.
        message: String,
    },
    /// LLVM refused the text.
    #[error("LLVM: {message} (in the module of {kernels})")]
    Llvm {
        /// What LLVM says.
        message: String,
        /// The kernels of the module.
        kernels: String,
    },
}

/// How to compile.
#[derive(Default)]
pub struct Options<'a> {
    /// The number of threads; 0 is one per processor.
    pub jobs: usize,
    /// Where objects are kept between runs.
    pub cache: Option<&'a Cache>,
    /// What compiling for GPUs may use; what it finds itself if none.
    pub tools: Option<&'a gpu::Tools>,
    /// Is told how many of how many kernels are compiled.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

/// Object code of a list of units.
#[derive(Debug)]
pub struct Objects {
    /// ELF objects for the runtime's loader, or code objects of a GPU.
    pub objects: Vec<Vec<u8>>,
    /// For each unit, the object that holds it and the symbol it has there.
    pub places: Vec<(usize, String)>,
    /// The number of distinct kernels.
    pub kernels: usize,
    /// How many of them came from the cache.
    pub cached: usize,
}

/// Bytes of nest text that go into one module: large enough that fixed costs do not matter, small enough
/// that the modules of a model keep all threads busy.
const MODULE_BYTES: usize = 24 << 10;

/// Compiles units for a target. Equal units (but for their names) are compiled once. The objects depend on
/// the units, the target and the toolchain alone.
pub fn compile(units: &[Unit], target: &Target, options: &Options) -> Result<Objects, ToolchainError> {
    let (unique, which) = distinct(units);
    match target {
        Target::Cpu(spec) => cpu_objects(unique, &which, spec, options),
        Target::Gpu(spec) => gpu::objects(&unique, &which, spec, options),
    }
}

fn cpu_objects(
    unique: Vec<Unit>,
    which: &[usize],
    target: &TargetSpec,
    options: &Options,
) -> Result<Objects, ToolchainError> {
    if cfg!(not(feature = "cpu")) {
        return Err(ToolchainError::NoLlvm);
    }
    let nest = |unit| match unit {
        Unit::Nest(nest) => nest,
        Unit::Template(template) => panic!("bug: the template {} for {}", template.name, target.cpu),
    };
    let unique: Vec<Nest> = unique.into_iter().map(nest).collect();
    let groups = group(&unique);
    let (done, cached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let compile = |group: &Vec<usize>| {
        let members: Vec<&Nest> = group.iter().map(|&i| &unique[i]).collect();
        let (object, hit) = object(&members, target, options.cache)?;
        cached.fetch_add(if hit { members.len() } else { 0 }, Ordering::Relaxed);
        let done = done.fetch_add(members.len(), Ordering::Relaxed) + members.len();
        options.progress.iter().for_each(|f| f(done, unique.len()));
        Ok(object)
    };
    let objects = parallel(options.jobs, &groups, compile)?;
    let mut object_of = vec![0; unique.len()];
    for (g, group) in groups.iter().enumerate() {
        group.iter().for_each(|&i| object_of[i] = g);
    }
    let places = which.iter().map(|&i| (object_of[i], unique[i].name.clone())).collect();
    Ok(Objects { objects, places, kernels: unique.len(), cached: cached.into_inner() })
}

/// The results of `f` on all items, on so many threads (0: one per processor).
fn parallel<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    f: impl Fn(&T) -> Result<R, ToolchainError> + Sync,
) -> Result<Vec<R>, ToolchainError> {
    match rayon::ThreadPoolBuilder::new().num_threads(jobs).build() {
        Ok(pool) => pool.install(|| items.par_iter().map(&f).collect()),
        Err(_) => items.iter().map(f).collect(),
    }
}

/// The distinct units, renamed so that their names differ, and which of them each unit is.
pub fn distinct(units: &[Unit]) -> (Vec<Unit>, Vec<usize>) {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut unique: Vec<Unit> = Vec::new();
    let which = units.iter().map(|unit| {
        let anonymous = unit.renamed("kernel");
        *known.entry(format!("{anonymous:?}")).or_insert_with(|| {
            let count = names.entry(unit.name().to_string()).or_insert(0);
            *count += 1;
            let name = if *count == 1 { unit.name().to_string() } else { format!("{}.{count}", unit.name()) };
            unique.push(anonymous.renamed(&name));
            unique.len() - 1
        })
    });
    let which = which.collect();
    (unique, which)
}

/// Nests in order, cut into modules of about [`MODULE_BYTES`].
fn group(nests: &[Nest]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut bytes = MODULE_BYTES;
    for (i, nest) in nests.iter().enumerate() {
        let size = nest.regs.len() * 40;
        if bytes + size > MODULE_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        groups.last_mut().expect("a group should be open").push(i);
    }
    groups
}

/// The object of a module, and whether it came from the cache.
fn object(
    nests: &[&Nest],
    target: &TargetSpec,
    cache: Option<&Cache>,
) -> Result<(Vec<u8>, bool), ToolchainError> {
    let text = emit::llvm::module(nests, target);
    let key = Cache::key(&[&text, &target.cpu, &target.features, version()]);
    if let Some(object) = cache.and_then(|c| c.get(&key)) {
        return Ok((object, true));
    }
    let object = to_object(&text, target).map_err(|message| ToolchainError::Llvm {
        message,
        kernels: nests.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", "),
    })?;
    if let Some(c) = cache {
        c.put(&key, &object);
    }
    Ok((object, false))
}

/// The processor of this name; `native` is the one this process runs on.
pub fn cpu(name: &str) -> Result<TargetSpec, ToolchainError> {
    match name {
        #[cfg(feature = "cpu")]
        "native" => Ok(llvm::host()),
        #[cfg(not(feature = "cpu"))]
        "native" => Err(ToolchainError::NoLlvm),
        _ => TargetSpec::named(name).ok_or_else(|| ToolchainError::UnknownCpu(name.to_string())),
    }
}

#[cfg(feature = "cpu")]
use llvm::{to_object, version};

#[cfg(not(feature = "cpu"))]
fn to_object(_: &str, _: &TargetSpec) -> Result<Vec<u8>, String> {
    Err(ToolchainError::NoLlvm.to_string())
}
#[cfg(not(feature = "cpu"))]
fn version() -> &'static str {
    "none"
}
