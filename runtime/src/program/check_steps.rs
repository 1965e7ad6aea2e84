//! Whether the steps of a target are consistent.

use std::collections::BTreeSet;

use super::check::{Check, ensure, known_symbols, root};
use crate::host;
use crate::manifest::{
    BufferIndex, Constraint, Convolution, Host, Launch, LibraryCall, Loop, Place, Product, Step,
    TargetProgram, Trip, walk,
};
use sardonyx_tensor::DType;

/// The symbols that steps give values to.
pub(super) fn defined_symbols(steps: &[Step]) -> BTreeSet<&str> {
    let mut symbols = BTreeSet::new();
    walk(steps, &mut |_, step| symbols.extend(step.defines()));
    symbols
}

/// Checks all steps; `symbol` says whether a symbol has a value at some time.
pub(super) fn steps(target: &TargetProgram, symbol: &dyn Fn(&str) -> bool) -> Check {
    let mut result = Ok(());
    walk(&target.steps, &mut |number, step| {
        if result.is_ok() {
            result = check_step(step, target, symbol).map_err(|reason| format!("step {number}: {reason}"));
        }
    });
    result
}

fn check_step(step: &Step, target: &TargetProgram, symbol: &dyn Fn(&str) -> bool) -> Check {
    match step {
        Step::Launch(launch) => check_launch(launch, target, symbol),
        Step::Copy { src, dst } => {
            reads(target, [*src])?;
            writes(target, [*dst])
        }
        Step::Bind { buffer, symbols } => {
            ensure!(!symbols.is_empty(), "it gives no symbol a value");
            integers(target, *buffer)
        }
        Step::Set { value, .. } => known_symbols(value, symbol, "the value"),
        Step::Check(Constraint { left, right, .. }) => {
            known_symbols(left, symbol, "the check")?;
            known_symbols(right, symbol, "the check")
        }
        Step::If { condition, .. } => integers(target, *condition),
        Step::Loop(inner) => check_loop(inner, target, symbol),
        Step::Host(call) => check_host(call, target),
    }
}

fn check_launch(launch: &Launch, target: &TargetProgram, symbol: &dyn Fn(&str) -> bool) -> Check {
    let Some(kernel) = target.kernels.get(launch.kernel) else {
        return Err(format!("kernel {} does not exist", launch.kernel));
    };
    let (args, dims) = (launch.args.len(), launch.dims.len());
    ensure!(args == kernel.args, "kernel `{}` takes {} buffers, not {args}", kernel.symbol, kernel.args);
    ensure!(dims == kernel.dims, "kernel `{}` takes {} dimensions, not {dims}", kernel.symbol, kernel.dims);
    reads(target, launch.args.iter().copied())?;
    for dim in launch.dims.iter().chain([&launch.grid, &launch.flops, &launch.bytes]) {
        known_symbols(dim, symbol, "the launch")?;
    }
    match &launch.library {
        Some(LibraryCall::Product(product)) => check_product(product, launch, symbol)?,
        Some(LibraryCall::Convolution(convolution)) => check_convolution(convolution, launch, symbol)?,
        None => {}
    }
    origins(&launch.origins, target)
}

fn check_product(product: &Product, launch: &Launch, symbol: &dyn Fn(&str) -> bool) -> Check {
    let sizes = [&product.batch, &product.m, &product.n, &product.k];
    let matrices = [&product.a, &product.b, &product.out];
    let places = matrices.iter().flat_map(|matrix| [&matrix.offset, &matrix.pitch, &matrix.slice]);
    for dim in sizes.into_iter().chain(places) {
        known_symbols(dim, symbol, "the product")?;
    }
    for matrix in matrices {
        ensure!(matrix.arg < launch.args.len(), "argument {} of the product does not exist", matrix.arg);
    }
    served(product.dtype)?;
    served(product.out_dtype)
}

