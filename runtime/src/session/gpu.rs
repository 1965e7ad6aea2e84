//! A run on a GPU: inputs and outputs go through fixed memory of the device, unless the caller's are there.

use super::bind::{Data, Given};
use super::steps::step_error;
use super::{
    Bound, LateOutput, Machine, Outputs, Session, late_outputs, output_index, place_workspace, wrong_size,
};
use crate::error::{Error, Result};
use crate::gpu::Running;
use crate::manifest::{BufferIndex, Place, Step, TargetProgram, walk};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::program::Program;

impl Session {
    /// Runs the program; outputs of known size are written where they belong, the others returned, unless
    /// the caller's memory for them is on the device.
    pub(super) fn execute_gpu(
        &mut self,
        plan: &Plan,
        given: &Given,
        outputs: &mut Outputs,
    ) -> Result<Vec<LateOutput>> {
        let result = self.run_on_gpu(plan, given, outputs);
        let Machine::Gpu(state) = &mut self.active.machine else {
            unreachable!("the session should be on a GPU")
        };
        let error = match result {
            Ok(late) => {
                if let Some(profile) = &mut self.active.steps.profile {
                    state.times().for_each(|(step, time)| profile.add(step, time));
                }
                return Ok(late);
            }
            Err(error) => error,
        };
        state.quiesce();
        Err(match (state.fault(), error) {
            (Some(step), Error::Device { device, reason, .. }) => name_fault(
                step,
                self.program.target(self.active.target),
                format!("{device} faulted: {reason}"),
            ),
            (_, error) => error,
        })
    }

    fn run_on_gpu(&mut self, plan: &Plan, given: &Given, outputs: &mut Outputs) -> Result<Vec<LateOutput>> {
        let Machine::Gpu(state) = &mut self.active.machine else {
            unreachable!("the session should be on a GPU")
        };
        let (program, target) = (&self.program, self.program.target(self.active.target));
        state.reserve(plan, staged(program, plan, given, &self.active.output_buffers))?;
        let mut memory = state.begin();
        place_constant(&mut memory, program, target, plan, given)?;
        place_workspace(&mut memory, target, plan);
        let mut taken: Vec<(usize, BufferIndex)> = Vec::new();
        for (port, &buffer) in self.active.output_buffers.iter().enumerate() {
            let (Some(_), Some(size)) = (&plan.outputs[port], plan.sizes[buffer]) else { continue };
            let name = &program.outputs()[port].name;
            match outputs.device.iter().find(|output| output.name == name) {
                Some(output) => memory.place_device(buffer, output.buffer, size, true),
                None => {
                    memory.place_output(buffer, port, size)?;
                    taken.push((port, buffer));
                }
            }
        }
        self.active.steps.late.place_known(&mut memory, target, plan)?;

        let Bound { replays, .. } = &mut self.active.plans[0];
        let repeats = self.active.steps.profile.is_none()
            && target.steps.iter().all(|step| matches!(step, Step::Launch(_) | Step::Copy { .. }));
        let steps = &mut self.active.steps;
        let run = |memory: &mut Running| steps.runner(target, plan, memory).run(&target.steps, 0);
        memory.run(replays, repeats, run)?;

        let mut runner = steps.runner(target, plan, &mut memory);
        let mut late = late_outputs(program, plan, &self.active.output_buffers, &mut runner)?;
        for output in outputs.device.iter() {
            let port = output_index(program, output.name)?;
            let Some(at) = late.iter().position(|late| late.port == port) else { continue };
            let size = late.remove(at).tensor.bytes().len();
            if !memory.copy_to_device(self.active.output_buffers[port], size, output.buffer)? {
                return Err(wrong_size(output.name, output.buffer.size(), size));
            }
        }
        let parts: Vec<(BufferIndex, usize)> =
            taken.iter().map(|&(_, buffer)| (buffer, plan.sizes[buffer].unwrap_or(0))).collect();
        memory.bring(&parts)?;
        for (port, buffer) in taken {
            let bytes = memory.bytes(buffer).expect("outputs should have been brought");
            let name = &program.outputs()[port].name;
            match outputs.host.iter_mut().find(|output| output.name == name) {
                Some(output) => output.bytes.copy_from_slice(bytes),
                None => {
                    let tensor = self.outputs[port].unique_bytes_mut();
                    tensor.expect("outputs should have been made unique").copy_from_slice(bytes);
                }
            }
        }
        Ok(late)
    }
}

/// Bytes of inputs and outputs that are copied through memory of the host, with room to align them.
fn staged(program: &Program, plan: &Plan, given: &Given, output_buffers: &[BufferIndex]) -> usize {
    let input = |(index, name): (usize, &str)| match given.get(index, name)?.data {
        Data::Host(bytes) => Some(bytes.len()),
        Data::Device(_) => None,
    };
    let names = program.inputs().iter().map(|port| port.name.as_str());
    let inputs = names.enumerate().filter_map(input);
    let outputs = output_buffers.iter().filter_map(|&buffer| plan.sizes[buffer]);
    inputs.chain(outputs).map(|size| size.next_multiple_of(64)).sum()
}

/// Places inputs and weights.
fn place_constant(
    memory: &mut Running,
    program: &Program,
    target: &TargetProgram,
    plan: &Plan,
    given: &Given,
) -> Result<()> {
    for (index, buffer) in target.buffers.iter().enumerate() {
        match buffer.place {
            Place::Input(input) => {
                let port = &program.inputs()[input];
                let value =
                    given.get(input, &port.name).ok_or_else(|| Error::MissingInput(port.name.clone()))?;
                let size = plan.sizes[index].unwrap_or(0);
                if value.data.size() < size {
                    return Err(wrong_size(&port.name, value.data.size(), size));
                }
                let first =
                    target.buffers[..index].iter().all(|earlier| earlier.place != Place::Input(input));
                match value.data {
                    Data::Host(bytes) => memory.place_input(index, input, bytes, first)?,
                    Data::Device(buffer) => memory.place_device(index, buffer, buffer.size(), false),
                }
            }
            Place::Weight(weight) => memory.place_weight(index, weight),
            Place::Packed(_) => unreachable!("programs of GPUs should have no panels"),
            Place::Workspace { .. } | Place::Output(_) | Place::Alias { .. } | Place::Late => {}
        }
    }
    Ok(())
}

/// The error of the step of this number.
fn name_fault(number: usize, target: &TargetProgram, reason: String) -> Error {
    let mut found = None;
    walk(&target.steps, &mut |at, step| {
        if at == number {
            found = Some(step);
        }
    });
    step_error(found.expect("a step that was launched should be there"), number, target, reason)
}
