//! How far an output is from what it should be.
use sardonyx_ir::{Graph, Op};
use sardonyx_tensor::{DType, Tensor};
use serde::Serialize;

/// The rule an element passes by: `|ours − reference| ≤ atol + rtol·|reference|`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// The absolute part.
    pub atol: f64,
    /// The part relative to the reference.
    pub rtol: f64,
}

impl Tolerance {
    /// The default for whole networks: by the output's dtype, exact for integers and bools.
    pub fn network(dtype: DType) -> Tolerance {
        let (atol, rtol) = match dtype {
            DType::F64 | DType::F32 => (1e-4, 1e-3),
            DType::F16 => (1e-2, 1e-2),
            t if t.is_float() => (5e-2, 5e-2),
            _ => (0.0, 0.0),
        };
        Tolerance { atol, rtol }
    }
    /// The default of ONNX's backend tests.
    pub const BACKEND_TEST: Tolerance = Tolerance { atol: 1e-7, rtol: 1e-3 };
}

impl Tolerance {
    /// For an output of a network that quantizes, whose oracle's own optimization levels differ by `spread`:
    /// that difference and the default for networks, or a step of an integer.
    pub fn quantized(dtype: DType, spread: f64) -> Tolerance {
        let plain = Tolerance::network(dtype);
        let step = if dtype.is_float() { 0.0 } else { 1.0 };
        Tolerance { atol: plain.atol + spread.max(step), ..plain }
    }
}

/// Whether a graph quantizes what it computes: rounding then turns the last bits of sums into whole steps.
pub fn quantizes(g: &Graph) -> bool {
    g.nodes().any(|id| {
        let to_byte = matches!(g.node(id).op, Op::Cast { to: DType::I8 | DType::U8 });
        to_byte && g.ty(g.operand(id, 0)).dtype.is_float()
    })
}

/// The largest difference of finite elements between any two of several results of one computation.
pub fn spread(results: &[&Tensor]) -> f64 {
    let values: Vec<Vec<f64>> = results.iter().map(|t| t.to_f64s()).collect();
    let pairs = values.iter().enumerate().flat_map(|(i, a)| values[..i].iter().map(move |b| (a, b)));
    let differences = pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(x, y)| (x - y).abs()));
    differences.filter(|d| d.is_finite()).fold(0.0, f64::max)
}

/// How one output compares with its reference.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The output's name.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The largest `|ours − reference|` over finite elements.
    pub max_abs: f64,
    /// The largest `|ours − reference| / |reference|` over finite elements with a reference that is not 0.
    pub max_rel: f64,
    /// Root mean square of the difference over the larger of both greatest magnitudes (MIGraphX's formula).
    pub rms_rel: f64,
    /// The cosine of the angle between both, as vectors; 1 where both are zero.
    pub cosine: f64,
    /// NaNs in ours and in the reference.
    pub nan: (usize, usize),
    /// Infinities in ours and in the reference.
    pub inf: (usize, usize),
    /// The element that is furthest from passing: index, ours, reference.
    pub worst: Option<(Vec<usize>, f64, f64)>,
    /// The least absolute tolerance that would pass at this relative one; infinite if none does.
    pub least_atol: f64,
    /// The tolerance asked for.
    pub tolerance: Tolerance,
    /// Whether dtype and shape agree and every element passes. Dimensions of size 1 may be missing on one
    /// side: where a model squeezes all of them and sizes are symbolic, the rank is the run's to decide, and
    /// a program has one rank.
    pub pass: bool,
    /// What is wrong, if dtype or shape is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
}

/// Compares an output with its reference.
pub fn compare(name: &str, ours: &Tensor, reference: &Tensor, tolerance: Tolerance) -> Comparison {
    let mut c = Comparison {
        name: name.to_string(),
        dtype: ours.dtype(),
        shape: ours.shape().to_vec(),
        max_abs: 0.0,
        max_rel: 0.0,
        rms_rel: 0.0,
        cosine: 1.0,
        nan: (0, 0),
        inf: (0, 0),
        worst: None,
        least_atol: 0.0,
        tolerance,
        pass: false,
        mismatch: None,
    };
    let sizes = |t: &Tensor| t.shape().iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
    if ours.dtype() != reference.dtype() || sizes(ours) != sizes(reference) {
        c.mismatch = Some(format!(
            "{}{:?} instead of {}{:?}",
            ours.dtype(),
            ours.shape(),
            reference.dtype(),
            reference.shape()
        ));
        c.least_atol = f64::INFINITY;
        return c;
    }
    if ours.dtype().is_reference() {
        return referred(c, name, ours, reference);
    }
    measure(&mut c, &ours.to_f64s(), &reference.to_f64s());
    if !ours.dtype().is_float() && ours.bytes() != reference.bytes() {
        // Integers beyond 2^53 can differ where their f64s do not.
        let (a, b) = (ours.to_i128s(), reference.to_i128s());
        let furthest = a.iter().zip(&b).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
        c.max_abs = c.max_abs.max(furthest as f64);
        c.least_atol = c.least_atol.max(furthest as f64);
    }
    c.pass = c.least_atol <= tolerance.atol;
    c
}

