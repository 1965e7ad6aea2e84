//! Sessions: a program bound to a device, with memory and threads of its own.

mod bind;
mod cpu;
mod gpu;
mod instance;
mod late;
mod profile;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_tensor::{DType, Tensor};

use crate::cpu::Constants;
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::gpu::{Context, DeviceBuffer, Replays};
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

/// An input on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct DeviceInput<'a> {
    /// The name of the input.
    pub name: &'a str,
    /// The element type.
    pub dtype: DType,
    /// The shape.
    pub shape: &'a [usize],
    /// The elements: row-major, as many bytes as the buffer has.
    pub buffer: &'a DeviceBuffer,
}

/// An output on a GPU.
#[derive(Debug)]
pub struct DeviceOutput<'a> {
    /// The name of the output.
    pub name: &'a str,
    /// A buffer of as many bytes as the output has.
    pub buffer: &'a mut DeviceBuffer,
}

/// A program on a device: runs it, one run at a time.
///
/// After the first run with some input shapes, further runs with the same shapes allocate nothing, unless
/// the program has `host` steps, texts or lists, or the caller keeps the outputs of [`Session::run`].
pub struct Session {
    program: Program,
    device: Device,
    /// What ran last.
    active: Instance,
    /// What ran before, for other sizes.
    others: Vec<Instance>,
    /// The programs for some sizes alone.
    special: Vec<usize>,
    given: Vec<Option<Tensor>>,
    outputs: Vec<Tensor>,
}

/// What a session has on its device.
enum Machine {
    Cpu(crate::cpu::State),
    Gpu(Box<crate::gpu::State>),
}

/// One of the file's programs, with what it has on the device.
struct Instance {
    target: usize,
    machine: Machine,
    /// What is made of weights for it.
    constants: Arc<Constants>,
    steps: Steps,
    /// What is known of bindings, the last used first.
    plans: Vec<Bound>,
    /// The buffer of each output.
    output_buffers: Vec<usize>,
}

/// A binding of the input symbols.
struct Bound {
    /// Their values.
    values: Vec<i64>,
    plan: Arc<Plan>,
    /// What a GPU recorded of runs.
    replays: Replays,
}

/// Where the caller wants outputs: in memory of the host, and on the device.
struct Outputs<'o, 'h, 'd> {
    host: &'o mut [Output<'h>],
    device: &'o mut [DeviceOutput<'d>],
}

