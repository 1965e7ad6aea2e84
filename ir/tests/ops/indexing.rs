use super::*;

fn table() -> Tensor {
    i64s(&[3, 2], &[0, 1, 10, 11, 20, 21])
}

#[test]
fn gather_along_an_axis() {
    let i = Tensor::from_slice([2, 2], &[2i32, -3, 0, 1]);
    let y = op("gather(%a, %b) {axis=0}", &[table(), i]);
    assert_eq!((y.shape(), y.to_i64s()), (&[2, 2, 2][..], vec![20, 21, 0, 1, 0, 1, 10, 11]));
    let y = op("gather(%a, %b) {axis=-1}", &[table(), i64s(&[], &[1])]);
    assert_eq!((y.shape(), y.to_i64s()), (&[3][..], vec![1, 11, 21]));
    let e = try_run(&graph("gather(%a, %b)", &[table(), i64s(&[1], &[3])], 1), &[table(), i64s(&[1], &[3])]);
    assert!(e.unwrap_err().contains("index 3 of 3 elements"));
}

#[test]
fn gather_elements_and_tuples() {
    let y = op("gather_elements(%a, %b) {axis=0}", &[table(), i64s(&[2, 2], &[2, 0, -1, 1])]);
    assert_eq!(y.to_i64s(), [20, 1, 20, 11]);
    let y = op("gather_nd(%a, %b)", &[table(), i64s(&[2, 2], &[1, 1, -1, 0])]);
    assert_eq!((y.shape(), y.to_i64s()), (&[2][..], vec![11, 20]));
    let y = op("gather_nd(%a, %b)", &[table(), i64s(&[2, 1], &[1, 0])]);
    assert_eq!((y.shape(), y.to_i64s()), (&[2, 2][..], vec![10, 11, 0, 1]));
    let y = op("gather_nd(%a, %b) {batch_dims=1}", &[table(), i64s(&[3, 1], &[1, 0, 1])]);
    assert_eq!((y.shape(), y.to_i64s()), (&[3][..], vec![1, 10, 21]));
}

#[test]
fn scatter_replaces_or_combines() {
    let (x, i) = (f32s(&[5], &[1., 2., 3., 4., 5.]), i64s(&[3], &[1, 1, -1]));
    let inputs = [x, i, f32s(&[3], &[10., 20., 30.])];
    let scatter = |how: &str| op(&format!("scatter_elements(%a, %b, %c) {{reduction={how}}}"), &inputs);
    check(&scatter("replace"), &[5], &[1., 20., 3., 4., 30.]);
    check(&scatter("add"), &[5], &[1., 32., 3., 4., 35.]);
    check(&scatter("mul"), &[5], &[1., 400., 3., 4., 150.]);
    check(&scatter("max"), &[5], &[1., 20., 3., 4., 30.]);
    check(&scatter("min"), &[5], &[1., 2., 3., 4., 5.]);
    let rows = op(
        "scatter_nd(%a, %b, %c) {reduction=add}",
        &[table(), i64s(&[2, 1], &[2, 2]), i64s(&[2, 2], &[1, 2, 3, 4])],
    );
    assert_eq!(rows.to_i64s(), [0, 1, 10, 11, 24, 27]);
    let cells = op("scatter_nd(%a, %b, %c)", &[table(), i64s(&[1, 2], &[0, 1]), i64s(&[1], &[7])]);
    assert_eq!(cells.to_i64s(), [0, 7, 10, 11, 20, 21]);
}

#[test]
fn places_of_extremes() {
    let x = f32s(&[2, 3], &[1., 3., 3., -1., -1., 0.]);
    let place = |call: &str| {
        let y = op(call, std::slice::from_ref(&x));
        (y.shape().to_vec(), y.to_i64s())
    };
    assert_eq!(place("arg_max(%a) {axis=1}"), (vec![2, 1], vec![1, 2]));
    assert_eq!(place("arg_max(%a) {axis=1, last=true}"), (vec![2, 1], vec![2, 2]));
    assert_eq!(place("arg_min(%a) {axis=1}"), (vec![2, 1], vec![0, 0]));
    assert_eq!(place("arg_min(%a) {axis=-1, last=true}"), (vec![2, 1], vec![0, 1]));
    assert_eq!(place("arg_min(%a)"), (vec![1, 3], vec![1, 1, 1]));
}

#[test]
fn top_k_in_order() {
    let x = f32s(&[2, 4], &[1., 4., 4., 2., 7., 5., 6., 8.]);
    let y = ops("top_k(%a) {k=2}", std::slice::from_ref(&x), 2);
    check(&y[0], &[2, 2], &[4., 4., 8., 7.]);
    assert_eq!(y[1].to_i64s(), [1, 2, 3, 0]);
    let y = ops("top_k(%a) {k=1, axis=0, largest=false}", &[x], 2);
    check(&y[0], &[1, 4], &[1., 4., 4., 2.]);
    assert_eq!(y[1].to_i64s(), [0, 0, 0, 0]);
    let big = Tensor::from_slice([2], &[u64::MAX, 1]);
    assert_eq!(ops("top_k(%a)", &[big], 2)[1].to_i64s(), [0]);
}

#[test]
fn running_sums_and_products() {
    let x = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let run = |call: &str| op(call, std::slice::from_ref(&x)).to_i64s();
    assert_eq!(run("cumsum(%a) {axis=1}"), [1, 3, 6, 4, 9, 15]);
    assert_eq!(run("cumsum(%a) {axis=1, exclusive=true}"), [0, 1, 3, 0, 4, 9]);
    assert_eq!(run("cumsum(%a) {axis=-1, reverse=true}"), [6, 5, 3, 15, 11, 6]);
    assert_eq!(run("cumsum(%a) {axis=0, exclusive=true, reverse=true}"), [4, 5, 6, 0, 0, 0]);
    assert_eq!(run("cumprod(%a) {axis=1}"), [1, 2, 6, 4, 20, 120]);
    check(&op("cumprod(%a) {exclusive=true}", &[f32s(&[3], &[2., 3., 4.])]), &[3], &[1., 2., 6.]);
}

#[test]
fn what_is_not_zero() {
    let x = f32s(&[2, 2], &[0., 1., -0.0, 2.]);
    let y = op("non_zero(%a) {count=u}", &[x]);
    assert_eq!((y.shape(), y.to_i64s()), (&[2, 2][..], vec![0, 1, 1, 1]));
    let source = "graph(%x: bool[n]) { %i = non_zero(%x) {count=u} %r = reshape(%i) {shape=[u]} return %r }";
    assert_eq!(run(source, &[Tensor::from_slice([3], &[true, false, true])])[0].to_i64s(), [0, 2]);
}
