//! Ensembles of decision trees as the op `trees`: every comparison becomes one or two nodes of `x <= split`.
use super::super::super::context::{Built, Context};
use super::super::super::error::{Fault, invalid, unsupported};
use sardonyx_ir::ops::attribute::Reduction;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Tensor};

/// What a branch asks of its feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    LessEqual,
    Less,
    GreaterEqual,
    Greater,
    Equal,
    NotEqual,
    /// To be one of several numbers.
    Member,
}

impl Mode {
    /// By its number in TreeEnsemble.
    pub fn numbered(number: i64) -> Built<Mode> {
        use Mode::{Equal, Greater, GreaterEqual, Less, LessEqual, Member, NotEqual};
        let all = [LessEqual, Less, GreaterEqual, Greater, Equal, NotEqual, Member];
        match usize::try_from(number).ok().and_then(|i| all.get(i)) {
            Some(mode) => Ok(*mode),
            None => invalid(format!("a node of mode {number}")),
        }
    }
    /// By its name in the older operators; `None` for a leaf.
    pub fn named(name: &str) -> Built<Option<Mode>> {
        Ok(Some(match name {
            "LEAF" => return Ok(None),
            "BRANCH_LEQ" => Mode::LessEqual,
            "BRANCH_LT" => Mode::Less,
            "BRANCH_GTE" => Mode::GreaterEqual,
            "BRANCH_GT" => Mode::Greater,
            "BRANCH_EQ" => Mode::Equal,
            "BRANCH_NEQ" => Mode::NotEqual,
            other => return unsupported(format!("nodes of mode `{other}`")),
        }))
    }
}

/// What follows a branch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Node(usize),
    Leaf(usize),
}

/// A branch as the model has it.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub feature: i64,
    pub mode: Mode,
    /// The number it compares with; several for [`Mode::Member`].
    pub splits: Vec<f64>,
    /// Whether NaN goes where the comparison holds.
    pub missing: bool,
    pub holds: Next,
    pub fails: Next,
}

/// How the leaves of a row are put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aggregate {
    Average,
    Sum,
    Min,
    Max,
}

impl Aggregate {
    /// By its number in TreeEnsemble.
    pub fn numbered(number: i64) -> Built<Aggregate> {
        let all = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
        match usize::try_from(number).ok().and_then(|i| all.get(i)) {
            Some(aggregate) => Ok(*aggregate),
            None => invalid(format!("aggregate_function {number}")),
        }
    }
    /// By its name in TreeEnsembleRegressor.
    pub fn named(name: &str) -> Built<Aggregate> {
        Ok(match name {
            "AVERAGE" => Aggregate::Average,
            "SUM" => Aggregate::Sum,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            other => return invalid(format!("aggregate_function `{other}`")),
        })
    }
}

/// An ensemble as the model has it.
#[derive(Debug, Default)]
pub(super) struct Forest {
    /// `None` where the older operators number a leaf.
    pub nodes: Vec<Option<Branch>>,
    /// Targets and weights of each leaf.
    pub leaves: Vec<Vec<(i64, f64)>>,
    pub roots: Vec<Next>,
}

/// The tables of the op.
struct Tables<'a> {
    forest: &'a Forest,
    width: i64,
    /// The type of the features, in which splits are compared.
    dtype: DType,
    nodes: Vec<[i64; 4]>,
    splits: Vec<f64>,
    roots: Vec<i64>,
    seen: Vec<bool>,
}

/// A place in the tables that names what follows.
#[derive(Clone, Copy)]
enum Slot {
    Root(usize),
    /// Where the comparison of a node holds, or fails.
    Holds(usize),
    Fails(usize),
}

