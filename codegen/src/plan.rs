//! Planning: a lowered graph and its compiled kernels as the program of a target.
//!
//! Buffers get their lifetimes, in which the runtime places them; what no step uses is left out.
use crate::library;
use crate::lower::Lowered;
use crate::unit::Unit;
use sardonyx_runtime::manifest::{
    self, Buffer, BufferIndex, Kernel, Place, Step, TargetProgram, Trip, count_steps,
};
use sardonyx_tensor::Dim;
use std::collections::HashMap;

/// The program of one target, and for every weight of the lowered graph its index in `Place::Weight`, if a
/// step uses it.
pub struct Plan {
    /// The program; code and weights are indices that the caller replaces.
    pub program: TargetProgram,
    /// The weights that are used: indices into [`Lowered::weights`].
    pub weights: Vec<usize>,
}

/// Plans a lowered graph whose units stand at `places`: the object and symbol of each.
///
/// With `libraries`, launches say what a vendor's library may compute in their place.
pub fn plan(lowered: &Lowered, places: &[(usize, String)], libraries: bool) -> Plan {
    let (kernels, kernel_of) = kernels(&lowered.units, places);
    let mut steps = lowered.steps.clone();
    each_step(&mut steps, &mut |step| {
        if let Step::Launch(launch) = step {
            let call = libraries.then(|| library::call(&lowered.kernels[launch.kernel])).flatten();
            launch.library = call;
            launch.kernel = kernel_of[launch.kernel];
        }
    });
    let mut buffers = lowered.buffers.clone();
    live(&mut buffers, &steps);
    let used = used(&buffers, &steps);
    let mut place = vec![usize::MAX; buffers.len()];
    let mut kept = Vec::new();
    let mut weights = Vec::new();
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    for (k, mut buffer) in buffers.into_iter().enumerate() {
        if !used[k] {
            continue;
        }
        if let Place::Weight(w) = &mut buffer.place {
            *w = *numbers.entry(*w).or_insert_with_key(|&w| {
                weights.push(w);
                weights.len() - 1
            });
        }
        place[k] = kept.len();
        kept.push(buffer);
    }
    for buffer in &mut kept {
        if let Place::Alias { of, .. } = &mut buffer.place {
            *of = place[*of];
        }
    }
    each_step(&mut steps, &mut |step| visit(step, &mut |b| *b = place[*b]));
    let program = TargetProgram {
        kernels,
        buffers: kept,
        steps,
        origins: lowered.origins.clone(),
        ..Default::default()
    };
    Plan { program, weights }
}

/// The distinct kernels, and which of them each unit is.
fn kernels(units: &[Unit], places: &[(usize, String)]) -> (Vec<Kernel>, Vec<usize>) {
    let mut known: HashMap<&(usize, String), usize> = HashMap::new();
    let mut kernels = Vec::new();
    let which = units.iter().zip(places).map(|(unit, at)| {
        *known.entry(at).or_insert_with(|| {
            let dims = unit.launch_dims();
            let scratch = match dims.iter().position(|d| d == unit.scratch()) {
                Some(slot) => Dim::symbol(&format!("d{slot}")),
                None => unit.scratch().clone(),
            };
            let (code, symbol) = (at.0, at.1.clone());
            let (args, (threads, shared)) = (unit.params(), unit.block());
            kernels.push(Kernel { symbol, code, args, dims: dims.len(), scratch, threads, shared });
            kernels.len() - 1
        })
    });
    let which = which.collect();
    (kernels, which)
}

/// Calls `f` on every step, those inside of others too.
pub(crate) fn each_step(steps: &mut [Step], f: &mut dyn FnMut(&mut Step)) {
    for step in steps {
        f(step);
        match step {
            Step::If { then, otherwise, .. } => {
                each_step(then, f);
                each_step(otherwise, f);
            }
            Step::Loop(inner) => each_step(&mut inner.body, f),
            _ => {}
        }
    }
}

