//! Buffers outside the workspace: those with memory of their own, and parts of other buffers.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::manifest::{Place, TargetProgram};
use crate::memory::Memory;
use crate::plan::{Plan, Values, known};

/// Which buffers are placed when.
pub(super) struct Late {
    /// Buffers with memory of their own, then parts of buffers: a part after what it is a part of.
    order: Vec<usize>,
    /// The positions in `order` of what to place again when a symbol is given a value.
    by_symbol: BTreeMap<String, Vec<usize>>,
}

impl Late {
    pub fn new(target: &TargetProgram) -> Late {
        let depth = |mut index: usize| {
            let mut depth = 0usize;
            while let Place::Alias { of, .. } = &target.buffers[index].place {
                (index, depth) = (*of, depth + 1);
            }
            depth
        };
        let placed_late = |index: &usize| {
            matches!(target.buffers[*index].place, Place::Late | Place::Output(_) | Place::Alias { .. })
        };
        let mut order: Vec<usize> = (0..target.buffers.len()).filter(placed_late).collect();
        order.sort_by_key(|&index| depth(index));
        let mut late = Late { order, by_symbol: BTreeMap::new() };
        let mut symbols_of: Vec<Vec<String>> = vec![Vec::new(); target.buffers.len()];
        for (position, &index) in late.order.iter().enumerate() {
            let buffer = &target.buffers[index];
            let mut symbols = buffer.bytes.symbols();
            if let Place::Alias { of, offset } = &buffer.place {
                symbols.extend(offset.symbols());
                symbols.extend(symbols_of[*of].iter().cloned());
            }
            for symbol in &symbols {
                late.by_symbol.entry(symbol.clone()).or_default().push(position);
            }
            symbols_of[index] = symbols.into_iter().collect();
        }
        late
    }

    /// Places what the input symbols decide, at the start of a run. Outputs have been placed before.
    pub fn place_known(&self, memory: &mut dyn Memory, target: &TargetProgram, plan: &Plan) -> Result<()> {
        for &index in &self.order {
            let Some(size) = plan.sizes[index] else { continue };
            match &target.buffers[index].place {
                Place::Late => memory.place_own(index, size)?,
                Place::Output(output) if plan.outputs[*output].is_none() => memory.place_own(index, size)?,
                Place::Alias { of, .. } => {
                    let Some(offset) = plan.offsets[index] else { continue };
                    if memory.size(*of).is_some() && !memory.place_part(index, *of, offset, size) {
                        return Err(outside(index, *of));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Places what a symbol decides, after it was given a value.
    pub fn place_for(
        &self,
        symbol: &str,
        memory: &mut dyn Memory,
        target: &TargetProgram,
        plan: &Plan,
        values: &Values,
    ) -> Result<()> {
        let Some(positions) = self.by_symbol.get(symbol) else { return Ok(()) };
        for &position in positions {
            let index = self.order[position];
            let buffer = &target.buffers[index];
            let Some(size) = known(&buffer.bytes, values, || format!("the size of buffer {index}"))? else {
                continue;
            };
            match &buffer.place {
                Place::Alias { of, offset } => {
                    let offset = known(offset, values, || format!("the offset of buffer {index}"))?;
                    // Until all its symbols are up to date a part may not fit; a step that uses it then fails.
                    let _fits = offset.is_some_and(|offset| memory.place_part(index, *of, offset, size));
                }
                // Outputs whose size the inputs decide are in their final memory.
                Place::Output(_) if plan.sizes[index].is_some() => {}
                _ => memory.place_own(index, size)?,
            }
        }
        Ok(())
    }
}

fn outside(index: usize, of: usize) -> Error {
    Error::Memory { bytes: 0, what: format!("buffer {index}, which does not fit into buffer {of}") }
}
