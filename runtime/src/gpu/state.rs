//! What a session has on a GPU: its stream and memory, kept from run to run.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::driver::Failure;
use super::library::Libraries;
use super::loaded::Loaded;
use super::memory::Running;
use super::objects::{Allocation, Event, Pinned, Stream};
use crate::error::{Error, Result};
use crate::manifest::{BufferIndex, Manifest, TargetProgram};
use crate::plan::Plan;
use crate::sys::Address;

/// The alignment of what is staged.
const ALIGN: usize = 64;
/// Bytes of scratch memory that are always there, so that no argument is null.
const SCRATCH: usize = 256;
/// Bytes of staging at first: small reads and writes of control flow.
const STAGING: usize = 64 << 10;

/// Where a buffer is.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub start: Address,
    pub size: usize,
    pub writable: bool,
}

/// What a session has on a GPU.
pub(crate) struct State {
    pub(super) context: Arc<Context>,
    pub(super) loaded: Arc<Loaded>,
    /// The vendor's libraries, if the program has work for them. Given back before the stream.
    pub(super) libraries: Option<Libraries>,
    pub(super) stream: Stream,
    /// Whether the stream records.
    pub(super) recording: bool,
    pub(super) workspace: Allocation,
    pub(super) scratch: Allocation,
    /// Inputs and outputs that the host gives and takes, by port.
    pub(super) inputs: Vec<Allocation>,
    pub(super) outputs: Vec<Allocation>,
    /// Memory of buffers that have their own, by buffer.
    pub(super) own: Vec<Allocation>,
    /// Memory for copies between ranges that overlap.
    between: Allocation,
    /// Memory that work under way may still use.
    pub(super) retired: Vec<Allocation>,
    pub(super) spans: Vec<Option<Span>>,
    pub(super) arguments: Vec<u64>,
    /// Where the memory of a run is, for replays.
    pub(super) place: Vec<Address>,
    staging: Pinned,
    /// How much of `staging` copies under way use.
    staged: usize,
    /// What was brought to the host: buffers, with their ranges of `staging`.
    pub(super) brought: Vec<(BufferIndex, usize, usize)>,
    /// While launches are marked: the step of each.
    pub(super) launched: Option<Vec<usize>>,
    /// A number that the device writes: how many of `launched` are done.
    mark: Pinned,
    /// The step that faulted.
    fault: Option<usize>,
    /// The steps measured, each with the index of its first event.
    pub(super) timings: Vec<(usize, usize)>,
    events: Vec<Event>,
    pub(super) events_used: usize,
}

impl State {
    pub fn new(
        context: Arc<Context>,
        loaded: Arc<Loaded>,
        manifest: &Manifest,
        target: &TargetProgram,
    ) -> Result<State> {
        let empty =
            |count: usize| std::iter::repeat_with(|| Allocation::empty(&context)).take(count).collect();
        let stream = Stream::new(&context)?;
        Ok(State {
            libraries: Libraries::new(&context, &stream, &target.steps),
            stream,
            recording: false,
            workspace: Allocation::empty(&context),
            scratch: Allocation::new(&context, SCRATCH, || "scratch memory".into())?,
            inputs: empty(manifest.inputs.len()),
            outputs: empty(manifest.outputs.len()),
            own: empty(target.buffers.len()),
            between: Allocation::empty(&context),
            retired: Vec::new(),
            spans: vec![None; target.buffers.len()],
            arguments: Vec::new(),
            place: Vec::new(),
            staging: Pinned::new(&context, STAGING)?,
            staged: 0,
            brought: Vec::new(),
            launched: None,
            mark: Pinned::new(&context, 64)?,
            fault: None,
            timings: Vec::new(),
            events: Vec::new(),
            events_used: 0,
            loaded,
            context,
        })
    }

    /// Makes workspace and scratch memory for a plan, and room to stage `staged` bytes without waiting.
    pub fn reserve(&mut self, plan: &Plan, staged: usize) -> Result<()> {
        self.context.enter()?;
        if plan.workspace > self.workspace.size() {
            // The old one is given back first: its contents are not needed.
            self.workspace = Allocation::empty(&self.context);
            self.workspace = Allocation::new(&self.context, plan.workspace, || "the workspace".into())?;
        }
        let scratch = plan.launches.iter().flatten().map(|launch| scratch_size(launch.scratch, launch.grid));
        self.reserve_scratch(scratch.max().unwrap_or(0))?;
        if staged > self.staging.size() {
            self.staging = Pinned::empty(&self.context);
            self.staging = Pinned::new(&self.context, staged)?;
        }
        Ok(())
    }

    pub(super) fn reserve_scratch(&mut self, size: usize) -> Result<()> {
        if size > self.scratch.size() {
            let larger = Allocation::new(&self.context, size, || "scratch memory".into())?;
            self.retired.push(std::mem::replace(&mut self.scratch, larger));
        }
        Ok(())
    }