/// Calls `f` on every buffer that a step itself names.
fn visit(step: &mut Step, f: &mut dyn FnMut(&mut BufferIndex)) {
    match step {
        Step::Launch(launch) => launch.args.iter_mut().for_each(f),
        Step::Copy { src, dst } => {
            f(src);
            f(dst);
        }
        Step::Bind { buffer, .. } => f(buffer),
        Step::Set { .. } | Step::Check(_) => {}
        Step::If { condition, .. } => f(condition),
        Step::Loop(inner) => {
            if let Some(Trip::Buffer(b)) = &mut inner.trip {
                f(b);
            }
            inner.condition.iter_mut().chain(&mut inner.iteration).for_each(&mut *f);
            for carried in &mut inner.carried {
                f(&mut carried.state);
                f(&mut carried.next);
            }
            for scan in inner.scan_inputs.iter_mut().chain(&mut inner.scan_outputs) {
                f(&mut scan.whole);
                f(&mut scan.slice);
            }
        }
        Step::Host(host) => host.inputs.iter_mut().chain(&mut host.outputs).for_each(f),
    }
}

/// The buffers a step itself names.
fn named(step: &Step) -> Vec<BufferIndex> {
    let mut list = Vec::new();
    let mut shallow = match step {
        Step::If { condition, .. } => Step::If { condition: *condition, then: vec![], otherwise: vec![] },
        Step::Loop(inner) => {
            let inner = manifest::Loop { body: vec![], ..(**inner).clone() };
            Step::Loop(Box::new(inner))
        }
        step => step.clone(),
    };
    visit(&mut shallow, &mut |b| list.push(*b));
    list
}

fn root(buffers: &[Buffer], mut index: BufferIndex) -> BufferIndex {
    while let Place::Alias { of, .. } = buffers[index].place {
        index = of;
    }
    index
}

/// Which buffers steps use, with those they are parts of; outputs are always used.
fn used(buffers: &[Buffer], steps: &[Step]) -> Vec<bool> {
    let mut used: Vec<bool> = buffers.iter().map(|b| matches!(b.place, Place::Output(_))).collect();
    manifest::walk(steps, &mut |_, step| {
        for mut b in named(step) {
            used[b] = true;
            while let Place::Alias { of, .. } = buffers[b].place {
                used[of] = true;
                b = of;
            }
        }
    });
    used
}

/// A loop among the steps: its number, that of the last step of its body, and the loop around it.
struct Repeated {
    start: usize,
    end: usize,
    outer: Option<usize>,
}

/// Sets the lifetimes of workspace buffers.
fn live(buffers: &mut [Buffer], steps: &[Step]) {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    let mut loops: Vec<Repeated> = Vec::new();
    let touch = |b: BufferIndex, at: usize, spans: &mut Vec<Option<(usize, usize)>>| {
        let span = spans[b].get_or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    };
    // For every buffer, the innermost loops in whose bodies it is used.
    let mut uses: Vec<Vec<usize>> = vec![Vec::new(); buffers.len()];
    let mut current: Option<usize> = None;
    manifest::walk(steps, &mut |number, step| {
        while let Some(outer) = current.filter(|&l| number > loops[l].end) {
            current = loops[outer].outer;
        }
        let end = if let Step::Loop(inner) = step { number + count_steps(&inner.body) } else { number };
        for b in named(step) {
            let b = root(buffers, b);
            touch(b, number, &mut spans);
            touch(b, end, &mut spans);
            if let Some(l) = current.filter(|l| uses[b].last() != Some(l)) {
                uses[b].push(l);
            }
        }
        if let Step::Loop(_) = step {
            loops.push(Repeated { start: number, end, outer: current });
            current = Some(loops.len() - 1);
        }
    });
    for (b, buffer) in buffers.iter_mut().enumerate() {
        let Place::Workspace { first, last } = &mut buffer.place else { continue };
        let Some(mut span) = spans[b] else { continue };
        // What a loop's body uses and was there before the loop is needed in every iteration.
        for &innermost in &uses[b] {
            let mut next = Some(innermost);
            while let Some(l) = next {
                if span.0 <= loops[l].start {
                    span.1 = span.1.max(loops[l].end);
                }
                next = loops[l].outer;
            }
        }
        (*first, *last) = span;
    }
}