/// Texts are equal or not: they have no distance. Lists are as far apart as their items.
fn referred(mut c: Comparison, name: &str, ours: &Tensor, reference: &Tensor) -> Comparison {
    if ours.dtype() == DType::String {
        c.pass = ours == reference;
        c.least_atol = if c.pass { 0.0 } else { f64::INFINITY };
        return c;
    }
    c.pass = true;
    for index in 0..ours.len() {
        let (a, b) = (ours.items(index), reference.items(index));
        if a.len() != b.len() {
            c.mismatch = Some(format!("{} items instead of {}", a.len(), b.len()));
            (c.pass, c.least_atol) = (false, f64::INFINITY);
            return c;
        }
        for (a, b) in a.iter().zip(b) {
            let item = compare(name, a, b, c.tolerance);
            c.pass &= item.pass;
            c.least_atol = c.least_atol.max(item.least_atol);
            c.max_abs = c.max_abs.max(item.max_abs);
            c.max_rel = c.max_rel.max(item.max_rel);
            c.mismatch = c.mismatch.or(item.mismatch);
        }
    }
    c
}

fn measure(c: &mut Comparison, ours: &[f64], reference: &[f64]) {
    let (mut squares, mut dot, mut norm_a, mut norm_b) = (0.0, 0.0, 0.0, 0.0);
    let (mut mag_a, mut mag_b) = (0.0f64, 0.0f64);
    let mut furthest = f64::NEG_INFINITY;
    for (i, (&a, &b)) in ours.iter().zip(reference).enumerate() {
        c.nan.0 += usize::from(a.is_nan());
        c.nan.1 += usize::from(b.is_nan());
        c.inf.0 += usize::from(a.is_infinite());
        c.inf.1 += usize::from(b.is_infinite());
        let excess = if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else if a.is_finite() && b.is_finite() {
            (a - b).abs() - c.tolerance.rtol * b.abs()
        } else {
            f64::INFINITY
        };
        if excess > furthest {
            furthest = excess;
            c.worst = Some((index(i, &c.shape), a, b));
        }
        if a.is_finite() && b.is_finite() {
            let d = (a - b).abs();
            c.max_abs = c.max_abs.max(d);
            if b != 0.0 {
                c.max_rel = c.max_rel.max(d / b.abs());
            }
            squares += d * d;
            dot += a * b;
            norm_a += a * a;
            norm_b += b * b;
            (mag_a, mag_b) = (mag_a.max(a.abs()), mag_b.max(b.abs()));
        }
    }
    c.least_atol = furthest.max(0.0);
    c.rms_rel =
        squares.sqrt() / ((ours.len().max(1) as f64).sqrt() * mag_a.max(mag_b).max(f64::MIN_POSITIVE));
    if norm_a > 0.0 || norm_b > 0.0 {
        c.cosine = dot / (norm_a.sqrt() * norm_b.sqrt()).max(f64::MIN_POSITIVE);
    }
}

fn index(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        at[d] = flat % shape[d];
        flat /= shape[d];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ours: &[f32], reference: &[f32]) -> Comparison {
        let t = |v: &[f32]| Tensor::from_slice(vec![v.len()], v);
        compare("y", &t(ours), &t(reference), Tolerance { atol: 1e-4, rtol: 1e-3 })
    }

    #[test]
    fn passes_within_the_tolerance_and_names_the_worst() {
        let c = check(&[1.0, 2.0, 100.05], &[1.0, 2.001, 100.0]);
        assert!(c.pass);
        let c = check(&[1.0, 2.0, 3.0], &[1.0, 2.1, 3.0]);
        assert!(!c.pass);
        assert_eq!(c.worst.expect("an element should be worst").0, [1]);
        assert!((c.least_atol - (0.1 - 0.0021)).abs() < 1e-6);
    }

    #[test]
    fn the_spread_is_the_largest_difference_of_any_two() {
        let t = |v: &[f32]| Tensor::from_slice(vec![v.len()], v);
        let (a, b, c) = (t(&[1.0, 5.0]), t(&[1.5, f32::NAN]), t(&[0.5, 4.5]));
        assert_eq!(spread(&[&a, &b, &c]), 1.0);
        assert_eq!(spread(&[&a]), 0.0);
        assert_eq!(Tolerance::quantized(DType::U8, 0.0).atol, 1.0);
        assert!((Tolerance::quantized(DType::F32, 0.5).atol - 0.5001).abs() < 1e-12);
    }

    #[test]
    fn nan_or_infinity_on_one_side_fails() {
        assert!(!check(&[f32::NAN], &[1.0]).pass);
        assert!(!check(&[1.0], &[f32::NAN]).pass);
        assert!(!check(&[f32::INFINITY], &[f32::NEG_INFINITY]).pass);
        assert!(check(&[f32::NAN, f32::INFINITY], &[f32::NAN, f32::INFINITY]).pass);
    }

    #[test]
    fn shapes_differ_in_dimensions_of_size_1_at_most() {
        let t = |shape: &[usize]| Tensor::from_slice(shape.to_vec(), &vec![1.0f32; shape.iter().product()]);
        let pass =
            |a: &[usize], b: &[usize]| compare("y", &t(a), &t(b), Tolerance { atol: 0.0, rtol: 0.0 }).pass;
        assert!(pass(&[1], &[]) && pass(&[2, 1, 3], &[2, 3]));
        assert!(!pass(&[2, 3], &[3, 2]) && !pass(&[2], &[1]));
    }

    #[test]
    fn large_integers_are_exact() {
        let t = |x: i64| Tensor::from_slice(vec![1], &[x]);
        let c = compare("y", &t((1 << 60) + 1), &t(1 << 60), Tolerance::network(DType::I64));
        assert!(!c.pass && c.max_abs == 1.0);
    }
}
