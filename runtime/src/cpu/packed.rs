//! Constants that are made of weights when a target is used, and kept as long as a session uses them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::region::Region;
use crate::error::{Error, Result};

/// The memory of such constants.
#[derive(Default)]
pub(crate) struct Constants(Vec<Region>);

impl Constants {
    /// Makes constants of these sizes in bytes, on so many threads: `fill` is given the number of each, and its memory,
    /// which is zero.
    ///
    /// # Errors
    /// When memory is not available, and those of `fill`.
    pub fn new(
        sizes: &[usize],
        threads: usize,
        fill: impl Fn(usize, &mut [u8]) -> Result<()> + Sync,
    ) -> Result<Constants> {
        let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(sizes.len())));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(&size) = sizes.get(index) else { break };
                let region = Region::new(size).ok_or_else(|| Error::Memory {
                    bytes: size as u64,
                    what: "weights in the order in which kernels read them".into(),
                });
                let filled = region.and_then(|mut region| {
                    fill(index, &mut region.bytes_mut()[..size])?;
                    Ok(region)
                });
                made.lock().unwrap_or_else(PoisonError::into_inner).push((index, filled));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(sizes.len()) {
                // A thread that does not start leaves its work to the others.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.sort_unstable_by_key(|(index, _)| *index);
        Ok(Constants(made.into_iter().map(|(_, region)| region).collect::<Result<_>>()?))
    }

    /// The bytes of a constant, and perhaps some behind it.
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.0[index].bytes()
    }
}
