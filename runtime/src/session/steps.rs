//! Running steps.

use std::time::Instant;

use sardonyx_tensor::{Dim, Heap, Tensor};

use super::bind::{Symbols, check_constraint};
use super::late::Late;
use super::profile::{Profile, label, origins};
use crate::error::{Error, Result};
use crate::host::{self, View};
use crate::manifest::{
    BufferIndex, Host, Launch, Loop, Manifest, Scan, Step, TargetProgram, Trip, count_steps, walk,
};
use crate::memory::{self, Done, Fault, Memory, unplaced};
use crate::plan::{self, Plan};

/// The numbers of steps.
pub(super) struct Numbers {
    /// For each step, the number behind all that are nested in it.
    end: Vec<usize>,
    /// For each `if`, the number of the first step of `otherwise`.
    otherwise: Vec<usize>,
}

impl Numbers {
    pub fn new(steps: &[Step]) -> Numbers {
        let (mut end, mut otherwise) = (Vec::new(), Vec::new());
        walk(steps, &mut |number, step| {
            end.push(number + step.count());
            otherwise.push(match step {
                Step::If { then, .. } => number + 1 + count_steps(then),
                _ => 0,
            });
        });
        Numbers { end, otherwise }
    }

    /// How many steps there are.
    pub fn count(&self) -> usize {
        self.end.len()
    }
}

/// What running steps needs besides memory, kept from run to run.
pub(super) struct Steps {
    pub numbers: Numbers,
    pub late: Late,
    pub symbols: Symbols,
    /// Dimension parameters of launches that the plan could not compute.
    dims: Vec<i64>,
    pub profile: Option<Profile>,
    /// What elements of reference types are numbers in.
    pub heap: Heap,
}

impl Steps {
    pub fn new(manifest: &Manifest, target: &TargetProgram) -> Steps {
        Steps {
            numbers: Numbers::new(&target.steps),
            late: Late::new(target),
            symbols: Symbols::new(manifest, target),
            dims: Vec::new(),
            profile: None,
            heap: Heap::of_texts(&manifest.texts),
        }
    }

    /// A run in this memory.
    pub fn runner<'a>(
        &'a mut self,
        target: &'a TargetProgram,
        plan: &'a Plan,
        memory: &'a mut dyn Memory,
    ) -> Runner<'a> {
        Runner { target, plan, state: self, memory }
    }
}

/// All that a run needs.
pub(super) struct Runner<'a> {
    target: &'a TargetProgram,
    plan: &'a Plan,
    state: &'a mut Steps,
    memory: &'a mut dyn Memory,
}

/// The error of a step.
pub(super) fn step_error(step: &Step, number: usize, target: &TargetProgram, reason: String) -> Error {
    let origins = origins(step, target);
    let label = match origins.is_empty() {
        true => label(step).to_string(),
        false => format!("{} from {}", label(step), origins.join(", ")),
    };
    Error::Step { number, label, reason }
}

impl<'a> Runner<'a> {
    /// Runs steps, of which the first has this number.
    pub fn run(&mut self, steps: &'a [Step], first: usize) -> Result<()> {
        let mut number = first;
        for step in steps {
            let done = match self.state.profile {
                None => self.step(step, number),
                Some(_) => self.measure(step, number),
            };
            done.map_err(|fault| self.error(fault, step, number))?;
            number = self.state.numbers.end[number];
        }
        Ok(())
    }

    /// Runs a step and notes what it took.
    fn measure(&mut self, step: &'a Step, number: usize) -> Done {
        let leaf = matches!(step, Step::Launch(_) | Step::Copy { .. });
        let by_device = leaf && self.memory.start_timing()?;
        let start = Instant::now();
        self.step(step, number)?;
        if by_device {
            self.memory.stop_timing(number)?;
        } else if let Some(profile) = &mut self.state.profile {
            profile.add(number, start.elapsed());
        }
        Ok(())
    }

