use super::*;

#[test]
fn matmul_by_hand() {
    let (a, b) = (f32s(&[2, 3], &[1., 2., 3., 4., 5., 6.]), f32s(&[3, 2], &[1., 0., 0., 1., 2., -1.]));
    check(&op("matmul(%a, %b)", &[a, b]), &[2, 2], &[7., -1., 16., -1.]);
}

#[test]
fn matmul_broadcasts_batches() {
    let (a, b) = (sample(&[2, 1, 3, 4], 1), sample(&[5, 4, 2], 2));
    let (x, y) = (a.to_f64s(), b.to_f64s());
    let mut expected = Vec::new();
    for (i, j, m, n) in itertools4(2, 5, 3, 2) {
        expected.push((0..4).map(|k| x[(i * 3 + m) * 4 + k] * y[(j * 4 + k) * 2 + n]).sum());
    }
    check(&op("matmul(%a, %b)", &[a, b]), &[2, 5, 3, 2], &expected);
}

fn itertools4(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / d / c / b, i / d / c % b, i / d % c, i % d))
}

#[test]
fn integers_wrap() {
    let a = Tensor::from_slice([1, 2], &[i32::MAX, 2]);
    let b = Tensor::from_slice([2, 1], &[2i32, 3]);
    assert_eq!(op("matmul(%a, %b)", &[a, b]).to_i64s(), [4]);
    let wide = i64s(&[1, 1], &[i64::MAX]);
    assert_eq!(op("matmul(%a, %a)", &[wide]).to_i64s(), [1]);
}

#[test]
fn empty_products() {
    let (a, b) = (sample(&[2, 0], 1), sample(&[0, 3], 2));
    check(&op("matmul(%a, %b)", &[a, b]), &[2, 3], &[0.0; 6]);
    let (a, b) = (sample(&[0, 2], 1), sample(&[2, 3], 2));
    check(&op("matmul(%a, %b)", &[a, b]), &[0, 3], &[]);
}

struct Case {
    x: [usize; 4],
    w: [usize; 4],
    strides: [i64; 2],
    pads: [i64; 4],
    dilations: [i64; 2],
    group: usize,
}

const CASES: [Case; 4] = [
    Case {
        x: [2, 3, 5, 6],
        w: [4, 3, 3, 3],
        strides: [1, 1],
        pads: [1, 1, 1, 1],
        dilations: [1, 1],
        group: 1,
    },
    Case {
        x: [1, 4, 7, 5],
        w: [6, 2, 3, 2],
        strides: [2, 1],
        pads: [0, 1, 2, 0],
        dilations: [1, 2],
        group: 2,
    },
    Case {
        x: [1, 3, 4, 4],
        w: [3, 1, 2, 2],
        strides: [1, 2],
        pads: [0, 0, 0, 0],
        dilations: [2, 1],
        group: 3,
    },
    Case {
        x: [2, 2, 3, 3],
        w: [5, 2, 1, 1],
        strides: [1, 1],
        pads: [0, 0, 0, 0],
        dilations: [1, 1],
        group: 1,
    },
];

fn at(v: &[f64], shape: &[usize], index: [i64; 4]) -> f64 {
    let inside = index.iter().zip(shape).all(|(&i, &n)| i >= 0 && i < n as i64);
    let flat = index.iter().zip(shape).fold(0, |sum, (&i, &n)| sum * n as i64 + i);
    if inside { v[flat as usize] } else { 0.0 }
}

