//! Normalizations.
use super::build::{float, int, node};
use super::case::{Case, MS, ms};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, BF16, F16, F32, F64, I8, I32, U8};
use sardonyx_tensor::Tensor;

fn tokens(below: i64, shape: &[usize], seed: u64) -> Tensor {
    let values: Vec<i64> =
        sample(F32, shape, seed).to_f64s().iter().map(|x| ((x + 1.0) / 2.0 * below as f64) as i64).collect();
    Tensor::from_i64s(I32, shape.to_vec(), values)
}

fn skips(all: &mut Vec<Case>) {
    for dtype in [F32, F64, F16, BF16] {
        for (beta, bias, sum) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
            let x = |c: Case| c.x(dtype, &[2, 3, 16]).x(dtype, &[2, 3, 16]).w(dtype, &[16]);
            let outs = |c: Case| {
                let c = if dtype == F64 { c.refused("tensor(double)") } else { c };
                if sum { c.out(dtype).no_out().no_out().out(dtype) } else { c.out(dtype) }
            };
            let layer = x(ms("SkipLayerNormalization").float("epsilon", 1e-5));
            let layer = layer.either(beta, |c| c.w(dtype, &[16])).either(bias, |c| c.w(dtype, &[16]));
            all.push(outs(layer));
            if !beta {
                let simple = x(ms("SkipSimplifiedLayerNormalization").float("epsilon", 1e-5));
                all.push(outs(simple.either(bias, |c| c.w(dtype, &[16]))));
            }
        }
    }
    for op in ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"] {
        all.push(ms(op).x(F32, &[2, 3, 16]).x(F32, &[1, 3, 16]).w(F32, &[16]).out(F32));
        all.push(ms(op).x(F32, &[2, 3, 16]).x(F32, &[3, 16]).w(F32, &[16]).out(F32));
        let named = ms(op).x(F32, &[2, 3, 16]).named(&["b", "s"]).x(F32, &[2, 3, 16]).named(&["b", "s"]);
        all.push(named.w(F32, &[16]).out(F32));
        let statistics = ms(op).x(F32, &[2, 3, 16]).x(F32, &[2, 3, 16]).w(F32, &[16]);
        all.push(statistics.outs(&[F32, F32]).unsupported("statistics as results"));
    }
    all.push(ms("SkipSimplifiedLayerNormalization").x(F32, &[5, 16]).x(F32, &[5, 16]).w(F32, &[16]).out(F32));
}

fn simplified(all: &mut Vec<Case>) {
    for (x, scale) in [(F32, F32), (F64, F64), (F16, F16), (F32, F16), (BF16, BF16)] {
        let case = Case::new("", "SimplifiedLayerNormalization", 21).float("epsilon", 1e-6);
        all.push(case.x(x, &[2, 3, 16]).w(scale, &[16]).out(scale));
    }
    for axis in [-1i64, 2, 1, 0] {
        let shape = [2, 3, 16];
        let own = &shape[axis.rem_euclid(3) as usize..];
        let case = Case::new("", "SimplifiedLayerNormalization", 21).int("axis", axis).int("stash_type", 1);
        all.push(case.x(F32, &shape).w(F32, own).outs(&[F32, F32]));
    }
}

fn embeddings(all: &mut Vec<Case>) {
    for (segments, mask, places) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
        let case = ms("EmbedLayerNormalization").float("epsilon", 1e-5).input(tokens(20, &[2, 6], 1));
        let case = case.either(segments, |c| c.input(tokens(2, &[2, 6], 2)));
        let case = case.w(F32, &[20, 8]).w(F32, &[10, 8]).either(segments, |c| c.w(F32, &[2, 8]));
        let case = case.w(F32, &[8]).w(F32, &[8]).either(mask, |c| c.input(tokens(2, &[2, 6], 3)));
        let rows = if mask { 2 } else { 1 };
        let case = case.either(places, |c| c.input(tokens(10, &[rows, 6], 4)));
        all.push(case.outs(if places { &[F32, I32, F32] } else { &[F32, I32] }));
    }
    let ids = || tokens(20, &[2, 6], 1);
    let case = ms("EmbedLayerNormalization").input(ids()).named(&["b", "s"]).none();
    let case = case.w(F32, &[20, 8]).w(F32, &[10, 8]).none().w(F32, &[8]).w(F32, &[8]);
    all.push(case.input(tokens(2, &[2, 6], 3)).named(&["b", "s"]).outs(&[F32, I32]));
    for dtype in [U8, I8] {
        for segments in [false, true] {
            all.push(quantized_embedding(dtype, segments));
        }
    }
}

