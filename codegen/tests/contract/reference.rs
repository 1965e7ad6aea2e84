//! Random tensors, plain loops over accesses, and running a nest on tensors.
use crate::common::load_for;
use sardonyx_codegen::kernel::contract::{Access, Epilogue};
use sardonyx_codegen::nest::Nest;
use sardonyx_codegen::target::TargetSpec;
use sardonyx_ir::scalar::{Node, Scalar};
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

/// The processor the tests compile for.
pub fn target() -> TargetSpec {
    sardonyx_codegen::toolchain::cpu("native").unwrap()
}

/// Numbers that look random, the same for the same seed: small integers for integer types.
pub fn random(dtype: DType, count: usize, seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values = (0..count).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
        if dtype.is_float() {
            unit * 2.0 - 1.0
        } else {
            (unit * 15.0).floor() - if dtype.is_signed() { 7.0 } else { 0.0 }
        }
    });
    Tensor::from_f64s(dtype, [count], values)
}

/// The place of an access' element.
pub fn place(access: &Access, at: &[i64], bind: &Bindings) -> usize {
    let value = |d: &Dim| d.eval(bind).unwrap();
    let sum: i64 = access.strides.iter().zip(at).map(|(s, i)| value(s) * i).sum();
    usize::try_from(value(&access.offset) + sum).unwrap()
}

/// The value of a scalar function.
pub fn evaluate(f: &Scalar, args: &[f64]) -> f64 {
    let mut values: Vec<f64> = vec![];
    for node in &f.nodes {
        values.push(match node {
            Node::Arg(i) => args[*i],
            Node::Num(x) => *x,
            Node::Cast(t, a) if t.is_float() => values[*a],
            Node::Cast(_, a) => values[*a].trunc(),
            Node::Prim(p, a) => p.float(&a.iter().map(|&i| values[i]).collect::<Vec<_>>()).unwrap(),
        });
    }
    values[f.root]
}

/// The result of an epilogue for one element, and its place.
pub fn finish(
    epilogue: &Epilogue,
    sum: f64,
    at: &[i64],
    buffers: &[Vec<f64>],
    bind: &Bindings,
) -> (usize, f64) {
    let loads = epilogue.accesses.iter().map(|a| buffers[a.arg][place(a, at, bind)]);
    let args: Vec<f64> = std::iter::once(sum).chain(loads).collect();
    (place(&epilogue.out, at, bind), evaluate(&epilogue.f, &args))
}

/// All indices of a box.
pub fn each(sizes: &[i64], mut f: impl FnMut(&[i64])) {
    let total: i64 = sizes.iter().product();
    let mut at = vec![0; sizes.len()];
    for _ in 0..total {
        f(&at);
        for i in (0..sizes.len()).rev() {
            at[i] += 1;
            if at[i] < sizes[i] {
                break;
            }
            at[i] = 0;
        }
    }
}

/// Runs a nest on tensors, of which it writes some; in two ranges of work items.
pub fn run(nest: Nest, bind: &Bindings, args: &mut [Tensor]) {
    run_on(nest, &target(), bind, args);
}

/// As [`run`], compiled for a certain processor.
pub fn run_on(nest: Nest, target: &TargetSpec, bind: &Bindings, args: &mut [Tensor]) {
    let value = |d: &Dim| d.eval(bind).unwrap();
    let dims: Vec<i64> = nest.dims.iter().map(value).collect();
    let (grid, scratch) = (value(&nest.grid), value(&nest.scratch));
    let loaded = load_for(&[nest], target);
    let mut padded: Vec<Vec<u8>> = args.iter().map(|a| [&FENCE, a.bytes(), &FENCE].concat()).collect();
    let mut scratch = vec![FENCE[0]; scratch as usize + 128 + FENCE.len()];
    for (begin, end) in [(grid / 2, grid), (0, grid / 2)] {
        let mut bytes: Vec<&mut [u8]> =
            padded.iter_mut().zip(&*args).map(|(p, a)| &mut p[FENCE.len()..][..a.bytes().len()]).collect();
        loaded.run_with(0, &mut bytes, &dims, begin, end, &mut scratch);
    }
    assert!(scratch.ends_with(&FENCE), "a store beyond the scratch memory");
    for (i, (padded, arg)) in padded.iter().zip(args).enumerate() {
        let inside = padded.starts_with(&FENCE) && padded.ends_with(&FENCE);
        assert!(inside, "a store outside argument {i} of {} bytes", arg.bytes().len());
        let len = arg.bytes().len();
        arg.bytes_mut().copy_from_slice(&padded[FENCE.len()..][..len]);
    }
}

/// Bytes around each buffer that no kernel may change.
const FENCE: [u8; 4096] = [0xAB; 4096];

/// Asserts that two lists of numbers are near each other.
pub fn near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let close = (f - e).abs() <= tolerance * (1.0 + e.abs()) || f == e || (f.is_nan() && e.is_nan());
        assert!(close, "{what}: element {i} is {f}, not {e}");
    }
}
