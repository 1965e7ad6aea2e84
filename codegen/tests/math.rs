//! The accuracy of transcendental primitives, over millions of numbers of every magnitude.
#![allow(clippy::unwrap_used)]
mod common;
use common::{Loaded, bytes, load, load_for};
use sardonyx_codegen::nest::{Builder, Expr, LoopKind, Nest};
use sardonyx_codegen::target::TargetSpec;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim, Tensor};

/// A nest that applies a primitive to vectors of elements.
fn map(p: Prim, dtype: DType) -> Nest {
    let b = Builder::new(p.name());
    let args: Vec<_> = (0..p.arity()).map(|i| b.input(&format!("x{i}"), dtype)).collect();
    let y = b.output("y", dtype);
    b.set_grid_kind(LoopKind::Vectorize);
    let values: Vec<Expr> = args.iter().map(|&a| b.load(a, b.grid())).collect();
    b.store(y, b.grid(), b.prim(p, &values));
    b.finish(Dim::symbol("n"))
}

fn run_f32(loaded: &Loaded, i: usize, x: &mut [f32]) -> Vec<f32> {
    let mut y = vec![0f32; x.len()];
    let n = x.len() as i64;
    loaded.run(i, &mut [bytes(x), bytes(&mut y)], &[], 0, n, 0);
    y
}

