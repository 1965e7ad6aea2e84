//! N-grams, residual streams, words, and windows with operands in the place of attributes.
use super::case::{Case, ms};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, BF16, F16, F32, F64, I32, I64};
use sardonyx_tensor::Tensor;

fn ints(dtype: DType, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i64s(dtype, shape.to_vec(), values.iter().copied())
}

/// Seeded numbers from 0 to `below`.
fn tokens(dtype: DType, shape: &[usize], below: i64, seed: u64) -> Tensor {
    let values = sample(F64, shape, seed).to_f64s();
    let values: Vec<i64> =
        values.into_iter().map(|x| (x * 1e6) as i64).map(|x| x.rem_euclid(below)).collect();
    ints(dtype, shape, &values)
}

fn hashes(all: &mut Vec<Case>) {
    for dtype in [I64, I32] {
        for order in [2i64, 3, 4] {
            for (past, offsets, end, segments) in [
                (false, false, None, false),
                (true, false, None, false),
                (false, true, Some(false), false),
                (true, false, Some(true), false),
                (false, false, Some(true), true),
                (false, false, None, true),
                (true, true, Some(true), true),
            ] {
                let heads = 3;
                let outputs = (order as usize - 1) * heads;
                let primes = [11, 13, 17, 19, 23, 29, 31, 37, 41];
                let case = ms("NGramHashMapping").int("max_ngram_size", order).int("pad_id", 2);
                let case = case.int("n_head_per_ngram", heads as i64);
                let case = if end == Some(true) { case.int("reset_on_eos", 1) } else { case };
                let case = case.input(tokens(dtype, &[2, 9], 7, order as u64));
                let case = case.constant(ints(dtype, &[order as usize], &[3, 7, 101, 55][..order as usize]));
                let case = case.constant(ints(dtype, &[outputs], &primes[..outputs]));
                let before = order as usize - 1;
                let case = case.either(past, |c| c.input(tokens(dtype, &[2, before], 7, 40)));
                let steps: Vec<i64> = (0..outputs as i64).map(|i| i * 50).collect();
                let case = case.either(offsets, |c| c.constant(ints(dtype, &[outputs], &steps)));
                let case = case.either(end.is_some(), |c| c.constant(ints(dtype, &[], &[3])));
                let rows = [0, 0, 0, 1, 1, 1, 1, 2, 2, 5, 5, 5, 5, 5, 5, 4, 4, 4];
                let case = case.either(segments, |c| c.input(ints(I32, &[2, 9], &rows)));
                all.push(case.outs(&[dtype, dtype]));
            }
        }
    }
}

fn streams(all: &mut Vec<Case>) {
    for dtype in [F32, F16, BF16] {
        let gate = || {
            let case = ms("EngramGate").x(dtype, &[2, 3, 4, 8]).x(dtype, &[2, 3, 4, 8]).x(dtype, &[2, 3, 8]);
            case.w(dtype, &[4, 8]).w(dtype, &[4, 8])
        };
        let bf16 =
            |case: Case| if dtype == BF16 { case.refused("Could not find an implementation") } else { case };
        all.push(bf16(gate().out(dtype)));
        all.push(bf16(gate().float("epsilon", 1e-2).w(dtype, &[4, 8]).outs(&[dtype, dtype])));
        for pre in [&[2, 3, 4][..], &[2, 3, 4, 1], &[2, 3, 4, 8]] {
            let case = ms("HyperConnectionPreMix").float("reduction_scale", 0.5).x(dtype, &[2, 3, 4, 8]);
            all.push(case.x(dtype, pre).out(dtype));
        }
        for pre in [&[2, 3, 4][..], &[2, 3, 32]] {
            let case = ms("HyperConnectionPreMix").int("num_branches", 4).x(dtype, &[2, 3, 32]);
            all.push(case.x(dtype, pre).out(dtype));
        }
        for post in [&[2, 3, 4][..], &[2, 3, 4, 1], &[2, 3, 4, 8]] {
            for mix in [false, true] {
                let case = ms("HyperConnectionPostMix").x(dtype, &[2, 3, 4, 8]).x(dtype, &[2, 3, 8]);
                let case = case.x(dtype, post);
                let case = if mix { case.x(dtype, &[2, 3, 4, 4]) } else { case };
                all.push(case.out(dtype));
            }
        }
        let case = ms("HyperConnectionPostMix").int("num_branches", 4).x(dtype, &[2, 3, 32]);
        let case = case.x(dtype, &[2, 3, 8]).x(dtype, &[2, 3, 4]).x(dtype, &[2, 3, 4, 4]);
        all.push(case.out(dtype));
    }
}

