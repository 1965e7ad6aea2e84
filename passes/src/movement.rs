//! Reshapes, transposes, slices, expansions, concatenations and gathers in their simplest form.
//!
//! ```text
//! %0 = transpose(%x) {perm=[1, 0, 2]}
//! %1 = transpose(%0) {perm=[1, 0, 2]}          %0 = slice(%x) {starts=[0, 2, 0], …}
//! %2 = gather(%1, 2:i64) {axis=1}       →      %1 = reshape(%0) {shape=[b, 64]}
//! %3 = expand(%2) {shape=[b, 64]}              %2 = add(%1, 1.0)
//! %4 = add(%3, 1.0)
//! ```
//! Two rewrites take reshapes out of the way of fusion, always downwards: a reshape moves below pointwise
//! ops, and below the product of flattened rows with a matrix.
mod batches;
mod gather;
mod sink;
mod views;

use crate::Options;
use sardonyx_ir::Graph;
use sardonyx_ir::rewrite::{Rule, RuleSet};

pub(crate) fn run(g: &mut Graph, options: &Options) {
    let rules = rules();
    loop {
        rules.apply(g, &options.trace);
        if !sink::run(g, options) {
            return;
        }
    }
}

fn rules() -> RuleSet {
    RuleSet::new(
        views::rules().into_iter().chain(gather::rules()).chain(batches::rules()).collect::<Vec<Rule>>(),
    )
}

/// The names of all rewrites.
pub(crate) fn names() -> Vec<&'static str> {
    rules().names().chain(sink::NAMES.iter().copied()).collect()
}
