//! Operators that move, choose and make elements.
use super::build;
use super::case::{Case, encode, tensor};
use super::{LAST, UNRELEASED, list, op};
use sardonyx_tensor::DType::{
    BF16, Bool, F8E4M3FN, F16, F32, F64, I4, I8, I16, I32, I64, String as Text, U8, U16, U32, U64,
};
use sardonyx_tensor::{DType, Tensor};

fn shapes() -> Vec<Case> {
    vec![
        op("Reshape", 7, LAST).x(F32, &[2, 3, 4]).constant(list(&[0, -1])).out(F32),
        op("Reshape", 7, LAST).x(F32, &[2, 3, 4]).input(list(&[6, -1])).out(F32),
        op("Reshape", 14, LAST).int("allowzero", 1).x(F32, &[0, 3]).constant(list(&[3, 0, 2])).out(F32),
        op("Squeeze", 7, 12).x(F32, &[1, 3, 1]).out(F32),
        op("Squeeze", 7, 12).ints("axes", &[2]).x(F32, &[1, 3, 1]).out(F32),
        op("Squeeze", 11, 12).ints("axes", &[-3]).x(F32, &[1, 3, 1]).out(F32),
        op("Squeeze", 13, LAST).x(F32, &[1, 3, 1]).out(F32),
        op("Squeeze", 13, LAST).x(F32, &[1, 3, 1]).constant(list(&[-1])).out(F32),
        op("Unsqueeze", 7, 12).ints("axes", &[0, 2]).x(F32, &[3, 4]).out(F32),
        op("Unsqueeze", 11, 12).ints("axes", &[-1]).x(F32, &[3, 4]).out(F32),
        op("Unsqueeze", 13, LAST).x(F32, &[3, 4]).constant(list(&[-1, 0])).out(F32),
        op("Transpose", 7, LAST).x(F32, &[2, 3, 4]).out(F32),
        op("Transpose", 7, LAST).ints("perm", &[1, 2, 0]).x(F32, &[2, 3, 4]).out(F32),
        op("Flatten", 7, LAST).x(F32, &[2, 3, 4]).out(F32),
        op("Flatten", 7, LAST).int("axis", 0).x(F32, &[2, 3, 4]).out(F32),
        op("Flatten", 9, LAST).int("axis", 2).x(I32, &[2, 3, 4]).out(I32),
        op("Flatten", 11, LAST).int("axis", -1).x(F32, &[2, 3, 4]).out(F32),
        op("Shape", 7, LAST).x(F32, &[2, 3, 4]).named(&["n", "", ""]).out(I64),
        op("Shape", 15, LAST).int("start", 1).x(F32, &[2, 3, 4]).out(I64),
        op("Shape", 15, LAST).int("start", -2).int("end", -1).x(F32, &[2, 3, 4]).out(I64),
        op("Size", 7, LAST).x(F32, &[2, 3, 4]).named(&["n", "", ""]).out(I64),
        op("Expand", 8, LAST).x(F32, &[3, 1]).constant(list(&[2, 1, 4])).out(F32),
        op("Tile", 7, LAST).x(F32, &[2, 3]).constant(list(&[2, 1])).out(F32),
        op("Concat", 7, LAST).int("axis", 1).x(F32, &[2, 3]).x(F32, &[2, 1]).w(F32, &[2, 2]).out(F32),
        op("Concat", 11, LAST).int("axis", -2).x(F32, &[2, 3]).x(F32, &[1, 3]).out(F32),
        op("Split", 7, 12).int("axis", 1).x(F32, &[2, 6]).outs(&[F32, F32, F32]),
        op("Split", 7, 12).ints("split", &[1, 3]).x(F32, &[4, 2]).outs(&[F32, F32]),
        op("Split", 11, 12).int("axis", -1).ints("split", &[1, 3]).x(F32, &[2, 4]).outs(&[F32, F32]),
        op("Split", 13, 17).int("axis", 1).x(F32, &[2, 6]).outs(&[F32, F32, F32]),
        op("Split", 13, LAST).int("axis", -1).x(F32, &[2, 4]).constant(list(&[1, 3])).outs(&[F32, F32]),
        // The last part is smaller where the number of parts does not divide the axis.
        op("Split", 18, LAST).int("num_outputs", 3).x(F32, &[7, 2]).outs(&[F32, F32, F32]),
        op("DepthToSpace", 7, LAST).int("blocksize", 2).x(F32, &[1, 8, 2, 3]).out(F32),
        op("DepthToSpace", 11, LAST).int("blocksize", 2).text("mode", "CRD").x(F32, &[1, 8, 2, 3]).out(F32),
        op("SpaceToDepth", 7, LAST).int("blocksize", 2).x(F32, &[1, 2, 4, 6]).out(F32),
        op("Trilu", 14, LAST).x(F32, &[3, 4]).out(F32),
        op("Trilu", 14, LAST)
            .int("upper", 0)
            .x(F32, &[3, 4])
            .constant(Tensor::from_slice([], &[1i64]))
            .out(F32),
        op("CenterCropPad", 18, LAST).x(F32, &[5, 4]).constant(list(&[3, 6])).out(F32),
        op("CenterCropPad", 18, LAST).ints("axes", &[-1]).x(F32, &[5, 4]).constant(list(&[3])).out(F32),
    ]
}

