//! The memory of a session on a GPU during a run: steps become work of the session's stream.
#![allow(unsafe_code)]

use super::DeviceBuffer;
use super::objects::{Allocation, Graph};
use super::replay::{Replays, Turn};
use super::state::{Span, State, scratch_size};
use crate::error::Result;
use crate::manifest::BufferIndex;
use crate::memory::{Done, Launch, Memory, unplaced};
use crate::sys::Address;

/// The memory of a session during a run.
pub(crate) struct Running<'a> {
    pub(super) state: &'a mut State,
}

impl Running<'_> {
    /// The buffer is an input of the host, which is copied once.
    pub fn place_input(&mut self, buffer: BufferIndex, port: usize, bytes: &[u8], copy: bool) -> Result<()> {
        let state = &mut *self.state;
        if bytes.len() > state.inputs[port].size() {
            state.inputs[port] = Allocation::empty(&state.context);
            state.inputs[port] = Allocation::new(&state.context, bytes.len(), || format!("input {port}"))?;
        }
        let start = state.inputs[port].start();
        state.spans[buffer] = Some(Span { start, size: bytes.len(), writable: false });
        if copy { self.upload(start, bytes) } else { Ok(()) }
    }

    /// The buffer is an output that the host takes.
    pub fn place_output(&mut self, buffer: BufferIndex, port: usize, size: usize) -> Result<()> {
        let state = &mut *self.state;
        if size > state.outputs[port].size() {
            state.outputs[port] = Allocation::empty(&state.context);
            state.outputs[port] = Allocation::new(&state.context, size, || format!("output {port}"))?;
        }
        state.spans[buffer] = Some(Span { start: state.outputs[port].start(), size, writable: true });
        Ok(())
    }

    /// The buffer is memory of the caller on the device.
    pub fn place_device(&mut self, buffer: BufferIndex, memory: &DeviceBuffer, size: usize, writable: bool) {
        assert!(size <= memory.size(), "the size of a buffer should have been checked");
        self.state.spans[buffer] = Some(Span { start: memory.start(), size, writable });
    }

    /// The buffer is a weight.
    pub fn place_weight(&mut self, buffer: BufferIndex, index: usize) {
        let (start, size) = self.state.loaded.weight(index);
        self.state.spans[buffer] = Some(Span { start, size, writable: false });
    }

    /// Copies a buffer to memory of the caller on the device; false where the sizes differ.
    pub fn copy_to_device(
        &mut self,
        buffer: BufferIndex,
        size: usize,
        memory: &DeviceBuffer,
    ) -> Result<bool> {
        let Some(span) = self.state.spans[buffer].filter(|span| size <= span.size) else { return Ok(false) };
        if size != memory.size() {
            return Ok(false);
        }
        // SAFETY: both are memory of the device; the caller keeps its own until the run is over.
        let copied = unsafe { self.state.stream.copy(memory.start(), span.start, size) };
        copied.map_err(|failure| self.state.error(&failure, "copy an output"))?;
        Ok(true)
    }

    /// Runs steps. Those of a program of launches and copies alone repeat what they did before, as long as
    /// memory stays in place: they are recorded and replayed.
    pub fn run(
        &mut self,
        replays: &mut Replays,
        repeats: bool,
        mut steps: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.state.place.clear();
        if repeats {
            self.state.note_place();
        }
        let place = std::mem::take(&mut self.state.place);
        let result = match replays.turn(&place) {
            Turn::First => {
                self.state.start_marks();
                steps(self).map(|()| replays.warmed())
            }
            Turn::Again => steps(self),
            Turn::Record => match self.record(&mut steps) {
                Some(graph) => {
                    replays.record(&place, graph);
                    self.replay(replays)
                }
                None => {
                    replays.refuse();
                    steps(self)
                }
            },
            Turn::Replay => self.replay(replays),
        };
        self.state.place = place;
        result
    }

    /// Records steps; `None` where the driver cannot.
    fn record(&mut self, steps: &mut impl FnMut(&mut Self) -> Result<()>) -> Option<Graph> {
        self.state.stream.begin_capture().ok()?;
        self.state.recording = true;
        let run = steps(self);
        self.state.recording = false;
        // Recording has to end in any case. An error of the steps comes again when they are run.
        let graph = self.state.stream.end_capture();
        run.ok().and(graph.ok())
    }

    fn replay(&mut self, replays: &Replays) -> Result<()> {
        let graph = replays.first().expect("a run that is replayed should have been recorded");
        // SAFETY: all memory is where it was when the run was recorded, and stays until the stream is done.
        let replayed = unsafe { self.state.stream.replay(graph) };
        replayed.map_err(|failure| self.state.error(&failure, "replay the program"))
    }

    /// Copies bytes to the device, by way of staging memory.
    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        let state = &mut *self.state;
        let range = state.stage(bytes.len())?;
        let from = state.staging(&range);
        // SAFETY: the staged range has this size and is used by no copy under way.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), from, bytes.len()) };
        // SAFETY: the range is not used otherwise until the stream is done; the caller has checked `to`.
        let copied = unsafe { state.stream.copy_to_device(to, from, bytes.len()) };
        copied.map_err(|failure| state.error(&failure, "take a buffer"))
    }

    /// The address of a range of a buffer; `None` where it has no memory or is smaller.
    fn range(&self, (buffer, at): (BufferIndex, usize), size: usize, write: bool) -> Option<Address> {
        let span = self.state.spans[buffer]?;
        let fits = at.checked_add(size).is_some_and(|end| end <= span.size);
        (fits && (span.writable || !write)).then_some(span.start + at as u64)
    }

    /// # Safety
    /// Both ranges must be memory of the device and not overlap.
    unsafe fn copy_apart(&mut self, to: Address, from: Address, size: usize) -> Result<()> {
        // SAFETY: the caller's promise; memory is given back when the stream is done.
        let copied = unsafe { self.state.stream.copy(to, from, size) };
        copied.map_err(|failure| self.state.error(&failure, "copy a buffer"))
    }

    fn grow_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()> {
        let state = &mut *self.state;
        let larger = Allocation::new(&state.context, size, || format!("buffer {buffer}"))?;
        let kept = state.spans[buffer].map_or(0, |span| span.size);
        let old = std::mem::replace(&mut state.own[buffer], larger);
        let (start, end) = (old.start(), old.start() + old.size() as u64);
        assert!(kept <= old.size(), "a buffer should fit into its own memory");
        for span in &mut state.spans {
            if span.is_some_and(|span| (start..end).contains(&span.start)) {
                *span = None;
            }
        }
        state.retired.push(old);
        let to = state.own[buffer].start();
        // SAFETY: both allocations have at least `kept` bytes, and they are different ones.
        unsafe { self.copy_apart(to, start, kept) }
    }
}

