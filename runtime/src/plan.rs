//! Sizes and places for one binding of the input symbols.
//!
//! Everything that input shapes decide is computed once per distinct binding: the size of every buffer, its
//! place in the workspace, and for every launch its grid, dimension parameters and scratch memory. What
//! depends on symbols that only get their value during a run is marked, and computed then.

mod convolution;
mod library;
mod product;

use std::ops::Range;

use sardonyx_tensor::{Bindings, Dim, DimError};

use crate::error::{Error, Result};
use crate::manifest::{
    Buffer, Kernel, Launch, Manifest, Place, Port, Step, TargetProgram, count_steps, walk,
};

pub(crate) use convolution::{PlannedConvolution, PlannedTensor, optional};
pub(crate) use library::PlannedCall;
pub(crate) use product::PlannedProduct;

/// The alignment of buffers in the workspace.
const ALIGN: usize = 64;
/// No buffer is larger: sums of sizes stay far from overflow.
const SIZE_LIMIT: i64 = 1 << 46;

/// A buffer that needs memory while steps `first..=last` run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its size in bytes.
    pub size: usize,
    /// The first step that uses it.
    pub first: usize,
    /// The last step that uses it.
    pub last: usize,
}

/// Places buffers so that those whose lifetimes meet do not overlap: the largest first, each into the
/// smallest gap that it fits. Returns the offset of each, and the size of the whole.
pub fn place(requests: &[Request]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..requests.len()).filter(|&index| requests[index].size > 0).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(requests[index].size), requests[index].first, index));
    let (mut offsets, mut total) = (vec![0usize; requests.len()], 0);
    // Indices of those placed, by offset.
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let Request { size, first, last } = requests[index];
        let size = size.next_multiple_of(ALIGN);
        let (mut end, mut best) = (0, None::<(usize, usize)>);
        for &other in
            placed.iter().filter(|&&other| requests[other].first <= last && first <= requests[other].last)
        {
            let gap = offsets[other].saturating_sub(end);
            if gap >= size && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, end));
            }
            end = end.max(offsets[other] + requests[other].size.next_multiple_of(ALIGN));
        }
        offsets[index] = best.map_or(end, |(_, offset)| offset);
        total = total.max(offsets[index] + size);
        let at = placed.partition_point(|&other| offsets[other] <= offsets[index]);
        placed.insert(at, index);
    }
    (offsets, total)
}

/// The bytes of workspace that a target needs for these values of the input symbols.
///
/// # Errors
/// When a size cannot be computed.
pub fn workspace_size(target: &TargetProgram, symbols: &Bindings) -> Result<usize> {
    let value = |name: &str| symbols.get(name);
    let sizes = buffer_sizes(target, &value)?;
    Ok(place_workspace(target, &sizes).1)
}

/// Sizes and places for one binding.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The size of each buffer; none where symbols of the run decide it.
    pub sizes: Vec<Option<usize>>,
    /// Where each buffer of the workspace starts, and each alias in its buffer; none as above.
    pub offsets: Vec<Option<usize>>,
    /// The size of the workspace.
    pub workspace: usize,
    /// Each launch, by the number of its step; none as above, and for other steps.
    pub launches: Vec<Option<PlannedLaunch>>,
    /// The dimension parameters of all launches.
    pub dims: Vec<i64>,
    /// The most scratch memory that a planned launch needs per thread.
    pub scratch: usize,
    /// The shape of each output; none where symbols of the run decide it or the size of its buffer.
    pub outputs: Vec<Option<Vec<usize>>>,
}

/// A launch with its sizes.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLaunch {
    pub grid: i64,
    /// The range in [`Plan::dims`].
    pub dims: Range<usize>,
    pub scratch: usize,
    pub work: i64,
    /// What a library may compute in its place.
    pub library: Option<PlannedCall>,
}

/// The value of a symbol, where it has one.
pub(crate) type Values<'a> = dyn Fn(&str) -> Option<i64> + 'a;

impl Plan {
    pub fn new(manifest: &Manifest, target: &TargetProgram, values: &Values) -> Result<Plan> {
        let sizes = buffer_sizes(target, values)?;
        let (mut offsets, workspace) = place_workspace(target, &sizes);
        for (index, buffer) in target.buffers.iter().enumerate() {
            if let Place::Alias { offset, .. } = &buffer.place {
                offsets[index] = known(offset, values, || format!("the offset of buffer {index}"))?;
            }
        }
        let buffers = target.output_buffers(manifest.outputs.len());
        let shape = |(index, port): (usize, &Port)| {
            let what = || format!("the shape of output `{}`", port.name);
            if buffers[index].is_none_or(|buffer| sizes[buffer].is_none()) {
                return Ok(None);
            }
            port.shape.iter().map(|dim| known(dim, values, what)).collect::<Result<Option<Vec<usize>>>>()
        };
        let outputs = manifest.outputs.iter().enumerate().map(shape).collect::<Result<_>>()?;
        let mut plan = Plan {
            sizes,
            offsets,
            workspace,
            launches: vec![None; count_steps(&target.steps)],
            dims: Vec::new(),
            scratch: 0,
            outputs,
        };
        let mut result = Ok(());
        walk(&target.steps, &mut |number, step| {
            if let (Step::Launch(launch), true) = (step, result.is_ok()) {
                result = plan.add_launch(number, launch, target, values);
            }
        });
        result.map(|()| plan)
    }

