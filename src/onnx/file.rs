//! The files of a model: the model itself, and the files beside it that hold large tensors.
use super::error::ImportError;
use super::proto::ModelProto;
use bytes::Bytes;
use prost::Message;
use sardonyx_runtime::MappedFile;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// Bytes that tensors can share, and where other files are found.
pub(crate) struct Files {
    folder: Option<PathBuf>,
    open: HashMap<PathBuf, Bytes>,
}

/// The bytes of a file, which tensors share.
fn open(path: &Path) -> std::io::Result<Bytes> {
    MappedFile::open(path).map(Bytes::from_owner)
}

/// The model in a file, whose tensors share the file's bytes.
pub(crate) fn read(path: &Path) -> Result<(ModelProto, Files), ImportError> {
    let bytes = open(path).map_err(|source| ImportError::Read { file: path.into(), source })?;
    let folder = match path.parent() {
        Some(p) if p.as_os_str().is_empty() => PathBuf::from("."),
        Some(p) => p.into(),
        None => PathBuf::from("."),
    };
    Ok((decode(bytes, path)?, Files { folder: Some(folder), open: HashMap::new() }))
}

/// The model in these bytes, without other files.
pub(crate) fn read_bytes(bytes: Bytes, name: &Path) -> Result<(ModelProto, Files), ImportError> {
    Ok((decode(bytes, name)?, Files::none()))
}

fn decode(bytes: Bytes, file: &Path) -> Result<ModelProto, ImportError> {
    let fail = |reason: String| ImportError::Decode { file: file.into(), reason };
    if bytes.is_empty() {
        return Err(fail("the file is empty".into()));
    }
    let model = ModelProto::decode(bytes).map_err(|e| fail(e.to_string()))?;
    if model.graph.is_none() {
        return Err(fail("it has no graph".into()));
    }
    Ok(model)
}

impl Files {
    /// No files: for a model that is not in a folder.
    pub(crate) fn none() -> Files {
        Files { folder: None, open: HashMap::new() }
    }

    /// The bytes that a tensor's `external_data` names. `expected` is the size of the tensor.
    pub(crate) fn external(&mut self, data: &ExternalData, expected: usize) -> Result<Bytes, String> {
        let file = self.file(&data.location)?;
        let length = data.length.unwrap_or(expected);
        if length != expected {
            return Err(format!("external data of {length} bytes for a tensor of {expected}"));
        }
        let end = data.offset.checked_add(length).filter(|&end| end <= file.len());
        let end = end.ok_or_else(|| {
            let (from, size, name) = (data.offset, file.len(), &data.location);
            format!("{length} bytes from {from} on lie outside `{name}`, which has {size}")
        })?;
        Ok(file.slice(data.offset..end))
    }

    fn file(&mut self, location: &str) -> Result<Bytes, String> {
        let folder = self.folder.as_ref().ok_or("external data, but the model is not in a folder")?;
        let path = Path::new(location);
        let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !inside {
            return Err(format!("external data in `{location}`, which is outside of the model's folder"));
        }
        let fail = |e: std::io::Error| format!("external data in `{location}`: {e}");
        let real = folder.join(path).canonicalize().map_err(fail)?;
        if !real.starts_with(folder.canonicalize().map_err(fail)?) {
            return Err(format!("external data in `{location}`, a link out of the model's folder"));
        }
        if let Some(bytes) = self.open.get(&real) {
            return Ok(bytes.clone());
        }
        let bytes = open(&real).map_err(fail)?;
        self.open.insert(real, bytes.clone());
        Ok(bytes)
    }
}

/// Where the bytes of a tensor are.
pub(crate) struct ExternalData {
    location: String,
    offset: usize,
    length: Option<usize>,
}

impl ExternalData {
    /// From the keys of a tensor's `external_data`, of which some may be unknown.
    pub(crate) fn parse(entries: &[super::proto::StringStringEntryProto]) -> Result<ExternalData, String> {
        let find = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            find(key)
                .map(|v| v.trim().parse::<usize>().map_err(|_| format!("external data with {key} `{v}`")))
                .transpose()
        };
        let location = find("location").ok_or("external data without a location")?.to_string();
        Ok(ExternalData { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }
}
