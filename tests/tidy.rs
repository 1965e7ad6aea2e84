//! The house rules that a machine can check: crate borders, where `unsafe` may stand, file length, file headers,
//! unfinished code, and paths of somebody's machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file; CONTRIBUTING.md asks for 400 lines.
const MOST_LINES: usize = 600;

/// What each crate may depend on: our crates, then third-party ones. A new dependency is a new entry here.
/// What the runtime carries through other crates is tested beside it.
const BORDERS: &[(&str, &[&str], &[&str])] = &[
    ("tensor", &[], &["bytemuck", "half", "microfloat", "serde", "smallvec", "thiserror"]),
    ("values", &["sardonyx-tensor"], &["hayro-jpeg2000", "image", "regex-lite"]),
    (
        "runtime",
        &["sardonyx-tensor", "sardonyx-values"],
        &["blake3", "libloading", "memmap2", "object", "rocm-rs", "serde", "serde_json", "thiserror"],
    ),
    ("ir", &["sardonyx-tensor", "sardonyx-values"], &["petgraph", "smallvec", "thiserror"]),
    ("passes", &["sardonyx-ir", "sardonyx-tensor"], &[]),
    (
        "codegen",
        &["sardonyx-ir", "sardonyx-runtime", "sardonyx-tensor"],
        &[
            "blake3",
            "half",
            "inkwell",
            "libloading",
            "object",
            "rayon",
            "rmpv",
            "serde",
            "serde_json",
            "smallvec",
            "thiserror",
        ],
    ),
    ("examples/embed", &["sardonyx-runtime"], &[]),
];

/// Crates whose name may stand in one file only.
const ONE_OWNER: &[(&str, &str)] =
    &[("petgraph", "ir/src/graph.rs"), ("inkwell", "codegen/src/toolchain/llvm.rs")];

/// Files outside `runtime/src/{sys,elf,gpu,cpu}` that may hold `unsafe`, each with its reason.
const UNSAFE_ELSEWHERE: &[(&str, &str)] =
    &[("codegen/src/toolchain/gpu/sys.rs", "run-time compilers are C libraries")];

const UNSAFE_IN_RUNTIME: &[&str] = &["sys", "elf", "gpu", "cpu"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under the root that are written by hand, as (path from the root, text). Build output is left out.
fn texts(extensions: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("folder of the repository should be readable") {
            let path = entry.expect("entry should be readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".ci";
            if path.is_dir() && !hidden && !["target", "cache", "data"].contains(&name.as_str()) {
                walk(&path, files);
            } else if path.is_file() && !hidden {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(root(), &mut files);
    files.sort();
    let wanted = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        extensions.contains(&extension.as_str())
    };
    let relative = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let read = |path: PathBuf| Some((relative(&path), fs::read_to_string(&path).ok()?));
    files.into_iter().filter(wanted).filter_map(read).collect()
}

/// Rust files of the product, without tests, benchmarks and examples.
fn sources() -> Vec<(String, String)> {
    texts(&["rs"])
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/") || path.contains("/src/"))
        .collect()
}

/// The part of a line that is code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

fn report(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Names in the `[dependencies]` tables of a crate, of all platforms.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest =
        fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("manifest should be there");
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.ends_with("dependencies]") && !table.contains("dev-") && !table.contains("build-");
        } else if inside
            && let Some(name) = line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty())
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn crates_depend_only_on_what_they_may_know() {
    let mut found = Vec::new();
    for (folder, ours, others) in BORDERS {
        for name in dependencies(folder) {
            if !name.starts_with('#') && !ours.contains(&name.as_str()) && !others.contains(&name.as_str()) {
                found.push(format!("{folder}/Cargo.toml depends on {name}"));
            }
        }
    }
    report("dependencies that ARCHITECTURE.md does not allow", found);
}

#[test]
fn third_party_graphs_and_llvm_stand_in_one_file_each() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (name, owner) in ONE_OWNER {
            if path != *owner && text.lines().any(|line| has_word(code(line), name)) {
                found.push(format!("{path} names {name}, which belongs to {owner}"));
            }
        }
    }
    report("crates with one owner", found);
}

#[test]
fn unsafe_stands_where_it_may() {
    let may = |path: &str| {
        let inside = path.strip_prefix("runtime/src/").unwrap_or_default();
        UNSAFE_IN_RUNTIME.iter().any(|prefix| inside.starts_with(prefix))
            || UNSAFE_ELSEWHERE.iter().any(|(allowed, _)| *allowed == path)
    };
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !may(path)) {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| has_word(code(line), "unsafe")) {
            found.push(format!("{path}:{}: {}", index + 1, line.trim()));
        }
    }
    report("unsafe code outside its places", found);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            found.push(format!("{path} has {lines} lines; split it along an idea"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{path} does not begin with a //! header"));
        }
    }
    report("source files", found);
}

#[test]
fn nothing_is_left_unfinished() {
    // Written in parts, so that this file passes.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let macros = [concat!("to", "do!"), concat!("unim", "plemented!"), concat!("db", "g!")];
    let mut found = Vec::new();
    for (path, text) in texts(&["rs", "hip", "hpp", "py", "md", "toml", "proto", "ir"]) {
        for (index, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| has_word(line, mark)) || macros.iter().any(|name| line.contains(name))
            {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    report("unfinished", found);
}

#[test]
fn no_paths_of_one_machine() {
    let folders = ["work", "farm", "home", "Users", "root"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for (path, text) in texts(&["rs", "hip", "hpp", "py", "md", "toml", "proto", "ir", "json", "snap", ""]) {
        for (index, line) in text.lines().enumerate() {
            let starts = folders.iter().flat_map(|folder| line.match_indices(folder.as_str()));
            let mut before = starts.map(|(at, _)| line[..at].chars().next_back());
            if before.any(|c| c.is_none_or(|c| !c.is_alphanumeric() && !"_.$}*-".contains(c))) {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    report("paths of one machine", found);
}
