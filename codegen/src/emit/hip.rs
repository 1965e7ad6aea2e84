//! Units as HIP text, the same for AMD, NVIDIA and the host build of tests.
//!
//! The text starts with `codegen/device/prelude.hpp`, which holds every difference between the platforms, and
//! has no includes. It defines one kernel with the name of the unit.
mod narrow;
mod nest;
mod prim;

use crate::nest::Nest;
use crate::target::{GpuSpec, Platform};
use crate::unit::Unit;
use std::fmt::Write;

/// The only place where the platforms differ.
pub const PRELUDE: &str = include_str!("../../device/prelude.hpp");

/// The text of a unit for a GPU.
pub fn text(unit: &Unit, target: &GpuSpec) -> String {
    let mut text = String::new();
    let platform = match target.platform {
        Platform::Hip => "HIP",
        Platform::Cuda => "CUDA",
    };
    let _ = writeln!(text, "#define SARDONYX_{platform} 1");
    let _ = writeln!(text, "#define SARDONYX_WAVE {}", target.wave);
    let _ = writeln!(text, "#define KERNEL_NAME {}\n{PRELUDE}", symbol(unit.name()));
    match unit {
        Unit::Template(template) => text.push_str(&template.source),
        Unit::Nest(nest) => text.push_str(&nest::kernel(nest, &unit.launch_dims())),
    }
    text
}

/// A nest as a function of the device with its name, whose parameters are pointers to its buffers: scalars of
/// a template's text. It has no work items, dimensions or scratch memory. Where results are `coarse`, stored in 16 bits,
/// exponentials and quotients of `f32` are those of the hardware.
pub fn function(nest: &Nest, coarse: bool) -> String {
    nest::function(nest, coarse)
}

/// The name of a unit as an identifier of C++ that is none of the language and its library.
pub fn symbol(name: &str) -> String {
    format!("k_{}", name.replace('.', "_"))
}
