//! Reductions, and what is like them.
use super::case::Case;
use super::{LAST, list, op};
use sardonyx_tensor::DType::{F32, I32, I64};
use sardonyx_tensor::Tensor;

/// Since when a reduction takes its axes as an operand.
fn by_operand(name: &str) -> i64 {
    if name == "ReduceSum" { 13 } else { 18 }
}

const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

fn reductions() -> Vec<Case> {
    let mut all = Vec::new();
    for &name in REDUCTIONS {
        let since = by_operand(name);
        let x = || Tensor::from_f64s(F32, [2, 3, 4], (1..25).map(|i| f64::from(i * 7 % 11) / 4.0 + 0.25));
        let case = |from, until| op(name, from, until);
        all.extend([
            case(7, LAST).input(x()).out(F32),
            case(7, since - 1).ints("axes", &[1]).input(x()).out(F32),
            case(7, since - 1).ints("axes", &[0, 2]).int("keepdims", 0).input(x()).out(F32),
            // Axes count from the end since version 11.
            case(11, since - 1).ints("axes", &[-1]).input(x()).out(F32),
            case(since, LAST).input(x()).constant(list(&[-2])).int("keepdims", 0).out(F32),
            case(since, LAST).input(x()).constant(list(&[0, 2])).out(F32),
            case(since, LAST).input(x()).constant(list(&[])).out(F32),
            case(since, LAST).input(x()).constant(list(&[])).int("noop_with_empty_axes", 1).out(F32),
            case(since, LAST).input(x()).none().int("noop_with_empty_axes", 1).out(F32),
        ]);
        if !matches!(name, "ReduceLogSum" | "ReduceLogSumExp" | "ReduceL2" | "ReduceMean") {
            all.push(case(7, since - 1).ints("axes", &[1]).x(I32, &[2, 3]).out(I32));
            all.push(case(since, LAST).x(I32, &[2, 3]).constant(list(&[1])).out(I32));
        }
    }
    all
}

fn searches() -> Vec<Case> {
    let mut all = Vec::new();
    for name in ["ArgMax", "ArgMin"] {
        let x = || Tensor::from_slice([2, 4], &[1.0f32, 3.0, 3.0, 1.0, -2.0, -2.0, -1.0, -2.0]);
        all.extend([
            op(name, 7, LAST).input(x()).out(I64),
            op(name, 7, LAST).int("axis", 1).int("keepdims", 0).input(x()).out(I64),
            op(name, 11, LAST).int("axis", -1).input(x()).out(I64),
            op(name, 12, LAST).int("axis", -1).int("select_last_index", 1).input(x()).out(I64),
        ]);
    }
    let x = || Tensor::from_slice([2, 4], &[1.0f32, 4.0, 3.0, 4.0, -2.0, 0.5, -1.0, 0.25]);
    all.extend([
        // The number is an attribute before version 10, and there is no order before version 11.
        op("TopK", 7, 9).int("k", 2).input(x()).outs(&[F32, I64]),
        op("TopK", 7, 9).int("k", 1).int("axis", 0).input(x()).outs(&[F32, I64]),
        op("TopK", 10, LAST).input(x()).constant(list(&[3])).outs(&[F32, I64]),
        op("TopK", 11, LAST).int("largest", 0).input(x()).constant(list(&[3])).outs(&[F32, I64]),
        op("TopK", 11, LAST).int("axis", -2).input(x()).input(list(&[1])).outs(&[F32, I64]),
    ]);
    for (exclusive, reverse) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let sum = op("CumSum", 11, LAST).int("exclusive", exclusive).int("reverse", reverse);
        all.push(sum.x(F32, &[2, 4]).constant(Tensor::from_slice([], &[1i32])).out(F32));
        let product = op("CumProd", 26, LAST).int("exclusive", exclusive).int("reverse", reverse);
        all.push(product.x(F32, &[2, 4]).constant(Tensor::from_slice([], &[-1i32])).out(F32));
    }
    all
}

/// From version 13 on along one axis; before, over all from that axis on.
fn normalized() -> Vec<Case> {
    let mut all = Vec::new();
    for name in ["Softmax", "LogSoftmax", "Hardmax"] {
        all.extend([
            op(name, 7, 12).x(F32, &[2, 3, 4]).out(F32),
            op(name, 7, 12).int("axis", 2).x(F32, &[2, 3, 4]).out(F32),
            op(name, 7, 12).int("axis", 0).x(F32, &[2, 3]).out(F32),
            op(name, 11, 12).int("axis", -2).x(F32, &[2, 3, 4]).out(F32),
            op(name, 13, LAST).x(F32, &[2, 3, 4]).out(F32),
            op(name, 13, LAST).int("axis", 1).x(F32, &[2, 3, 4]).out(F32),
            op(name, 13, LAST).int("axis", -3).x(F32, &[2, 3, 4]).out(F32),
        ]);
    }
    all
}

pub fn cases() -> Vec<Case> {
    [reductions(), searches(), normalized()].into_iter().flatten().collect()
}
