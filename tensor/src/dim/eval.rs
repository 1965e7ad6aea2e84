//! Values of symbols, and what an expression is worth under them.

use std::collections::BTreeMap;

use super::poly::Atom;
use super::{Dim, Repr};

/// The values of symbols.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bindings(BTreeMap<String, i64>);

impl Bindings {
    /// No symbols.
    pub fn new() -> Bindings {
        Bindings::default()
    }

    /// Sets the value of a symbol and returns the one it had.
    pub fn set(&mut self, symbol: &str, value: i64) -> Option<i64> {
        match self.0.get_mut(symbol) {
            Some(slot) => Some(std::mem::replace(slot, value)),
            None => self.0.insert(symbol.to_string(), value),
        }
    }

    /// The value of a symbol.
    pub fn get(&self, symbol: &str) -> Option<i64> {
        self.0.get(symbol).copied()
    }

    /// Forgets a symbol.
    pub fn remove(&mut self, symbol: &str) -> Option<i64> {
        self.0.remove(symbol)
    }

    /// Symbols and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The number of symbols.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no symbol has a value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all symbols.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<S: Into<String>, const N: usize> From<[(S, i64); N]> for Bindings {
    fn from(pairs: [(S, i64); N]) -> Bindings {
        pairs.into_iter().collect()
    }
}

impl<S: Into<String>> FromIterator<(S, i64)> for Bindings {
    fn from_iter<I: IntoIterator<Item = (S, i64)>>(pairs: I) -> Bindings {
        Bindings(pairs.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// Why a dimension has no value, or why its text does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// A symbol has no value.
    #[error("symbol `{0}` has no value")]
    Unbound(String),
    /// A divisor is zero.
    #[error("division by zero in `{0}`")]
    DivisionByZero(String),
    /// A value does not fit 64 bits.
    #[error("`{0}` overflows 64 bits")]
    Overflow(String),
    /// The text is not an expression.
    #[error("`{text}` is not a dimension: {reason} at byte {at}")]
    Syntax {
        /// The text that was parsed.
        text: String,
        /// Where the parser stopped.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
}

impl Dim {
    /// The value under these bindings.
    ///
    /// # Errors
    /// A symbol without a value, a division by zero, a value that does not fit `i64`.
    pub fn eval(&self, bindings: &Bindings) -> Result<i64, DimError> {
        self.eval_with(&|name| bindings.get(name))
    }

    /// The value, with the values of symbols from a function.
    ///
    /// # Errors
    /// As of [`Dim::eval`].
    pub fn eval_with(&self, value: &dyn Fn(&str) -> Option<i64>) -> Result<i64, DimError> {
        let poly = match &self.0 {
            Repr::Known(value) => return Ok(*value),
            Repr::Expr(poly) => poly,
        };
        let overflow = || DimError::Overflow(self.to_string());
        let mut sum = 0i64;
        for (monomial, coefficient) in poly.terms() {
            let mut product = coefficient;
            for (atom, power) in monomial.factors() {
                let factor = atom.eval_with(value)?;
                for _ in 0..power {
                    product = product.checked_mul(factor).ok_or_else(overflow)?;
                }
            }
            sum = sum.checked_add(product).ok_or_else(overflow)?;
        }
        Ok(sum)
    }
}

impl Atom {
    fn eval_with(&self, value: &dyn Fn(&str) -> Option<i64>) -> Result<i64, DimError> {
        let division = |a: &Dim, b: &Dim, op: fn(i64, i64) -> Option<i64>| {
            let (x, y) = (a.eval_with(value)?, b.eval_with(value)?);
            if y == 0 {
                return Err(DimError::DivisionByZero(Dim::from_atom(self.clone()).to_string()));
            }
            op(x, y).ok_or_else(|| DimError::Overflow(Dim::from_atom(self.clone()).to_string()))
        };
        let extremum = |dims: &[Dim], pick: fn(i64, i64) -> i64| {
            let mut values = dims.iter().map(|dim| dim.eval_with(value));
            let first = values.next().expect("min and max should have operands")?;
            values.try_fold(first, |best, next| Ok(pick(best, next?)))
        };
        match self {
            Atom::Symbol(name) => value(name).ok_or_else(|| DimError::Unbound(name.to_string())),
            Atom::FloorDiv(a, b) => division(a, b, floor_div),
            Atom::Mod(a, b) => division(a, b, floor_mod),
            Atom::Min(dims) => extremum(dims, i64::min),
            Atom::Max(dims) => extremum(dims, i64::max),
        }
    }
}

/// The quotient rounded towards minus infinity; `None` for a zero divisor and on overflow.
pub(super) fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// What the floor division leaves: zero or of the sign of `b`.
pub(super) fn floor_mod(a: i64, b: i64) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}
