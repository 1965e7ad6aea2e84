//! Attention in its forms.
use super::build::{int, node};
use super::case::{Case, ms, ms_node};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{F16, F32, I8, I32, I64, U8};
use sardonyx_tensor::Tensor;

const B: usize = 2;
const S: usize = 4;
const N: usize = 2;
const H: usize = 8;

fn i32s(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i64s(I32, shape.to_vec(), values.iter().copied())
}

/// Zeros and ones with a one in every row.
fn mask(shape: &[usize], seed: u64) -> Tensor {
    let last = shape[shape.len() - 1];
    let values = sample(F32, shape, seed).to_f64s();
    let values = values.iter().enumerate().map(|(i, x)| i64::from(*x > -0.2 || i % last == 1));
    Tensor::from_i64s(I32, shape.to_vec(), values.collect::<Vec<_>>())
}

/// Masks for `t` keys in every form.
fn masks(s: usize, t: usize) -> Vec<Option<Tensor>> {
    let t64 = t as i64;
    vec![
        None,
        Some(i32s(&[B], &[t64, t64 - 2])),
        Some(i32s(&[2 * B], &[t64, t64 - 1, 1, 0])),
        Some(mask(&[B, t], 5)),
        Some(mask(&[B, s, t], 6)),
    ]
}

fn attention(all: &mut Vec<Case>) {
    for past in [0, 3] {
        for causal in [0, 1] {
            for m in masks(S, S + past) {
                for bias in [false, true] {
                    let case = ms("Attention").int("num_heads", N as i64).int("unidirectional", causal);
                    let case = case.x(F32, &[B, S, 12]).w(F32, &[12, 3 * N * H]).w(F32, &[3 * N * H]);
                    let case = case.either(m.is_some(), |c| c.input(m.clone().expect("a mask")));
                    let case = case.either(past > 0, |c| c.x(F32, &[2, B, N, past, H]));
                    let case = case.either(bias, |c| c.x(F32, &[1, N, S, S + past]));
                    let case = case.outs(if past > 0 { &[F32, F32] } else { &[F32] });
                    all.push(if past > 0 && bias {
                        case.refused("both past and attention_bias")
                    } else {
                        case
                    });
                }
            }
        }
    }
    let plain = || ms("Attention").int("num_heads", 2).x(F32, &[B, S, 12]);
    // ONNX Runtime's CPU provider crashes without a bias.
    let zeros = super::case::encode("", &Tensor::zeros(F32, vec![48]));
    let oracle = vec![
        node("Constant", &[], &["z"], vec![super::case::tensor("value", zeros)]),
        ms_node("Attention", &["i0", "i1", "z"], &["o0"], vec![int("num_heads", 2)]),
    ];
    all.push(plain().w(F32, &[12, 48]).none().out(F32).oracle(oracle));
    all.push(
        plain()
            .float("scale", 0.3)
            .float("mask_filter_value", -50.0)
            .w(F32, &[12, 48])
            .w(F32, &[48])
            .input(mask(&[B, S], 3))
            .out(F32),
    );
    all.push(plain().ints("qkv_hidden_sizes", &[16, 16, 24]).w(F32, &[12, 56]).w(F32, &[56]).out(F32));
    // Scores near -10000 are rounded to a thousandth in ONNX Runtime.
    let hidden = plain().w(F32, &[12, 48]).w(F32, &[48]).input(i32s(&[B, S], &[0; 8]));
    all.push(hidden.out(F32).within(2e-3, 1e-3));
    let named =
        ms("Attention").int("num_heads", 2).int("unidirectional", 1).x(F32, &[B, S, 12]).named(&["b", "s"]);
    let named = named.w(F32, &[12, 48]).w(F32, &[48]).input(mask(&[B, S + 3], 3)).named(&["b", "t"]);
    all.push(named.x(F32, &[2, B, N, 3, H]).named(&["", "b", "", "p"]).outs(&[F32, F32]));
    let rotary = plain().int("do_rotary", 1).w(F32, &[12, 48]).w(F32, &[48]).out(F32);
    all.push(rotary.unsupported("rotary positions"));
}

