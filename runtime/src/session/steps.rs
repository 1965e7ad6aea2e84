//! Running steps.

use std::time::Instant;

use sardonyx_tensor::{DType, Dim};

use super::bind::Symbols;
use super::late::Late;
use super::profile::{Profile, label, origins};
use crate::cpu::{self, Code, Pool, Running};
use crate::error::{Error, Result};
use crate::host::{self, View};
use crate::manifest::{BufferIndex, Host, Launch, Loop, Scan, Step, TargetProgram, Trip, count_steps, walk};
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

/// All that a run needs.
pub(super) struct Runner<'a, 'm> {
    pub target: &'a TargetProgram,
    pub code: &'a Code,
    pub plan: &'a Plan,
    pub numbers: &'a Numbers,
    pub late: &'a Late,
    pub symbols: &'a mut Symbols,
    pub memory: &'a mut Running<'m>,
    pub pool: &'a mut Pool,
    /// Dimension parameters of launches that the plan could not compute.
    pub dims: &'a mut Vec<i64>,
    pub profile: Option<&'a mut Profile>,
}

/// Why a step cannot be run: in words, which get the step's name, or an error that has one.
enum Fault {
    Reason(String),
    Error(Error),
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Reason(reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Error(error)
    }
}

type Done<T = ()> = std::result::Result<T, Fault>;

fn unplaced(buffer: BufferIndex) -> Fault {
    Fault::Reason(format!("buffer {buffer} has no memory: its size is not known yet, or it does not fit"))
}

