//! Loading relocatable ELF objects: what a linker and a dynamic loader do, for objects without outside
//! dependencies but a few [builtins](crate::cpu).
//!
//! Sections that need memory are copied into one mapping, followed by one slot per outside function: a jump
//! and its address. The mapping is writable while it is relocated, then readable and executable. Writable
//! data is refused: kernels keep no state.
#![allow(unsafe_code)]

use std::collections::HashMap;

use memmap2::{Mmap, MmapMut};
use object::elf::{
    R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_GOTPCREL, R_X86_64_GOTPCRELX, R_X86_64_NONE,
    R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32, R_X86_64_REX_GOTPCRELX, RelocationType, SHF_ALLOC,
    SHF_WRITE,
};
use object::read::elf::ElfFile64;
use object::{
    Architecture, LittleEndian, Object as _, ObjectKind, ObjectSection, ObjectSymbol, RelocationFlags,
    RelocationTarget, SectionFlags, SectionIndex, SymbolIndex, SymbolKind, SymbolSection,
};

use crate::cpu::{KernelFn, builtin_address};

/// `jmp *[rip + 2]`, two bytes that are never run, and the address: the slot of an outside function.
const SLOT: [u8; 8] = [0xff, 0x25, 0x02, 0x00, 0x00, 0x00, 0xcc, 0xcc];
const SLOT_SIZE: usize = 16;
/// No object of ours comes near; a hostile one asks for no more.
const SIZE_LIMIT: usize = 1 << 30;

type File<'a> = ElfFile64<'a, LittleEndian>;
type Load<T> = Result<T, String>;

/// A code object in memory.
pub(crate) struct Object {
    code: Mmap,
    /// Where functions start.
    functions: HashMap<String, usize>,
}

/// Where everything is in the mapping.
struct Layout {
    sections: HashMap<SectionIndex, usize>,
    /// The slot of each symbol that is outside or reached through the global offset table.
    slots: HashMap<SymbolIndex, usize>,
    size: usize,
}

impl Object {
    /// Loads an object for this CPU. Its bytes are 8-byte aligned.
    pub fn load(bytes: &[u8]) -> Load<Object> {
        if !cfg!(target_arch = "x86_64") {
            return Err("this runtime loads code for x86-64 only".into());
        }
        let file = File::parse(bytes).map_err(|error| format!("not an ELF object: {error}"))?;
        if file.architecture() != Architecture::X86_64 || file.kind() != ObjectKind::Relocatable {
            return Err(format!(
                "a {:?} {:?} file, not a relocatable x86-64 one",
                file.architecture(),
                file.kind()
            ));
        }
        let layout = Layout::new(&file)?;
        let mut memory = MmapMut::map_anon(layout.size.max(1)).map_err(|error| error.to_string())?;
        for (&section, &offset) in &layout.sections {
            let section = file.section_by_index(section).map_err(|error| error.to_string())?;
            let data = section.data().map_err(|error| error.to_string())?;
            memory[offset..offset + data.len()].copy_from_slice(data);
        }
        layout.fill_slots(&file, &mut memory)?;
        layout.relocate(&file, &mut memory)?;
        let mut functions = HashMap::new();
        for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.is_definition()) {
            let name = symbol.name().map_err(|error| error.to_string())?;
            functions.insert(name.to_string(), layout.address(&symbol, 0)? as usize);
        }
        let code = memory.make_exec().map_err(|error| error.to_string())?;
        functions.retain(|_, offset| *offset < code.len());
        Ok(Object { code, functions })
    }

    /// A function by its name.
    pub fn function(&self, name: &str) -> Option<KernelFn> {
        let start = self.code.as_ptr().wrapping_add(*self.functions.get(name)?);
        // SAFETY: the address lies in the mapping, which lives as long as `self`. That it is a kernel is the
        // compiler's word: the sum of the object was checked.
        Some(unsafe { std::mem::transmute::<*const u8, KernelFn>(start) })
    }
}

