//! The programs of a file that a session runs: one for all sizes, and those for some sizes alone.

use super::profile::Profile;
use super::steps::Steps;
use super::{Instance, Machine, Session};
use crate::cpu;
use crate::device::Device;
use crate::error::Result;
use crate::gpu::{self, Context};
use crate::program::Program;

impl Instance {
    pub fn new(program: &Program, device: &Device, index: usize, threads: usize) -> Result<Instance> {
        let (manifest, target) = (program.manifest(), program.target(index));
        let machine = match device.as_gpu() {
            None => Machine::Cpu(cpu::State::new(program.code(index)?, threads, target.buffers.len())?),
            Some((platform, number)) => {
                let context = Context::get(platform, number)?;
                let loaded = program.loaded(index, &context)?;
                Machine::Gpu(Box::new(gpu::State::new(context, loaded, manifest, target)?))
            }
        };
        Ok(Instance {
            target: index,
            machine,
            constants: program.constants(index, device.thread_count())?,
            steps: Steps::new(manifest, target),
            plans: Vec::new(),
            output_buffers: target.output_buffers(manifest.outputs.len()).into_iter().flatten().collect(),
        })
    }
}

impl Session {
    /// Turns to the program for the sizes of the inputs; whether that is another one than before.
    pub(super) fn choose(&mut self) -> Result<bool> {
        let Some(&first) = self.special.first() else { return Ok(false) };
        let symbols = &self.active.steps.symbols;
        let fits = |&index: &usize| {
            let mut sizes = self.program.target(index).sizes.iter();
            sizes.all(|(symbol, &size)| symbols.get(symbol) == Some(size))
        };
        let general = || {
            let targets = &self.program.manifest().targets;
            let name = &targets[first].name;
            targets.iter().position(|target| target.name == *name && target.sizes.is_empty())
        };
        let wanted = self.special.iter().copied().find(fits).or_else(general);
        let wanted = wanted.expect("a program for all sizes should have been checked for");
        if wanted == self.active.target {
            return Ok(false);
        }
        let mut next = match self.others.iter().position(|other| other.target == wanted) {
            Some(at) => self.others.swap_remove(at),
            // Threads are handed on.
            None => Instance::new(&self.program, &self.device, wanted, 1)?,
        };
        std::mem::swap(&mut next.steps.heap, &mut self.active.steps.heap);
        next.steps.profile = match self.active.steps.profile {
            None => None,
            Some(_) => {
                let new = || Profile::new(next.steps.numbers.count());
                Some(next.steps.profile.take().unwrap_or_else(new))
            }
        };
        if let (Machine::Cpu(old), Machine::Cpu(new)) = (&mut self.active.machine, &mut next.machine) {
            old.swap_threads(new);
        }
        self.others.push(std::mem::replace(&mut self.active, next));
        Ok(true)
    }
}
