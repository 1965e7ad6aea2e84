//! What steps take.

use std::time::Duration;

use crate::manifest::{Step, TargetProgram, walk};
use crate::plan::Values;

/// What a step took.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProfile {
    /// The number of the step.
    pub step: usize,
    /// What it does.
    pub label: String,
    /// The name of its kernel; empty for other steps.
    pub kernel: String,
    /// The ONNX nodes it comes from.
    pub origins: Vec<String>,
    /// Floating-point operations of one call.
    pub flops: i64,
    /// Bytes that one call reads and writes at least.
    pub bytes: i64,
    /// How often it was run.
    pub calls: u64,
    /// All calls together.
    pub time: Duration,
}

/// Times by the number of the step.
pub(super) struct Profile(Vec<(Duration, u64)>);

impl Profile {
    pub fn new(steps: usize) -> Profile {
        Profile(vec![(Duration::ZERO, 0); steps])
    }

    pub fn add(&mut self, step: usize, time: Duration) {
        let (sum, calls) = &mut self.0[step];
        *sum += time;
        *calls += 1;
    }

    pub fn steps(&self, target: &TargetProgram, values: &Values) -> Vec<StepProfile> {
        let mut steps = Vec::new();
        walk(&target.steps, &mut |number, step| {
            let (time, calls) = self.0[number];
            if calls == 0 {
                return;
            }
            let (kernel, flops, bytes) = match step {
                Step::Launch(launch) => (
                    target.kernels[launch.kernel].symbol.clone(),
                    launch.flops.eval_with(values).unwrap_or(0),
                    launch.bytes.eval_with(values).unwrap_or(0),
                ),
                _ => (String::new(), 0, 0),
            };
            let (label, origins) = (label(step).to_string(), origins(step, target));
            steps.push(StepProfile { step: number, label, kernel, origins, flops, bytes, calls, time });
        });
        steps
    }
}

/// What a step does, in a word.
pub(super) fn label(step: &Step) -> &str {
    match step {
        Step::Launch(launch) => &launch.label,
        Step::Copy { .. } => "copy",
        Step::Bind { .. } => "bind",
        Step::Set { .. } => "set",
        Step::Check(_) => "check",
        Step::If { .. } => "if",
        Step::Loop(_) => "loop",
        Step::Host(host) => &host.op,
    }
}

/// The ONNX nodes that a step comes from.
pub(super) fn origins(step: &Step, target: &TargetProgram) -> Vec<String> {
    let indices = match step {
        Step::Launch(launch) => launch.origins.as_slice(),
        Step::Host(host) => host.origins.as_slice(),
        _ => &[],
    };
    indices.iter().map(|&origin| target.origins[origin].clone()).collect()
}
