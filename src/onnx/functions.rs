//! Model-local functions: inlined where they are called.
use super::error::Fault;
use super::import::{Importer, domain};
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use super::scope::{Binding, Entity};
use std::collections::HashMap;

/// How deep functions may call each other.
const MAX_CALLS: usize = 32;

impl Importer {
    /// The results of a function on these operands.
    pub fn call(
        &mut self,
        function: &FunctionProto,
        node: &NodeProto,
        operands: &[Option<Entity>],
    ) -> Result<Vec<Entity>, Fault> {
        if self.scope.depth() > MAX_CALLS {
            return Err(Fault::Invalid("functions call each other too deeply".into()));
        }
        let mut opsets = self.scope.opsets().clone();
        opsets.extend(function.opset_import.iter().map(|o| (domain(&o.domain).to_string(), o.version)));
        let defaults = function.attribute_proto.iter().map(|a| (a.name.as_str(), a));
        let given = node.attribute.iter().map(|a| (a.name.as_str(), a));
        let attributes: HashMap<&str, &AttributeProto> = defaults.chain(given).collect();
        let nodes: Vec<NodeProto> = function.node.iter().map(|n| with_attributes(n, &attributes)).collect();
        self.scope.enter_function(opsets);
        for (i, name) in function.input.iter().enumerate() {
            let entity = operands.get(i).cloned().flatten().unwrap_or(Entity::Nothing);
            self.scope.bind(name, Binding::Entity(entity));
        }
        let before = self.problems();
        let results = self.nodes(&nodes).map_err(Fault::Invalid).and_then(|()| {
            function.output.iter().map(|name| self.scope.lookup(name)).collect::<Result<Vec<_>, _>>()
        });
        self.scope.leave_function();
        if self.problems() > before { Err(Fault::Missing) } else { results }
    }
}

/// The node with the caller's attributes in place of references to them; absent ones are left out.
fn with_attributes(node: &NodeProto, given: &HashMap<&str, &AttributeProto>) -> NodeProto {
    let resolved = node.attribute.iter().filter_map(|a| {
        if !a.ref_attr_name.is_empty() {
            let value = given.get(a.ref_attr_name.as_str())?;
            return Some(AttributeProto { name: a.name.clone(), ..(*value).clone() });
        }
        let mut a = a.clone();
        a.g.iter_mut().chain(&mut a.graphs).for_each(|g| substitute(g, given));
        Some(a)
    });
    let attribute = resolved.collect();
    NodeProto {
        input: node.input.clone(),
        output: node.output.clone(),
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        overload: node.overload.clone(),
        attribute,
    }
}

fn substitute(graph: &mut GraphProto, given: &HashMap<&str, &AttributeProto>) {
    graph.node.iter_mut().for_each(|n| *n = with_attributes(n, given));
}
