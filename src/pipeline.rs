//! The order of the passes.
use sardonyx_ir::Graph;
use sardonyx_passes::{Driver, Pass};

/// Turns an imported graph into one that is ready for lowering.
pub fn optimize(driver: &mut Driver, g: &mut Graph) {
    // One form for equal dimensions first, because rules and grouping compare types.
    driver.run(pass("dims"), g);
    // Contractions of quantized values while their weights are bytes: folding would dequantize them.
    driver.run(pass("integers"), g);
    // Then folding: it shows shapes and constants, on which everything else depends. Equal values become
    // one before rules match, because a rule stops at values that are used elsewhere. What algebra leaves
    // can often be folded again.
    let simplify = [pass("fold"), pass("movement"), pass("common"), pass("algebra")];
    driver.repeat(&simplify, g, ROUNDS);
    // Activation functions and normalizations are written out in the forms that algebra leaves. Attention
    // contains a softmax, so it comes after normalization.
    driver.run(pass("activations"), g);
    driver.run(pass("normalization"), g);
    driver.run(pass("convolution"), g);
    driver.run(pass("attention"), g);
    // What these have made of constants, and the transposes around attention.
    driver.repeat(&simplify, g, ROUNDS);
    // After the rules, whose patterns and constants are those of f32, and before grouping, which puts the casts
    // into the kernels around them.
    driver.run(pass("precision"), g);
    // Where halves are what is computed on, and after movement, which would undo it.
    driver.run(pass("channels"), g);
    // Last: nothing looks into the regions it makes.
    driver.run(pass("group"), g);
}

/// Simplification goes on until nothing changes; this is for graphs where that takes unusually long.
const ROUNDS: usize = 8;

fn pass(name: &str) -> &'static Pass {
    sardonyx_passes::pass(name).unwrap_or_else(|| panic!("bug: there is no pass {name}"))
}
