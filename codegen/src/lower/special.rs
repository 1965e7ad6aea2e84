//! Ops with loops of their own, and operations that the runtime does itself.
use super::trace::Why;
use super::{Lowerer, View, Views};
use crate::kernel::Kernel;
use sardonyx_ir::{Graph, NodeId, Op, Type, Value as Wire};
use sardonyx_runtime::manifest::{BufferIndex, Host, Step};
use sardonyx_tensor::Dim;
use std::collections::HashMap;

/// Whether an op is lowered here.
pub(super) fn is_special(op: &Op) -> bool {
    matches!(
        op,
        Op::TopK { .. }
            | Op::NonZero { .. }
            | Op::ScatterElements { .. }
            | Op::ScatterNd { .. }
            | Op::CumSum { .. }
            | Op::CumProd { .. }
            | Op::Resize { .. }
            | Op::GridSample { .. }
            | Op::RoiAlign { .. }
            | Op::MaxRoiPool { .. }
            | Op::Det { .. }
            | Op::Inverse { .. }
            | Op::DeformConv { .. }
            | Op::MaxPoolIndices { .. }
            | Op::LinearAttention { .. }
            | Op::Trees { .. }
            | Op::Unique { .. }
            | Op::Nms { .. }
            | Op::TextConcat { .. }
            | Op::TextSplit { .. }
            | Op::TextMatch { .. }
            | Op::TextTokens { .. }
            | Op::TimeWarp { .. }
            | Op::TextNormalize { .. }
            | Op::TextOf { .. }
            | Op::NumberOf { .. }
            | Op::Lookup { .. }
            | Op::ImageDecode { .. }
            | Op::ListOf { .. }
            | Op::ListAt { .. }
            | Op::ListInsert { .. }
            | Op::ListErase { .. }
            | Op::ListLength { .. }
            | Op::ListConcat { .. }
            | Op::ListSplit { .. }
            | Op::ListMaps { .. }
            | Op::Rnn { .. }
            | Op::Gru { .. }
            | Op::Lstm { .. }
    )
}