fn multi_head(all: &mut Vec<Case>) {
    let op = || ms("MultiHeadAttention").int("num_heads", N as i64);
    for l in [S, 6] {
        for past in [0, 3] {
            for causal in [0, 1] {
                for (i, m) in masks(S, l + past).into_iter().enumerate() {
                    // ONNX Runtime has no ends with starts here, and lets the last query see all keys, even
                    // those after it.
                    if i == 2 || (causal > 0 && l > S) {
                        continue;
                    }
                    let bias = (i + past) % 2 == 0;
                    let case = op().int("unidirectional", causal).x(F32, &[B, S, N * H]);
                    let case = case.x(F32, &[B, l, N * H]).x(F32, &[B, l, N * H]);
                    let case = case.either(bias, |c| c.w(F32, &[3 * N * H]));
                    let case = case.either(m.is_some(), |c| c.input(m.clone().expect("a mask")));
                    let case = case.either(i > 2 || causal > 0, |c| c.x(F32, &[B, 1, S, l + past]));
                    if past > 0 {
                        let case = case.x(F32, &[B, N, past, H]).x(F32, &[B, N, past, H]);
                        all.push(case.outs(&[F32, F32, F32]));
                    } else {
                        all.push(case.out(F32));
                    }
                }
            }
        }
    }
    let qkv = || op().x(F32, &[B, S, N * H]).x(F32, &[B, S, N * H]).x(F32, &[B, S, N * H]);
    all.push(qkv().float("scale", 0.25).out(F32));
    all.push(qkv().outs(&[F32, F32, F32]));
    all.push(qkv().none().input(mask(&[B, S], 1)).outs(&[F32, F32, F32, F32]));
    all.push(op().x(F32, &[B, S, 16]).x(F32, &[B, N, 6, H]).x(F32, &[B, N, 6, H]).out(F32));
    all.push(op().x(F32, &[B, S, 16]).x(F32, &[B, N, 6, H]).x(F32, &[B, N, 6, H]).w(F32, &[48]).out(F32));
    all.push(op().x(F32, &[B, S, 16]).x(F32, &[B, 6, 16]).x(F32, &[B, 6, 24]).w(F32, &[56]).out(F32));
    let split = |x: &str, parts: &[&str]| {
        let shape = super::case::encode("", &Tensor::from_i64s(I64, vec![3], [0, 0, 16]));
        let mut nodes = vec![
            node("Constant", &[], &["shape"], vec![super::case::tensor("value", shape)]),
            node("Split", &[x], parts, vec![int("axis", 3), int("num_outputs", parts.len() as i64)]),
        ];
        for part in parts {
            nodes.push(node("Reshape", &[part, "shape"], &[&format!("{part}3")], vec![]));
        }
        nodes
    };
    let heads = || vec![int("num_heads", 2)];
    let mut oracle = split("i0", &["q", "k", "v"]);
    oracle.push(ms_node("MultiHeadAttention", &["q3", "k3", "v3"], &["o0"], heads()));
    all.push(op().x(F32, &[B, S, N, 3, H]).out(F32).oracle(oracle));
    let mut oracle = split("i1", &["k", "v"]);
    oracle.push(ms_node("MultiHeadAttention", &["i0", "k3", "v3"], &["o0"], heads()));
    all.push(op().x(F32, &[B, S, 16]).x(F32, &[B, 6, N, 2, H]).out(F32).oracle(oracle));
    let case = op().x(F32, &[B, S, 16]).named(&["b", "s"]).x(F32, &[B, 6, 16]).named(&["b", "l"]);
    all.push(case.x(F32, &[B, 6, 16]).named(&["b", "l"]).out(F32));
    let case = op().x(F32, &[B, 1, 16]).named(&["b"]).x(F32, &[B, 1, 16]).named(&["b"]);
    let case = case.x(F32, &[B, 1, 16]).named(&["b"]).none().none().none();
    let case = case.x(F32, &[B, N, 5, H]).named(&["b", "", "p"]).x(F32, &[B, N, 5, H]).named(&["b", "", "p"]);
    all.push(case.outs(&[F32, F32, F32]));
}

fn decoder(all: &mut Vec<Case>) {
    let op = || ms("DecoderMaskedMultiHeadAttention").int("num_heads", N as i64);
    // ONNX Runtime's CPU provider takes a cache only in a buffer that it writes to: it runs the general form.
    for (m, bias, scores) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
        let (mask_name, bias_name) = (if m { "i3" } else { "" }, if bias { "i4" } else { "" });
        let inputs = ["i0", "i1", "i2", "", mask_name, bias_name, "i5", "i6"];
        let outputs = ["o0", "o1", "o2", "o3"];
        let outputs = &outputs[..if scores { 4 } else { 3 }];
        let oracle = vec![ms_node("MultiHeadAttention", &inputs, outputs, vec![int("num_heads", 2)])];
        let case = op().int("output_qk", i64::from(scores)).oracle(oracle);
        let case = case.x(F32, &[B, 1, 16]).x(F32, &[B, 1, 16]).x(F32, &[B, 1, 16]);
        let case = case.either(m, |c| c.input(mask(&[B, 6], 2))).either(bias, |c| c.x(F32, &[1, N, 1, 6]));
        let case = case.x(F32, &[B, N, 5, H]).x(F32, &[B, N, 5, H]);
        all.push(case.outs(if scores { &[F32, F32, F32, F32] } else { &[F32, F32, F32] }));
    }
    for m in [false, true] {
        let case = op().x(F32, &[B, 1, 16]).x(F32, &[B, N, 6, H]).x(F32, &[B, N, 6, H]);
        all.push(case.either(m, |c| c.input(mask(&[B, 6], 2))).out(F32));
    }
}

