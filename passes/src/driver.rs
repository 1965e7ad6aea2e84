//! Runs passes: on sub-graphs too, with dead nodes removed and the graph verified after each, timed, and
//! with the change each makes shown as a difference of texts if asked.
use crate::{Options, Pass};
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, NodeId, text, verify};
use std::time::{Duration, Instant};

/// What one run of a pass took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The pass.
    pub pass: &'static str,
    /// How long it ran, verification not included.
    pub time: Duration,
    /// The rewrites it made.
    pub rewrites: usize,
    /// The nodes it left.
    pub nodes: usize,
}

/// Is told the name of a pass and the change it made.
type Show<'a> = dyn FnMut(&str, &str) + 'a;
/// Is shown the graph after a pass, with the pass' name.
type Observe<'a> = dyn FnMut(&str, &Graph) + 'a;

/// Runs passes on graphs.
pub struct Driver<'a> {
    options: &'a Options,
    /// The name of a pass or `all`, and what to do with its name and the change it made.
    dump: Option<(String, &'a mut Show<'a>)>,
    /// Is shown the graph after every pass.
    observer: Option<&'a mut Observe<'a>>,
    timings: Vec<Timing>,
}

impl<'a> Driver<'a> {
    /// A driver with these options.
    pub fn new(options: &'a Options) -> Driver<'a> {
        Driver { options, dump: None, observer: None, timings: Vec::new() }
    }

    /// Hands the change made by the pass `name`, or by each if that is `all`, to `show`.
    pub fn dump_after(mut self, name: &str, show: &'a mut dyn FnMut(&str, &str)) -> Driver<'a> {
        self.dump = Some((name.to_string(), show));
        self
    }

    /// Shows the graph after every pass, with the pass' name.
    pub fn observe(mut self, observer: &'a mut dyn FnMut(&str, &Graph)) -> Driver<'a> {
        self.observer = Some(observer);
        self
    }

    /// Runs a pass; says whether it changed anything.
    ///
    /// # Panics
    /// If the pass leaves an invalid graph, which is a bug of the pass.
    pub fn run(&mut self, pass: &Pass, g: &mut Graph) -> bool {
        let wanted = self.dump.as_ref().is_some_and(|(name, _)| name == "all" || name == pass.name);
        let before = wanted.then(|| text::print(g));
        let (start, rewrites) = (Instant::now(), self.options.trace.len());
        everywhere(g, &mut |g| (pass.run)(g, self.options));
        let made = self.options.trace.len() - rewrites;
        self.timings.push(Timing { pass: pass.name, time: start.elapsed(), rewrites: made, nodes: g.len() });
        if let Err(e) = verify::verify(g) {
            panic!("bug: the pass {} leaves an invalid graph: {e}", pass.name);
        }
        if let (Some(before), Some((_, show))) = (before, &mut self.dump) {
            show(pass.name, &difference(&before, &text::print(g)));
        }
        if let Some(observer) = &mut self.observer {
            observer(pass.name, g);
        }
        made > 0
    }

    /// Runs passes in turn until none changes anything, `limit` times at most.
    pub fn repeat(&mut self, passes: &[&Pass], g: &mut Graph, limit: usize) {
        for _ in 0..limit {
            let mut changed = false;
            for pass in passes {
                changed |= self.run(pass, g);
            }
            if !changed {
                return;
            }
        }
    }

    /// What was run, in order.
    pub fn timings(&self) -> &[Timing] {
        &self.timings
    }
}

/// Applies `f` to the sub-graphs of a graph, innermost first, then to itself, and removes what is dead.
/// The bodies of fused regions are finished and left alone.
fn everywhere(g: &mut Graph, f: &mut dyn FnMut(&mut Graph)) {
    let nested: Vec<NodeId> = g.order().into_iter().filter(|&id| has_regions(&g.node(id).op)).collect();
    for id in nested {
        for region in g.regions_mut(id) {
            everywhere(region, f);
        }
    }
    f(g);
    g.remove_dead();
}

fn has_regions(op: &Op) -> bool {
    op.name() != "fused" && !op.regions().is_empty()
}

/// The lines that differ, with `-` and `+`; lines are compared without the numbers of values, which shift.
fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let keys = |lines: &[&str]| lines.iter().map(|l| unnumbered(l)).collect::<Vec<_>>();
    let (a, b) = (keys(&old), keys(&new));
    let mut out = String::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        let (skip_old, skip_new) = next_common(&a[i..], &b[j..]);
        old[i..i + skip_old].iter().for_each(|l| out.push_str(&format!("-{l}\n")));
        new[j..j + skip_new].iter().for_each(|l| out.push_str(&format!("+{l}\n")));
        (i, j) = (i + skip_old, j + skip_new);
    }
    out
}

/// How many lines to skip on either side to the next common line, as few as possible.
fn next_common(a: &[String], b: &[String]) -> (usize, usize) {
    for total in 1..a.len() + b.len() {
        for skip in 0..=total.min(a.len()) {
            let other = total - skip;
            if a.get(skip).is_some_and(|line| b.get(other) == Some(line)) {
                return (skip, other);
            }
        }
    }
    (a.len(), b.len())
}

/// The line with `%_` for every numbered value.
fn unnumbered(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits > 0 {
            out.push('_');
        }
        rest = &rest[digits..];
    }
    out.push_str(rest);
    out
}
