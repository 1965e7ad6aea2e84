//! Code objects, before a driver sees them.
//!
//! A driver is given the address of a code object and reads its size from its headers. What those say has to
//! lie within the file, or the driver would read elsewhere.

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Whether a code object is an ELF file all of which is there.
pub(super) fn check(object: &[u8]) -> Result<(), String> {
    let bad = |error: object::read::Error| format!("it is no ELF file ({error})");
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(object).map_err(bad)?;
    let size = object.len() as u64;
    let inside = |(start, length): (u64, u64)| start.checked_add(length).is_some_and(|end| end <= size);
    for (index, segment) in header.program_headers(endian, object).map_err(bad)?.iter().enumerate() {
        if !inside(segment.file_range(endian)) {
            return Err(format!("it is truncated: segment {index} is outside its {size} bytes"));
        }
    }
    for (index, section) in header.section_headers(endian, object).map_err(bad)?.iter().enumerate() {
        if !section.file_range(endian).is_none_or(inside) {
            return Err(format!("it is truncated: section {index} is outside its {size} bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_truncated_object_passes() {
        let object = include_bytes!("../../tests/common/kernels.o");
        check(object).expect("the object should be whole");
        // The table of sections is at the end of this object.
        for end in 0..object.len() {
            assert!(check(&object[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn no_damage_panics() {
        let object = include_bytes!("../../tests/common/kernels.o");
        for at in 0..64.min(object.len()) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut object = object.to_vec();
                object[at] = value;
                let _whole_or_not = check(&object);
            }
        }
        assert!(check(&[]).is_err());
        assert_eq!(
            check(b"not an ELF file").unwrap_err(),
            "it is no ELF file (Invalid ELF header size or alignment)"
        );
    }
}