    fn error(&self, fault: Fault, step: &Step, number: usize) -> Error {
        match fault {
            Fault::Error(error) => error,
            Fault::Reason(reason) => step_error(step, number, self.target, reason),
        }
    }

    fn step(&mut self, step: &'a Step, number: usize) -> Done {
        match step {
            Step::Launch(launch) => self.launch(launch, number),
            Step::Copy { src, dst } => self.copy(*src, *dst),
            Step::Bind { buffer, symbols } => {
                let size = self.target.buffers[*buffer].dtype.size();
                self.memory.bring(&[(*buffer, symbols.len() * size)])?;
                for (at, symbol) in symbols.iter().enumerate() {
                    let value = self.brought_integer(*buffer, at)?;
                    self.state.symbols.set(symbol, value);
                }
                symbols.iter().try_for_each(|symbol| self.place_for(symbol))
            }
            Step::Set { symbol, value } => {
                let value = self.eval(value)?;
                self.state.symbols.set(symbol, value);
                self.place_for(symbol)
            }
            Step::Check(constraint) => Ok(check_constraint(constraint, &self.state.symbols)?),
            Step::If { condition, then, otherwise } => match self.integer(*condition, 0)? != 0 {
                true => Ok(self.run(then, number + 1)?),
                false => Ok(self.run(otherwise, self.state.numbers.otherwise[number])?),
            },
            Step::Loop(inner) => self.repeat(inner, number),
            Step::Host(call) => self.host(call),
        }
    }

    fn launch(&mut self, launch: &Launch, number: usize) -> Done {
        let Steps { symbols, dims, .. } = &mut *self.state;
        let late;
        let (planned, dims) = match &self.plan.launches[number] {
            Some(planned) => (planned, &self.plan.dims),
            None => {
                let kernel = &self.target.kernels[launch.kernel];
                dims.clear();
                late = plan::resolve(number, launch, kernel, &|name| symbols.get(name), dims)?
                    .ok_or_else(|| "a symbol of its sizes has no value".to_string())?;
                (&late, &*dims)
            }
        };
        let sizes = memory::Launch {
            step: number,
            dims: &dims[planned.dims.clone()],
            grid: planned.grid,
            scratch: planned.scratch,
            work: planned.work,
            library: planned.library.as_ref(),
        };
        if self.plan.launches[number].is_none() {
            self.memory.reserve_scratch(&sizes)?;
        }
        self.memory.launch(launch.kernel, &launch.args, &sizes)
    }

    fn copy(&mut self, src: BufferIndex, dst: BufferIndex) -> Done {
        let size = self.size(src)?;
        if self.memory.copy((src, 0), (dst, 0), size)? {
            return Ok(());
        }
        let room = self.size(dst)?;
        Err(format!("{size} bytes of buffer {src} do not fit into the {room} bytes of buffer {dst}").into())
    }

    fn repeat(&mut self, inner: &'a Loop, number: usize) -> Done {
        let limit = match &inner.trip {
            Some(Trip::Buffer(buffer)) => self.integer(*buffer, 0)?,
            Some(Trip::Dim(dim)) => self.eval(dim)?,
            None => i64::MAX,
        };
        let mut iteration = 0usize;
        while (iteration as i64) < limit {
            if let Some(condition) = inner.condition
                && self.integer(condition, 0)? == 0
            {
                break;
            }
            if let Some(buffer) = inner.iteration {
                self.write_integer(buffer, iteration as i64)?;
            }
            for scan in &inner.scan_inputs {
                let size = self.size(scan.slice)?;
                let position = if scan.reverse { (limit as usize) - 1 - iteration } else { iteration };
                let start = position.saturating_mul(size);
                if !self.memory.copy((scan.whole, start), (scan.slice, 0), size)? {
                    return Err(format!("buffer {} has no slice {position}", scan.whole).into());
                }
            }
            self.run(&inner.body, number + 1)?;
            inner.scan_outputs.iter().try_for_each(|scan| self.append(scan, iteration))?;
            inner.carried.iter().try_for_each(|carried| {
                self.resize(&carried.resize)?;
                if carried.next == carried.state { Ok(()) } else { self.copy(carried.next, carried.state) }
            })?;
            iteration += 1;
        }
        if let Some(symbol) = &inner.count {
            self.state.symbols.set(symbol, iteration as i64);
            self.place_for(symbol)?;
        }
        inner
            .scan_outputs
            .iter()
            .filter(|scan| scan.reverse)
            .try_for_each(|scan| self.reverse(scan, iteration))
    }

