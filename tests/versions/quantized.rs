//! Quantized numbers.
use super::case::Case;
use super::{LAST, op, scalar};
use sardonyx_tensor::DType::{BF16, F8E4M3FN, F16, F32, I4, I8, I16, I32, U8, U16};
use sardonyx_tensor::{DType, Tensor};

fn number(dtype: DType, values: &[i64]) -> Tensor {
    let shape = if values.len() == 1 { vec![] } else { vec![values.len()] };
    Tensor::from_i64s(dtype, shape, values.iter().copied())
}

fn scales(values: &[f32]) -> Tensor {
    Tensor::from_slice([values.len()], values)
}

fn quantizing() -> Vec<Case> {
    let x = |c: Case| c.input(Tensor::from_f64s(F32, [2, 3], [-1.75, 0.0, 0.26, 2.5, 3.99, 100.0]));
    let bytes = |c: Case, dtype: DType| c.x(dtype, &[2, 3]);
    let mut all = vec![
        x(op("QuantizeLinear", 10, LAST)).constant(scalar(0.1)).constant(number(U8, &[7])).out(U8),
        x(op("QuantizeLinear", 10, LAST)).constant(scalar(0.1)).constant(number(I8, &[-3])).out(I8),
        x(op("QuantizeLinear", 10, LAST)).constant(scalar(0.1)).out(U8),
        bytes(op("DequantizeLinear", 10, LAST), I8).constant(scalar(0.1)).out(F32),
        bytes(op("DequantizeLinear", 10, LAST), U8).constant(scalar(0.1)).constant(number(U8, &[7])).out(F32),
        bytes(op("DequantizeLinear", 10, LAST), I32).constant(scalar(0.1)).out(F32),
    ];
    // A scale for each step along an axis came with version 13, other types with 19 and 21, blocks with 21.
    for (axis, by, zero) in [(1, &[0.1f32, 0.2, 0.3][..], &[1i64, 2, 3][..]), (-2, &[0.1, 0.2], &[5, 6])] {
        let (to, from) = (op("QuantizeLinear", 13, LAST), op("DequantizeLinear", 13, LAST));
        all.push(x(to.int("axis", axis)).constant(scales(by)).constant(number(U8, zero)).out(U8));
        all.push(bytes(from.int("axis", axis), U8).constant(scales(by)).constant(number(U8, zero)).out(F32));
    }
    let eight = || Tensor::from_f64s(F8E4M3FN, [], [0.0]);
    let half = || Tensor::from_f64s(F16, [], [0.25]);
    all.extend([
        x(op("QuantizeLinear", 19, LAST)).constant(scalar(0.1)).constant(eight()).out(F8E4M3FN),
        x(op("QuantizeLinear", 19, LAST).int("saturate", 0))
            .constant(scalar(0.1))
            .constant(eight())
            .out(F8E4M3FN),
        op("DequantizeLinear", 19, LAST)
            .w(F8E4M3FN, &[2, 3])
            .constant(scalar(0.1))
            .constant(eight())
            .out(F32),
        op("QuantizeLinear", 19, LAST).x(F16, &[4]).constant(half()).constant(number(U8, &[3])).out(U8),
        op("DequantizeLinear", 19, LAST).x(U8, &[4]).constant(half()).constant(number(U8, &[3])).out(F16),
        x(op("QuantizeLinear", 21, LAST)).constant(scalar(0.1)).constant(number(I4, &[1])).out(I4),
        x(op("QuantizeLinear", 21, LAST)).constant(scalar(0.1)).constant(number(U16, &[300])).out(U16),
        x(op("QuantizeLinear", 21, LAST).int("output_dtype", 5)).constant(scalar(0.1)).out(I16),
        op("DequantizeLinear", 21, LAST)
            .w(I4, &[2, 3])
            .constant(scalar(0.1))
            .constant(number(I4, &[1]))
            .out(F32),
        bytes(op("DequantizeLinear", 21, LAST), I16).constant(scalar(0.1)).out(F32),
        op("QuantizeLinear", 21, LAST)
            .int("axis", 0)
            .int("block_size", 2)
            .x(F32, &[4, 3])
            .constant(Tensor::from_f64s(F32, [2, 3], (1..7).map(|i| f64::from(i) / 50.0)))
            .constant(Tensor::from_i64s(U8, [2, 3], 1..7))
            .out(U8),
        op("DequantizeLinear", 21, LAST)
            .int("axis", 0)
            .int("block_size", 2)
            .x(U8, &[4, 3])
            .constant(Tensor::from_f64s(F32, [2, 3], (1..7).map(|i| f64::from(i) / 50.0)))
            .constant(Tensor::from_i64s(U8, [2, 3], 1..7))
            .out(F32),
        // Version 23 lets the result have another type than the scale.
        op("DequantizeLinear", 23, LAST).int("output_dtype", 16).x(U8, &[4]).constant(scalar(0.5)).out(BF16),
        op("DynamicQuantizeLinear", 11, LAST).x(F32, &[3, 4]).outs(&[U8, F32, U8]),
    ]);
    all
}

fn products() -> Vec<Case> {
    let mut all = Vec::new();
    for (a, b) in [(U8, U8), (U8, I8), (I8, I8)] {
        let zero = |t: DType| number(t, &[if t == U8 { 100 } else { -2 }]);
        let c = op("MatMulInteger", 10, LAST).x(a, &[3, 4]).w(b, &[4, 2]);
        all.push(c.constant(zero(a)).constant(zero(b)).out(I32));
        let c = op("QLinearMatMul", 10, LAST).x(a, &[3, 4]).constant(scalar(0.1)).constant(zero(a));
        let c = c.w(b, &[4, 2]).constant(scalar(0.2)).constant(zero(b));
        all.push(c.constant(scalar(0.3)).constant(zero(a)).out(a));
        let c = op("QLinearConv", 10, LAST).x(a, &[1, 2, 5, 5]).constant(scalar(0.1)).constant(zero(a));
        let c = c.w(b, &[3, 2, 3, 3]).constant(scalar(0.2)).constant(zero(b));
        let c = c.constant(scalar(0.3)).constant(zero(a)).constant(number(I32, &[5, -7, 9]));
        all.push(c.out(a));
    }
    all.push(op("MatMulInteger", 10, LAST).x(U8, &[3, 4]).x(U8, &[4, 2]).out(I32));
    let conv =
        || op("ConvInteger", 10, LAST).ints("pads", &[1, 1, 1, 1]).x(U8, &[1, 2, 5, 5]).w(U8, &[3, 2, 3, 3]);
    all.push(conv().out(I32));
    all.push(conv().constant(number(U8, &[4])).out(I32));
    all.push(conv().constant(number(U8, &[4])).constant(number(U8, &[3])).out(I32));
    all
}

pub fn cases() -> Vec<Case> {
    [quantizing(), products()].into_iter().flatten().collect()
}
