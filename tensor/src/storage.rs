//! The bytes of a tensor: owned and aligned, or a range of something that outlives it.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

/// One cache line, and the alignment of all tensor data that this crate allocates.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

/// Something that keeps bytes alive, such as a memory map.
pub(crate) type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Storage {
    Owned { lines: Arc<[Line]>, len: usize },
    Shared { owner: Owner, range: Range<usize> },
}

impl Storage {
    /// `len` zero bytes.
    pub fn zeros(len: usize) -> Storage {
        let lines = std::iter::repeat_n(Line::zeroed(), len.div_ceil(64)).collect();
        Storage::Owned { lines, len }
    }

    pub fn copy_of(bytes: &[u8]) -> Storage {
        let mut storage = Storage::zeros(bytes.len());
        storage.bytes_mut().copy_from_slice(bytes);
        storage
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Storage::Owned { lines, len } => &bytemuck::cast_slice(lines)[..*len],
            Storage::Shared { owner, range } => &(**owner).as_ref()[range.clone()],
        }
    }

    /// The bytes for writing; first copies them where others share them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let unique = match self {
            Storage::Owned { lines, .. } => Arc::get_mut(lines).is_some(),
            Storage::Shared { .. } => false,
        };
        if !unique {
            *self = Storage::copy_of(self.bytes());
        }
        match self {
            Storage::Owned { lines, len } => {
                let lines = Arc::get_mut(lines).expect("a fresh copy should have one owner");
                &mut bytemuck::cast_slice_mut(lines)[..*len]
            }
            Storage::Shared { .. } => unreachable!("shared storage was just copied"),
        }
    }

    /// The bytes for writing, where nobody shares them.
    pub fn unique_bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Storage::Owned { lines, len } => {
                Some(&mut bytemuck::cast_slice_mut(Arc::get_mut(lines)?)[..*len])
            }
            Storage::Shared { .. } => None,
        }
    }
}