#[test]
fn convolution_by_its_definition() {
    for Case { x, w, strides, pads, dilations, group } in &CASES {
        let bias = sample(&[w[0]], 3);
        let inputs = [sample(x, 1), sample(w, 2), bias];
        let [xv, wv, bv] = [0, 1, 2].map(|i| inputs[i].to_f64s());
        let space = [0, 1].map(|d| {
            let span = dilations[d] * (w[d + 2] as i64 - 1) + 1;
            ((x[d + 2] as i64 + pads[d] + pads[d + 2] - span) / strides[d] + 1) as usize
        });
        let mut expected = Vec::new();
        for (n, o, i, j) in itertools4(x[0], w[0], space[0], space[1]) {
            let first = o / (w[0] / group) * w[1];
            let taps = itertools4(1, w[1], w[2], w[3]).map(|(_, c, p, q)| {
                let y = i as i64 * strides[0] + p as i64 * dilations[0] - pads[0];
                let z = j as i64 * strides[1] + q as i64 * dilations[1] - pads[1];
                at(&xv, x, [n as i64, (first + c) as i64, y, z])
                    * at(&wv, w, [o as i64, c as i64, p as i64, q as i64])
            });
            expected.push(taps.sum::<f64>() + bv[o]);
        }
        let call = format!(
            "conv(%a, %b, %c) {{strides={strides:?}, pads={pads:?}, dilations={dilations:?}, group={group}}}"
        );
        check(&op(&call, &inputs), &[x[0], w[0], space[0], space[1]], &expected);
    }
}

/// `<conv(x, w), y> = <x, conv_transpose(y, w)>`: the transposed convolution is the adjoint.
#[test]
fn transposed_convolution_is_the_adjoint() {
    for Case { x, w, strides, pads, dilations, group } in &CASES {
        let attributes = format!("strides={strides:?}, pads={pads:?}, dilations={dilations:?}");
        let inputs = [sample(x, 1), sample(w, 2)];
        let forward = op(&format!("conv(%a, %b) {{{attributes}, group={group}}}"), &inputs);
        let y = sample(forward.shape(), 5);
        // What the forward stride skips at the end is output padding.
        let padding = [0, 1].map(|d| {
            let span = dilations[d] * (w[d + 2] as i64 - 1) + 1;
            (x[d + 2] as i64 + pads[d] + pads[d + 2] - span) % strides[d]
        });
        let call =
            format!("conv_transpose(%a, %b) {{{attributes}, output_padding={padding:?}, group={group}}}");
        let back = op(&call, &[y.clone(), inputs[1].clone()]);
        assert_eq!(back.shape(), x);
        let dot =
            |a: &Tensor, b: &Tensor| a.to_f64s().iter().zip(b.to_f64s()).map(|(a, b)| a * b).sum::<f64>();
        let (left, right) = (dot(&forward, &y), dot(&inputs[0], &back));
        assert!((left - right).abs() < 1e-5 * (1.0 + left.abs()), "{left} and {right}");
    }
}

#[test]
fn one_dimensional_and_integer_convolution() {
    let x = Tensor::from_slice([1, 1, 5], &[1i32, 2, 3, 4, 5]);
    let w = Tensor::from_slice([1, 1, 3], &[1i32, 0, -1]);
    let y = op("conv(%a, %b) {strides=[2], pads=[1, 1], dilations=[1]}", &[x, w]);
    assert_eq!((y.shape(), y.to_i64s()), (&[1, 1, 3][..], vec![-2, -2, 4]));
    let x = f32s(&[1, 1, 3], &[1., 2., 3.]);
    let w = f32s(&[1, 1, 2], &[1., 10.]);
    let y =
        op("conv_transpose(%a, %b) {strides=[2], pads=[0, 0], dilations=[1], output_padding=[1]}", &[x, w]);
    check(&y, &[1, 1, 7], &[1., 10., 2., 20., 3., 30., 0.]);
}

#[test]
fn attention_by_its_definition() {
    let (q, k, v) = (sample(&[1, 4, 2, 3], 1), sample(&[1, 2, 5, 3], 2), sample(&[1, 2, 5, 2], 3));
    let mask = sample(&[2, 5], 4);
    let [qv, kv, vv, mv] = [&q, &k, &v, &mask].map(Tensor::to_f64s);
    let mut expected = Vec::new();
    for (h, i, e) in (0..16).map(|i| (i / 4, i / 2 % 2, i % 2)) {
        let g = h / 2;
        let score = |j: usize| {
            let dot: f64 = (0..3).map(|d| qv[(h * 2 + i) * 3 + d] * kv[(g * 5 + j) * 3 + d]).sum();
            if j > i + 3 { 0.0 } else { (((dot * 0.5) / 0.7).tanh() * 0.7 + mv[i * 5 + j]).exp() }
        };
        let total: f64 = (0..5).map(score).sum();
        expected.push((0..5).map(|j| score(j) / total * vv[(g * 5 + j) * 2 + e]).sum());
    }
    let call = "attention(%a, %b, %c, %d) {scale=0.5, causal=true, softcap=0.7}";
    check(&op(call, &[q.clone(), k.clone(), v.clone(), mask]), &[1, 4, 2, 2], &expected);
    let none = Tensor::from_slice([1, 5], &[false; 5]);
    check(&op("attention(%a, %b, %c, %d)", &[q, k, v, none]), &[1, 4, 2, 2], &[0.0; 16]);
}

