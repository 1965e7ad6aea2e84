//! What is known about the size of an expression: bounds, comparisons, minima and maxima.

use std::cmp::Ordering;

use super::poly::{Atom, Monomial};
use super::{Dim, Repr};

/// Bounds that hold for every value of the symbols; `None` is no bound.
#[derive(Clone, Copy)]
struct Bounds {
    low: Option<i64>,
    high: Option<i64>,
}

impl Dim {
    /// How this compares with `other` for every value of the symbols; `None` where that is not provable.
    pub fn compare(&self, other: &Dim) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        let Bounds { low, high } = (self - other).bounds();
        if low.is_some_and(|low| low > 0) {
            Some(Ordering::Greater)
        } else if high.is_some_and(|high| high < 0) {
            Some(Ordering::Less)
        } else {
            None
        }
    }

    /// Whether this is at least `value` for every value of the symbols, as far as can be proved.
    pub fn provably_ge(&self, value: i64) -> bool {
        self.bounds().low.is_some_and(|low| low >= value)
    }

    /// Whether this is at most `value` for every value of the symbols, as far as can be proved.
    pub fn provably_le(&self, value: i64) -> bool {
        self.bounds().high.is_some_and(|high| high <= value)
    }

    /// The lesser of two. `i64::MAX`, which ONNX uses for "to the end", never wins.
    pub fn min(&self, other: &Dim) -> Dim {
        Dim::min_of([self.clone(), other.clone()])
    }

    /// The greater of two.
    pub fn max(&self, other: &Dim) -> Dim {
        Dim::max_of([self.clone(), other.clone()])
    }

    pub(super) fn min_of(dims: impl IntoIterator<Item = Dim>) -> Dim {
        let mut operands = Vec::new();
        for dim in dims {
            match dim.as_atom() {
                Some(Atom::Min(inner)) => operands.extend(inner.iter().cloned()),
                _ => operands.push(dim),
            }
        }
        undominated(&mut operands, |a, b| *b == i64::MAX || (b - a).provably_ge(0));
        match <[Dim; 1]>::try_from(operands) {
            Ok([only]) => only,
            Err(operands) => Dim::from_atom(Atom::Min(operands.into())),
        }
    }

    pub(super) fn max_of(dims: impl IntoIterator<Item = Dim>) -> Dim {
        let mut operands = Vec::new();
        for dim in dims {
            match dim.as_atom() {
                Some(Atom::Max(inner)) => operands.extend(inner.iter().cloned()),
                _ => operands.push(dim),
            }
        }
        undominated(&mut operands, |a, b| *b == i64::MIN || (a - b).provably_ge(0));
        match <[Dim; 1]>::try_from(operands) {
            Ok([only]) => only,
            Err(operands) => Dim::from_atom(Atom::Max(operands.into())),
        }
    }

    fn bounds(&self) -> Bounds {
        let poly = match &self.0 {
            Repr::Known(value) => return Bounds { low: Some(*value), high: Some(*value) },
            Repr::Expr(poly) => poly,
        };
        let mut sum = Bounds { low: Some(0), high: Some(0) };
        for (monomial, coefficient) in poly.terms() {
            let term = monomial.bounds();
            let scale = |bound: Option<i64>| bound.and_then(|b| b.checked_mul(coefficient));
            let (low, high) = match coefficient > 0 {
                true => (scale(term.low), scale(term.high)),
                false => (scale(term.high), scale(term.low)),
            };
            let add = |a: Option<i64>, b: Option<i64>| a?.checked_add(b?);
            sum = Bounds { low: add(sum.low, low), high: add(sum.high, high) };
        }
        sum
    }
}

/// Keeps the operands that no other one makes superfluous, sorted.
fn undominated(operands: &mut Vec<Dim>, wins: impl Fn(&Dim, &Dim) -> bool) {
    operands.sort_by(|a, b| b.form_order(a));
    operands.dedup();
    let mut at = 0;
    while at < operands.len() {
        let beaten = (0..operands.len()).any(|other| other != at && wins(&operands[other], &operands[at]));
        if beaten {
            operands.remove(at);
        } else {
            at += 1;
        }
    }
}

impl Monomial {
    fn bounds(&self) -> Bounds {
        let mut product = Bounds { low: Some(1), high: Some(1) };
        for (atom, power) in self.factors() {
            let factor = atom.bounds();
            for _ in 0..power {
                let nonnegative = |b: Bounds| b.low.is_some_and(|low| low >= 0);
                if !nonnegative(factor) || !nonnegative(product) {
                    return Bounds { low: None, high: None };
                }
                let times = |a: Option<i64>, b: Option<i64>| a?.checked_mul(b?);
                let low = times(product.low, factor.low).unwrap_or(0);
                let high = match (product.high, factor.high) {
                    (Some(0), _) | (_, Some(0)) => Some(0),
                    (a, b) => times(a, b),
                };
                product = Bounds { low: Some(low), high };
            }
        }
        product
    }
}

impl Atom {
    fn bounds(&self) -> Bounds {
        match self {
            Atom::Symbol(_) => Bounds { low: Some(0), high: None },
            Atom::FloorDiv(a, b) => quotient_bounds(a.bounds(), b.bounds()),
            Atom::Mod(_, b) => {
                let b = b.bounds();
                match b.low.is_some_and(|low| low >= 0) {
                    true => Bounds { low: Some(0), high: b.high.map(|high| high - 1) },
                    false => Bounds { low: None, high: None },
                }
            }
            Atom::Min(dims) => {
                let all: Vec<Bounds> = dims.iter().map(Dim::bounds).collect();
                Bounds {
                    low: all.iter().map(|b| b.low).min().flatten(),
                    high: all.iter().filter_map(|b| b.high).min(),
                }
            }
            Atom::Max(dims) => {
                let all: Vec<Bounds> = dims.iter().map(Dim::bounds).collect();
                let bounded = all.iter().all(|b| b.high.is_some());
                Bounds {
                    low: all.iter().filter_map(|b| b.low).max(),
                    high: all.iter().filter_map(|b| b.high).max().filter(|_| bounded),
                }
            }
        }
    }
}

/// A divisor that can only be zero or more is taken to be at least one: zero has no quotient.
fn quotient_bounds(a: Bounds, b: Bounds) -> Bounds {
    let Some(divisor_low) = b.low.filter(|&low| low >= 0).map(|low| low.max(1)) else {
        return Bounds { low: None, high: None };
    };
    let low = a.low.and_then(|low| match low >= 0 {
        true => Some(b.high.map_or(0, |high| low / high.max(1))),
        false => low.checked_div_euclid(divisor_low),
    });
    let high = a.high.and_then(|high| match high >= 0 {
        true => high.checked_div_euclid(divisor_low),
        false => Some(-1),
    });
    Bounds { low, high }
}