impl Memory for Running<'_> {
    fn place_workspace(&mut self, buffer: BufferIndex, offset: usize, size: usize) {
        let end = offset.checked_add(size).expect("a range of the workspace should have an end");
        assert!(end <= self.state.workspace.size(), "the workspace should have been reserved");
        let start = self.state.workspace.start() + offset as u64;
        self.state.spans[buffer] = Some(Span { start, size, writable: true });
    }

    fn place_part(&mut self, buffer: BufferIndex, of: BufferIndex, offset: usize, size: usize) -> bool {
        let whole = self.state.spans[of];
        let fits = |whole: &Span| offset.checked_add(size).is_some_and(|end| end <= whole.size);
        self.state.spans[buffer] =
            whole.filter(fits).map(|whole| Span { start: whole.start + offset as u64, size, ..whole });
        self.state.spans[buffer].is_some()
    }

    fn place_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()> {
        if size > self.state.own[buffer].size() {
            self.grow_own(buffer, size)?;
        }
        let start = self.state.own[buffer].start();
        self.state.spans[buffer] = Some(Span { start, size, writable: true });
        Ok(())
    }

    fn extend_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()> {
        let room = self.state.own[buffer].size();
        if size > room {
            self.grow_own(buffer, size.max(room.saturating_mul(2)))?;
        }
        self.place_own(buffer, size)
    }

    fn size(&self, buffer: BufferIndex) -> Option<usize> {
        self.state.spans[buffer].map(|span| span.size)
    }

    fn copy(&mut self, src: (BufferIndex, usize), dst: (BufferIndex, usize), size: usize) -> Result<bool> {
        let (Some(from), Some(to)) = (self.range(src, size, false), self.range(dst, size, true)) else {
            return Ok(false);
        };
        if from == to {
            return Ok(true);
        }
        if from.abs_diff(to) >= size as u64 {
            // SAFETY: both ranges lie in memory of the device, and they are apart.
            unsafe { self.copy_apart(to, from, size)? };
            return Ok(true);
        }
        let between = self.state.between(size)?;
        // SAFETY: as above; the memory between is neither's.
        unsafe {
            self.copy_apart(between, from, size)?;
            self.copy_apart(to, between, size)?;
        }
        Ok(true)
    }

    fn bring(&mut self, parts: &[(BufferIndex, usize)]) -> Result<()> {
        let state = &mut *self.state;
        let size = |state: &State, &(buffer, size): &(BufferIndex, usize)| {
            state.spans[buffer].map(|span| span.size.min(size))
        };
        let sizes = parts.iter().filter_map(|part| size(state, part));
        let total = sizes.map(|size| size.next_multiple_of(8)).sum();
        let mut at = state.stage(total)?.start;
        for part in parts {
            let Some(size) = size(state, part) else { continue };
            let from = state.spans[part.0].map_or(0, |span| span.start);
            let to = state.staging(&(at..at + size));
            // SAFETY: the staged range is not used otherwise, and the buffer has these bytes.
            let copied = unsafe { state.stream.copy_to_host(to, from, size) };
            copied.map_err(|failure| state.error(&failure, "give a buffer"))?;
            state.brought.push((part.0, at, size));
            at += size.next_multiple_of(8);
        }
        state.synchronize()
    }

    fn bytes(&self, buffer: BufferIndex) -> Option<&[u8]> {
        let brought = self.state.brought.iter().find(|(brought, ..)| *brought == buffer);
        let &(_, at, size) = brought?;
        let start = self.state.staging(&(at..at + size));
        // SAFETY: the range is initialized memory of the host, which no copy under way uses: copies take
        // other ranges until the next wait, and `stage` forgets what was brought.
        Some(unsafe { std::slice::from_raw_parts(start, size) })
    }

    fn write(&mut self, buffer: BufferIndex, bytes: &[u8]) -> Result<bool> {
        let Some(to) = self.range((buffer, 0), bytes.len(), true) else { return Ok(false) };
        self.upload(to, bytes)?;
        Ok(true)
    }

    fn reverse(&mut self, buffer: BufferIndex, slice: usize, count: usize) -> Result<bool> {
        let size = slice.saturating_mul(count);
        let Some(start) = self.range((buffer, 0), size, true) else { return Ok(false) };
        if size == 0 {
            return Ok(true);
        }
        let copy = self.state.between(size)?;
        // SAFETY: the range lies in memory of the device; the memory of its copy is as large.
        unsafe {
            self.copy_apart(copy, start, size)?;
            for position in 0..count {
                let to = start + (position * slice) as u64;
                self.copy_apart(to, copy + ((count - 1 - position) * slice) as u64, slice)?;
            }
        }
        Ok(true)
    }

    fn reserve_scratch(&mut self, launch: &Launch) -> Result<()> {
        self.state.reserve_scratch(scratch_size(launch.scratch, launch.grid))
    }

    fn launch(&mut self, kernel: usize, buffers: &[BufferIndex], launch: &Launch) -> Done {
        if launch.grid <= 0 {
            return Ok(());
        }
        let step = launch.step;
        let mut by_kernel = |state: &mut State| start(state, kernel, buffers, launch);
        let done = match launch.library {
            Some(call) => self.state.by_library(step, call, buffers, &mut by_kernel)?,
            None => false,
        };
        if !done {
            by_kernel(self.state)?;
        }
        Ok(self.state.mark(step)?)
    }

    fn start_timing(&mut self) -> Result<bool> {
        self.state.event()?;
        Ok(true)
    }

    fn stop_timing(&mut self, step: usize) -> Result<()> {
        let last = self.state.event()?;
        self.state.timings.push((step, last - 1));
        Ok(())
    }
}

