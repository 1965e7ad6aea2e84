//! Walks a model: graphs, nodes, sub-graphs; collects everything that cannot be imported.
use super::context::Context;
use super::error::{Fault, ImportError, NodeIssue};
use super::file::Files;
use super::kind::{Kind, lowered};
use super::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use super::scope::{Binding, Entity, Level, Scope};
use super::{ImportOptions, Model, inputs, ops, sort, tensor};
use sardonyx_ir::{Op, Origin, Type, Value};
use sardonyx_tensor::{DType, Dim, Tensor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;

/// How deep sub-graphs and functions may nest.
const MAX_DEPTH: usize = 48;
/// How many nodes the inlining of functions may make.
const MAX_NODES: usize = 1 << 20;

/// The state of an import.
pub(crate) struct Importer {
    pub scope: Scope,
    pub files: Files,
    /// Model-local functions by domain, name and overload.
    pub functions: Rc<HashMap<(String, String, String), FunctionProto>>,
    issues: Vec<NodeIssue>,
    symbols: BTreeSet<String>,
    nodes: usize,
}

/// The graph of a model.
pub(crate) fn model(
    mut model: ModelProto,
    files: Files,
    file: &Path,
    options: &ImportOptions,
) -> Result<Model, ImportError> {
    let fail = |reason: String| ImportError::Model { file: file.into(), reason, hint: None };
    let graph = model.graph.take().expect("a decoded model should have a graph");
    let opsets = declared_opsets(&model);
    let functions: HashMap<_, _> = std::mem::take(&mut model.functions)
        .into_iter()
        .map(|f| ((domain(&f.domain).to_string(), f.name.clone(), f.overload.clone()), f))
        .collect();
    let mut operators = BTreeMap::new();
    count(&graph.node, &mut operators);
    functions.values().for_each(|f| count(&f.node, &mut operators));
    let types = inputs::types(&graph, options).map_err(fail)?;
    let mut importer = Importer {
        scope: Scope::default(),
        files,
        functions: Rc::new(functions),
        issues: Vec::new(),
        symbols: types.iter().flat_map(|(_, t)| &t.shape).flat_map(Dim::symbols).collect(),
        nodes: 0,
    };
    importer.scope.enter_graph(opsets.clone());
    let mut input_kinds = Vec::new();
    for (name, ty) in types {
        let info = graph.input.iter().find(|i| i.name == name).expect("an input should be declared");
        let kind = Kind::declared(info).map_err(fail)?;
        let v = importer.scope.graph_mut().input(&name, ty);
        importer.scope.bind(&name, Binding::Entity(kind.entity(v)));
        input_kinds.push(kind);
    }
    importer.body(&graph).map_err(fail)?;
    let outputs = importer.lowered_outputs(&graph.output);
    if !importer.issues.is_empty() {
        return Err(ImportError::Nodes { file: file.into(), issues: importer.issues });
    }
    let (outputs, output_kinds) = outputs.map_err(|f| fail(reason(f)))?.into_iter().unzip();
    let mut built = importer.scope.leave_graph().graph;
    built.set_outputs(outputs, graph.output.iter().map(|o| o.name.clone()).collect());
    built.origin = Origin::default();
    built.remove_dead();
    Ok(Model {
        graph: built,
        producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_string(),
        ir_version: model.ir_version,
        opsets: opsets.into_iter().map(|(d, v)| (domain_name(&d).to_string(), v)).collect(),
        descriptions: descriptions(&graph),
        operators,
        input_kinds,
        output_kinds,
        parameters: parameters(&graph),
        name: graph.name,
    })
}

fn reason(fault: Fault) -> String {
    match fault {
        Fault::Invalid(r) | Fault::Unsupported(r) => r,
        Fault::Missing => "a node could not be imported".into(),
    }
}

/// The domain as the table of operators has it: the standard one is empty.
pub(crate) fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// The domain as people write it.
fn domain_name(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}

fn declared_opsets(model: &ModelProto) -> HashMap<String, i64> {
    let mut opsets: HashMap<String, i64> = HashMap::new();
    for o in &model.opset_import {
        let version = opsets.entry(domain(&o.domain).to_string()).or_default();
        *version = o.version.max(*version);
    }
    opsets
}

fn count(nodes: &[NodeProto], operators: &mut BTreeMap<String, usize>) {
    for node in nodes {
        let name = match domain(&node.domain) {
            "" => node.op_type.clone(),
            d => format!("{d}::{}", node.op_type),
        };
        *operators.entry(name).or_default() += 1;
        for a in &node.attribute {
            a.g.iter().chain(&a.graphs).for_each(|g| count(&g.node, operators));
        }
    }
}

fn parameters(graph: &GraphProto) -> u64 {
    let elements = |dims: &[i64]| dims.iter().map(|&d| d.max(0) as u64).fold(1, u64::saturating_mul);
    graph.initializer.iter().map(|t| elements(&t.dims)).fold(0, u64::saturating_add)
}

fn descriptions(graph: &GraphProto) -> BTreeMap<String, String> {
    let infos = graph.input.iter().chain(&graph.output);
    infos.filter(|i| !i.doc_string.is_empty()).map(|i| (i.name.clone(), i.doc_string.clone())).collect()
}

impl Importer {
    /// A symbol that nothing else has.
    pub fn symbol(&mut self) -> Dim {
        let name = (0..).map(|i| format!("u{i}")).find(|n| !self.symbols.contains(n));
        let name = name.expect("there should always be another name");
        self.symbols.insert(name.clone());
        Dim::symbol(&name)
    }

    /// All symbols that are in use.
    pub fn symbols(&self) -> BTreeSet<String> {
        self.symbols.clone()
    }

    /// Initializers and nodes of a graph, into the current level.
    fn body(&mut self, graph: &GraphProto) -> Result<(), String> {
        for t in &graph.initializer {
            let binding = match tensor::tensor(t, &mut self.files) {
                Ok(tensor) => Binding::Tensor(tensor),
                Err(reason) => Binding::Broken(reason),
            };
            self.scope.bind(&t.name, binding);
        }
        for t in &graph.sparse_initializer {
            let name = t.values.as_ref().map(|v| v.name.clone()).unwrap_or_default();
            let binding = match tensor::dense(t, &mut self.files) {
                Ok(tensor) => Binding::Tensor(tensor),
                Err(reason) => Binding::Broken(reason),
            };
            self.scope.bind(&name, binding);
        }
        self.nodes(&graph.node)
    }

    /// Nodes in any order, into the current level.
    pub fn nodes(&mut self, nodes: &[NodeProto]) -> Result<(), String> {
        self.nodes += nodes.len();
        if self.nodes > MAX_NODES {
            return Err(format!("the model has more than {MAX_NODES} nodes when its functions are inlined"));
        }
        for i in sort::sorted(nodes)? {
            self.node(&nodes[i]);
        }
        Ok(())
    }

    /// One node. What goes wrong is noted, and its results are missing.
    fn node(&mut self, node: &NodeProto) {
        let name = node_name(node);
        let before = std::mem::replace(&mut self.scope.graph_mut().origin, Origin::named(&name));
        let mut operands = Vec::with_capacity(node.input.len());
        let mut problem = None;
        for input in &node.input {
            let operand = if input.is_empty() { Ok(None) } else { self.scope.lookup(input).map(Some) };
            operands.push(operand.unwrap_or_else(|fault| {
                problem.get_or_insert(fault);
                None
            }));
        }
        let result = match problem {
            Some(fault) => Err(fault),
            None => self.apply(node, &operands),
        };
        let results = result.and_then(|results| match results.len() >= wanted(node) {
            true => Ok(results),
            false => Err(Fault::Unsupported(format!("result {} of this operator", results.len()))),
        });
        let results = results.unwrap_or_else(|fault| {
            self.note(node, &operands, fault);
            vec![Entity::Missing; node.output.len()]
        });
        for (output, entity) in node.output.iter().zip(results) {
            if !output.is_empty() {
                self.scope.bind(output, Binding::Entity(entity));
            }
        }
        self.scope.graph_mut().origin = before;
    }

    fn apply(&mut self, node: &NodeProto, operands: &[Option<Entity>]) -> Result<Vec<Entity>, Fault> {
        let missing = operands.iter().any(|o| matches!(o, Some(Entity::Missing)));
        let domain = domain(&node.domain);
        let key = (domain.to_string(), node.op_type.clone(), node.overload.clone());
        let functions = self.functions.clone();
        if let Some(function) = functions.get(&key) {
            return if missing { Err(Fault::Missing) } else { self.call(function, node, operands) };
        }
        let opset = self.opset(domain);
        let row = ops::find(domain, &node.op_type, opset)?;
        if missing {
            return Err(Fault::Missing);
        }
        if self.scope.depth() > MAX_DEPTH {
            return Err(Fault::Invalid(format!("sub-graphs are nested deeper than {MAX_DEPTH}")));
        }
        row.import(&mut Context::new(self, node, operands, opset))
    }

    fn opset(&self, domain: &str) -> i64 {
        self.scope.opsets().get(domain).copied().unwrap_or(if domain.is_empty() {
            ops::LAST_OPSET
        } else {
            1
        })
    }

    fn note(&mut self, node: &NodeProto, operands: &[Option<Entity>], fault: Fault) {
        let (reason, unsupported) = match fault {
            Fault::Missing => return,
            Fault::Unsupported(reason) => (reason, true),
            Fault::Invalid(reason) => (reason, false),
        };
        let g = self.scope.graph();
        let tensors = operands.iter().flatten().filter_map(|e| match e {
            Entity::Value(v) => Some(g.ty(*v).dtype),
            Entity::List(..) => Some(DType::List),
            _ => None,
        });
        let dtypes: Vec<DType> = tensors.collect();
        self.issues.push(NodeIssue {
            node: node_name(node),
            op: node.op_type.clone(),
            domain: domain_name(domain(&node.domain)).to_string(),
            opset: self.opset(domain(&node.domain)),
            dtypes,
            reason,
            unsupported,
        });
    }

    /// How many problems were found so far.
    pub fn problems(&self) -> usize {
        self.issues.len()
    }

    /// Takes back what was noted since there were `count` problems; fails if an op is missing, which has to
    /// be told.
    pub fn forget_problems(&mut self, count: usize) -> Result<(), Fault> {
        if self.issues[count..].iter().any(|i| i.unsupported) {
            return Err(Fault::Missing);
        }
        self.issues.truncate(count);
        Ok(())
    }

    /// What a graph's outputs are.
    fn outputs(&mut self, infos: &[ValueInfoProto]) -> Result<Vec<Entity>, Fault> {
        let mut entities = Vec::new();
        for info in infos {
            entities.push(match self.scope.lookup(&info.name)? {
                Entity::Value(v) => Entity::Value(self.declared_rank(v, info)?),
                Entity::Missing => return Err(Fault::Missing),
                other => other,
            });
        }
        Ok(entities)
    }

    /// The values of a graph's outputs, and what they are.
    fn lowered_outputs(&mut self, infos: &[ValueInfoProto]) -> Result<Vec<(Value, Kind)>, Fault> {
        let mut values = Vec::new();
        for (info, entity) in infos.iter().zip(self.outputs(infos)?) {
            let g = self.scope.graph_mut();
            let kind = match (Kind::of(&entity, g)?, Kind::declared(info)) {
                (kind @ Kind::Tensor(..), _) => kind,
                // What the model declares as optional or not decides how it is given back.
                (Kind::Optional(item), Ok(Kind::Sequence(_))) if matches!(*item, Kind::Sequence(_)) => {
                    let first = g.constant(Tensor::scalar(0i64));
                    let optional = lowered(g, &entity, &Kind::Optional(item.clone()))?;
                    let v = g.add(Op::ListAt { to: DType::List, shape: Vec::new() }, &[optional, first])?;
                    values.push((v, *item));
                    continue;
                }
                (kind, Ok(declared @ Kind::Optional(_))) => kind.joined(&declared)?,
                (kind, _) => kind,
            };
            values.push((lowered(g, &entity, &kind)?, kind));
        }
        Ok(values)
    }

    /// An output without the dimensions of size 1 that the model does not declare. Symbolic dimensions stay:
    /// they are 1 only in some runs.
    fn declared_rank(&mut self, v: Value, info: &ValueInfoProto) -> Result<Value, Fault> {
        let Some(declared) = inputs::known_shape(info) else { return Ok(v) };
        let graph = self.scope.graph_mut();
        let kept = graph.ty(v).shape.iter().filter(|d| **d != 1);
        if declared.len() < graph.ty(v).rank() && kept.eq(declared.iter().filter(|d| **d != 1)) {
            return Ok(graph.add(Op::Reshape { shape: declared }, &[v])?);
        }
        Ok(v)
    }

    /// A sub-graph whose inputs are tensors of these types, as a level with its outputs set.
    pub fn sub_graph(&mut self, graph: &GraphProto, types: &[Type]) -> Result<Level, Fault> {
        let mut level = self.level(graph, types, &vec![Kind::Unknown; types.len()])?;
        let value = |e: &Entity| match e {
            Entity::Value(v) => Ok(*v),
            _ => Err(Fault::Unsupported("a result of a sub-graph that is no tensor".into())),
        };
        let outputs = level.results.iter().map(value).collect::<Result<_, _>>()?;
        level.graph.set_outputs(outputs, Vec::new());
        Ok(level)
    }

    /// A sub-graph whose inputs have these types and are of these kinds, as a level whose results are not yet
    /// outputs.
    pub fn level(&mut self, graph: &GraphProto, types: &[Type], kinds: &[Kind]) -> Result<Level, Fault> {
        if types.len() != graph.input.len() {
            let (given, declared) = (types.len(), graph.input.len());
            return Err(Fault::Invalid(format!("the sub-graph takes {declared} inputs, not {given}")));
        }
        let opsets = self.scope.opsets().clone();
        self.scope.enter_graph(opsets);
        for ((info, ty), kind) in graph.input.iter().zip(types).zip(kinds) {
            let v = self.scope.graph_mut().input(&info.name, ty.clone());
            self.scope.bind(&info.name, Binding::Entity(kind.entity(v)));
        }
        let before = self.problems();
        let outputs = self.body(graph).map_err(Fault::Invalid).and_then(|()| self.outputs(&graph.output));
        let mut level = self.scope.leave_graph();
        if self.problems() > before {
            return Err(Fault::Missing);
        }
        level.results = outputs?;
        Ok(level)
    }

    /// A sub-graph without inputs, inlined into the current level.
    pub fn inlined(&mut self, graph: &GraphProto) -> Result<Vec<Entity>, Fault> {
        let opsets = self.scope.opsets().clone();
        self.scope.enter_block(opsets);
        let before = self.problems();
        let outputs = self.body(graph).map_err(Fault::Invalid).and_then(|()| {
            graph.output.iter().map(|o| self.scope.lookup(&o.name)).collect::<Result<Vec<_>, _>>()
        });
        self.scope.leave_function();
        if self.problems() > before { Err(Fault::Missing) } else { outputs }
    }
}

/// How many results a node asks for.
fn wanted(node: &NodeProto) -> usize {
    node.output.iter().rposition(|o| !o.is_empty()).map_or(0, |i| i + 1)
}

/// What errors and profiles call a node.
fn node_name(node: &NodeProto) -> String {
    match (node.name.is_empty(), node.output.iter().find(|o| !o.is_empty())) {
        (true, Some(output)) => output.clone(),
        _ => node.name.clone(),
    }
}
