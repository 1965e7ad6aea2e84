//! Index maps: where an element of a domain stands, as an expression over the domain's axes.
//!
//! An index is affine in its atoms: the axes, quotients and remainders that a reshape left behind, and
//! values of the kernel (the indices of a gather). Quotients and remainders are simplified with the extents
//! of the axes, so that a reshape which splits or merges neighbouring axes leaves no division.
use super::body::ValueId;
use sardonyx_tensor::Dim;
use std::fmt;

/// `constant + Σ coefficient · atom`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Index {
    /// The atoms with their coefficients, each atom once.
    pub terms: Vec<(Atom, Dim)>,
    /// What is added.
    pub constant: Dim,
}

/// What an index is made of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Atom {
    /// The coordinate along an axis of the domain.
    Axis(usize),
    /// The quotient of an index, which is not negative, and a positive divisor.
    Div(Box<Index>, Dim),
    /// The remainder of that division.
    Mod(Box<Index>, Dim),
    /// A value of the kernel, at least 0 and less than the bound.
    Value(ValueId, Dim),
}

impl Index {
    /// The same index everywhere.
    pub fn constant(value: impl Into<Dim>) -> Index {
        Index { terms: Vec::new(), constant: value.into() }
    }
    /// The coordinate along an axis.
    pub fn axis(axis: usize) -> Index {
        Index::atom(Atom::Axis(axis))
    }
    /// A value of the kernel in `0..bound`.
    pub fn value(id: ValueId, bound: Dim) -> Index {
        Index::atom(Atom::Value(id, bound))
    }
    fn atom(atom: Atom) -> Index {
        Index { terms: vec![(atom, Dim::ONE)], constant: Dim::ZERO }
    }
    /// The coordinates of every point of a domain; an axis of extent 1 is 0.
    pub fn axes_of(extents: &[Dim]) -> Vec<Index> {
        let axis = |(k, e): (usize, &Dim)| if *e == Dim::ONE { Index::default() } else { Index::axis(k) };
        extents.iter().enumerate().map(axis).collect()
    }
    /// The position of coordinates under strides.
    pub fn position(coordinates: &[Index], strides: &[Dim]) -> Index {
        coordinates.iter().zip(strides).fold(Index::default(), |sum, (c, s)| sum.plus(&c.scaled(s)))
    }

    /// The sum of two indices.
    pub fn plus(&self, other: &Index) -> Index {
        let mut sum = self.clone();
        sum.constant += &other.constant;
        for (atom, c) in &other.terms {
            match sum.terms.iter_mut().find(|(a, _)| a == atom) {
                Some((_, mine)) => *mine += c,
                None => sum.terms.push((atom.clone(), c.clone())),
            }
        }
        sum.terms.retain(|(_, c)| *c != Dim::ZERO);
        sum
    }
    /// The index moved by a dimension.
    pub fn shifted(&self, by: &Dim) -> Index {
        Index { terms: self.terms.clone(), constant: &self.constant + by }
    }
    /// The product with a dimension.
    pub fn scaled(&self, by: &Dim) -> Index {
        if *by == Dim::ZERO {
            return Index::default();
        }
        let terms = self.terms.iter().map(|(a, c)| (a.clone(), c * by)).collect();
        Index { terms, constant: &self.constant * by }
    }

    /// The least and the greatest value over a domain, where they are known.
    pub fn range(&self, extents: &[Dim]) -> (Option<Dim>, Option<Dim>) {
        let (mut low, mut high) = (Some(self.constant.clone()), Some(self.constant.clone()));
        for (atom, c) in &self.terms {
            let top = atom.greatest(extents).map(|t| t * c);
            if c.provably_ge(0) {
                high = high.zip(top).map(|(h, t)| h + t);
            } else if c.provably_le(0) {
                low = low.zip(top).map(|(l, t)| l + t);
            } else {
                (low, high) = (None, None);
            }
        }
        (low, high)
    }
    /// Whether it is in `0..bound` for every point of the domain.
    pub fn within(&self, bound: &Dim, extents: &[Dim]) -> bool {
        self.not_negative(extents) && self.below(bound, extents)
    }
    /// Whether it is never negative.
    pub fn not_negative(&self, extents: &[Dim]) -> bool {
        self.range(extents).0.is_some_and(|low| low.provably_ge(0))
    }
    /// Whether it is always less than `bound`.
    pub fn below(&self, bound: &Dim, extents: &[Dim]) -> bool {
        self.range(extents).1.is_some_and(|high| (bound - 1 - high).provably_ge(0))
    }

