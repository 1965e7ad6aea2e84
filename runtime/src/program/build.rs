//! Writing program files.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use sardonyx_tensor::{DType, Heap, Tensor};

use super::{HEADER, MAGIC, PAGE, Program, check};
use crate::error::{Error, Result};
use crate::manifest::{Attachment, Blob, FORMAT, Manifest, Weight};

/// Weights below this size share a blob.
const SMALL: usize = 16 << 10;

/// Collects the parts of a program and writes its file. The same parts in the same order give the same bytes.
///
/// The builder fills in `weights`, `texts`, `blobs`, `attachments` and `format` of its [`Manifest`]; the caller fills
/// in the rest.
#[derive(Debug, Default)]
pub struct ProgramBuilder<'a> {
    /// The manifest.
    pub manifest: Manifest,
    blobs: Vec<Content<'a>>,
    by_sum: HashMap<(blake3::Hash, bool), (usize, u64)>,
    /// The blob of small weights.
    pool: Option<usize>,
    /// The texts of weights.
    heap: Heap,
}

enum Content<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    /// Bytes that are made anew whenever they are needed, so that they are not kept; their number and sum.
    Made(Box<dyn Fn() -> Tensor + 'a>, usize, blake3::Hash),
}

impl Content<'_> {
    fn size(&self) -> usize {
        match self {
            Content::Borrowed(bytes) => bytes.len(),
            Content::Owned(bytes) => bytes.len(),
            Content::Made(_, size, _) => *size,
        }
    }

    fn sum(&self) -> blake3::Hash {
        match self {
            Content::Borrowed(bytes) => blake3::hash(bytes),
            Content::Owned(bytes) => blake3::hash(bytes),
            Content::Made(_, _, sum) => *sum,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Content::Borrowed(bytes) => out.write_all(bytes),
            Content::Owned(bytes) => out.write_all(bytes),
            Content::Made(make, size, _) => {
                let tensor = make();
                assert_eq!(tensor.bytes().len(), *size, "bug: other bytes were made");
                out.write_all(tensor.bytes())
            }
        }
    }
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

