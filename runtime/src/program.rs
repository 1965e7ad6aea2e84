//! Program files: opening and checking them.
//!
//! A file is, all numbers little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `sardonyx` |
//! | 8–11 | the format version |
//! | 12–15 | the length of the manifest |
//! | 16–47 | the BLAKE3 sum of the manifest |
//! | 48– | the manifest, JSON, zero-padded to a multiple of 4096 |
//! | then | blobs, each zero-padded to a multiple of 4096; the manifest has offset, size and BLAKE3 sum of each |

mod build;
mod check;
mod check_steps;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use sardonyx_tensor::{Heap, Tensor};

use crate::Device;
use crate::cpu::{self, Code, Constants, MappedFile};
use crate::error::{Error, Result};
use crate::gpu::{Context, Loaded, Weights};
use crate::manifest::{self, Manifest, Packed, PackedMatrix, Port, TargetProgram};
use crate::panels::{self, Matrix};
use crate::session::Session;

pub use build::ProgramBuilder;

const MAGIC: &[u8; 8] = b"sardonyx";
const HEADER: usize = 48;
/// The alignment of blobs in the file.
const PAGE: usize = 4096;

/// A program, ready to make sessions of. Cloning shares it; threads may share it.
///
/// ```no_run
/// use sardonyx_runtime::{Device, Program, tensor::Tensor};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::open("model.sdx")?;
/// let mut session = program.session(Device::cpu())?;
/// let outputs = session.run([("input", Tensor::from_npy("x.npy")?)])?;
/// println!("{:?}", outputs[0]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    file: String,
    manifest: Manifest,
    bytes: Bytes,
    /// Where blobs start.
    base: usize,
    /// The loaded code of each target.
    code: Vec<OnceLock<Arc<Code>>>,
    /// The constants that are made of weights, by target, as long as there are sessions of it.
    constants: Mutex<Vec<(usize, Weak<Constants>)>>,
    /// What sessions on GPUs use, by target and device, as long as there are any.
    loaded: Mutex<Vec<(usize, Device, Weak<Loaded>)>>,
}

/// The bytes of a program file, 64-byte aligned.
enum Bytes {
    Mapped(MappedFile),
    Static(&'static [u8]),
    /// A `Tensor`, because its bytes are aligned.
    Owned(Tensor),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(file) => file.bytes(),
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(tensor) => tensor.bytes(),
        }
    }
}

impl AsRef<[u8]> for Inner {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Program {
    /// Opens a program file. The file is mapped, not read: it should not change while the program is in use.
    ///
    /// The manifest and all code are checked against their sums, weights only against the size of the file:
    /// [`Program::verify`] checks those too.
    ///
    /// # Errors
    /// When the file cannot be read, is no program, of a newer format, truncated, corrupt, or has a manifest
    /// that is not consistent.
    pub fn open(path: impl AsRef<Path>) -> Result<Program> {
        let path = path.as_ref();
        let file = path.display().to_string();
        match MappedFile::open(path) {
            Ok(mapped) => Program::load(file, Bytes::Mapped(mapped)),
            Err(source) => Err(Error::Io { file, source }),
        }
    }

    /// Opens a program in memory, such as one of `include_bytes!`. Bytes that are not static, or not 64-byte
    /// aligned, are copied.
    ///
    /// # Errors
    /// As of [`Program::open`].
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Program> {
        let bytes = match bytes.into() {
            Cow::Borrowed(bytes) if is_aligned(bytes, 64) => Bytes::Static(bytes),
            bytes => Bytes::Owned(Tensor::from_slice([bytes.len()], &bytes)),
        };
        Program::load("the program".into(), bytes)
    }

    fn load(file: String, bytes: Bytes) -> Result<Program> {
        let (manifest, base) = read_manifest(&file, bytes.as_ref())?;
        let bad = |reason| Error::Manifest { file: file.clone(), reason };
        check::blobs(&manifest).map_err(bad)?;
        let end = manifest.blobs.iter().map(|blob| blob.offset + blob.size).max().unwrap_or(0);
        let (expected, given) = (base as u64 + end, bytes.as_ref().len() as u64);
        if expected > given {
            return Err(Error::Truncated { file, expected, given });
        }
        check::manifest(&manifest).map_err(bad)?;
        let code = manifest.targets.iter().map(|_| OnceLock::new()).collect();
        let (constants, loaded) = Default::default();
        let program = Program(Arc::new(Inner { file, manifest, bytes, base, code, constants, loaded }));
        for target in &program.0.manifest.targets {
            for &blob in &target.code {
                program.check_sum(blob, &format!("the code of target {}", target.name))?;
            }
        }
        Ok(program)
    }

