//! Where a session runs, and which target of a program fits there.

use std::fmt;
use std::str::FromStr;

use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu::{self, DeviceInfo};
use crate::manifest::TargetProgram;

/// A device with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    kind: Kind,
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Gpu(Platform, u32),
}

/// The programming platform of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// AMD.
    Hip,
    /// NVIDIA.
    Cuda,
}

impl Platform {
    /// The name in devices and targets: `hip:0`, `hip:gfx942`.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Hip => "hip",
            Platform::Cuda => "cuda",
        }
    }

    pub(crate) fn vendor(self) -> &'static str {
        match self {
            Platform::Hip => "AMD",
            Platform::Cuda => "NVIDIA",
        }
    }
}

impl Device {
    /// The CPU, with as many threads as it has cores.
    pub fn cpu() -> Device {
        Device { kind: Kind::Cpu, threads: None }
    }

    /// The AMD GPU of this number.
    pub fn hip(number: u32) -> Device {
        Device::gpu(Platform::Hip, number)
    }

    /// The NVIDIA GPU of this number.
    pub fn cuda(number: u32) -> Device {
        Device::gpu(Platform::Cuda, number)
    }

    /// The GPU of this number among those of a platform.
    pub fn gpu(platform: Platform, number: u32) -> Device {
        Device { kind: Kind::Gpu(platform, number), threads: None }
    }

    /// With this number of threads, at least one. A GPU has its own.
    pub fn threads(self, threads: usize) -> Device {
        Device { threads: Some(threads.max(1)), ..self }
    }

    /// The number of threads a session uses on the CPU, with the one that calls it.
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get()))
    }

    /// The platform and the number of a GPU; `None` for the CPU.
    pub fn as_gpu(&self) -> Option<(Platform, u32)> {
        match self.kind {
            Kind::Cpu => None,
            Kind::Gpu(platform, number) => Some((platform, number)),
        }
    }

    /// What is known of a GPU; `None` for the CPU.
    ///
    /// # Errors
    /// When there is no such device, or it cannot be opened.
    pub fn info(&self) -> Result<Option<DeviceInfo>> {
        let Some((platform, number)) = self.as_gpu() else { return Ok(None) };
        Ok(Some(gpu::Context::get(platform, number)?.info.clone()))
    }

    /// The GPUs of a platform.
    ///
    /// # Errors
    /// When the driver's library is missing or too old, or finds no device: the error says which.
    pub fn list(platform: Platform) -> Result<Vec<DeviceInfo>> {
        gpu::list(platform)
    }
}