impl Session {
    pub(crate) fn new(program: Program, device: Device) -> Result<Session> {
        let targets = &program.manifest().targets;
        let general = match device.as_gpu() {
            None => device::select_cpu(targets)?,
            Some((platform, number)) => device::select_gpu(targets, &Context::get(platform, number)?.info)?,
        };
        let active = Instance::new(&program, &device, general, device.thread_count())?;
        let special = |&(_, target): &(usize, &TargetProgram)| {
            target.name == targets[general].name && !target.sizes.is_empty()
        };
        let special = targets.iter().enumerate().filter(special).map(|(index, _)| index).collect();
        let manifest = program.manifest();
        let outputs = manifest.outputs.iter().map(|port| Tensor::zeros(port.dtype, [0])).collect();
        let (given, others) = (vec![None; manifest.inputs.len()], Vec::new());
        Ok(Session { active, others, special, given, outputs, device, program })
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
        self.forget_texts();
        for (name, tensor) in inputs {
            let index = self.input_index(name.as_ref())?;
            let tensor =
                if tensor.dtype().is_reference() { self.active.steps.heap.adopt(&tensor) } else { tensor };
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
        let outputs = Outputs { host: &mut [], device: &mut [] };
        let result = self.execute(Given::Tensors(&given), outputs);
        self.given = given;
        // The caller's tensors are not kept longer than needed.
        self.given.fill(None);
        result?;
        for output in self.outputs.iter_mut().filter(|output| output.dtype().is_reference()) {
            *output = self.active.steps.heap.released(output);
        }
        Ok(&self.outputs)
    }

    /// Runs the program on memory of the caller, without copies. Outputs that are not given are in
    /// [`Session::outputs`].
    ///
    /// # Errors
    /// As of [`Session::run`], when the bytes of an input or output have not its size, and when an input or output
    /// of the program has texts or lists, which are no bytes.
    pub fn run_into(&mut self, inputs: &[Input], outputs: &mut [Output]) -> Result<()> {
        self.check_names(inputs.iter().map(|input| input.name))?;
        self.begin_with_bytes()?;
        self.execute(Given::Borrowed(inputs, &[]), Outputs { host: outputs, device: &mut [] })
    }

    /// Runs the program on memory of its GPU, without copies: inputs are those in memory of the host and those
    /// on the device together. Outputs that are not given are in [`Session::outputs`].
    ///
    /// # Errors
    /// As of [`Session::run_into`], and when a buffer is on another device than the session.
    pub fn run_device(
        &mut self,
        inputs: &[Input],
        on_device: &[DeviceInput],
        outputs: &mut [DeviceOutput],
    ) -> Result<()> {
        let names = inputs.iter().map(|input| input.name);
        self.check_names(names.chain(on_device.iter().map(|input| input.name)))?;
        let inputs_here = on_device.iter().map(|input| (input.name, input.buffer));
        let outputs_here = outputs.iter().map(|output| (output.name, &*output.buffer));
        for (name, buffer) in inputs_here.chain(outputs_here) {
            if buffer.device().as_gpu() != self.device.as_gpu() {
                let reason = format!("is on {}, the session on {}", buffer.device(), self.device);
                return Err(Error::Buffer { name: name.to_string(), reason });
            }
        }
        self.begin_with_bytes()?;
        self.execute(Given::Borrowed(inputs, on_device), Outputs { host: &mut [], device: outputs })
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

    /// The sizes that the program which ran last is for alone, by input symbol; none if it is for all.
    pub fn sizes(&self) -> &BTreeMap<String, i64> {
        &self.program.target(self.active.target).sizes
    }

    /// The target of the program that runs, such as `cpu:znver5`.
    pub fn target(&self) -> &str {
        &self.program.target(self.active.target).name
    }

    /// The vendor's libraries that were found, and of the launches that were run how many each computes: those
    /// that it was faster at. Empty on CPUs and for programs compiled without libraries.
    pub fn libraries(&self) -> Vec<(&'static str, usize)> {
        match &self.active.machine {
            Machine::Cpu(_) => Vec::new(),
            Machine::Gpu(state) => state.libraries(),
        }
    }

    /// Bytes of the workspace for the shapes of the last run.
    pub fn workspace_size(&self) -> usize {
        self.active.plans.first().map_or(0, |bound| bound.plan.workspace)
    }

    /// Starts measuring steps, from zero, or stops.
    pub fn set_profiling(&mut self, on: bool) {
        self.active.steps.profile = on.then(|| Profile::new(self.active.steps.numbers.count()));
    }

    /// What each step that was run took since profiling was switched on, in order.
    pub fn profile(&self) -> Vec<StepProfile> {
        let target = self.program.target(self.active.target);
        let value = |name: &str| self.active.steps.symbols.get(name);
        self.active.steps.profile.as_ref().map_or_else(Vec::new, |profile| profile.steps(target, &value))
    }

    /// Every name is of an input, and none is given twice.
    fn check_names<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        for (at, name) in names.clone().enumerate() {
            self.input_index(name)?;
            if names.clone().take(at).any(|other| other == name) {
                return Err(Error::DuplicateInput(name.to_string()));
            }
        }
        Ok(())
    }

    /// Before a run on bytes of the caller: fails where an input or output has texts or lists.
    fn begin_with_bytes(&mut self) -> Result<()> {
        let mut ports = self.program.inputs().iter().chain(self.program.outputs());
        if let Some(port) = ports.find(|port| port.dtype.is_reference()) {
            let reason = format!("cannot be given: elements of type {} are no bytes", port.dtype);
            return Err(Error::Buffer { name: port.name.clone(), reason });
        }
        self.forget_texts();
        Ok(())
    }

    /// Forgets the texts and lists of the last run.
    fn forget_texts(&mut self) {
        self.active.steps.heap.truncate(self.program.manifest().texts.len());
    }

    fn input_index(&self, name: &str) -> Result<usize> {
        let ports = self.program.inputs();
        ports.iter().position(|port| port.name == name).ok_or_else(|| {
            let names: Vec<String> = ports.iter().map(|port| format!("`{}`", port.name)).collect();
            Error::UnknownInput { name: name.to_string(), known: names.join(", ") }
        })
    }

    /// The plan for the input symbols, the first of `self.active.plans`.
    fn find_plan(&mut self) -> Result<Arc<Plan>> {
        let symbols = &self.active.steps.symbols;
        match self.active.plans.iter().position(|bound| symbols.inputs_are(&bound.values)) {
            Some(at) => self.active.plans[..=at].rotate_right(1),
            None => {
                let manifest = self.program.manifest();
                bind::check_constraints(manifest, symbols)?;
                let plan =
                    Plan::new(manifest, self.program.target(self.active.target), &|name| symbols.get(name))?;
                self.active.plans.truncate(PLANS - 1);
                let (values, plan, replays) = (symbols.input_values(), Arc::new(plan), Replays::default());
                self.active.plans.insert(0, Bound { values, plan, replays });
            }
        }
        Ok(self.active.plans[0].plan.clone())
    }

    fn execute(&mut self, given: Given, mut outputs: Outputs) -> Result<()> {
        self.active.steps.symbols.bind(self.program.inputs(), &given)?;
        if self.choose()? {
            self.active.steps.symbols.bind(self.program.inputs(), &given)?;
        }
        let plan = self.find_plan()?;
        self.prepare_outputs(&plan, &outputs)?;
        let late = match &self.active.machine {
            Machine::Cpu(_) => self.execute_cpu(&plan, &given, outputs.host)?,
            Machine::Gpu(_) => self.execute_gpu(&plan, &given, &mut outputs)?,
        };
        for LateOutput { port, shape, tensor } in late {
            let name = &self.program.outputs()[port].name;
            match outputs.host.iter_mut().find(|output| output.name == name) {
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
    fn prepare_outputs(&mut self, plan: &Plan, outputs: &Outputs) -> Result<()> {
        let host = outputs.host.iter().map(|output| (output.name, output.bytes.len(), Some(&*output.bytes)));
        let device = outputs.device.iter().map(|output| (output.name, output.buffer.size(), None));
        let all = host.chain(device);
        for (at, (name, given, bytes)) in all.clone().enumerate() {
            let port = output_index(&self.program, name)?;
            if all.clone().take(at).any(|(other, ..)| other == name) {
                return Err(Error::Buffer { name: name.into(), reason: "is given twice".into() });
            }
            let Some(size) = plan.sizes[self.active.output_buffers[port]] else { continue };
            let align = self.program.outputs()[port].dtype.size();
            if given != size {
                return Err(wrong_size(name, given, size));
            }
            if bytes.is_some_and(|bytes| !is_aligned(bytes, align)) {
                return Err(Error::Buffer { name: name.into(), reason: misaligned(align) });
            }
        }
        for (port, tensor) in self.outputs.iter_mut().enumerate() {
            let Some(shape) = &plan.outputs[port] else { continue };
            let name = &self.program.outputs()[port].name;
            if all.clone().any(|(given, ..)| given == name) {
                continue;
            }
            if tensor.shape() != shape.as_slice() || tensor.unique_bytes_mut().is_none() {
                *tensor = Tensor::zeros(tensor.dtype(), shape.clone());
            }
            let size = plan.sizes[self.active.output_buffers[port]].unwrap_or(0);
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
