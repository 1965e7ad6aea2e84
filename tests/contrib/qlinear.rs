//! Quantized operators that are not products, and weights of few bits.
use super::build::{int, node};
use super::case::{Case, encode, ms, ms_node, tensor};
use super::quantized::{bytes, scale, zero};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, Bool, F16, F32, I4, I8, I32, I64, U4, U8};
use sardonyx_tensor::Tensor;

/// An operand with its scale and its zero point, if it has one.
fn quantized(case: Case, dtype: DType, shape: &[usize], seed: u64, points: bool) -> Case {
    let case = case.input(bytes(dtype, shape, seed)).constant(scale(0.02 + seed as f32 * 0.01));
    case.either(points, |c| c.constant(zero(dtype, 3 + seed as i64)))
}

/// The scale and zero point of a result.
fn result(case: Case, dtype: DType, size: f32, points: bool) -> Case {
    let case = case.constant(scale(size));
    // ONNX Runtime aborts where these have no name for a zero point that is left out, others where they do.
    let named = matches!(case.op, "QLinearSigmoid" | "QLinearLeakyRelu");
    let case = match points {
        true => case.constant(zero(dtype, 11)),
        false if named => case.none(),
        false => case,
    };
    // One step of rounding.
    case.out(dtype).within(1.0, 0.0)
}

fn pointwise(all: &mut Vec<Case>) {
    for dtype in [U8, I8] {
        for points in [true, false] {
            for op in ["QLinearAdd", "QLinearMul"] {
                for shape in [vec![2, 3, 4], vec![4], vec![3, 1], vec![]] {
                    let case = quantized(ms(op), dtype, &[2, 3, 4], 1, points);
                    let case = result(quantized(case, dtype, &shape, 2, points), dtype, 0.05, points);
                    all.push(if points { case } else { case.refused("TypeInferenceError") });
                }
            }
            let case = quantized(ms("QLinearSigmoid"), dtype, &[2, 9], 1, points);
            all.push(result(case, dtype, 1.0 / 256.0, points));
            for alpha in [0.01, 0.3] {
                let case = quantized(ms("QLinearLeakyRelu").float("alpha", alpha), dtype, &[2, 9], 1, points);
                all.push(result(case, dtype, 0.03, points));
            }
        }
        for (opset, axis) in [(13, -1), (13, 1), (12, 1), (12, -1)] {
            let case = ms("QLinearSoftmax").int("opset", opset).int("axis", axis);
            let case = quantized(case, dtype, &[2, 3, 4], 1, true);
            let low = if dtype == U8 { 0 } else { -128 };
            let case = case.constant(scale(1.0 / 256.0)).constant(zero(dtype, low));
            all.push(case.out(dtype).within(1.0, 0.0));
        }
        let case = ms("QLinearWhere").x(Bool, &[2, 3, 1]);
        let case = quantized(quantized(case, dtype, &[2, 3, 4], 1, true), dtype, &[4], 2, true);
        all.push(result(case, dtype, 0.04, true));
        for axis in [0, 1, -1] {
            let case = ms("QLinearConcat").int("axis", axis).constant(scale(0.05)).constant(zero(dtype, 11));
            let case = quantized(quantized(case, dtype, &[2, 3, 4], 1, true), dtype, &[2, 3, 4], 2, true);
            all.push(case.out(dtype).within(1.0, 0.0));
        }
    }
}

fn pools(all: &mut Vec<Case>) {
    for dtype in [U8, I8] {
        for last in [0, 1] {
            let shape = if last > 0 { [2, 6, 5, 4] } else { [2, 4, 6, 5] };
            for (include, ceil) in [(0, 0), (1, 0), (0, 1)] {
                let case = ms("QLinearAveragePool").int("channels_last", last).ints("kernel_shape", &[3, 2]);
                let case = case.ints("strides", &[2, 2]).ints("pads", &[1, 0, 1, 0]);
                let case = case.int("count_include_pad", include).int("ceil_mode", ceil);
                all.push(result(quantized(case, dtype, &shape, 1, true), dtype, 0.03, true));
            }
            let case = ms("QLinearGlobalAveragePool").int("channels_last", last);
            all.push(result(quantized(case, dtype, &shape, 1, true), dtype, 0.01, true));
        }
        for (pads, ceil) in [([0, 0, 0, 0], 0), ([1, 0, 1, 1], 0), ([0, 0, 0, 0], 1)] {
            let case =
                ms("NhwcMaxPool").ints("kernel_shape", &[3, 2]).ints("strides", &[2, 2]).ints("pads", &pads);
            all.push(case.int("ceil_mode", ceil).input(bytes(dtype, &[2, 6, 5, 4], 1)).out(dtype));
        }
        let nodes = vec![
            node("DequantizeLinear", &["i0", "i1", "i2"], &["x"], vec![]),
            node("ReduceMean", &["x", "axes"], &["y"], vec![int("keepdims", 0)]),
            node("QuantizeLinear", &["y", "i3", "i4"], &["o0"], vec![]),
        ];
        let axes = encode("", &Tensor::from_i64s(I64, vec![2], [1, 2]));
        let axes = node("Constant", &[], &["axes"], vec![tensor("value", axes)]);
        let case = ms("QLinearReduceMean").ints("axes", &[1, -1]).int("keepdims", 0);
        let case = result(quantized(case, dtype, &[2, 3, 4], 1, true), dtype, 0.01, true);
        all.push(case.oracle([vec![axes], nodes].concat()));
    }
}

