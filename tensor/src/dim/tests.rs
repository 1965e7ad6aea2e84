//! Symbolic dimensions: normal form, arithmetic, order, evaluation and text.

use super::*;
use std::cmp::Ordering;

fn dim(text: &str) -> Dim {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Checks what a text normalizes to, and that the result parses back.
fn check(text: &str, normal: &str) {
    let value = dim(text);
    assert_eq!(value.to_string(), normal, "from {text}");
    assert_eq!(dim(normal), value, "{normal} should parse back");
    let json = serde_json_free_round_trip(&value);
    assert_eq!(json, value);
}

/// What serde does, without a format crate: numbers stay numbers, the rest is text.
fn serde_json_free_round_trip(value: &Dim) -> Dim {
    use serde::de::value::{Error, I64Deserializer, StrDeserializer};
    use serde::{Deserialize, de::IntoDeserializer};
    match value.known() {
        Some(number) => {
            let deserializer: I64Deserializer<Error> = number.into_deserializer();
            Dim::deserialize(deserializer).unwrap()
        }
        None => {
            let text = value.to_string();
            let deserializer: StrDeserializer<Error> = text.as_str().into_deserializer();
            Dim::deserialize(deserializer).unwrap()
        }
    }
}

#[test]
fn normal_form() {
    check("3 + 4*2", "11");
    check("12*b", "b*12");
    check("1 + 2*s", "s*2 + 1");
    check("4 - s", "4 - s");
    check("-s - b", "-b - s");
    check("(b + 1)*(b - 1)", "b*b - 1");
    check("s - s", "0");
    check("b*s + s*b", "b*s*2");
    check("-(s / 2)", "-(s / 2)");
    check("-3", "-3");
    check("2*'batch size'", "'batch size'*2");
    check(r"'it\'s\\' + 1", r"'it\'s\\' + 1");
    assert_eq!(Dim::symbol("'").to_string(), r"'\''");
    assert_eq!(dim("7 - 10").known(), Some(-3));
    assert_eq!(Dim::symbol("b").as_symbol(), Some("b"));
    assert_eq!((Dim::symbol("b") + 1).as_symbol(), None);
}

#[test]
fn division() {
    check("(s + 31) / 32", "(s + 31) / 32");
    check("(s + 32) / 32", "s / 32 + 1");
    check("s*4 / 4", "s");
    check("(s*4 + 3) / 4", "s");
    check("(s*4 + b) / 4", "s + b / 4");
    check("(s*2 + 1) / 4", "s / 2");
    check("s / 2 / 3", "s / 6");
    check("b*s*768 / (s*768)", "b");
    check("b*s*3 / (s*2)", "b*3 / 2");
    check("(b*s + s) / (b + 1)", "s");
    check("b / s", "b / s");
    check("b / (s*2) * 3", "(b / (s*2))*3");
    check("s*3*b / 4", "b*s*3 / 4");
    check("(s / 2)*3 / 4", "(s / 2)*3 / 4");
    check("7 / 2", "3");
    check("-7 / 2", "-3");
    check("(0 - 7) / 2", "-4");
    check("(s - 1) / 2", "(s + 1) / 2 - 1");
    assert_eq!(dim("s").ceil_div(32).to_string(), "(s + 31) / 32");
    assert_eq!(dim("s*64").ceil_div(32).to_string(), "s*2");
    assert_eq!(dim("b*12*s*64").exact_div(&dim("s*12")), Some(dim("b*64")));
    assert_eq!(dim("b*7").exact_div(&dim("2")), None);
    assert_eq!(dim("s").exact_div(&Dim::ZERO), None);
}

#[test]
fn remainder() {
    check("s % 1", "0");
    check("s*4 % 4", "0");
    check("(s*4 + 3) % 4", "3");
    check("(s*3 + 9) % 4", "(s*3 + 1) % 4");
    check("s % 4 % 8", "s % 4");
    check("7 % 4", "3");
    assert_eq!(Dim::from(-7).modulo(4), 1);
}

#[test]
fn extrema() {
    check("min(s, 4)", "min(s, 4)");
    check("min(s, s + 1)", "s");
    check("max(s, 0)", "s");
    check("max(s, 0 - 3)", "s");
    check("min(min(a, b), min(b, 3))", "min(a, b, 3)");
    check("max(s, s - b)", "s");
    check("min(s, 9223372036854775807)", "s");
    check("min(s, 4) / 5", "0");
    check("max(min(s, 4), 9)", "9");
}

#[test]
fn order() {
    let compare = |a: &str, b: &str| dim(a).compare(&dim(b));
    assert_eq!(compare("s + 1", "s"), Some(Ordering::Greater));
    assert_eq!(compare("s", "s + b + 1"), Some(Ordering::Less));
    assert_eq!(compare("s*2", "s + s"), Some(Ordering::Equal));
    assert_eq!(compare("s", "b"), None);
    assert_eq!(compare("s*2", "s"), None);
    assert!(dim("s*b + 1").provably_ge(1));
    assert!(!dim("s - 1").provably_ge(0));
    assert!(dim("s % 8").provably_le(7));
    assert!(dim("s / 8").provably_ge(0));
}

#[test]
fn evaluation() {
    let bindings = Bindings::from([("b", 2), ("s", 100)]);
    let value = |text: &str| dim(text).eval(&bindings);
    assert_eq!(value("b*s*12 + 3"), Ok(2403));
    assert_eq!(value("(s + 31) / 32"), Ok(4));
    assert_eq!(value("min(s, 4) + max(b, 3)"), Ok(7));
    assert_eq!(value("(b - s) / 3"), Ok(-33));
    assert_eq!(value("(b - s) % 3"), Ok(1));
    assert_eq!(value("t"), Err(DimError::Unbound("t".into())));
    assert!(matches!(value("s / (b - 2)"), Err(DimError::DivisionByZero(_))));
    assert!(matches!(value("s*9223372036854775806"), Err(DimError::Overflow(_))));
}

#[test]
fn substitution() {
    let value = dim("b*s + (s + 31) / 32 + min(s, t)");
    let fixed = value.substitute(|name| (name == "s").then(|| dim("64")));
    assert_eq!(fixed.to_string(), "b*64 + min(t, 64) + 2");
    assert_eq!(value.symbols().into_iter().collect::<Vec<_>>(), ["b", "s", "t"]);
}

#[test]
fn hostile_arithmetic_saturates() {
    let mut value = dim("a + b + c + d + 1");
    for _ in 0..100 {
        value = &value * &value;
    }
    assert_eq!(value, i64::MAX);
    let mut nested = dim("a");
    for _ in 0..100 {
        nested = (&nested + dim("b")).floor_div(&nested + dim("c"));
    }
    assert_eq!(Dim::from(i64::MAX) + 1, i64::MAX);
    assert!("((((((((".repeat(100).parse::<Dim>().is_err());
    assert!("99999999999999999999".parse::<Dim>().is_err());
    for text in ["", "(", "1 +", "a b", "min(", "'a", "%", "a +* b", "é", "min()", "1)"] {
        assert!(text.parse::<Dim>().is_err(), "{text}");
    }
}

/// A small generator, so that failures repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }

    /// An expression and its value for `a = 3, b = 5, c = 0`; no value where a divisor is zero.
    fn expression(&mut self, depth: u32) -> (Dim, Option<i64>) {
        if depth == 0 {
            return match self.below(4) {
                0 => (Dim::symbol("a"), Some(3)),
                1 => (Dim::symbol("b"), Some(5)),
                2 => (Dim::symbol("c"), Some(0)),
                _ => {
                    let value = self.below(9) as i64 - 2;
                    (Dim::from(value), Some(value))
                }
            };
        }
        let ((x, a), (y, b)) = (self.expression(depth - 1), self.expression(depth - 1));
        let both = |f: fn(i64, i64) -> Option<i64>| f(a?, b?);
        match self.below(8) {
            0 | 1 => (x + y, both(i64::checked_add)),
            2 => (x - y, both(i64::checked_sub)),
            3 | 4 => (x * y, both(i64::checked_mul)),
            5 => (x.floor_div(&y), both(eval::floor_div)),
            6 => (x.modulo(&y), both(eval::floor_mod)),
            _ if self.below(2) == 0 => (x.min(&y), both(|a, b| Some(a.min(b)))),
            _ => (x.max(&y), both(|a, b| Some(a.max(b)))),
        }
    }
}

#[test]
fn random_expressions_keep_their_value_and_their_text() {
    let bindings = Bindings::from([("a", 3), ("b", 5), ("c", 0)]);
    let mut random = Random(7);
    for round in 0..6000 {
        let (expression, value) = random.expression(1 + round % 4);
        let text = expression.to_string();
        assert_eq!(dim(&text), expression, "{text}");
        if let (Some(value), Ok(found)) = (value, expression.eval(&bindings)) {
            assert_eq!(found, value, "{text}");
        }
        let same = expression.substitute(|_| None);
        assert_eq!(same, expression, "substituting nothing in {text}");
    }
}
