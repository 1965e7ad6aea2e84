use super::*;

fn counted(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    f32s(shape, &(0..count).map(|i| i as f64).collect::<Vec<_>>())
}

const SAME: &str = "strides=[1], pads=[1, 1], dilations=[1]";

#[test]
fn max_pool_and_its_places() {
    let x = f32s(&[1, 1, 5], &[3., 1., 4., 1., 5.]);
    check(
        &op(&format!("max_pool(%a) {{kernel=[3], {SAME}}}"), std::slice::from_ref(&x)),
        &[1, 1, 5],
        &[3., 4., 4., 5., 5.],
    );
    let strided = "max_pool_indices(%a) {kernel=[2], strides=[2], pads=[0, 0], dilations=[2], ceil=true}";
    let both = ops(strided, &[x], 2);
    check(&both[0], &[1, 1, 2], &[4., 5.]);
    assert_eq!(both[1].to_i64s(), [2, 4]);
}

#[test]
fn places_are_counted_row_or_column_major() {
    let x = counted(&[1, 2, 2, 3]);
    let places = |column_major: bool| {
        let attributes = "kernel=[2, 2], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1]";
        let call = format!("max_pool_indices(%a) {{{attributes}, column_major={column_major}}}");
        ops(&call, std::slice::from_ref(&x), 2)[1].to_i64s()
    };
    assert_eq!(places(false), [4, 5, 10, 11]);
    assert_eq!(places(true), [3, 5, 9, 11]);
}

#[test]
fn integers_have_a_maximum() {
    let x = Tensor::from_slice([1, 1, 4], &[-3i8, -7, -2, -128]);
    let y = op("max_pool(%a) {kernel=[2], strides=[2], pads=[0, 0], dilations=[1]}", &[x]);
    assert_eq!(y.to_i64s(), [-3, -2]);
}

#[test]
fn averages_count_padding_or_not() {
    let x = counted(&[1, 1, 4]);
    let average = |more: &str| op(&format!("avg_pool(%a) {{kernel=[3], {more}}}"), std::slice::from_ref(&x));
    check(&average(SAME), &[1, 1, 4], &[0.5, 1., 2., 2.5]);
    check(&average(&format!("{SAME}, count_include_pad=true")), &[1, 1, 4], &[1. / 3., 1., 2., 5. / 3.]);
    // The last window hangs over the end by one: that tap is not counted, the padding is.
    let hanging = "strides=[2], pads=[1, 0], dilations=[1], ceil=true, count_include_pad=true";
    check(&average(hanging), &[1, 1, 2], &[1. / 3., 2.]);
    let hanging = "strides=[3], pads=[0, 1], dilations=[1], ceil=true, count_include_pad=true";
    check(&average(hanging), &[1, 1, 2], &[1., 1.5]);
}

/// A window that would start in the padding behind the end is dropped.
#[test]
fn ceil_drops_a_window_beyond_the_end() {
    let x = counted(&[1, 1, 2, 2]);
    let call = "max_pool(%a) {kernel=[1, 1], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], ceil=true}";
    check(&op(call, &[x]), &[1, 1, 1, 1], &[0.]);
}

#[test]
fn lp_pool_is_a_norm() {
    let x = f32s(&[1, 1, 4], &[3., -4., 1., 2.]);
    let call = |p| format!("lp_pool(%a) {{kernel=[2], strides=[2], pads=[0, 0], dilations=[1], p={p}}}");
    check(&op(&call(2), std::slice::from_ref(&x)), &[1, 1, 2], &[5., 5f64.sqrt()]);
    check(&op(&call(1), &[x]), &[1, 1, 2], &[7., 3.]);
}

#[test]
fn symbolic_sizes_of_windows() {
    let source = "graph(%x: f32[n,c,h,9]) {
        %y = max_pool(%x) {kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]}
        return %y }";
    let g = text::parse(source).unwrap();
    assert_eq!(g.ty(g.outputs()[0]).to_string(), "f32[n,c,(h + 1) / 2,5]");
}
