use super::*;

#[test]
fn softmax_along_any_axis() {
    let x = f32s(&[2, 2], &[0., 1., 2f64.ln(), 1.]);
    check(&op("softmax(%a) {axis=0}", std::slice::from_ref(&x)), &[2, 2], &[1. / 3., 0.5, 2. / 3., 0.5]);
    let e = 1f64.exp();
    check(
        &op("softmax(%a)", std::slice::from_ref(&x)).reshaped([4]),
        &[4],
        &[1. / (1. + e), e / (1. + e), 2. / (2. + e), e / (2. + e)],
    );
    let log = op("log_softmax(%a) {axis=-1}", std::slice::from_ref(&x)).to_f64s();
    let direct = op("softmax(%a) {axis=1}", &[x]).to_f64s();
    log.iter().zip(direct).for_each(|(l, d)| assert!((l - d.ln()).abs() < 1e-6));
    check(&op("softmax(%a)", &[f32s(&[2], &[1000., 1000.])]), &[2], &[0.5, 0.5]);
}

#[test]
fn layer_norm_standardizes_trailing_axes() {
    let x = f32s(&[2, 2, 2], &[1., 2., 3., 4., 5., 5., 5., 5.]);
    let (scale, bias) = (f32s(&[2, 2], &[1., 2., 3., 4.]), f32s(&[2], &[10., 20.]));
    let s = (1.25f64 + 0.75).sqrt();
    let row = [-1.5 / s + 10., -1. / s + 20., 1.5 / s + 10., 6. / s + 20.];
    let y = op("layer_norm(%a, %b, %c) {axes=2, epsilon=0.75}", &[x.clone(), scale.clone(), bias]);
    check(&y, &[2, 2, 2], &[&row[..], &[10., 20., 10., 20.]].concat());
    let y = op("layer_norm(%a, %b) {axes=2, epsilon=0.75}", &[x, scale]);
    check(&y, &[2, 2, 2], &[-1.5 / s, -1. / s, 1.5 / s, 6. / s, 0., 0., 0., 0.]);
}

#[test]
fn rms_norm_divides_by_the_root_mean_square() {
    let y = op("rms_norm(%a, %b) {epsilon=0.5}", &[f32s(&[1, 2], &[3., 4.]), f32s(&[2], &[1., 2.])]);
    let s = 13f64.sqrt();
    check(&y, &[1, 2], &[3. / s, 8. / s]);
}

#[test]
fn channels_in_groups() {
    let x = f32s(&[1, 4, 2], &[1., 3., 5., 7., 0., 0., 2., 2.]);
    let (scale, bias) = (f32s(&[4], &[1., 1., 2., 1.]), f32s(&[4], &[0., 0., 0., 1.]));
    let inputs = [x, scale, bias];
    let y = op("group_norm(%a, %b, %c) {groups=2, epsilon=0.0}", &inputs);
    let s = 5f64.sqrt();
    check(&y, &[1, 4, 2], &[-3. / s, -1. / s, 1. / s, 3. / s, -2., -2., 2., 2.]);
    let y = op("instance_norm(%a, %b, %c) {epsilon=1.0}", &inputs);
    let r = 0.5f64.sqrt();
    check(&y, &[1, 4, 2], &[-r, r, -r, r, 0., 0., 1., 1.]);
}

#[test]
fn batch_norm_uses_given_statistics() {
    let x = f32s(&[1, 2, 2], &[1., 2., 3., 4.]);
    let p = [f32s(&[2], &[2., 1.]), f32s(&[2], &[0., 5.]), f32s(&[2], &[1., 3.]), f32s(&[2], &[3., 0.])];
    let inputs: Vec<Tensor> = std::iter::once(x).chain(p).collect();
    check(&op("batch_norm(%a, %b, %c, %d, %e) {epsilon=1.0}", &inputs), &[1, 2, 2], &[0., 1., 5., 6.]);
}

#[test]
fn lrn_over_neighbouring_channels() {
    let x = f32s(&[1, 4, 1], &[1., 2., 3., 4.]);
    let y = op("lrn(%a) {size=2, alpha=2.0, beta=1.0, bias=1.0}", &[x]);
    check(&y, &[1, 4, 1], &[1. / 6., 2. / 14., 3. / 26., 4. / 17.]);
}
