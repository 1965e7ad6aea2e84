//! Operators of one element at a time.
use super::case::Case;
use super::{LAST, op, scalar};
use sardonyx_tensor::DType::{Bool, F32, I32, I64, String as Text, U8, U32};
use sardonyx_tensor::Tensor;

/// Operators of one operand whose form never changed, and since when they are.
const UNARY: &[(&str, i64)] = &[
    ("Abs", 7),
    ("Acos", 7),
    ("Asin", 7),
    ("Asinh", 9),
    ("Atan", 7),
    ("Atanh", 9),
    ("Ceil", 7),
    ("Cos", 7),
    ("Cosh", 9),
    ("Elu", 7),
    ("Erf", 9),
    ("Exp", 7),
    ("Floor", 7),
    ("Gelu", 20),
    ("HardSigmoid", 7),
    ("HardSwish", 14),
    ("Identity", 7),
    ("LeakyRelu", 7),
    ("Mish", 18),
    ("Neg", 7),
    ("Reciprocal", 7),
    ("Relu", 7),
    ("Round", 11),
    ("Selu", 7),
    ("Shrink", 9),
    ("Sigmoid", 7),
    ("Sign", 9),
    ("Sin", 7),
    ("Sinh", 9),
    ("Softplus", 7),
    ("Softsign", 7),
    ("Swish", 24),
    ("Tan", 7),
    ("Tanh", 7),
    ("ThresholdedRelu", 10),
    ("Celu", 12),
];

fn unary() -> Vec<Case> {
    let mut all: Vec<Case> =
        UNARY.iter().map(|&(name, since)| op(name, since, LAST).x(F32, &[2, 3]).out(F32)).collect();
    let positive = || Tensor::from_slice([4], &[1.0f32, 1.5, 2.0, 300.0]);
    for (name, since) in [("Acosh", 9), ("Log", 7), ("Sqrt", 7)] {
        all.push(op(name, since, LAST).input(positive()).out(F32));
    }
    all.extend([
        op("Elu", 7, LAST).float("alpha", 0.5).x(F32, &[5]).out(F32),
        op("HardSigmoid", 7, LAST).float("alpha", 0.4).float("beta", 0.3).x(F32, &[5]).out(F32),
        op("LeakyRelu", 7, LAST).float("alpha", 0.3).x(F32, &[5]).out(F32),
        op("Selu", 7, LAST).float("alpha", 2.0).float("gamma", 3.0).x(F32, &[5]).out(F32),
        op("Celu", 12, LAST).float("alpha", 0.3).x(F32, &[5]).out(F32),
        op("Shrink", 9, LAST).float("bias", 0.1).float("lambd", 0.2).x(F32, &[5]).out(F32),
        op("ThresholdedRelu", 10, LAST).float("alpha", 0.1).x(F32, &[5]).out(F32),
        op("Gelu", 20, LAST).text("approximate", "tanh").x(F32, &[5]).out(F32),
        op("Swish", 24, LAST).float("alpha", 0.7).x(F32, &[5]).out(F32),
        op("Relu", 14, LAST).x(I32, &[5]).out(I32),
        op("Abs", 7, LAST).x(I32, &[5]).out(I32),
        op("Neg", 7, LAST).x(I32, &[5]).out(I32),
        op("Sign", 9, LAST).x(I64, &[5]).out(I64),
        op("Not", 7, LAST).x(Bool, &[4]).out(Bool),
        op("BitwiseNot", 18, LAST).x(I32, &[4]).out(I32),
    ]);
    let odd = || Tensor::from_slice([5], &[f32::NAN, f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0]);
    all.push(op("IsNaN", 9, LAST).input(odd()).out(Bool));
    for (negative, positive) in [(1, 1), (0, 1), (1, 0)] {
        let case = op("IsInf", 10, LAST).int("detect_negative", negative);
        all.push(case.int("detect_positive", positive).input(odd()).out(Bool));
    }
    all
}

