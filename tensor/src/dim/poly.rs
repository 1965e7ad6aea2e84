//! The normal form: a sum of monomials with non-zero coefficients, in descending graded lexicographic order.

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Dim, Repr};

/// Nodes an expression may have before it saturates. Real models stay under a hundred; the limit keeps
/// hostile ones from growing exponentially.
pub(super) const SIZE_LIMIT: usize = 4096;
/// The highest total degree of a monomial.
const DEGREE_LIMIT: u32 = 64;

/// What a polynomial is over.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Atom {
    Symbol(Arc<str>),
    /// The quotient rounded towards minus infinity.
    FloorDiv(Dim, Dim),
    /// The remainder of the floor division.
    Mod(Dim, Dim),
    /// The least of at least two operands, sorted, none a `Min`.
    Min(Box<[Dim]>),
    /// The greatest of at least two operands, sorted, none a `Max`.
    Max(Box<[Dim]>),
}

impl Atom {
    pub fn operands(&self) -> SmallVec<[&Dim; 2]> {
        match self {
            Atom::Symbol(_) => SmallVec::new(),
            Atom::FloorDiv(a, b) | Atom::Mod(a, b) => SmallVec::from_iter([a, b]),
            Atom::Min(dims) | Atom::Max(dims) => dims.iter().collect(),
        }
    }

    fn rank(&self) -> (u8, &str) {
        match self {
            Atom::Symbol(name) => (0, name),
            Atom::FloorDiv(..) => (1, ""),
            Atom::Mod(..) => (2, ""),
            Atom::Min(_) => (3, ""),
            Atom::Max(_) => (4, ""),
        }
    }

    fn size(&self) -> usize {
        1 + self.operands().iter().map(|operand| operand.size()).sum::<usize>()
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Atom) -> Ordering {
        let operands =
            |atom: &Atom| -> Vec<Repr> { atom.operands().iter().map(|dim| dim.0.clone()).collect() };
        self.rank().cmp(&other.rank()).then_with(|| operands(self).cmp(&operands(other)))
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Atom) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Dim {
    /// The order of the normal form.
    pub(super) fn form_order(&self, other: &Dim) -> Ordering {
        self.0.cmp(&other.0)
    }

    pub(super) fn size(&self) -> usize {
        match &self.0 {
            Repr::Known(_) => 1,
            Repr::Expr(poly) => poly.size(),
        }
    }
}

/// A product of powers of atoms, sorted by atom; empty for the constant.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Monomial(SmallVec<[(Atom, u32); 2]>);

impl Monomial {
    pub fn factors(&self) -> impl Iterator<Item = (&Atom, u32)> {
        self.0.iter().map(|(atom, power)| (atom, *power))
    }

    pub fn is_constant(&self) -> bool {
        self.0.is_empty()
    }

    fn degree(&self) -> u32 {
        self.0.iter().map(|(_, power)| power).sum()
    }

    fn times(&self, other: &Monomial) -> Option<Monomial> {
        let mut factors = self.0.clone();
        for (atom, power) in other.factors() {
            match factors.binary_search_by(|(a, _)| a.cmp(atom)) {
                Ok(at) => factors[at].1 += power,
                Err(at) => factors.insert(at, (atom.clone(), power)),
            }
        }
        let product = Monomial(factors);
        (product.degree() <= DEGREE_LIMIT).then_some(product)
    }

    /// The quotient, where `other` divides this.
    fn divided_by(&self, other: &Monomial) -> Option<Monomial> {
        let mut factors = self.0.clone();
        for (atom, power) in other.factors() {
            let at = factors.binary_search_by(|(a, _)| a.cmp(atom)).ok()?;
            factors[at].1 = factors[at].1.checked_sub(power)?;
        }
        factors.retain(|(_, power)| *power > 0);
        Some(Monomial(factors))
    }