impl Default for Device {
    fn default() -> Self {
        Device::cpu()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            Kind::Cpu => f.write_str("cpu"),
            Kind::Gpu(platform, number) => write!(f, "{}:{number}", platform.name()),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Device> {
        let number = |number: &str| number.parse().ok();
        let device = match name.split_once(':') {
            None if name == "cpu" => Some(Device::cpu()),
            Some(("hip", at)) => number(at).map(Device::hip),
            Some(("cuda", at)) => number(at).map(Device::cuda),
            _ => None,
        };
        let reason = || "devices are `cpu`, `hip:0`, `hip:1`, …, `cuda:0`, `cuda:1`, …".to_string();
        device.ok_or_else(|| Error::NoDevice { name: name.to_string(), reason: reason() })
    }
}

/// The first target that runs on the CPU.
pub(crate) fn select_cpu(targets: &[TargetProgram]) -> Result<usize> {
    let mut reasons = Vec::new();
    for (index, target) in for_all_sizes(targets) {
        match lacking(target) {
            None => return Ok(index),
            Some(reason) => reasons.push(reason),
        }
    }
    Err(no_target("cpu".into(), &reasons))
}

/// The target that fits a GPU best, the first of equals.
pub(crate) fn select_gpu(targets: &[TargetProgram], info: &DeviceInfo) -> Result<usize> {
    let fit = |target: &TargetProgram| fit(&target.name, &info.device, &info.arch);
    let fits = for_all_sizes(targets).filter_map(|(index, target)| Some((fit(target)?, index)));
    if let Some((_, index)) = fits.min() {
        return Ok(index);
    }
    let reasons: Vec<String> = for_all_sizes(targets)
        .map(|(_, target)| match target.name.split_once(':') {
            Some((platform, arch)) if info.device.to_string().starts_with(platform) => {
                format!("target {} is for {arch}", target.name)
            }
            _ => format!("target {} is for another device", target.name),
        })
        .collect();
    Err(no_target(format!("{}, a {}", info.device, info.arch), &reasons))
}

/// The programs that are not for some sizes alone.
fn for_all_sizes(targets: &[TargetProgram]) -> impl Iterator<Item = (usize, &TargetProgram)> {
    targets.iter().enumerate().filter(|(_, target)| target.sizes.is_empty())
}

fn no_target(device: String, reasons: &[String]) -> Error {
    let reason = if reasons.is_empty() { "it has no targets".to_string() } else { reasons.join("; ") };
    Error::NoTarget { device, reason }
}

/// Whether a target is a processor.
pub(crate) fn is_cpu(target: &TargetProgram) -> bool {
    target.name == "cpu" || target.name.starts_with("cpu:")
}

/// What the CPU lacks for a target.
fn lacking(target: &TargetProgram) -> Option<String> {
    let name = &target.name;
    if !is_cpu(target) {
        return Some(format!("target {name} is for another device"));
    }
    let missing = target.features.iter().filter(|feature| !cpu::has_feature(feature)).map(String::as_str);
    let missing: Vec<&str> = missing.collect();
    (!missing.is_empty())
        .then(|| format!("target {name} needs {}, which this CPU has not", missing.join(", ")))
}

/// The generic instruction sets of AMD, with the GPUs that run them: LLVM's "User Guide for AMDGPU Backend".
const GENERIC: &[(&str, &[&str])] = &[
    ("gfx9-generic", &["gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"]),
    ("gfx9-4-generic", &["gfx942", "gfx950"]),
    ("gfx10-1-generic", &["gfx1010", "gfx1011", "gfx1012", "gfx1013"]),
    ("gfx10-3-generic", &["gfx1030", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036"]),
    (
        "gfx11-generic",
        &["gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152", "gfx1153"],
    ),
    ("gfx12-generic", &["gfx1200", "gfx1201"]),
];

/// How well a target fits a GPU, 0 best; `None` where it does not run.
fn fit(target: &str, device: &Device, arch: &str) -> Option<u32> {
    let (platform, _) = device.as_gpu()?;
    let wanted = target.strip_prefix(platform.name())?.strip_prefix(':')?;
    if wanted == arch {
        return Some(0);
    }
    match platform {
        Platform::Hip => {
            let (_, members) = GENERIC.iter().find(|(generic, _)| *generic == wanted)?;
            members.contains(&arch).then_some(1)
        }
        // Code for one GPU runs on those of the same major version whose minor one is not less; code with a
        // suffix only on the very one ("CUDA C++ Programming Guide", binary compatibility).
        Platform::Cuda => {
            let version = |arch: &str| arch.strip_prefix("sm_")?.parse::<u32>().ok();
            let exact = wanted.strip_suffix('a').is_some_and(|plain| plain == arch);
            if exact {
                return Some(0);
            }
            let (wanted, arch) = (version(wanted)?, version(arch)?);
            (wanted / 10 == arch / 10 && wanted <= arch).then(|| arch - wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(targets: &[&str], device: Device, arch: &str) -> std::result::Result<usize, String> {
        let targets: Vec<TargetProgram> = targets
            .iter()
            .map(|name| TargetProgram { name: (*name).into(), ..TargetProgram::default() })
            .collect();
        let info =
            DeviceInfo { device, name: String::new(), arch: arch.into(), memory: 0, driver: String::new() };
        select_gpu(&targets, &info).map_err(|error| error.to_string())
    }

    #[test]
    fn gpus_take_their_own_code_first() {
        let targets = ["cpu:x86-64-v3", "hip:gfx11-generic", "hip:gfx1100", "hip:gfx942", "cuda:sm_90"];
        assert_eq!(chosen(&targets, Device::hip(0), "gfx1100"), Ok(2));
        assert_eq!(chosen(&targets, Device::hip(1), "gfx1151"), Ok(1));
        assert_eq!(chosen(&targets, Device::hip(0), "gfx942"), Ok(3));
        assert_eq!(chosen(&targets, Device::cuda(0), "sm_90"), Ok(4));
        assert_eq!(
            chosen(&targets[..2], Device::hip(0), "gfx942"),
            Err("the program does not run on hip:0, a gfx942: target cpu:x86-64-v3 is for another device; \
                 target hip:gfx11-generic is for gfx11-generic"
                .into())
        );
        assert_eq!(
            chosen(&[], Device::cuda(1), "sm_90"),
            Err("the program does not run on cuda:1, a sm_90: it has no targets".into())
        );
    }

    #[test]
    fn cuda_code_runs_on_later_minor_versions() {
        assert_eq!(chosen(&["cuda:sm_80", "cuda:sm_86"], Device::cuda(0), "sm_89"), Ok(1));
        assert_eq!(chosen(&["cuda:sm_80"], Device::cuda(0), "sm_86"), Ok(0));
        assert!(chosen(&["cuda:sm_86"], Device::cuda(0), "sm_80").is_err());
        assert!(chosen(&["cuda:sm_80"], Device::cuda(0), "sm_90").is_err());
        assert_eq!(chosen(&["cuda:sm_90", "cuda:sm_90a"], Device::cuda(0), "sm_90"), Ok(0));
        assert!(chosen(&["cuda:sm_100a"], Device::cuda(0), "sm_103").is_err());
    }

    #[test]
    fn devices_have_names() {
        for name in ["cpu", "hip:0", "cuda:12"] {
            assert_eq!(name.parse::<Device>().map(|device| device.to_string()).ok().as_deref(), Some(name));
        }
        for name in ["", "gpu", "hip", "hip:", "cuda:x", "cuda:-1", "cpu:0"] {
            let error = name.parse::<Device>().expect_err("this is no device").to_string();
            assert!(error.starts_with(&format!("no device `{name}`: devices are `cpu`, `hip:0`")), "{error}");
        }
    }
}
