use super::*;

#[test]
fn determinant_and_inverse() {
    let x = f32s(&[2, 2, 2], &[1., 2., 3., 4., 0., 2., 1., 0.]);
    check(&op("det(%a)", std::slice::from_ref(&x)), &[2], &[-2., -2.]);
    check(&op("inverse(%a)", &[x]), &[2, 2, 2], &[-2., 1., 1.5, -0.5, 0., 1., 0.5, 0.]);
    check(&op("det(%a)", &[f32s(&[2, 2], &[1., 2., 2., 4.])]), &[], &[0.]);
    assert!(op("inverse(%a)", &[f32s(&[1, 1], &[0.])]).get_f64(0).is_nan());
    check(&op("det(%a)", &[f32s(&[3, 0, 0], &[])]), &[3], &[1., 1., 1.]);
}

#[test]
fn fourier_transforms() {
    let x = f32s(&[1, 4, 1], &[1., 2., 3., 5.]);
    let spectrum = op("dft(%a) {axis=1, length=4}", std::slice::from_ref(&x));
    check(&spectrum, &[1, 4, 2], &[11., 0., -2., 3., -3., 0., -2., -3.]);
    let half = op("dft(%a) {axis=1, length=4, onesided=true}", std::slice::from_ref(&x));
    check(&half, &[1, 3, 2], &[11., 0., -2., 3., -3., 0.]);
    let back = op("dft(%a) {axis=1, length=4, inverse=true}", &[spectrum]);
    check(&back, &[1, 4, 2], &[1., 0., 2., 0., 3., 0., 5., 0.]);
    let back = op("dft(%a) {axis=1, length=4, inverse=true, onesided=true}", &[half]);
    check(&back, &[1, 4, 1], &[1., 2., 3., 5.]);
    check(&op("dft(%a) {axis=1, length=2}", std::slice::from_ref(&x)), &[1, 2, 2], &[3., 0., -1., 0.]);
    check(
        &op("dft(%a) {axis=1, length=5, onesided=true}", &[x]).reshaped([6]),
        &[6],
        &[
            11.,
            0.,
            1. + 2. * (TAU / 5.).cos() + 3. * (2. * TAU / 5.).cos() + 5. * (3. * TAU / 5.).cos(),
            -2. * (TAU / 5.).sin() - 3. * (2. * TAU / 5.).sin() - 5. * (3. * TAU / 5.).sin(),
            1. + 2. * (2. * TAU / 5.).cos() + 3. * (4. * TAU / 5.).cos() + 5. * (6. * TAU / 5.).cos(),
            -2. * (2. * TAU / 5.).sin() - 3. * (4. * TAU / 5.).sin() - 5. * (6. * TAU / 5.).sin(),
        ],
    );
}

const TAU: f64 = std::f64::consts::TAU;

#[test]
fn random_numbers_are_seeded() {
    let draw = |call: &str| run(&format!("graph() {{ %y = {call} return %y }}"), &[]).remove(0);
    let uniform = draw("random_uniform() {shape=[1000], low=2.0, high=4.0, seed=7}").to_f64s();
    assert!(uniform.iter().all(|x| (2.0..4.0).contains(x)));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!((mean(&uniform) - 3.0).abs() < 0.1);
    let normal = draw("random_normal() {shape=[2000], mean=1.0, scale=2.0}").to_f64s();
    let squares: Vec<f64> = normal.iter().map(|x| (x - 1.0).powi(2)).collect();
    assert!((mean(&normal) - 1.0).abs() < 0.2 && (mean(&squares) - 4.0).abs() < 0.5);
    assert_eq!(draw("random_uniform() {shape=[9], seed=1}"), draw("random_uniform() {shape=[9], seed=1}"));
    assert_ne!(draw("random_uniform() {shape=[9], seed=1}"), draw("random_uniform() {shape=[9], seed=2}"));
}

/// Without offsets and masks it is a convolution; whole offsets read other pixels.
#[test]
fn deformable_convolution() {
    let attributes = "strides=[1, 2], pads=[1, 0, 0, 1], dilations=[2, 1], group=2";
    let (x, w, b) = (sample(&[2, 4, 5, 6], 1), sample(&[6, 2, 2, 2], 2), sample(&[6], 3));
    let plain = op(&format!("conv(%a, %b, %c) {{{attributes}}}"), &[x.clone(), w.clone(), b.clone()]);
    let [n, _, h, wide] = *plain.shape() else { panic!() };
    let offset = f32s(&[n, 16, h, wide], &vec![0.0; n * 16 * h * wide]);
    let mask = f32s(&[n, 8, h, wide], &vec![0.5; n * 8 * h * wide]);
    let call = |operands: &str| format!("deform_conv({operands}) {{{attributes}, offset_group=2}}");
    let y = op(&call("%a, %b, %c, %d"), &[x.clone(), w.clone(), offset.clone(), b.clone()]);
    check(&y, plain.shape(), &plain.to_f64s());
    let zero = f32s(&[6], &[0.0; 6]);
    let unbiased = op(&format!("conv(%a, %b) {{{attributes}}}"), &[x.clone(), w.clone()]);
    let y = op(&call("%a, %b, %c, %d, %e"), &[x, w, offset, zero, mask]);
    check(&y, plain.shape(), &unbiased.to_f64s().iter().map(|v| v / 2.0).collect::<Vec<_>>());
    let (x, one) = (f32s(&[1, 1, 1, 3], &[1., 2., 4.]), f32s(&[1, 1, 1, 1], &[1.]));
    let moved = f32s(&[1, 2, 1, 3], &[0., 0., 0.5, 1., 0.5, -3.]);
    let y =
        op("deform_conv(%a, %b, %c) {strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1]}", &[x, one, moved]);
    check(&y, &[1, 1, 1, 3], &[2., 3., 0.]);
}