    fn add_launch(
        &mut self,
        number: usize,
        launch: &Launch,
        target: &TargetProgram,
        values: &Values,
    ) -> Result<()> {
        let start = self.dims.len();
        match resolve(number, launch, &target.kernels[launch.kernel], values, &mut self.dims) {
            Ok(Some(planned)) => {
                self.scratch = self.scratch.max(planned.scratch);
                self.launches[number] = Some(planned);
            }
            Ok(None) => self.dims.truncate(start),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A launch with its sizes, its dimension parameters appended to `dims`; `None` where a symbol has no value.
pub(crate) fn resolve(
    number: usize,
    launch: &Launch,
    kernel: &Kernel,
    values: &Values,
    dims: &mut Vec<i64>,
) -> Result<Option<PlannedLaunch>> {
    let start = dims.len();
    let what = || format!("the sizes of step {number} ({})", launch.label);
    for dim in &launch.dims {
        match dim.eval_with(values) {
            Ok(value) => dims.push(value),
            Err(DimError::Unbound(_)) => return Ok(None),
            Err(source) => return Err(Error::Size { what: what(), source }),
        }
    }
    let Some(grid) = known(&launch.grid, values, what)? else { return Ok(None) };
    let parameters = &dims[start..];
    let parameter = |name: &str| parameters.get(name.strip_prefix('d')?.parse::<usize>().ok()?).copied();
    let Some(scratch) = known(&kernel.scratch, &parameter, what)? else { return Ok(None) };
    // What the figures for profiles cannot say is no reason to fail.
    let work = launch.flops.eval_with(values).unwrap_or(0).max(launch.bytes.eval_with(values).unwrap_or(0));
    let library = launch.library.as_ref().and_then(|call| library::resolve(call, values));
    Ok(Some(PlannedLaunch { grid: grid as i64, dims: start..dims.len(), scratch, work, library }))
}

/// The value of a size; `None` where a symbol has no value.
pub(crate) fn known(dim: &Dim, values: &Values, what: impl Fn() -> String) -> Result<Option<usize>> {
    match dim.eval_with(values) {
        Ok(value) if (0..=SIZE_LIMIT).contains(&value) => Ok(Some(value as usize)),
        Ok(value) if value < 0 => {
            let what = format!("{}: `{dim}` is negative ({value})", what());
            Err(Error::Memory { bytes: 0, what })
        }
        Ok(value) => Err(Error::Memory { bytes: value as u64, what: what() }),
        Err(DimError::Unbound(_)) => Ok(None),
        Err(source) => Err(Error::Size { what: what(), source }),
    }
}

fn buffer_sizes(target: &TargetProgram, values: &Values) -> Result<Vec<Option<usize>>> {
    let size = |(index, buffer): (usize, &Buffer)| {
        known(&buffer.bytes, values, || format!("the size of buffer {index}"))
    };
    target.buffers.iter().enumerate().map(size).collect()
}

/// The offset of each buffer of the workspace, and its size.
fn place_workspace(target: &TargetProgram, sizes: &[Option<usize>]) -> (Vec<Option<usize>>, usize) {
    let (mut requests, mut indices) = (Vec::new(), Vec::new());
    for (index, buffer) in target.buffers.iter().enumerate() {
        if let (Place::Workspace { first, last }, Some(size)) = (&buffer.place, sizes[index]) {
            requests.push(Request { size, first: *first, last: *last });
            indices.push(index);
        }
    }
    let (placed, total) = place(&requests);
    let mut offsets = vec![None; target.buffers.len()];
    for (index, offset) in indices.into_iter().zip(placed) {
        offsets[index] = Some(offset);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requests: &[(usize, usize, usize)], total: usize) {
        let requests: Vec<Request> =
            requests.iter().map(|&(size, first, last)| Request { size, first, last }).collect();
        let (offsets, found) = place(&requests);
        assert_eq!(found, total);
        for (i, a) in requests.iter().enumerate() {
            assert_eq!(offsets[i] % ALIGN, 0);
            for (j, b) in requests.iter().enumerate().skip(i + 1) {
                let meet = a.first <= b.last && b.first <= a.last && a.size > 0 && b.size > 0;
                let apart = offsets[i] + a.size <= offsets[j] || offsets[j] + b.size <= offsets[i];
                assert!(!meet || apart, "{i} and {j} overlap at {offsets:?}");
            }
        }
    }

    #[test]
    fn lifetimes_share_memory() {
        check(&[], 0);
        check(&[(100, 0, 1), (100, 1, 2)], 256);
        check(&[(100, 0, 0), (100, 1, 2)], 128);
        check(&[(64, 0, 9), (640, 0, 1), (320, 2, 3), (320, 2, 4), (0, 0, 9)], 704);
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<_> = (0..50).map(|step| (1000, step, step + 1)).collect();
        check(&chain, 2048);
    }

    #[test]
    fn random_lifetimes_do_not_overlap() {
        let mut state = 1u64;
        let mut random = |limit: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % limit) as usize
        };
        for _ in 0..50 {
            let requests: Vec<Request> = (0..40)
                .map(|_| {
                    let first = random(30);
                    Request { size: random(5000), first, last: first + random(6) }
                })
                .collect();
            let (_, total) = place(&requests);
            let list: Vec<_> = requests.iter().map(|r| (r.size, r.first, r.last)).collect();
            check(&list, total);
        }
    }
}