fn rotary(all: &mut Vec<Case>) {
    let places = || Tensor::from_i64s(I64, vec![B, S], [0, 1, 2, 3, 5, 6, 7, 9]);
    for dtype in [F32, F16] {
        for interleaved in [0, 1] {
            for (shape, i) in [(vec![B, S, 2 * H], 0), (vec![B, 2, S, H], 1)] {
                for one in [false, true] {
                    let case = ms("RotaryEmbedding").int("interleaved", interleaved).x(dtype, &shape);
                    let at = if one { Tensor::from_i64s(I64, vec![1], [3]) } else { places() };
                    all.push(case.input(at).w(dtype, &[16, 4]).w(dtype, &[16, 4]).out(dtype));
                    let case = ms("RotaryEmbedding").int("interleaved", interleaved).int("num_heads", 2);
                    let case = case.int("rotary_embedding_dim", 4).x(dtype, &shape).input(places());
                    if !one && i == 0 {
                        all.push(case.w(dtype, &[16, 2]).w(dtype, &[16, 2]).out(dtype));
                    }
                }
            }
        }
    }
    let case =
        ms("RotaryEmbedding").x(F32, &[B, S, 16]).named(&["b", "s"]).input(places()).named(&["b", "s"]);
    all.push(case.w(F32, &[16, 4]).w(F32, &[16, 4]).out(F32));
    let three = Tensor::from_i64s(I64, vec![3, B, S], (0..24).map(|i| i % 11));
    for layout in [0, 1] {
        for interleaved in [0, 1] {
            let case = ms("MRotaryEmbedding").ints("mrope_section", &[2, 1, 1]).int("mrope_layout", layout);
            let case = case.int("interleaved", interleaved).int("num_heads", 2);
            let case = case.x(F32, &[B, S, 16]).input(three.clone());
            all.push(case.w(F32, &[16, 4]).w(F32, &[16, 4]).out(F32));
        }
    }
    let case = ms("MRotaryEmbedding").ints("mrope_section", &[1, 1, 0]).int("num_heads", 2);
    let case = case.int("rotary_embedding_dim", 4).x(F16, &[B, 2, S, H]).input(three);
    all.push(case.w(F16, &[16, 2]).w(F16, &[16, 2]).out(F16));
}

/// What a case of grouped queries varies.
#[derive(Clone, Copy, Default)]
struct Grouped {
    /// Tokens of this run, of the cache, and of the cache that are filled, the second sequence one less.
    s: usize,
    held: usize,
    filled: usize,
    packed: bool,
    rotary: Option<i64>,
    window: i64,
    softcap: f32,
    smooth: bool,
    sink: bool,
    bias: bool,
    scores: i64,
    open: bool,
    places: bool,
    /// The total length is an input.
    late: bool,
}

const G: usize = 4;
/// The width of a head; ONNX Runtime turns only multiples of 16.
const W: usize = 16;

