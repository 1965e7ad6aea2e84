//! Recorded runs.
//!
//! A program of launches and copies alone does the same for the same shapes, as long as its memory stays in
//! place. Its first run in some place warms up (a driver loads code at its first launch), the second is
//! recorded, and from then on the record is replayed.

use super::objects::Graph;
use crate::sys::Address;

/// Records kept per binding: for callers that alternate between a few sets of buffers.
const KEPT: usize = 4;

/// The records of one binding of the input symbols.
#[derive(Default)]
pub(crate) struct Replays {
    /// Where the memory was in the last run.
    last: Vec<Address>,
    /// Where the memory was and what was recorded, the last used first.
    graphs: Vec<(Vec<Address>, Graph)>,
    /// The driver refused to record.
    refused: bool,
    /// There was a run.
    warm: bool,
}

/// What to do with a run.
pub(super) enum Turn {
    /// Run it step by step, and note where it faults.
    First,
    /// Run it step by step.
    Again,
    /// Record it.
    Record,
    /// Replay the first record.
    Replay,
}

impl Replays {
    /// What to do with a run in this memory, which is empty where the steps do not repeat.
    pub(super) fn turn(&mut self, place: &[Address]) -> Turn {
        if let Some(at) = self.graphs.iter().position(|(recorded, _)| recorded == place) {
            self.graphs[..=at].rotate_right(1);
            return Turn::Replay;
        }
        let same = self.warm && !place.is_empty() && self.last == place;
        self.last.clear();
        self.last.extend_from_slice(place);
        match (self.warm, same && !self.refused) {
            (_, true) => Turn::Record,
            (true, false) => Turn::Again,
            (false, false) => Turn::First,
        }
    }

    /// A run step by step went well.
    pub(super) fn warmed(&mut self) {
        self.warm = true;
    }

    /// The driver refused to record: it is not asked again.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    pub(super) fn record(&mut self, place: &[Address], graph: Graph) {
        self.graphs.truncate(KEPT - 1);
        self.graphs.insert(0, (place.to_vec(), graph));
    }

    /// The record used last.
    pub(super) fn first(&self) -> Option<&Graph> {
        self.graphs.first().map(|(_, graph)| graph)
    }
}
