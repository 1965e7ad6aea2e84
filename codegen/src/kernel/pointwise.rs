//! Kernels over a domain of points: maps, and rows, whose reductions run over some of the axes.
use super::body::{Body, Store, Value, ValueId, axes_of, list};
use super::index::{Atom, Index};
use sardonyx_tensor::{DType, Dim};
use std::fmt;

/// A function of every point of a domain, with one or several results.
#[derive(Clone, PartialEq, Debug)]
pub struct Map {
    /// The extents of the axes, the last the one that the stores run along.
    pub domain: Vec<Dim>,
    /// What is computed.
    pub body: Body,
    /// What is stored.
    pub stores: Vec<Store>,
}

/// How a reduction combines elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    /// The sum.
    Sum,
    /// The product.
    Prod,
    /// The greatest, NaN if one is; of bools, whether any holds.
    Max,
    /// The least, NaN if one is; of bools, whether all hold.
    Min,
}

/// A reduction of a value over the inner axes.
#[derive(Clone, PartialEq, Debug)]
pub struct Reduction {
    /// How elements are combined.
    pub combine: Combine,
    /// The element type of the result.
    pub dtype: DType,
    /// What is reduced.
    pub value: ValueId,
}

/// Reductions over the inner axes for every point of the outer axes, and functions of points and
/// reductions: softmax, normalizations, plain reductions.
///
/// A reduction may use those before it. A store whose value does not vary with the inner axes happens once
/// a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Rows {
    /// The extents of all axes in memory order.
    pub domain: Vec<Dim>,
    /// Which axes are reduced.
    pub inner: Vec<bool>,
    /// What is computed; accumulator `k` is the result of reduction `k`.
    pub body: Body,
    /// The reductions.
    pub reductions: Vec<Reduction>,
    /// What is stored.
    pub stores: Vec<Store>,
}

/// An axis of a domain under simplification: its extent and a class; only axes of one class merge.
type Axis = (Dim, bool);

impl Map {
    /// The same map with axes split and merged so that indices are as simple as possible.
    pub fn simplify(mut self) -> Map {
        let mut axes: Vec<Axis> = self.domain.into_iter().map(|d| (d, false)).collect();
        let mut roots: Vec<&mut ValueId> = self.stores.iter_mut().map(|s| &mut s.value).collect();
        self.body.prune(&mut roots);
        simplify(&mut axes, &mut self.body, &mut self.stores);
        self.domain = axes.into_iter().map(|(d, _)| d).collect();
        self
    }
}

impl Rows {
    /// The same rows with axes split and merged so that indices are as simple as possible.
    pub fn simplify(mut self) -> Rows {
        let mut axes: Vec<Axis> = self.domain.into_iter().zip(self.inner).collect();
        let stores = self.stores.iter_mut().map(|s| &mut s.value);
        let mut roots: Vec<&mut ValueId> =
            stores.chain(self.reductions.iter_mut().map(|r| &mut r.value)).collect();
        self.body.prune(&mut roots);
        simplify(&mut axes, &mut self.body, &mut self.stores);
        (self.domain, self.inner) = axes.into_iter().unzip();
        self
    }
    /// The set of the outer axes.
    pub fn outer_axes(&self) -> u64 {
        (0..self.domain.len()).filter(|&k| !self.inner[k]).fold(0, |set, k| set | 1 << k)
    }
    /// The number of reductions that must have run before a value can be computed at a point.
    pub fn depths(&self) -> Vec<usize> {
        let mut depths: Vec<usize> = Vec::with_capacity(self.body.values.len());
        for (id, (value, _)) in self.body.values.iter().enumerate() {
            let own =
                if let Value::Accumulator(k) = value { depths[self.reductions[*k].value] + 1 } else { 0 };
            depths.push(self.body.operands(id).into_iter().map(|o| depths[o]).fold(own, usize::max));
        }
        depths
    }
}

