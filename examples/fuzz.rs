//! Fuzzing for as long as wanted: what `tests/fuzz.rs` runs for a minute.
//!
//! ```text
//! cargo run --release --example fuzz -- [TARGET…] [--iterations N] [--first N] [--verbose] [--replay FILE]
//! ```
//! prints for each target how many inputs it took and which did what they may not; these are written to
//! `target/fuzz/`. A run is the same for the same number, so `--first N --iterations 1` repeats run N.
//! `--verbose` names each run before it starts, which tells one that ends the process.
#[path = "../tests/importer/build.rs"]
#[allow(dead_code, missing_docs)]
mod build;
#[path = "../tests/fuzz/mod.rs"]
#[allow(dead_code, missing_docs)]
mod fuzz;

use std::time::Instant;

fn main() -> std::process::ExitCode {
    let (mut iterations, mut first, mut verbose) = (100_000, 0, false);
    let (mut names, mut replay) = (Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|n| n.parse::<u64>().ok()).expect("a number should follow");
        match &*argument {
            "--iterations" => iterations = number(),
            "--first" => first = number(),
            "--verbose" => verbose = true,
            "--replay" => replay = arguments.next(),
            _ => names.push(argument),
        }
    }
    let mut bad = false;
    for target in fuzz::targets().iter().filter(|t| names.is_empty() || names.iter().any(|n| n == t.name)) {
        if let Some(file) = &replay {
            let input = std::fs::read(file).expect("the file should be readable");
            println!("{}: {:?}", target.name, target.replay(&input, &mut fuzz::run::Tally::default()));
            continue;
        }
        bad |= !session(target, first..first + iterations, verbose);
    }
    std::process::ExitCode::from(u8::from(bad))
}

/// A session of one target; whether all went well.
fn session(target: &fuzz::run::Target, runs: std::ops::Range<u64>, verbose: bool) -> bool {
    let start = Instant::now();
    let tell = |run| {
        if verbose {
            eprintln!("{} {run}", target.name);
        }
    };
    let tally = target.fuzz(fuzz::SEED, runs, &tell);
    println!(
        "{}: {} inputs in {:.0} s, {} accepted, slowest {:.3} s, most memory {} MiB, {} findings",
        target.name,
        tally.runs,
        start.elapsed().as_secs_f64(),
        tally.accepted,
        tally.slowest.as_secs_f64(),
        tally.largest >> 20,
        tally.findings.len()
    );
    for finding in &tally.findings {
        let file = format!("target/fuzz/{}-{}", target.name, finding.run);
        println!("  run {}: {} ({file})", finding.run, finding.what);
        std::fs::create_dir_all("target/fuzz").expect("a folder for findings");
        std::fs::write(file, &finding.input).expect("a finding should be written");
    }
    tally.findings.is_empty()
}