impl Layout {
    fn new(file: &File) -> Load<Layout> {
        let (mut sections, mut size) = (HashMap::new(), 0usize);
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            let name = section.name().unwrap_or("?");
            if sh_flags.0 & SHF_ALLOC.0 == 0 || name == ".eh_frame" || section.size() == 0 {
                continue;
            }
            if sh_flags.0 & SHF_WRITE.0 != 0 && !name.starts_with(".data.rel.ro") {
                return Err(format!("it has writable data in section {name}"));
            }
            let align = section.align().max(1);
            let (bytes, align) = (section.size(), usize::try_from(align).unwrap_or(usize::MAX));
            let data = section.data().map_err(|error| error.to_string())?;
            if data.len() as u64 != bytes || !align.is_power_of_two() || align > 4096 {
                return Err(format!("section {name} is malformed"));
            }
            let start = size.next_multiple_of(align.max(64));
            size = start + data.len();
            if size > SIZE_LIMIT {
                return Err("it is too large".into());
            }
            sections.insert(section.index(), start);
        }
        let mut layout = Layout { sections, slots: HashMap::new(), size };
        layout.add_slots(file)?;
        Ok(layout)
    }

    /// A slot for each symbol that a relocation cannot reach directly.
    fn add_slots(&mut self, file: &File) -> Load<()> {
        self.size = self.size.next_multiple_of(SLOT_SIZE);
        for section in file.sections().filter(|section| self.sections.contains_key(&section.index())) {
            for (_, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else { continue };
                let symbol = file.symbol_by_index(index).map_err(|error| error.to_string())?;
                let indirect = matches!(
                    kind(&relocation)?,
                    R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX
                );
                if (indirect || symbol.is_undefined()) && !self.slots.contains_key(&index) {
                    self.slots.insert(index, self.size);
                    self.size += SLOT_SIZE;
                }
            }
        }
        Ok(())
    }

    fn fill_slots(&self, file: &File, memory: &mut MmapMut) -> Load<()> {
        let base = memory.as_ptr() as u64;
        for (&index, &offset) in &self.slots {
            let symbol = file.symbol_by_index(index).map_err(|error| error.to_string())?;
            let address = self.address(&symbol, base)?;
            memory[offset..offset + 8].copy_from_slice(&SLOT);
            memory[offset + 8..offset + 16].copy_from_slice(&address.to_le_bytes());
        }
        Ok(())
    }

    /// Where a symbol is when the mapping starts at `base`.
    fn address<'a>(&self, symbol: &impl ObjectSymbol<'a>, base: u64) -> Load<u64> {
        let name = symbol.name().unwrap_or("?");
        match symbol.section() {
            SymbolSection::Section(index) => {
                let start =
                    self.sections.get(&index).ok_or_else(|| format!("symbol `{name}` has no memory"))?;
                let address =
                    (*start as u64).checked_add(symbol.address()).filter(|&a| a <= self.size as u64);
                address.map(|a| base + a).ok_or_else(|| format!("symbol `{name}` lies outside its section"))
            }
            SymbolSection::Undefined => {
                let address =
                    builtin_address(name).ok_or_else(|| format!("it needs the function `{name}`"))?;
                Ok(address as u64)
            }
            _ => Err(format!("symbol `{name}` is of a kind that kernels do not have")),
        }
    }

    fn relocate(&self, file: &File, memory: &mut MmapMut) -> Load<()> {
        let base = memory.as_ptr() as u64;
        for section in file.sections() {
            let Some(&start) = self.sections.get(&section.index()) else { continue };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    return Err("a relocation without a symbol".into());
                };
                let symbol = file.symbol_by_index(index).map_err(|error| error.to_string())?;
                let slot = self.slots.get(&index).map(|&slot| base + slot as u64);
                let target =
                    Target { symbol: self.address(&symbol, base)?, slot, outside: symbol.is_undefined() };
                let place = usize::try_from(offset).ok().filter(|&offset| offset as u64 <= section.size());
                let place = start + place.ok_or("a relocation outside its section")?;
                let (value, size) =
                    relocated(kind(&relocation)?, target, relocation.addend(), base + place as u64)
                        .ok_or_else(|| {
                            format!("a relocation of {:?} does not fit", symbol.name().unwrap_or("?"))
                        })?;
                let field = memory[..start + section.size() as usize].get_mut(place..place + size);
                let field = field.ok_or("a relocation outside its section")?;
                field.copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        Ok(())
    }
}

/// What a relocation refers to.
#[derive(Clone, Copy)]
struct Target {
    symbol: u64,
    slot: Option<u64>,
    outside: bool,
}

fn kind(relocation: &object::Relocation) -> Load<RelocationType> {
    match relocation.flags() {
        RelocationFlags::Elf { r_type } => Ok(r_type),
        other => Err(format!("relocation {other:?} is not known")),
    }
}

/// The value and the size of a relocated field; `None` where it does not fit or the kind is not known.
/// System V ABI, AMD64 supplement, table 4.9.
fn relocated(kind: RelocationType, target: Target, addend: i64, place: u64) -> Option<(i64, usize)> {
    // Outside functions are too far away for a 32-bit distance: calls go to the slot.
    let near = if target.outside { target.slot? } else { target.symbol };
    let sum = |address: u64| (address as i64).wrapping_add(addend);
    let distance = |address: u64| sum(address).wrapping_sub(place as i64);
    let signed = |value: i64| i32::try_from(value).ok().map(|_| (value, 4));
    match kind {
        R_X86_64_NONE => Some((0, 0)),
        R_X86_64_64 => Some((sum(target.symbol), 8)),
        R_X86_64_PC64 => Some((distance(near), 8)),
        R_X86_64_PC32 | R_X86_64_PLT32 => signed(distance(near)),
        R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX => signed(distance(target.slot? + 8)),
        R_X86_64_32S => signed(sum(target.symbol)),
        R_X86_64_32 => u32::try_from(sum(target.symbol)).ok().map(|value| (value.into(), 4)),
        _ => None,
    }
}
