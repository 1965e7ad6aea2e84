//! The values that a map or rows kernel computes at every point of its domain.
use super::index::{Atom, Index};
use sardonyx_ir::scalar::{Node, Scalar};
use sardonyx_tensor::{DType, Dim};
use std::fmt;

/// The number of a value in [`Body::values`].
pub type ValueId = usize;

/// A value at a point of the domain.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// An element of an argument; 0 where the guard does not hold.
    Load {
        /// The number of the argument.
        arg: usize,
        /// Which element.
        index: Index,
        /// A bool value.
        guard: Option<ValueId>,
    },
    /// A scalar function of earlier values.
    Apply {
        /// The function.
        f: Scalar,
        /// Its arguments.
        args: Vec<ValueId>,
    },
    /// An index, as an i64.
    Position(Index),
    /// What a reduction of the kernel gave for the row, or the sum of a contraction.
    Accumulator(usize),
}

/// Values, operands first, with their element types.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Body {
    /// The element types of the arguments that are read.
    pub args: Vec<DType>,
    /// The values.
    pub values: Vec<(Value, DType)>,
}

/// Where a value goes.
#[derive(Clone, PartialEq, Debug)]
pub struct Store {
    /// The number of the output.
    pub output: usize,
    /// The element type of the output.
    pub dtype: DType,
    /// Which element.
    pub index: Index,
    /// The value.
    pub value: ValueId,
}

impl Body {
    /// The number of the value, which is added if no equal one is there.
    pub fn add(&mut self, value: Value, dtype: DType) -> ValueId {
        let new = (value, dtype);
        if let Some(id) = self.values.iter().position(|v| *v == new) {
            return id;
        }
        self.values.push(new);
        self.values.len() - 1
    }
    /// The element type of a value.
    pub fn dtype(&self, id: ValueId) -> DType {
        self.values[id].1
    }
    /// The values that a value is computed from.
    pub fn operands(&self, id: ValueId) -> Vec<ValueId> {
        let mut ids = Vec::new();
        match &self.values[id].0 {
            Value::Load { index, guard, .. } => {
                ids.extend(*guard);
                index.visit(&mut |a| ids.extend(value_of(a)));
            }
            Value::Apply { args, .. } => ids.extend(args),
            Value::Position(index) => index.visit(&mut |a| ids.extend(value_of(a))),
            Value::Accumulator(_) => {}
        }
        ids
    }
    /// The index in a value, if it has one.
    pub fn index_mut(&mut self, id: ValueId) -> Option<&mut Index> {
        match &mut self.values[id].0 {
            Value::Load { index, .. } | Value::Position(index) => Some(index),
            _ => None,
        }
    }
    /// The index in a value, if it has one.
    pub fn index(&self, id: ValueId) -> Option<&Index> {
        match &self.values[id].0 {
            Value::Load { index, .. } | Value::Position(index) => Some(index),
            _ => None,
        }
    }
    /// For every value, the set of axes it varies with, an accumulator with those of `row`.
    pub fn axes(&self, row: u64) -> Vec<u64> {
        let mut axes: Vec<u64> = Vec::with_capacity(self.values.len());
        for (id, (value, _)) in self.values.iter().enumerate() {
            let mut set = if matches!(value, Value::Accumulator(_)) { row } else { 0 };
            if let Some(index) = self.index(id) {
                set |= axes_of(index, &axes);
            }
            for operand in self.operands(id) {
                set |= axes[operand];
            }
            axes.push(set);
        }
        axes
    }
    /// The values among `roots` and all they are computed from, operands first.
    pub fn needed(&self, roots: impl IntoIterator<Item = ValueId>) -> Vec<ValueId> {
        let mut marks = vec![false; self.values.len()];
        roots.into_iter().for_each(|r| marks[r] = true);
        for id in (0..self.values.len()).rev() {
            if marks[id] {
                self.operands(id).into_iter().for_each(|o| marks[o] = true);
            }
        }
        (0..marks.len()).filter(|&id| marks[id]).collect()
    }
    /// Removes what the roots do not need; `roots` are renumbered.
    pub fn prune(&mut self, roots: &mut [&mut ValueId]) {
        let needed = self.needed(roots.iter().map(|r| **r));
        let place = |id: ValueId| needed.binary_search(&id).expect("a root's operand should be needed");
        let mut values = Vec::with_capacity(needed.len());
        for &id in &needed {
            let (mut value, dtype) = self.values[id].clone();
            renumber(&mut value, &place);
            values.push((value, dtype));
        }
        roots.iter_mut().for_each(|r| **r = place(**r));
        self.values = values;
    }
    /// Floating-point operations at a point, a function such as `exp` counted as one.
    pub fn flops(&self) -> i64 {
        let count = |f: &Scalar| f.nodes.iter().filter(|n| matches!(n, Node::Prim(..))).count() as i64;
        self.values.iter().map(|(v, _)| if let Value::Apply { f, .. } = v { count(f) } else { 0 }).sum()
    }
}

