//! NumPy's `.npy` files, versions 1 to 3: little endian, C or Fortran order.

use std::io::{Read, Write};
use std::path::Path;

use crate::tensor::byte_size;
use crate::{DType, Tensor, TensorError};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy writes headers of a few hundred bytes.
const HEADER_LIMIT: usize = 1 << 20;

/// Why a `.npy` file is not read or written.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file does not start as `.npy` files do.
    #[error("not a .npy file")]
    Foreign,
    /// The version is none of 1, 2 and 3.
    #[error("version {0}.{1} of the .npy format is not known")]
    Version(u8, u8),
    /// The header is not what NumPy writes.
    #[error("bad .npy header: {0}")]
    Header(String),
    /// The element type has no equal here.
    #[error("element type {0} of the .npy file is not supported")]
    DType(String),
    /// The data ends early.
    #[error("the .npy file ends early: {expected} bytes of data expected, {given} given")]
    Truncated {
        /// Bytes the shape takes.
        expected: usize,
        /// Bytes the file has.
        given: usize,
    },
    /// The shape is too large.
    #[error("{0}")]
    Tensor(#[from] TensorError),
    /// An error with the file it is about.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: Box<NpyError>,
    },
}

impl Tensor {
    /// Reads a `.npy` file.
    ///
    /// # Errors
    /// As of [`Tensor::read_npy`], with the name of the file.
    pub fn from_npy(path: impl AsRef<Path>) -> Result<Tensor, NpyError> {
        let path = path.as_ref();
        let file = |source| NpyError::File { path: path.display().to_string(), source: Box::new(source) };
        let bytes = std::fs::read(path).map_err(|error| file(error.into()))?;
        Tensor::read_npy(&mut bytes.as_slice()).map_err(file)
    }

    /// Reads a tensor in the `.npy` format, to the end of the reader.
    ///
    /// # Errors
    /// When reading fails, the header is not valid, the element type has no equal, or the data has not the
    /// size of the shape.
    pub fn read_npy(reader: &mut dyn Read) -> Result<Tensor, NpyError> {
        let header = read_header(reader)?;
        let (Elements { dtype, width }, fortran, shape) = parse_header(&header)?;
        // The data is read before anything of the header's size is allocated.
        let count = byte_size(dtype, &shape)? / dtype.size();
        let expected = count.checked_mul(width).ok_or_else(|| TensorError::TooLarge(dtype, shape.clone()))?;
        let mut data = Vec::new();
        reader.take(expected as u64).read_to_end(&mut data)?;
        if data.len() < expected {
            return Err(NpyError::Truncated { expected, given: data.len() });
        }
        if dtype == DType::Bool {
            data.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        if dtype == DType::String {
            if fortran && shape.len() > 1 {
                return Err(NpyError::DType("texts in Fortran order".into()));
            }
            let texts: Vec<String> = (0..count).map(|i| text(&data[i * width..(i + 1) * width])).collect();
            return Ok(Tensor::from_texts(shape, &texts));
        }
        if !fortran {
            return Ok(Tensor::new(dtype, shape, data)?);
        }
        let mut tensor = Tensor::zeros(dtype, shape.clone());
        from_fortran(&data, dtype.size(), &shape, tensor.bytes_mut());
        Ok(tensor)
    }

    /// Writes the tensor in the `.npy` format. Types that NumPy has not are written as wider ones: `bf16`
    /// and eight-bit floats as `f32`, narrow integers as those of eight bits.
    ///
    /// # Errors
    /// When writing fails, or the elements are lists.
    pub fn write_npy(&self, writer: &mut dyn Write) -> Result<(), NpyError> {
        let (descr, bytes) = match self.dtype() {
            DType::List => return Err(NpyError::DType("list".into())),
            DType::String => {
                let (width, bytes) = characters(&self.texts());
                (format!("<U{width}"), Some(bytes))
            }
            dtype => match descr(dtype) {
                Some(descr) => (descr.to_string(), None),
                None => return self.cast(DType::F32).write_npy(writer),
            },
        };
        let dims: String = self.shape().iter().map(|dim| format!("{dim}, ")).collect();
        let shape = if self.rank() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(|_| NpyError::Header("shape too long".into()))?;
        writer.write_all(MAGIC)?;
        writer.write_all(&[1, 0])?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        Ok(writer.write_all(bytes.as_deref().unwrap_or(self.bytes()))?)
    }
}

fn descr(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "<f8",
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::I16 => "<i2",
        DType::I8 | DType::I4 | DType::I2 => "|i1",
        DType::U64 => "<u8",
        DType::U32 => "<u4",
        DType::U16 => "<u2",
        DType::U8 | DType::U4 | DType::U2 => "|u1",
        DType::Bool => "|b1",
        _ => return None,
    })
}