    /// Checks all blobs against their sums: reads the whole file.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn verify(&self) -> Result<()> {
        for blob in 0..self.0.manifest.blobs.len() {
            let weights = self.0.manifest.weights.iter().filter(|weight| weight.blob == blob);
            let part = match weights.map(|weight| weight.name.as_str()).next() {
                Some(name) => format!("blob {blob} (weight `{name}`)"),
                None => format!("blob {blob}"),
            };
            self.check_sum(blob, &part)?;
        }
        Ok(())
    }

    fn check_sum(&self, blob: usize, part: &str) -> Result<()> {
        let sum = blake3::hash(&self.0.bytes.as_ref()[self.blob_range(blob)]).to_hex();
        if sum.as_str() == self.0.manifest.blobs[blob].blake3 {
            return Ok(());
        }
        Err(Error::Corrupt { file: self.0.file.clone(), part: part.to_string() })
    }

    /// A session on a device: memory and threads of its own, for one run at a time.
    ///
    /// # Errors
    /// When the program was not compiled for the device, or its code cannot be loaded.
    pub fn session(&self, device: Device) -> Result<Session> {
        Session::new(self.clone(), device)
    }

    /// The file the program is from, for messages.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// What is in the program.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// What a run is given.
    pub fn inputs(&self) -> &[Port] {
        &self.0.manifest.inputs
    }

    /// What a run gives.
    pub fn outputs(&self) -> &[Port] {
        &self.0.manifest.outputs
    }

    /// The size of the file in bytes.
    pub fn file_size(&self) -> usize {
        self.0.bytes.as_ref().len()
    }

    /// The text of this name that the compiler kept in the file, such as `graph`.
    pub fn attachment(&self, name: &str) -> Option<&str> {
        let attachment = self.0.manifest.attachments.iter().find(|attachment| attachment.name == name)?;
        std::str::from_utf8(&self.0.bytes.as_ref()[self.blob_range(attachment.blob)]).ok()
    }

    /// A weight, sharing the bytes of the file.
    ///
    /// # Panics
    /// When there is no such weight.
    pub fn weight(&self, index: usize) -> Tensor {
        let weight = &self.0.manifest.weights[index];
        let range = self.weight_range(index);
        let tensor = Tensor::mapped(self.0.clone(), range, weight.dtype, weight.shape.clone())
            .expect("weights should have been checked when the program was opened");
        match weight.dtype.is_reference() {
            true => tensor.with_heap(Arc::new(Heap::of_texts(&self.0.manifest.texts))),
            false => tensor,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes.as_ref()
    }

    pub(crate) fn target(&self, target: usize) -> &TargetProgram {
        &self.0.manifest.targets[target]
    }

    /// Where a weight is in the file.
    pub(crate) fn weight_range(&self, index: usize) -> Range<usize> {
        let weight = &self.0.manifest.weights[index];
        let start = self.blob_range(weight.blob).start + weight.offset as usize;
        let size = check::weight_size(weight).expect("weights should have been checked when opening");
        start..start + size as usize
    }

    fn blob_range(&self, blob: usize) -> Range<usize> {
        let manifest::Blob { offset, size, .. } = self.0.manifest.blobs[blob];
        let start = self.0.base + offset as usize;
        start..start + size as usize
    }

    /// The code of a target for the CPU, loaded once for all sessions.
    pub(crate) fn code(&self, index: usize) -> Result<Arc<Code>> {
        if let Some(code) = self.0.code[index].get() {
            return Ok(code.clone());
        }
        let target = self.target(index);
        let objects = target.code.iter().map(|&blob| &self.bytes()[self.blob_range(blob)]);
        let code = cpu::load(target, objects)?;
        Ok(self.0.code[index].get_or_init(|| Arc::new(code)).clone())
    }

    /// The constants of a target that are made of weights, made once for all sessions.
    pub(crate) fn constants(&self, index: usize, threads: usize) -> Result<Arc<Constants>> {
        let target = self.target(index);
        if target.packed.is_empty() {
            return Ok(Arc::default());
        }
        let mut all = self.0.constants.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, constants)| constants.strong_count() > 0);
        // Programs for some sizes may be made of the same.
        let found = all.iter().find(|(other, _)| self.target(*other).packed == target.packed);
        if let Some(constants) = found.and_then(|(_, constants)| constants.upgrade()) {
            return Ok(constants);
        }
        let size =
            |packed| check::packed_size(packed, &self.0.manifest).expect("panels should have been checked");
        let sizes: Vec<usize> = target.packed.iter().map(|packed| size(packed) as usize).collect();
        let fill = |k: usize, panels: &mut [u8]| self.pack(&target.packed[k], panels);
        let constants = Arc::new(Constants::new(&sizes, threads, fill)?);
        all.push((index, Arc::downgrade(&constants)));
        Ok(constants)
    }

    /// Lays the matrices of a weight out in panels.
    fn pack(&self, packed: &Packed, panels: &mut [u8]) -> Result<()> {
        let places = |weight: usize| -> Vec<i64> {
            let bytes = self.bytes()[self.weight_range(weight)].chunks_exact(8);
            bytes.map(|place| i64::from_le_bytes(place.try_into().expect("eight bytes"))).collect()
        };
        let weight = &self.0.manifest.weights[packed.weight];
        let source = &self.bytes()[self.weight_range(packed.weight)];
        let lists: Vec<(Vec<i64>, Vec<i64>)> =
            packed.matrices.iter().map(|matrix| (places(matrix.depth), places(matrix.columns))).collect();
        let matrices: Vec<Matrix<'_>> = packed
            .matrices
            .iter()
            .zip(&lists)
            .map(|(&PackedMatrix { place, width, beside, .. }, (depth, columns))| Matrix {
                place,
                depth,
                columns,
                width,
                beside,
            })
            .collect();
        if !matrices.iter().all(|matrix| matrix.lies_in(source.len() / weight.dtype.size())) {
            let reason = format!("panels of weight `{}` have elements outside of it", weight.name);
            return Err(Error::Manifest { file: self.0.file.clone(), reason });
        }
        panels::pack(source, weight.dtype, &matrices, packed.dtype, panels);
        Ok(())
    }

    /// The code and the weights of a target on a GPU, loaded once for all sessions there.
    pub(crate) fn loaded(&self, index: usize, context: &Arc<Context>) -> Result<Arc<Loaded>> {
        let device = &context.info.device;
        let mut all = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(.., loaded)| loaded.strong_count() > 0);
        let found = all.iter().find(|(target, on, _)| (*target, on) == (index, device));
        if let Some(loaded) = found.and_then(|(.., loaded)| loaded.upgrade()) {
            return Ok(loaded);
        }
        let target = self.target(index);
        let objects = target.code.iter().map(|&blob| &self.bytes()[self.blob_range(blob)]);
        let same = |other: usize| self.target(other).name == target.name;
        let sibling = all.iter().find(|(other, on, _)| same(*other) && on == device);
        let weights = || match sibling.and_then(|(.., loaded)| loaded.upgrade()) {
            Some(loaded) => Ok(loaded.weights()),
            None => {
                let weight = |index: usize| &self.bytes()[self.weight_range(index)];
                let programs = self.manifest().targets.iter().filter(|other| other.name == target.name);
                Weights::new(context, programs, weight).map(Arc::new)
            }
        };
        let loaded = Arc::new(Loaded::new(context, target, objects, weights)?);
        all.push((index, device.clone(), Arc::downgrade(&loaded)));
        Ok(loaded)
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let targets: Vec<&str> = self.0.manifest.targets.iter().map(|target| target.name.as_str()).collect();
        write!(
            f,
            "Program {{ file: {:?}, model: {:?}, targets: {targets:?} }}",
            self.0.file, self.0.manifest.model
        )
    }
}