fn slices() -> Vec<Case> {
    let x = |c: Case| c.x(F32, &[4, 5]);
    let since_10 =
        |starts: &[i64], ends: &[i64]| x(op("Slice", 10, LAST)).constant(list(starts)).constant(list(ends));
    vec![
        x(op("Slice", 7, 9).ints("starts", &[1, 0]).ints("ends", &[3, -1])).out(F32),
        x(op("Slice", 7, 9).ints("axes", &[1]).ints("starts", &[-3]).ints("ends", &[1000])).out(F32),
        since_10(&[1, 0], &[3, -1]).out(F32),
        since_10(&[-3], &[1000]).constant(list(&[1])).out(F32),
        since_10(&[4, 0], &[-100, 5]).constant(list(&[1, 0])).constant(list(&[-2, 3])).out(F32),
        // Axes count from the end since version 11 in the text of the standard; all take it from 10 on.
        since_10(&[1], &[4]).constant(list(&[-1])).out(F32),
        x(op("Slice", 10, LAST)).input(list(&[1])).input(list(&[3])).out(F32),
    ]
}

fn pads() -> Vec<Case> {
    let mut all = Vec::new();
    for mode in ["constant", "reflect", "edge"] {
        let attributes = op("Pad", 7, 10).text("mode", mode).ints("pads", &[0, 1, 1, 2]);
        all.push(attributes.float("value", 0.5).x(F32, &[3, 4]).out(F32));
        let operands = op("Pad", 11, LAST).text("mode", mode).x(F32, &[3, 4]).constant(list(&[0, 1, 1, 2]));
        all.push(operands.out(F32));
        let some = op("Pad", 18, LAST).text("mode", mode).x(F32, &[3, 4]).constant(list(&[1, 2])).none();
        all.push(some.constant(list(&[-1])).out(F32));
    }
    let value = Tensor::from_slice([], &[0.5f32]);
    all.push(op("Pad", 11, LAST).x(F32, &[3, 4]).constant(list(&[0, -1, 1, 2])).constant(value).out(F32));
    all.push(op("Pad", 7, 10).ints("pads", &[0, -1, 1, 2]).x(F32, &[3, 4]).out(F32));
    all.push(op("Pad", 19, LAST).text("mode", "wrap").x(F32, &[3, 4]).constant(list(&[1, 2, 0, 3])).out(F32));
    all
}