impl<'a> ProgramBuilder<'a> {
    /// A program without parts.
    pub fn new(compiler: &str, model: &str) -> ProgramBuilder<'a> {
        let manifest = Manifest {
            format: FORMAT,
            compiler: compiler.into(),
            model: model.into(),
            ..Manifest::default()
        };
        ProgramBuilder { manifest, ..ProgramBuilder::default() }
    }

    /// Adds a tensor as a weight, texts among them, and returns its index.
    pub fn tensor(&mut self, name: &str, tensor: &'a Tensor) -> usize {
        match tensor.dtype().is_reference() {
            true => self.owned_tensor(name, tensor),
            false => self.weight(name, tensor.dtype(), tensor.shape(), tensor.bytes()),
        }
    }

    /// As [`ProgramBuilder::tensor`], for a tensor that is not kept.
    pub fn owned_tensor(&mut self, name: &str, tensor: &Tensor) -> usize {
        let numbers = self.heap.adopt(tensor);
        self.owned_weight(name, numbers.dtype(), numbers.shape(), numbers.bytes().to_vec())
    }

    /// Adds a weight and returns its index. One that has the same type, shape and bytes as an earlier one is
    /// that one; the bytes of equal blobs are kept once in any case.
    pub fn weight(&mut self, name: &str, dtype: DType, shape: &[usize], bytes: &'a [u8]) -> usize {
        let place =
            if bytes.len() < SMALL { self.pooled(bytes) } else { self.blob(Content::Borrowed(bytes)) };
        self.add_weight(name, dtype, shape, place)
    }

    /// As [`ProgramBuilder::weight`], for bytes that the compiler made.
    pub fn owned_weight(&mut self, name: &str, dtype: DType, shape: &[usize], bytes: Vec<u8>) -> usize {
        let place = if bytes.len() < SMALL { self.pooled(&bytes) } else { self.blob(Content::Owned(bytes)) };
        self.add_weight(name, dtype, shape, place)
    }

    /// As [`ProgramBuilder::weight`], for bytes that are made now for their sum, and again when they are written:
    /// in between they take no memory. `make` has to give the same tensor each time.
    pub fn made_weight(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        make: impl Fn() -> Tensor + 'a,
    ) -> usize {
        let tensor = make();
        let bytes = tensor.bytes();
        let place = match bytes.len() < SMALL {
            true => self.pooled(bytes),
            false => self.blob(Content::Made(Box::new(make), bytes.len(), blake3::hash(bytes))),
        };
        self.add_weight(name, dtype, shape, place)
    }

    /// The bytes of all weights so far, equal ones once.
    pub fn weight_bytes(&self) -> usize {
        let sizes =
            self.manifest.weights.iter().map(|w| ((w.blob, w.offset), check::weight_size(w).unwrap_or(0)));
        sizes.collect::<BTreeMap<_, _>>().into_values().sum::<u64>() as usize
    }

    /// Adds a code object and returns its blob, for `TargetProgram::code`.
    pub fn code(&mut self, object: Vec<u8>) -> usize {
        self.blob(Content::Owned(object)).0
    }

    /// Adds a text for people, such as `graph`.
    pub fn attachment(&mut self, name: &str, text: String) {
        let (blob, _) = self.blob(Content::Owned(text.into_bytes()));
        self.manifest.attachments.push(Attachment { name: name.into(), blob });
    }

    fn add_weight(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        (blob, offset): (usize, u64),
    ) -> usize {
        let same = |w: &Weight| (w.blob, w.offset, w.dtype, &*w.shape) == (blob, offset, dtype, shape);
        if let Some(found) = self.manifest.weights.iter().position(same) {
            return found;
        }
        self.manifest.weights.push(Weight { name: name.into(), dtype, shape: shape.to_vec(), blob, offset });
        self.manifest.weights.len() - 1
    }

    /// The blob with this content.
    fn blob(&mut self, content: Content<'a>) -> (usize, u64) {
        let sum = content.sum();
        let next = self.blobs.len();
        let place = *self.by_sum.entry((sum, false)).or_insert((next, 0));
        if place.0 == next {
            self.blobs.push(content);
        }
        place
    }

    /// The place of these bytes in the blob of small weights.
    fn pooled(&mut self, bytes: &[u8]) -> (usize, u64) {
        let pool = *self.pool.get_or_insert_with(|| {
            self.blobs.push(Content::Owned(Vec::new()));
            self.blobs.len() - 1
        });
        let Content::Owned(content) = &mut self.blobs[pool] else { unreachable!("the pool should be owned") };
        *self.by_sum.entry((blake3::hash(bytes), true)).or_insert_with(|| {
            content.resize(content.len().next_multiple_of(64), 0);
            let offset = content.len() as u64;
            content.extend(bytes);
            (pool, offset)
        })
    }

    /// The manifest with its blobs filled in.
    ///
    /// # Errors
    /// When it is not consistent: the same checks that opening makes.
    pub fn finished_manifest(&self) -> Result<Manifest> {
        let mut manifest = self.manifest.clone();
        manifest.format = FORMAT;
        manifest.texts = self.heap.all_texts().map(String::from).collect();
        let mut offset = 0u64;
        for content in &self.blobs {
            let size = content.size() as u64;
            let sum = content.sum().to_hex().to_string();
            manifest.blobs.push(Blob { offset, size, blake3: sum });
            offset += size.next_multiple_of(PAGE as u64);
        }
        let bad = |reason| Error::Manifest { file: format!("the program of {}", manifest.model), reason };
        check::blobs(&manifest).map_err(bad)?;
        check::manifest(&manifest).map_err(bad)?;
        Ok(manifest)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the manifest is not consistent or writing fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let manifest = self.finished_manifest()?;
        let json = serde_json::to_vec(&manifest).expect("a manifest should have a JSON form");
        let file = || format!("the program of {}", manifest.model);
        let length = u32::try_from(json.len())
            .map_err(|_| Error::Manifest { file: file(), reason: "it is larger than 4 GiB".into() })?;
        let mut write = || -> io::Result<()> {
            out.write_all(MAGIC)?;
            out.write_all(&FORMAT.to_le_bytes())?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(blake3::hash(&json).as_bytes())?;
            out.write_all(&json)?;
            pad(out, HEADER + json.len())?;
            for content in &self.blobs {
                content.write(out)?;
                pad(out, content.size())?;
            }
            Ok(())
        };
        write().map_err(|source| Error::Io { file: file(), source })
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// When the manifest is not consistent.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    /// The program, without a file.
    ///
    /// # Errors
    /// When the manifest is not consistent.
    pub fn finish(&self) -> Result<Program> {
        Program::from_bytes(self.to_bytes()?)
    }
}

fn pad(out: &mut dyn Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; PAGE][..written.next_multiple_of(PAGE) - written])
}
