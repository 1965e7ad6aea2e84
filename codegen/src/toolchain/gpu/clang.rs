//! clang as a command: AMD code objects without ROCm's headers and libraries.
use crate::target::GpuSpec;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Commands looked for, the newest first; LLVM's apt packages and ROCm name them so.
const NAMES: &[&str] = &["clang-22", "clang-21", "clang-20", "clang-19", "/opt/rocm/llvm/bin/clang", "clang"];
/// The oldest LLVM whose offline compilation of HIP text was tried.
const OLDEST: u32 = 19;

/// A clang that compiles HIP text.
#[derive(Clone, Debug)]
pub struct Clang {
    command: String,
    major: u32,
    /// What `--version` says first.
    pub version: String,
}

impl Clang {
    /// The newest clang that is here.
    pub fn find() -> Option<Clang> {
        NAMES.iter().filter_map(|name| Clang::at(name)).find(|clang| clang.major >= OLDEST)
    }

    fn at(command: &str) -> Option<Clang> {
        let output = Command::new(command).arg("--version").stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().next()?.to_string();
        let (_, number) = version.split_once("version ")?;
        let major = number.split('.').next()?.parse().ok()?;
        Some(Clang { command: command.into(), major, version })
    }

    /// Whether it is new enough for a GPU.
    pub fn knows(&self, target: &GpuSpec) -> bool {
        target.llvm > 0 && self.major >= target.llvm
    }

    /// Compiles the text of a kernel.
    ///
    /// # Errors
    /// What clang says, or that it could not be run.
    pub fn compile(&self, target: &GpuSpec, name: &str, text: &str) -> Result<Vec<u8>, String> {
        let folder = Folder::new().map_err(|error| format!("temporary folder: {error}"))?;
        let (source, object) = (folder.0.join(format!("{name}.hip")), folder.0.join("kernel.hsaco"));
        std::fs::write(&source, text).map_err(|error| format!("{}: {error}", source.display()))?;
        let output = Command::new(&self.command)
            .args(["-x", "hip", "-std=c++17", "-O3", "-ffp-contract=off", "-w"])
            .arg(format!("--offload-arch={}", target.arch))
            .args(["--offload-device-only", "-nogpuinc", "-nogpulib", "--no-gpu-bundle-output", "-o"])
            .args([&object, &source])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", self.command))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim_end().to_string());
        }
        std::fs::read(&object).map_err(|error| format!("{}: {error}", object.display()))
    }
}

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Folder> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sardonyx-hip-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
