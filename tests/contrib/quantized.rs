//! Quantized products and convolutions.
use super::case::{Case, ms};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, F32, I8, I16, I32, U8, U16};
use sardonyx_tensor::Tensor;

/// Seeded bytes over most of the type's range.
pub fn bytes(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let middle = if dtype == U8 { 127.0 } else { 0.0 };
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_i64s(
        dtype,
        shape.to_vec(),
        values.iter().map(|x| (x * 100.0 + middle) as i64).collect::<Vec<_>>(),
    )
}

pub fn scale(x: f32) -> Tensor {
    Tensor::scalar(x)
}

/// A scale for each of `n` columns.
fn scales(n: usize) -> Tensor {
    Tensor::from_f64s(F32, vec![n], (0..n).map(|i| 0.01 + 0.003 * i as f64).collect::<Vec<_>>())
}

pub fn zero(dtype: DType, x: i64) -> Tensor {
    Tensor::from_i64s(dtype, vec![], [x])
}

fn zeros(dtype: DType, n: usize) -> Tensor {
    Tensor::from_i64s(dtype, vec![n], (0..n).map(|i| i as i64 + 3).collect::<Vec<_>>())
}

fn products(all: &mut Vec<Case>) {
    for (a, b) in [(U8, U8), (U8, I8), (I8, I8)] {
        for (columns, points, bias) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
            let case =
                ms("MatMulIntegerToFloat").input(bytes(a, &[2, 3, 8], 1)).constant(bytes(b, &[8, 5], 2));
            let case = case.constant(scale(0.02)).constant(if columns { scales(5) } else { scale(0.03) });
            let case = case.either(points, |c| c.constant(zero(a, 7)));
            let case = case.either(points, |c| c.constant(if columns { zeros(b, 5) } else { zero(b, 4) }));
            all.push(case.either(bias, |c| c.w(F32, &[5])).out(F32));
        }
    }
    for b in [U8, I8] {
        for (columns, points, bias) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
            let case = ms("DynamicQuantizeMatMul").x(F32, &[2, 3, 8]).constant(bytes(b, &[8, 5], 2));
            let case = case.constant(if columns { scales(5) } else { scale(0.03) });
            let case = case.either(points, |c| c.constant(if columns { zeros(b, 5) } else { zero(b, 4) }));
            all.push(case.either(bias, |c| c.w(F32, &[5])).out(F32).within(1e-5, 1e-4));
        }
    }
    all.push(ms("MatMulInteger16").x(I16, &[3, 8]).x(I16, &[8, 5]).out(I32));
}

fn gemms(all: &mut Vec<Case>) {
    for (a, b) in [(U8, U8), (U8, I8), (I8, I8)] {
        for i in 0..16i64 {
            let (ta, tb, bias, float) = (i & 1, i >> 1 & 1, i & 4 > 0, i & 8 > 0);
            let columns = (i / 2 + i / 4) % 2 > 0;
            let case =
                ms("QGemm").int("transA", ta).int("transB", tb).float("alpha", if i > 7 { 0.5 } else { 1.0 });
            let case = case.input(bytes(a, if ta > 0 { &[8, 3] } else { &[3, 8] }, 1));
            let case = case.constant(scale(0.02)).constant(zero(a, 7));
            let case = case.constant(bytes(b, if tb > 0 { &[5, 8] } else { &[8, 5] }, 2));
            let case = case.constant(if columns { scales(5) } else { scale(0.03) });
            let case = case.constant(if columns { zeros(b, 5) } else { zero(b, 4) });
            let case = case.either(bias, |c| c.w(I32, &[5]));
            all.push(match float {
                true => case.out(F32).within(1e-4, 1e-4),
                false => case.constant(scale(0.5)).constant(zero(a, 11)).out(a).within(1.0, 0.0),
            });
        }
    }
}

fn convolutions(all: &mut Vec<Case>) {
    for (a, b) in [(U8, U8), (U8, I8), (I8, I8)] {
        for (last, channels, bias) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
            let case = ms("QLinearConv").int("channels_last", i64::from(last)).ints("pads", &[1, 0, 1, 1]);
            let case = case.input(bytes(a, if last { &[2, 6, 5, 4] } else { &[2, 4, 6, 5] }, 1));
            let case = case.constant(scale(0.02)).constant(zero(a, 7)).constant(bytes(b, &[6, 4, 3, 3], 2));
            let case = case.constant(if channels { scales(6) } else { scale(0.03) });
            // ONNX Runtime takes one zero point for all channels, or the same for each.
            let case = case.constant(zero(b, 4)).constant(scale(1.0)).constant(zero(a, 11));
            all.push(case.either(bias, |c| c.w(I32, &[6])).out(a).within(1.0, 0.0));
        }
    }
}

fn linear(all: &mut Vec<Case>) {
    for dtype in [U8, I8, U16, I16] {
        for axis in [None, Some(0), Some(1)] {
            let n = axis.map_or(1, |a: i64| if a == 0 { 3 } else { 8 });
            let parameters = |c: Case| match axis {
                None => c.constant(scale(0.02)).constant(zero(dtype, 5)),
                Some(_) => c.constant(scales(n)).constant(zeros(dtype, n)),
            };
            let with = |c: Case| axis.map_or(Case::new(c.domain, c.op, 1), |a| c.int("axis", a));
            let case = with(ms("QuantizeLinear")).x(F32, &[3, 8]);
            all.push(parameters(case).out(dtype));
            let case = with(ms("DequantizeLinear")).input(bytes(dtype, &[3, 8], 1));
            all.push(parameters(case).out(F32));
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    products(&mut all);
    gemms(&mut all);
    convolutions(&mut all);
    linear(&mut all);
    all
}
