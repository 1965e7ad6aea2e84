//! How the compiler's stages grow with the size of a model.
//!
//! ```text
//! cargo run --release --example scale -- [KIND] [NODES…]
//! ```
//! prints for each kind of model in `tests/scale/models.rs` the milliseconds of every stage at each size, and the
//! exponent of the growth between the last two sizes.
#[path = "../tests/importer/build.rs"]
#[allow(dead_code, missing_docs)]
mod build;
#[path = "../tests/scale/models.rs"]
#[allow(missing_docs)]
mod models;
#[path = "../tests/scale/stages.rs"]
#[allow(missing_docs)]
mod stages;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (sizes, kinds): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|a| a.parse::<usize>().is_ok());
    let mut sizes: Vec<usize> = sizes.iter().filter_map(|s| s.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1000, 3000, 10_000];
    }
    for (name, make) in models::KINDS.iter().filter(|(k, _)| kinds.is_empty() || kinds.iter().any(|w| w == k))
    {
        let columns: Vec<stages::Times> = sizes.iter().map(|&n| stages::measure(&make(n))).collect();
        println!(
            "\n| {name} | {} | growth |",
            sizes.iter().map(|n| format!("{n} nodes")).collect::<Vec<_>>().join(" | ")
        );
        println!("|---{}|---|", "|---".repeat(sizes.len()));
        for (stage, _) in &columns[0] {
            let of = |c: &stages::Times| c.iter().find(|(s, _)| s == stage).map_or(0.0, |(_, t)| *t);
            let times: Vec<f64> = columns.iter().map(of).collect();
            let cells: Vec<String> = times.iter().map(|t| format!("{:.1}", t * 1e3)).collect();
            println!("| {stage} | {} | {} |", cells.join(" | "), growth(&sizes, &times));
        }
    }
}

/// The exponent of the growth between the last two sizes, where the times are long enough to tell.
fn growth(sizes: &[usize], times: &[f64]) -> String {
    let ([.., m, n], [.., a, b]) = (sizes, times) else { return String::new() };
    if *a < 2e-3 {
        return "–".into();
    }
    format!("{:.2}", (b / a).ln() / (*n as f64 / *m as f64).ln())
}
