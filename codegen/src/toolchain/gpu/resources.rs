//! What a kernel takes of a GPU, as the notes of AMD's code objects say ("User Guide for AMDGPU Backend", code
//! object metadata).
use crate::target::GpuSpec;
use object::elf::NoteType;
use object::read::elf::{ElfFile64, ProgramHeader};
use rmpv::Value;
use std::fmt;

/// The note that holds the metadata, a MessagePack document.
const NT_AMDGPU_METADATA: NoteType = NoteType(32);

/// What a kernel takes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resources {
    /// The kernel.
    pub name: String,
    /// Vector registers of a lane, those of the matrix unit's accumulators included.
    pub vgprs: u32,
    /// Scalar registers of a wave.
    pub sgprs: u32,
    /// Bytes of shared memory (LDS) of a block.
    pub lds: u32,
    /// Bytes of private memory of a lane: arrays that are no registers, and spilled registers.
    pub private: u32,
    /// Vector registers that were spilled.
    pub vgpr_spills: u32,
    /// Scalar registers that were spilled.
    pub sgpr_spills: u32,
}

impl Resources {
    /// Waves that a SIMD can hold at the same time, as far as vector registers decide.
    pub fn occupancy(&self, target: &GpuSpec) -> u32 {
        let taken = self.vgprs.max(1).next_multiple_of(target.register_granule.max(1));
        (target.registers / taken).min(target.waves)
    }
    /// With the occupancy on a GPU, as one line.
    pub fn line(&self, target: &GpuSpec) -> String {
        format!("{self}, occupancy {}/{} waves", self.occupancy(target), target.waves)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resources { vgprs, sgprs, lds, private, vgpr_spills, sgpr_spills, .. } = self;
        write!(f, "vgpr {vgprs}, sgpr {sgprs}, lds {lds} B, private {private} B, ")?;
        write!(f, "spilled vgpr {vgpr_spills}, spilled sgpr {sgpr_spills}")
    }
}

/// The kernels of an AMD code object.
///
/// # Errors
/// When the bytes are no code object with metadata.
pub fn of_object(object: &[u8]) -> Result<Vec<Resources>, String> {
    let metadata = metadata(object).ok_or("no code object of an AMD GPU with metadata")?;
    let document = rmpv::decode::read_value(&mut &metadata[..]).map_err(|error| error.to_string())?;
    let kernels = field(&document, "amdhsa.kernels").and_then(Value::as_array).ok_or("no list of kernels")?;
    let kernel = |kernel: &Value| {
        let number = |name| field(kernel, name).and_then(Value::as_u64).unwrap_or(0) as u32;
        Resources {
            name: field(kernel, ".name").and_then(Value::as_str).unwrap_or_default().to_string(),
            // From gfx90a on the first number counts both kinds; before, the second is a file of its own.
            vgprs: number(".vgpr_count").max(number(".agpr_count")),
            sgprs: number(".sgpr_count"),
            lds: number(".group_segment_fixed_size"),
            private: number(".private_segment_fixed_size"),
            vgpr_spills: number(".vgpr_spill_count"),
            sgpr_spills: number(".sgpr_spill_count"),
        }
    };
    Ok(kernels.iter().map(kernel).collect())
}

fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn metadata(object: &[u8]) -> Option<Vec<u8>> {
    let elf = ElfFile64::<object::Endianness>::parse(object).ok()?;
    for header in elf.elf_program_headers() {
        let Ok(Some(mut notes)) = header.notes(elf.endian(), object) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"AMDGPU" && note.n_type(elf.endian()) == NT_AMDGPU_METADATA {
                return Some(note.desc().to_vec());
            }
        }
    }
    None
}