impl Tables<'_> {
    fn set(&mut self, slot: Slot, value: i64) {
        match slot {
            Slot::Root(i) => self.roots[i] = value,
            Slot::Holds(i) => self.nodes[i][2] = value,
            Slot::Fails(i) => self.nodes[i][3] = value,
        }
    }
    /// The greatest number below this one in the type of the features; nothing is below the least.
    fn below(&self, x: f64) -> f64 {
        let next = if self.dtype == DType::F64 { x.next_down() } else { f64::from((x as f32).next_down()) };
        if next < x { next } else { f64::NAN }
    }
    fn push(&mut self, feature: i64, split: f64, missing: bool) -> usize {
        self.nodes.push([feature, i64::from(missing), 0, 0]);
        self.splits.push(split);
        self.nodes.len() - 1
    }
    /// `x == split`: `x <= split`, and not `x <=` the number below. Returns the first node, then where it goes.
    fn equal(&mut self, feature: i64, split: f64, missing: bool) -> (usize, Slot, [Slot; 2]) {
        let first = self.push(feature, split, missing);
        let second = self.push(feature, self.below(split), false);
        self.nodes[first][2] = second as i64;
        (first, Slot::Fails(second), [Slot::Fails(first), Slot::Holds(second)])
    }

    /// Lays out a tree, every node behind the one that leads to it.
    fn tree(&mut self, root: usize) -> Result<(), Fault> {
        let mut open: Vec<(Next, Vec<Slot>)> = vec![(self.forest.roots[root], vec![Slot::Root(root)])];
        while let Some((next, slots)) = open.pop() {
            let forest = self.forest;
            let (index, leaf) = match next {
                Next::Leaf(leaf) => (0, Some(leaf)),
                Next::Node(i) => (i, forest.nodes.get(i).is_some_and(Option::is_none).then_some(i)),
            };
            if let Some(leaf) = leaf {
                if leaf >= forest.leaves.len() {
                    return invalid(format!("there is no leaf {leaf}"));
                }
                slots.iter().for_each(|&slot| self.set(slot, -1 - leaf as i64));
                continue;
            }
            let Some(Some(branch)) = forest.nodes.get(index) else {
                return invalid(format!("there is no node {index}"));
            };
            if std::mem::replace(&mut self.seen[index], true) {
                return invalid(format!("two nodes lead to node {index}"));
            }
            let here = self.nodes.len() as i64;
            slots.iter().for_each(|&slot| self.set(slot, here));
            let (holds, fails) = self.branch(branch)?;
            open.push((branch.fails, fails));
            open.push((branch.holds, holds));
        }
        Ok(())
    }

    /// The nodes of a branch; the places that name what follows where it holds, and where not.
    fn branch(&mut self, branch: &Branch) -> Result<(Vec<Slot>, Vec<Slot>), Fault> {
        let (feature, missing) = (branch.feature, branch.missing);
        if !(0..self.width).contains(&feature) {
            return invalid(format!("feature {feature} of {}", self.width));
        }
        let Some(&split) = branch.splits.first() else { return invalid("a node without a number") };
        let simple = |i: usize| (vec![Slot::Holds(i)], vec![Slot::Fails(i)]);
        let turned = |i: usize| (vec![Slot::Fails(i)], vec![Slot::Holds(i)]);
        Ok(match branch.mode {
            Mode::LessEqual => simple(self.push(feature, split, missing)),
            Mode::Less => simple(self.push(feature, self.below(split), missing)),
            // NaN is not below: it stays where the comparison fails unless it is to go elsewhere.
            Mode::GreaterEqual | Mode::Greater if split.is_nan() => {
                turned(self.push(feature, f64::INFINITY, !missing))
            }
            Mode::GreaterEqual => turned(self.push(feature, self.below(split), !missing)),
            Mode::Greater => turned(self.push(feature, split, !missing)),
            Mode::NotEqual => {
                let (_, equal, other) = self.equal(feature, split, false);
                (other.to_vec(), vec![equal])
            }
            Mode::Equal | Mode::Member => {
                let (mut holds, mut fails): (Vec<Slot>, Vec<Slot>) = (Vec::new(), Vec::new());
                for &split in &branch.splits {
                    let (first, equal, other) = self.equal(feature, split, missing);
                    fails.iter().for_each(|&slot| self.set(slot, first as i64));
                    holds.push(equal);
                    fails = other.to_vec();
                }
                (holds, fails)
            }
        })
    }
}

impl Forest {
    /// The aggregated weights of rows `x`, `[rows, outputs]`, in the type of `x`.
    pub fn build(&self, cx: &mut Context, x: Value, outputs: i64, aggregate: Aggregate) -> Built {
        let width = cx.shape(x)[1].known().unwrap_or(0);
        let mut tables = Tables {
            forest: self,
            width,
            dtype: cx.dtype(x),
            nodes: Vec::new(),
            splits: Vec::new(),
            roots: vec![0; self.roots.len()],
            seen: vec![false; self.nodes.len()],
        };
        (0..self.roots.len()).try_for_each(|root| tables.tree(root))?;
        let entries: Vec<(i64, f64)> = self.leaves.iter().flatten().copied().collect();
        if self.roots.is_empty() || entries.iter().any(|(target, _)| !(0..outputs).contains(target)) {
            return invalid(format!("{} trees with leaves for {outputs} targets", self.roots.len()));
        }
        let mut ends = vec![0];
        for leaf in &self.leaves {
            ends.push(ends[ends.len() - 1] + leaf.len() as i64);
        }
        if tables.nodes.len().max(entries.len()).max(ends.len()) > i32::MAX as usize {
            return unsupported("trees with more than two billion nodes");
        }
        let dtype = cx.dtype(x);
        let ints = |shape: Vec<usize>, list: Vec<i64>| Tensor::from_i64s(DType::I32, shape, list);
        let list = |list: Vec<i64>| ints(vec![list.len()], list);
        let floats = |list: Vec<f64>| Tensor::from_f64s(dtype, [list.len()], list);
        let (targets, weights): (Vec<i64>, Vec<f64>) = entries.into_iter().unzip();
        let nodes = ints(vec![tables.nodes.len(), 4], tables.nodes.concat());
        let constants =
            [nodes, floats(tables.splits), list(tables.roots), list(ends), list(targets), floats(weights)];
        let mut operands = vec![x];
        operands.extend(constants.into_iter().map(|t| cx.constant(t)));
        let reduction = match aggregate {
            Aggregate::Average | Aggregate::Sum => Reduction::Add,
            Aggregate::Min => Reduction::Min,
            Aggregate::Max => Reduction::Max,
        };
        let y = cx.add(Op::Trees { outputs, reduction }, &operands)?;
        match aggregate {
            Aggregate::Average => cx.times_number(y, 1.0 / self.roots.len() as f64),
            _ => Ok(y),
        }
    }
}
