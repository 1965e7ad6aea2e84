//! ONNX Runtime as an oracle and a yardstick: its CPU provider, its library loaded at run time.
use ::ort::environment::Environment;
use ::ort::session::builder::GraphOptimizationLevel;
use ::ort::session::{Session, SessionInputValue};
use ::ort::value::{
    DynMapValueType, DynSequenceValueType, DynValue, DynValueTypeMarker, IntoTensorElementType, Map,
    TensorElementType, TensorValueType, ValueType,
};
use sardonyx_tensor::{DType, Element, Tensor, bf16, f16};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Why ONNX Runtime could not be used or did not run the model.
#[derive(Debug, thiserror::Error)]
pub enum OrtError {
    /// Its library was not found or could not be loaded.
    #[error(
        "ONNX Runtime's library could not be loaded ({0}); give its path with --ort-library or in ORT_DYLIB_PATH (PyPI's `onnxruntime` holds it as onnxruntime/capi/libonnxruntime.so.*)"
    )]
    Library(String),
    /// It refused the model or failed to run it.
    #[error("ONNX Runtime: {0}")]
    Run(String),
    /// A tensor's element type that the comparison does not carry.
    #[error("ONNX Runtime: {0} tensors are not supported in comparisons")]
    Type(String),
}

fn run_error(e: impl std::fmt::Display) -> OrtError {
    OrtError::Run(e.to_string().trim().to_string())
}

/// A model loaded in ONNX Runtime.
pub struct Ort {
    session: Session,
}

fn environment(library: Option<&Path>) -> Result<&'static Environment, OrtError> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let made = ENVIRONMENT.get_or_init(|| {
        let path =
            library.map(Path::to_path_buf).or_else(|| std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
        let path = path.unwrap_or_else(|| "libonnxruntime.so".into());
        let builder = ::ort::init_from(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        builder.build().map_err(|e| e.to_string())
    });
    made.as_ref().map_err(|e| OrtError::Library(e.clone()))
}

/// How much ONNX Runtime may change a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Not at all.
    Disabled,
    /// As far as it may for every provider.
    Basic,
    /// As far as it can.
    All,
}

impl Level {
    /// Every level, the highest last.
    pub const EVERY: [Level; 3] = [Level::Disabled, Level::Basic, Level::All];

    fn ort(self) -> GraphOptimizationLevel {
        match self {
            Level::Disabled => GraphOptimizationLevel::Disable,
            Level::Basic => GraphOptimizationLevel::Level1,
            Level::All => GraphOptimizationLevel::All,
        }
    }
}

impl Ort {
    /// Loads a model, at ONNX Runtime's highest optimization level.
    pub fn open(model: &Path, threads: usize, library: Option<&Path>) -> Result<Ort, OrtError> {
        Ort::open_at(model, threads, library, Level::All)
    }

    /// Loads a model at an optimization level.
    pub fn open_at(
        model: &Path,
        threads: usize,
        library: Option<&Path>,
        level: Level,
    ) -> Result<Ort, OrtError> {
        let environment = environment(library)?;
        let builder = Session::builder(environment).map_err(run_error)?;
        let builder = builder.with_intra_threads(threads.max(1)).map_err(run_error)?;
        let mut builder = builder.with_optimization_level(level.ort()).map_err(run_error)?;
        Ok(Ort { session: builder.commit_from_file(model).map_err(run_error)? })
    }

    /// Loads a model from memory, as it is, for one thread.
    pub fn from_bytes(model: &[u8]) -> Result<Ort, OrtError> {
        let builder = Session::builder(environment(None)?).map_err(run_error)?;
        let builder = builder.with_intra_threads(1).map_err(run_error)?;
        let mut builder =
            builder.with_optimization_level(GraphOptimizationLevel::Disable).map_err(run_error)?;
        Ok(Ort { session: builder.commit_from_memory(model).map_err(run_error)? })
    }

    /// Writes the model as ONNX Runtime's own optimizer leaves it: fused, its layouts those of the standard.
    pub fn write_optimized(model: &Path, to: &Path) -> Result<(), OrtError> {
        let builder = Session::builder(environment(None)?).map_err(run_error)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::Level2).map_err(run_error)?;
        let mut builder = builder.with_optimized_model_path(to).map_err(run_error)?;
        builder.commit_from_file(model).map(|_| ()).map_err(run_error)
    }

    /// Runs the model; the outputs in the model's order.
    pub fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, OrtError> {
        let known: Vec<String> = self.session.inputs().iter().map(|i| i.name().to_string()).collect();
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for (name, t) in inputs.iter().filter(|(name, _)| known.contains(name)) {
            values.push((Cow::from(name.as_str()), to_ort(t)?.into()));
        }
        let names: Vec<String> = self.session.outputs().iter().map(|o| o.name().to_string()).collect();
        let outputs = self.session.run(values).map_err(run_error)?;
        names
            .into_iter()
            .map(|name| {
                let value = outputs.get(&name).ok_or_else(|| OrtError::Run(format!("no output {name}")))?;
                let t = from_ort(value)?;
                Ok((name, t))
            })
            .collect()
    }
}

