//! No bytes make the readers of files panic, hang or take memory without bound: models, graph texts, program files,
//! tensors and arrays, damaged in ways that a seed gives. `examples/fuzz.rs` goes on for longer.
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "fuzz/mod.rs"]
#[allow(dead_code)]
mod fuzz;

/// How many inputs each target takes here.
const RUNS: &[(&str, u64)] =
    &[("model", 80_000), ("text", 80_000), ("program", 40_000), ("tensor", 200_000), ("array", 200_000)];

/// Runs a target; shows the first inputs that did what they may not.
fn survives(name: &str) {
    let targets = fuzz::targets();
    let target = targets.iter().find(|t| t.name == name).expect("a target of the list");
    let (_, runs) = RUNS.iter().find(|(n, _)| *n == name).expect("a target of the list");
    let tally = target.fuzz(fuzz::SEED, 0..*runs, &|_| ());
    let shown = |f: &fuzz::run::Finding| {
        format!("run {}: {}: {:?}", f.run, f.what, String::from_utf8_lossy(&f.input))
    };
    let found: Vec<String> = tally.findings.iter().take(3).map(shown).collect();
    assert!(found.is_empty(), "{} of {runs} inputs of {name}:\n{}", tally.findings.len(), found.join("\n"));
    // Where nothing is accepted, only the first lines of a reader are tried.
    assert!(tally.accepted * 100 >= tally.runs, "{name}: {} of {runs} inputs were accepted", tally.accepted);
}

#[test]
fn models() {
    survives("model");
}

#[test]
fn texts() {
    survives("text");
}

#[test]
fn programs() {
    survives("program");
}

#[test]
fn tensors() {
    survives("tensor");
}

#[test]
fn arrays() {
    survives("array");
}

/// What was found once: `found/TARGET-WHAT`.
#[test]
fn found() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/found");
    let targets = fuzz::targets();
    for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target =
            targets.iter().find(|t| name.starts_with(t.name)).expect("a file begins with its target");
        let input = std::fs::read(entry.path()).expect("a file of the repository");
        let result = target.replay(&input, &mut fuzz::run::Tally::default());
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}
