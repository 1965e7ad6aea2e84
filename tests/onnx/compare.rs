//! Whether results are those that a test expects.
use sardonyx_tensor::{DType, Tensor};

/// ONNX's tolerances for backend tests.
const RTOL: f64 = 1e-3;
const ATOL: f64 = 1e-7;

/// Compares all results of a test.
pub fn results(name: &str, inputs: &[Tensor], expected: &[Tensor], actual: &[Tensor]) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!("{} outputs, {} expected", actual.len(), expected.len()));
    }
    let numbered = |i: usize, reason: String| format!("output {i}: {reason}");
    if let Some(check) = random(name) {
        for (i, (e, a)) in expected.iter().zip(actual).enumerate() {
            same_type(e, a).map_err(|e| numbered(i, e))?;
        }
        return check(inputs, actual);
    }
    for (i, (e, a)) in expected.iter().zip(actual).enumerate() {
        compare(e, a, absolute(name, e)).map_err(|e| numbered(i, e))?;
    }
    Ok(())
}

/// The absolute tolerance. What a transform should give is a sum of terms as large as its largest result,
/// and was rounded on the way.
fn absolute(name: &str, expected: &Tensor) -> f64 {
    if !name.starts_with("test_dft") {
        return ATOL;
    }
    ATOL * expected.to_f64s().iter().fold(1.0, |m, x| x.abs().max(m))
}

fn same_type(expected: &Tensor, actual: &Tensor) -> Result<(), String> {
    if expected.dtype() == actual.dtype() && expected.shape() == actual.shape() {
        return Ok(());
    }
    let of = |t: &Tensor| format!("{}{:?}", t.dtype(), t.shape());
    Err(format!("{} instead of {}", of(actual), of(expected)))
}

fn compare(expected: &Tensor, actual: &Tensor, atol: f64) -> Result<(), String> {
    same_type(expected, actual)?;
    if expected.dtype() == DType::List {
        let (e, a) = (expected.items(0), actual.items(0));
        if e.len() != a.len() {
            return Err(format!("{} items instead of {}", a.len(), e.len()));
        }
        return e.iter().zip(a).try_for_each(|(e, a)| compare(e, a, atol));
    }
    if !expected.dtype().is_float() {
        return if expected == actual { Ok(()) } else { Err(format!("{actual:?} instead of {expected:?}")) };
    }
    // The expected values of the narrow types were rounded in places that the standard leaves open.
    let rtol = match expected.dtype() {
        DType::F16 => 1e-2,
        DType::BF16 => 2e-2,
        _ => RTOL,
    };
    for (i, (e, a)) in expected.to_f64s().into_iter().zip(actual.to_f64s()).enumerate() {
        let same = e == a || (e.is_nan() && a.is_nan()) || (a - e).abs() <= atol + rtol * e.abs();
        if !same {
            return Err(format!("element {i} is {a} instead of {e}"));
        }
    }
    Ok(())
}

/// Checks outputs against what the inputs say of their distribution.
type Check = fn(&[Tensor], &[Tensor]) -> Result<(), String>;

/// How the results of a test are checked whose expected values came from a generator of random numbers that
/// the standard does not name.
fn random(name: &str) -> Option<Check> {
    if name.starts_with("test_bernoulli") {
        return Some(bernoulli);
    }
    (name.starts_with("test_training_dropout") && !name.contains("zero_ratio")).then_some(dropout)
}

/// Whether as many of some events happened as their probabilities let expect, up to five deviations.
fn plausible(happened: usize, chances: &[f64]) -> Result<(), String> {
    let mean: f64 = chances.iter().sum();
    let variance: f64 = chances.iter().map(|p| p * (1.0 - p)).sum();
    if (happened as f64 - mean).abs() <= 5.0 * variance.sqrt() {
        return Ok(());
    }
    Err(format!("{happened} events, {mean} expected, with a variance of {variance}"))
}

/// Ones with the probabilities that the input gives.
fn bernoulli(inputs: &[Tensor], actual: &[Tensor]) -> Result<(), String> {
    let (chances, y) = (inputs[0].to_f64s(), actual[0].to_f64s());
    if let Some(other) = y.iter().find(|y| ![0.0, 1.0].contains(*y)) {
        return Err(format!("{other} is neither 0 nor 1"));
    }
    plausible(y.iter().filter(|y| **y == 1.0).count(), &chances)
}

/// Zeros with the probability in the second input; the rest is scaled so that the mean stays.
fn dropout(inputs: &[Tensor], actual: &[Tensor]) -> Result<(), String> {
    let (x, y) = (inputs[0].to_f64s(), actual[0].to_f64s());
    let ratio = inputs.get(1).filter(|r| r.len() == 1).map_or(0.5, |r| r.get_f64(0));
    let kept: Vec<bool> = y.iter().map(|y| *y != 0.0).collect();
    for ((x, y), _) in x.iter().zip(&y).zip(&kept).filter(|(_, kept)| **kept) {
        if (y - x / (1.0 - ratio)).abs() > 1e-5 * y.abs() {
            return Err(format!("{x} became {y} at a ratio of {ratio}"));
        }
    }
    if let Some(mask) = actual.get(1)
        && mask.to_f64s().iter().zip(&kept).any(|(m, kept)| (*m != 0.0) != *kept)
    {
        return Err("the mask does not say what was kept".into());
    }
    plausible(kept.iter().filter(|k| !**k).count(), &vec![ratio; x.len()])
}