fn grouped_case(g: Grouped, half: bool) -> Case {
    let t = if half { F16 } else { F32 };
    let mut case = ms("GroupQueryAttention").int("num_heads", G as i64).int("kv_num_heads", N as i64);
    if let Some(interleaved) = g.rotary {
        case = case.int("do_rotary", 1).int("rotary_interleaved", interleaved);
    }
    if g.window > 0 {
        case = case.int("local_window_size", g.window);
    }
    if g.softcap > 0.0 {
        case = case.float("softcap", g.softcap);
    }
    if g.smooth {
        case = case.int("smooth_softmax", 1);
    }
    if g.scores > 0 {
        case = case.int("qk_output", g.scores);
    }
    if g.open {
        case = case.int("causal", 0);
    }
    let total = g.filled + g.s;
    let batch = if g.s > 1 && g.filled > 0 { 1 } else { B };
    let case = match g.packed {
        true => case.x(t, &[batch, g.s, (G + 2 * N) * W]).none().none(),
        false => case.x(t, &[batch, g.s, G * W]).x(t, &[batch, g.s, N * W]).x(t, &[batch, g.s, N * W]),
    };
    let past = |c: Case| c.x(t, &[batch, N, g.held, W]);
    let case = case.either(g.held > 0, past).either(g.held > 0, past);
    let ragged = g.filled > 0 && batch > 1 && g.scores == 0;
    let lengths: Vec<i64> = (0..batch).map(|b| total as i64 - 1 - i64::from(ragged && b == 1)).collect();
    let case = case.input(i32s(&[batch], &lengths));
    let all = i32s(&[], &[total as i64]);
    let case = if g.late { case.input(all) } else { case.constant(all) };
    let case = case
        .either(g.rotary.is_some(), |c| c.w(t, &[16, W / 2]))
        .either(g.rotary.is_some(), |c| c.w(t, &[16, W / 2]));
    let case = case.either(g.places, |c| {
        c.input(Tensor::from_i64s(I64, vec![batch, g.s], (0..batch * g.s).map(|i| (i % 5) as i64)))
    });
    let case = case.either(g.bias, |c| c.x(t, &[batch, G, g.s, total])).either(g.sink, |c| c.w(t, &[G]));
    case.outs(&[t; 4][..if g.scores > 0 { 4 } else { 3 }])
}

fn grouped(all: &mut Vec<Case>) {
    let runs = [(4, 0, 0), (4, 6, 0), (1, 5, 5), (1, 8, 5), (3, 8, 4)];
    for (s, held, filled) in runs {
        let base = Grouped { s, held, filled, ..Grouped::default() };
        for packed in [false, true] {
            for rotary in [None, Some(0), Some(1)] {
                all.push(grouped_case(Grouped { packed, rotary, ..base }, false));
            }
        }
        for window in [1, 2, 3] {
            all.push(grouped_case(Grouped { window, ..base }, false));
        }
        all.push(grouped_case(Grouped { softcap: 2.0, ..base }, false));
        all.push(grouped_case(Grouped { smooth: true, ..base }, false));
        all.push(grouped_case(Grouped { sink: true, ..base }, false));
        all.push(grouped_case(Grouped { bias: true, ..base }, false));
        all.push(grouped_case(Grouped { bias: true, softcap: 1.5, sink: true, window: 2, ..base }, false));
        all.push(grouped_case(Grouped { scores: 1, ..base }, false));
        all.push(grouped_case(Grouped { scores: 2, ..base }, false));
        all.push(grouped_case(Grouped { open: true, ..base }, false));
        all.push(grouped_case(Grouped { late: true, rotary: Some(0), ..base }, false));
        all.push(grouped_case(Grouped { late: true, packed: true, window: 2, ..base }, false));
        all.push(grouped_case(Grouped { rotary: Some(0), places: true, ..base }, false));
        all.push(grouped_case(Grouped { packed: true, rotary: Some(0), window: 2, ..base }, true));
    }
}

fn quantized(all: &mut Vec<Case>) {
    for weight in [U8, I8] {
        for (causal, past, i) in [(0, 0, 0), (1, 0, 1), (1, 3, 3), (0, 0, 2), (0, 3, 4)] {
            let m = masks(S, S + past).swap_remove(i);
            let bytes = |t, shape: &[usize], seed| {
                let low = if t == U8 { 0.0 } else { -128.0 };
                let values = sample(F32, shape, seed).to_f64s();
                Tensor::from_i64s(
                    t,
                    shape.to_vec(),
                    values.iter().map(|x| ((x + 1.0) * 127.0 + low) as i64).collect::<Vec<_>>(),
                )
            };
            let case = ms("QAttention").int("num_heads", N as i64).int("unidirectional", causal);
            let case =
                case.input(bytes(U8, &[B, S, 12], 1)).constant(bytes(weight, &[12, 48], 2)).w(F32, &[48]);
            let case = case.constant(Tensor::scalar(0.01f32)).constant(Tensor::scalar(0.005f32));
            let case = case.either(m.is_some(), |c| c.input(m.clone().expect("a mask")));
            let case = case.constant(Tensor::from_i64s(U8, vec![], [128]));
            let case = case.constant(Tensor::from_i64s(weight, vec![], [if weight == U8 { 120 } else { 3 }]));
            let case = case.either(past > 0, |c| c.x(F32, &[2, B, N, past, H]));
            all.push(case.outs(if past > 0 { &[F32, F32] } else { &[F32] }));
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    attention(&mut all);
    multi_head(&mut all);
    decoder(&mut all);
    rotary(&mut all);
    quantized(&mut all);
    grouped(&mut all);
    all
}
