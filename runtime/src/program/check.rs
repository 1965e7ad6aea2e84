//! Whether a manifest is consistent: every index in range, every symbol defined, no cycles. After these
//! checks the runtime indexes without further ones.

use std::collections::BTreeSet;

use sardonyx_tensor::{DType, Dim};

use super::{PAGE, check_steps};
use crate::device;
use crate::manifest::{Buffer, Manifest, Packed, Place, Port, TargetProgram, Weight, count_steps};

/// What is wrong, for people.
pub(super) type Check = Result<(), String>;

/// Fails with a text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}
pub(super) use ensure;

/// Blobs are aligned, do not overlap, and end below 2^62.
pub(super) fn blobs(manifest: &Manifest) -> Check {
    let mut ranges = Vec::new();
    for (index, blob) in manifest.blobs.iter().enumerate() {
        let end = blob.offset.checked_add(blob.size).filter(|&end| end < 1 << 62);
        let end = end.ok_or_else(|| format!("blob {index} is larger than any file"))?;
        ensure!(blob.offset % PAGE as u64 == 0, "blob {index} is not aligned");
        ensure!(blake3::Hash::from_hex(&blob.blake3).is_ok(), "blob {index} has no BLAKE3 sum");
        if blob.size > 0 {
            ranges.push((blob.offset, end, index));
        }
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        ensure!(pair[0].1 <= pair[1].0, "blobs {} and {} overlap", pair[0].2, pair[1].2);
    }
    Ok(())
}

/// Everything but the blobs.
pub(super) fn manifest(manifest: &Manifest) -> Check {
    let inputs = ports(&manifest.inputs, "input")?;
    ports(&manifest.outputs, "output")?;
    let symbols: BTreeSet<&str> = manifest.symbols.iter().map(String::as_str).collect();
    ensure!(symbols.len() == manifest.symbols.len(), "a symbol stands twice in the list of symbols");
    for symbol in &inputs {
        ensure!(symbols.contains(symbol.as_str()), "symbol `{symbol}` is not in the list of symbols");
    }
    for &symbol in &symbols {
        let given =
            manifest.inputs.iter().flat_map(|port| &port.shape).any(|dim| dim.as_symbol() == Some(symbol));
        ensure!(given, "no input gives symbol `{symbol}` its value");
    }
    for constraint in &manifest.constraints {
        for dim in [&constraint.left, &constraint.right] {
            known_symbols(dim, &|name| symbols.contains(name), "a constraint")?;
        }
    }
    for weight in &manifest.weights {
        check_weight(weight, manifest)?;
    }
    for attachment in &manifest.attachments {
        ensure!(attachment.blob < manifest.blobs.len(), "text `{}` has no blob", attachment.name);
    }
    if let Some(golden) = &manifest.golden {
        for (what, weights, ports) in
            [("inputs", &golden.inputs, &manifest.inputs), ("outputs", &golden.outputs, &manifest.outputs)]
        {
            ensure!(weights.len() == ports.len(), "the golden {what} are not as many as the {what}");
            ensure!(weights.iter().all(|&w| w < manifest.weights.len()), "golden {what} without a weight");
        }
    }
    for target in &manifest.targets {
        check_target(target, manifest, &symbols)
            .map_err(|reason| format!("target {}: {reason}", target.name))?;
    }
    Ok(())
}

/// Names are unique and dimensions not negative; gives all symbols.
fn ports(ports: &[Port], what: &str) -> Result<BTreeSet<String>, String> {
    let (mut names, mut symbols) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        ensure!(names.insert(&port.name), "two {what}s are called `{}`", port.name);
        for dim in &port.shape {
            ensure!(
                dim.known().is_none_or(|dim| dim >= 0),
                "{what} `{}` has a negative dimension",
                port.name
            );
            symbols.extend(dim.symbols());
        }
    }
    Ok(symbols)
}