fn indices() -> Vec<Case> {
    let at = |shape: &[usize], values: &[i64]| Tensor::from_slice(shape.to_vec(), values);
    let mut all = vec![
        op("Gather", 7, LAST).x(F32, &[4, 3]).constant(at(&[2, 1], &[3, 0])).out(F32),
        op("Gather", 7, LAST).int("axis", 1).x(F32, &[4, 3]).input(at(&[2], &[2, 1])).out(F32),
        op("Gather", 11, LAST).int("axis", -1).x(F32, &[4, 3]).input(at(&[2], &[-1, 1])).out(F32),
        // Of rows of texts ONNX Runtime 1.31.1 copies the first alone.
        op("Gather", 7, LAST).x(Text, &[8]).input(at(&[2], &[3, 0])).out(Text),
        op("GatherElements", 11, LAST)
            .int("axis", 1)
            .x(F32, &[2, 3])
            .input(at(&[2, 2], &[0, -1, 2, 1]))
            .out(F32),
        op("GatherND", 11, LAST).x(F32, &[2, 3, 4]).input(at(&[2, 2], &[0, -1, 1, 0])).out(F32),
        op("GatherND", 12, LAST).int("batch_dims", 1).x(F32, &[2, 3, 4]).input(at(&[2, 1], &[2, 0])).out(F32),
        op("Scatter", 9, 10).x(F32, &[3, 3]).input(at(&[1, 2], &[2, 0])).x(F32, &[1, 2]).out(F32),
        op("Scatter", 9, 10)
            .int("axis", 1)
            .x(F32, &[3, 3])
            .input(at(&[1, 2], &[2, 0]))
            .x(F32, &[1, 2])
            .out(F32),
        op("Compress", 9, LAST).x(F32, &[2, 4]).constant(Tensor::from_i64s(Bool, [4], [1, 0, 0, 1])).out(F32),
        op("Compress", 9, LAST).int("axis", 1).x(F32, &[2, 4]).x(Bool, &[4]).out(F32),
        op("Compress", 11, LAST).int("axis", -2).x(F32, &[3, 4]).x(Bool, &[3]).out(F32),
        op("NonZero", 9, LAST).x(I32, &[3, 4]).out(I64),
        op("ReverseSequence", 10, LAST).x(F32, &[4, 3]).input(at(&[3], &[2, 4, 1])).out(F32),
        op("ReverseSequence", 10, LAST)
            .int("batch_axis", 0)
            .int("time_axis", 1)
            .x(F32, &[3, 4])
            .input(at(&[3], &[2, 4, 1]))
            .out(F32),
        op("Unique", 11, LAST).x(F32, &[5]).outs(&[F32, I64, I64, I64]),
        op("Unique", 11, LAST).int("sorted", 0).x(I64, &[6]).outs(&[I64, I64, I64, I64]),
        op("Unique", 11, LAST).int("axis", 0).x(I64, &[5, 1]).outs(&[I64, I64, I64, I64]),
    ];
    for (name, shape) in [("ScatterElements", [1, 2]), ("ScatterND", [2, 1])] {
        let elements = name == "ScatterElements";
        let updates: &[usize] = if elements { &[1, 2] } else { &[2, 3] };
        let case = |c: Case| c.x(F32, &[3, 3]).input(at(&shape, &[2, -3])).x(F32, updates).out(F32);
        let twice = |c: Case| c.x(F32, &[3, 3]).input(at(&shape, &[2, 2])).x(F32, updates).out(F32);
        all.push(case(op(name, 11, LAST)));
        // What happens to an element that is met twice is told since version 16.
        for (since, how) in [(16, "add"), (16, "mul"), (18, "max"), (18, "min")] {
            let c = op(name, since, LAST).text("reduction", how);
            all.push(twice(if elements { c.int("axis", 1) } else { c }));
        }
    }
    let depth = || Tensor::from_slice([], &[4i64]);
    let values = || Tensor::from_slice([2], &[0.5f32, 2.0]);
    all.extend([
        op("OneHot", 9, LAST).input(at(&[3], &[0, 3, 2])).constant(depth()).constant(values()).out(F32),
        op("OneHot", 9, LAST)
            .int("axis", 0)
            .input(at(&[3], &[0, 9, 2]))
            .constant(depth())
            .constant(values())
            .out(F32),
        // Indices count from the end since version 11.
        op("OneHot", 11, LAST).input(at(&[3], &[-1, -4, 2])).constant(depth()).constant(values()).out(F32),
        op("TensorScatter", 24, LAST)
            .x(F32, &[2, 2, 5, 3])
            .x(F32, &[2, 2, 2, 3])
            .input(at(&[2], &[1, 3]))
            .out(F32),
        op("TensorScatter", 24, LAST)
            .text("mode", "circular")
            .int("axis", 1)
            .x(F32, &[2, 5, 3])
            .x(F32, &[2, 2, 3])
            .input(at(&[2], &[4, 0]))
            .out(F32),
    ]);
    all
}

