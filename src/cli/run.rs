//! `run`: one run of a program, its outputs shown or written.
use super::args::Run;
use super::common;
use super::{Failure, Outcome};
use crate::inputs::write_npz;
use anyhow::anyhow;
use sardonyx_tensor::{DType, Tensor};

pub(super) fn run(args: &Run) -> Outcome {
    let loaded = common::load(&args.model, None, &args.device, &args.sizes, &args.build)?;
    let (inputs, _) = common::inputs(&loaded, &args.inputs, &args.sizes)?;
    let outputs = common::run_once(&loaded.program, &args.device, &inputs)?;
    for (name, t) in &outputs {
        println!("{name}: {}{:?} {}", t.dtype(), t.shape(), preview(t));
    }
    if let Some(path) = &args.outputs {
        write_npz(path, &outputs).map_err(Failure::run)?;
    }
    if let Some(dir) = &args.output_dir {
        std::fs::create_dir_all(dir).map_err(|e| Failure::Run(anyhow!("{}: {e}", dir.display())))?;
        for (name, t) in &outputs {
            let path = dir.join(format!("{}.npy", name.replace(['/', ':'], "_")));
            let mut file =
                std::fs::File::create(&path).map_err(|e| Failure::Run(anyhow!("{}: {e}", path.display())))?;
            t.write_npy(&mut file).map_err(|e| Failure::Run(anyhow!("{}: {e}", path.display())))?;
        }
    }
    Ok(())
}

/// How many elements of a tensor or list are shown.
const SHOWN: usize = 6;

/// The first elements of a tensor. Of a list the first items, those of a map by their keys.
fn preview(t: &Tensor) -> String {
    let elements: Vec<String> = match t.dtype() {
        DType::List if t.rank() == 0 => return items(t.items(0)),
        DType::List => (0..t.len().min(SHOWN)).map(|i| items(t.items(i))).collect(),
        DType::String => t.texts().iter().take(SHOWN).map(|text| format!("{text:?}")).collect(),
        dtype if dtype.is_float() => {
            (0..t.len().min(SHOWN)).map(|i| format!("{:.6}", t.get_f64(i))).collect()
        }
        _ => t.to_i128s().iter().take(SHOWN).map(i128::to_string).collect(),
    };
    format!("[{}{}]", elements.join(", "), if t.len() > SHOWN { ", …" } else { "" })
}

/// A list, or a map: a list of two lists of one length and different types, which no sequence is.
fn items(all: &[Tensor]) -> String {
    let more = |n: usize| if n > SHOWN { ", …" } else { "" };
    if let [keys, values] = all
        && keys.dtype() != values.dtype()
        && [keys, values].iter().all(|t| t.rank() == 1 && t.dtype() != DType::List)
        && keys.len() == values.len()
    {
        let at = |t: &Tensor, i: usize| match t.dtype() {
            DType::String => format!("{:?}", t.texts()[i]),
            dtype if dtype.is_float() => format!("{:.6}", t.get_f64(i)),
            _ => t.get_i64(i).to_string(),
        };
        let pairs: Vec<String> =
            (0..keys.len().min(SHOWN)).map(|i| format!("{}: {}", at(keys, i), at(values, i))).collect();
        return format!("{{{}{}}}", pairs.join(", "), more(keys.len()));
    }
    let shown: Vec<String> = all.iter().take(SHOWN).map(preview).collect();
    format!("[{}{}]", shown.join(", "), more(all.len()))
}
