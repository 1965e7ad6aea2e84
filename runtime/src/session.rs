//! Sessions: a program bound to a device, with memory and threads of its own.

mod bind;
mod late;
mod profile;
mod steps;

use std::sync::Arc;

use sardonyx_tensor::{DType, Tensor};

use crate::cpu::{Code, Memory, Pool, Running};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::manifest::{Place, TargetProgram};
use crate::plan::Plan;
use crate::program::{Program, is_aligned};
use bind::{Given, Symbols};
use late::Late;
use profile::Profile;
use steps::{Numbers, Runner};

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
    code: Arc<Code>,
    pool: Pool,
    memory: Memory,
    numbers: Numbers,
    late: Late,
    symbols: Symbols,
    /// The values of the input symbols and the plan for them, the last used first.
    plans: Vec<(Vec<i64>, Arc<Plan>)>,
    /// The buffer of each output.
    output_buffers: Vec<usize>,
    given: Vec<Option<Tensor>>,
    outputs: Vec<Tensor>,
    dims: Vec<i64>,
    profile: Option<Profile>,
}

impl Session {
    pub(crate) fn new(program: Program, index: usize, device: Device) -> Result<Session> {
        let code = program.code(index)?;
        let (manifest, target) = (program.manifest(), program.target(index));
        let buffer = |output| target.buffers.iter().position(|buffer| buffer.place == Place::Output(output));
        let outputs = manifest.outputs.iter().map(|port| Tensor::zeros(port.dtype, [0])).collect();
        let pool = Pool::new(device.thread_count())
            .map_err(|source| Error::Io { file: "the system's threads".into(), source })?;
        Ok(Session {
            code,
            pool,
            memory: Memory::new(target.buffers.len()),
            numbers: Numbers::new(&target.steps),
            late: Late::new(target),
            symbols: Symbols::new(manifest, target),
            plans: Vec::new(),
            output_buffers: (0..manifest.outputs.len()).filter_map(buffer).collect(),
            given: vec![None; manifest.inputs.len()],
            outputs,
            dims: Vec::new(),
            profile: None,
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
        self.profile = on.then(|| Profile::new(self.numbers.count()));
    }

    /// What each step that was run took since profiling was switched on, in order.
    pub fn profile(&self) -> Vec<StepProfile> {
        let target = self.program.target(self.target);
        let value = |name: &str| self.symbols.get(name);
        self.profile.as_ref().map_or_else(Vec::new, |profile| profile.steps(target, &value))
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
        let symbols = &self.symbols;
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
        self.symbols.bind(self.program.inputs(), &given)?;
        let plan = self.find_plan()?;
        let no_memory = |bytes: usize, what: &str| Error::Memory { bytes: bytes as u64, what: what.into() };
        let reserved = self.memory.reserve_workspace(plan.workspace);
        reserved.ok_or_else(|| no_memory(plan.workspace, "the workspace"))?;
        let reserved = self.pool.reserve_scratch(plan.scratch);
        reserved.ok_or_else(|| no_memory(plan.scratch, "scratch memory"))?;
        self.prepare_outputs(&plan, outputs)?;

        let (program, target) = (&self.program, self.program.target(self.target));
        let mut memory = self.memory.begin();
        place_constant(&mut memory, program, target, &plan, &given)?;
        for output in outputs.iter_mut() {
            let port = output_index(program, output.name)?;
            if plan.outputs[port].is_some() {
                memory.place_output(self.output_buffers[port], output.bytes);
            }
        }
        for (port, tensor) in self.outputs.iter_mut().enumerate() {
            let buffer = self.output_buffers[port];
            if plan.outputs[port].is_some() && !memory.is_placed(buffer) {
                let bytes = tensor.unique_bytes_mut().expect("outputs should have been made unique");
                memory.place_output(buffer, bytes);
            }
        }
        self.late.place_known(&mut memory, target, &plan)?;
        let mut runner = Runner {
            target,
            code: &self.code,
            plan: &plan,
            numbers: &self.numbers,
            late: &self.late,
            symbols: &mut self.symbols,
            memory: &mut memory,
            pool: &mut self.pool,
            dims: &mut self.dims,
            profile: self.profile.as_mut(),
        };
        runner.run(&target.steps, 0)?;
        let late: Vec<(usize, Vec<usize>, Tensor)> =
            late_outputs(program, &plan, &self.output_buffers, &runner)?;
        for (port, shape, tensor) in late {
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

/// Places inputs, weights and the workspace.
fn place_constant<'a>(
    memory: &mut Running<'a>,
    program: &'a Program,
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
                if input.bytes.len() < size {
                    return Err(wrong_size(&port.name, input.bytes.len(), size));
                }
                memory.place_input(index, input.bytes);
            }
            Place::Weight(weight) => {
                memory.place_input(index, &program.bytes()[program.weight_range(*weight)])
            }
            Place::Workspace { .. } => {
                if let (Some(offset), Some(size)) = (plan.offsets[index], plan.sizes[index]) {
                    memory.place_workspace(index, offset, size);
                }
            }
            Place::Output(_) | Place::Alias { .. } | Place::Late => {}
        }
    }
    Ok(())
}

/// The outputs whose shapes the run decided, with their shapes.
fn late_outputs(
    program: &Program,
    plan: &Plan,
    buffers: &[usize],
    runner: &Runner,
) -> Result<Vec<(usize, Vec<usize>, Tensor)>> {
    let mut found = Vec::new();
    for (index, port) in program.outputs().iter().enumerate() {
        if plan.outputs[index].is_some() {
            continue;
        }
        let (shape, bytes) = runner.shape_and_bytes(&port.shape, buffers[index], &port.name)?;
        let tensor = Tensor::new(port.dtype, shape.clone(), bytes);
        let tensor =
            tensor.map_err(|error| Error::Buffer { name: port.name.clone(), reason: error.to_string() })?;
        found.push((index, shape, tensor));
    }
    Ok(found)
}
