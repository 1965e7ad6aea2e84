//! Every primitive on every type, and every conversion, against the table of primitives and `Tensor::cast`.
#![allow(clippy::unwrap_used)]
mod common;
use common::{load, load_for};
use sardonyx_codegen::nest::{Builder, Expr, Nest};
use sardonyx_codegen::target::TargetSpec;
use sardonyx_codegen::toolchain;
use sardonyx_ir::scalar::{Prim, Rule};
use sardonyx_tensor::{DType, Tensor};

const TYPES: [DType; 13] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U64,
    DType::U32,
    DType::U16,
    DType::U8,
    DType::Bool,
];

fn allowed(p: Prim, t: DType) -> bool {
    match p.rule() {
        Rule::Same => t != DType::Bool,
        Rule::Float | Rule::Classify => t.is_float(),
        Rule::Bits => t.is_int() || t == DType::Bool && !matches!(p, Prim::Shl | Prim::Shr),
        Rule::Compare | Rule::Select => true,
    }
}

fn types(p: Prim, t: DType) -> (Vec<DType>, DType) {
    let mut args = vec![t; p.arity()];
    if p.rule() == Rule::Select {
        args[0] = DType::Bool;
    }
    (args, if matches!(p.rule(), Rule::Compare | Rule::Classify) { DType::Bool } else { t })
}

fn numbers(t: DType) -> Vec<f64> {
    if t == DType::Bool {
        return vec![0.0, 1.0];
    }
    if t.is_float() {
        return vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -2.5,
            3.0,
            7.25,
            -100.0,
            1e-3,
            6e4,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
    }
    Vec::new()
}

fn integers(t: DType) -> Vec<i128> {
    let (least, greatest) = t.int_range();
    let mut v: Vec<i128> = vec![0, 1, 2, 3, 5, 6, 7, least, greatest, greatest - 1];
    v.extend([-1, -2, -7].into_iter().filter(|&x| x >= least));
    v
}

/// The operands of every case as one tensor per operand.
fn operands(p: Prim, args: &[DType]) -> Vec<Tensor> {
    let t = *args.last().unwrap();
    let count = if t.is_float() || t == DType::Bool { numbers(t).len() } else { integers(t).len() };
    let cases: usize = args.iter().map(|&a| if a == DType::Bool { 2 } else { count }).product();
    let mut stride = 1;
    let column = |&a: &DType| {
        let n = if a == DType::Bool { 2 } else { count };
        let pick: Vec<usize> = (0..cases).map(|i| i / stride % n).collect();
        stride *= n;
        if a.is_float() || a == DType::Bool {
            let values: Vec<f64> = pick.iter().map(|&i| numbers(a)[i]).collect();
            Tensor::from_f64s(a, [cases], values)
        } else {
            let mut values: Vec<i128> = pick.iter().map(|&i| integers(a)[i]).collect();
            if stride > n && matches!(p, Prim::Pow | Prim::Shl | Prim::Shr) {
                values.iter_mut().for_each(|v| *v = (*v).clamp(-2, 6));
            }
            Tensor::from_i128s(a, [cases], values)
        }
    };
    args.iter().map(column).collect()
}

fn nest(p: Prim, args: &[DType], result: DType, name: &str) -> Nest {
    let b = Builder::new(name);
    let bufs: Vec<_> = args.iter().enumerate().map(|(i, &t)| b.input(&format!("x{i}"), t)).collect();
    let y = b.output("y", result);
    let values: Vec<Expr> = bufs.iter().map(|&x| b.load(x, b.grid())).collect();
    b.store(y, b.grid(), b.prim(p, &values));
    b.finish(1)
}

fn close(t: DType, found: f64, exact: f64) -> bool {
    let tolerance = match t {
        DType::F64 => 1e-14,
        DType::F32 => 4e-7,
        DType::F16 => 1e-3,
        _ => 8e-3,
    };
    let least = if t == DType::F16 { 6e-8 } else { 1e-300 };
    found == exact
        || (found.is_nan() && exact.is_nan())
        || (found - exact).abs() <= tolerance * exact.abs() + least
}

#[test]
fn every_primitive_on_every_type() {
    check_primitives(&toolchain::cpu("native").unwrap(), &TYPES);
}

/// Without fused multiply-adds and conversions of `f16`.
#[test]
fn every_primitive_for_the_oldest_processor() {
    check_primitives(&toolchain::cpu("x86-64-v2").unwrap(), &[DType::F32, DType::F16, DType::I64, DType::U8]);
}

