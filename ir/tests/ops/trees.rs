use super::*;
use sardonyx_tensor::DType::I32;

/// Two trees on two features: `x0 <= 0.5 ? (x1 <= -1 (NaN too) ? leaf 0 : leaf 1) : leaf 2`, and leaf 1 alone.
fn trees(x: &[f64], attributes: &str) -> Tensor {
    let i32s = |shape: &[usize], v: &[i64]| Tensor::from_i64s(I32, shape.to_vec(), v.iter().copied());
    let inputs = [
        f32s(&[x.len() / 2, 2], x),
        i32s(&[2, 4], &[0, 0, 1, -3, 1, 1, -1, -2]),
        f32s(&[2], &[0.5, -1.0]),
        i32s(&[2], &[0, -2]),
        i32s(&[4], &[0, 1, 3, 3]),
        i32s(&[3], &[0, 0, 1]),
        f32s(&[3], &[1.0, 10.0, -7.0]),
    ];
    op(&format!("trees(%a, %b, %c, %d, %e, %f, %g) {attributes}"), &inputs)
}

#[test]
fn rows_walk_down_every_tree() {
    let nan = f64::NAN;
    let x = [0.5, -1.0, 0.0, 0.0, 0.6, 0.0, 0.0, nan, nan, 0.0];
    let y = [11., -7., 20., -14., 10., -7., 11., -7., 10., -7.];
    check(&trees(&x, "{outputs=2}"), &[5, 2], &y);
    let least = [1., -7., 10., -7., 10., -7., 1., -7., 10., -7.];
    check(&trees(&x, "{outputs=2, reduction=min}"), &[5, 2], &least);
    check(&trees(&x[4..6], "{outputs=3, reduction=max}"), &[1, 3], &[10., -7., 0.]);
}

#[test]
fn damaged_trees_are_refused() {
    let x = "graph(%a: f32[1,1], %b: i32[1,4], %c: f32[1], %d: i32[1], %e: i32[2], %f: i32[1], %g: f32[1]) {
        %r = trees(%a, %b, %c, %d, %e, %f, %g) return %r }";
    let run = |node: &[i64; 4], target: i64| {
        let i32s = |shape: &[usize], v: &[i64]| Tensor::from_i64s(I32, shape.to_vec(), v.iter().copied());
        let inputs = [
            f32s(&[1, 1], &[0.0]),
            i32s(&[1, 4], node),
            f32s(&[1], &[0.0]),
            i32s(&[1], &[0]),
            i32s(&[2], &[0, 1]),
            i32s(&[1], &[target]),
            f32s(&[1], &[2.0]),
        ];
        try_run(x, &inputs)
    };
    check(&run(&[0, 0, -1, -1], 0).unwrap()[0], &[1, 1], &[2.0]);
    for (node, target) in [
        (&[0, 0, 0, 0], 0),
        (&[1, 0, -1, -1], 0),
        (&[0, 0, -2, -1], 0),
        (&[0, 0, 1, -1], 0),
        (&[0, 0, -1, -1], 1),
        (&[0, 0, -1, -1], -1),
    ] {
        assert!(run(node, target).is_err(), "{node:?} {target}");
    }
}
