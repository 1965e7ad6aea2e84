//! Sessions: a program bound to a device, with memory and threads of its own.

mod bind;
mod cpu;
mod late;
mod profile;
mod steps;

use std::sync::Arc;

use sardonyx_tensor::{DType, Tensor};

use crate::cpu::State;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::manifest::{BufferIndex, Place, TargetProgram};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::program::{Program, is_aligned};
use bind::Given;
use profile::Profile;
use steps::{Runner, Steps};

pub use profile::StepProfile;

/// Bindings whose plans a session keeps.
const PLANS: usize = 16;

/// An input in memory of the caller.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The name of the input.
    pub name: &'a str,
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: &'a [usize],
    /// The elements: row-major, aligned for their type. 64-byte alignment is fastest.
    pub bytes: &'a [u8],
}

/// An output in memory of the caller.
#[derive(Debug)]
pub struct Output<'a> {
    /// The name of the output.
    pub name: &'a str,
    /// As many bytes as the output has, aligned for its type.
    pub bytes: &'a mut [u8],
}

/// A program on a device: runs it, one run at a time.
///
/// After the first run with some input shapes, further runs with the same shapes allocate nothing, unless
/// the program has `host` steps or the caller keeps the outputs of [`Session::run`].
pub struct Session {
    program: Program,
    target: usize,
    device: Device,
    state: State,
    steps: Steps,
    /// The values of the input symbols and the plan for them, the last used first.
    plans: Vec<(Vec<i64>, Arc<Plan>)>,
    /// The buffer of each output.
    output_buffers: Vec<usize>,
    given: Vec<Option<Tensor>>,
    outputs: Vec<Tensor>,
}

impl Session {
    pub(crate) fn new(program: Program, index: usize, device: Device) -> Result<Session> {
        let (manifest, target) = (program.manifest(), program.target(index));
        let outputs = manifest.outputs.iter().map(|port| Tensor::zeros(port.dtype, [0])).collect();
        Ok(Session {
            state: State::new(program.code(index)?, device.thread_count(), target.buffers.len())?,
            steps: Steps::new(manifest, target),
            plans: Vec::new(),
            output_buffers: target.output_buffers(manifest.outputs.len()).into_iter().flatten().collect(),
            given: vec![None; manifest.inputs.len()],
            outputs,
            target: index,
            device,
            program,
        })
    }

    /// Runs the program on tensors, by input names, and gives its outputs in order.
    ///
    /// The outputs belong to the session: the next run writes into them again, unless the caller has cloned
    /// them (which is cheap), then into new ones.
    ///
    /// # Errors
    /// When an input is missing, unknown, or has a type or shape that does not fit, when sizes that should be
    /// equal are not, and when memory is not available.
    pub fn run<N: AsRef<str>>(&mut self, inputs: impl IntoIterator<Item = (N, Tensor)>) -> Result<&[Tensor]> {
        self.given.fill(None);
        for (name, tensor) in inputs {
            let index = self.input_index(name.as_ref())?;
            let tensor = match is_aligned(tensor.bytes(), tensor.dtype().size()) {
                true => tensor,
                false => Tensor::new(tensor.dtype(), tensor.shape(), tensor.bytes())
                    .expect("a copy of a tensor should be as valid as the tensor"),
            };
            if self.given[index].replace(tensor).is_some() {
                return Err(Error::DuplicateInput(name.as_ref().to_string()));
            }
        }
        let given = std::mem::take(&mut self.given);
        let result = self.execute(Given::Tensors(&given), &mut []);
        self.given = given;
        // The caller's tensors are not kept longer than needed.
        self.given.fill(None);
        result.map(|()| self.outputs.as_slice())
    }

    /// Runs the program on memory of the caller, without copies. Outputs that are not given are in
    /// [`Session::outputs`].
    ///
    /// # Errors
    /// As of [`Session::run`], and when the bytes of an input or output have not its size.
    pub fn run_into(&mut self, inputs: &[Input], outputs: &mut [Output]) -> Result<()> {
        for (at, input) in inputs.iter().enumerate() {
            self.input_index(input.name)?;
            if inputs[..at].iter().any(|other| other.name == input.name) {
                return Err(Error::DuplicateInput(input.name.to_string()));
            }
        }
        self.execute(Given::Borrowed(inputs), outputs)
    }

    /// The outputs of the last run, in order.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The target of the program that runs, such as `cpu:znver5`.
    pub fn target(&self) -> &str {
        &self.program.target(self.target).name
    }

    /// Bytes of the workspace for the shapes of the last run.
    pub fn workspace_size(&self) -> usize {
        self.plans.first().map_or(0, |(_, plan)| plan.workspace)
    }

    /// Starts measuring steps, from zero, or stops.
    pub fn set_profiling(&mut self, on: bool) {
        self.steps.profile = on.then(|| Profile::new(self.steps.numbers.count()));
    }

    /// What each step that was run took since profiling was switched on, in order.
    pub fn profile(&self) -> Vec<StepProfile> {
        let target = self.program.target(self.target);
        let value = |name: &str| self.steps.symbols.get(name);
        self.steps.profile.as_ref().map_or_else(Vec::new, |profile| profile.steps(target, &value))
    }

    fn input_index(&self, name: &str) -> Result<usize> {
        let ports = self.program.inputs();
        ports.iter().position(|port| port.name == name).ok_or_else(|| {
            let names: Vec<String> = ports.iter().map(|port| format!("`{}`", port.name)).collect();
            Error::UnknownInput { name: name.to_string(), known: names.join(", ") }
        })
    }