/// How the elements of a file are stored.
struct Elements {
    dtype: DType,
    /// Bytes each takes.
    width: usize,
}

/// A text of as many characters of four bytes as fit, without the zeros behind it.
fn text(bytes: &[u8]) -> String {
    let code = |c: &[u8]| u32::from_le_bytes(c.try_into().expect("a chunk should have its size"));
    let text: String = bytes
        .chunks_exact(4)
        .map(|c| char::from_u32(code(c)).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.trim_end_matches('\0').to_string()
}

/// Texts as characters of four bytes: how many the longest has, and the bytes.
fn characters(texts: &[&str]) -> (usize, Vec<u8>) {
    let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    let padded = |text: &&str| -> Vec<u8> {
        let codes = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
        codes.flat_map(u32::to_le_bytes).collect()
    };
    (width, texts.iter().flat_map(padded).collect())
}

fn read_header(reader: &mut dyn Read) -> Result<String, NpyError> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|_| NpyError::Foreign)?;
    if &start[..6] != MAGIC {
        return Err(NpyError::Foreign);
    }
    let early = |_| NpyError::Header("it ends early".into());
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).map_err(early)?;
            u16::from_le_bytes(length).into()
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length).map_err(early)?;
            u32::from_le_bytes(length) as usize
        }
        major => return Err(NpyError::Version(major, start[7])),
    };
    if length > HEADER_LIMIT {
        return Err(NpyError::Header(format!("it has {length} bytes")));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(early)?;
    String::from_utf8(header).map_err(|_| NpyError::Header("it is not UTF-8".into()))
}

/// Type, Fortran order and shape from the Python dictionary of the header.
fn parse_header(header: &str) -> Result<(Elements, bool, Vec<usize>), NpyError> {
    let bad = |what: &str| NpyError::Header(format!("{what} in {:?}", header.trim_end()));
    let value = |key: &str| {
        let at = header.find(&format!("'{key}'")).ok_or_else(|| bad(&format!("no '{key}'")))?;
        let rest = header[at + key.len() + 2..].trim_start().strip_prefix(':');
        Ok::<&str, NpyError>(rest.ok_or_else(|| bad("no ':'"))?.trim_start())
    };
    let descr = value("descr")?.strip_prefix('\'').ok_or_else(|| bad("a structured type"))?;
    let descr = &descr[..descr.find('\'').ok_or_else(|| bad("no end of 'descr'"))?];
    let elements = parse_descr(descr).ok_or_else(|| NpyError::DType(descr.to_string()))?;
    let order = value("fortran_order")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return Err(bad("no truth value of 'fortran_order'"));
    }
    let dims = value("shape")?.strip_prefix('(').ok_or_else(|| bad("no shape"))?;
    let dims = &dims[..dims.find(')').ok_or_else(|| bad("no end of the shape"))?];
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape = dims.map(|dim| dim.trim_end_matches('L').parse().map_err(|_| bad("a bad dimension")));
    Ok((elements, fortran, shape.collect::<Result<_, _>>()?))
}

fn parse_descr(descr: &str) -> Option<Elements> {
    let descr = descr.trim_start_matches(['<', '|', '=']);
    if let Some(characters) = descr.strip_prefix('U') {
        let width = characters.parse::<usize>().ok().filter(|&n| n > 0)?.checked_mul(4)?;
        return Some(Elements { dtype: DType::String, width });
    }
    let dtype = match descr {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" | ">i1" => DType::I8,
        "u8" => DType::U64,
        "u4" => DType::U32,
        "u2" => DType::U16,
        "u1" | ">u1" => DType::U8,
        "b1" | "?" => DType::Bool,
        _ => return None,
    };
    Some(Elements { dtype, width: dtype.size() })
}

