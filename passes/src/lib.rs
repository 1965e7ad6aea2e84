//! The graph passes of the Sardonyx compiler: plain functions on a graph, one file each.
//!
//! A pass changes no output value and no output type. It is deterministic, does nothing the second time, and
//! cannot fail: what does not apply is left alone. [`PASSES`] is the one list of them; in which order they
//! run is the caller's choice.
//!
//! Must not know: kernels, ONNX; of targets only what [`Options`] says.
mod activations;
mod algebra;
mod attention;
mod channels;
mod common;
mod convolution;
mod dims;
mod driver;
mod fold;
mod group;
mod integers;
mod movement;
mod normalization;
pub mod pattern;
mod precision;

pub use driver::{Driver, Timing};

use sardonyx_ir::Graph;
use sardonyx_ir::rewrite::{RuleSet, Trace};
use sardonyx_tensor::DType;

/// What the caller asks of the passes.
#[derive(Debug, Default)]
pub struct Options {
    /// The rewrites made so far; limits them, and collects near-misses.
    pub trace: Trace,
    /// What [`pass`] `precision` puts in place of f32: f16, bf16, or nothing.
    pub dtype: Option<DType>,
    /// At how many nodes it does so at most, the first ones; at all if none.
    pub narrowed: Option<usize>,
    /// Whether images of few channels are filled up for GPUs, by [`pass`] `channels`.
    pub channels: bool,
}

/// A pass.
pub struct Pass {
    /// Its name, as the command line has it.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Runs it on a graph, sub-graphs not included.
    pub run: fn(&mut Graph, &Options),
    /// The names of the rewrites that it makes.
    pub rules: fn() -> Vec<&'static str>,
}

/// Every pass.
pub static PASSES: &[Pass] = &[
    Pass {
        name: "dims",
        about: "gives dimensions that are required to be equal one form",
        run: dims::run,
        rules: || dims::NAMES.to_vec(),
    },
    Pass {
        name: "integers",
        about: "makes contractions of bytes of contractions of quantized values",
        run: integers::run,
        rules: || integers::NAMES.to_vec(),
    },
    Pass {
        name: "fold",
        about: "computes what is known at compile time",
        run: fold::run,
        rules: || fold::NAMES.to_vec(),
    },
    Pass {
        name: "common",
        about: "computes equal values once",
        run: common::run,
        rules: || common::NAMES.to_vec(),
    },
    Pass {
        name: "algebra",
        about: "simplifies arithmetic",
        run: |g, o| apply(&algebra::rules(), g, o),
        rules: || algebra::rules().names().collect(),
    },
    Pass {
        name: "movement",
        about: "simplifies reshapes, transposes, slices and gathers",
        run: movement::run,
        rules: movement::names,
    },
    Pass {
        name: "activations",
        about: "finds activation functions",
        run: |g, o| apply(&activations::rules(), g, o),
        rules: || activations::rules().names().collect(),
    },
    Pass {
        name: "normalization",
        about: "finds softmax and normalizations",
        run: |g, o| apply(&normalization::rules(), g, o),
        rules: || normalization::rules().names().collect(),
    },
    Pass {
        name: "convolution",
        about: "moves batch normalization into weights",
        run: |g, o| apply(&convolution::rules(), g, o),
        rules: || convolution::rules().names().collect(),
    },
    Pass {
        name: "attention",
        about: "finds attention and takes scales, repeated heads and masks into it",
        run: attention::run,
        rules: || attention::NAMES.to_vec(),
    },
    Pass {
        name: "precision",
        about: "puts half precision in place of f32, if that is asked for",
        run: precision::run,
        rules: || precision::NAMES.to_vec(),
    },
    Pass {
        name: "channels",
        about: "fills up the channels of images that have few, for GPUs",
        run: channels::run,
        rules: || channels::rules().names().collect(),
    },
    Pass {
        name: "group",
        about: "makes one node of what becomes one kernel",
        run: group::run,
        rules: || group::NAMES.to_vec(),
    },
];

/// The pass of that name.
pub fn pass(name: &str) -> Option<&'static Pass> {
    PASSES.iter().find(|p| p.name == name)
}

fn apply(rules: &RuleSet, g: &mut Graph, options: &Options) {
    rules.apply(g, &options.trace);
}
