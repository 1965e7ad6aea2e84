//! Operators that ONNX has under the same name or could have.
use super::case::{Case, ms};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{
    self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, String as Text, U8, U32, U64,
};
use sardonyx_tensor::Tensor;

fn i64s(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_slice(shape, values)
}

fn i32s(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i64s(I32, shape.to_vec(), values.iter().copied())
}

/// Numbers of which some are equal.
fn few(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_f64s(dtype, shape.to_vec(), values.into_iter().map(|x| (x * 3.0).round()))
}

fn shapes(all: &mut Vec<Case>) {
    for dtype in [F32, F64, F16] {
        // A matrix that is far from singular.
        let x = sample(F64, &[3, 4, 4], 3).to_f64s();
        let x = x.iter().enumerate().map(|(i, v)| v + if i % 16 % 5 == 0 { 4.0 } else { 0.0 });
        let x = Tensor::from_f64s(dtype, [3, 4, 4], x);
        all.push(ms("Inverse").input(x).named(&["b"]).out(dtype).within(2e-3, 2e-3));
    }
    for dtype in [I32, I64, F32, F64, I16] {
        let number = |x: f64| Tensor::from_f64s(dtype, [], [x]);
        for (from, to, by) in [(1.0, 9.0, 3.0), (5.0, -6.0, -2.0), (3.0, 1.0, 1.0)] {
            let case = || ms("Range").constant(number(from)).constant(number(to));
            all.push(case().constant(number(by)).out(dtype));
            all.push(ms("Range").input(number(from)).input(number(to)).input(number(by)).out(dtype));
        }
        all.push(ms("Range").constant(number(2.0)).constant(number(7.0)).out(dtype));
    }
    for dtype in [F32, F64, I64] {
        for upper in [0, 1] {
            let case = || ms("Trilu").int("upper", upper).input(few(dtype, &[2, 4, 5], 1));
            all.push(case().out(dtype));
            for k in [-2, 0, 3] {
                all.push(case().constant(i64s(&[], &[k])).out(dtype));
                all.push(case().input(i64s(&[], &[k])).out(dtype));
            }
        }
    }
    for axis in [-4, -1, 0, 2, 3] {
        all.push(ms("ExpandDims").x(F32, &[2, 3, 4]).constant(i32s(&[], &[axis])).out(F32));
    }
    all.push(ms("ExpandDims").x(F32, &[2, 3]).named(&["b"]).constant(i32s(&[], &[1])).out(F32));
    all.push(ms("ExpandDims").x(F32, &[2, 3]).constant(i32s(&[], &[3])).out(F32).unsupported("no axis 3"));
    for mode in ["constant", "reflect", "edge"] {
        let pads = [1, 0, 2, 1, 2, 0];
        let case = || ms("Pad").text("mode", mode).x(F32, &[3, 4, 5]);
        all.push(case().constant(i64s(&[6], &pads)).out(F32));
        all.push(case().constant(i64s(&[1, 6], &pads)).constant(Tensor::from_f64s(F32, [1], [2.5])).out(F32));
        all.push(case().input(i64s(&[6], &pads)).out(F32));
    }
    for dtype in [F32, I64, U8, F16, BF16, Bool] {
        let case = ms("UnfoldTensor").int("size", 3).int("step", 2).int("dim", 1).x(dtype, &[2, 8, 3]);
        let case = case.out(dtype);
        all.push(if matches!(dtype, F32 | I64) { case } else { case.refused("Unsupported data type") });
    }
    all.push(ms("UnfoldTensor").int("size", 2).x(F32, &[2, 7]).named(&["b"]).out(F32));
    all.push(ms("UnfoldTensor").int("size", 7).int("dim", 0).x(F32, &[7]).out(F32));
}

fn indexing(all: &mut Vec<Case>) {
    for n in [1, 9, 30] {
        all.push(ms("Unique").input(few(F32, &[n], 4)).outs(&[F32, I64, I64]));
        all.push(ms("Unique").input(few(F32, &[n], 5)).named(&["n"]).outs(&[F32, I64, I64]));
    }
    for dtype in [F32, I64, I8] {
        all.push(ms("GatherND").x(dtype, &[3, 4, 2]).input(i64s(&[2, 2], &[0, 1, 2, 3])).out(dtype));
        all.push(ms("GatherND").x(dtype, &[3, 4, 2]).input(i32s(&[2, 1, 1], &[2, 0])).out(dtype));
    }
    for n in [1, 2, 3] {
        let ids = few(F32, &[3, 12], 6).to_f64s().iter().map(|x| (x.abs() as i64) % 3).collect::<Vec<_>>();
        let case = ms("NGramRepeatBlock").int("ngram_size", n).input(i64s(&[3, 12], &ids));
        all.push(case.x(F32, &[3, 5]).out(F32));
    }
    let long = ms("NGramRepeatBlock").int("ngram_size", 5).input(i64s(&[1, 3], &[1, 1, 1]));
    all.push(long.x(F32, &[1, 4]).out(F32));
    for dtype in [I32, U32, I64, U64, F32, F64] {
        for (positive, seed) in [(1, 0), (0, 0), (1, 42), (0, 7)] {
            let case = ms("MurmurHash3").int("positive", positive).int("seed", seed);
            all.push(case.x(dtype, &[3, 5]).out(if positive == 1 { U32 } else { I32 }));
        }
    }
}

