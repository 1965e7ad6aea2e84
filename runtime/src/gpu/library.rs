//! The vendor's libraries, where they are there and faster than kernels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::blas::Blas;
use super::context::Context;
use super::objects::{Allocation, Event, Stream};
use super::state::{Span, State};
use crate::manifest::{BufferIndex, LibraryCall, Step, walk};
use crate::memory::Done;
use crate::plan::PlannedCall;

/// Bytes that libraries may use between, as cuBLAS recommends for Hopper.
const WORKSPACE: usize = 32 << 20;
/// How often each way is timed.
const ROUNDS: usize = 5;

/// The libraries of a session, for its stream. Fields are given back in this order.
pub(super) struct Libraries {
    /// How the library computes what it was faster at, by step and sizes; `None` where the kernel was.
    choices: HashMap<(usize, PlannedCall), Option<Way>>,
    blas: Option<Blas>,
    /// Memory that the libraries use in turn, as the stream comes to their work.
    _workspace: Allocation,
}

/// How a library computes a call.
enum Way {
    Product,
}

impl Libraries {
    /// Those that the steps have work for; `None` where there are none: kernels do their work.
    pub fn new(context: &Arc<Context>, stream: &Stream, steps: &[Step]) -> Option<Libraries> {
        let mut products = false;
        walk(steps, &mut |_, step| {
            let Step::Launch(launch) = step else { return };
            match launch.library.as_deref() {
                Some(LibraryCall::Product(_)) => products = true,
                None => {}
            }
        });
        if !products {
            return None;
        }
        context.enter().ok()?;
        let workspace = Allocation::new(context, WORKSPACE, || "a library".into()).ok()?;
        let blas = Blas::new(context, stream, &workspace)?;
        Some(Libraries { choices: HashMap::new(), blas: Some(blas), _workspace: workspace })
    }
}

impl State {
    /// The libraries' names, and how many of the launches that were run each computes.
    pub fn libraries(&self) -> Vec<(&'static str, usize)> {
        let Some(libraries) = &self.libraries else { return Vec::new() };
        let chosen = libraries.choices.values().flatten();
        let count = |is: fn(&Way) -> bool| chosen.clone().filter(|way| is(way)).count();
        let blas =
            libraries.blas.as_ref().map(|blas| (blas.name(), count(|way| matches!(way, Way::Product))));
        blas.into_iter().collect()
    }

    /// Lets a library do a launch, if it was found to be faster than `kernel`; else false. What is not known yet
    /// is measured, unless the stream records.
    pub(super) fn by_library(
        &mut self,
        step: usize,
        call: &PlannedCall,
        buffers: &[BufferIndex],
        kernel: &mut dyn FnMut(&mut State) -> Done,
    ) -> Done<bool> {
        let Some(libraries) = &self.libraries else { return Ok(false) };
        // Nothing is allocated where the choice is known.
        let known = libraries.choices.iter().find(|((at, sizes), _)| *at == step && sizes == call);
        match known {
            Some((_, Some(way))) => Ok(self.compute(call, way, buffers)),
            Some((_, None)) => Ok(false),
            None if self.recording => Ok(false),
            None => {
                let way = self.measure(call, buffers, kernel)?;
                let done = way.as_ref().is_some_and(|way| self.compute(call, way, buffers));
                if let Some(libraries) = &mut self.libraries {
                    libraries.choices.insert((step, call.clone()), way);
                }
                Ok(done)
            }
        }
    }

    /// The way that is faster than the kernel; all of them compute the result.
    fn measure(
        &mut self,
        call: &PlannedCall,
        buffers: &[BufferIndex],
        kernel: &mut dyn FnMut(&mut State) -> Done,
    ) -> Done<Option<Way>> {
        let (mut best, mut fastest) = (None, None);
        for way in self.ways(call) {
            if !self.compute(call, &way, buffers) {
                continue;
            }
            if fastest.is_none() {
                kernel(self)?;
                fastest = self.time(&mut |state| kernel(state).map(|()| true))?;
            }
            let time = self.time(&mut |state| Ok(state.compute(call, &way, buffers)))?;
            if let (Some(ours), Some(theirs)) = (fastest, time)
                && theirs < ours
            {
                (best, fastest) = (Some(way), time);
            }
        }
        Ok(best)
    }

    /// What some runs take together; `None` where one was refused.
    fn time(&mut self, run: &mut dyn FnMut(&mut State) -> Done<bool>) -> Done<Option<Duration>> {
        let events = [Event::new(&self.context)?, Event::new(&self.context)?];
        let failed = |state: &State, failure| state.error(&failure, "measure a library");
        self.stream.record(&events[0]).map_err(|failure| failed(self, failure))?;
        for _ in 0..ROUNDS {
            if !run(self)? {
                return Ok(None);
            }
        }
        self.stream.record(&events[1]).map_err(|failure| failed(self, failure))?;
        self.stream.synchronize().map_err(|failure| failed(self, failure))?;
        Ok(events[0].until(&events[1]).ok())
    }

    /// How a library may compute a call: none where it is not there.
    fn ways(&self, call: &PlannedCall) -> Vec<Way> {
        let Some(libraries) = &self.libraries else { return Vec::new() };
        match call {
            PlannedCall::Product(_) => libraries.blas.iter().map(|_| Way::Product).collect(),
        }
    }

    /// Lets a library compute; false where it refuses, or where a buffer is too small.
    fn compute(&self, call: &PlannedCall, way: &Way, buffers: &[BufferIndex]) -> bool {
        let Some(libraries) = &self.libraries else { return false };
        let span = |arg: usize| self.spans[*buffers.get(arg)?];
        match (call, way, &libraries.blas) {
            (PlannedCall::Product(product), Way::Product, Some(blas)) => blas.multiply(product, &span),
            _ => false,
        }
    }
}

/// Where the buffer of an argument is.
pub(super) type Spans<'a> = dyn Fn(usize) -> Option<Span> + 'a;