impl Lowerer<'_> {
    pub(super) fn special(
        &mut self,
        g: &Graph,
        id: NodeId,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<(), Why> {
        use serde_json::{Value as Json, json};
        use std::slice::from_ref;
        let call = match &g.node(id).op {
            Op::TopK { axis, largest, sorted, k } => {
                let attrs = json!({ "axis": axis, "largest": largest, "sorted": sorted });
                Call { more: vec![self.dims(from_ref(k))?], ..Call::new("topk", attrs, &[]) }
            }
            Op::NonZero { count } => Call::new("nonzero", Json::Null, from_ref(count)),
            Op::Unique { axis, sorted, count } => {
                Call::new("unique", json!({ "axis": axis, "sorted": sorted }), from_ref(count))
            }
            Op::Nms { centers, count } => Call::new("nms", json!({ "centers": centers }), from_ref(count)),
            Op::TextSplit { most, width } => {
                Call::new("text_split", json!({ "most": most }), from_ref(width))
            }
            Op::TextNormalize { case, exact, count } => {
                Call::new("text_normalize", json!({ "case": case.name(), "exact": exact }), from_ref(count))
            }
            op @ Op::TextTokens { between, least, mark, width } => {
                let attrs = json!({ "between": between, "least": least, "mark": mark });
                Call::new(op.name(), attrs, from_ref(width))
            }
            op @ Op::TimeWarp { count } => Call::new(op.name(), Json::Null, from_ref(count)),
            op @ (Op::TextConcat { .. }
            | Op::TextMatch { .. }
            | Op::TextOf { .. }
            | Op::Lookup { .. }
            | Op::ListOf { .. }
            | Op::ListInsert { .. }
            | Op::ListErase { .. }
            | Op::ListMaps { .. }
            | Op::ListLength { .. }) => Call::new(op.name(), Json::Null, &[]),
            op @ Op::NumberOf { to } => Call::new(op.name(), json!({ "to": to.name() }), &[]),
            op @ Op::ImageDecode { form, height, width } => {
                Call::new(op.name(), json!({ "form": form.name() }), &[height.clone(), width.clone()])
            }
            op @ Op::ListAt { shape, .. } => Call::new(op.name(), Json::Null, shape),
            op @ Op::ListConcat { axis, stack, shape, .. } => {
                Call::new(op.name(), json!({ "axis": axis, "stack": stack }), shape)
            }
            op @ Op::ListSplit { axis, keep } => {
                Call::new(op.name(), json!({ "axis": axis, "keep": keep }), &[])
            }
            Op::Rnn { .. } | Op::Gru { .. } | Op::Lstm { .. } => return self.recurrent(g, id, views, wanted),
            op => return self.loops(g, id, op, views, wanted),
        };
        self.host(g, id, views, wanted, call);
        Ok(())
    }

    /// An op with loops of its own, on row-major operands.
    fn loops(
        &mut self,
        g: &Graph,
        id: NodeId,
        op: &Op,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
    ) -> Result<(), Why> {
        let results = g.node(id).types.to_vec();
        let operands: Vec<Type> = g.operands(id).map(|o| g.ty(o).clone()).collect();
        let kernel = Kernel::Special { op: op.clone(), operands, results: results.clone() };
        let mut args = Vec::new();
        for operand in g.operands(id) {
            let view = self.view(g, operand, views);
            args.push(self.contiguous(&view).buffer);
        }
        for (port, ty) in results.iter().enumerate() {
            let wire = Wire { node: id, port: 0 }.port(port);
            let view = self.result(wire, ty, wanted);
            args.push(view.buffer);
            views.insert(wire, view);
        }
        self.launch(kernel, op.name(), args, &results[0], Dim::ZERO)
    }

    /// Symbolic values as an i64 buffer.
    pub(super) fn dims(&mut self, values: &[Dim]) -> Result<BufferIndex, Why> {
        let mut g = Graph::new();
        let v = g.add(Op::Dims { values: values.to_vec() }, &[])?;
        g.set_outputs(vec![v], vec![]);
        let view = self.temporary(g.ty(v).clone());
        self.map(&g, &[], &[view.buffer], "dims")?;
        Ok(view.buffer)
    }

    /// An operation of the runtime on all operands of a node.
    fn host(
        &mut self,
        g: &Graph,
        id: NodeId,
        views: &mut Views,
        wanted: &HashMap<Wire, BufferIndex>,
        call: Call,
    ) {
        let mut inputs = Vec::new();
        for operand in g.operands(id) {
            let view = self.view(g, operand, views);
            inputs.push(self.exactly(&view));
        }
        inputs.extend(call.more);
        let mut outputs = Vec::new();
        for (port, ty) in g.node(id).types.iter().enumerate() {
            let wire = Wire { node: id, port: 0 }.port(port);
            let view: View = self.result(wire, ty, wanted);
            outputs.push(view.buffer);
            views.insert(wire, view);
        }
        let names: Vec<String> = self.origin.names().map(String::from).collect();
        let origins = names.into_iter().map(|n| self.origin_index(n)).collect();
        let (op, attrs, binds) = (call.op.to_string(), call.attrs, call.binds);
        self.out.steps.push(Step::Host(Host { op, inputs, outputs, attrs, binds, origins }));
    }
}

/// An operation of the runtime.
struct Call {
    op: &'static str,
    attrs: serde_json::Value,
    /// The symbols it gives values to.
    binds: Vec<String>,
    /// Inputs after the operands.
    more: Vec<BufferIndex>,
}

impl Call {
    /// One that gives values to the symbols among `found`.
    fn new(op: &'static str, attrs: serde_json::Value, found: &[Dim]) -> Call {
        let binds = found.iter().filter_map(Dim::as_symbol).map(String::from).collect();
        Call { op, attrs, binds, more: vec![] }
    }
}
