//! Code objects of GPUs: one per distinct kernel, cached by text, GPU and toolchain.
//!
//! AMD: hiprtc where it knows the GPU, else clang as a command. NVIDIA: NVRTC. None of them needs a GPU.
mod clang;
pub mod resources;
mod rtc;
mod sys;
mod worker;

pub use clang::Clang;
pub use rtc::Compiler;
pub use worker::serve;

use super::cache::Cache;
use super::{Objects, Options, ToolchainError};
use crate::emit;
use crate::target::{GpuSpec, Platform};
use crate::unit::Unit;
use resources::Resources;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use worker::Worker;

/// What compiling for GPUs may use beside what it finds.
#[derive(Clone, Default, Debug)]
pub struct Tools {
    /// A command that calls [`serve`] on its standard input and output, for compilations beside each other and
    /// safe from crashes; without it run-time compilers are called in this process.
    pub worker: Vec<String>,
    /// NVRTC's library, if the loader does not find it by name.
    pub nvrtc: Option<PathBuf>,
    /// Whether clang compiles for AMD even where hiprtc is here and knows the GPU.
    pub clang: bool,
}

/// The compiler of one GPU.
enum Toolchain {
    Rtc(Compiler),
    Clang(Clang),
}

impl Toolchain {
    fn find(target: &GpuSpec, tools: &Tools) -> Result<Toolchain, ToolchainError> {
        let compiler = match target.platform {
            Platform::Hip if tools.clang => Err("not asked for".into()),
            platform => Compiler::load(platform, tools.nvrtc.as_deref()),
        };
        let reason = match (compiler, target.platform) {
            (Ok(compiler), _) if compiler.knows(target) => return Ok(Toolchain::Rtc(compiler)),
            (Ok(compiler), _) => format!("{} does not know it", compiler.version()),
            (Err(reason), Platform::Cuda) => {
                format!(
                    "NVRTC: {reason}; it is part of CUDA and of PyPI's nvidia-cuda-nvrtc (--nvrtc-library FILE)"
                )
            }
            (Err(reason), Platform::Hip) => format!("hiprtc: {reason}"),
        };
        if target.platform == Platform::Hip {
            match Clang::find() {
                Some(clang) if clang.knows(target) => return Ok(Toolchain::Clang(clang)),
                Some(clang) => {
                    let reason =
                        format!("{reason}; {} is too old, it takes LLVM {}", clang.version, target.llvm);
                    return Err(ToolchainError::NoGpuToolchain { arch: target.arch.into(), reason });
                }
                None => {}
            }
        }
        let hint = if target.platform == Platform::Hip {
            format!(
                "{reason}; no clang of LLVM {} or newer (packages clang-19 and lld-19)",
                target.llvm.max(19)
            )
        } else {
            reason
        };
        Err(ToolchainError::NoGpuToolchain { arch: target.arch.into(), reason: hint })
    }

    fn version(&self) -> String {
        match self {
            Toolchain::Rtc(compiler) => compiler.version(),
            Toolchain::Clang(clang) => clang.version.clone(),
        }
    }
}

/// Compiles kernels one by one.
struct Job<'a> {
    target: &'a GpuSpec,
    toolchain: Toolchain,
    version: String,
    tools: &'a Tools,
    cache: Option<&'a Cache>,
    /// Workers that have nothing to do.
    idle: Mutex<Vec<Worker>>,
    /// Held while a run-time compiler runs in this process.
    alone: Mutex<()>,
}

impl<'a> Job<'a> {
    fn new(target: &'a GpuSpec, options: &Options<'a>, none: &'a Tools) -> Result<Job<'a>, ToolchainError> {
        let tools = options.tools.unwrap_or(none);
        let toolchain = Toolchain::find(target, tools)?;
        let (version, cache) = (toolchain.version(), options.cache);
        Ok(Job { target, version, toolchain, tools, cache, idle: Mutex::default(), alone: Mutex::default() })
    }

    /// The code object of a kernel's text, and whether it came from the cache.
    fn object(&self, name: &str, text: &str) -> Result<(Vec<u8>, bool), ToolchainError> {
        let key = Cache::key(&[text, self.target.arch, &self.version, env!("CARGO_PKG_VERSION")]);
        if let Some(object) = self.cache.and_then(|cache| cache.get(&key)) {
            return Ok((object, true));
        }
        let object = self.compile(name, text).map_err(|message| ToolchainError::Gpu {
            arch: self.target.arch.into(),
            toolchain: self.version.clone(),
            kernel: name.into(),
            message,
        })?;
        if let Some(cache) = self.cache {
            cache.put(&key, &object);
        }
        Ok((object, false))
    }

    fn compile(&self, name: &str, text: &str) -> Result<Vec<u8>, String> {
        let compiler = match &self.toolchain {
            Toolchain::Clang(clang) => return clang.compile(self.target, name, text),
            Toolchain::Rtc(compiler) => compiler,
        };
        if self.tools.worker.is_empty() {
            let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            return compiler.compile(self.target, name, text);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let start = || Worker::start(&self.tools.worker, self.tools.nvrtc.as_deref());
        let mut worker =
            idle.map_or_else(start, Ok).map_err(|error| format!("the worker process: {error}"))?;
        let compiled = worker.compile(self.target, name, text);
        let compiled =
            compiled.map_err(|error| format!("the compiler ended while it compiled this ({error})"))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        compiled
    }
}

/// The code objects of distinct units; `which` says which of them each unit of the program is.
pub(super) fn objects(
    unique: &[Unit],
    which: &[usize],
    target: &GpuSpec,
    options: &Options<'_>,
) -> Result<Objects, ToolchainError> {
    let none = Tools::default();
    let job = Job::new(target, options, &none)?;
    let (done, cached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let compile = |unit: &Unit| {
        let (name, text) = (emit::hip::symbol(unit.name()), emit::hip::text(unit, target));
        let (object, hit) = job.object(&name, &text)?;
        cached.fetch_add(usize::from(hit), Ordering::Relaxed);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        options.progress.iter().for_each(|f| f(done, unique.len()));
        Ok(object)
    };
    let objects = super::parallel(options.jobs, unique, compile)?;
    let places = which.iter().map(|&k| (k, emit::hip::symbol(unique[k].name()))).collect();
    Ok(Objects { objects, places, kernels: unique.len(), cached: cached.into_inner() })
}

/// A code object for each kernel, given as texts of [`emit::hip::text`], and whether it came from the cache.
///
/// # Errors
/// When there is no compiler for the GPU, or it refuses a text.
pub fn code(
    texts: &[String],
    target: &GpuSpec,
    options: &Options<'_>,
) -> Result<Vec<(Vec<u8>, bool)>, ToolchainError> {
    let none = Tools::default();
    let job = Job::new(target, options, &none)?;
    super::parallel(options.jobs, texts, |text: &String| job.object("kernel", text))
}

/// What kernels, given as texts of [`emit::hip::text`], take of an AMD GPU.
///
/// # Errors
/// As of [`code`].
pub fn resources(
    texts: &[String],
    target: &GpuSpec,
    options: &Options<'_>,
) -> Result<Vec<Resources>, ToolchainError> {
    let of_object = |(object, _): &(Vec<u8>, bool)| {
        let kernels = resources::of_object(object);
        let kernel = kernels.and_then(|mut all| all.pop().ok_or_else(|| "no kernel is in it".to_string()));
        kernel.map_err(|message| ToolchainError::Gpu {
            arch: target.arch.into(),
            toolchain: "the code object".into(),
            kernel: "kernel".into(),
            message,
        })
    };
    code(texts, target, options)?.iter().map(of_object).collect()
}