#[test]
fn bytes_are_summed_in_32_bits() {
    let (a, b) =
        (Tensor::from_slice([1, 3], &[255u8, 255, 1]), Tensor::from_slice([3, 1], &[-128i8, -128, 3]));
    let y = op("integer_matmul(%a, %b)", &[a, b]);
    assert_eq!((y.dtype(), y.to_i64s()), (DType::I32, vec![-65277]));
    // Padding has the value of the third operand.
    let (x, w) = (Tensor::from_slice([1, 1, 2], &[10u8, 20]), Tensor::from_slice([1, 1, 3], &[1i8, -2, 3]));
    let pad = Tensor::from_slice([0usize; 0], &[100u8]);
    let y = op("integer_conv(%a, %b, %c) {strides=[1], pads=[1, 1], dilations=[1]}", &[x, w, pad]);
    assert_eq!((y.dtype(), y.to_i64s()), (DType::I32, vec![100 - 20 + 60, 10 - 40 + 300]));
}

#[test]
fn linear_attention_sums_what_came_before() {
    let (q, k, v) = (sample(&[1, 4, 2, 3], 1), sample(&[1, 4, 1, 3], 2), sample(&[1, 4, 1, 2], 3));
    let (state, decay) = (sample(&[1, 1, 3, 2], 4), sample(&[1, 4, 1, 1], 5));
    let [qv, kv, vv, sv, dv] = [&q, &k, &v, &state, &decay].map(Tensor::to_f64s);
    let left = |from: usize, to: usize| dv[from..to].iter().sum::<f64>().exp();
    let mut expected = Vec::new();
    for (t, h, j) in (0..16).map(|i| (i / 4, i / 2 % 2, i % 2)) {
        let query = &qv[(t * 2 + h) * 3..][..3];
        let past: f64 = (0..3).map(|i| query[i] * sv[i * 2 + j]).sum::<f64>() * left(0, t + 1);
        let seen = (0..=t).map(|u| {
            let dot: f64 = (0..3).map(|i| query[i] * kv[u * 3 + i]).sum();
            dot * vv[u * 2 + j] * left(u + 1, t + 1)
        });
        expected.push(0.5 * (past + seen.sum::<f64>()));
    }
    let inputs = [q, k, v, state, decay];
    let results = ops("linear_attention(%a, %b, %c, %d, %e) {scale=0.5}", &inputs, 2);
    check(&results[0], &[1, 4, 2, 2], &expected);
    assert_eq!(results[1].shape(), [1, 1, 3, 2]);
}

#[test]
fn the_delta_rule_keeps_the_last_value_of_a_key() {
    // One key of length 1 at every step: what is read with it is the value written last.
    let k = f32s(&[1, 3, 1, 2], &[0.6, 0.8, 0.6, 0.8, 0.6, 0.8]);
    let v = sample(&[1, 3, 1, 2], 1);
    let (state, decay) = (f32s(&[1, 1, 2, 2], &[0.0; 4]), sample(&[1, 3, 1, 2], 2));
    let beta = f32s(&[1, 3, 1, 1], &[1.0; 3]);
    let inputs = [k.clone(), k, v.clone(), state, decay, beta];
    let y = &ops("linear_attention(%a, %b, %c, %d, %e, %f) {delta=true}", &inputs, 2)[0];
    check(y, &[1, 3, 1, 2], &v.to_f64s());
}
