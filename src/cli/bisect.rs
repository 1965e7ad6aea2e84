//! `verify --bisect`: the first rewrite, node or half that takes the outputs out of the tolerance.
use super::args::{Bisect, Verify};
use super::common::{self, Loaded};
use super::verify::{Expected, compare_all, reference};
use super::{Failure, Outcome};
use crate::compile::{self, Optimized, Options};
use crate::inputs::Named;
use crate::onnx::Model;
use anyhow::anyhow;
use sardonyx_ir::{Graph, NodeId, Op, Value, interp};
use sardonyx_tensor::Tensor;
use std::collections::HashSet;

pub(super) fn bisect(
    args: &Verify,
    over: Bisect,
    loaded: &Loaded,
    inputs: &Named,
    expected: Named,
) -> Outcome {
    let all = common::compile_options(&args.device, &args.build)?;
    if over == Bisect::Precision && all.dtype.is_none() {
        return Err(Failure::Usage(anyhow!(
            "--bisect precision looks among halves: give --dtype fp16 or bf16"
        )));
    }
    let search = Search { args, model: loaded.model()?, inputs };
    if over == Bisect::Nodes {
        return search.nodes(&all);
    }
    let theirs = reference(args, loaded, inputs, expected)?;
    let (pass, optimized) = search.passes(search.model, &all, &theirs)?;
    if pass {
        return search.good(&format!("all {} rewrites", optimized.rewrites.len()));
    }
    match over {
        Bisect::Precision => search.precision(&all, &optimized, &theirs),
        _ => search.rewrites(&all, &optimized, &theirs),
    }
}

struct Search<'a> {
    args: &'a Verify,
    model: &'a Model,
    inputs: &'a Named,
}

impl Search<'_> {
    /// Whether the model, compiled so, computes what it should.
    fn passes(
        &self,
        model: &Model,
        options: &Options,
        theirs: &Expected,
    ) -> Result<(bool, Optimized), Failure> {
        let optimized = compile::optimize(model, options, None);
        let (bytes, _) =
            compile::generate(&optimized.graph, &model.name, options, None).map_err(Failure::compile)?;
        let ours = common::run_once(&common::open(bytes)?, &self.args.device, self.inputs)?;
        Ok((compare_all(self.args, &ours, theirs)?.iter().all(|c| c.pass), optimized))
    }

    /// The first of `what` from 1 to `bad` for which `pass` says no; all of them together are wrong.
    fn first_bad(
        &self,
        what: &str,
        mut bad: usize,
        mut pass: impl FnMut(usize) -> Result<bool, Failure>,
    ) -> Result<usize, Failure> {
        let mut good = 0;
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if pass(middle)? {
                good = middle;
            } else {
                bad = middle;
            }
            eprintln!("{what} 1..={middle}: the first wrong one is in {}..={bad}", good + 1);
        }
        Ok(bad)
    }

    fn rewrites(&self, all: &Options, optimized: &Optimized, theirs: &Expected) -> Outcome {
        let pass = |n| {
            let options = Options { stop_after: Some(n), ..all.clone() };
            Ok(self.passes(self.model, &options, theirs)?.0)
        };
        if !pass(0)? {
            return self.bad(
                "wrong without any rewrite: the fault is in a kernel or the importer (see --bisect nodes)",
            );
        }
        let first = self.first_bad("rewrites", optimized.rewrites.len(), pass)?;
        let rule = optimized.rewrites[first - 1].rule;
        self.bad(&format!(
            "rewrite {first} ({rule}) breaks the result; see it with `compile --stop-after {first} --dump-after all`"
        ))
    }

    fn precision(&self, all: &Options, optimized: &Optimized, theirs: &Expected) -> Outcome {
        let narrowed = |o: &Optimized| {
            o.rewrites
                .iter()
                .filter(|r| r.rule == "narrow")
                .map(|r| r.origin.names().collect::<Vec<_>>().join(", "))
                .collect::<Vec<String>>()
        };
        let with = |n| {
            let options = Options { narrowed: Some(n), ..all.clone() };
            self.passes(self.model, &options, theirs)
        };
        if !with(0)?.0 {
            return self.bad("wrong without any half: look for the fault without --dtype");
        }
        let halves = narrowed(optimized).len();
        let first = self.first_bad("halves", halves, |n| Ok(with(n)?.0))?;
        let (_, optimized) = with(first)?;
        let node = narrowed(&optimized).pop().unwrap_or_default();
        let dtype = all.dtype.map(|d| d.to_string()).unwrap_or_default();
        self.bad(&format!("{dtype} breaks the result from node {first} of {halves} on: {node}"))
    }

    /// The model's first nodes, compiled with all passes, against the interpreter on the same nodes.
    fn nodes(&self, all: &Options) -> Outcome {
        let nodes: Vec<NodeId> = computing(&self.model.graph);
        let tensors: Vec<Tensor> = self.inputs.iter().map(|(_, t)| t.clone()).collect();
        let pass = |n: usize| {
            let beginning = Model { graph: beginning(&self.model.graph, &nodes[..n]), ..self.model.clone() };
            let outputs = interp::eval(&beginning.graph, &tensors).map_err(Failure::run)?;
            let named = beginning.graph.output_names().iter().cloned().zip(outputs).collect();
            Ok(self.passes(&beginning, all, &Expected::exactly("reference", named))?.0)
        };
        if pass(nodes.len())? {
            return self.good(&format!("all {} nodes", nodes.len()));
        }
        let first = self.first_bad("nodes", nodes.len(), pass)?;
        let node = self.model.graph.node(nodes[first - 1]);
        let origin: Vec<&str> = node.origin.names().collect();
        self.bad(&format!(
            "the program is wrong from node {first} of {} on: {} of {}",
            nodes.len(),
            node.op.name(),
            origin.join(", ")
        ))
    }

    fn good(&self, what: &str) -> Outcome {
        println!("PASS {}: nothing to bisect, right with {what}", self.args.model.display());
        Ok(())
    }

    fn bad(&self, what: &str) -> Outcome {
        println!("FAIL {}: {what}", self.args.model.display());
        Err(Failure::Mismatch)
    }
}

/// The nodes that compute something, in the order in which they can.
fn computing(g: &Graph) -> Vec<NodeId> {
    let computes = |&id: &NodeId| !matches!(g.node(id).op, Op::Input { .. } | Op::Const { .. });
    g.order().into_iter().filter(computes).collect()
}

/// The graph that ends after these nodes: its outputs are what the rest would use.
fn beginning(g: &Graph, nodes: &[NodeId]) -> Graph {
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let ends: HashSet<Value> = g.outputs().iter().copied().collect();
    let mut outputs = Vec::new();
    for &id in nodes {
        let values = (0..g.node(id).types.len()).map(|port| Value { node: id, port: 0 }.port(port));
        outputs.extend(
            values.filter(|v| ends.contains(v) || g.users(*v).iter().any(|(user, _)| !inside.contains(user))),
        );
    }
    let mut beginning = g.clone();
    let names = (0..outputs.len()).map(|i| format!("value {i}")).collect();
    beginning.set_outputs(outputs, names);
    beginning.remove_dead();
    beginning
}