fn check_convolution(convolution: &Convolution, launch: &Launch, symbol: &dyn Fn(&str) -> bool) -> Check {
    let images = [Some(&convolution.x), convolution.residual.as_ref(), Some(&convolution.out)];
    let images = || images.into_iter().flatten();
    let (weights, bias) = (&convolution.w, convolution.bias.as_ref());
    let sizes = convolution.input.iter().chain(&convolution.output).chain([&convolution.batch]);
    let offsets = images().map(|image| &image.offset).chain([&weights.offset]);
    let places = images().flat_map(|image| &image.strides).chain(bias.map(|bias| &bias.offset));
    for dim in sizes.chain(offsets).chain(places) {
        known_symbols(dim, symbol, "the convolution")?;
    }
    for arg in images().map(|image| image.arg).chain([weights.arg]).chain(bias.map(|bias| bias.arg)) {
        ensure!(arg < launch.args.len(), "argument {arg} of the convolution does not exist");
    }
    served(convolution.dtype)
}

/// Whether libraries compute with a type.
fn served(dtype: DType) -> Check {
    let served = matches!(dtype, DType::F16 | DType::BF16 | DType::F32);
    ensure!(served, "libraries do not compute with {dtype}");
    Ok(())
}

fn check_loop(inner: &Loop, target: &TargetProgram, symbol: &dyn Fn(&str) -> bool) -> Check {
    match &inner.trip {
        Some(Trip::Buffer(buffer)) => integers(target, *buffer)?,
        Some(Trip::Dim(dim)) => known_symbols(dim, symbol, "the trip count")?,
        None => ensure!(inner.condition.is_some(), "the loop never ends"),
    }
    if let Some(condition) = inner.condition {
        integers(target, condition)?;
    }
    if let Some(iteration) = inner.iteration {
        writes(target, [iteration])?;
        integers(target, iteration)?;
    }
    for (at, carried) in inner.carried.iter().enumerate() {
        let overwritten = inner.carried[..at].iter().any(|earlier| earlier.state == carried.next);
        ensure!(!overwritten, "buffer {} is overwritten before it is carried", carried.next);
        reads(target, [carried.next])?;
        writes(target, [carried.state])?;
        for (_, value) in &carried.resize {
            known_symbols(value, symbol, "the size of a carried value")?;
        }
    }
    for scan in &inner.scan_inputs {
        reads(target, [scan.whole])?;
        writes(target, [scan.slice])?;
    }
    for scan in &inner.scan_outputs {
        reads(target, [scan.slice])?;
        writes(target, [scan.whole])?;
    }
    Ok(())
}

fn check_host(call: &Host, target: &TargetProgram) -> Check {
    ensure!(host::find(&call.op).is_some(), "this runtime has no operation `{}`", call.op);
    reads(target, call.inputs.iter().copied())?;
    writes(target, call.outputs.iter().copied())?;
    origins(&call.origins, target)
}

fn origins(origins: &[usize], target: &TargetProgram) -> Check {
    ensure!(origins.iter().all(|&origin| origin < target.origins.len()), "an origin that does not exist");
    Ok(())
}

fn reads(target: &TargetProgram, buffers: impl IntoIterator<Item = BufferIndex>) -> Check {
    for buffer in buffers {
        ensure!(buffer < target.buffers.len(), "buffer {buffer} does not exist");
    }
    Ok(())
}

fn writes(target: &TargetProgram, buffers: impl IntoIterator<Item = BufferIndex>) -> Check {
    for buffer in buffers {
        reads(target, [buffer])?;
        let constant = root(target, buffer)
            .is_none_or(|b| matches!(b.place, Place::Input(_) | Place::Weight(_) | Place::Packed(_)));
        ensure!(!constant, "it writes to buffer {buffer}, which is only read");
    }
    Ok(())
}

fn integers(target: &TargetProgram, buffer: BufferIndex) -> Check {
    reads(target, [buffer])?;
    let dtype = target.buffers[buffer].dtype;
    ensure!(!dtype.is_float(), "buffer {buffer} should hold integers, not {dtype}");
    Ok(())
}
