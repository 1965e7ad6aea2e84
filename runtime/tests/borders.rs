//! What an application takes in that embeds the runtime: no compiler, no protobuf, no graph.

use std::process::Command;

#[test]
fn the_runtime_depends_on_no_compiler() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "sardonyx-runtime", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo should run");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains(&"sardonyx-tensor"), "{tree}");
    for forbidden in
        ["inkwell", "llvm-sys", "prost", "petgraph", "sardonyx-ir", "sardonyx-codegen", "sardonyx"]
    {
        assert!(!crates.contains(&forbidden), "sardonyx-runtime depends on {forbidden}");
    }
}
