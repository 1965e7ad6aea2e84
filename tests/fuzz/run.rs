//! Runs a target on damaged inputs, and notes what no input may do: panic, take long, or take much memory.
use super::memory;
use super::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest that an input may take, of the processor.
const MOST_TIME: Duration = Duration::from_secs(8);
/// The most memory that an input may take: a constant may have 2^27 elements of eight bytes.
const MOST_MEMORY: usize = 1200 << 20;
/// An input that takes longer, by the clock, is taken for one that never ends.
const FOREVER: Duration = Duration::from_secs(120);

/// Makes an input of its own out of each sequence of numbers.
pub type Make = Box<dyn Fn(&mut Random) -> Vec<u8>>;

/// What is fuzzed.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Makes its inputs.
    pub make: Make,
    /// Takes an input; whether it was accepted.
    pub take: fn(&[u8]) -> bool,
}

/// An input that did what it may not.
pub struct Finding {
    /// The number of its run.
    pub run: u64,
    /// What it did.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
}

/// What came of a session.
#[derive(Default)]
pub struct Tally {
    /// Inputs that were tried.
    pub runs: u64,
    /// Those that were accepted.
    pub accepted: u64,
    /// The longest time of one.
    pub slowest: Duration,
    /// The most memory of one, in bytes.
    pub largest: usize,
    /// Those that did what they may not.
    pub findings: Vec<Finding>,
}

impl Target {
    /// The runs of these numbers; `tell` hears of every number before its run.
    pub fn fuzz(&self, seed: u64, runs: std::ops::Range<u64>, tell: &dyn Fn(u64)) -> Tally {
        let mut tally = Tally::default();
        let watch = Watch::start(self.name);
        for run in runs {
            tell(run);
            watch.run.store(run + 1, Ordering::Relaxed);
            let input = (self.make)(&mut Random::new(seed, run));
            match self.replay(&input, &mut tally) {
                Ok(()) => {}
                Err(what) => tally.findings.push(Finding { run, what, input }),
            }
        }
        tally
    }

    /// What an input takes of the processor, or where the system does not say, by the clock.
    fn processor_time(&self, input: &[u8]) -> Duration {
        let (start, before) = (Instant::now(), processor());
        (self.take)(input);
        before.zip(processor()).map_or(start.elapsed(), |(before, after)| after - before)
    }

    /// One input.
    pub fn replay(&self, input: &[u8], tally: &mut Tally) -> Result<(), String> {
        let start = Instant::now();
        memory::reset();
        let result = catch_unwind(AssertUnwindSafe(|| (self.take)(input)));
        let (time, most) = (start.elapsed(), memory::most());
        tally.runs += 1;
        tally.slowest = tally.slowest.max(time);
        tally.largest = tally.largest.max(most);
        match result {
            Ok(accepted) => tally.accepted += u64::from(accepted),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
                return Err(format!("panics: {}", text.unwrap_or_default()));
            }
        }
        // By the clock it may be the machine that is busy.
        if time > MOST_TIME && self.processor_time(input) > MOST_TIME {
            return Err(format!("takes {} s", time.as_secs()));
        }
        if most > MOST_MEMORY {
            return Err(format!("takes {} MiB", most >> 20));
        }
        Ok(())
    }
}

/// What this thread has had of the processor.
fn processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Ends the process when one run goes on forever.
struct Watch {
    run: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn start(name: &'static str) -> Watch {
        let watch = Watch { run: Arc::default(), done: Arc::default() };
        let (run, done) = (watch.run.clone(), watch.done.clone());
        std::thread::spawn(move || {
            let (mut seen, mut since) = (0, Instant::now());
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let now = run.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > FOREVER {
                    eprintln!("fuzz: {name}: run {} does not end", now.wrapping_sub(1));
                    std::process::abort();
                }
            }
        });
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}