/// The bytes a weight takes; `None` on overflow.
pub(super) fn weight_size(weight: &Weight) -> Option<u64> {
    let size =
        weight.shape.iter().try_fold(weight.dtype.size() as u64, |size, &dim| size.checked_mul(dim as u64));
    if weight.shape.contains(&0) { Some(0) } else { size }
}

fn check_weight(weight: &Weight, manifest: &Manifest) -> Check {
    let name = &weight.name;
    let Some(blob) = manifest.blobs.get(weight.blob) else {
        return Err(format!("weight `{name}` is in blob {}, which does not exist", weight.blob));
    };
    ensure!(weight.dtype != DType::List, "weight `{name}` is a list");
    ensure!(weight.offset.is_multiple_of(64), "weight `{name}` is not aligned");
    let end = weight_size(weight).and_then(|size| size.checked_add(weight.offset));
    ensure!(end.is_some_and(|end| end <= blob.size), "weight `{name}` does not fit into its blob");
    Ok(())
}

/// The bytes that panels take; `None` on overflow, or where the places of rows or columns are missing.
pub(super) fn packed_size(packed: &Packed, manifest: &Manifest) -> Option<u64> {
    let places = |index: usize| {
        let weight = manifest.weights.get(index).filter(|weight| weight.dtype == DType::I64)?;
        Some(weight_size(weight)? / 8)
    };
    packed.matrices.iter().try_fold(0u64, |all, matrix| {
        let rows = places(matrix.depth)?.checked_next_multiple_of(matrix.beside as u64)?;
        let columns = places(matrix.columns)?;
        let whole = matrix.width > 0 && columns % matrix.width as u64 == 0;
        let size = rows.checked_mul(columns)?.checked_mul(packed.dtype.size() as u64)?;
        all.checked_add(size).filter(|_| whole)
    })
}

fn check_packed(packed: &Packed, target: &TargetProgram, manifest: &Manifest) -> Check {
    ensure!(device::is_cpu(target), "only programs for the CPU have panels");
    let Some(weight) = manifest.weights.get(packed.weight) else {
        return Err(format!("they are made of weight {}, which does not exist", packed.weight));
    };
    let numbers = !packed.dtype.is_reference() && !weight.dtype.is_reference();
    ensure!(numbers, "{} is made of {}", packed.dtype, weight.dtype);
    let size = packed_size(packed, manifest).ok_or("a matrix without places, or of no size")?;
    ensure!(size < 1 << 62, "they are larger than any memory");
    Ok(())
}

fn check_target(target: &TargetProgram, manifest: &Manifest, symbols: &BTreeSet<&str>) -> Check {
    for symbol in target.sizes.keys() {
        ensure!(symbols.contains(symbol.as_str()), "it is for a size of `{symbol}`, which no input gives");
    }
    let for_all = |other: &TargetProgram| other.name == target.name && other.sizes.is_empty();
    ensure!(manifest.targets.iter().any(for_all), "there is none for all sizes");
    for &code in &target.code {
        ensure!(code < manifest.blobs.len(), "code in blob {code}, which does not exist");
    }
    for kernel in &target.kernels {
        let name = &kernel.symbol;
        ensure!(
            kernel.code < target.code.len(),
            "kernel `{name}` is in code {}, which does not exist",
            kernel.code
        );
        let parameter = |symbol: &str| {
            let number = symbol.strip_prefix('d').and_then(|digits| digits.parse::<usize>().ok());
            number.is_some_and(|number| number < kernel.dims)
        };
        known_symbols(&kernel.scratch, &parameter, &format!("the scratch size of kernel `{name}`"))?;
    }
    for (index, packed) in target.packed.iter().enumerate() {
        check_packed(packed, target, manifest).map_err(|reason| format!("panels {index}: {reason}"))?;
    }
    let defined = check_steps::defined_symbols(&target.steps);
    for symbol in &defined {
        ensure!(
            !symbols.contains(symbol),
            "a step gives a value to symbol `{symbol}`, which inputs give one"
        );
    }
    let any = |name: &str| symbols.contains(name) || defined.contains(name);
    for (index, buffer) in target.buffers.iter().enumerate() {
        check_buffer(buffer, target, manifest, symbols, &any)
            .map_err(|reason| format!("buffer {index}: {reason}"))?;
    }
    for (index, port) in manifest.outputs.iter().enumerate() {
        let buffers = target.buffers.iter().filter(|buffer| buffer.place == Place::Output(index)).count();
        ensure!(buffers == 1, "output `{}` has {buffers} buffers", port.name);
        for dim in &port.shape {
            known_symbols(dim, &any, &format!("the shape of output `{}`", port.name))?;
        }
    }
    check_steps::steps(target, &any)
}