/// Copies elements from column-major to row-major order.
fn from_fortran(data: &[u8], size: usize, shape: &[usize], out: &mut [u8]) {
    let mut index = vec![0usize; shape.len()];
    for element in out.chunks_exact_mut(size) {
        let (mut from, mut stride) = (0, size);
        for (&i, &dim) in index.iter().zip(shape) {
            from += i * stride;
            stride *= dim;
        }
        element.copy_from_slice(&data[from..from + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Tensor, NpyError> {
        Tensor::read_npy(&mut &bytes[..])
    }

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn every_type_round_trips() {
        for &dtype in DType::ALL {
            for shape in [vec![], vec![3], vec![2, 3], vec![0, 2]] {
                let count = shape.iter().product::<usize>();
                let values = (0..count).map(|i| if i % 2 == 0 { 1.0 } else { dtype.size() as f64 });
                let tensor = Tensor::from_f64s(dtype, shape, values);
                let mut bytes = Vec::new();
                tensor.write_npy(&mut bytes).unwrap();
                let back = read(&bytes).unwrap();
                assert_eq!((back.shape(), back.to_f64s()), (tensor.shape(), tensor.to_f64s()), "{dtype}");
                assert_eq!((bytes.len() - tensor.cast(back.dtype()).bytes().len()) % 64, 0);
            }
        }
    }

    #[test]
    fn texts_round_trip() {
        let tensor = Tensor::from_texts([2, 2], &["a", "", "déjà vu", "𝄞"]);
        let mut bytes = Vec::new();
        tensor.write_npy(&mut bytes).unwrap();
        assert_eq!(read(&bytes).unwrap(), tensor);
        let header = "{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }";
        assert_eq!(read(&file(1, header, &[97, 0, 0, 0, 0, 0, 0, 0])).unwrap().texts(), ["a"]);
        assert_eq!(read(&file(1, header, &[0, 0, 0xff, 0xff, 0, 0, 0, 0])).unwrap().texts(), ["\u{fffd}"]);
        assert!(matches!(read(&file(1, header, &[97])), Err(NpyError::Truncated { expected: 8, given: 1 })));
        let endless = "{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }";
        assert!(matches!(read(&file(1, endless, &[])), Err(NpyError::DType(_))));
        assert!(Tensor::from_list([]).write_npy(&mut Vec::new()).is_err());
    }

    #[test]
    fn fortran_order_and_versions() {
        for version in [1, 2, 3] {
            let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n";
            let tensor = read(&file(version, header, &[1, 4, 2, 5, 3, 6])).unwrap();
            assert_eq!(tensor, Tensor::from_slice([2, 3], &[1u8, 2, 3, 4, 5, 6]));
        }
    }

    #[test]
    fn bad_files_are_errors() {
        let header = |descr: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}")
        };
        assert!(matches!(read(b"PK\x03\x04...."), Err(NpyError::Foreign)));
        assert!(matches!(read(b""), Err(NpyError::Foreign)));
        assert!(matches!(read(&file(9, "", &[])), Err(NpyError::Version(9, 0))));
        assert!(matches!(read(&file(1, "{}", &[])), Err(NpyError::Header(_))));
        assert!(matches!(read(&file(1, &header(">f4", "1"), &[0; 4])), Err(NpyError::DType(_))));
        assert!(matches!(read(&file(1, &header("<M8", "1"), &[0; 8])), Err(NpyError::DType(_))));
        let short = read(&file(1, &header("<f4", "2,"), &[0; 7]));
        assert!(matches!(short, Err(NpyError::Truncated { expected: 8, given: 7 })));
        let huge = read(&file(1, &header("<f4", "99999999999999999, 9999999999"), &[]));
        assert!(matches!(huge, Err(NpyError::Tensor(TensorError::TooLarge(..)))));
        assert!(matches!(read(&file(1, &header("<f4", "-1"), &[])), Err(NpyError::Header(_))));
        let all = file(1, &header("<f4", "2"), &[0; 8]);
        for end in 0..all.len() {
            assert!(read(&all[..end]).is_err(), "truncated to {end} bytes");
        }
        let missing = Tensor::from_npy("no/such/file.npy").unwrap_err().to_string();
        assert!(missing.contains("no/such/file.npy"), "{missing}");
    }
}
