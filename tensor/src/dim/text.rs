//! The text of a dimension, and reading it back: `b*12 + 3`, `(s + 31) / 32`, `min(s, 4)`.
//!
//! `*`, `/` and `%` bind alike, to the left; `/` is the floor division. Symbols whose names are not plain
//! identifiers stand in single quotes.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::poly::{Atom, Monomial};
use super::{Dim, DimError, Repr};

/// How deep parentheses may nest.
const DEPTH_LIMIT: usize = 128;

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let poly = match &self.0 {
            Repr::Known(value) => return write!(f, "{value}"),
            Repr::Expr(poly) => poly,
        };
        let terms: Vec<(&Monomial, i64)> = poly.terms().collect();
        // A positive term first reads better: `4 - s`.
        let first = terms.iter().position(|(_, c)| *c > 0).unwrap_or(0);
        write_term(f, terms[first], terms[first].1 < 0)?;
        for (_, &term) in terms.iter().enumerate().filter(|(at, _)| *at != first) {
            f.write_str(if term.1 < 0 { " - " } else { " + " })?;
            write_term(f, term, false)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A term by its size, with a minus sign where asked.
fn write_term(f: &mut fmt::Formatter, (monomial, coefficient): (&Monomial, i64), minus: bool) -> fmt::Result {
    if minus {
        f.write_char('-')?;
    }
    let size = coefficient.unsigned_abs();
    if monomial.is_constant() {
        return write!(f, "{size}");
    }
    let alone = size == 1 && monomial.factors().map(|(_, power)| power).sum::<u32>() == 1 && !minus;
    let mut separator = "";
    for (atom, power) in monomial.factors() {
        for _ in 0..power {
            f.write_str(separator)?;
            separator = "*";
            match atom {
                Atom::FloorDiv(..) | Atom::Mod(..) if !alone => write!(f, "({atom})")?,
                _ => write!(f, "{atom}")?,
            }
        }
    }
    if size == 1 { Ok(()) } else { write!(f, "*{size}") }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list = |f: &mut fmt::Formatter, name: &str, dims: &[Dim]| {
            write!(f, "{name}(")?;
            for (at, dim) in dims.iter().enumerate() {
                write!(f, "{}{dim}", if at == 0 { "" } else { ", " })?;
            }
            f.write_char(')')
        };
        match self {
            Atom::Symbol(name) => write_symbol(f, name),
            Atom::FloorDiv(a, b) => {
                write_dividend(f, a)?;
                f.write_str(" / ")?;
                write_divisor(f, b)
            }
            Atom::Mod(a, b) => {
                write_dividend(f, a)?;
                f.write_str(" % ")?;
                write_divisor(f, b)
            }
            Atom::Min(dims) => list(f, "min", dims),
            Atom::Max(dims) => list(f, "max", dims),
        }
    }
}

/// The left operand of a division: in parentheses unless it is a number or a product.
fn write_dividend(f: &mut fmt::Formatter, dim: &Dim) -> fmt::Result {
    let product = match &dim.0 {
        Repr::Known(value) => *value >= 0,
        Repr::Expr(poly) => {
            dim.as_atom().is_none() && poly.terms().count() == 1 && poly.terms().all(|(_, c)| c > 0)
        }
    };
    if product { write!(f, "{dim}") } else { write_divisor(f, dim) }
}

/// The right operand of a division: in parentheses unless it is a number or one word.
fn write_divisor(f: &mut fmt::Formatter, dim: &Dim) -> fmt::Result {
    let word = matches!(dim.as_atom(), Some(Atom::Symbol(_) | Atom::Min(_) | Atom::Max(_)));
    if word || dim.known().is_some_and(|value| value >= 0) {
        write!(f, "{dim}")
    } else {
        write!(f, "({dim})")
    }
}

fn write_symbol(f: &mut fmt::Formatter, name: &str) -> fmt::Result {
    let plain = name.starts_with(is_word_start) && name.chars().all(is_word);
    if plain {
        return f.write_str(name);
    }
    f.write_char('\'')?;
    for c in name.chars() {
        if matches!(c, '\'' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('\'')
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

impl FromStr for Dim {
    type Err = DimError;

    fn from_str(text: &str) -> Result<Dim, DimError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let dim = parser.sum()?;
        parser.skip_space();
        if parser.at < text.len() { Err(parser.error("unexpected text")) } else { Ok(dim) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, reason: &'static str) -> DimError {
        DimError::Syntax { text: self.text.chars().take(200).collect(), at: self.at, reason }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn take_while(&mut self, test: impl Fn(char) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !test(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn sum(&mut self) -> Result<Dim, DimError> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(self.error("nested too deeply"));
        }
        let mut sum = self.product()?;
        loop {
            if self.take('+') {
                sum += self.product()?;
            } else if self.take('-') {
                sum -= self.product()?;
            } else {
                self.depth -= 1;
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, DimError> {
        if self.take('-') {
            let mut rest = self.factor()?;
            self.factors(&mut rest)?;
            return Ok(-rest);
        }
        let mut product = self.factor()?;
        self.factors(&mut product)?;
        Ok(product)
    }

    fn factors(&mut self, product: &mut Dim) -> Result<(), DimError> {
        loop {
            if self.take('*') {
                *product *= self.factor()?;
            } else if self.take('/') {
                *product = product.floor_div(self.factor()?);
            } else if self.take('%') {
                *product = product.modulo(self.factor()?);
            } else {
                return Ok(());
            }
        }
    }

    fn factor(&mut self) -> Result<Dim, DimError> {
        self.skip_space();
        match self.text[self.at..].chars().next() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.closing(inner)
            }
            Some('\'') => self.quoted(),
            Some(c) if c.is_ascii_digit() => {
                let digits = self.take_while(|c| c.is_ascii_digit());
                let value = digits.parse::<i64>();
                value.map(Dim::from).map_err(|_| self.error("number too large"))
            }
            Some(c) if is_word_start(c) => {
                let word = self.take_while(is_word).to_string();
                match word.as_str() {
                    "min" if self.take('(') => self.list(Dim::min_of),
                    "max" if self.take('(') => self.list(Dim::max_of),
                    _ => Ok(Dim::symbol(&word)),
                }
            }
            _ => Err(self.error("expected a number, a name or `(`")),
        }
    }

    fn closing(&mut self, dim: Dim) -> Result<Dim, DimError> {
        if self.take(')') { Ok(dim) } else { Err(self.error("expected `)`")) }
    }

    fn list(&mut self, make: fn(Vec<Dim>) -> Dim) -> Result<Dim, DimError> {
        let mut dims = vec![self.sum()?];
        while self.take(',') {
            dims.push(self.sum()?);
        }
        self.closing(make(dims))
    }

    fn quoted(&mut self) -> Result<Dim, DimError> {
        let mut name = String::new();
        let mut chars = self.text[self.at + 1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' => {
                    self.at += 1 + at + 1;
                    return Ok(Dim::symbol(&name));
                }
                '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
                c => name.push(c),
            }
        }
        Err(self.error("a quoted name without its end"))
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.known() {
            Some(value) => serializer.serialize_i64(value),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dim, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Dim;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a dimension: a number or an expression")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Dim, E> {
                Ok(Dim::from(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Dim, E> {
                i64::try_from(value).map(Dim::from).map_err(|_| E::custom("dimension does not fit 64 bits"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dim, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