fn raw(shape: &[usize], seed: u64) -> Tensor {
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_i64s(
        U8,
        shape.to_vec(),
        values.iter().map(|x| ((x + 1.0) * 127.9) as i64).collect::<Vec<_>>(),
    )
}

fn few_bits(all: &mut Vec<Case>) {
    let (n, block) = (6usize, 16usize);
    for bits in [2, 4, 8] {
        for k in [32usize, 40] {
            let blocks = k.div_ceil(block);
            for (points, bias, level) in
                [(0, false, 0), (1, true, 0), (2, false, 0), (1, false, 1), (1, true, 4)]
            {
                for dtype in [F32, F16] {
                    let case = ms("MatMulNBits").int("bits", bits).int("N", n as i64).int("K", k as i64);
                    let case = case.int("block_size", block as i64).int("accuracy_level", level);
                    let case =
                        case.x(dtype, &[2, 3, k]).constant(raw(&[n, blocks, block * bits as usize / 8], 1));
                    let case = case.w(dtype, &[n, blocks]);
                    let packed = (blocks * bits as usize).div_ceil(8);
                    let case = case.either(points > 0, |c| match points {
                        1 => c.constant(raw(&[n, packed], 2)),
                        _ => c.w(dtype, &[n, blocks]),
                    });
                    let case = case.none().either(bias, |c| c.w(dtype, &[n])).out(dtype);
                    let case = if points == 2 && bits == 8 { case.refused("ComputeBUnpacked") } else { case };
                    // Sums of numbers up to 2^bits, in halves, or of activations rounded to eight bits.
                    let size = f64::from(1 << bits);
                    all.push(match (dtype, level) {
                        (F32, 0 | 1) => case.within(1e-5 * size, 1e-4),
                        _ => case.within(0.02 * size, 1e-2),
                    });
                }
            }
        }
    }
    let order: Vec<i64> = (0..32).map(|i| i * 7 % 2).collect();
    let case = ms("MatMulNBits").int("bits", 4).int("N", 6).int("K", 32).int("block_size", 16);
    let case = case.x(F32, &[3, 32]).constant(raw(&[6, 2, 8], 1)).w(F32, &[6, 2]).none();
    all.push(case.constant(Tensor::from_i64s(I32, vec![32], order)).out(F32).within(1e-4, 1e-4));
    let order = Tensor::from_i64s(I32, vec![32], (0..32).map(|i| i / 16));
    let case = ms("MatMulNBits").int("bits", 4).int("N", 6).int("K", 32).int("block_size", 16);
    let case = case.x(F32, &[3, 32]).constant(raw(&[6, 2, 8], 1)).w(F32, &[6, 2]).constant(raw(&[6, 1], 2));
    // ONNX Runtime's CPU provider leaves packed zero points out of account here: it is given them as floats.
    let points = raw(&[6, 1], 2).to_i64s().into_iter().flat_map(|b| [(b & 15) as f64, (b >> 4) as f64]);
    let points = encode("", &Tensor::from_f64s(F32, [6, 2], points));
    let attributes = vec![int("bits", 4), int("N", 6), int("K", 32), int("block_size", 16)];
    let oracle = vec![
        node("Constant", &[], &["z"], vec![tensor("value", points)]),
        ms_node("MatMulNBits", &["i0", "i1", "i2", "z", "i4"], &["o0"], attributes),
    ];
    all.push(case.constant(order).out(F32).oracle(oracle).within(1e-4, 1e-4));
    for kind in [0, 1] {
        let case = ms("MatMulBnb4").int("quant_type", kind).int("N", 6).int("K", 32).int("block_size", 16);
        all.push(case.x(F32, &[2, 3, 32]).constant(raw(&[96], 1)).w(F32, &[12]).out(F32).within(1e-5, 1e-4));
        let case = ms("MatMulBnb4").int("quant_type", kind).int("N", 5).int("K", 9).int("block_size", 32);
        all.push(case.x(F32, &[3, 9]).constant(raw(&[23], 1)).w(F32, &[2]).out(F32).within(1e-5, 1e-4));
    }
}

fn gathers(all: &mut Vec<Case>) {
    let at = |t: DType| Tensor::from_i64s(t, vec![2, 2], [0, -1, 3, 2]);
    for dtype in [F32, F16] {
        for points in [false, true] {
            for (data, along, by) in [(U4, 0, 1), (I4, 0, 1), (U4, 1, 0), (I4, 0, 0), (U4, 1, 1)] {
                let shape = [32, 48];
                let mut blocks = shape;
                blocks[by] /= 16;
                let case = ms("GatherBlockQuantized").int("block_size", 16).int("gather_axis", along);
                let case = case.int("quantize_axis", by as i64).w(data, &shape).input(at(I64));
                let case = case.w(dtype, &blocks).either(points, |c| c.w(data, &blocks));
                all.push(case.out(dtype));
            }
            for bits in [2usize, 4, 8] {
                let case = ms("GatherBlockQuantized").int("bits", bits as i64).int("block_size", 16);
                let case = case.constant(raw(&[5, 48 * bits / 8], 1)).input(at(I32)).w(dtype, &[5, 3]);
                let case = case.either(points, |c| c.constant(raw(&[5, (3 * bits).div_ceil(8)], 2)));
                all.push(case.out(dtype));
            }
        }
    }
    let outside = Tensor::from_i64s(I64, vec![3], [1, 7, -9]);
    let case = ms("GatherBlockQuantized").int("block_size", 16).w(U4, &[5, 32]).input(outside);
    all.push(case.w(F32, &[5, 2]).out(F32));
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    pointwise(&mut all);
    pools(&mut all);
    few_bits(&mut all);
    gathers(&mut all);
    all
}