/// The distance of `y` from the exact value in units of its last place; infinite where the class differs.
fn ulps_f32(y: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if y == rounded || (y.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    if y.is_nan() || exact.is_nan() {
        return f64::INFINITY;
    }
    // An overflow counts by what is next after the greatest number.
    let value = if y.is_infinite() {
        f64::from(f32::MAX) * (1.0 + 1.0 / 16_777_216.0) * f64::from(y.signum())
    } else {
        f64::from(y)
    };
    let exact = exact.clamp(-3.41e38, 3.41e38);
    let magnitude = rounded.abs().clamp(f32::MIN_POSITIVE, f32::MAX);
    let place = f64::from(f32::from_bits(magnitude.to_bits() & 0x7f80_0000)) / 8_388_608.0;
    (value - exact).abs() / place
}

/// Primitives of one operand and the greatest error allowed in `f32`, in units of the last place.
const UNARY: &[(Prim, f64)] = &[
    (Prim::Exp, 2.0),
    (Prim::Expm1, 2.0),
    (Prim::Log, 2.0),
    (Prim::Log1p, 2.0),
    (Prim::Sin, 2.0),
    (Prim::Cos, 2.0),
    (Prim::Tan, 4.0),
    (Prim::Asin, 1.0),
    (Prim::Acos, 1.0),
    (Prim::Atan, 1.0),
    (Prim::Sinh, 1.0),
    (Prim::Cosh, 1.0),
    (Prim::Tanh, 2.0),
    (Prim::Asinh, 1.0),
    (Prim::Acosh, 1.0),
    (Prim::Atanh, 1.0),
    (Prim::Erf, 2.0),
    (Prim::Sqrt, 0.5),
];

fn sweep(step: usize, target: &TargetSpec, allowed: &dyn Fn(Prim, f64) -> f64) {
    let loaded = load_for(&UNARY.iter().map(|u| map(u.0, DType::F32)).collect::<Vec<_>>(), target);
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(step).map(f32::from_bits).collect();
    x.extend((-200_000..200_000).map(|i| i as f32 * 1e-4));
    x.extend([0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
    for (i, &(p, bound)) in UNARY.iter().enumerate() {
        let y = run_f32(&loaded, i, &mut x);
        let errors = x.iter().zip(&y).map(|(&x, &y)| (ulps_f32(y, p.float(&[f64::from(x)]).unwrap()), x, y));
        let (worst, at, y) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        println!("{:6} {worst:.3} ulp at {at:e} ({y:e})", p.name());
        let bound = allowed(p, bound);
        assert!(worst <= bound, "{}: {worst} ulp at {at:e}: {y:e}", p.name());
    }
}

#[test]
fn f32_within_bounds() {
    sweep(1499, &sardonyx_codegen::toolchain::cpu("native").unwrap(), &|_, bound| bound);
}

#[test]
fn f32_within_bounds_without_fma() {
    sweep(9973, &TargetSpec::named("x86-64-v2").unwrap(), &|_, bound| bound + 1.0);
}

/// Every 17th number; takes minutes.
#[test]
#[ignore]
fn f32_densely() {
    sweep(17, &sardonyx_codegen::toolchain::cpu("native").unwrap(), &|_, bound| bound);
}

#[test]
fn f64_within_bounds() {
    let loaded = load(&UNARY.iter().map(|u| map(u.0, DType::F64)).collect::<Vec<_>>());
    let mut x: Vec<f64> = (0..300_000).map(|i| (f64::from(i) - 150_000.0) * 1.7e-4).collect();
    x.extend((0..200_000).map(|i| f64::from_bits(i * 92_233_720_368_547 + i)).filter(|x| x.abs() < 1e300));
    x.extend([0.0, -0.0, 1.0, -1.0, 709.9, -745.2, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    for (i, &(p, _)) in UNARY.iter().enumerate() {
        let mut x = x.clone();
        if matches!(p, Prim::Sin | Prim::Cos | Prim::Tan) {
            x.retain(|x| !(x.abs() > 1e6 && x.is_finite()));
        }
        let mut y = vec![0f64; x.len()];
        let n = x.len() as i64;
        loaded.run(i, &mut [bytes(&mut x), bytes(&mut y)], &[], 0, n, 0);
        let error = |x: f64, y: f64| {
            // The standard library's atanh loses precision for negative numbers.
            let exact = if p == Prim::Atanh {
                p.float(&[x.abs()]).unwrap().copysign(x)
            } else {
                p.float(&[x]).unwrap()
            };
            let same = exact == y || (exact.is_nan() && y.is_nan());
            let error = (y - exact).abs() / exact.abs().max(f64::MIN_POSITIVE);
            if same {
                0.0
            } else if error.is_nan() {
                f64::INFINITY
            } else {
                error
            }
        };
        let (worst, at, y) =
            x.iter().zip(&y).map(|(&x, &y)| (error(x, y), x, y)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        println!("{:6} {worst:.2e} at {at:e} ({y:e}, not {:e})", p.name(), p.float(&[at]).unwrap());
        assert!(worst <= 1e-14, "{}: {worst} at {at:e}: {y:e}", p.name());
    }
}

/// Numbers of every kind, in pairs.
fn pairs() -> Vec<(f64, f64)> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        2.5,
        -2.5,
        1e-40,
        1e30,
        -1e30,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let mut pairs: Vec<(f64, f64)> =
        special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y))).collect();
    let fraction = |i: u32, by: u32| f64::from(i.wrapping_mul(by) >> 8) / 16_777_216.0;
    pairs.extend(
        (0..100_000)
            .map(|i| ((fraction(i, 2_654_435_761) - 0.2) * 40.0, (fraction(i, 40_503_277) - 0.5) * 30.0)),
    );
    pairs
}

/// The results of a kernel of two operands, in `f64`.
fn run_pairs(loaded: &Loaded, kernel: usize, dtype: DType, x: &[f64], y: &[f64]) -> Vec<f64> {
    let n = x.len();
    let tensor = |v: &[f64]| Tensor::from_f64s(dtype, [n], v.to_vec());
    let (mut x, mut y, mut z) = (tensor(x), tensor(y), Tensor::zeros(dtype, [n]));
    loaded.run(kernel, &mut [x.bytes_mut(), y.bytes_mut(), z.bytes_mut()], &[], 0, n as i64, 0);
    z.to_f64s()
}

#[test]
fn powers_and_remainders() {
    let cases = [
        (Prim::Pow, DType::F32),
        (Prim::Pow, DType::F64),
        (Prim::Rem, DType::F32),
        (Prim::Rem, DType::F64),
        (Prim::Mod, DType::F32),
    ];
    let loaded = load(&cases.map(|(p, t)| map(p, t)));
    for (i, (p, t)) in cases.into_iter().enumerate() {
        let round = |v: f64| if t == DType::F32 { f64::from(v as f32) } else { v };
        let (x, y): (Vec<f64>, Vec<f64>) = pairs().iter().map(|&(x, y)| (round(x), round(y))).unzip();
        let found = run_pairs(&loaded, i, t, &x, &y);
        let error = |x: f64, y: f64, z: f64| {
            let exact = match p {
                Prim::Mod if (x % y) * y < 0.0 => x % y + y,
                Prim::Mod => x % y,
                _ => p.float(&[x, y]).unwrap(),
            };
            let exact = round(exact);
            let same = exact == z || (exact.is_nan() && z.is_nan());
            let error = (z - exact).abs() / exact.abs();
            if same {
                0.0
            } else if error.is_nan() {
                f64::INFINITY
            } else {
                error
            }
        };
        let errors = (0..x.len()).map(|k| (error(x[k], y[k], found[k]), x[k], y[k], found[k]));
        let worst = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        println!("{} of {t} {worst:?}", p.name());
        assert!(worst.0 <= if t == DType::F32 { 1.2e-7 } else { 1e-14 }, "{}: {worst:?}", p.name());
    }
}
