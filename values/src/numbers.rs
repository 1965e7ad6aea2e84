//! Numbers as texts, and back.

use sardonyx_tensor::{DType, Tensor};

/// Each number as text: integers in decimal; floats with 8 significant digits, `f64` with 17, in scientific notation
/// where that is shorter, and `NaN`, `INF`, `-INF`; truth values as `1` and `0`.
pub fn print(x: &Tensor) -> Tensor {
    let texts: Vec<String> = match x.dtype() {
        t if t.is_float() => {
            let digits = if t == DType::F64 { 17 } else { 8 };
            x.to_f64s().into_iter().map(|number| float(number, digits)).collect()
        }
        _ => x.to_i128s().iter().map(i128::to_string).collect(),
    };
    Tensor::from_texts(x.shape(), &texts)
}

/// As `%.{digits}g` of C prints it.
fn float(x: f64, digits: usize) -> String {
    if x.is_nan() {
        return "NaN".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "INF" } else { "-INF" }.into();
    }
    let scientific = format!("{x:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..digits as i32).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{x:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

/// Each text as a number of type `to`: decimal, for floats also scientific, `NaN` and `INF` in any case.
///
/// # Errors
/// When a text is no such number.
pub fn parse(x: &Tensor, to: DType) -> Result<Tensor, String> {
    let fail = |text: &str| format!("`{text}` is not a number of type {to}");
    let texts = x.texts();
    if to.is_float() {
        let number = |text: &&str| text.trim().parse::<f64>().map_err(|_| fail(text));
        return Ok(Tensor::from_f64s(
            to,
            x.shape(),
            texts.iter().map(number).collect::<Result<Vec<_>, _>>()?,
        ));
    }
    let (least, greatest) = to.int_range();
    let number = |text: &&str| {
        let number = text.trim().parse::<i128>().ok();
        number.filter(|n| (least..=greatest).contains(n)).ok_or_else(|| fail(text))
    };
    Ok(Tensor::from_i128s(to, x.shape(), texts.iter().map(number).collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_c_does() {
        let x =
            Tensor::from_slice([7], &[1.0f32, 0.1, 1e-5, 123_456_792.0, f32::NAN, f32::NEG_INFINITY, -0.0]);
        assert_eq!(print(&x).texts(), ["1", "0.1", "9.9999997e-06", "1.2345679e+08", "NaN", "-INF", "-0"]);
        assert_eq!(
            print(&Tensor::from_slice([2], &[0.1f64, 1e22])).texts(),
            ["0.10000000000000001", "1e+22"]
        );
        assert_eq!(print(&Tensor::scalar(u64::MAX)).texts(), ["18446744073709551615"]);
        assert_eq!(print(&Tensor::scalar(false)).texts(), ["0"]);
    }

    #[test]
    fn texts_parse_or_say_what_they_are() {
        let x = Tensor::from_texts([3], &["1.5", "-1e3", "Inf"]);
        assert_eq!(parse(&x, DType::F32).expect("numbers").to_f64s(), [1.5, -1000.0, f64::INFINITY]);
        assert_eq!(parse(&x, DType::I32).expect_err("no integers"), "`1.5` is not a number of type i32");
        let x = Tensor::from_texts([2], &["255", "256"]);
        assert_eq!(parse(&x, DType::I16).expect("integers").to_i64s(), [255, 256]);
        assert!(parse(&x, DType::U8).is_err());
    }
}
