//! Matrix products.
use crate::reference::{each, finish, near, place, random, run_on, target};
use sardonyx_codegen::kernel::contract::{Access, Epilogue, Gemm, Operand};
use sardonyx_codegen::target::TargetSpec;
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&s| Dim::from(s)).collect()
}

/// Runs a product on random buffers of these lengths (the last is the output) and compares.
fn check(gemm: &Gemm, bind: &Bindings, buffers: &[(DType, usize)], constants: &[usize], tolerance: f64) {
    check_on(gemm, &target(), bind, buffers, constants, tolerance);
}

fn check_on(
    gemm: &Gemm,
    target: &TargetSpec,
    bind: &Bindings,
    buffers: &[(DType, usize)],
    constants: &[usize],
    tolerance: f64,
) {
    let mut args: Vec<Tensor> = buffers.iter().zip(1..).map(|(&(t, n), i)| random(t, n, i)).collect();
    let mut expected: Vec<Vec<f64>> = args.iter().map(Tensor::to_f64s).collect();
    let (Operand::Strided(a), Operand::Strided(b)) = (&gemm.a, &gemm.b) else { panic!("packed already") };
    let value = |d: &Dim| d.eval(bind).unwrap();
    let mut sizes: Vec<i64> = gemm.batch.iter().map(value).collect();
    let rank = sizes.len();
    sizes.extend([value(&gemm.m), value(&gemm.n)]);
    let k = value(&gemm.k);
    let out = gemm.epilogue.out.arg;
    each(&sizes, |at| {
        let (batch, i, j) = (&at[..rank], at[rank], at[rank + 1]);
        let sum = (0..k)
            .map(|k| {
                let x = expected[a.arg][place(a, &[batch, &[i, k]].concat(), bind)];
                x * expected[b.arg][place(b, &[batch, &[k, j]].concat(), bind)]
            })
            .sum();
        let (place, value) = finish(&gemm.epilogue, sum, at, &expected, bind);
        expected[out][place] = value;
    });
    let mut packed = gemm.clone();
    for &c in constants {
        args[c] = if c == b.arg { packed.pack_b(&args[c], target) } else { packed.pack_a(&args[c], target) }
            .unwrap()
            .tensor();
    }
    let nest = packed.nest("gemm", target);
    let text = nest.to_string();
    run_on(nest, target, bind, &mut args);
    near(&text, &args[out].to_f64s(), &expected[out], tolerance);
}

fn plain(batch: &[Dim], m: Dim, n: Dim, k: Dim, dtype: DType, out: DType) -> Gemm {
    let shape = |x: &Dim, y: &Dim| [batch, &[x.clone(), y.clone()]].concat();
    Gemm {
        batch: batch.to_vec(),
        a: Operand::Strided(Access::row_major(0, dtype, &shape(&m, &k))),
        b: Operand::Strided(Access::row_major(1, dtype, &shape(&k, &n))),
        epilogue: Epilogue::store(Access::row_major(2, out, &shape(&m, &n))),
        m,
        n,
        k,
    }
}

#[test]
fn many_shapes_with_constant_and_other_columns() {
    for [m, n, k] in [
        [1, 1, 1],
        [1, 100, 37],
        [5, 7, 3],
        [6, 64, 16],
        [13, 130, 70],
        [33, 48, 129],
        [128, 65, 17],
        [3, 16, 0],
    ] {
        let gemm = plain(&[], m.into(), n.into(), k.into(), DType::F32, DType::F32);
        let sizes = [m * k, k * n, m * n].map(|n| (DType::F32, n as usize));
        check(&gemm, &Bindings::new(), &sizes, &[1], 1e-5);
        check(&gemm, &Bindings::new(), &sizes, &[0], 1e-5);
        check(&gemm, &Bindings::new(), &sizes, &[], 1e-5);
    }
}

#[test]
fn symbolic_sizes() {
    let [m, n, k] = ["m", "n", "k"].map(Dim::symbol);
    let gemm = plain(&[Dim::symbol("b")], m, n, k, DType::F32, DType::F32);
    for [b, m, n, k] in [[1, 1, 1, 1], [2, 7, 70, 5], [3, 64, 33, 40], [1, 200, 17, 64]] {
        let bind = Bindings::from([("b", b), ("m", m), ("n", n), ("k", k)]);
        let sizes = [b * m * k, b * k * n, b * m * n].map(|n| (DType::F32, n as usize));
        check(&gemm, &bind, &sizes, &[], 1e-5);
    }
    let gemm = plain(&[], Dim::symbol("m"), 100.into(), 30.into(), DType::F32, DType::F32);
    for m in [1, 6, 11, 128] {
        let sizes = [m * 30, 3000, m * 100].map(|n| (DType::F32, n as usize));
        check(&gemm, &Bindings::from([("m", m)]), &sizes, &[1], 1e-5);
    }
}

#[test]
fn transposed_operands_and_results() {
    for [m, n, k] in [[40, 70, 50], [3, 20, 19], [100, 17, 33]] {
        for (ta, tb, tc) in
            [(true, false, false), (false, true, false), (false, false, true), (true, true, true)]
        {
            let mut gemm = plain(&[], m.into(), n.into(), k.into(), DType::F32, DType::F32);
            let swap = |o: &mut Operand, rows: i64| match o {
                Operand::Strided(a) => a.strides = dims(&[1, rows]),
                Operand::Packed(_) => {}
            };
            if ta {
                swap(&mut gemm.a, m);
            }
            if tb {
                swap(&mut gemm.b, k);
            }
            if tc {
                gemm.epilogue.out.strides = dims(&[1, m]);
            }
            let sizes = [m * k, k * n, m * n].map(|n| (DType::F32, n as usize));
            check(&gemm, &Bindings::new(), &sizes, &[], 1e-5);
            check(&gemm, &Bindings::new(), &sizes, &[1], 1e-5);
        }
    }
}

