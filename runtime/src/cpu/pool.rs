//! A pool of threads that run the work items of one kernel at a time.
//!
//! A launch opens a job; workers that are awake join it, take chunks of the grid until none is left, and
//! leave. The launching thread takes chunks too, closes the job, and waits for those that joined: a worker
//! that wakes too late finds the job closed, so nobody waits for it. Workers without a job spin a little,
//! then sleep.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::KernelFn;
use super::region::Region;
use crate::memory::Launch;

/// Rounds that a worker looks for a job before it sleeps: some tens of microseconds.
const SPIN: u32 = 2000;
/// Work (floating-point operations or bytes) below which a launch stays on its thread: about 10 µs.
const SMALL_WORK: i64 = 1 << 16;
/// Chunks per thread, so that a slow thread can leave work to the others.
const CHUNKS: i64 = 8;

/// In `Shared::state`: how many workers have joined the job.
const JOINED: u64 = 0xffff;
/// In `Shared::state`: the job is open. Above this bit is the number of the job.
const OPEN: u64 = 1 << 16;

/// Threads with their scratch memory.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One per thread, the launching one first.
    scratch: Vec<Region>,
    scratch_starts: Vec<*mut u8>,
    jobs: u64,
}

// SAFETY: the pointers are those of the pool's own regions.
unsafe impl Send for Pool {}

struct Shared {
    state: AtomicU64,
    next: AtomicI64,
    /// Written while no job is open and no worker joined, read by those that joined.
    job: UnsafeCell<Job>,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is guarded by `state`, see there; the rest is made for sharing.
unsafe impl Sync for Shared {}
// SAFETY: the pointers of a job are used only while its launch waits.
unsafe impl Send for Shared {}

#[derive(Clone, Copy)]
struct Job {
    kernel: KernelFn,
    args: *const *mut u8,
    dims: *const i64,
    scratch: *const *mut u8,
    grid: i64,
    chunk: i64,
}

unsafe extern "C" fn nothing(_: *const *mut u8, _: *const i64, _: i64, _: i64, _: *mut u8) {}

impl Pool {
    /// A pool of this many threads, with the one that launches.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let none = std::ptr::null();
        let job = Job { kernel: nothing, args: none, dims: none.cast(), scratch: none, grid: 0, chunk: 1 };
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicI64::new(0),
            job: UnsafeCell::new(job),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let threads = threads.clamp(1, JOINED as usize);
        let mut pool = Pool {
            shared,
            workers: Vec::new(),
            scratch: std::iter::repeat_with(Region::default).take(threads).collect(),
            scratch_starts: vec![std::ptr::null_mut(); threads],
            jobs: 0,
        };
        for index in 1..threads {
            let shared = pool.shared.clone();
            let builder = std::thread::Builder::new().name(format!("sardonyx-{index}"));
            pool.workers.push(builder.spawn(move || shared.work(index))?);
        }
        Ok(pool)
    }

    /// Gives every thread at least this much scratch memory; `None` where the system has not that much.
    pub fn reserve_scratch(&mut self, size: usize) -> Option<()> {
        for (region, start) in self.scratch.iter_mut().zip(&mut self.scratch_starts) {
            if size > region.size() || start.is_null() {
                *region = Region::Empty;
                *region = Region::new(size)?;
                *start = region.start();
            }
        }
        Some(())
    }

    /// Runs a kernel on all of its grid.
    ///
    /// # Panics
    /// When less scratch memory was reserved than the launch needs.
    ///
    /// # Safety
    /// The arguments must be what the kernel expects, and valid during the call.
    pub unsafe fn launch(&mut self, kernel: KernelFn, args: &[*mut u8], launch: &Launch) {
        if launch.grid <= 0 {
            return;
        }
        assert!(launch.scratch <= self.scratch[0].size(), "scratch memory should have been reserved");
        let threads = self.scratch.len() as i64;
        let small = launch.work > 0 && launch.work < SMALL_WORK;
        let job = Job {
            kernel,
            args: args.as_ptr(),
            dims: launch.dims.as_ptr(),
            scratch: self.scratch_starts.as_ptr(),
            grid: launch.grid,
            chunk: (launch.grid / (threads * CHUNKS)).max(1),
        };
        if threads == 1 || launch.grid == 1 || small {
            // SAFETY: the caller's promise.
            unsafe { kernel(job.args, job.dims, 0, job.grid, self.scratch_starts[0]) };
            return;
        }
        self.jobs += 1;
        // SAFETY: no job is open and nobody joined, so nobody reads it.
        unsafe { *self.shared.job.get() = job };
        self.shared.next.store(0, Ordering::Relaxed);
        self.shared.state.store(self.jobs << 17 | OPEN, Ordering::SeqCst);
        if self.shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.shared.wake.notify_all();
        }
        // SAFETY: the caller's promise, and this call waits for all that joined.
        unsafe { self.shared.run(&job, 0) };
        self.shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while self.shared.state.load(Ordering::Acquire) & JOINED != 0 {
            rounds += 1;
            if rounds > SPIN { std::thread::yield_now() } else { spin_loop() }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker panics only where a kernel does, which cannot.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// What a worker does until the pool goes.
    fn work(&self, index: usize) {
        let mut last = 0;
        while let Some(state) = self.wait(last) {
            let joined = self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if joined.is_err() {
                continue;
            }
            // SAFETY: the job was open when this worker joined, so its launch waits until it leaves; nobody
            // writes the job before that.
            unsafe { self.run(&*self.job.get(), index) };
            last = state >> 17;
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// The state of an open job other than the last one; `None` when the pool goes.
    fn wait(&self, last: u64) -> Option<u64> {
        let open = || {
            let state = self.state.load(Ordering::SeqCst);
            (state & OPEN != 0 && state >> 17 != last).then_some(state)
        };
        for _ in 0..SPIN {
            if let Some(state) = open() {
                return Some(state);
            }
            spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            if self.stop.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(state) = open() {
                break Some(state);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        state
    }

    /// Takes chunks of the job until none is left.
    ///
    /// # Safety
    /// The job must be valid during the call.
    unsafe fn run(&self, job: &Job, thread: usize) {
        // SAFETY: there is one scratch region per thread.
        let scratch = unsafe { *job.scratch.add(thread) };
        loop {
            let begin = self.next.fetch_add(job.chunk, Ordering::Relaxed);
            if begin >= job.grid {
                return;
            }
            // SAFETY: the caller's promise; chunks are disjoint.
            unsafe { (job.kernel)(job.args, job.dims, begin, (begin + job.chunk).min(job.grid), scratch) };
        }
    }
}
