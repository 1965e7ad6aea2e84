//! The vendor's libraries, where they are there and faster than kernels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::blas::Blas;
use super::context::Context;
use super::dnn::{Dnn, Prepared};
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
    dnn: Option<Dnn>,
    /// Memory that the libraries use in turn, as the stream comes to their work.
    workspace: Allocation,
}

/// How a library computes a call.
enum Way {
    Product,
    Convolution(Box<Prepared>),
}

impl Libraries {
    /// Those that the steps have work for; `None` where there are none: kernels do their work.
    pub fn new(context: &Arc<Context>, stream: &Stream, steps: &[Step]) -> Option<Libraries> {
        let (mut products, mut convolutions) = (false, false);
        walk(steps, &mut |_, step| {
            let Step::Launch(launch) = step else { return };
            match &launch.library {
                Some(LibraryCall::Product(_)) => products = true,
                Some(LibraryCall::Convolution(_)) => convolutions = true,
                None => {}
            }
        });
        if !products && !convolutions {
            return None;
        }
        context.enter().ok()?;
        let workspace = Allocation::new(context, WORKSPACE, || "a library".into()).ok()?;
        let blas = products.then(|| Blas::new(context, stream, &workspace)).flatten();
        let dnn = convolutions.then(|| Dnn::new(context, stream)).flatten();
        let found = blas.is_some() || dnn.is_some();
        found.then(|| Libraries { choices: HashMap::new(), blas, dnn, workspace })
    }
}

impl State {
    /// The libraries' names, and how many of the launches that were run each computes.
    pub fn libraries(&self) -> Vec<(&'static str, usize)> {
        let Some(libraries) = &self.libraries else { return Vec::new() };
        let chosen = libraries.choices.values().flatten();
        let count = |is: fn(&Way) -> bool| chosen.clone().filter(|way| is(way)).count();
        let products = count(|way| matches!(way, Way::Product));
        let convolutions = count(|way| matches!(way, Way::Convolution(_)));
        let blas = libraries.blas.as_ref().map(|blas| (blas.name(), products));
        let dnn = libraries.dnn.as_ref().map(|dnn| (dnn.name(), convolutions));
        blas.into_iter().chain(dnn).collect()
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
        for way in self.ways(call, buffers) {
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
    fn ways(&self, call: &PlannedCall, buffers: &[BufferIndex]) -> Vec<Way> {
        let Some(libraries) = &self.libraries else { return Vec::new() };
        match call {
            PlannedCall::Product(_) => libraries.blas.iter().map(|_| Way::Product).collect(),
            PlannedCall::Convolution(convolution) => {
                let Some(dnn) = &libraries.dnn else { return Vec::new() };
                let ways = dnn.prepare(convolution, &|arg| self.span(buffers, arg), &libraries.workspace);
                ways.into_iter().map(|way| Way::Convolution(Box::new(way))).collect()
            }
        }
    }

    /// Where the buffer of an argument is.
    fn span(&self, buffers: &[BufferIndex], arg: usize) -> Option<Span> {
        self.spans[*buffers.get(arg)?]
    }

    /// Lets a library compute; false where it refuses, or where a buffer is too small.
    fn compute(&self, call: &PlannedCall, way: &Way, buffers: &[BufferIndex]) -> bool {
        let Some(libraries) = &self.libraries else { return false };
        let span = |arg: usize| self.span(buffers, arg);
        match (call, way) {
            (PlannedCall::Product(product), Way::Product) => {
                libraries.blas.as_ref().is_some_and(|blas| blas.multiply(product, &span))
            }
            (PlannedCall::Convolution(convolution), Way::Convolution(way)) => {
                let dnn = libraries.dnn.as_ref();
                dnn.is_some_and(|dnn| dnn.convolve(convolution, way, &span, &libraries.workspace))
            }
            _ => false,
        }
    }
}

/// Where the buffer of an argument is.
pub(super) type Spans<'a> = dyn Fn(usize) -> Option<Span> + 'a;
