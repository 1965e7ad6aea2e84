//! Activations and other pointwise operators.
use super::build::node;
use super::case::{Case, ms};
use onnx_protobuf::NodeProto;
use sardonyx_tensor::DType::{BF16, F16, F32, I64};

/// A node of the standard domain.
fn std(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    node(op, inputs, &[output], vec![])
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        ms("Gelu").x(F32, &[3, 17]).out(F32),
        ms("Gelu").x(F32, &[]).out(F32),
        ms("Gelu").x(F32, &[2, 3, 5]).named(&["b", "s"]).out(F32),
        ms("BiasGelu").x(F32, &[2, 3, 8]).w(F32, &[8]).out(F32),
        ms("BiasGelu").x(F32, &[4, 8]).named(&["rows"]).x(F32, &[8]).out(F32),
        ms("QuickGelu").x(F32, &[2, 9]).out(F32),
        ms("SampleOp").x(F32, &[2, 3]).out(F32),
        ms("ScaledSiLU").x(F32, &[2, 8]).out(F32),
    ];
    for bias in [false, true] {
        let fast = ms("FastGelu").x(F32, &[2, 5, 8]);
        all.push(if bias { fast.w(F32, &[8]) } else { fast }.out(F32));
    }
    all.extend([1.0, 1.702, 0.5, -2.0].map(|a| ms("QuickGelu").float("alpha", a).x(F32, &[2, 9]).out(F32)));
    for dtype in [F32, F16, BF16] {
        all.push(ms("ScaledSiLU").float("alpha", 0.5).x(dtype, &[2, 8]).out(dtype));
        all.push(ms("ScaledSiLU").x(dtype, &[2, 8]).x(F32, &[]).out(dtype));
    }
    for dtype in [F32, F16] {
        all.push(ms("GatedAdd").x(dtype, &[2, 3, 8]).x(dtype, &[2, 3, 8]).x(dtype, &[2, 3, 1]).out(dtype));
        let gate = ms("LinearAttentionGate").x(dtype, &[2, 3, 4]).x(F32, &[4]).x(F32, &[4]);
        all.push(gate.out(dtype));
        let gate = ms("LinearAttentionGate").x(dtype, &[2, 3, 4]).x(F32, &[4]).x(F32, &[4]);
        all.push(gate.x(dtype, &[2, 3, 4]).outs(&[dtype, dtype]));
    }
    let sum = vec![std("Add", &["i0", "i1"], "t"), std("Add", &["t", "i2"], "o0")];
    all.push(ms("BiasAdd").x(F32, &[2, 6, 4]).w(F32, &[4]).x(F32, &[2, 6, 4]).out(F32).oracle(sum));
    let split = vec![
        std("Add", &["i0", "i1"], "t"),
        node(
            "Split",
            &["t"],
            &["l", "r"],
            vec![super::build::int("axis", -1), super::build::int("num_outputs", 2)],
        ),
        std("Gelu", &["r"], "g"),
        std("Mul", &["l", "g"], "o0"),
    ];
    all.push(ms("BiasSplitGelu").x(F32, &[2, 3, 8]).w(F32, &[8]).out(F32).oracle(split));
    all.push(ms("Gelu").x(I64, &[3]).out(I64).unsupported("erf is not defined on i64"));
    all
}