impl<'a> Runner<'a, '_> {
    /// Runs steps, of which the first has this number.
    pub fn run(&mut self, steps: &'a [Step], first: usize) -> Result<()> {
        let mut number = first;
        for step in steps {
            let start = self.profile.is_some().then(Instant::now);
            self.step(step, number).map_err(|fault| self.error(fault, step, number))?;
            if let (Some(profile), Some(start)) = (&mut self.profile, start) {
                profile.add(number, start.elapsed());
            }
            number = self.numbers.end[number];
        }
        Ok(())
    }

    fn error(&self, fault: Fault, step: &Step, number: usize) -> Error {
        match fault {
            Fault::Error(error) => error,
            Fault::Reason(reason) => {
                let origins = origins(step, self.target);
                let label = match origins.is_empty() {
                    true => label(step).to_string(),
                    false => format!("{} from {}", label(step), origins.join(", ")),
                };
                Error::Step { number, label, reason }
            }
        }
    }

    fn step(&mut self, step: &'a Step, number: usize) -> Done {
        match step {
            Step::Launch(launch) => self.launch(launch, number),
            Step::Copy { src, dst } => self.copy(*src, *dst),
            Step::Bind { buffer, symbols } => {
                for (at, symbol) in symbols.iter().enumerate() {
                    let value = self.integer(*buffer, at)?;
                    self.symbols.set(symbol, value);
                }
                symbols.iter().try_for_each(|symbol| self.place_for(symbol))
            }
            Step::Set { symbol, value } => {
                let value = self.eval(value)?;
                self.symbols.set(symbol, value);
                self.place_for(symbol)
            }
            Step::If { condition, then, otherwise } => match self.integer(*condition, 0)? != 0 {
                true => Ok(self.run(then, number + 1)?),
                false => Ok(self.run(otherwise, self.numbers.otherwise[number])?),
            },
            Step::Loop(inner) => self.repeat(inner, number),
            Step::Host(call) => self.host(call),
        }
    }

    fn launch(&mut self, launch: &Launch, number: usize) -> Done {
        let symbols = &*self.symbols;
        let late;
        let (planned, dims) = match &self.plan.launches[number] {
            Some(planned) => (planned, &self.plan.dims),
            None => {
                let kernel = &self.target.kernels[launch.kernel];
                self.dims.clear();
                late = plan::resolve(number, launch, kernel, &|name| symbols.get(name), self.dims)?
                    .ok_or_else(|| "a symbol of its sizes has no value".to_string())?;
                if self.pool.reserve_scratch(late.scratch).is_none() {
                    let what = format!("scratch memory of {}", launch.label);
                    return Err(Error::Memory { bytes: late.scratch as u64, what }.into());
                }
                (&late, &*self.dims)
            }
        };
        let dims = &dims[planned.dims.clone()];
        let sizes = cpu::Launch { dims, grid: planned.grid, scratch: planned.scratch, work: planned.work };
        let kernel = self.code.kernel(launch.kernel);
        self.memory.launch(self.pool, kernel, &launch.args, &sizes).map_err(unplaced)
    }

    fn copy(&mut self, src: BufferIndex, dst: BufferIndex) -> Done {
        let size = self.bytes(src)?.len();
        if self.memory.copy((src, 0), (dst, 0), size) {
            return Ok(());
        }
        let room = self.bytes(dst)?.len();
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
                let size = self.bytes(scan.slice)?.len();
                let position = if scan.reverse { (limit as usize) - 1 - iteration } else { iteration };
                if !self.memory.copy((scan.whole, position.saturating_mul(size)), (scan.slice, 0), size) {
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
            self.symbols.set(symbol, iteration as i64);
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
        let size = self.bytes(scan.slice)?.len();
        let start = iteration.saturating_mul(size);
        if self.plan.sizes[scan.whole].is_none() {
            let end = start.saturating_add(size);
            let no_memory = || Error::Memory { bytes: end as u64, what: format!("buffer {}", scan.whole) };
            self.memory.extend_own(scan.whole, end).ok_or_else(no_memory)?;
        }
        if self.memory.copy((scan.slice, 0), (scan.whole, start), size) {
            return Ok(());
        }
        Err(format!("slice {iteration} does not fit into buffer {}", scan.whole).into())
    }

    /// Turns the slices of a tensor around.
    fn reverse(&mut self, scan: &Scan, count: usize) -> Done {
        let size = if count == 0 { 0 } else { self.bytes(scan.slice)?.len() };
        let whole = self.memory.bytes_mut(scan.whole).ok_or_else(|| unplaced(scan.whole))?;
        for position in 0..count / 2 {
            let (front, back) = whole.split_at_mut((count - 1 - position) * size);
            front[position * size..(position + 1) * size].swap_with_slice(&mut back[..size]);
        }
        Ok(())
    }

    /// Gives symbols values that are computed before any of them changes.
    fn resize(&mut self, values: &[(String, Dim)]) -> Done {
        self.dims.clear();
        for (_, value) in values {
            let value = self.eval(value)?;
            self.dims.push(value);
        }
        for (at, (symbol, _)) in values.iter().enumerate() {
            self.symbols.set(symbol, self.dims[at]);
        }
        values.iter().try_for_each(|(symbol, _)| self.place_for(symbol))
    }

    fn host(&mut self, call: &Host) -> Done {
        let run =
            host::find(&call.op).ok_or_else(|| format!("this runtime has no operation `{}`", call.op))?;
        let mut views = Vec::with_capacity(call.inputs.len());
        for &buffer in &call.inputs {
            let description = &self.target.buffers[buffer];
            let (shape, bytes) = self.shape_and_bytes(&description.shape, buffer, "an operand")?;
            views.push(View { dtype: description.dtype, shape, bytes });
        }
        let symbols = &*self.symbols;
        let shape = |&buffer: &usize| -> Result<Option<Vec<usize>>> {
            let shape = &self.target.buffers[buffer].shape;
            let what = || format!("the shape of buffer {buffer}");
            // A symbol that this step decides may still have the value of an earlier run of it.
            let bound = |name: &str| call.binds.iter().any(|symbol| symbol == name);
            let value = |name: &str| if bound(name) { None } else { symbols.get(name) };
            shape.iter().map(|dim| plan::known(dim, &value, what)).collect()
        };
        let outputs: Vec<_> = call.outputs.iter().map(shape).collect::<Result<_>>()?;
        let results = run(&host::Call { inputs: &views, attrs: &call.attrs, outputs: &outputs })?;
        if results.len() < call.outputs.len() {
            return Err(format!("it gives {} results, not {}", results.len(), call.outputs.len()).into());
        }
        for (&buffer, result) in call.outputs.iter().zip(&results) {
            for (dim, &size) in self.target.buffers[buffer].shape.iter().zip(result.shape()) {
                if let Some(symbol) =
                    dim.as_symbol().filter(|symbol| call.binds.iter().any(|name| name == symbol))
                {
                    self.symbols.set(symbol, size as i64);
                }
            }
        }
        call.binds.iter().try_for_each(|symbol| self.place_for(symbol))?;
        for (&buffer, result) in call.outputs.iter().zip(&results) {
            let out = self.memory.bytes_mut(buffer).ok_or_else(|| unplaced(buffer))?;
            if self.target.buffers[buffer].dtype != result.dtype() || out.len() < result.bytes().len() {
                return Err(format!("its result {result:?} does not fit into buffer {buffer}").into());
            }
            out[..result.bytes().len()].copy_from_slice(result.bytes());
        }
        Ok(())
    }

    /// The shape and the elements of a buffer.
    pub fn shape_and_bytes(
        &self,
        shape: &[Dim],
        buffer: BufferIndex,
        what: &str,
    ) -> Result<(Vec<usize>, &[u8])> {
        let symbols = &*self.symbols;
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
        let symbols = &*self.symbols;
        self.late.place_for(symbol, self.memory, self.target, self.plan, &|name| symbols.get(name))?;
        Ok(())
    }

    fn eval(&self, dim: &Dim) -> Done<i64> {
        let symbols = &*self.symbols;
        dim.eval_with(&|name| symbols.get(name)).map_err(|error| Fault::Reason(error.to_string()))
    }

    fn bytes(&self, buffer: BufferIndex) -> Done<&[u8]> {
        self.memory.bytes(buffer).ok_or_else(|| unplaced(buffer))
    }

    /// Element `at` of an integer buffer.
    fn integer(&self, buffer: BufferIndex, at: usize) -> Done<i64> {
        let dtype = self.target.buffers[buffer].dtype;
        let size = dtype.size();
        let element = self.bytes(buffer)?.get(at * size..(at + 1) * size);
        let element = element.ok_or_else(|| format!("buffer {buffer} has no element {at}"))?;
        let mut wide = [if dtype.is_signed() && element[size - 1] >= 0x80 { 0xff } else { 0 }; 8];
        wide[..size].copy_from_slice(element);
        Ok(i64::from_le_bytes(wide))
    }

    fn write_integer(&mut self, buffer: BufferIndex, value: i64) -> Done {
        let dtype: DType = self.target.buffers[buffer].dtype;
        let out = self.memory.bytes_mut(buffer).and_then(|bytes| bytes.get_mut(..dtype.size()));
        let out = out.ok_or_else(|| unplaced(buffer))?;
        out.copy_from_slice(&value.to_le_bytes()[..dtype.size()]);
        Ok(())
    }
}
