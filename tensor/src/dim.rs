//! Symbolic dimensions: a number, a name, or an expression in polynomial normal form.
//!
//! A `Dim` that is not a known number is a polynomial with `i64` coefficients over atoms: symbols, floor
//! divisions, remainders, minima and maxima. Two equal polynomials are equal values, so `Dim`s are compared
//! with `==`. Symbols stand for sizes: they are at least zero. There is no `Ord`: the order of the normal form
//! is not that of sizes ([`Dim::compare`]), and `Ord::min` would hide [`Dim::min`].
//!
//! Arithmetic never panics: what does not fit `i64`, or would need an expression of more than
//! `SIZE_LIMIT` nodes, saturates at the ends of `i64`: sizes that no allocation reaches.

mod divide;
mod eval;
mod order;
mod poly;
mod solve;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

pub use eval::{Bindings, DimError};
use poly::{Atom, Poly};
pub use solve::Equalities;

/// A dimension, a size or an index: an integer that may depend on symbols.
///
/// ```
/// use sardonyx_tensor::Dim;
/// let b = Dim::symbol("b");
/// let elements = &b * 12 * Dim::symbol("s");
/// assert_eq!(elements.to_string(), "b*s*12");
/// assert_eq!(elements.floor_div(&(b * 4)).to_string(), "s*3");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Known(i64),
    /// Never a constant polynomial.
    Expr(Arc<Poly>),
}

impl Dim {
    /// Zero.
    pub const ZERO: Dim = Dim(Repr::Known(0));
    /// One.
    pub const ONE: Dim = Dim(Repr::Known(1));

    /// The symbol of this name. Any text is a name; unusual ones are quoted when printed.
    pub fn symbol(name: &str) -> Dim {
        Dim::from_atom(Atom::Symbol(name.into()))
    }

    /// The number, where this is one.
    pub fn known(&self) -> Option<i64> {
        match self.0 {
            Repr::Known(value) => Some(value),
            Repr::Expr(_) => None,
        }
    }

    /// Whether this is a number.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    /// The name, where this is a single symbol.
    pub fn as_symbol(&self) -> Option<&str> {
        match self.as_atom()? {
            Atom::Symbol(name) => Some(name),
            _ => None,
        }
    }

    /// The names of all symbols in this, sorted.
    pub fn symbols(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.visit_symbols(&mut |name| {
            if !names.contains(name) {
                names.insert(name.to_string());
            }
        });
        names
    }

    /// Replaces symbols: those for which `value` gives `None` stay.
    pub fn substitute(&self, value: impl Fn(&str) -> Option<Dim>) -> Dim {
        self.substitute_with(&value)
    }

    /// The product of dimensions: the number of elements of a shape.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::ONE, |product, dim| product * dim)
    }

    fn visit_symbols(&self, visit: &mut dyn FnMut(&str)) {
        let Repr::Expr(poly) = &self.0 else { return };
        for atom in poly.atoms() {
            match atom {
                Atom::Symbol(name) => visit(name),
                other => other.operands().iter().for_each(|operand| operand.visit_symbols(visit)),
            }
        }
    }

    fn substitute_with(&self, value: &dyn Fn(&str) -> Option<Dim>) -> Dim {
        self.map_atoms(&|atom| match atom {
            Atom::Symbol(name) => value(name),
            _ => None,
        })
    }

    /// Replaces atoms, innermost first: those for which `value` gives `None` stay.
    fn map_atoms(&self, value: &dyn Fn(&Atom) -> Option<Dim>) -> Dim {
        let Repr::Expr(poly) = &self.0 else { return self.clone() };
        let mut sum = Dim::ZERO;
        for (monomial, coefficient) in poly.terms() {
            let mut product = Dim::from(coefficient);
            for (atom, power) in monomial.factors() {
                let factor = match atom {
                    Atom::Symbol(_) => Dim::from_atom(atom.clone()),
                    Atom::FloorDiv(a, b) => a.map_atoms(value).floor_div(b.map_atoms(value)),
                    Atom::Mod(a, b) => a.map_atoms(value).modulo(b.map_atoms(value)),
                    Atom::Min(dims) => Dim::min_of(dims.iter().map(|d| d.map_atoms(value))),
                    Atom::Max(dims) => Dim::max_of(dims.iter().map(|d| d.map_atoms(value))),
                };
                let factor = factor.as_atom().and_then(value).unwrap_or(factor);
                for _ in 0..power {
                    product *= &factor;
                }
            }
            sum += product;
        }
        sum
    }

    fn from_atom(atom: Atom) -> Dim {
        Dim::from_poly(Poly::atom(atom))
    }

    /// The number, or the polynomial; a polynomial that grew too large saturates.
    fn from_poly(poly: Poly) -> Dim {
        match poly.constant() {
            Some(value) => Dim(Repr::Known(value)),
            None if poly.size() > poly::SIZE_LIMIT => Dim(Repr::Known(i64::MAX)),
            None => Dim(Repr::Expr(Arc::new(poly))),
        }
    }

    fn to_poly(&self) -> Poly {
        match &self.0 {
            Repr::Known(value) => Poly::from_constant(*value),
            Repr::Expr(poly) => (**poly).clone(),
        }
    }

    fn as_atom(&self) -> Option<&Atom> {
        match &self.0 {
            Repr::Known(_) => None,
            Repr::Expr(poly) => poly.as_atom(),
        }
    }

    fn plus(&self, other: &Dim) -> Dim {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => Dim(Repr::Known(a.saturating_add(*b))),
            (_, Repr::Known(0)) => self.clone(),
            (Repr::Known(0), _) => other.clone(),
            _ => Dim::from_poly(self.to_poly().plus(&other.to_poly(), 1)),
        }
    }

    fn minus(&self, other: &Dim) -> Dim {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => Dim(Repr::Known(a.saturating_sub(*b))),
            (_, Repr::Known(0)) => self.clone(),
            _ => Dim::from_poly(self.to_poly().plus(&other.to_poly(), -1)),
        }
    }

    fn times(&self, other: &Dim) -> Dim {
        match (&self.0, &other.0) {
            (Repr::Known(a), Repr::Known(b)) => Dim(Repr::Known(a.saturating_mul(*b))),
            (_, Repr::Known(1)) => self.clone(),
            (Repr::Known(1), _) => other.clone(),
            _ => match self.to_poly().times(&other.to_poly()) {
                Some(product) => Dim::from_poly(product),
                None => Dim(Repr::Known(i64::MAX)),
            },
        }
    }
}

