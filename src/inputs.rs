//! Tensors for the inputs of a model: read from files, or generated from a seed.
use crate::images::{self, ImageForm};
use sardonyx_ir::interp::sample;
use sardonyx_ir::{Graph, NodeId, Op, Value};
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Why inputs could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file could not be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A name that the model does not have.
    #[error("the model has no input `{name}`; its inputs are {known}")]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A given shape or dimension does not fit.
    #[error("input `{name}`: {reason}")]
    Shape {
        /// The input.
        name: String,
        /// What does not fit.
        reason: String,
    },
}

fn file_error(path: &Path) -> impl Fn(String) -> InputError + '_ {
    move |reason| InputError::File { path: path.to_path_buf(), reason }
}

/// Named tensors read from files: inputs, and the outputs expected for them.
#[derive(Default, Debug)]
pub struct Given {
    /// Input name to tensor.
    pub inputs: BTreeMap<String, Tensor>,
    /// Output name to expected tensor.
    pub expected: BTreeMap<String, Tensor>,
}

impl Given {
    /// Reads an `.npz`: keys are input names, or `in:NAME` and `out:NAME`.
    pub fn read_npz(&mut self, path: &Path) -> Result<(), InputError> {
        for (key, tensor) in read_npz(path)? {
            match key.split_once(':') {
                Some(("in", name)) => self.inputs.insert(name.to_string(), tensor),
                Some(("out", name)) => self.expected.insert(name.to_string(), tensor),
                _ => self.inputs.insert(key, tensor),
            };
        }
        Ok(())
    }

    /// Reads `NAME=FILE.npy`, an image in the input's form, or `NAME=NUMBER` for a scalar of the input's dtype.
    ///
    /// # Errors
    /// When the file cannot be read, or an image does not fit the input.
    pub fn read_pair<'a>(
        &mut self,
        pair: &str,
        port: impl Fn(&str) -> Option<&'a Wanted>,
        sizes: &Sizes,
        form: &ImageForm,
    ) -> Result<(), InputError> {
        let (name, value) = split_pair(pair)?;
        let (path, port) = (Path::new(value), port(name));
        let tensor = match (value.parse::<f64>(), port.map(|p| p.dtype)) {
            (Ok(_), Some(DType::String)) => Tensor::from_texts([], &[value]),
            (Ok(x), Some(t)) if !t.is_float() => Tensor::from_i128s(t, vec![], [x as i128]),
            // That the model has no such input is said when all inputs are put together.
            (Ok(x), t) => Tensor::from_f64s(t.unwrap_or(DType::F32), vec![], [x]),
            _ => match port.filter(|_| images::is_image(path)) {
                Some(port) => images::read(path, port, sizes, form).map_err(file_error(path))?,
                None => Tensor::from_npy(path).map_err(|e| file_error(path)(e.to_string()))?,
            },
        };
        self.inputs.insert(name.to_string(), tensor);
        Ok(())
    }

    /// Reads an ONNX `test_data_set_N` folder: `input_N.pb` and `output_N.pb` in the model's order.
    pub fn read_test_data(
        &mut self,
        dir: &Path,
        inputs: &[String],
        outputs: &[String],
    ) -> Result<(), InputError> {
        for (prefix, names, into) in
            [("input", inputs, &mut self.inputs), ("output", outputs, &mut self.expected)]
        {
            for (i, name) in names.iter().enumerate() {
                let path = dir.join(format!("{prefix}_{i}.pb"));
                if path.exists() {
                    let tensor =
                        crate::onnx::read_tensor(&path).map_err(|e| file_error(&path)(e.to_string()))?;
                    into.insert(name.clone(), tensor.1);
                }
            }
        }
        Ok(())
    }
}

fn split_pair(pair: &str) -> Result<(&str, &str), InputError> {
    // ONNX names may hold `=` only in theory; the value is what follows the last one.
    pair.rsplit_once('=')
        .ok_or_else(|| InputError::Shape { name: pair.to_string(), reason: "expected NAME=VALUE".into() })
}

