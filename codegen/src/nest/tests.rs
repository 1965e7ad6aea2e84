//! Building and printing of nests.
use super::*;
use sardonyx_ir::scalar::Scalar;

#[test]
fn a_dot_product_prints() {
    let b = Builder::new("dot");
    let (x, y) = (b.input("x", DType::F16), b.output("y", DType::F32));
    let k = Dim::symbol("k");
    let acc = b.var(b.f32(0.0));
    b.reduce(0, &k, |i| acc.add_product(b.load(x, b.grid() * &k + i), b.load(x, i)));
    b.store(y, b.grid(), acc.get().max(0.0));
    let text = b.finish(Dim::from(8)).to_string();
    let expected = "\
nest dot(x: f16, out y: f32) grid 8 {
  var0 = 0.0
  reduce for v3 in 0..k {
    v7: f32 = x[((grid * k) + v3)]
    v8: f32 = x[v3]
    v9: f32 = var0
    var0 = fma(v7, v8, v9)
  }
  v12: f32 = var0
  y[grid] = max(v12, 0.0)
}
";
    assert_eq!(text, expected);
}

#[test]
fn scalars_inline_with_literals_of_the_met_type() {
    let relu6 = Scalar::build(1, |_, a| a[0].max(0.0).min(6.0));
    for dtype in [DType::F16, DType::F64, DType::I8] {
        let b = Builder::new("relu6");
        let (x, y) = (b.input("x", dtype), b.output("y", dtype));
        let value = b.inline(&relu6, &[b.load(x, b.grid())], &[dtype]);
        assert_eq!(value.ty(), Ty::of(dtype));
        b.store(y, b.grid(), value);
        assert_eq!(b.finish(Dim::from(1)).params().count(), 2);
    }
}

#[test]
fn constants_fold_and_one_trip_loops_vanish() {
    let b = Builder::new("fold");
    let y = b.output("y", DType::I64);
    b.for_(0, 1, |i| b.store(y, i * 4 + 3, (b.int(7) * 6).index_rem(5)));
    let nest = b.finish(Dim::from(1));
    assert!(nest.to_string().contains("  y[3] = 2\n"), "{nest}");
}