    /// The quotient by a positive divisor; the index is not negative.
    pub fn div(&self, by: &Dim, extents: &[Dim]) -> Index {
        self.divided(by, extents).0
    }
    /// The remainder by a positive divisor; the index is not negative.
    pub fn rem(&self, by: &Dim, extents: &[Dim]) -> Index {
        self.divided(by, extents).1
    }
    /// The coordinates in `shape` of this position in row-major order.
    pub fn unravel(&self, shape: &[Dim], extents: &[Dim]) -> Vec<Index> {
        let mut rest = self.clone();
        let mut coordinates = vec![Index::default(); shape.len()];
        for (k, d) in shape.iter().enumerate().rev() {
            // An axis of size 0 has no coordinates; nothing is read through them.
            if *d == Dim::ONE || *d == Dim::ZERO {
                continue;
            }
            let outermost = shape[..k].iter().all(|d| *d == Dim::ONE);
            let (quotient, remainder) =
                if outermost { (Index::default(), rest) } else { rest.divided(d, extents) };
            (coordinates[k], rest) = (remainder, quotient);
        }
        coordinates
    }

    fn divided(&self, by: &Dim, extents: &[Dim]) -> (Index, Index) {
        if *by == Dim::ONE {
            return (self.clone(), Index::default());
        }
        let (quotient, rest) = self.split(by);
        if rest.within(by, extents) {
            return (quotient, rest);
        }
        for (_, c) in rest.terms.iter().filter(|(_, c)| c.known().is_none_or(|c| c > 1)) {
            let Some(outer) = by.exact_div(c) else { continue };
            let (high, low) = rest.split(c);
            if low.within(c, extents) {
                let (q, r) = high.divided(&outer, extents);
                return (quotient.plus(&q), r.scaled(c).plus(&low));
            }
        }
        let atom = |make: fn(Box<Index>, Dim) -> Atom| Index::atom(make(Box::new(rest.clone()), by.clone()));
        (quotient.plus(&atom(Atom::Div)), atom(Atom::Mod))
    }

    /// Itself as `quotient · by + rest`, where every term that `by` divides is in the quotient.
    fn split(&self, by: &Dim) -> (Index, Index) {
        let (mut quotient, mut rest) = (Index::default(), Index::default());
        for (atom, c) in &self.terms {
            match c.exact_div(by) {
                Some(q) => quotient.terms.push((atom.clone(), q)),
                None => rest.terms.push((atom.clone(), c.clone())),
            }
        }
        match (self.constant.exact_div(by), self.constant.known(), by.known()) {
            (Some(q), ..) => quotient.constant = q,
            (_, Some(c), Some(by)) => {
                quotient.constant = Dim::from(c.div_euclid(by));
                rest.constant = Dim::from(c.rem_euclid(by));
            }
            _ => rest.constant = self.constant.clone(),
        }
        (quotient, rest)
    }

    /// With every axis replaced; `extents` are those of the new domain.
    pub fn substitute(&self, axis: &dyn Fn(usize) -> Index, extents: &[Dim]) -> Index {
        self.terms.iter().fold(Index::constant(&self.constant), |sum, (atom, c)| {
            let value = match atom {
                Atom::Axis(k) => axis(*k),
                Atom::Div(a, d) => a.substitute(axis, extents).div(d, extents),
                Atom::Mod(a, d) => a.substitute(axis, extents).rem(d, extents),
                Atom::Value(..) => Index::atom(atom.clone()),
            };
            sum.plus(&value.scaled(c))
        })
    }