fn windows(all: &mut Vec<Case>) {
    for (strides, group, extra) in [([1, 1], 1, [0, 0]), ([2, 3], 1, [1, 2]), ([2, 2], 2, [0, 0])] {
        for bias in [false, true] {
            for known in [false, true] {
                let case = ms("ConvTransposeWithDynamicPads").ints("strides", &strides).int("group", group);
                let case = case.ints("output_padding", &extra).ints("kernel_shape", &[3, 3]);
                let case = case.x(F32, &[2, 4, 5, 6]).named(&["b"]).w(F32, &[4, 2, 3, 3]);
                let pads = ints(I64, &[4], &[1, 0, 2, 1]);
                let case = if known { case.constant(pads) } else { case.input(pads) };
                let case = if bias { case.w(F32, &[2 * group as usize]) } else { case };
                all.push(case.out(F32).within(1e-5, 1e-4));
            }
        }
    }
    for width in [1, 2, 3] {
        // ONNX Runtime leaves open what a word without letters gives.
        let ids = [3, 1, 4, 0, 0, 2, 0, 0, 0, 0, 3, 3, 0, 0, 0, 5, 6, 7, 1, 2, 9, 8, 0, 0, 0];
        let case = ms("WordConvEmbedding").int("embedding_size", 7).int("char_embedding_size", 6);
        let case = case.int("conv_window_size", width).input(ints(I32, &[5, 5], &ids)).named(&["words"]);
        let case = case.constant(sample(F32, &[7, 1, width as usize, 6], 4)).w(F32, &[7]).w(F32, &[10, 6]);
        all.push(case.out(F32).within(1e-5, 1e-4));
    }
}

fn states(all: &mut Vec<Case>) {
    for activation in ["none", "silu"] {
        for (dilation, last) in [(1, false), (2, false), (1, true), (3, true)] {
            for past in [false, true] {
                let before = 3 * dilation as usize;
                let shape = |length: usize| if last { vec![2, length, 2, 3] } else { vec![2, 6, length] };
                let case = ms("CausalConvWithState").text("activation", activation).int("dilation", dilation);
                let case = if last { case.int("channels_last", 1) } else { case };
                let case = case.x(F32, &shape(7)).w(F32, &[6, 1, 4]).either(past, |c| c.w(F32, &[6]));
                let case = if past { case.x(F32, &shape(before)) } else { case };
                all.push(case.outs(&[F32, F32]));
            }
        }
    }
    for rule in ["linear", "gated", "delta", "gated_delta"] {
        for past in [false, true] {
            let case = ms("LinearAttention").text("update_rule", rule).int("q_num_heads", 4);
            let case = case.int("kv_num_heads", 2);
            let case = case.x(F32, &[2, 5, 12]).x(F32, &[2, 5, 6]).x(F32, &[2, 5, 8]);
            let case = case.either(past, |c| c.x(F32, &[2, 2, 3, 4]));
            let decay = Tensor::from_f64s(F32, [2, 5, 2], (0..20).map(|i| -0.1 * f64::from(i % 7)));
            let beta = Tensor::from_f64s(F32, [2, 5, 2], (0..20).map(|i| 0.05 * f64::from(i % 9)));
            let case = case.either(rule.starts_with("gated"), |c| c.input(decay));
            let case = if rule.ends_with("delta") { case.input(beta) } else { case };
            all.push(case.outs(&[F32, F32]).within(1e-5, 1e-4));
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    hashes(&mut all);
    streams(&mut all);
    windows(&mut all);
    states(&mut all);
    all
}
