//! The memory of a session: where each buffer is during a run.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::KernelFn;
use super::pool::{Launch, Pool};
use super::region::Region;

/// Where a buffer is.
#[derive(Clone, Copy)]
struct Span {
    /// Null while the buffer has no memory.
    start: *mut u8,
    size: usize,
    writable: bool,
}

const NOWHERE: Span = Span { start: std::ptr::null_mut(), size: 0, writable: false };

/// The memory of a session.
pub(crate) struct Memory {
    workspace: Region,
    /// Memory of buffers that have their own, by buffer.
    own: Vec<Region>,
    spans: Vec<Span>,
    args: Vec<*mut u8>,
}

// SAFETY: the pointers refer to the regions, which are owned, or to borrows of a run, which `Running` holds.
unsafe impl Send for Memory {}

impl Memory {
    pub fn new(buffers: usize) -> Memory {
        Memory {
            workspace: Region::Empty,
            own: std::iter::repeat_with(Region::default).take(buffers).collect(),
            spans: vec![NOWHERE; buffers],
            args: Vec::new(),
        }
    }

    /// Makes the workspace at least this large; `None` where the system has not that much.
    pub fn reserve_workspace(&mut self, size: usize) -> Option<()> {
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
        Running { memory: self, borrows: PhantomData }
    }
}

/// The memory of a session during a run, with the inputs and outputs it borrows.
pub(crate) struct Running<'a> {
    memory: &'a mut Memory,
    borrows: PhantomData<(&'a [u8], &'a mut [u8])>,
}

impl<'a> Running<'a> {
    /// The buffer is these bytes, which are only read.
    pub fn place_input(&mut self, buffer: usize, bytes: &'a [u8]) {
        let span = Span { start: bytes.as_ptr().cast_mut(), size: bytes.len(), writable: false };
        self.memory.spans[buffer] = span;
    }

    /// The buffer is these bytes.
    pub fn place_output(&mut self, buffer: usize, bytes: &'a mut [u8]) {
        self.memory.spans[buffer] = Span { start: bytes.as_mut_ptr(), size: bytes.len(), writable: true };
    }

    /// The buffer is a range of the workspace.
    ///
    /// # Panics
    /// When the workspace is smaller.
    pub fn place_workspace(&mut self, buffer: usize, offset: usize, size: usize) {
        let end = offset.checked_add(size).expect("a range of the workspace should have an end");
        assert!(end <= self.memory.workspace.size(), "the workspace should have been reserved");
        let start = self.memory.workspace.start().wrapping_add(offset);
        self.memory.spans[buffer] = Span { start, size, writable: true };
    }

    /// The buffer is a part of another one; false, and it has no memory, where that has none or is smaller.
    #[must_use]
    pub fn place_part(&mut self, buffer: usize, of: usize, offset: usize, size: usize) -> bool {
        let whole = self.memory.spans[of];
        let fits = offset.checked_add(size).is_some_and(|end| end <= whole.size);
        if whole.start.is_null() || !fits {
            self.memory.spans[buffer] = NOWHERE;
            return false;
        }
        self.memory.spans[buffer] = Span { start: whole.start.wrapping_add(offset), size, ..whole };
        true
    }

    /// The buffer is `size` bytes of its own. What it held stays, as far as it fits. Parts of the buffer have
    /// to be placed again. `None` where the system has not that much memory.
    pub fn place_own(&mut self, buffer: usize, size: usize) -> Option<()> {
        if size > self.memory.own[buffer].size() {
            self.grow_own(buffer, size)?;
        }
        let start = self.memory.own[buffer].start();
        self.memory.spans[buffer] = Span { start, size, writable: true };
        Some(())
    }

    /// As [`Running::place_own`], with room for more, for buffers that grow slice by slice.
    pub fn extend_own(&mut self, buffer: usize, size: usize) -> Option<()> {
        let room = self.memory.own[buffer].size();
        if size > room {
            self.grow_own(buffer, size.max(room.saturating_mul(2)))?;
        }
        self.place_own(buffer, size)
    }

    fn grow_own(&mut self, buffer: usize, size: usize) -> Option<()> {
        let memory = &mut *self.memory;
        let mut larger = Region::new(size)?;
        let kept = if memory.spans[buffer].start.is_null() { 0 } else { memory.spans[buffer].size };
        let old = &mut memory.own[buffer];
        let (old_start, old_size) = (old.start() as usize, old.size());
        assert!(kept <= old_size, "a buffer should fit into its own memory");
        // SAFETY: both regions have at least `kept` bytes, and they are different ones.
        unsafe { std::ptr::copy_nonoverlapping(old.start(), larger.start(), kept) };
        for span in &mut memory.spans {
            let at = span.start as usize;
            if old_size > 0 && (old_start..old_start + old_size).contains(&at) {
                *span = NOWHERE;
            }
        }
        memory.own[buffer] = larger;
        Some(())
    }

    /// Whether the buffer has memory.
    pub fn is_placed(&self, buffer: usize) -> bool {
        !self.memory.spans[buffer].start.is_null()
    }

    /// The bytes of a buffer; `None` while it has no memory.
    pub fn bytes(&self, buffer: usize) -> Option<&[u8]> {
        let Span { start, size, .. } = self.memory.spans[buffer];
        if start.is_null() {
            return None;
        }
        // SAFETY: the span lies in a region of the session or in a slice borrowed for the run, all of it
        // initialized; nothing is written while `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts(start, size) })
    }

    /// The bytes of a buffer for writing; `None` while it has no memory, and where it is only read.
    pub fn bytes_mut(&mut self, buffer: usize) -> Option<&mut [u8]> {
        let Span { start, size, writable } = self.memory.spans[buffer];
        if start.is_null() || !writable {
            return None;
        }
        // SAFETY: as of `bytes`; other buffers may overlap, but are not reached while `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts_mut(start, size) })
    }

    /// Copies `size` bytes; false where one of the buffers has no memory, is smaller, or is only read.
    #[must_use]
    pub fn copy(&mut self, (src, from): (usize, usize), (dst, to): (usize, usize), size: usize) -> bool {
        let (src, dst) = (self.memory.spans[src], self.memory.spans[dst]);
        let fits = |span: Span, at: usize| at.checked_add(size).is_some_and(|end| end <= span.size);
        if src.start.is_null() || dst.start.is_null() || !dst.writable || !fits(src, from) || !fits(dst, to) {
            return false;
        }
        // SAFETY: both ranges lie in their spans, as of `bytes` and `bytes_mut`; `copy` lets them overlap.
        unsafe { std::ptr::copy(src.start.wrapping_add(from), dst.start.wrapping_add(to), size) };
        true
    }

    /// Runs a kernel on buffers; gives the first of them that has no memory.
    pub fn launch(
        &mut self,
        pool: &mut Pool,
        kernel: KernelFn,
        buffers: &[usize],
        launch: &Launch,
    ) -> Result<(), usize> {
        self.memory.args.clear();
        for &buffer in buffers {
            if !self.is_placed(buffer) {
                return Err(buffer);
            }
            self.memory.args.push(self.memory.spans[buffer].start);
        }
        // SAFETY: every argument is valid for its size during the call. That the kernel stays within that,
        // and writes only its results, is the compiler's contract; the sum of the code was checked.
        unsafe { pool.launch(kernel, &self.memory.args, launch) };
        Ok(())
    }
}