    /// The coefficient of an axis; `None` if the axis also occurs inside of a division.
    pub fn coefficient(&self, axis: usize) -> Option<Dim> {
        let mut found = Dim::ZERO;
        for (atom, c) in &self.terms {
            match atom {
                Atom::Axis(k) if *k == axis => found = c.clone(),
                Atom::Div(a, _) | Atom::Mod(a, _) if a.uses_axis(axis) => return None,
                _ => {}
            }
        }
        Some(found)
    }
    /// Whether the index depends on an axis, values apart.
    pub fn uses_axis(&self, axis: usize) -> bool {
        let mut found = false;
        self.visit(&mut |atom| found |= matches!(atom, Atom::Axis(k) if *k == axis));
        found
    }
    /// Calls `f` on every atom, those inside of divisions too.
    pub fn visit(&self, f: &mut dyn FnMut(&Atom)) {
        for (atom, _) in &self.terms {
            f(atom);
            if let Atom::Div(a, _) | Atom::Mod(a, _) = atom {
                a.visit(f);
            }
        }
    }
    /// The strides over the axes of the domain and the offset, if it is affine in the axes alone.
    pub fn affine(&self, rank: usize) -> Option<(Vec<Dim>, Dim)> {
        let mut strides = vec![Dim::ZERO; rank];
        for (atom, c) in &self.terms {
            let Atom::Axis(k) = atom else { return None };
            strides[*k] = c.clone();
        }
        Some((strides, self.constant.clone()))
    }
}

impl Atom {
    fn greatest(&self, extents: &[Dim]) -> Option<Dim> {
        match self {
            Atom::Axis(k) => Some(&extents[*k] - 1),
            Atom::Value(_, bound) => Some(bound - 1),
            Atom::Mod(_, d) => Some(d - 1),
            Atom::Div(a, d) => a.range(extents).1.map(|high| high.floor_div(d)),
        }
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for (atom, c) in &self.terms {
            let factor = match c {
                c if *c == Dim::ONE => String::new(),
                c if c.is_known() || c.as_symbol().is_some() => format!("*{c}"),
                c => format!("*({c})"),
            };
            parts.push(format!("{atom}{factor}"));
        }
        if self.constant != Dim::ZERO || parts.is_empty() {
            parts.push(self.constant.to_string());
        }
        f.write_str(&parts.join(" + "))
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Axis(k) => write!(f, "i{k}"),
            Atom::Div(a, d) => write!(f, "(({a}) / ({d}))"),
            Atom::Mod(a, d) => write!(f, "(({a}) % ({d}))"),
            Atom::Value(id, _) => write!(f, "v{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(text: &[&str]) -> Vec<Dim> {
        text.iter().map(|t| t.parse().expect("a dimension")).collect()
    }
    fn reshaped(from: &[&str], to: &[&str]) -> Vec<String> {
        let (from, to) = (dims(from), dims(to));
        let strides = crate::kernel::row_major(&from);
        let linear = Index::position(&Index::axes_of(&from), &strides);
        linear.unravel(&to, &from).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn merging_and_splitting_axes_leaves_no_division() {
        assert_eq!(reshaped(&["b", "s", "12", "64"], &["b", "s", "768"]), ["i0", "i1", "i2*64 + i3"]);
        assert_eq!(reshaped(&["b", "s", "12", "64"], &["b*s", "768"]), ["i0*s + i1", "i2*64 + i3"]);
        assert_eq!(reshaped(&["b", "1", "s"], &["1", "b", "s", "1"]), ["0", "i0", "i2", "0"]);
        assert_eq!(reshaped(&["24", "64"], &["2", "768"]), ["((i0) / (12))", "((i0) % (12))*64 + i1"]);
    }
}
