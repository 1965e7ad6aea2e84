//! Files mapped into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file.
pub(crate) struct MappedFile(Mmap);

impl MappedFile {
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // SAFETY: the map is private and only read. That nobody truncates or changes the file meanwhile is
        // a condition of `Program::open`.
        Ok(MappedFile(unsafe { Mmap::map(&file)? }))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