fn check_buffer(
    buffer: &Buffer,
    target: &TargetProgram,
    manifest: &Manifest,
    symbols: &BTreeSet<&str>,
    any: &dyn Fn(&str) -> bool,
) -> Check {
    for dim in buffer.shape.iter().chain([&buffer.bytes]) {
        known_symbols(dim, any, "its size")?;
        ensure!(dim.known().is_none_or(|dim| dim >= 0), "it has a negative size");
    }
    let port = |ports: &[Port], index: usize, what: &str| -> Check {
        let Some(port) = ports.get(index) else {
            return Err(format!("it is {what} {index}, which does not exist"));
        };
        ensure!(
            port.dtype == buffer.dtype,
            "it is {}, {what} `{}` is {}",
            buffer.dtype,
            port.name,
            port.dtype
        );
        Ok(())
    };
    match &buffer.place {
        Place::Input(index) => port(&manifest.inputs, *index, "input"),
        Place::Output(index) => port(&manifest.outputs, *index, "output"),
        Place::Weight(index) => {
            let weight =
                manifest.weights.get(*index).ok_or(format!("it is weight {index}, which does not exist"))?;
            let size = buffer.bytes.known().and_then(|size| u64::try_from(size).ok());
            let fits = size.is_some_and(|size| Some(size) <= weight_size(weight));
            ensure!(fits, "it is larger than weight `{}`", weight.name);
            Ok(())
        }
        Place::Packed(index) => {
            let packed =
                target.packed.get(*index).ok_or(format!("it is panels {index}, which do not exist"))?;
            let size = buffer.bytes.known().and_then(|size| u64::try_from(size).ok());
            let fits = size.is_some_and(|size| Some(size) <= packed_size(packed, manifest));
            ensure!(fits, "it is larger than panels {index}");
            Ok(())
        }
        Place::Workspace { first, last } => {
            let count = count_steps(&target.steps);
            ensure!(first <= last && *last < count, "it lives from step {first} to {last} of {count}");
            known_symbols(&buffer.bytes, &|name| symbols.contains(name), "its size in the workspace")
        }
        Place::Alias { of, offset } => {
            ensure!(*of < target.buffers.len(), "it is a part of buffer {of}, which does not exist");
            known_symbols(offset, any, "its offset")?;
            ensure!(root(target, *of).is_some(), "it is a part of itself");
            Ok(())
        }
        Place::Late => Ok(()),
    }
}

/// The buffer that an alias is a part of in the end; `None` for a cycle.
pub(super) fn root(target: &TargetProgram, mut index: usize) -> Option<&Buffer> {
    for _ in 0..=target.buffers.len() {
        match &target.buffers.get(index)?.place {
            Place::Alias { of, .. } => index = *of,
            _ => return target.buffers.get(index),
        }
    }
    None
}

/// Every symbol of a dimension is known.
pub(super) fn known_symbols(dim: &Dim, known: &dyn Fn(&str) -> bool, what: &str) -> Check {
    if dim.is_known() {
        return Ok(());
    }
    match dim.symbols().iter().find(|symbol| !known(symbol)) {
        Some(symbol) => Err(format!("{what} uses symbol `{symbol}`, which has no value")),
        None => Ok(()),
    }
}
