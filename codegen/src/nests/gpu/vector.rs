//! How many neighbouring points a thread takes: those of one 16-byte access, where all accesses run along the last
//! axis.
use crate::kernel::body::{Body, Store, Value};
use crate::kernel::index::{Atom, Index};
use crate::nests::point::Point;
use sardonyx_tensor::Dim;

/// Bytes of the widest access of a thread.
const BYTES: usize = 16;
/// Most points of a thread: the function is written out for each.
const MOST: i64 = 8;

/// The points that a thread takes along the last axis of a domain. Where its extent is known, they divide it.
pub fn lanes(p: &Point<'_, '_>, body: &Body, stores: &[&Store], domain: &[Dim]) -> u32 {
    let Some(axis) = domain.len().checked_sub(1) else { return 1 };
    let varies = |id: usize| p.varies(id) >> axis & 1 == 1;
    // The stride along the axis; `None` if the index has no place in a run of neighbours.
    let stride = |index: &Index| {
        let mut direct = true;
        index.visit(&mut |atom| direct &= !matches!(atom, Atom::Value(id, _) if varies(*id)));
        index.coefficient(axis).filter(|_| direct)
    };
    let mut size = BYTES;
    for (value, _) in &body.values {
        let fits = match value {
            Value::Load { arg, index, guard } => match stride(index) {
                Some(s) if s == 0 => guard.is_none_or(|g| !varies(g)),
                Some(s) if s == 1 => {
                    size = size.min(body.args[*arg].size());
                    true
                }
                _ => false,
            },
            Value::Position(index) => stride(index).is_some(),
            Value::Apply { .. } | Value::Accumulator(_) => true,
        };
        if !fits {
            return 1;
        }
    }
    for store in stores {
        if stride(&store.index).is_none_or(|s| s != 1) {
            return 1;
        }
        size = size.min(store.dtype.size());
    }
    let mut lanes = ((BYTES / size.max(1)) as i64).min(MOST);
    while domain[axis].known().is_some_and(|n| n % lanes != 0) {
        lanes /= 2;
    }
    lanes as u32
}
