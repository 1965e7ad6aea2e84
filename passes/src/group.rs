//! Grouping: what becomes one kernel becomes one `fused` node.
//!
//! ```text
//! %0 = matmul(%x, %w)          %0 = fused(%x, %w, %bias) body (%x0, %x1, %x2) {
//! %1 = add(%0, %bias)            %0 = matmul(%x0, %x1)
//! %2 = gelu(%1)          →       %1 = add(%0, %x2)
//! return %2                      %2 = gelu(%1)
//!                                return %2
//!                              }
//! ```
//! After it every node is one kernel, or a `reshape`, which is a view and costs nothing. The body of a fused
//! node is one of these:
//!
//! - **map**: pointwise and movement ops (reshape, transpose, expand, slice, concat, pad, gathers, iota,
//!   dims) without reductions. There may be several outputs, of one shape.
//! - **rows**: besides those, reductions (`reduce_*`, softmax, log_softmax, layer_norm, rms_norm), all of
//!   operands of one shape, the domain, over the same axes. What depends on a reduction is pointwise and has
//!   the shape of the domain or that of the domain with reduced axes of 1; so have the outputs.
//! - **contraction**: exactly one `matmul`, `conv`, `conv_transpose` or `attention`. Operands of a matmul and
//!   `q`, `k`, `v` of an attention may come from inputs of the body through transpose, expand, slice and a
//!   reshape that only splits axes: strides. What depends on the result is pointwise and of its shape, with
//!   other operands broadcast, then perhaps transposes and reshapes up to the one output.
//!
//! Inputs of a body are distinct; constants of one element stand in the body, larger ones are inputs. Costly
//! work is never done twice: a value is computed again per consumer only if that reads no more memory and
//! takes a few additions. A reshape at the edge of a region stays outside, as a view.
mod contraction;
mod emit;
mod grow;
mod region;

use crate::Options;
use region::{Class, Regions, class};
use sardonyx_ir::Graph;

pub(crate) const NAMES: &[&str] = &["fuse"];

pub(crate) fn run(g: &mut Graph, options: &Options) {
    let groups = {
        let mut regions = Regions::new(g);
        for &id in &regions.order.clone() {
            if class(&g.node(id).op) == Class::Contraction {
                contraction::grow(&mut regions, id);
            }
        }
        for &id in &regions.order.clone() {
            grow::absorb(&mut regions, id);
        }
        regions.finish()
    };
    for group in groups {
        if !options.trace.permits() {
            return;
        }
        let origin = emit::fuse(g, &group);
        options.trace.made(NAMES[0], origin);
    }
}
