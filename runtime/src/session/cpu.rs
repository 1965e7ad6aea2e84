//! A run on the CPU: inputs, outputs and weights are used where they are.

use super::bind::{Data, Given};
use super::{LateOutput, Machine, Output, Session, late_outputs, output_index, place_workspace, wrong_size};
use crate::cpu::{Constants, Running};
use crate::error::{Error, Result};
use crate::manifest::{Place, TargetProgram};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::program::Program;

impl Session {
    /// Runs the program; outputs of known size are written where they belong, the others returned.
    pub(super) fn execute_cpu(
        &mut self,
        plan: &Plan,
        given: &Given,
        outputs: &mut [Output],
    ) -> Result<Vec<LateOutput>> {
        let Machine::Cpu(state) = &mut self.active.machine else {
            unreachable!("the session should be on the CPU")
        };
        state.reserve(plan)?;
        let (program, target) = (&self.program, self.program.target(self.active.target));
        let mut memory = state.begin();
        place_constant(&mut memory, program, &self.active.constants, target, plan, given)?;
        place_workspace(&mut memory, target, plan);
        for output in outputs.iter_mut() {
            let port = output_index(program, output.name)?;
            if plan.outputs[port].is_some() {
                memory.place_output(self.active.output_buffers[port], output.bytes);
            }
        }
        for (port, tensor) in self.outputs.iter_mut().enumerate() {
            let buffer = self.active.output_buffers[port];
            if plan.outputs[port].is_some() && memory.size(buffer).is_none() {
                let bytes = tensor.unique_bytes_mut().expect("outputs should have been made unique");
                memory.place_output(buffer, bytes);
            }
        }
        self.active.steps.late.place_known(&mut memory, target, plan)?;
        let mut runner = self.active.steps.runner(target, plan, &mut memory);
        runner.run(&target.steps, 0)?;
        late_outputs(program, plan, &self.active.output_buffers, &mut runner)
    }
}

/// Places inputs and weights.
fn place_constant<'a>(
    memory: &mut Running<'a>,
    program: &'a Program,
    constants: &'a Constants,
    target: &TargetProgram,
    plan: &Plan,
    given: &Given<'a>,
) -> Result<()> {
    for (index, buffer) in target.buffers.iter().enumerate() {
        match &buffer.place {
            Place::Input(input) => {
                let port = &program.inputs()[*input];
                let input =
                    given.get(*input, &port.name).ok_or_else(|| Error::MissingInput(port.name.clone()))?;
                let size = plan.sizes[index].unwrap_or(0);
                let Data::Host(bytes) = input.data else {
                    unreachable!("a session on the CPU should be given memory of the host")
                };
                if bytes.len() < size {
                    return Err(wrong_size(&port.name, bytes.len(), size));
                }
                memory.place_input(index, bytes);
            }
            Place::Weight(weight) => {
                memory.place_input(index, &program.bytes()[program.weight_range(*weight)])
            }
            Place::Packed(packed) => memory.place_input(index, constants.bytes(*packed)),
            Place::Workspace { .. } | Place::Output(_) | Place::Alias { .. } | Place::Late => {}
        }
    }
    Ok(())
}
