//! Seeded random numbers. Element `i` depends on the seed and `i` alone, so any order of work gives the
//! same tensor.
use super::values::known;
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Tensor};

/// 64 random bits (SplitMix64, Steele et al. 2014).
fn bits(seed: i64, i: u64) -> u64 {
    let mut z = (seed as u64).wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform in 0…1, without 1: 24 bits, which a single holds.
fn unit(seed: i64, i: u64) -> f64 {
    (bits(seed, i) >> 40) as f64 / f64::from(1u32 << 24)
}

fn infer(op: &Op, _: &mut Infer) -> Result<Vec<Type>, String> {
    let (Op::RandomUniform { shape, to, .. } | Op::RandomNormal { shape, to, .. }) = op else {
        panic!("bug: {} is not random", op.name())
    };
    check_float(*to)?;
    Ok(vec![Type { dtype: *to, shape: shape.clone() }])
}

fn check_float(to: DType) -> Result<(), String> {
    if to.is_float() { Ok(()) } else { Err(format!("random numbers are floats, not {to}")) }
}

fn filled(ty: &Type, f: impl Fn(u64) -> f64) -> Result<Vec<Tensor>, String> {
    let shape = known(ty);
    let count = shape.iter().product::<usize>() as u64;
    Ok(vec![Tensor::from_f64s(ty.dtype, shape, (0..count).map(f))])
}

pub(super) const UNIFORM: Definition = Definition {
    infer,
    eval: |op, _, types| {
        attributes!(op, RandomUniform { low, high, seed });
        filled(&types[0], |i| low + (high - low) * unit(*seed, i))
    },
};

pub(super) const NORMAL: Definition = Definition {
    infer,
    eval: |op, _, types| {
        attributes!(op, RandomNormal { mean, scale, seed });
        // Box & Muller 1958.
        filled(&types[0], |i| {
            let radius = (-2.0 * (1.0 - unit(*seed, 2 * i)).ln()).sqrt();
            mean + scale * radius * (std::f64::consts::TAU * unit(*seed, 2 * i + 1)).cos()
        })
    },
};