fn value_of(atom: &Atom) -> Option<ValueId> {
    match atom {
        Atom::Value(id, _) => Some(*id),
        _ => None,
    }
}

/// The axes an index varies with, given those of earlier values.
pub fn axes_of(index: &Index, values: &[u64]) -> u64 {
    let mut set = 0;
    index.visit(&mut |atom| match atom {
        Atom::Axis(k) => set |= 1 << k,
        Atom::Value(id, _) => set |= values[*id],
        _ => {}
    });
    set
}

fn renumber(value: &mut Value, place: &dyn Fn(ValueId) -> ValueId) {
    match value {
        Value::Load { index, guard, .. } => {
            index.renumber(place);
            *guard = guard.map(place);
        }
        Value::Apply { args, .. } => args.iter_mut().for_each(|a| *a = place(*a)),
        Value::Position(index) => index.renumber(place),
        Value::Accumulator(_) => {}
    }
}

impl Index {
    /// Gives the values it uses new numbers.
    pub fn renumber(&mut self, place: &dyn Fn(ValueId) -> ValueId) {
        for (atom, _) in &mut self.terms {
            match atom {
                Atom::Value(id, _) => *id = place(*id),
                Atom::Div(a, _) | Atom::Mod(a, _) => a.renumber(place),
                Atom::Axis(_) => {}
            }
        }
    }
}

/// The text of a scalar function of named arguments.
pub fn show(f: &Scalar, args: &[String]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(f.nodes.len());
    for n in &f.nodes {
        texts.push(match n {
            Node::Arg(i) => args[*i].clone(),
            Node::Num(x) => format!("{x:?}"),
            Node::Cast(t, a) => format!("{t}({})", texts[*a]),
            Node::Prim(p, a) => {
                let list: Vec<&str> = a.iter().map(|&i| texts[i].as_str()).collect();
                format!("{}({})", p.name(), list.join(", "))
            }
        });
    }
    texts.swap_remove(f.root)
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, (value, dtype)) in self.values.iter().enumerate() {
            let text = match value {
                Value::Load { arg, index, guard } => {
                    let guard = guard.map_or(String::new(), |g| format!(" where v{g}"));
                    format!("in{arg}: {}[{index}]{guard}", self.args[*arg])
                }
                Value::Apply { f, args } => {
                    show(f, &args.iter().map(|a| format!("v{a}")).collect::<Vec<_>>())
                }
                Value::Position(index) => index.to_string(),
                Value::Accumulator(k) => format!("acc{k}"),
            };
            writeln!(f, "  v{id}: {dtype} = {text}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  out{}: {}[{}] = v{}", self.output, self.dtype, self.index, self.value)
    }
}

/// A domain as text: `[b,128]`.
pub fn list(dims: &[Dim]) -> String {
    format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(","))
}
