//! The self-test: golden inputs, and the outputs that the compiler's reference gave for them.

use sardonyx_tensor::Tensor;

use crate::error::{Error, Result};
use crate::session::Session;

impl Session {
    /// Runs the golden inputs of the program and compares the outputs with those recorded: floating-point
    /// ones within the recorded tolerance (`|given - expected| <= atol + rtol * |expected|`; NaN equals only
    /// NaN), others exactly.
    ///
    /// # Errors
    /// When the program has no golden inputs, the run fails, or an output differs.
    pub fn self_test(&mut self) -> Result<()> {
        let program = self.program().clone();
        let Some(golden) = &program.manifest().golden else { return Err(Error::NoGolden) };
        let inputs = golden.inputs.iter().zip(program.inputs());
        let outputs = self.run(inputs.map(|(&weight, port)| (port.name.as_str(), program.weight(weight))))?;
        for ((output, &expected), port) in outputs.iter().zip(&golden.outputs).zip(program.outputs()) {
            compare(&port.name, output, &program.weight(expected), (golden.atol, golden.rtol))?;
        }
        Ok(())
    }
}

fn compare(name: &str, given: &Tensor, expected: &Tensor, (atol, rtol): (f64, f64)) -> Result<()> {
    if given.shape() != expected.shape() || given.dtype() != expected.dtype() {
        let reason = format!("is {given:?}, {expected:?} is expected");
        return Err(Error::Buffer { name: name.to_string(), reason });
    }
    if given.dtype().is_reference() {
        let reason = format!("is {given:?}, {expected:?} is expected");
        let differs = Error::Buffer { name: name.to_string(), reason };
        return if given == expected { Ok(()) } else { Err(differs) };
    }
    let exact = !given.dtype().is_float();
    let difference = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) if a == b => 0.0,
        _ => (a - b).abs(),
    };
    let fits = |a: f64, b: f64| difference(a, b) <= if exact { 0.0 } else { atol + rtol * b.abs() };
    let (given, expected) = (given.to_f64s(), expected.to_f64s());
    let pairs = || given.iter().copied().zip(expected.iter().copied()).enumerate();
    let wrong = pairs().filter(|&(_, (a, b))| !fits(a, b)).count();
    if wrong == 0 {
        return Ok(());
    }
    let size = |(a, b): (f64, f64)| if a.is_nan() != b.is_nan() { f64::INFINITY } else { difference(a, b) };
    let worst = pairs().max_by(|x, y| size(x.1).total_cmp(&size(y.1)));
    let (index, (given, expected)) = worst.expect("outputs that differ should have elements");
    let (output, count) = (name.to_string(), pairs().count());
    Err(Error::Golden { output, index, given, expected, wrong, count })
}
