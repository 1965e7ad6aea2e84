use super::*;

fn resize(attributes: &str, x: &[f64], to: usize) -> Vec<f64> {
    let x = f32s(&[x.len()], x);
    let y = op(&format!("resize(%a) {{sizes=[{to}], {attributes}}}"), &[x]);
    assert_eq!(y.shape(), [to]);
    y.to_f64s()
}

fn check_resize(attributes: &str, x: &[f64], expected: &[f64]) {
    let found = resize(attributes, x, expected.len());
    check(&f32s(&[expected.len()], &found), &[expected.len()], expected);
}

#[test]
fn nearest_rounds_as_told() {
    let x = [1., 2., 3., 4.];
    check_resize("coordinates=asymmetric, nearest=floor", &x, &[1., 1., 2., 2., 3., 3., 4., 4.]);
    check_resize("coordinates=asymmetric, nearest=ceil", &x[..2], &[1., 2., 2., 2.]);
    check_resize("coordinates=half_pixel, nearest=round_prefer_floor", &x, &[1., 3.]);
    check_resize("coordinates=half_pixel, nearest=round_prefer_ceil", &x, &[2., 4.]);
    check_resize("coordinates=tf_half_pixel_for_nn, nearest=floor", &x, &[2., 4.]);
}

#[test]
fn linear_interpolates() {
    let x = [1., 2.];
    check_resize("mode=linear, coordinates=half_pixel", &x, &[1., 1.25, 1.75, 2.]);
    check_resize("mode=linear, coordinates=align_corners", &x, &[1., 4. / 3., 5. / 3., 2.]);
    check_resize("mode=linear, coordinates=asymmetric", &x, &[1., 1.5, 2., 2.]);
    check_resize("mode=linear, coordinates=pytorch_half_pixel", &[1., 2., 3., 4.], &[1.]);
    // A given scale wins over the quotient of sizes.
    check_resize(
        "mode=linear, coordinates=asymmetric, scales=[1.6]",
        &[1., 2., 3.],
        &[1., 1.625, 2.25, 2.875],
    );
}

#[test]
fn cubic_keeps_lines_straight_inside() {
    let x: Vec<f64> = (0..8).map(f64::from).collect();
    let y = resize("mode=cubic, coordinates=half_pixel, cubic_coeff=-0.5", &x, 16);
    for (o, y) in y.iter().enumerate().take(12).skip(4) {
        assert!((y - ((o as f64 + 0.5) / 2.0 - 0.5)).abs() < 1e-6);
    }
    // At 0.25 the weights of Keys' kernel with -0.75.
    let w = |d: f64| {
        let a = -0.75;
        let near = (a + 2.) * d.powi(3) - (a + 3.) * d.powi(2) + 1.;
        if d <= 1.0 { near } else { a * d.powi(3) - 5. * a * d.powi(2) + 8. * a * d - 4. * a }
    };
    let [p, q, r] = [w(0.25), w(0.75), w(1.75)];
    let y = resize("mode=cubic, exclude_outside=true", &[1., 2., 4.], 6);
    // The second output stands at 0.25: elements 0, 1 and 2 are inside, at distances 0.25, 0.75, 1.75.
    assert!((y[1] - (p + 2. * q + 4. * r) / (p + q + r)).abs() < 1e-6, "{y:?}");
}

#[test]
fn antialiasing_widens_the_filter() {
    // Scale 1/2: a tent of width 2 around 0.5 and 2.5; beyond the border stands its element.
    let x = [1., 2., 3., 8.];
    let first = (0.25 * 1. + 0.75 * 1. + 0.75 * 2. + 0.25 * 3.) / 2.;
    let second = (0.25 * 2. + 0.75 * 3. + 0.75 * 8. + 0.25 * 8.) / 2.;
    check_resize("mode=linear, antialias=true", &x, &[first, second]);
}

#[test]
fn crops_extrapolate() {
    let x = [1., 2., 3., 4.];
    let crop = "mode=linear, coordinates=tf_crop_and_resize, extrapolation=9.0";
    check_resize(&format!("{crop}, roi=[0.0, 2.0]"), &x, &[1., 3., 9., 9.]);
    check_resize(&format!("{crop}, roi=[0.25, 0.75]"), &x, &[1.75, 2.5, 3.25]);
}

#[test]
fn axes_are_independent() {
    let x = sample(&[2, 3, 4], 1);
    let y = op("resize(%a) {sizes=[2, 6, 8], mode=linear}", std::slice::from_ref(&x));
    let rows = op("resize(%a) {sizes=[2, 6, 4], mode=linear}", &[x]);
    check(&op("resize(%a) {sizes=[2, 6, 8], mode=linear}", &[rows]), &[2, 6, 8], &y.to_f64s());
}

fn sampled(attributes: &str, grid: &[f64]) -> Vec<f64> {
    let x = f32s(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    let grid = f32s(&[1, 1, grid.len() / 2, 2], grid);
    op(&format!("grid_sample(%a, %b) {{{attributes}}}"), &[x, grid]).to_f64s()
}

#[test]
fn grids_sample() {
    assert_eq!(sampled("align_corners=true", &[-1., -1., 1., -1., 0., 0., 0., 1.]), [1., 2., 2.5, 3.5]);
    assert_eq!(sampled("", &[-1., -1., -0.5, 0.5]), [0.25, 3.]);
    assert_eq!(sampled("padding=border", &[-1., -1., 3., 3.]), [1., 4.]);
    assert_eq!(sampled("padding=reflection", &[-1.5, -0.5, 1.5, 0.5]), [1., 4.]);
    assert_eq!(sampled("mode=nearest", &[-0.4, 0.4, 3., 3.]), [3., 0.]);
    let x = f32s(&[1, 1, 1, 2, 2], &[1., 2., 3., 4.]);
    let y = op("grid_sample(%a, %b)", &[x, f32s(&[1, 1, 1, 1, 3], &[0.5, -0.5, 0.])]);
    check(&y, &[1, 1, 1, 1, 1], &[2.]);
}

#[test]
fn cubic_grids_reproduce_elements() {
    assert_eq!(sampled("mode=cubic, align_corners=true, padding=border", &[-1., 1., 1., 1.]), [3., 4.]);
}

#[test]
fn scales_and_regions_as_operands_mean_what_the_attributes_do() {
    let x = sample(&[1, 2, 4, 6], 1);
    for mode in ["nearest", "linear", "cubic"] {
        let rest =
            format!("sizes=[1, 2, 6, 3], mode={mode}, coordinates=tf_crop_and_resize, extrapolation=7.0");
        let attributes = "scales=[1.0, 1.0, 1.5, 0.5], roi=[0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 0.9]";
        let expected = op(&format!("resize(%a) {{{rest}, {attributes}}}"), std::slice::from_ref(&x));
        let scale = f32s(&[4], &[1.0, 1.0, 1.5, 0.5]);
        let region = Tensor::from_f64s(DType::F64, [8], [0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 0.9]);
        let y = op(&format!("resize(%a, %b, %c) {{{rest}}}"), &[x.clone(), scale, region]);
        check(&y, &[1, 2, 6, 3], &expected.to_f64s());
    }
    let bad = f32s(&[4], &[1.0, 1.0, -1.0, 0.5]);
    let inputs = [x, bad];
    assert!(try_run(&graph("resize(%a, %b) {sizes=[1, 2, 6, 3]}", &inputs, 1), &inputs).is_err());
}