fn quantized_embedding(dtype: DType, segments: bool) -> Case {
    let scale = |x: f32| Tensor::scalar(x);
    let zero = |x: i64| Tensor::from_i64s(dtype, vec![], [x]);
    let q = |shape: &[usize], seed| {
        let values: Vec<i64> = sample(F32, shape, seed)
            .to_f64s()
            .iter()
            .map(|x| (x * 100.0) as i64 + if dtype == U8 { 120 } else { 0 })
            .collect();
        Tensor::from_i64s(dtype, shape.to_vec(), values)
    };
    let case = ms("QEmbedLayerNormalization").float("epsilon", 1e-5).input(tokens(20, &[2, 6], 1));
    let case = case.either(segments, |c| c.input(tokens(2, &[2, 6], 2)));
    let case = case.constant(q(&[20, 8], 3)).constant(q(&[10, 8], 4));
    let case = case.either(segments, |c| c.constant(q(&[2, 8], 5)));
    let case = case.constant(q(&[8], 6)).constant(q(&[8], 7)).input(tokens(2, &[2, 6], 3));
    let case = case.constant(scale(0.01)).constant(scale(0.02)).either(segments, |c| c.constant(scale(0.03)));
    let case = case.constant(scale(0.04)).constant(scale(0.05)).constant(zero(3)).constant(zero(1));
    let case = case.either(segments, |c| c.constant(zero(7))).constant(zero(5)).constant(zero(9));
    case.outs(&[F32, I32])
}

fn branches(all: &mut Vec<Case>) {
    for dtype in [F32, F16, BF16] {
        for (flat, shape) in [(false, vec![2, 5, 4, 8]), (true, vec![2, 5, 32])] {
            for scale in [None, Some(vec![32]), Some(vec![4, 8]), Some(vec![8])] {
                let case =
                    ms("BranchwiseRMSNorm").int("num_branches", if flat { 4 } else { 0 }).x(dtype, &shape);
                all.push(match scale {
                    Some(scale) => case.w(F32, &scale).out(dtype),
                    None => case.out(dtype),
                });
            }
        }
    }
    for dtype in [F32, F16] {
        for activation in ["silu", "swish", "sigmoid"] {
            let case = ms("GatedRMSNorm").text("activation", activation).x(dtype, &[2, 3, 16]);
            all.push(case.w(dtype, &[8]).x(dtype, &[2, 3, 16]).out(dtype));
        }
    }
}

/// Group normalization is no operator of ONNX Runtime's CPU provider: it runs ONNX's instead.
fn groups(all: &mut Vec<Case>) {
    for (last, silu, skip, bias) in (0..16).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0, i & 8 > 0)) {
        if bias && !skip {
            continue;
        }
        let (shape, around) = if last { ([2, 3, 5, 8], true) } else { ([2, 8, 3, 5], false) };
        let mut nodes = Vec::new();
        let mut x = "i0";
        if skip {
            nodes.push(node("Add", &["i0", "i3"], &["s0"], vec![]));
            x = "s0";
        }
        if bias {
            nodes.push(node("Add", &["s0", "i4"], &["s1"], vec![]));
            x = "s1";
        }
        if skip {
            nodes.push(node("Identity", &[x], &["o1"], vec![]));
        }
        let perm = |name: &str, perm: &[i64]| super::case::ints(name, perm);
        let x = if around {
            nodes.push(node("Transpose", &[x], &["f"], vec![perm("perm", &[0, 3, 1, 2])]));
            "f"
        } else {
            x
        };
        let attributes = vec![int("num_groups", 4), float("epsilon", 1e-5)];
        nodes.push(node("GroupNormalization", &[x, "i1", "i2"], &["n"], attributes));
        let mut y = "n";
        if silu {
            nodes.push(node("Sigmoid", &["n"], &["g"], vec![]));
            nodes.push(node("Mul", &["n", "g"], &["m"], vec![]));
            y = "m";
        }
        let back = if around { [0, 2, 3, 1] } else { [0, 1, 2, 3] };
        nodes.push(node("Transpose", &[y], &["o0"], vec![perm("perm", &back)]));
        let case = Case::new(MS, if skip { "SkipGroupNorm" } else { "GroupNorm" }, 1);
        let case =
            case.int("groups", 4).int("channels_last", i64::from(last)).int("activation", i64::from(silu));
        let case = case.x(F32, &shape).w(F32, &[8]).w(F32, &[8]);
        let case = if skip { case.x(F32, &shape) } else { case };
        let case = if bias { case.w(F32, if last { &[8] } else { &[8, 1, 1] }) } else { case };
        all.push(if skip { case.outs(&[F32, F32]) } else { case.out(F32) }.oracle(nodes));
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    skips(&mut all);
    simplified(&mut all);
    embeddings(&mut all);
    branches(&mut all);
    groups(&mut all);
    all
}
