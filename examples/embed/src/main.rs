//! Runs a program file on made-up inputs: all that an application needs to embed Sardonyx.
//!
//! `embed M.sdx [SYMBOL=SIZE …]`; symbols without a size are 1.

use std::error::Error;
use std::process::ExitCode;

use sardonyx_runtime::manifest::Port;
use sardonyx_runtime::tensor::{Bindings, Tensor};
use sardonyx_runtime::{Device, Program};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((path, sizes)) = arguments.split_first() else {
        eprintln!("usage: embed M.sdx [SYMBOL=SIZE …]");
        return ExitCode::from(4);
    };
    match run(path, sizes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(path: &str, sizes: &[String]) -> Result<(), Box<dyn Error>> {
    let program = Program::open(path)?;
    let mut symbols: Bindings = program.manifest().symbols.iter().map(|name| (name.as_str(), 1)).collect();
    for size in sizes {
        let (name, value) = size.split_once('=').ok_or_else(|| format!("`{size}` is not SYMBOL=SIZE"))?;
        symbols.set(name, value.parse()?);
    }
    let mut seed = 1;
    let mut inputs = Vec::new();
    for port in program.inputs() {
        inputs.push((port.name.as_str(), made_up(port, &symbols, &mut seed)?));
    }
    let mut session = program.session(Device::cpu())?;
    let outputs = session.run(inputs)?;
    for (port, output) in program.outputs().iter().zip(outputs) {
        println!("{}: {output:?}", port.name);
    }
    Ok(())
}

/// A tensor for an input: numbers from -1 to 1, or 0 and 1 where they are no floats.
fn made_up(port: &Port, symbols: &Bindings, seed: &mut u64) -> Result<Tensor, Box<dyn Error>> {
    let mut shape = Vec::new();
    for dim in &port.shape {
        shape.push(usize::try_from(dim.eval(symbols)?)?);
    }
    let count = shape.iter().product();
    let values = (0..count).map(|_| {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let random = (*seed >> 40) as f64 / (1u64 << 24) as f64;
        if port.dtype.is_float() { random * 2.0 - 1.0 } else { random.round() }
    });
    Ok(Tensor::from_f64s(port.dtype, shape, values))
}