fn binary() -> Vec<Case> {
    let mut all = Vec::new();
    for name in ["Add", "Sub", "Mul", "Div"] {
        all.push(op(name, 7, LAST).x(F32, &[2, 3, 4]).x(F32, &[3, 1]).out(F32));
        let divisor = Tensor::from_slice([2], &[3i32, -2]);
        all.push(op(name, 7, LAST).input(Tensor::from_slice([2], &[7i32, 8])).input(divisor).out(I32));
        // Small integers came with version 14.
        all.push(op(name, 14, LAST).x(U8, &[3]).constant(Tensor::from_slice([1], &[2u8])).out(U8));
    }
    for name in ["And", "Or", "Xor"] {
        all.push(op(name, 7, LAST).x(Bool, &[4, 3]).x(Bool, &[3]).out(Bool));
    }
    for (name, since) in [("Greater", 7), ("Less", 7), ("GreaterOrEqual", 12), ("LessOrEqual", 12)] {
        all.push(op(name, since, LAST).x(F32, &[4, 3]).x(F32, &[3]).out(Bool));
        all.push(op(name, since.max(9), LAST).x(I32, &[4, 3]).x(I32, &[4, 1]).out(Bool));
    }
    for (name, since) in [("BitwiseAnd", 18), ("BitwiseOr", 18), ("BitwiseXor", 18)] {
        all.push(op(name, since, LAST).x(I32, &[4, 3]).x(I32, &[3]).out(I32));
    }
    for direction in ["LEFT", "RIGHT"] {
        let by = Tensor::from_slice([3], &[1u32, 3, 2]);
        all.push(op("BitShift", 11, LAST).text("direction", direction).x(U32, &[3]).input(by).out(U32));
    }
    for name in ["Max", "Min", "Mean", "Sum"] {
        // Before version 8 all operands have one shape.
        all.push(op(name, 7, LAST).x(F32, &[2, 3]).x(F32, &[2, 3]).x(F32, &[2, 3]).out(F32));
        all.push(op(name, 8, LAST).x(F32, &[2, 3]).x(F32, &[3]).x(F32, &[2, 1]).out(F32));
        all.push(op(name, 7, LAST).x(F32, &[2]).out(F32));
    }
    for name in ["Max", "Min"] {
        all.push(op(name, 12, LAST).x(I32, &[2, 3]).x(I32, &[3]).out(I32));
    }
    let base = || Tensor::from_slice([3], &[0.5f32, 2.0, 3.0]);
    all.extend([
        op("Equal", 7, LAST).x(I32, &[4, 3]).x(I32, &[3]).out(Bool),
        op("Equal", 7, LAST).x(Bool, &[4]).x(Bool, &[1]).out(Bool),
        op("Equal", 11, LAST).x(F32, &[4]).constant(Tensor::from_slice([1], &[0.5f32])).out(Bool),
        op("Equal", 19, LAST).x(Text, &[6]).x(Text, &[6]).out(Bool),
        op("Pow", 7, LAST).input(base()).input(Tensor::from_slice([2, 1], &[2.0f32, -1.5])).out(F32),
        // The exponent has a type of its own from version 12 on, as has an integer base.
        op("Pow", 12, LAST).input(base()).input(Tensor::from_slice([1], &[3i64])).out(F32),
        op("Pow", 12, LAST).x(I32, &[5]).input(Tensor::from_slice([1], &[2.0f32])).out(I32),
        op("Pow", 12, LAST).x(I64, &[5]).input(Tensor::from_slice([1], &[3i32])).out(I64),
        op("Mod", 10, LAST).x(I32, &[6]).constant(Tensor::from_slice([1], &[3i32])).out(I32),
        op("Mod", 10, LAST).x(I32, &[6]).constant(Tensor::from_slice([1], &[-3i32])).out(I32),
        op("Mod", 10, LAST).int("fmod", 1).x(I32, &[6]).constant(Tensor::from_slice([1], &[3i32])).out(I32),
        op("Mod", 10, LAST).int("fmod", 1).x(F32, &[6]).constant(scalar(0.3)).out(F32),
        op("PRelu", 7, LAST).x(F32, &[2, 3, 4]).w(F32, &[3, 1]).out(F32),
        op("PRelu", 7, LAST).x(F32, &[2, 3]).x(F32, &[2, 3]).out(F32),
        op("Where", 9, LAST).x(Bool, &[2, 1]).x(F32, &[3]).x(F32, &[2, 3]).out(F32),
    ]);
    all
}

/// Bounds are attributes before version 11 and operands, which may be missing, from then on.
fn clip() -> Vec<Case> {
    let mut all = vec![
        op("Clip", 7, 10).x(F32, &[6]).out(F32),
        op("Clip", 7, 10).float("min", -0.3).x(F32, &[6]).out(F32),
        op("Clip", 7, 10).float("max", 0.2).x(F32, &[6]).out(F32),
        op("Clip", 7, 10).float("min", -0.3).float("max", 0.2).x(F32, &[6]).out(F32),
        op("Clip", 11, LAST).x(F32, &[6]).out(F32),
        op("Clip", 11, LAST).x(F32, &[6]).constant(scalar(-0.3)).out(F32),
        op("Clip", 11, LAST).x(F32, &[6]).none().input(scalar(0.2)).out(F32),
        op("Clip", 11, LAST).x(F32, &[6]).input(scalar(-0.3)).constant(scalar(0.2)).out(F32),
    ];
    // Bounds the wrong way round: the upper one counts since version 13, and was never told before.
    all.push(op("Clip", 13, LAST).x(F32, &[6]).constant(scalar(0.5)).constant(scalar(-0.5)).out(F32));
    let bound = |x: i32| Tensor::from_slice([], &[x]);
    all.push(op("Clip", 12, LAST).x(I32, &[6]).constant(bound(-1)).constant(bound(2)).out(I32));
    all
}

pub fn cases() -> Vec<Case> {
    [unary(), binary(), clip()].into_iter().flatten().collect()
}