impl Default for Dim {
    fn default() -> Self {
        Dim::ZERO
    }
}

macro_rules! from_integer {
    ($($int:ty),*) => {$(
        impl From<$int> for Dim {
            fn from(value: $int) -> Dim {
                Dim(Repr::Known(i64::try_from(value).unwrap_or(i64::MAX)))
            }
        }
    )*};
}
from_integer!(i64, i32, u32, usize, u64);

impl From<&Dim> for Dim {
    fn from(dim: &Dim) -> Dim {
        dim.clone()
    }
}

impl From<&str> for Dim {
    /// The symbol of this name; use `parse` for expressions.
    fn from(name: &str) -> Dim {
        Dim::symbol(name)
    }
}

impl PartialEq<i64> for Dim {
    fn eq(&self, other: &i64) -> bool {
        self.known() == Some(*other)
    }
}

macro_rules! operator {
    ($trait:ident $method:ident $assign_trait:ident $assign:ident $call:ident) => {
        operator!(@pair $trait $method $call, Dim, Dim, |a, b| (&a, &b));
        operator!(@pair $trait $method $call, Dim, &Dim, |a, b| (&a, b));
        operator!(@pair $trait $method $call, &Dim, Dim, |a, b| (a, &b));
        operator!(@pair $trait $method $call, &Dim, &Dim, |a, b| (a, b));
        operator!(@pair $trait $method $call, Dim, i64, |a, b| (&a, &Dim::from(b)));
        operator!(@pair $trait $method $call, &Dim, i64, |a, b| (a, &Dim::from(b)));
        operator!(@pair $trait $method $call, i64, Dim, |a, b| (&Dim::from(a), &b));
        operator!(@pair $trait $method $call, i64, &Dim, |a, b| (&Dim::from(a), b));
        impl<T: Into<Dim>> $assign_trait<T> for Dim {
            fn $assign(&mut self, other: T) {
                *self = (&*self).$call(&other.into());
            }
        }
    };
    (@pair $trait:ident $method:ident $call:ident, $left:ty, $right:ty, |$a:ident, $b:ident| ($x:expr, $y:expr)) => {
        impl $trait<$right> for $left {
            type Output = Dim;
            fn $method(self, other: $right) -> Dim {
                let ($a, $b) = (self, other);
                ($x).$call($y)
            }
        }
    };
}
operator!(Add add AddAssign add_assign plus);
operator!(Sub sub SubAssign sub_assign minus);
operator!(Mul mul MulAssign mul_assign times);

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::ZERO.minus(&self)
    }
}

impl Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::ZERO.minus(self)
    }
}

impl std::iter::Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(iter: I) -> Dim {
        iter.fold(Dim::ZERO, |sum, dim| sum + dim)
    }
}
