//! Compiled nests compute what they say.
mod common;
use common::{bytes, load};
use sardonyx_codegen::nest::Builder;
use sardonyx_tensor::{DType, Dim};

#[test]
fn a_dot_product_with_a_run_time_length() {
    let b = Builder::new("dot");
    let (x, y, z) = (b.input("x", DType::F16), b.input("y", DType::F32), b.output("z", DType::F32));
    let k = Dim::symbol("k");
    let acc = b.var(b.f32(0.0));
    b.reduce(0, &k, |i| acc.add_product(b.load(x, b.grid() * &k + i), b.load(y, i)));
    b.store(z, b.grid(), acc.get());
    let loaded = load(&[b.finish(Dim::from(3))]);
    let k = 133;
    let mut x: Vec<half::f16> = (0..3 * k).map(|i| half::f16::from_f32((i % 17) as f32)).collect();
    let mut y: Vec<f32> = (0..k).map(|i| (i % 5) as f32).collect();
    let mut z = [0f32; 3];
    loaded.run(0, &mut [bytes(&mut x), bytes(&mut y), bytes(&mut z)], &[k as i64], 0, 3, 0);
    for (row, z) in z.iter().enumerate() {
        let expected: f32 = (0..k).map(|i| x[row * k + i].to_f32() * y[i]).sum();
        assert_eq!(*z, expected);
    }
}

#[test]
fn blocks_variables_and_memory() {
    // The position of the first element above a bound, per row of 8, or 8; through scratch and a local.
    let b = Builder::new("search");
    let (x, y) = (b.input("x", DType::I32), b.output("y", DType::I64));
    let (scratch, local) = (b.scratch("s", DType::I32, 8), b.local("l", DType::Bool, 8));
    b.for_(0, 8, |i| b.store(scratch, i, b.load(x, b.grid() * 8 + i) - 100));
    b.vectorize(0, 8, |i| b.store(local, i, b.load(scratch, i).gt(0)));
    let at = b.var(b.int(0));
    b.while_(
        || {
            let found = b.var(b.constant(sardonyx_codegen::nest::Ty::BOOL, 1i64));
            b.if_(at.get().lt(8), || found.set(b.load(local, at.get())));
            found.get().not().or(at.get().eq(8)).and(at.get().lt(8))
        },
        || at.add(1),
    );
    b.if_else(at.get().eq(7), || b.store(y, b.grid(), -7), || b.store(y, b.grid(), at.get()));
    let loaded = load(&[b.finish(Dim::from(3))]);
    let mut x: Vec<i32> = (0..24)
        .map(|i| {
            if i < 8 {
                90 + i * 4
            } else if i < 16 {
                1
            } else {
                i * 5 - 14
            }
        })
        .collect();
    let mut y = [0i64; 3];
    loaded.run(0, &mut [bytes(&mut x), bytes(&mut y)], &[], 0, 3, 4096);
    assert_eq!(y, [3, 8, -7]);
}

#[test]
fn vectors_masks_and_lane_operations() {
    let b = Builder::new("lanes");
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    let n = Dim::symbol("n");
    let mask = b.first_lanes(&n, 16);
    let v = b.load_masked(x, 0, mask);
    let reversed: Vec<u32> = (0..16).rev().collect();
    let w = b.fma(v, 2.0, b.shuffle(v, v, &reversed));
    b.store_masked(y, 0, w, mask);
    b.store(y, 16, v.reduce(sardonyx_ir::scalar::Prim::Add));
    b.store(y, 17, v.reduce(sardonyx_ir::scalar::Prim::Max));
    b.store(y, 18, w.lane(3));
    let loaded = load(&[b.finish(Dim::from(1))]);
    let mut x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let mut y = vec![-1f32; 19];
    loaded.run(0, &mut [bytes(&mut x), bytes(&mut y)], &[10], 0, 1, 0);
    let v: Vec<f32> = (0..16).map(|i| if i < 10 { i as f32 } else { 0.0 }).collect();
    for i in 0..16 {
        assert_eq!(y[i], if i < 10 { v[i] * 2.0 + v[15 - i] } else { -1.0 });
    }
    assert_eq!(y[16..], [45.0, 9.0, 6.0]);
}
