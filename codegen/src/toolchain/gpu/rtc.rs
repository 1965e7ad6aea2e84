//! hiprtc and NVRTC: found, asked what they know, and run.
use super::sys::{self, Rtc};
use crate::target::{GpuSpec, Matrix, Platform};
use std::path::{Path, PathBuf};

/// hiprtc's library, alone or inside the runtime's, newest first.
const HIPRTC: &[&str] = &[
    "libhiprtc.so.7",
    "libhiprtc.so.6",
    "libhiprtc.so",
    "libamdhip64.so.7",
    "libamdhip64.so.6",
    "libamdhip64.so.5",
    "libamdhip64.so",
];
const COMGR: &[&str] = &["libamd_comgr.so.3", "libamd_comgr.so.2", "libamd_comgr.so"];
const NVRTC: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// A run-time compiler that is here.
pub struct Compiler {
    platform: Platform,
    rtc: Rtc,
    /// The file it was loaded from.
    library: PathBuf,
    /// AMD's instruction sets that it knows.
    sets: Vec<String>,
}

impl Compiler {
    /// Loads the compiler of a platform; `nvrtc` names NVRTC's library, which is else found by the loader.
    ///
    /// # Errors
    /// A sentence that says what was looked for.
    pub fn load(platform: Platform, nvrtc: Option<&Path>) -> Result<Compiler, String> {
        let (names, prefix, code) = match platform {
            Platform::Hip => (HIPRTC, "hiprtc", "Code"),
            Platform::Cuda => (NVRTC, "nvrtc", "CUBIN"),
        };
        let given = nvrtc.filter(|_| platform == Platform::Cuda);
        let names: Vec<&Path> = match given {
            Some(path) => vec![path],
            None => names.iter().map(Path::new).collect(),
        };
        let (library, rtc) = first(&names, |name| Rtc::load(name, prefix, code))?;
        let sets = match platform {
            Platform::Hip => {
                let names: Vec<&Path> = COMGR.iter().map(Path::new).collect();
                first(&names, sys::instruction_sets)?.1
            }
            Platform::Cuda => Vec::new(),
        };
        Ok(Compiler { platform, rtc, library, sets })
    }

    /// Whether it compiles for a GPU. hiprtc ends the process when it is given a set that it does not know, so
    /// this has to be asked first.
    pub fn knows(&self, target: &GpuSpec) -> bool {
        self.platform == target.platform
            && (self.platform == Platform::Cuda || self.sets.iter().any(|set| set == target.arch))
    }

    /// Its name and version, on which code objects depend.
    pub fn version(&self) -> String {
        let (major, minor) = self.rtc.version();
        let file = self.library.file_name().unwrap_or_default().to_string_lossy();
        format!("{file} {major}.{minor}")
    }

    /// Compiles the text of a kernel.
    ///
    /// # Errors
    /// The compiler's message.
    pub fn compile(&self, target: &GpuSpec, name: &str, text: &str) -> Result<Vec<u8>, String> {
        if !self.knows(target) {
            return Err(format!("{} does not know {}", self.version(), target.arch));
        }
        let options = match self.platform {
            // `exact` registers rely on products and sums that are not contracted.
            Platform::Hip => vec![format!("--offload-arch={}", target.arch), "-ffp-contract=off".into()],
            Platform::Cuda => {
                // `wgmma` is only in the set that no later GPU takes.
                let own = if target.matrix == Matrix::Wgmma { "a" } else { "" };
                let arch = format!("--gpu-architecture={}{own}", target.arch);
                // CUDA 13.0 takes generic lambdas of device functions for functions of the host otherwise.
                vec![arch, "--fmad=false".into(), "--device-as-default-execution-space".into()]
            }
        };
        let options: Vec<String> = options.into_iter().chain(["-std=c++17".into()]).collect();
        self.rtc.compile(&format!("{name}.hip"), text, &options)
    }
}

/// The first library that loads, or what the last one that was there lacks.
fn first<T>(names: &[&Path], load: impl Fn(&Path) -> Result<T, String>) -> Result<(PathBuf, T), String> {
    let mut reason = String::new();
    for name in names {
        match load(name) {
            Ok(loaded) => return Ok((name.to_path_buf(), loaded)),
            Err(error) => reason = format!("{}: {error}", name.display()),
        }
    }
    let list: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    Err(format!("none of {} could be loaded ({reason})", list.join(", ")))
}