    /// Appends the slice of an iteration to its tensor.
    fn append(&mut self, scan: &Scan, iteration: usize) -> Done {
        let size = self.size(scan.slice)?;
        let start = iteration.saturating_mul(size);
        if self.plan.sizes[scan.whole].is_none() {
            self.memory.extend_own(scan.whole, start.saturating_add(size))?;
        }
        if self.memory.copy((scan.slice, 0), (scan.whole, start), size)? {
            return Ok(());
        }
        Err(format!("slice {iteration} does not fit into buffer {}", scan.whole).into())
    }

    /// Turns the slices of a tensor around.
    fn reverse(&mut self, scan: &Scan, count: usize) -> Done {
        let size = if count == 0 { 0 } else { self.size(scan.slice)? };
        let done = self.memory.reverse(scan.whole, size, count)?;
        if done { Ok(()) } else { Err(unplaced(scan.whole)) }
    }

    /// Gives symbols values that are computed before any of them changes.
    fn resize(&mut self, values: &[(String, Dim)]) -> Done {
        self.state.dims.clear();
        for (_, value) in values {
            let value = self.eval(value)?;
            self.state.dims.push(value);
        }
        for (at, (symbol, _)) in values.iter().enumerate() {
            self.state.symbols.set(symbol, self.state.dims[at]);
        }
        values.iter().try_for_each(|(symbol, _)| self.place_for(symbol))
    }

    fn host(&mut self, call: &Host) -> Done {
        let operation =
            host::find(&call.op).ok_or_else(|| format!("this runtime has no operation `{}`", call.op))?;
        self.bring(&call.inputs)?;
        let mut views = Vec::with_capacity(call.inputs.len());
        for &buffer in &call.inputs {
            let description = &self.target.buffers[buffer];
            let (shape, bytes) = self.shape_and_bytes(&description.shape, buffer, "an operand")?;
            views.push(View { dtype: description.dtype, shape, bytes });
        }
        let symbols = &self.state.symbols;
        let shape = |&buffer: &usize| -> Result<Option<Vec<usize>>> {
            let shape = &self.target.buffers[buffer].shape;
            let what = || format!("the shape of buffer {buffer}");
            // A symbol that this step decides may still have the value of an earlier run of it.
            let bound = |name: &str| call.binds.iter().any(|symbol| symbol == name);
            let value = |name: &str| if bound(name) { None } else { symbols.get(name) };
            shape.iter().map(|dim| plan::known(dim, &value, what)).collect()
        };
        let outputs: Vec<_> = call.outputs.iter().map(shape).collect::<Result<_>>()?;
        let given = host::Call { inputs: &views, attrs: &call.attrs, outputs: &outputs };
        let results = host::run(operation, &given, &self.state.heap)?;
        if results.len() < call.outputs.len() {
            return Err(format!("it gives {} results, not {}", results.len(), call.outputs.len()).into());
        }
        let mut own = |result: Tensor| match result.dtype().is_reference() {
            true => self.state.heap.adopt(&result),
            false => result,
        };
        let results: Vec<Tensor> = results.into_iter().map(&mut own).collect();
        for (&buffer, result) in call.outputs.iter().zip(&results) {
            for (dim, &size) in self.target.buffers[buffer].shape.iter().zip(result.shape()) {
                if let Some(symbol) =
                    dim.as_symbol().filter(|symbol| call.binds.iter().any(|name| name == symbol))
                {
                    self.state.symbols.set(symbol, size as i64);
                }
            }
        }
        call.binds.iter().try_for_each(|symbol| self.place_for(symbol))?;
        for (&buffer, result) in call.outputs.iter().zip(&results) {
            self.size(buffer)?;
            let right = self.target.buffers[buffer].dtype == result.dtype();
            if !right || !self.memory.write(buffer, result.bytes())? {
                return Err(format!("its result {result:?} does not fit into buffer {buffer}").into());
            }
        }
        Ok(())
    }

