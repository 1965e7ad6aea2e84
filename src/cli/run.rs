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

/// The first elements of a tensor.
fn preview(t: &Tensor) -> String {
    const SHOWN: usize = 6;
    let elements: Vec<String> = match t.dtype() {
        DType::String => t.texts().iter().take(SHOWN).map(|text| format!("{text:?}")).collect(),
        dtype if dtype.is_float() => {
            (0..t.len().min(SHOWN)).map(|i| format!("{:.6}", t.get_f64(i))).collect()
        }
        _ => t.to_i128s().iter().take(SHOWN).map(i128::to_string).collect(),
    };
    format!("[{}{}]", elements.join(", "), if t.len() > SHOWN { ", …" } else { "" })
}
