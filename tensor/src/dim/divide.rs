//! Division: floor, ceiling, remainder and exact, with the simplifications that shape arithmetic needs.

use super::eval::{floor_div, floor_mod};
use super::poly::{Atom, Poly};
use super::{Dim, Repr};

impl Dim {
    /// The quotient rounded towards minus infinity.
    ///
    /// Common factors cancel, so `(b*s*768) / (s*768)` is `b`; a constant divisor takes out what it divides,
    /// so `(a*k + r) / k` is `a` where `r` is provably in `0..k`.
    pub fn floor_div(&self, divisor: impl Into<Dim>) -> Dim {
        self.floor_div_by(&divisor.into())
    }

    /// The quotient rounded towards plus infinity.
    pub fn ceil_div(&self, divisor: impl Into<Dim>) -> Dim {
        let divisor = divisor.into();
        match self.exact_div(&divisor) {
            Some(quotient) => quotient,
            None => (self + &divisor - 1).floor_div_by(&divisor),
        }
    }

    /// What the floor division leaves.
    pub fn modulo(&self, divisor: impl Into<Dim>) -> Dim {
        self.modulo_by(&divisor.into())
    }

    /// The quotient, where the division leaves nothing for any value of the symbols (other than those that
    /// make the divisor zero).
    pub fn exact_div(&self, divisor: &Dim) -> Option<Dim> {
        match (&self.0, &divisor.0) {
            (_, Repr::Known(0)) => None,
            (Repr::Known(a), Repr::Known(b)) => (a.checked_rem(*b)? == 0).then(|| Dim::from(a / b)),
            (_, Repr::Known(1)) => Some(self.clone()),
            (Repr::Known(0), _) => Some(Dim::ZERO),
            _ => self.to_poly().divided_by(&divisor.to_poly()).map(Dim::from_poly),
        }
    }

    fn floor_div_by(&self, divisor: &Dim) -> Dim {
        if let (Repr::Known(a), Repr::Known(b)) = (&self.0, &divisor.0)
            && *b != 0
        {
            return Dim::from(floor_div(*a, *b).unwrap_or(i64::MAX));
        }
        if let Some(quotient) = self.exact_div(divisor) {
            return quotient;
        }
        match divisor.known() {
            Some(k) if k > 0 => self.floor_div_known(k),
            Some(_) => Dim::from_atom(Atom::FloorDiv(self.clone(), divisor.clone())),
            None => match self.without_common(divisor) {
                Some((a, b)) => a.floor_div_by(&b),
                None => Dim::from_atom(Atom::FloorDiv(self.clone(), divisor.clone())),
            },
        }
    }

    fn floor_div_known(&self, k: i64) -> Dim {
        let (whole, rest) = self.split_by(k);
        if !whole.is_zero() {
            return whole + rest.floor_div_by(&Dim::from(k));
        }
        if rest.provably_ge(0) && rest.provably_le(k - 1) {
            return Dim::ZERO;
        }
        let factor = rest.content().map_or(1, |content| gcd(content, k));
        if factor > 1 {
            return rest.floor_each(factor).floor_div_by(&Dim::from(k / factor));
        }
        if let Some(Atom::FloorDiv(a, b)) = rest.as_atom()
            && let Some(product) = b.known().filter(|&b| b > 0).and_then(|b| b.checked_mul(k))
        {
            return a.floor_div_by(&Dim::from(product));
        }
        Dim::from_atom(Atom::FloorDiv(rest, Dim::from(k)))
    }

    fn modulo_by(&self, divisor: &Dim) -> Dim {
        if let (Repr::Known(a), Repr::Known(b)) = (&self.0, &divisor.0)
            && *b != 0
        {
            return Dim::from(floor_mod(*a, *b).unwrap_or(0));
        }
        if self.exact_div(divisor).is_some() {
            return Dim::ZERO;
        }
        let Some(k) = divisor.known().filter(|&k| k > 0) else {
            return Dim::from_atom(Atom::Mod(self.clone(), divisor.clone()));
        };
        let (_, rest) = self.split_by(k);
        if rest.is_known() || (rest.provably_ge(0) && rest.provably_le(k - 1)) {
            return if rest.is_known() { rest.modulo_by(divisor) } else { rest };
        }
        Dim::from_atom(Atom::Mod(rest, divisor.clone()))
    }

    fn is_zero(&self) -> bool {
        self.known() == Some(0)
    }

    /// `(a, b)` with `self = a*k + b`, where `b` holds the terms that `k` does not divide and a constant in
    /// `0..k`.
    fn split_by(&self, k: i64) -> (Dim, Dim) {
        let (mut whole, mut rest) = (Poly::default(), Poly::default());
        for (monomial, coefficient) in self.to_poly().terms() {
            if coefficient % k == 0 || monomial.is_constant() {
                whole.add_term(monomial.clone(), coefficient.div_euclid(k));
                rest.add_term(monomial.clone(), coefficient.rem_euclid(k));
            } else {
                rest.add_term(monomial.clone(), coefficient);
            }
        }
        (Dim::from_poly(whole), Dim::from_poly(rest))
    }

    /// The greatest common divisor of the coefficients other than the constant.
    fn content(&self) -> Option<i64> {
        let poly = self.to_poly();
        let coefficients = poly.terms().filter(|(m, _)| !m.is_constant()).map(|(_, c)| c);
        coefficients.reduce(gcd)
    }

    /// Every coefficient divided by `factor`, rounded down; it divides all but the constant.
    fn floor_each(&self, factor: i64) -> Dim {
        let mut poly = Poly::default();
        for (monomial, coefficient) in self.to_poly().terms() {
            poly.add_term(monomial.clone(), coefficient.div_euclid(factor));
        }
        Dim::from_poly(poly)
    }

    /// Both without the monomial and the constant factor that divide both; `None` where there are none.
    fn without_common(&self, divisor: &Dim) -> Option<(Dim, Dim)> {
        let (a, b) = (self.to_poly(), divisor.to_poly());
        let common = a.common_monomial(&b);
        let factor = a.terms().chain(b.terms()).map(|(_, c)| c).reduce(gcd).unwrap_or(1);
        if common.is_constant() && factor <= 1 {
            return None;
        }
        let divide = |poly: Poly| -> Option<Dim> {
            Some(Dim::from_poly(poly.without(&common)?).floor_each(factor.max(1)))
        };
        Some((divide(a)?, divide(b)?))
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}