    fn common(&self, other: &Monomial) -> Monomial {
        let shared = |(atom, power): &(Atom, u32)| {
            let at = other.0.binary_search_by(|(a, _)| a.cmp(atom)).ok()?;
            Some((atom.clone(), (*power).min(other.0[at].1)))
        };
        Monomial(self.0.iter().filter_map(shared).collect())
    }
}

impl Ord for Monomial {
    /// Graded lexicographic: compatible with multiplication, as exact division needs.
    fn cmp(&self, other: &Monomial) -> Ordering {
        self.degree().cmp(&other.degree()).then_with(|| {
            for ((a, p), (b, q)) in self.factors().zip(other.factors()) {
                let order = b.cmp(a).then(p.cmp(&q));
                if order.is_ne() {
                    return order;
                }
            }
            self.0.len().cmp(&other.0.len())
        })
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Monomial) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A polynomial: terms in descending order of monomials, no zero coefficients.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Poly(SmallVec<[(Monomial, i64); 2]>);

impl Poly {
    pub fn from_constant(value: i64) -> Poly {
        let mut poly = Poly::default();
        poly.add_term(Monomial::default(), value);
        poly
    }

    pub fn atom(atom: Atom) -> Poly {
        Poly(SmallVec::from_iter([(Monomial(SmallVec::from_iter([(atom, 1)])), 1)]))
    }

    pub fn terms(&self) -> impl Iterator<Item = (&Monomial, i64)> {
        self.0.iter().map(|(monomial, coefficient)| (monomial, *coefficient))
    }

    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        self.0.iter().flat_map(|(monomial, _)| monomial.0.iter().map(|(atom, _)| atom))
    }

    pub fn constant(&self) -> Option<i64> {
        match self.0.as_slice() {
            [] => Some(0),
            [(monomial, value)] if monomial.is_constant() => Some(*value),
            _ => None,
        }
    }

    pub fn as_atom(&self) -> Option<&Atom> {
        match self.0.as_slice() {
            [(monomial, 1)] => match monomial.0.as_slice() {
                [(atom, 1)] => Some(atom),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn size(&self) -> usize {
        self.0.len() + self.atoms().map(Atom::size).sum::<usize>()
    }

    pub fn add_term(&mut self, monomial: Monomial, coefficient: i64) {
        match self.0.binary_search_by(|(m, _)| monomial.cmp(m)) {
            Ok(at) => {
                self.0[at].1 = self.0[at].1.saturating_add(coefficient);
                if self.0[at].1 == 0 {
                    self.0.remove(at);
                }
            }
            Err(at) if coefficient != 0 => self.0.insert(at, (monomial, coefficient)),
            Err(_) => {}
        }
    }

    /// `self + scale * other`.
    pub fn plus(mut self, other: &Poly, scale: i64) -> Poly {
        for (monomial, coefficient) in other.terms() {
            self.add_term(monomial.clone(), coefficient.saturating_mul(scale));
        }
        self
    }

    /// The product; `None` where it would be too large.
    pub fn times(&self, other: &Poly) -> Option<Poly> {
        let mut product = Poly::default();
        if self.0.len() * other.0.len() > SIZE_LIMIT {
            return None;
        }
        for (a, x) in self.terms() {
            for (b, y) in other.terms() {
                product.add_term(a.times(b)?, x.saturating_mul(y));
            }
        }
        Some(product)
    }

    /// The quotient, where it is a polynomial with integer coefficients. `divisor` is not zero.
    pub fn divided_by(&self, divisor: &Poly) -> Option<Poly> {
        let (lead, scale) = divisor.0.first()?;
        let (mut rest, mut quotient) = (self.clone(), Poly::default());
        for _ in 0..SIZE_LIMIT {
            let Some((monomial, coefficient)) = rest.0.first() else { return Some(quotient) };
            if coefficient.checked_rem(*scale)? != 0 {
                return None;
            }
            let factor = coefficient / scale;
            let step = monomial.divided_by(lead)?;
            for (m, c) in divisor.terms() {
                rest.add_term(m.times(&step)?, c.checked_mul(factor)?.checked_neg()?);
            }
            quotient.add_term(step, factor);
        }
        None
    }

    /// The greatest monomial that divides every term of both.
    pub fn common_monomial(&self, other: &Poly) -> Monomial {
        let mut all = self.0.iter().chain(&other.0).map(|(monomial, _)| monomial);
        let first = all.next().cloned().unwrap_or_default();
        all.fold(first, |common, monomial| common.common(monomial))
    }

    /// Every term divided by a monomial that divides it.
    pub fn without(&self, monomial: &Monomial) -> Option<Poly> {
        self.terms().map(|(m, c)| Some((m.divided_by(monomial)?, c))).collect::<Option<_>>().map(Poly)
    }
}