    /// The plan for the input symbols, the first of `self.plans`.
    fn find_plan(&mut self) -> Result<Arc<Plan>> {
        let symbols = &self.steps.symbols;
        match self.plans.iter().position(|(values, _)| symbols.inputs_are(values)) {
            Some(at) => self.plans[..=at].rotate_right(1),
            None => {
                let manifest = self.program.manifest();
                bind::check_constraints(manifest, symbols)?;
                let plan = Plan::new(manifest, self.program.target(self.target), &|name| symbols.get(name))?;
                self.plans.truncate(PLANS - 1);
                self.plans.insert(0, (symbols.input_values(), Arc::new(plan)));
            }
        }
        Ok(self.plans[0].1.clone())
    }

    fn execute(&mut self, given: Given, outputs: &mut [Output]) -> Result<()> {
        self.steps.symbols.bind(self.program.inputs(), &given)?;
        let plan = self.find_plan()?;
        self.prepare_outputs(&plan, outputs)?;
        let late = self.execute_cpu(&plan, &given, outputs)?;
        for LateOutput { port, shape, tensor } in late {
            let name = &self.program.outputs()[port].name;
            match outputs.iter_mut().find(|output| output.name == name) {
                Some(output) if output.bytes.len() == tensor.bytes().len() => {
                    output.bytes.copy_from_slice(tensor.bytes());
                }
                Some(output) => return Err(wrong_size(name, output.bytes.len(), tensor.bytes().len())),
                None => self.outputs[port] = tensor.reshaped(shape),
            }
        }
        Ok(())
    }

    /// Makes the session's own outputs fit, and checks those of the caller.
    fn prepare_outputs(&mut self, plan: &Plan, outputs: &[Output]) -> Result<()> {
        for (at, output) in outputs.iter().enumerate() {
            let port = output_index(&self.program, output.name)?;
            if outputs[..at].iter().any(|other| other.name == output.name) {
                return Err(Error::Buffer { name: output.name.into(), reason: "is given twice".into() });
            }
            let Some(size) = plan.sizes[self.output_buffers[port]] else { continue };
            let align = self.program.outputs()[port].dtype.size();
            if output.bytes.len() != size {
                return Err(wrong_size(output.name, output.bytes.len(), size));
            }
            if !is_aligned(output.bytes, align) {
                return Err(Error::Buffer { name: output.name.into(), reason: misaligned(align) });
            }
        }
        for (port, tensor) in self.outputs.iter_mut().enumerate() {
            let Some(shape) = &plan.outputs[port] else { continue };
            let name = &self.program.outputs()[port].name;
            if outputs.iter().any(|output| output.name == name) {
                continue;
            }
            if tensor.shape() != shape.as_slice() || tensor.unique_bytes_mut().is_none() {
                *tensor = Tensor::zeros(tensor.dtype(), shape.clone());
            }
            let size = plan.sizes[self.output_buffers[port]].unwrap_or(0);
            if tensor.bytes().len() != size {
                return Err(wrong_size(name, size, tensor.bytes().len()));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Session {{ {:?}, target: {:?} }}", self.program, self.target())
    }
}

fn output_index(program: &Program, name: &str) -> Result<usize> {
    let found = program.outputs().iter().position(|port| port.name == name);
    found.ok_or_else(|| Error::Buffer { name: name.to_string(), reason: "is of no output".into() })
}

fn wrong_size(name: &str, given: usize, expected: usize) -> Error {
    Error::Buffer { name: name.to_string(), reason: format!("has {given} bytes, not {expected}") }
}

fn misaligned(align: usize) -> String {
    format!("is not aligned to {align} bytes, the size of its elements")
}

/// Places the workspace.
fn place_workspace(memory: &mut dyn Memory, target: &TargetProgram, plan: &Plan) {
    for (index, buffer) in target.buffers.iter().enumerate() {
        if let Place::Workspace { .. } = buffer.place
            && let (Some(offset), Some(size)) = (plan.offsets[index], plan.sizes[index])
        {
            memory.place_workspace(index, offset, size);
        }
    }
}

/// An output whose shape the run decided.
struct LateOutput {
    port: usize,
    shape: Vec<usize>,
    tensor: Tensor,
}

/// The outputs whose shapes the run decided.
fn late_outputs(
    program: &Program,
    plan: &Plan,
    buffers: &[BufferIndex],
    runner: &mut Runner,
) -> Result<Vec<LateOutput>> {
    let is_late = |port: usize| plan.outputs[port].is_none();
    let late: Vec<BufferIndex> =
        (0..buffers.len()).filter(|&port| is_late(port)).map(|port| buffers[port]).collect();
    if late.is_empty() {
        return Ok(Vec::new());
    }
    runner.bring(&late)?;
    let mut found = Vec::new();
    for (index, port) in program.outputs().iter().enumerate().filter(|&(index, _)| is_late(index)) {
        let (shape, bytes) = runner.shape_and_bytes(&port.shape, buffers[index], &port.name)?;
        let tensor = Tensor::new(port.dtype, shape.clone(), bytes);
        let tensor =
            tensor.map_err(|error| Error::Buffer { name: port.name.clone(), reason: error.to_string() })?;
        found.push(LateOutput { port: index, shape, tensor });
    }
    Ok(found)
}