fn sampling(all: &mut Vec<Case>) {
    for dtype in [F32, F64] {
        for metric in ["euclidean", "sqeuclidean"] {
            let case = ms("CDist").text("metric", metric).x(dtype, &[5, 7]).named(&["m"]).x(dtype, &[4, 7]);
            all.push(case.out(dtype));
        }
    }
    for mode in ["bilinear", "nearest", "bicubic"] {
        for padding in ["zeros", "border", "reflection"] {
            for corners in [0, 1] {
                let case = ms("GridSample").text("mode", mode).text("padding_mode", padding);
                let case = case.int("align_corners", corners).x(F32, &[2, 3, 5, 6]).x(F32, &[2, 4, 3, 2]);
                all.push(case.out(F32).within(1e-5, 1e-4));
            }
        }
    }
    let rois = Tensor::from_f64s(
        F32,
        [4, 4],
        [0.1, 0.2, 0.75, 0.9, 0.0, 0.0, 1.0, 1.0, 0.8, 0.7, 0.2, 0.1, -0.2, 0.3, 1.3, 0.6],
    );
    for mode in ["bilinear", "nearest"] {
        for sizes in [[3, 4], [1, 1], [7, 2]] {
            for outside in [0.0, -3.5] {
                let case = ms("CropAndResize").text("mode", mode).float("extrapolation_value", outside);
                let case = case.x(F32, &[2, 3, 6, 5]).named(&["b"]).input(rois.clone()).named(&["k"]);
                let case = case.input(i32s(&[4], &[0, 1, 1, 0])).named(&["k"]);
                all.push(case.constant(i32s(&[2], &sizes)).out(F32).within(1e-5, 1e-4));
            }
        }
    }
}

fn paths_and_tokens(all: &mut Vec<Case>) {
    for (shape, seed) in [(&[3, 4][..], 1), (&[1, 5, 3], 2), (&[1, 1], 3), (&[6, 6], 4), (&[2, 9], 5)] {
        all.push(ms("DynamicTimeWarping").input(few(F32, shape, seed)).out(I32));
        all.push(ms("DynamicTimeWarping").x(F32, shape).out(I32));
    }
    let long = ["Hello World", "I love  computer", "", "aXbXXc, 12"];
    for separators in [&[" "][..], &[" ", ","], &[""], &["XX", "X"], &["[0-9]+", "[aeiou]"]] {
        for (mark, least) in [(0, 1), (1, 1), (0, 3)] {
            if separators == [""] && least > 1 {
                continue;
            }
            let case = ms("Tokenizer").texts("separators", separators).int("mark", mark);
            let case = case.int("mincharnum", least).text("pad_value", "#");
            all.push(case.input(Tensor::from_texts([4], &long)).out(Text));
        }
    }
    for token in ["[a-z]+", "l|lo|o W", ".", "[A-Z]?[a-z]*", "b+"] {
        let case = ms("Tokenizer").text("tokenexp", token).int("mark", 1).int("mincharnum", 1);
        all.push(case.text("pad_value", "").input(Tensor::from_texts([2, 2], &long)).out(Text));
    }
}

fn recurrent(all: &mut Vec<Case>) {
    let (steps, batch, width, hidden) = (4, 2, 5, 3);
    for weight in [I8, U8] {
        for (direction, dirs) in [("forward", 1), ("reverse", 1), ("bidirectional", 2)] {
            for (per_channel, extras) in [(false, false), (true, false), (false, true)] {
                let bytes = |shape: &[usize], seed| {
                    let values = sample(F32, shape, seed).to_f64s();
                    let middle = if weight == U8 { 128.0 } else { 0.0 };
                    let list = values
                        .into_iter()
                        .map(|x| (x * 60.0 + middle).round().clamp(middle - 128.0, middle + 127.0));
                    Tensor::from_f64s(weight, shape.to_vec(), list)
                };
                let scales: Vec<usize> = if per_channel { vec![dirs, 4 * hidden] } else { vec![dirs] };
                let count = scales.iter().product::<usize>();
                let scale =
                    || Tensor::from_f64s(F32, scales.clone(), (0..count).map(|i| 0.01 + 0.0005 * i as f64));
                let zero = || {
                    Tensor::from_f64s(
                        weight,
                        scales.clone(),
                        vec![if weight == U8 { 128.0 } else { 0.0 }; count],
                    )
                };
                let case =
                    ms("DynamicQuantizeLSTM").int("hidden_size", hidden as i64).text("direction", direction);
                let case = case.x(F32, &[steps, batch, width]);
                let case = case
                    .constant(bytes(&[dirs, width, 4 * hidden], 1))
                    .constant(bytes(&[dirs, hidden, 4 * hidden], 2));
                let case = case.either(extras, |c| c.w(F32, &[dirs, 8 * hidden]));
                let case = case.either(extras, |c| c.input(i32s(&[batch], &[4, 2])));
                let case = case.either(extras, |c| c.x(F32, &[dirs, batch, hidden]));
                let case = case.either(extras, |c| c.x(F32, &[dirs, batch, hidden])).none();
                let case = case.constant(scale()).constant(zero()).constant(scale()).constant(zero());
                // ONNX Runtime rounds the input and the state to bytes.
                all.push(case.outs(&[F32, F32, F32]).within(3e-2, 3e-2));
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    shapes(&mut all);
    indexing(&mut all);
    sampling(&mut all);
    recurrent(&mut all);
    paths_and_tokens(&mut all);
    all
}