fn simplify(axes: &mut Vec<Axis>, body: &mut Body, stores: &mut [Store]) {
    while let Some((axis, by)) = split_point(axes, body, stores) {
        let mut new = axes.clone();
        let outer = axes[axis].0.exact_div(&by).expect("a split should be exact");
        new.splice(axis..=axis, [(outer, axes[axis].1), (by.clone(), axes[axis].1)]);
        let replace = |k: usize| match k {
            k if k < axis => Index::axis(k),
            k if k == axis => Index::axis(axis).scaled(&by).plus(&Index::axis(axis + 1)),
            k => Index::axis(k + 1),
        };
        replace_axes(axes, new, &replace, body, stores);
    }
    let mut k = 0;
    while k < axes.len() {
        if axes[k].0 == Dim::ONE {
            let mut new = axes.clone();
            new.remove(k);
            let replace = |i: usize| match i {
                i if i < k => Index::axis(i),
                i if i == k => Index::default(),
                i => Index::axis(i - 1),
            };
            replace_axes(axes, new, &replace, body, stores);
        } else {
            k += 1;
        }
    }
    let mut k = 0;
    while k + 1 < axes.len() {
        if !mergeable(axes, k, body, stores) {
            k += 1;
            continue;
        }
        let mut new = axes.clone();
        new.splice(k..=k + 1, [(&axes[k].0 * &axes[k + 1].0, axes[k].1)]);
        // Where both axes stand, their terms are those of one position: the merged axis takes the inner one's.
        let replace = |i: usize| match i {
            i if i < k => Index::axis(i),
            i if i == k => Index::default(),
            i => Index::axis(i - 1),
        };
        replace_axes(axes, new, &replace, body, stores);
    }
}

/// An axis and a divisor of its extent by which an index divides its coordinate.
fn split_point(axes: &[Axis], body: &Body, stores: &[Store]) -> Option<(usize, Dim)> {
    let mut found = None;
    let mut look = |index: &Index| {
        index.visit(&mut |atom| {
            let (Atom::Div(inner, by) | Atom::Mod(inner, by)) = atom else { return };
            let [(Atom::Axis(k), c)] = &inner.terms[..] else { return };
            let whole = *c == Dim::ONE && inner.constant == Dim::ZERO;
            if whole && *by != axes[*k].0 && axes[*k].0.exact_div(by).is_some() {
                found.get_or_insert((*k, by.clone()));
            }
        });
    };
    (0..body.values.len()).filter_map(|id| body.index(id)).for_each(&mut look);
    stores.iter().map(|s| &s.index).for_each(look);
    found
}

fn mergeable(axes: &[Axis], k: usize, body: &Body, stores: &[Store]) -> bool {
    let fits = |index: &Index| match (index.coefficient(k), index.coefficient(k + 1)) {
        (Some(outer), Some(inner)) => outer == &inner * &axes[k + 1].0,
        _ => false,
    };
    axes[k].1 == axes[k + 1].1
        && (0..body.values.len()).filter_map(|id| body.index(id)).all(fits)
        && stores.iter().all(|s| fits(&s.index))
}

fn replace_axes(
    axes: &mut Vec<Axis>,
    new: Vec<Axis>,
    replace: &dyn Fn(usize) -> Index,
    body: &mut Body,
    stores: &mut [Store],
) {
    let extents: Vec<Dim> = new.iter().map(|(d, _)| d.clone()).collect();
    for id in 0..body.values.len() {
        if let Some(index) = body.index_mut(id) {
            *index = index.substitute(replace, &extents);
        }
    }
    stores.iter_mut().for_each(|s| s.index = s.index.substitute(replace, &extents));
    *axes = new;
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "map {} {{\n{}", list(&self.domain), self.body.to_string().trim_end())?;
        self.stores.iter().try_for_each(|s| writeln!(f, "{s}"))?;
        f.write_str("}")
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self
            .domain
            .iter()
            .zip(&self.inner)
            .map(|(d, inner)| if *inner { format!("reduced {d}") } else { d.to_string() })
            .collect();
        writeln!(f, "rows [{}] {{\n{}", axes.join(", "), self.body.to_string().trim_end())?;
        for (k, r) in self.reductions.iter().enumerate() {
            writeln!(f, "  acc{k}: {} = {:?} v{}", r.dtype, r.combine, r.value)?;
        }
        self.stores.iter().try_for_each(|s| writeln!(f, "{s}"))?;
        f.write_str("}")
    }
}

/// The set of axes that a store's place varies with.
pub fn store_axes(store: &Store, values: &[u64]) -> u64 {
    axes_of(&store.index, values) | values[store.value]
}