fn check_primitives(target: &TargetSpec, dtypes: &[DType]) {
    let mut nests = Vec::new();
    let mut cases = Vec::new();
    for &p in Prim::ALL {
        for t in dtypes.iter().copied().filter(|&t| allowed(p, t)) {
            let (args, result) = types(p, t);
            nests.push(nest(p, &args, result, &format!("{}_{t}", p.name())));
            cases.push((p, t, args, result));
        }
    }
    let loaded = load_for(&nests, target);
    for (i, (p, t, args, result)) in cases.into_iter().enumerate() {
        let mut inputs = operands(p, &args);
        let n = inputs[0].len();
        let mut output = Tensor::zeros(result, [n]);
        {
            let mut buffers: Vec<&mut [u8]> = inputs.iter_mut().map(|x| x.bytes_mut()).collect();
            buffers.push(output.bytes_mut());
            loaded.run(i, &mut buffers, &[], 0, n as i64, 0);
        }
        for at in 0..n {
            if t.is_float() {
                let x: Vec<f64> = inputs.iter().map(|x| x.get_f64(at)).collect();
                let exact = p.float(&x).expect("a primitive of floats should have a value");
                let exact = match p {
                    Prim::Mod if x[1].is_infinite() || x[0].is_infinite() => continue,
                    // The table's formula loses digits; ours does not.
                    Prim::Mod if (x[0] % x[1]) * x[1] < 0.0 => x[0] % x[1] + x[1],
                    Prim::Mod => x[0] % x[1],
                    Prim::Sign if x[0].is_nan() => f64::NAN,
                    _ => exact,
                };
                let exact = if result == DType::Bool {
                    exact
                } else {
                    Tensor::from_f64s(result, [1], [exact]).get_f64(0)
                };
                let found = output.get_f64(at);
                assert!(close(t, found, exact), "{} of {t} {x:?}: {found}, not {exact}", p.name());
            } else {
                let x: Vec<i128> = inputs.iter().map(|x| x.to_i128s()[at]).collect();
                let exact = p.int(&x).expect("a primitive of integers should have a value");
                let exact = if p == Prim::Not && t == DType::Bool { 1 - x[0] } else { exact };
                let (least, greatest) = result.int_range();
                let wrapped = (exact - least).rem_euclid(greatest - least + 1) + least;
                let found = output.to_i128s()[at];
                assert_eq!(found, wrapped, "{} of {t} {x:?}", p.name());
            }
        }
    }
}

#[test]
fn every_conversion() {
    let mut nests = Vec::new();
    let pairs: Vec<(DType, DType)> =
        DType::ALL.iter().flat_map(|&from| DType::ALL.iter().map(move |&to| (from, to))).collect();
    for &(from, to) in &pairs {
        let b = Builder::new(&format!("{from}_to_{to}"));
        let (x, y) = (b.input("x", from), b.output("y", to));
        let value = b.load(x, b.grid());
        b.store(y, b.grid(), if from == to { value } else { value.cast(to) });
        nests.push(b.finish(1));
    }
    let loaded = load(&nests);
    let mut wrong = Vec::new();
    for (i, &(from, to)) in pairs.iter().enumerate() {
        let mut x = samples(from);
        let n = x.len();
        let mut y = Tensor::zeros(to, [n]);
        loaded.run(i, &mut [x.bytes_mut(), y.bytes_mut()], &[], 0, n as i64, 0);
        let expected = x.cast(to);
        for at in 0..n {
            let (found, exact) = (y.get_f64(at), expected.get_f64(at));
            let value = x.get_f64(at);
            // Beyond the 32 or 64 bits that values go through, it is the machine's word.
            if from.is_float()
                && !to.is_float()
                && to != DType::Bool
                && (value.is_nan() || value.abs() >= 2147483648.0)
            {
                continue;
            }
            let same = found == exact || (found.is_nan() && exact.is_nan());
            if !same {
                wrong.push(format!("{from} {} to {to}: {found}, not {exact}", x.get_f64(at)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

/// Numbers of a type: all of them for the 8-bit ones, else some of every kind.
fn samples(t: DType) -> Tensor {
    if t.size() == 1 {
        let codes: Vec<u8> = match t {
            DType::I4 => (0..16u8).map(|c| ((c << 4) as i8 >> 4) as u8).collect(),
            DType::I2 => (0..4u8).map(|c| ((c << 6) as i8 >> 6) as u8).collect(),
            DType::U4 | DType::F4E2M1 => (0..16).collect(),
            DType::U2 => (0..4).collect(),
            DType::Bool => vec![0, 1],
            _ => (0..=255).collect(),
        };
        let mut x = Tensor::zeros(t, [codes.len()]);
        x.bytes_mut().copy_from_slice(&codes);
        return x;
    }
    if !t.is_float() {
        let (least, greatest) = t.int_range();
        let mut v: Vec<i128> =
            (-40..40).map(|i| i * i * i * 3 + i).filter(|&x| x >= least && x <= greatest).collect();
        v.extend([least, greatest, greatest / 3]);
        return Tensor::from_i128s(t, [v.len()], v);
    }
    let mut v = vec![
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        65504.0,
        65519.0,
        65520.0,
        448.0,
        464.0,
        465.0,
        480.0,
        57344.0,
        61440.0,
        6.0,
        5.0,
        2.5,
        1.75,
        0.25,
        0.75,
    ];
    v.extend((0..600).map(|i| {
        1.37f64.powi(i % 150 - 90) * if i % 2 == 0 { 1.0 } else { -1.0 } * (1.0 + f64::from(i) / 601.0)
    }));
    v.extend((0..2000).map(|i| f64::from(i) / 512.0));
    Tensor::from_f64s(t, [v.len()], v)
}
