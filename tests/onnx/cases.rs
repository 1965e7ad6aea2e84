//! The tests in the data folder of the `onnx` wheel.
use sardonyx::onnx::{self, Kind, Model};
use sardonyx_tensor::{DType, Tensor};
use std::path::{Path, PathBuf};

/// A folder of tests.
pub struct Group {
    /// Its name in the data folder.
    pub folder: &'static str,
    /// What it holds.
    pub about: &'static str,
}

/// All folders.
pub static GROUPS: &[Group] = &[
    Group { folder: "node", about: "one operator each" },
    Group { folder: "pytorch-converted", about: "modules that PyTorch exported" },
    Group { folder: "pytorch-operator", about: "operators that PyTorch exported" },
    Group { folder: "simple", about: "small graphs" },
    Group { folder: "light", about: "known networks with constant weights" },
];

/// A model with inputs and expected outputs.
pub struct Case {
    pub name: String,
    pub model: PathBuf,
}

/// Inputs, and what they should give.
pub type Set = (Vec<Tensor>, Vec<Tensor>);

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    all.sort();
    all
}

/// The tests of a group, sorted: folders with a model, or the models themselves.
pub fn cases(data: &Path, group: &Group) -> Vec<Case> {
    let case = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match path.is_dir() {
            true => Some(Case { name, model: path.join("model.onnx") }),
            false => {
                path.extension().is_some_and(|e| e == "onnx").then_some(Case { name, model: path.clone() })
            }
        }
    };
    sorted(&data.join(group.folder)).into_iter().filter_map(case).collect()
}

/// The values `input_0.pb`, `input_1.pb`, … of a data set.
fn tensors(prefix: &Path, kind: &str, kinds: &[Kind]) -> Result<Vec<Tensor>, String> {
    let file = |i: usize| {
        let mut name = prefix.as_os_str().to_os_string();
        name.push(format!("{kind}_{i}.pb"));
        PathBuf::from(name)
    };
    (0..)
        .map(file)
        .take_while(|p| p.exists())
        .enumerate()
        .map(|(i, p)| {
            onnx::read_value(&p, kinds.get(i).unwrap_or(&Kind::Unknown))
                .map(|(_, t)| t)
                .map_err(|e| e.to_string())
        })
        .collect()
}

impl Case {
    /// The data sets.
    pub fn sets(&self, model: &Model) -> Result<Vec<Set>, String> {
        let folder = self.model.parent().unwrap_or(Path::new(""));
        let sets: Vec<PathBuf> = sorted(folder).into_iter().filter(|p| p.is_dir()).collect();
        if sets.is_empty() {
            let expected = tensors(&self.model.with_extension(""), "_output", &model.output_kinds)?;
            return Ok(vec![(ramps(model)?, expected)]);
        }
        let set = |p: &PathBuf| {
            let inputs = tensors(&p.join(""), "input", &model.input_kinds)?;
            Ok((inputs, tensors(&p.join(""), "output", &model.output_kinds)?))
        };
        sets.iter().map(set).collect()
    }
}

/// The inputs of a light network: `0, 1/n, 2/n, …`, symbolic dimensions being 1.
fn ramps(model: &Model) -> Result<Vec<Tensor>, String> {
    let ramp = |v| {
        let ty = model.graph.ty(v);
        if ty.dtype != DType::F32 {
            return Err(format!("an input {ty}"));
        }
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.known().unwrap_or(1) as usize).collect();
        let count: usize = shape.iter().product();
        Ok(Tensor::from_f64s(DType::F32, shape, (0..count).map(|i| i as f64 / count as f64)))
    };
    model.graph.inputs().map(ramp).collect()
}