    /// Makes the elements of buffers readable; those without memory are left out.
    pub fn bring(&mut self, buffers: &[BufferIndex]) -> Result<()> {
        let part = |&buffer: &BufferIndex| Some((buffer, self.memory.size(buffer)?));
        let parts: Vec<_> = buffers.iter().filter_map(part).collect();
        self.memory.bring(&parts)
    }

    /// The shape and the elements of a buffer, which were brought.
    pub fn shape_and_bytes(
        &self,
        shape: &[Dim],
        buffer: BufferIndex,
        what: &str,
    ) -> Result<(Vec<usize>, &[u8])> {
        let symbols = &self.state.symbols;
        let what = || format!("the shape of {what} in buffer {buffer}");
        let mut dims = Vec::with_capacity(shape.len());
        let mut size = self.target.buffers[buffer].dtype.size();
        for dim in shape {
            let value = plan::known(dim, &|name| symbols.get(name), what)?;
            let value = value
                .ok_or_else(|| Error::Memory { bytes: 0, what: format!("{}: it is not known", what()) })?;
            size = size.saturating_mul(value);
            dims.push(value);
        }
        let bytes = self.memory.bytes(buffer).and_then(|bytes| bytes.get(..size));
        bytes.map(|bytes| (dims, bytes)).ok_or_else(|| Error::Memory { bytes: size as u64, what: what() })
    }

    fn place_for(&mut self, symbol: &str) -> Done {
        let Steps { symbols, late, .. } = &*self.state;
        late.place_for(symbol, self.memory, self.target, self.plan, &|name| symbols.get(name))?;
        Ok(())
    }

    fn eval(&self, dim: &Dim) -> Done<i64> {
        let symbols = &self.state.symbols;
        dim.eval_with(&|name| symbols.get(name)).map_err(|error| Fault::Reason(error.to_string()))
    }

    fn size(&self, buffer: BufferIndex) -> Done<usize> {
        self.memory.size(buffer).ok_or_else(|| unplaced(buffer))
    }

    /// Element `at` of an integer buffer.
    fn integer(&mut self, buffer: BufferIndex, at: usize) -> Done<i64> {
        let size = self.target.buffers[buffer].dtype.size();
        self.memory.bring(&[(buffer, (at + 1) * size)])?;
        self.brought_integer(buffer, at)
    }

    /// Element `at` of an integer buffer, which was brought.
    fn brought_integer(&self, buffer: BufferIndex, at: usize) -> Done<i64> {
        let dtype = self.target.buffers[buffer].dtype;
        let size = dtype.size();
        let bytes = self.memory.bytes(buffer).ok_or_else(|| unplaced(buffer))?;
        let element = bytes.get(at * size..(at + 1) * size);
        let element = element.ok_or_else(|| format!("buffer {buffer} has no element {at}"))?;
        let mut wide = [if dtype.is_signed() && element[size - 1] >= 0x80 { 0xff } else { 0 }; 8];
        wide[..size].copy_from_slice(element);
        Ok(i64::from_le_bytes(wide))
    }

    fn write_integer(&mut self, buffer: BufferIndex, value: i64) -> Done {
        let size = self.target.buffers[buffer].dtype.size();
        let written = self.memory.write(buffer, &value.to_le_bytes()[..size])?;
        if written { Ok(()) } else { Err(unplaced(buffer)) }
    }
}
