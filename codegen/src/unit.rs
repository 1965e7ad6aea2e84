//! Units: what a launch runs, in the form that a toolchain takes.
use crate::nest::Nest;
use sardonyx_tensor::Dim;
use std::fmt;

/// What a launch runs.
#[derive(Clone, PartialEq, Debug)]
pub enum Unit {
    /// Loops, which an emitter prints.
    Nest(Nest),
    /// HIP text written by hand, with its parameters in place.
    Template(Template),
}

/// A kernel that is HIP text.
///
/// The text follows the prelude, has no includes, and defines one kernel called `KERNEL_NAME` (a macro that
/// the toolchain defines), whose parameters are those of [`sardonyx_runtime::manifest::Kernel`] on a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    /// The name of the kernel, an identifier.
    pub name: String,
    /// The text.
    pub source: String,
    /// The number of buffer arguments.
    pub params: usize,
    /// The dimensions passed at run time, in the order of the parameters.
    pub dims: Vec<Dim>,
    /// The number of blocks.
    pub grid: Dim,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory per block that the launch has to ask for.
    pub shared: u32,
    /// Bytes of scratch memory per block.
    pub scratch: Dim,
}

impl Unit {
    /// The name of the kernel.
    pub fn name(&self) -> &str {
        match self {
            Unit::Nest(nest) => &nest.name,
            Unit::Template(template) => &template.name,
        }
    }
    /// The same under another name.
    pub fn renamed(&self, name: &str) -> Unit {
        let mut unit = self.clone();
        match &mut unit {
            Unit::Nest(nest) => nest.name = name.into(),
            Unit::Template(template) => template.name = name.into(),
        }
        unit
    }
    /// The number of buffer arguments.
    pub fn params(&self) -> usize {
        match self {
            Unit::Nest(nest) => nest.params().count(),
            Unit::Template(template) => template.params,
        }
    }
    /// The number of work items, or of blocks.
    pub fn grid(&self) -> &Dim {
        match self {
            Unit::Nest(nest) => nest.blocks.as_ref().map_or(&nest.grid, |b| &b.count),
            Unit::Template(template) => &template.grid,
        }
    }
    /// Bytes of scratch memory per thread, or per block.
    pub fn scratch(&self) -> &Dim {
        match self {
            Unit::Nest(nest) => nest.blocks.as_ref().map_or(&nest.scratch, |b| &b.scratch),
            Unit::Template(template) => &template.scratch,
        }
    }
    /// The dimensions that a launch passes: those of the code, and the size of its scratch memory where only
    /// the run knows it.
    pub fn launch_dims(&self) -> Vec<Dim> {
        let scratch = self.scratch();
        let mut dims = match self {
            Unit::Nest(nest) => nest.dims.clone(),
            Unit::Template(template) => template.dims.clone(),
        };
        if !scratch.is_known() && !dims.contains(scratch) {
            dims.push(scratch.clone());
        }
        dims
    }
    /// Threads of a block and the bytes of shared memory to ask for; zeros on a processor.
    pub fn block(&self) -> (u32, u32) {
        match self {
            Unit::Nest(nest) => (nest.blocks.as_ref().map_or(0, |b| b.threads), 0),
            Unit::Template(template) => (template.threads, template.shared),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Nest(nest) => nest.fmt(f),
            Unit::Template(t) => {
                let Template { name, grid, threads, shared, .. } = t;
                writeln!(f, "template {name} grid {grid} threads {threads} shared {shared}")
            }
        }
    }
}
