//! The memory of a session: where each buffer is during a run.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Arc;

use super::Code;
use super::pool::Pool;
use super::region::Region;
use crate::error::{Error, Result};
use crate::manifest::BufferIndex;
use crate::memory::{Done, Launch, Memory, unplaced};
use crate::plan::Plan;

/// Where a buffer is.
#[derive(Clone, Copy)]
struct Span {
    /// Null while the buffer has no memory.
    start: *mut u8,
    size: usize,
    writable: bool,
}

const NOWHERE: Span = Span { start: std::ptr::null_mut(), size: 0, writable: false };

/// What a session has on the CPU: code, threads and memory.
pub(crate) struct State {
    code: Arc<Code>,
    pool: Pool,
    workspace: Region,
    /// Memory of buffers that have their own, by buffer.
    own: Vec<Region>,
    spans: Vec<Span>,
    args: Vec<*mut u8>,
}

// SAFETY: the pointers refer to the regions, which are owned, or to borrows of a run, which `Running` holds.
unsafe impl Send for State {}

impl State {
    pub fn new(code: Arc<Code>, threads: usize, buffers: usize) -> Result<State> {
        let pool =
            Pool::new(threads).map_err(|source| Error::Io { file: "the system's threads".into(), source })?;
        Ok(State {
            code,
            pool,
            workspace: Region::Empty,
            own: std::iter::repeat_with(Region::default).take(buffers).collect(),
            spans: vec![NOWHERE; buffers],
            args: Vec::new(),
        })
    }

    /// Exchanges threads, with their scratch memory.
    pub fn swap_threads(&mut self, other: &mut State) {
        std::mem::swap(&mut self.pool, &mut other.pool);
    }

    /// Makes workspace and scratch memory for a plan.
    pub fn reserve(&mut self, plan: &Plan) -> Result<()> {
        self.reserve_workspace(plan.workspace)
            .ok_or_else(|| no_memory(plan.workspace, "the workspace".into()))?;
        self.pool
            .reserve_scratch(plan.scratch)
            .ok_or_else(|| no_memory(plan.scratch, "scratch memory".into()))
    }

    fn reserve_workspace(&mut self, size: usize) -> Option<()> {
        if size > self.workspace.size() {
            // The old one is given back first: its contents are not needed.
            self.workspace = Region::Empty;
            self.workspace = Region::new(size)?;
        }
        Some(())
    }

    /// A run, in which no buffer has memory yet.
    pub fn begin(&mut self) -> Running<'_> {
        self.spans.fill(NOWHERE);
        Running { state: self, borrows: PhantomData }
    }
}

fn no_memory(size: usize, what: String) -> Error {
    Error::Memory { bytes: size as u64, what }
}

/// The memory of a session during a run, with the inputs and outputs it borrows.
pub(crate) struct Running<'a> {
    state: &'a mut State,
    borrows: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<'a> Running<'a> {
    /// The buffer is these bytes, which are only read.
    pub fn place_input(&mut self, buffer: BufferIndex, bytes: &'a [u8]) {
        let span = Span { start: bytes.as_ptr().cast_mut(), size: bytes.len(), writable: false };
        self.state.spans[buffer] = span;
    }

    /// The buffer is these bytes.
    pub fn place_output(&mut self, buffer: BufferIndex, bytes: &'a mut [u8]) {
        self.state.spans[buffer] = Span { start: bytes.as_mut_ptr(), size: bytes.len(), writable: true };
    }

    /// Makes a buffer's own memory larger; `None` where the system has not that much.
    fn grow_own(&mut self, buffer: BufferIndex, size: usize) -> Option<()> {
        let state = &mut *self.state;
        let mut larger = Region::new(size)?;
        let kept = if state.spans[buffer].start.is_null() { 0 } else { state.spans[buffer].size };
        let old = &mut state.own[buffer];
        let (old_start, old_size) = (old.start() as usize, old.size());
        assert!(kept <= old_size, "a buffer should fit into its own memory");
        // SAFETY: both regions have at least `kept` bytes, and they are different ones.
        unsafe { std::ptr::copy_nonoverlapping(old.start(), larger.start(), kept) };
        for span in &mut state.spans {
            let at = span.start as usize;
            if old_size > 0 && (old_start..old_start + old_size).contains(&at) {
                *span = NOWHERE;
            }
        }
        state.own[buffer] = larger;
        Some(())
    }

    /// The bytes of a buffer for writing; `None` while it has no memory, and where it is only read.
    fn bytes_mut(&mut self, buffer: BufferIndex) -> Option<&mut [u8]> {
        let Span { start, size, writable } = self.state.spans[buffer];
        if start.is_null() || !writable {
            return None;
        }
        // SAFETY: as of `bytes`; other buffers may overlap, but are not reached while `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts_mut(start, size) })
    }
}

