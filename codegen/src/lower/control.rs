//! Choice and repetition as steps with steps inside.
use super::trace::Why;
use super::{Lowerer, Views};
use sardonyx_ir::{Graph, NodeId};

impl Lowerer<'_> {
    pub(super) fn control(&mut self, g: &Graph, id: NodeId, _views: &mut Views) -> Result<(), Why> {
        Err(format!("no steps for {}", g.node(id).op.name()))
    }
}
