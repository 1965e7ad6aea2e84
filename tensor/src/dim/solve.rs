//! One form for dimensions that are required to be equal.

use std::collections::VecDeque;

use super::Dim;
use super::poly::Atom;

/// Replacements that make dimensions the same which are required to be equal: of symbols, and of other
/// atoms where an equation has no symbol to solve for.
///
/// ```
/// use sardonyx_tensor::{Dim, Equalities};
/// let dim = |text: &str| text.parse::<Dim>().unwrap();
/// let equal = Equalities::solve([(dim("n"), dim("p + s")), (dim("s"), dim("min(s, 128)"))], &|_| true);
/// assert_eq!(equal.apply(&dim("n - p")), dim("s"));
/// assert_eq!(equal.apply(&dim("min(s, 128) * 4")), dim("s * 4"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Equalities {
    replaced: Vec<(Atom, Dim)>,
}

impl Equalities {
    /// Solves pairs of dimensions that are equal. Symbols for which `given` holds are known before the others,
    /// and are never replaced by them.
    pub fn solve(pairs: impl IntoIterator<Item = (Dim, Dim)>, given: &dyn Fn(&str) -> bool) -> Equalities {
        let mut solved = Equalities::default();
        let mut open: VecDeque<(Dim, Dim)> = pairs.into_iter().collect();
        let mut steps = 100 + 10 * open.len();
        while let Some((left, right)) = open.pop_front() {
            let difference = solved.apply(&left) - solved.apply(&right);
            let Some((atom, value)) = solution(&difference, given) else { continue };
            if steps == 0 {
                break;
            }
            steps -= 1;
            solved.insert(atom, value, &mut open);
        }
        solved
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
    }

    /// The dimension in its one form.
    pub fn apply(&self, dim: &Dim) -> Dim {
        dim.map_atoms(&|atom| self.replaced.iter().find(|(a, _)| a == atom).map(|(_, value)| value.clone()))
    }

    /// Adds a replacement and applies it to the others; those whose left side it changes are open again.
    fn insert(&mut self, atom: Atom, value: Dim, open: &mut VecDeque<(Dim, Dim)>) {
        let new = Equalities { replaced: vec![(atom, value)] };
        let mut kept = Vec::with_capacity(self.replaced.len() + 1);
        for (a, v) in self.replaced.drain(..) {
            let (left, v) = (Dim::from_atom(a.clone()), new.apply(&v));
            match new.apply(&left) {
                same if same == left => kept.push((a, v)),
                other => open.push_back((other, v)),
            }
        }
        self.replaced = kept;
        self.replaced.extend(new.replaced);
    }
}

/// An atom of `difference`, which is 0, and what it equals. Symbols that are not given come first, then given
/// ones, then other atoms; among those, the ones whose value cannot seem negative.
fn solution(difference: &Dim, given: &dyn Fn(&str) -> bool) -> Option<(Atom, Dim)> {
    let poly = difference.to_poly();
    let mut candidates: Vec<((u8, bool), Atom, Dim)> = Vec::new();
    for (monomial, coefficient) in poly.terms() {
        let mut factors = monomial.factors();
        let (Some((atom, 1)), None, 1 | -1) = (factors.next(), factors.next(), coefficient) else { continue };
        let this = Dim::from_atom(atom.clone());
        let value = if coefficient == 1 { &this - difference } else { &this + difference };
        let all_given = value.symbols().iter().all(|s| given(s));
        let order = match atom {
            Atom::Symbol(name) if !given(name) => 0,
            Atom::Symbol(_) if all_given => 1,
            Atom::Symbol(_) => continue,
            _ if all_given => 2,
            _ => continue,
        };
        if !contains(&value, atom) {
            candidates.push(((order, !value.provably_ge(0)), atom.clone(), value));
        }
    }
    candidates
        .into_iter()
        .max_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)))
        .map(|(_, atom, value)| (atom, value))
}

fn contains(dim: &Dim, atom: &Atom) -> bool {
    let poly = dim.to_poly();
    poly.atoms().any(|a| a == atom || a.operands().iter().any(|d| contains(d, atom)))
}
