//! How many ops of each kind are left in a graph after the passes.
use sardonyx::pipeline;
use sardonyx_ir::{Graph, verify};
use sardonyx_passes::{Driver, Options};
use std::collections::BTreeMap;

/// Ops whose number is of interest.
const FOUND: &[&str] =
    &["attention", "layer_norm", "rms_norm", "gelu", "gelu_tanh", "silu", "hard_swish", "hard_sigmoid"];
/// Ops of which none should be left in a transformer.
const WRITTEN_OUT: &[&str] = &["softmax", "erf", "reduce_mean", "batch_norm"];

/// The graph after all passes.
pub fn optimized(mut g: Graph, options: &Options) -> Graph {
    pipeline::optimize(&mut Driver::new(options), &mut g);
    verify::verify(&g).unwrap_or_else(|e| panic!("{e}"));
    g
}

/// How often each op occurs, in fused regions too.
pub fn counts(g: &Graph) -> BTreeMap<&'static str, usize> {
    let mut all = BTreeMap::new();
    for id in g.order() {
        let op = &g.node(id).op;
        *all.entry(op.name()).or_default() += 1;
        for (_, region) in op.regions() {
            for (name, n) in counts(region) {
                *all.entry(name).or_default() += n;
            }
        }
    }
    all
}

/// The counts of interest, as text.
pub fn listed(all: &BTreeMap<&'static str, usize>) -> String {
    let found = FOUND.iter().chain(WRITTEN_OUT).filter_map(|name| Some(format!("{} {name}", all.get(name)?)));
    found.collect::<Vec<String>>().join(", ")
}

/// Nodes that are neither constants, inputs nor views.
pub fn kernels(g: &Graph) -> usize {
    let free = ["const", "input", "reshape", "dims"];
    g.order().into_iter().filter(|&id| !free.contains(&g.node(id).op.name())).count()
}
