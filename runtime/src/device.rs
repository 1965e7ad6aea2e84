//! Where a session runs, and which target of a program fits there.

use std::fmt;
use std::str::FromStr;

use crate::cpu;
use crate::error::{Error, Result};
use crate::manifest::TargetProgram;

/// A device with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    threads: Option<usize>,
}

impl Device {
    /// The CPU, with as many threads as it has cores.
    pub fn cpu() -> Device {
        Device { threads: None }
    }

    /// With this number of threads, at least one.
    pub fn threads(self, threads: usize) -> Device {
        Device { threads: Some(threads.max(1)) }
    }

    /// The number of threads a session uses, with the one that calls it.
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get()))
    }
}

impl Default for Device {
    fn default() -> Self {
        Device::cpu()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("cpu")
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Device> {
        if name == "cpu" { Ok(Device::cpu()) } else { Err(Error::NoDevice(name.to_string())) }
    }
}

/// The first target that runs on the device.
pub(crate) fn select(targets: &[TargetProgram], device: &Device) -> Result<usize> {
    let mut reasons = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        match lacking(target) {
            None => return Ok(index),
            Some(reason) => reasons.push(reason),
        }
    }
    let reason = if reasons.is_empty() { "it has no targets".to_string() } else { reasons.join("; ") };
    Err(Error::NoTarget { device: device.to_string(), reason })
}

/// What the CPU lacks for a target.
fn lacking(target: &TargetProgram) -> Option<String> {
    let name = &target.name;
    if name != "cpu" && !name.starts_with("cpu:") {
        return Some(format!("target {name} is for another device"));
    }
    let missing = target.features.iter().filter(|feature| !cpu::has_feature(feature)).map(String::as_str);
    let missing: Vec<&str> = missing.collect();
    (!missing.is_empty())
        .then(|| format!("target {name} needs {}, which this CPU has not", missing.join(", ")))
}