/// The arrays of an `.npz` file, by key.
pub fn read_npz(path: &Path) -> Result<Vec<(String, Tensor)>, InputError> {
    let error = file_error(path);
    let file = File::open(path).map_err(|e| error(e.to_string()))?;
    npz_tensors(BufReader::new(file)).map_err(error)
}

/// The arrays of an `.npz` archive, by key.
///
/// # Errors
/// What is wrong with the archive or one of its arrays.
pub fn npz_tensors(reader: impl Read + Seek) -> Result<Vec<(String, Tensor)>, String> {
    let mut archive = zip::ZipArchive::new(reader).map_err(|e| e.to_string())?;
    (0..archive.len())
        .map(|i| {
            let mut entry = archive.by_index(i).map_err(|e| e.to_string())?;
            let key = entry.name().map_err(|e| e.to_string())?.trim_end_matches(".npy").to_string();
            let tensor = Tensor::read_npy(&mut entry).map_err(|e| format!("{key}: {e}"))?;
            Ok((key, tensor))
        })
        .collect()
}

/// Writes an `.npz` file.
pub fn write_npz(path: &Path, arrays: &[(String, Tensor)]) -> Result<(), InputError> {
    let error = file_error(path);
    let file = File::create(path).map_err(|e| error(e.to_string()))?;
    let mut archive = zip::ZipWriter::new(file);
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, tensor) in arrays {
        archive.start_file(format!("{name}.npy"), options).map_err(|e| error(e.to_string()))?;
        tensor.write_npy(&mut archive).map_err(|e| error(e.to_string()))?;
    }
    archive.finish().map_err(|e| error(e.to_string()))?;
    Ok(())
}

/// What a generated input has to know: name, dtype, shape, and how many values index with it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The input's name.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Integer elements are below this.
    pub bound: Option<i64>,
}

