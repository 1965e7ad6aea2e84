use super::*;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Operands of a cell with one input and one hidden unit: sequence, weights, recurrence, biases.
fn operands(x: &[f64], gates: usize, lens: i32) -> Vec<Tensor> {
    let w: Vec<f64> = (0..gates).map(|g| 0.5 + g as f64 * 0.25).collect();
    let r: Vec<f64> = (0..gates).map(|g| -0.5 + g as f64 * 0.5).collect();
    let b: Vec<f64> = (0..2 * gates).map(|g| 0.1 * g as f64).collect();
    vec![
        f32s(&[x.len(), 1, 1], x),
        f32s(&[1, gates, 1], &w),
        f32s(&[1, gates, 1], &r),
        f32s(&[1, 2 * gates], &b),
        Tensor::from_slice([1], &[lens]),
        f32s(&[1, 1, 1], &[0.25]),
    ]
}

/// `w·x + r·h + both biases` of a gate.
fn gate(g: usize, gates: usize, x: f64, h: f64) -> f64 {
    let g64 = g as f64;
    (0.5 + g64 * 0.25) * x + (-0.5 + g64 * 0.5) * h + 0.1 * g64 + 0.1 * (gates as f64 + g64)
}

#[test]
fn rnn_steps() {
    let call = "rnn(%a, %b, %c, %d, %e, %f) {hidden=1, activations=[\"Tanh\"]}";
    let y = ops(call, &operands(&[1., 2., 3.], 1, 2), 2);
    let h1 = gate(0, 1, 1., 0.25).tanh();
    let h2 = gate(0, 1, 2., h1).tanh();
    check(&y[0], &[3, 1, 1, 1], &[h1, h2, 0.]);
    check(&y[1], &[1, 1, 1], &[h2]);
    let call = "rnn(%a, %b, %c, %d, %e, %f) {direction=reverse, hidden=1, activations=[\"Relu\"]}";
    let y = ops(call, &operands(&[1., 2., 3.], 1, 2), 2);
    let h2 = gate(0, 1, 2., 0.25).max(0.);
    let h1 = gate(0, 1, 1., h2).max(0.);
    check(&y[0], &[3, 1, 1, 1], &[h1, h2, 0.]);
    check(&y[1], &[1, 1, 1], &[h1]);
}

#[test]
fn gru_before_and_after_reset() {
    for after in [false, true] {
        let attributes =
            format!("hidden=1, activations=[\"Sigmoid\", \"Tanh\"], linear_before_reset={after}");
        let y = ops(&format!("gru(%a, %b, %c, %d, %e, %f) {{{attributes}}}"), &operands(&[1.], 3, 1), 2);
        let h = 0.25;
        let (z, r) = (sigmoid(gate(0, 3, 1., h)), sigmoid(gate(1, 3, 1., h)));
        // Gate 2: input weight 1, recurrent weight 0.5, biases 0.2 and 0.5.
        let n = (1. + 0.2 + if after { r * (0.5 * h + 0.5) } else { 0.5 * (r * h) + 0.5 }).tanh();
        check(&y[0], &[1, 1, 1, 1], &[(1. - z) * n + z * h]);
    }
}

#[test]
fn lstm_with_peepholes() {
    let mut inputs = operands(&[1.], 4, 1);
    inputs.push(f32s(&[1, 1, 1], &[-0.5]));
    inputs.push(f32s(&[1, 3], &[0.1, 0.2, 0.3]));
    let call =
        "lstm(%a, %b, %c, %d, %e, %f, %g, %h) {hidden=1, activations=[\"Sigmoid\", \"Tanh\", \"Tanh\"]}";
    let y = ops(call, &inputs, 3);
    let (h, c) = (0.25, -0.5);
    let g = |k| gate(k, 4, 1., h);
    let new = sigmoid(g(2) + 0.3 * c) * c + sigmoid(g(0) + 0.1 * c) * g(3).tanh();
    check(&y[0], &[1, 1, 1, 1], &[sigmoid(g(1) + 0.2 * new) * new.tanh()]);
    check(&y[2], &[1, 1, 1], &[new]);
}

#[test]
fn two_directions_are_two_networks() {
    let (s, b, n, i) = (3, 2, 2, 2);
    let all = [sample(&[s, b, i], 1), sample(&[2, n, i], 2), sample(&[2, n, n], 3), sample(&[2, 2 * n], 4)];
    let lens = Tensor::from_slice([b], &[3i32, 1]);
    let h0 = sample(&[2, b, n], 5);
    let inputs: Vec<Tensor> = all.iter().cloned().chain([lens.clone(), h0.clone()]).collect();
    let call = |direction: &str, names: &str| {
        format!("rnn(%a, %b, %c, %d, %e, %f) {{direction={direction}, hidden=2, activations=[{names}]}}")
    };
    let both = ops(&call("both", "\"Tanh\", \"Sigmoid\""), &inputs, 2);
    assert_eq!(both[0].shape(), [s, 2, b, n]);
    for (d, (direction, name)) in
        [("forward", "\"Tanh\""), ("reverse", "\"Sigmoid\"")].into_iter().enumerate()
    {
        let half = |t: &Tensor| {
            let (v, mut shape) = (t.to_f64s(), t.shape().to_vec());
            shape[0] = 1;
            f32s(&shape, &v[d * v.len() / 2..][..v.len() / 2])
        };
        let [x, w, r, bias] = &all;
        let inputs = [x.clone(), half(w), half(r), half(bias), lens.clone(), half(&h0)];
        let one = ops(&call(direction, name), &inputs, 2);
        check(&half(&both[1]), &[1, b, n], &one[1].to_f64s());
        for t in 0..s {
            let rows = |y: &Tensor, at: usize| y.to_f64s()[at * b * n..][..b * n].to_vec();
            assert_eq!(rows(&both[0], t * 2 + d), rows(&one[0], t));
        }
    }
}
