//! No stage of the compiler grows much faster than the model: `examples/scale.rs` prints the times that this bounds.
#[path = "importer/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "scale/models.rs"]
mod models;
#[path = "scale/stages.rs"]
mod stages;

/// Four times the nodes may take so many times as long: linear is 4, quadratic 16.
const MOST: f64 = 9.0;
/// Stages below these seconds are too short to tell.
const LEAST: f64 = 0.25;

#[test]
fn stages_grow_with_the_model() {
    for (name, make) in models::KINDS {
        let (small, large) = (make(1000), make(4000));
        // The machine may be busy with something else in one of the two runs, so there are three tries.
        let mut slow = Vec::new();
        for _ in 0..3 {
            slow = too_slow(&stages::measure(&small), &stages::measure(&large));
            if slow.is_empty() {
                break;
            }
        }
        assert!(slow.is_empty(), "{name}, from 1000 to 4000 nodes:\n{}", slow.join("\n"));
    }
}

/// The stages that grow too fast.
fn too_slow(small: &stages::Times, large: &stages::Times) -> Vec<String> {
    let line = |((stage, a), (_, b)): (&(String, f64), &(String, f64))| {
        (*b > LEAST && *b > a * MOST).then(|| format!("  {stage}: from {a:.3} s to {b:.3} s"))
    };
    small.iter().zip(large).filter_map(line).collect()
}