/// Sizes that the user gave: symbol to size, and whole input shapes by name.
#[derive(Clone, Default, Debug)]
pub struct Sizes {
    /// `--dim`.
    pub dims: BTreeMap<String, i64>,
    /// `--input-shape`.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

/// Tensors by name, in order.
pub type Named = Vec<(String, Tensor)>;

/// The tensors for all wanted inputs: those given, and seeded ones for the rest. Symbols without a size
/// are 1; their names are returned.
pub fn complete(
    wanted: &[Wanted],
    given: &BTreeMap<String, Tensor>,
    sizes: &Sizes,
    seed: u64,
) -> Result<(Named, Vec<String>), InputError> {
    let known = || wanted.iter().map(|w| format!("`{}`", w.name)).collect::<Vec<_>>().join(", ");
    if let Some(name) =
        given.keys().chain(sizes.shapes.keys()).find(|n| !wanted.iter().any(|w| w.name == **n))
    {
        return Err(InputError::Unknown { name: name.clone(), known: known() });
    }
    let mut bindings: Bindings = sizes.dims.iter().map(|(s, &n)| (s.clone(), n)).collect();
    for w in wanted {
        let shape = given.get(&w.name).map(|t| t.shape().iter().map(|&n| n as i64).collect());
        let Some(shape) = shape.or_else(|| sizes.shapes.get(&w.name).cloned()) else { continue };
        if shape.len() != w.shape.len() {
            let reason = format!("has rank {}, got {} sizes", w.shape.len(), shape.len());
            return Err(InputError::Shape { name: w.name.clone(), reason });
        }
        for (d, n) in w.shape.iter().zip(shape) {
            if let Some(s) = d.as_symbol().filter(|s| bindings.get(s).is_none()) {
                bindings.set(s, n);
            }
        }
    }
    let mut defaulted = Vec::new();
    for s in wanted.iter().flat_map(|w| &w.shape).flat_map(Dim::symbols) {
        if bindings.get(&s).is_none() {
            bindings.set(&s, 1);
            defaulted.push(s);
        }
    }
    let mut tensors = Vec::with_capacity(wanted.len());
    for (i, w) in wanted.iter().enumerate() {
        let tensor = match given.get(&w.name) {
            Some(t) => t.clone(),
            None => {
                generate(w, &shape_of(w, sizes, &bindings)?, seed.wrapping_mul(1009).wrapping_add(i as u64))
            }
        };
        tensors.push((w.name.clone(), tensor));
    }
    Ok((tensors, defaulted))
}

fn shape_of(w: &Wanted, sizes: &Sizes, bindings: &Bindings) -> Result<Vec<usize>, InputError> {
    let error = |reason: String| InputError::Shape { name: w.name.clone(), reason };
    let shape: Vec<i64> = match sizes.shapes.get(&w.name) {
        Some(shape) => shape.clone(),
        None => w
            .shape
            .iter()
            .map(|d| d.eval(bindings).map_err(|e| error(e.to_string())))
            .collect::<Result<_, _>>()?,
    };
    shape.iter().map(|&n| usize::try_from(n).map_err(|_| error(format!("size {n} is negative")))).collect()
}

/// Seeded elements: floats in [-1, 1); integers below the bound of what they index, else mostly 1 and
/// sometimes 0, as masks and flags are.
fn generate(w: &Wanted, shape: &[usize], seed: u64) -> Tensor {
    if !w.dtype.is_int() {
        return sample(w.dtype, shape, seed);
    }
    let noise = sample(DType::F32, shape, seed);
    let unit = noise.to_f64s().into_iter().map(|x| (x + 1.0) / 2.0);
    let values: Vec<i128> = match w.bound {
        Some(n) => unit.map(|u| ((u * n as f64) as i128).clamp(0, i128::from(n.max(1) - 1))).collect(),
        None => unit.map(|u| i128::from(u < 0.75)).collect(),
    };
    Tensor::from_i128s(w.dtype, shape.to_vec(), values)
}

/// For integer inputs that reach the indices of a gather, or a comparison with 0, 1, …, n-1 as exporters write
/// one-hot encodings: the number of values that mean something.
pub fn index_bounds(g: &Graph) -> HashMap<Value, i64> {
    let mut bounds = HashMap::new();
    for input in g.inputs().filter(|&v| g.ty(v).dtype.is_int()) {
        let mut seen: HashSet<NodeId> = HashSet::new();
        let mut stack = vec![input];
        let mut bound: Option<i64> = None;
        while let Some(v) = stack.pop() {
            for (user, slot) in g.users(v) {
                let indexed = match (g.op(Value { node: user, port: 0 }), slot) {
                    (Op::Gather { axis }, 1) => {
                        let table = g.ty(g.operand(user, 0));
                        table.axis(*axis).ok().and_then(|a| table.shape[a].known())
                    }
                    (Op::Eq {}, _) => classes(g, g.operand(user, 1 - slot)),
                    _ => None,
                };
                if let Some(n) = indexed {
                    bound = Some(bound.map_or(n, |b| b.min(n)));
                } else if passes_through(g, user) && seen.insert(user) {
                    stack.push(Value { node: user, port: 0 });
                }
            }
        }
        if let Some(n) = bound {
            bounds.insert(input, n);
        }
    }
    bounds
}

/// How many elements a constant 0, 1, …, n-1 has.
fn classes(g: &Graph, v: Value) -> Option<i64> {
    let values = g.const_value(v).filter(|t| t.len() > 1)?.to_i128s();
    values.iter().enumerate().all(|(k, &x)| x == k as i128).then_some(values.len() as i64)
}

fn passes_through(g: &Graph, id: NodeId) -> bool {
    matches!(
        g.node(id).op,
        Op::Cast { .. }
            | Op::Reshape { .. }
            | Op::Slice { .. }
            | Op::Expand { .. }
            | Op::Transpose { .. }
            | Op::Concat { .. }
            | Op::Clip { .. }
    ) && g.node(id).types[0].dtype.is_int()
}