macro_rules! by_dtype {
    ($dtype:expr, $T:ident => $body:expr, $otherwise:expr) => {
        match $dtype {
            DType::F64 => {
                type $T = f64;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
            DType::BF16 => {
                type $T = bf16;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I16 => {
                type $T = i16;
                $body
            }
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::U64 => {
                type $T = u64;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
            DType::U16 => {
                type $T = u16;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::Bool => {
                type $T = bool;
                $body
            }
            _ => $otherwise,
        }
    };
}

/// A map, as a list of keys and values.
fn map_to_ort(t: &Tensor) -> Result<DynValue, OrtError> {
    let refused = || OrtError::Type(t.dtype().to_string());
    let [keys, values] = t.items(0) else { return Err(refused()) };
    let (keys, values) = (to_ort(keys)?, to_ort(values)?);
    macro_rules! typed {
        ($($K:ty, $V:ty);*) => {
            match (keys.dtype(), values.dtype()) {
                $((ValueType::Tensor { ty: k, .. }, ValueType::Tensor { ty: v, .. })
                    if *k == <$K>::into_tensor_element_type() && *v == <$V>::into_tensor_element_type() =>
                {
                    let keys = keys.downcast::<TensorValueType<$K>>().map_err(run_error)?;
                    let values = values.downcast::<TensorValueType<$V>>().map_err(run_error)?;
                    Ok(Map::<$K, $V>::new_kv(keys, values).map_err(run_error)?.into_dyn())
                })*
                _ => Err(refused()),
            }
        };
    }
    typed!(i64, f32; i64, f64; i64, i64; i64, String; String, f32; String, f64; String, i64; String, String)
}

/// The keys and values of a map.
fn map_from_ort(value: &DynValue) -> Result<Tensor, OrtError> {
    let map = value.view().downcast::<DynMapValueType>().map_err(run_error)?;
    let ValueType::Map { key, value } = *map.dtype() else { return Err(OrtError::Type("no map".into())) };
    macro_rules! typed {
        ($($V:ty),*) => {
            match (key, value) {
                $((TensorElementType::Int64, v) if v == <$V>::into_tensor_element_type() => {
                    let (keys, values): (Vec<i64>, Vec<$V>) =
                        map.try_extract_key_values::<i64, $V>().map_err(run_error)?.into_iter().unzip();
                    Ok([Tensor::from_slice([keys.len()], &keys), Tensor::from_slice([values.len()], &values)])
                }
                (TensorElementType::String, v) if v == <$V>::into_tensor_element_type() => {
                    let (keys, values): (Vec<String>, Vec<$V>) =
                        map.try_extract_key_values::<String, $V>().map_err(run_error)?.into_iter().unzip();
                    Ok([Tensor::from_texts([keys.len()], &keys), Tensor::from_slice([values.len()], &values)])
                })*
                _ => Err(OrtError::Type(map.dtype().to_string())),
            }
        };
    }
    typed!(f32, f64, i64).map(Tensor::from_list)
}

fn to_ort(t: &Tensor) -> Result<DynValue, OrtError> {
    fn value<T>(t: &Tensor) -> Result<DynValue, OrtError>
    where
        T: Element + ::ort::value::PrimitiveTensorElementType + std::fmt::Debug,
    {
        let elements = t.as_slice::<T>().expect("the dtype should be that of the arm").to_vec();
        let shape: Vec<usize> = t.shape().to_vec();
        Ok(::ort::value::Tensor::from_array((shape, elements)).map_err(run_error)?.into_dyn())
    }
    if t.dtype() == DType::List && t.rank() == 0 {
        return map_to_ort(t);
    }
    if t.dtype() == DType::Bool {
        let elements: Vec<bool> = t.bytes().iter().map(|&b| b != 0).collect();
        return Ok(::ort::value::Tensor::from_array((t.shape().to_vec(), elements))
            .map_err(run_error)?
            .into_dyn());
    }
    if t.dtype() == DType::String {
        let texts: Vec<String> = t.texts().into_iter().map(String::from).collect();
        return Ok(::ort::value::Tensor::from_string_array((t.shape().to_vec(), texts.as_slice()))
            .map_err(run_error)?
            .into_dyn());
    }
    by_dtype!(t.dtype(), T => value::<T>(t), Err(OrtError::Type(t.dtype().to_string())))
}

fn from_ort(value: &DynValue) -> Result<Tensor, OrtError> {
    if let ValueType::Sequence(_) = value.dtype() {
        let sequence = value.view().downcast::<DynSequenceValueType>().map_err(run_error)?;
        let items = sequence.try_extract_sequence::<DynValueTypeMarker>().map_err(run_error)?;
        return Ok(Tensor::from_list(items.iter().map(from_ort).collect::<Result<Vec<_>, _>>()?));
    }
    if let ValueType::Map { .. } = value.dtype() {
        return map_from_ort(value);
    }
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(OrtError::Type(value.dtype().to_string()));
    };
    if *ty == TensorElementType::String {
        let (shape, texts) = value.try_extract_strings().map_err(run_error)?;
        return Ok(Tensor::from_texts(shape.iter().map(|&d| d as usize).collect::<Vec<_>>(), &texts));
    }
    let dtype = dtype(*ty).ok_or_else(|| OrtError::Type(ty.to_string()))?;
    by_dtype!(dtype, T => {
        let (shape, elements) = value.try_extract_tensor::<T>().map_err(run_error)?;
        let shape: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
        Ok(Tensor::from_slice(shape, elements))
    }, Err(OrtError::Type(ty.to_string())))
}

fn dtype(t: TensorElementType) -> Option<DType> {
    Some(match t {
        TensorElementType::Float64 => DType::F64,
        TensorElementType::Float32 => DType::F32,
        TensorElementType::Float16 => DType::F16,
        TensorElementType::Bfloat16 => DType::BF16,
        TensorElementType::Int64 => DType::I64,
        TensorElementType::Int32 => DType::I32,
        TensorElementType::Int16 => DType::I16,
        TensorElementType::Int8 => DType::I8,
        TensorElementType::Uint64 => DType::U64,
        TensorElementType::Uint32 => DType::U32,
        TensorElementType::Uint16 => DType::U16,
        TensorElementType::Uint8 => DType::U8,
        TensorElementType::Bool => DType::Bool,
        _ => return None,
    })
}
