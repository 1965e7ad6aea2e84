//! Aligned memory that grows.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use memmap2::{Advice, MmapMut};

/// The alignment of all regions.
const ALIGN: usize = 64;
/// From this size on, regions are mapped, in huge pages where the system has them.
const MAPPED: usize = 1 << 20;

/// 64-byte aligned memory, zero at first.
#[derive(Default)]
pub(super) enum Region {
    #[default]
    Empty,
    Heap {
        start: NonNull<u8>,
        layout: Layout,
    },
    Mapped(MmapMut),
}

// SAFETY: a region owns its memory, which no thread-local state refers to.
unsafe impl Send for Region {}
// SAFETY: as above; a shared region only hands out its address and size.
unsafe impl Sync for Region {}

impl Region {
    /// A region of at least `size` bytes; `None` where the system has not that much.
    pub fn new(size: usize) -> Option<Region> {
        if size == 0 {
            return Some(Region::Empty);
        }
        if size >= MAPPED {
            let map = MmapMut::map_anon(size).ok()?;
            #[cfg(target_os = "linux")]
            // Without huge pages the memory is as good, only slower.
            let _ = map.advise(Advice::HugePage);
            return Some(Region::Mapped(map));
        }
        let layout = Layout::from_size_align(size.next_multiple_of(ALIGN), ALIGN).ok()?;
        // SAFETY: the size of the layout is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Region::Heap { start, layout })
    }

    pub fn size(&self) -> usize {
        match self {
            Region::Empty => 0,
            Region::Heap { layout, .. } => layout.size(),
            Region::Mapped(map) => map.len(),
        }
    }

    /// Where the region starts; an aligned address without memory for the empty one.
    pub fn start(&mut self) -> *mut u8 {
        match self {
            Region::Empty => std::ptr::without_provenance_mut(ALIGN),
            Region::Heap { start, .. } => start.as_ptr(),
            Region::Mapped(map) => map.as_mut_ptr(),
        }
    }

    /// The bytes of the region.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Region::Empty => &[],
            // SAFETY: the memory is owned, of this size, and was zero at first.
            Region::Heap { start, layout } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), layout.size())
            },
            Region::Mapped(map) => map,
        }
    }

    /// The bytes of the region, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Region::Empty => &mut [],
            // SAFETY: as above, and nobody else refers to it.
            Region::Heap { start, layout } => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), layout.size())
            },
            Region::Mapped(map) => map,
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Region::Heap { start, layout } = self {
            // SAFETY: `new` allocated it with this layout, and it is freed once.
            unsafe { dealloc(start.as_ptr(), *layout) }
        }
    }
}