    /// Memory for a copy in between.
    pub(super) fn between(&mut self, size: usize) -> Result<Address> {
        if size > self.between.size() {
            let larger = Allocation::new(&self.context, size, || "a copy".into())?;
            self.retired.push(std::mem::replace(&mut self.between, larger));
        }
        Ok(self.between.start())
    }

    /// Notes where the memory of a run is: all that launches and copies are given.
    pub(super) fn note_place(&mut self) {
        self.place.extend(self.spans.iter().map(|span| span.map_or(0, |span| span.start)));
        self.place.extend([self.scratch.start(), self.between.start()]);
    }

    /// A run, in which no buffer has memory yet.
    pub fn begin(&mut self) -> Running<'_> {
        self.spans.fill(None);
        self.brought.clear();
        self.timings.clear();
        (self.events_used, self.staged, self.fault, self.launched) = (0, 0, None, None);
        Running { state: self }
    }

    /// Waits until nothing of a run that failed is under way.
    pub fn quiesce(&mut self) {
        // Only the error that came first is of interest.
        let _ = self.stream.synchronize();
        self.retired.clear();
    }

    /// The step that faulted, where that is known.
    pub fn fault(&self) -> Option<usize> {
        self.fault
    }

    /// The error of a call.
    pub(super) fn error(&self, failure: &Failure, what: &str) -> Error {
        self.context.error(failure, what)
    }

    /// Waits for the device.
    pub(super) fn synchronize(&mut self) -> Result<()> {
        if let Err(failure) = self.stream.synchronize() {
            if let Some(launched) = &self.launched {
                // SAFETY: the memory is ours, aligned, and outlives the device's work.
                let done = unsafe { self.mark.start().cast::<u32>().read_volatile() };
                self.fault = launched.get(done as usize).copied();
            }
            return Err(self.error(&failure, "finish the run"));
        }
        self.staged = 0;
        self.retired.clear();
        Ok(())
    }

    /// From now on, launches leave a mark when they are done.
    pub(super) fn start_marks(&mut self) {
        // SAFETY: the memory is ours and aligned, and the device is idle.
        unsafe { self.mark.start().cast::<u32>().write_volatile(0) };
        self.launched = Some(Vec::new());
    }

    /// Leaves the mark of a launch, if launches are marked.
    pub(super) fn mark(&mut self, step: usize) -> Result<()> {
        let Some(launched) = &mut self.launched else { return Ok(()) };
        launched.push(step);
        let count = launched.len() as u32;
        // SAFETY: the memory lives as long as the stream.
        let marked = unsafe { self.stream.set(self.mark.start() as Address, count) };
        marked.map_err(|failure| self.error(&failure, "mark a launch"))
    }

    /// Memory of the host for a copy: its range, valid until the next wait. Waits where there is no room.
    pub(super) fn stage(&mut self, size: usize) -> Result<std::ops::Range<usize>> {
        self.brought.clear();
        let mut start = self.staged.next_multiple_of(ALIGN);
        if start.checked_add(size).is_none_or(|end| end > self.staging.size()) {
            self.synchronize()?;
            if size > self.staging.size() {
                self.staging = Pinned::empty(&self.context);
                self.staging = Pinned::new(&self.context, size)?;
            }
            start = 0;
        }
        self.staged = start + size;
        Ok(start..self.staged)
    }

    /// A range of the staging memory, as the device is given it.
    pub(super) fn staging(&self, range: &std::ops::Range<usize>) -> *mut u8 {
        assert!(range.end <= self.staging.size(), "what is staged should have been reserved");
        self.staging.start().wrapping_add(range.start)
    }

    /// An event, and its index.
    pub(super) fn event(&mut self) -> Result<usize> {
        if self.events_used == self.events.len() {
            self.events.push(Event::new(&self.context)?);
        }
        self.events_used += 1;
        let recorded = self.stream.record(&self.events[self.events_used - 1]);
        recorded.map_err(|failure| self.error(&failure, "record an event"))?;
        Ok(self.events_used - 1)
    }

    /// What the steps took that the device measured, by the number of the step. The run is over.
    pub fn times(&self) -> impl Iterator<Item = (usize, Duration)> {
        let time = |&(step, first): &(usize, usize)| {
            let time = self.events[first].until(self.events.get(first + 1)?).ok()?;
            Some((step, time))
        };
        self.timings.iter().filter_map(time)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Nothing may use the memory that is given back next.
        if self.context.enter().is_ok() {
            let _ = self.stream.synchronize();
        }
    }
}

/// Bytes of scratch memory of all blocks.
pub(super) fn scratch_size(per_block: usize, blocks: i64) -> usize {
    per_block.saturating_mul(usize::try_from(blocks).unwrap_or(0))
}