#[test]
fn batches_broadcast_and_merge() {
    let (b, h, m, n, k) = (2, 3, 9, 40, 11);
    let mut gemm = plain(&dims(&[b, h]), m.into(), n.into(), k.into(), DType::F32, DType::F32);
    gemm.a = Operand::Strided(Access {
        strides: dims(&[0, m * k, k, 1]),
        ..Access::row_major(0, DType::F32, &[])
    });
    gemm.b = Operand::Strided(Access {
        strides: dims(&[k * n, 0, n, 1]),
        ..Access::row_major(1, DType::F32, &[])
    });
    let sizes = [h * m * k, b * k * n, b * h * m * n].map(|n| (DType::F32, n as usize));
    check(&gemm, &Bindings::new(), &sizes, &[1], 1e-5);
    check(&gemm, &Bindings::new(), &sizes, &[], 1e-5);
    let mut gemm = plain(&[Dim::symbol("b"), 4.into()], 5.into(), n.into(), k.into(), DType::F32, DType::F32);
    gemm.b =
        Operand::Strided(Access { strides: dims(&[0, 0, n, 1]), ..Access::row_major(1, DType::F32, &[]) });
    assert!(gemm.merged().batch.is_empty());
    // Sequence first, then batch: the sequence becomes the rows.
    let mut first = plain(&[70.into()], Dim::symbol("b"), n.into(), k.into(), DType::F32, DType::F32);
    let strides = dims(&[k, 70 * k, 1]);
    first.a = Operand::Strided(Access { strides, ..Access::row_major(0, DType::F32, &[]) });
    first.b = Operand::Strided(Access { strides: dims(&[0, n, 1]), ..Access::row_major(1, DType::F32, &[]) });
    assert_eq!(first.merged().m, Dim::from(70));
    let sizes = [2 * 70 * k, k * n, 2 * 70 * n].map(|n| (DType::F32, n as usize));
    check(&first, &Bindings::from([("b", 2)]), &sizes, &[1], 1e-5);
    let sizes = [3 * 20 * k, k * n, 3 * 20 * n].map(|n| (DType::F32, n as usize));
    check(&gemm, &Bindings::from([("b", 3)]), &sizes, &[1], 1e-5);
}

#[test]
fn element_types() {
    use DType::{BF16, F16, F32, F64, I8, I32, I64, U8};
    for (a, b, out) in [
        (F64, F64, F64),
        (F16, F16, F16),
        (BF16, BF16, F32),
        (U8, I8, I32),
        (I8, I8, I32),
        (I32, I32, I32),
        (I64, I64, I64),
    ] {
        for [m, n, k] in [[1, 33, 20], [20, 70, 31]] {
            let mut gemm = plain(&[], m.into(), n.into(), k.into(), a, out);
            gemm.b = Operand::Strided(Access::row_major(1, b, &dims(&[k, n])));
            let tolerance = if out == F16 { 4e-3 } else { 1e-5 };
            let sizes = [(a, (m * k) as usize), (b, (k * n) as usize), (out, (m * n) as usize)];
            check(&gemm, &Bindings::new(), &sizes, &[], tolerance);
            check(&gemm, &Bindings::new(), &sizes, &[1], tolerance);
        }
    }
}

#[test]
fn epilogues() {
    let (m, n, k) = (19, 75, 40);
    let row = |arg, strides: [i64; 2]| Access {
        strides: dims(&strides),
        ..Access::row_major(arg, DType::F32, &[])
    };
    let light = Scalar::build(3, |_, x| (x[0] + x[1]).max(0.0) + x[2]);
    let heavy = Scalar::build(3, |_, x| (x[0] + x[1]).tanh() * x[2]);
    for f in [light, heavy] {
        for out in [[n, 1], [1, m], [2 * n, 2]] {
            for bias in [[0, 1], [1, 0], [0, 0]] {
                let mut gemm = plain(&[], m.into(), n.into(), k.into(), DType::F32, DType::F32);
                gemm.epilogue =
                    Epilogue { accesses: vec![row(2, bias), row(3, [n, 1])], f: f.clone(), out: row(4, out) };
                let sizes = [m * k, k * n, n, m * n, m * n * 4].map(|n| (DType::F32, n as usize));
                check(&gemm, &Bindings::new(), &sizes, &[1], 1e-5);
            }
        }
    }
}

#[test]
fn narrow_vectors() {
    for cpu in ["x86-64-v2", "x86-64-v3"] {
        let target = TargetSpec::named(cpu).unwrap();
        let gemm = plain(&[], 21.into(), 45.into(), 30.into(), DType::F32, DType::F32);
        let sizes = [21 * 30, 30 * 45, 21 * 45].map(|n| (DType::F32, n));
        check_on(&gemm, &target, &Bindings::new(), &sizes, &[1], 1e-5);
        check_on(&gemm, &target, &Bindings::new(), &sizes, &[], 1e-5);
    }
}
