//! Integer contractions on bytes of the whole range, against the reference: sizes, signedness, constant and
//! computed operands, padding, on instruction sets with and without dot products.
#![allow(clippy::unwrap_used)]
use sardonyx_codegen::compile::{CompileOptions, compile};
use sardonyx_ir::{Graph, Type, Value, interp, text};
use sardonyx_runtime::{Device, Program};
use sardonyx_tensor::{DType, Tensor};

/// Bytes of the whole range, the extremes among them.
fn bytes(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = shape.iter().product::<usize>();
    let values: Vec<u8> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 60 {
                0 => 255,
                1 => 128,
                2 => 127,
                _ => (state >> 33) as u8,
            }
        })
        .collect();
    Tensor::new(dtype, shape, values).unwrap()
}

/// Targets that this machine can run.
const TARGETS: [&str; 5] = ["cpu", "cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:alderlake"];

/// Runs a graph on every target that this machine can run; what it calls its kernels and how many of them
/// are integer contractions must be as expected.
fn check(g: &Graph, inputs: &[Tensor], dots: usize) {
    let expected = interp::eval(g, inputs).unwrap();
    for target in TARGETS {
        let options = CompileOptions { targets: vec![target.into()], ..Default::default() };
        let (file, report) = compile(g, &options).unwrap_or_else(|e| panic!("{target}: {e}"));
        let placed = format!("integer contractions {dots}");
        let line = &report.placement[0];
        assert!(
            if dots > 0 { line.contains(&placed) } else { !line.contains("integer") },
            "{target}: {line}"
        );
        let program = Program::from_bytes(file).unwrap();
        let Ok(mut session) = program.session(Device::cpu().threads(2)) else { continue };
        let named = g.inputs().map(|v| g.input_name(v).to_string()).zip(inputs.iter().cloned());
        let outputs = session.run(named).unwrap_or_else(|e| panic!("{target}: {e}"));
        for (a, e) in outputs.iter().zip(&expected) {
            assert_eq!(a.shape(), e.shape());
            let wrong = a.to_f64s().iter().zip(e.to_f64s()).position(|(a, e)| *a != e);
            assert_eq!(wrong, None, "{target}: {} in\n{}", a.get_f64(wrong.unwrap_or(0)), text::print(g));
        }
    }
}

/// A graph of one op on a first operand that is an input and others that are constants or inputs.
fn graph(op: &str, operands: &[Tensor], constant: bool) -> (Graph, Vec<Tensor>) {
    let mut g = Graph::new();
    let mut inputs = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    for (i, t) in operands.iter().enumerate() {
        let ty = Type::new(t.dtype(), t.shape().iter().map(|&n| n as i64));
        if i > 0 && constant {
            values.push(g.constant(t.clone()));
        } else {
            values.push(g.input(&format!("x{i}"), ty));
            inputs.push(t.clone());
        }
    }
    let names = ["%a", "%b", "%c"];
    let params: Vec<String> = operands
        .iter()
        .zip(names)
        .map(|(t, n)| format!("{n}: {}", Type::new(t.dtype(), t.shape().iter().map(|&n| n as i64))))
        .collect();
    let parsed = text::parse(&format!("graph({}) {{ %r = {op} return %r }}", params.join(", "))).unwrap();
    let op = parsed.op(parsed.outputs()[0]).clone();
    let result = g.add(op, &values).unwrap();
    g.set_outputs(vec![result], vec!["y".into()]);
    (g, inputs)
}

const SIZES: [[usize; 3]; 8] =
    [[1, 1, 1], [1, 64, 33], [2, 7, 16], [5, 4, 17], [7, 130, 65], [33, 31, 100], [64, 64, 64], [130, 9, 3]];

#[test]
fn products_with_constants() {
    for (seed, [m, k, n]) in SIZES.into_iter().enumerate() {
        let a = bytes(DType::U8, &[m, k], seed as u64);
        let b = bytes(DType::I8, &[k, n], seed as u64 + 100);
        let (g, inputs) = graph("integer_matmul(%a, %b)", &[a, b], true);
        check(&g, &inputs, 1);
    }
}

#[test]
fn products_of_any_signedness_and_of_inputs() {
    for a in [DType::U8, DType::I8] {
        for b in [DType::U8, DType::I8] {
            for constant in [false, true] {
                let operands = [bytes(a, &[2, 5, 18], 1), bytes(b, &[18, 21], 2)];
                let (g, inputs) = graph("integer_matmul(%a, %b)", &operands, constant);
                check(&g, &inputs, usize::from(constant && a == DType::U8 && b == DType::I8));
            }
        }
    }
}