fn made() -> Vec<Case> {
    let one = |x: f32| encode("", &Tensor::from_slice([1], &[x]));
    let value = |c: Case, t: &Tensor| c.tensor(tensor("value", encode("", t)));
    let mut all = vec![
        op("ConstantOfShape", 9, LAST).input(list(&[2, 3])).out(F32),
        op("ConstantOfShape", 9, LAST).tensor(tensor("value", one(1.5))).constant(list(&[2, 3])).out(F32),
        value(op("ConstantOfShape", 9, LAST), &Tensor::from_slice([1], &[7i64]))
            .constant(list(&[2]))
            .out(I64),
        value(op("ConstantOfShape", 20, LAST), &Tensor::from_f64s(BF16, [1], [1.5]))
            .constant(list(&[2]))
            .out(BF16),
        op("EyeLike", 9, LAST).x(F32, &[3, 4]).out(F32),
        op("EyeLike", 9, LAST).int("k", 1).int("dtype", 7).x(F32, &[3, 4]).out(I64),
        value(op("Constant", 7, LAST), &Tensor::from_slice([2], &[1.5f32, 2.0])).out(F32),
        value(op("Constant", 19, LAST), &Tensor::from_f64s(F8E4M3FN, [2], [1.5, -2.0])).out(F8E4M3FN),
        op("Constant", 12, LAST).float("value_float", 2.5).out(F32),
        op("Constant", 12, LAST).floats("value_floats", &[2.5, 1.0]).out(F32),
        op("Constant", 12, LAST).int("value_int", 25).out(I64),
        op("Constant", 12, LAST).ints("value_ints", &[25, 1]).out(I64),
        op("Constant", 12, LAST).text("value_string", "a").out(Text),
        op("Constant", 12, LAST).texts("value_strings", &["a", "bc"]).out(Text),
    ];
    for to in [F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64, Bool] {
        let ones = Tensor::from_i64s(to, [1], [1]);
        all.push(value(op("Constant", 13, LAST), &ones).out(to));
        all.push(value(op("ConstantOfShape", 20, LAST), &ones).constant(list(&[2])).out(to));
    }
    for (dtype, to) in [(F64, I64), (F16, U16), (BF16, I16), (I8, U8), (I64, F64), (U32, F32), (U64, I64)] {
        let case = op("BitCast", 26, LAST).int("to", super::case::number(to).into());
        all.push(case.x(dtype, &[3]).out(to));
    }
    let ends = |a: i64, b: i64, by: i64| [a, b, by].map(|x| Tensor::from_slice([], &[x]));
    for [a, b, by] in [ends(1, 9, 3), ends(5, -3, -2), ends(3, 1, 1)] {
        all.push(op("Range", 11, LAST).input(a.clone()).input(b.clone()).input(by.clone()).out(I64));
        all.push(op("Range", 27, 27).input(a).input(b).input(by).out(I64).refused(UNRELEASED));
    }
    for (name, since) in [("Cast", 7), ("CastLike", 15)] {
        let cast = |since: i64, input: Tensor, to: DType| {
            let c = op(name, since, LAST).input(input);
            match name {
                "Cast" => c.int("to", super::case::number(to).into()).out(to),
                _ => c.x(to, &[1]).out(to),
            }
        };
        let floats = || Tensor::from_slice([6], &[-1.75f32, 0.0, 0.5, 2.5, 3.99, 100.0]);
        all.extend([
            cast(since, floats(), I32),
            cast(since, floats(), F16),
            cast(since, floats(), F64),
            cast(since, floats(), Bool),
            cast(since, Tensor::from_slice([3], &[300i32, -1, 5]), U8),
            cast(since.max(9), Tensor::from_texts([2], &["1.5", "-2e3"]), F32),
            cast(since.max(9), Tensor::from_slice([2], &[15i64, -3]), Text),
            cast(since.max(13), floats(), BF16),
            cast(since.max(19), floats(), F8E4M3FN),
            cast(since.max(21), Tensor::from_slice([3], &[3.0f32, -4.0, 7.0]), I4),
        ]);
        // What is too large for eight bits: the largest, or not a number.
        let large = || Tensor::from_slice([3], &[1000.0f32, -1e6, 0.25]);
        all.push(cast(19, large(), F8E4M3FN));
        all.push(cast(19, large(), F8E4M3FN).int("saturate", 0));
    }
    all.push(op("BitCast", 26, LAST).int("to", 6).x(F32, &[3]).out(I32));
    all.push(op("Identity", 7, LAST).x(I8, &[3]).out(I8));
    all.push(op("Identity", 14, LAST).x(I32, &[3]).out(I32).body(vec![
        build::node("SequenceConstruct", &["i0", "i0"], &["s"], vec![]),
        build::node("Identity", &["s"], &["t"], vec![]),
        build::node("ConcatFromSequence", &["t"], &["o0"], vec![build::int("axis", 0)]),
    ]));
    all
}

pub fn cases() -> Vec<Case> {
    [shapes(), slices(), pads(), indices(), made()].into_iter().flatten().collect()
}