impl Memory for Running<'_> {
    fn place_workspace(&mut self, buffer: BufferIndex, offset: usize, size: usize) {
        let end = offset.checked_add(size).expect("a range of the workspace should have an end");
        assert!(end <= self.state.workspace.size(), "the workspace should have been reserved");
        let start = self.state.workspace.start().wrapping_add(offset);
        self.state.spans[buffer] = Span { start, size, writable: true };
    }

    fn place_part(&mut self, buffer: BufferIndex, of: BufferIndex, offset: usize, size: usize) -> bool {
        let whole = self.state.spans[of];
        let fits = offset.checked_add(size).is_some_and(|end| end <= whole.size);
        if whole.start.is_null() || !fits {
            self.state.spans[buffer] = NOWHERE;
            return false;
        }
        self.state.spans[buffer] = Span { start: whole.start.wrapping_add(offset), size, ..whole };
        true
    }

    fn place_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()> {
        if size > self.state.own[buffer].size() {
            self.grow_own(buffer, size).ok_or_else(|| no_memory(size, format!("buffer {buffer}")))?;
        }
        let start = self.state.own[buffer].start();
        self.state.spans[buffer] = Span { start, size, writable: true };
        Ok(())
    }

    fn extend_own(&mut self, buffer: BufferIndex, size: usize) -> Result<()> {
        let room = self.state.own[buffer].size();
        if size > room {
            let grown = self.grow_own(buffer, size.max(room.saturating_mul(2)));
            grown.ok_or_else(|| no_memory(size, format!("buffer {buffer}")))?;
        }
        self.place_own(buffer, size)
    }

    fn size(&self, buffer: BufferIndex) -> Option<usize> {
        let span = self.state.spans[buffer];
        (!span.start.is_null()).then_some(span.size)
    }

    fn copy(
        &mut self,
        (src, from): (BufferIndex, usize),
        (dst, to): (BufferIndex, usize),
        size: usize,
    ) -> Result<bool> {
        let (src, dst) = (self.state.spans[src], self.state.spans[dst]);
        let fits = |span: Span, at: usize| at.checked_add(size).is_some_and(|end| end <= span.size);
        if src.start.is_null() || dst.start.is_null() || !dst.writable || !fits(src, from) || !fits(dst, to) {
            return Ok(false);
        }
        // SAFETY: both ranges lie in their spans, as of `bytes` and `bytes_mut`; `copy` lets them overlap.
        unsafe { std::ptr::copy(src.start.wrapping_add(from), dst.start.wrapping_add(to), size) };
        Ok(true)
    }

    fn bring(&mut self, _parts: &[(BufferIndex, usize)]) -> Result<()> {
        Ok(())
    }

    fn bytes(&self, buffer: BufferIndex) -> Option<&[u8]> {
        let Span { start, size, .. } = self.state.spans[buffer];
        if start.is_null() {
            return None;
        }
        // SAFETY: the span lies in a region of the session or in a slice borrowed for the run, all of it
        // initialized; nothing is written while `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts(start, size) })
    }

    fn write(&mut self, buffer: BufferIndex, bytes: &[u8]) -> Result<bool> {
        let to = self.bytes_mut(buffer).and_then(|to| to.get_mut(..bytes.len()));
        Ok(to.map(|to| to.copy_from_slice(bytes)).is_some())
    }

    fn reverse(&mut self, buffer: BufferIndex, slice: usize, count: usize) -> Result<bool> {
        let whole = self.bytes_mut(buffer).and_then(|whole| whole.get_mut(..slice.checked_mul(count)?));
        let Some(whole) = whole else { return Ok(false) };
        for position in 0..count / 2 {
            let (front, back) = whole.split_at_mut((count - 1 - position) * slice);
            front[position * slice..(position + 1) * slice].swap_with_slice(&mut back[..slice]);
        }
        Ok(true)
    }

    fn reserve_scratch(&mut self, launch: &Launch) -> Result<()> {
        let reserved = self.state.pool.reserve_scratch(launch.scratch);
        reserved.ok_or_else(|| no_memory(launch.scratch, "scratch memory".into()))
    }

    fn launch(&mut self, kernel: usize, buffers: &[BufferIndex], launch: &Launch) -> Done {
        let state = &mut *self.state;
        state.args.clear();
        for &buffer in buffers {
            let start = state.spans[buffer].start;
            if start.is_null() {
                return Err(unplaced(buffer));
            }
            state.args.push(start);
        }
        // SAFETY: every argument is valid for its size during the call. That the kernel stays within that,
        // and writes only its results, is the compiler's contract; the sum of the code was checked.
        unsafe { state.pool.launch(state.code.kernel(kernel), &state.args, launch) };
        Ok(())
    }

    fn start_timing(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn stop_timing(&mut self, _step: usize) -> Result<()> {
        Ok(())
    }
}