/// Launches a kernel.
fn start(state: &mut State, kernel: usize, buffers: &[BufferIndex], launch: &Launch) -> Done {
    state.arguments.clear();
    for &buffer in buffers {
        let span = state.spans[buffer].ok_or_else(|| unplaced(buffer))?;
        // Empty buffers have no address; kernels do not use them.
        state.arguments.push(if span.start == 0 { state.scratch.start() } else { span.start });
    }
    state.arguments.extend(launch.dims.iter().map(|&dim| dim as u64));
    let function = state.loaded.function(kernel);
    if function.scratch {
        state.arguments.push(state.scratch.start());
    }
    let too_many = |_| format!("{} blocks are more than a launch may have", launch.grid);
    let grid = u32::try_from(launch.grid).ok().filter(|&grid| grid < 1 << 31).ok_or(0);
    let sizes = (grid.map_err(too_many)?, function.threads, function.shared);
    // SAFETY: the function is of a loaded module, and every argument is valid for its size until the
    // stream is done. That the kernel stays within that, and writes only its results, is the compiler's
    // contract; the sum of the code was checked.
    let launched = unsafe { state.stream.launch(function.handle, sizes, &mut state.arguments) };
    launched.map_err(|f| format!("{} does not launch `{}`: {f}", state.context.label, function.name))?;
    Ok(())
}
