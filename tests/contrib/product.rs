//! Matrix products and convolutions with fused activations.
use super::build::{int, node};
use super::case::{Case, ints, ms};
use sardonyx_tensor::DType::{F32, F64};

/// The shape of an operand as it is given, from its batch, rows and columns.
fn given(turn: bool, batch: bool, [b, m, n]: [usize; 3]) -> Vec<usize> {
    match (turn, batch) {
        (false, false) => vec![b, m, n],
        (true, false) => vec![b, n, m],
        (false, true) => vec![m, b, n],
        (true, true) => vec![n, b, m],
    }
}

fn products(all: &mut Vec<Case>) {
    let names = ["transA", "transB", "transBatchA", "transBatchB"];
    for bits in 0..16usize {
        let on = |i: usize| bits >> i & 1 > 0;
        for alpha in [1.0, 0.125] {
            let mut case = ms("FusedMatMul").float("alpha", alpha);
            for (i, name) in names.iter().enumerate().filter(|(i, _)| on(*i)) {
                case = case.int(name, i64::from(on(i)));
            }
            let a = given(on(0), on(2), [2, 3, 5]);
            let b = given(on(1), on(3), [2, 5, 4]);
            all.push(case.x(F32, &a).x(F32, &b).out(F32));
        }
    }
    for (a, b) in [(vec![5], vec![5, 4]), (vec![3, 5], vec![5]), (vec![2, 1, 3, 5], vec![6, 5, 4])] {
        for op in ["FusedMatMul", "TransposeMatMul"] {
            all.push(ms(op).float("alpha", 2.0).x(F32, &a).x(F32, &b).out(F32));
        }
    }
    all.push(ms("FusedMatMul").int("transB", 1).x(F64, &[2, 3, 5]).x(F64, &[2, 4, 5]).out(F64));
    let named = ms("FusedMatMul").float("alpha", 0.25).int("transB", 1).x(F32, &[2, 3, 8]).named(&["b", "s"]);
    all.push(named.x(F32, &[2, 5, 8]).named(&["b", "t"]).out(F32));
    for bits in 0..4i64 {
        let (ta, tb) = (bits & 1, bits >> 1);
        let a = if ta > 0 { [5, 3] } else { [3, 5] };
        let b = if tb > 0 { [4, 5] } else { [5, 4] };
        let case = ms("TransposeMatMul").int("transA", ta).int("transB", tb);
        all.push(case.x(F32, &a).x(F32, &b).out(F32));
    }
    let nodes = vec![node("MatMul", &["i0", "i1"], &["m"], vec![]), node("Relu", &["m"], &["o0"], vec![])];
    let case = ms("FusedMatMulActivation").text("activation", "Relu").x(F32, &[2, 3, 5]).x(F32, &[5, 4]);
    all.push(case.out(F32).oracle(nodes));
}

/// Activations with the numbers that they need.
const ACTIVATIONS: &[(&str, &[f32])] =
    &[("Relu", &[]), ("Sigmoid", &[]), ("Tanh", &[]), ("LeakyRelu", &[0.2]), ("HardSigmoid", &[0.3, 0.4])];

fn gemms(all: &mut Vec<Case>) {
    let more: &[(&str, &[f32])] = &[
        ("Elu", &[0.7]),
        ("Softplus", &[]),
        ("Softsign", &[]),
        ("ThresholdedRelu", &[0.3]),
        ("Celu", &[0.6]),
    ];
    for (name, numbers) in ACTIVATIONS.iter().chain(more) {
        for (i, c) in
            [None, Some(vec![4]), Some(vec![3, 4]), Some(vec![3, 1]), Some(vec![])].into_iter().enumerate()
        {
            let (ta, tb) = ((i % 2) as i64, (i / 2 % 2) as i64);
            let mut case = ms("FusedGemm").text("activation", name).int("transA", ta).int("transB", tb);
            for (k, x) in ["activation_alpha", "activation_beta"].iter().zip(*numbers) {
                case = case.float(k, *x);
            }
            if i > 2 {
                case = case.float("alpha", 0.5).float("beta", 2.0);
            }
            let case = case.x(F32, if ta > 0 { &[5, 3] } else { &[3, 5] });
            let case = case.w(F32, if tb > 0 { &[4, 5] } else { &[5, 4] });
            all.push(match c {
                Some(c) => case.w(F32, &c).out(F32),
                None => case.out(F32),
            });
        }
    }
}

fn convolutions(all: &mut Vec<Case>) {
    for (name, numbers) in ACTIVATIONS.iter().chain(&[("Clip", &[-0.5f32, 0.75] as &[f32])]) {
        for (bias, sum) in [(false, false), (true, false), (true, true), (false, true)] {
            let mut case = ms("FusedConv").text("activation", name);
            if !numbers.is_empty() {
                case = case.floats("activation_params", numbers);
            }
            let case = case.ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]);
            let case = case.x(F32, &[1, 4, 7, 6]).w(F32, &[8, 4, 3, 3]).either(bias, |c| c.w(F32, &[8]));
            let case = if sum { case.x(F32, &[1, 8, 7, 6]) } else { case };
            all.push(case.out(F32));
        }
    }
    let case = ms("FusedConv").text("activation", "Relu").ints("strides", &[2, 2]).int("group", 4);
    all.push(case.x(F32, &[2, 4, 7, 6]).w(F32, &[4, 1, 3, 3]).w(F32, &[4]).out(F32));
    let case =
        ms("FusedConv").text("activation", "Relu").text("auto_pad", "SAME_UPPER").ints("dilations", &[2]);
    all.push(case.x(F32, &[2, 4, 9]).w(F32, &[5, 4, 3]).out(F32).refused("Dilation not supported"));
    let case = ms("FusedConv").text("auto_pad", "SAME_LOWER").ints("strides", &[2]).x(F32, &[2, 4, 9]);
    all.push(case.w(F32, &[5, 4, 3]).out(F32));
    let case = ms("FusedConv").ints("pads", &[1, 1]).x(F32, &[2, 4, 9]).w(F32, &[5, 4, 3]).w(F32, &[5]);
    all.push(case.x(F32, &[2, 5, 9]).out(F32));
    for (op, sum) in [("NhwcConv", false), ("NhwcFusedConv", true)] {
        let pads = || ints("pads", &[1, 0, 1, 0]);
        let mut nodes = vec![
            node("Transpose", &["i0"], &["f"], vec![ints("perm", &[0, 3, 1, 2])]),
            node("Conv", &["f", "i1", "i2"], &["c"], vec![pads(), int("group", 2)]),
            node("Transpose", &["c"], &["l"], vec![ints("perm", &[0, 2, 3, 1])]),
        ];
        let case = ms(op).ints("pads", &[1, 0, 1, 0]).int("group", 2);
        let case = case.x(F32, &[2, 5, 6, 4]).w(F32, &[6, 2, 3, 3]).w(F32, &[6]);
        if sum {
            nodes.push(node("Add", &["l", "i3"], &["s"], vec![]));
            nodes.push(node("Relu", &["s"], &["o0"], vec![]));
            all.push(case.x(F32, &[2, 5, 4, 6]).text("activation", "Relu").out(F32).oracle(nodes));
        } else {
            nodes.push(node("Identity", &["l"], &["o0"], vec![]));
            all.push(case.out(F32).oracle(nodes));
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    products(&mut all);
    gemms(&mut all);
    convolutions(&mut all);
    all
}