/// Whether bytes start at a multiple of `align`.
pub(crate) fn is_aligned(bytes: &[u8], align: usize) -> bool {
    (bytes.as_ptr() as usize).is_multiple_of(align)
}

/// The manifest of a file, and where its blobs start.
fn read_manifest(file: &str, bytes: &[u8]) -> Result<(Manifest, usize)> {
    let file = || file.to_string();
    if !bytes.starts_with(MAGIC) {
        let start = &MAGIC[..bytes.len().min(MAGIC.len())];
        let cut = !bytes.is_empty() && bytes == start;
        return Err(match cut {
            true => Error::Truncated { file: file(), expected: HEADER as u64, given: bytes.len() as u64 },
            false => Error::Foreign { file: file() },
        });
    }
    let truncated = |expected| Error::Truncated { file: file(), expected, given: bytes.len() as u64 };
    let number = |at: usize| -> Result<u32> {
        let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
        field.map(u32::from_le_bytes).ok_or_else(|| truncated(HEADER as u64))
    };
    let (format, length) = (number(8)?, number(12)? as usize);
    if format > manifest::FORMAT {
        return Err(Error::Newer { file: file(), found: format, known: manifest::FORMAT });
    }
    let end = HEADER + length;
    let Some(json) = bytes.get(HEADER..end) else { return Err(truncated(end as u64)) };
    if blake3::hash(json).as_bytes() != &bytes[16..HEADER] {
        return Err(Error::Corrupt { file: file(), part: "the manifest".into() });
    }
    let manifest: Manifest = serde_json::from_slice(json)
        .map_err(|error| Error::Manifest { file: file(), reason: error.to_string() })?;
    if manifest.format != format {
        let reason = format!("its format is {}, the header's {format}", manifest.format);
        return Err(Error::Manifest { file: file(), reason });
    }
    Ok((manifest, end.next_multiple_of(PAGE)))
}