#[test]
fn batches() {
    let operands = [bytes(DType::U8, &[3, 2, 5, 12], 3), bytes(DType::I8, &[2, 12, 20], 4)];
    let (g, inputs) = graph("integer_matmul(%a, %b)", &operands, true);
    check(&g, &inputs, 1);
    let operands = [bytes(DType::U8, &[3, 4, 5, 12], 3), bytes(DType::I8, &[12, 20], 4)];
    let (g, inputs) = graph("integer_matmul(%a, %b)", &operands, true);
    check(&g, &inputs, 1);
}

/// Image, weights, attributes.
const CONVOLUTIONS: [(&[usize], &[usize], &str); 9] = [
    (&[1, 3, 9, 11], &[5, 3, 3, 3], "strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]"),
    (&[2, 64, 8, 8], &[40, 64, 3, 3], "strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]"),
    (&[1, 3, 20, 22], &[64, 3, 7, 7], "strides=[2, 2], pads=[3, 3, 3, 3], dilations=[1, 1]"),
    (&[1, 16, 6, 7], &[8, 16, 1, 1], "strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1]"),
    (&[1, 16, 6, 7], &[8, 16, 1, 1], "strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]"),
    (&[1, 5, 12, 12], &[7, 5, 3, 2], "strides=[2, 1], pads=[2, 0, 1, 3], dilations=[2, 3]"),
    (&[2, 80, 40], &[24, 80, 3], "strides=[1], pads=[1, 1], dilations=[1]"),
    (&[1, 1, 30], &[4, 1, 5], "strides=[3], pads=[0, 4], dilations=[1]"),
    (&[1, 2, 5, 6, 7], &[3, 2, 2, 3, 3], "strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 1], dilations=[1, 1, 2]"),
];

#[test]
fn convolutions_with_constants() {
    for (seed, (x, w, attributes)) in CONVOLUTIONS.into_iter().enumerate() {
        let op = format!("integer_conv(%a, %b, %c) {{{attributes}}}");
        let operands = [
            bytes(DType::U8, x, seed as u64),
            bytes(DType::I8, w, seed as u64 + 50),
            Tensor::from_slice([0usize; 0], &[200u8]),
        ];
        let (g, inputs) = graph(&op, &operands, true);
        check(&g, &inputs, 1);
    }
}

#[test]
fn convolutions_of_any_signedness_in_groups_and_of_inputs() {
    let attributes = "{strides=[1, 2], pads=[1, 1, 1, 1], dilations=[1, 1]";
    for (x, w) in
        [(DType::U8, DType::U8), (DType::I8, DType::I8), (DType::I8, DType::U8), (DType::U8, DType::I8)]
    {
        for (constant, group) in [(false, 1), (true, 1), (true, 2), (false, 4)] {
            let op = format!("integer_conv(%a, %b, %c) {attributes}, group={group}}}");
            let operands = [
                bytes(x, &[2, 4, 7, 8], 1),
                bytes(w, &[8, 4 / group, 3, 3], 2),
                Tensor::from_i64s(x, [0usize; 0], [-3]),
            ];
            let (g, inputs) = graph(&op, &operands, constant);
            let dot = constant && group == 1 && (x, w) == (DType::U8, DType::I8);
            check(&g, &inputs, usize::from(dot));
        }
    }
}

/// The form that passes make of quantized networks: sizes that only the run knows, parameters per channel,
/// and requantization in one kernel.
#[test]
fn requantized_rows_and_channels() {
    let source = "graph(%x: u8[b,6,9,10], %z: u8[]) {
        %w = const rand(3) : i8[20,6,3,3]
        %scale = const rand(4) : f32[20,1,1]
        %bias = const rand(5) : i32[20,1,1]
        %0 = integer_conv(%x, %w, %z) {strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]}
        %1 = add(%0, %bias)
        %2 = cast(%1)
        %3 = mul(%2, %scale)
        %4 = round(%3)
        %5 = add(%4, 128.0:f32)
        %6 = clip(%5) {min=0.0, max=255.0}
        %7 = cast(%6) {to=u8}
        %8 = max_pool(%7) {kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]}
        return %8
    }";
    let g = text::parse(source).unwrap();
    for batch in [1, 3] {
        let z = Tensor::from_slice([0usize; 0], &[7u8]);
        check(&g, &[bytes(DType::U8, &[batch, 6, 9, 10], 9), z], 1);
    }
}
