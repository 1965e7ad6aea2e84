//! Mixtures of experts.
use super::case::{Case, ms};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{F16, F32, U8};
use sardonyx_tensor::Tensor;

const EXPERTS: usize = 4;
const TOKENS: usize = 6;
const WIDTH: usize = 32;
const HIDDEN: usize = 64;

/// Any bytes.
fn raw(shape: &[usize], seed: u64) -> Tensor {
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_f64s(
        U8,
        shape.to_vec(),
        values.into_iter().map(|x| ((x + 1.0) * 127.9).floor().clamp(0.0, 255.0)),
    )
}

fn scales(shape: &[usize], bits: i64) -> Tensor {
    let size = 0.5 / f64::from(1 << bits);
    let count: usize = shape.iter().product();
    Tensor::from_f64s(F32, shape.to_vec(), (0..count).map(|i| size * (1.0 + (i % 7) as f64 / 7.0)))
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for activation in ["relu", "gelu", "silu", "identity", "swiglu"] {
        let wide = if activation == "swiglu" { 2 * HIDDEN } else { HIDDEN };
        let op = |name, k, normalize| {
            let case = ms(name).text("activation_type", activation).int("k", k);
            let case = case.int("normalize_routing_weights", normalize);
            if activation == "swiglu" { case.int("swiglu_fusion", 1) } else { case }
        };
        for (k, normalize) in [(1, 0), (2, 0), (2, 1), (4, 1)] {
            let bias = k == 2;
            let case = op("MoE", k, normalize).x(F32, &[TOKENS, WIDTH]).named(&["t"]);
            let case = case.x(F32, &[TOKENS, EXPERTS]).named(&["t"]).w(F32, &[EXPERTS, wide, WIDTH]);
            let case = case.either(bias, |c| c.w(F32, &[EXPERTS, wide])).w(F32, &[EXPERTS, WIDTH, HIDDEN]);
            all.push(case.either(bias, |c| c.w(F32, &[EXPERTS, WIDTH])).out(F32).within(1e-4, 1e-4));
        }
        let batched = op("MoE", 2, 1).x(F32, &[2, 3, WIDTH]).x(F32, &[TOKENS, EXPERTS]);
        let batched = batched.w(F32, &[EXPERTS, wide, WIDTH]).none().w(F32, &[EXPERTS, WIDTH, HIDDEN]);
        all.push(batched.out(F32).within(1e-4, 1e-4));
        for bits in [4, 8] {
            let each = 8 / bits as usize;
            let case = op("QMoE", 2, 1).int("expert_weight_bits", bits);
            let case = case.x(F32, &[TOKENS, WIDTH]).x(F32, &[TOKENS, EXPERTS]);
            let case = case
                .constant(raw(&[EXPERTS, wide, WIDTH / each], 3))
                .constant(scales(&[EXPERTS, wide], bits));
            let case = case.w(F32, &[EXPERTS, wide]).constant(raw(&[EXPERTS, WIDTH, HIDDEN / each], 4));
            let case = case.constant(scales(&[EXPERTS, WIDTH], bits)).w(F32, &[EXPERTS, WIDTH]);
            all.push(case.out(F32).within(1e-3, 1e-3));
            let case = op("QMoE", 2, 0).int("expert_weight_bits", bits).int("block_size", 16);
            let case = case.x(F32, &[TOKENS, WIDTH]).x(F32, &[TOKENS, EXPERTS]);
            let case = case.constant(raw(&[EXPERTS, wide, WIDTH / each], 3));
            let case = case.constant(scales(&[EXPERTS, wide, WIDTH / 16], bits)).none();
            let case = case.constant(raw(&[EXPERTS, WIDTH, HIDDEN / each], 4));
            let case = case.constant(scales(&[EXPERTS, WIDTH, HIDDEN / 16], bits)).none();
            // With weights of 8 bits in blocks ONNX Runtime quantizes the tokens to 8 bits, too.
            let tolerance = if bits == 8 { 3e-2 } else { 1e-3 };
            all.push(case.out(F32).within(tolerance, tolerance));
        }
    }
    let third = ms("MoE").x(F32, &[2, 8]).x(F32, &[2, 3]).w(F32, &[3, 8, 8]).none().w(F32, &[3, 8, 8]).none();
    all.push(third.w(F32, &[3, 8, 8]).out(F32).unsupported("a third layer"));
    let sparse =
        ms("MoE").int("use_sparse_mixer", 1).x(F16, &[2, 8]).x(F16, &[2, 3]).w(F16, &[3, 8, 8]).none();
    all.push(sparse.w(F16, &[3, 8, 8]).out(F16).unsupported("a sparse mixer"));
    all
}
