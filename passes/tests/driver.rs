//! The driver: sub-graphs, changes shown, times, limits.
use sardonyx_ir::rewrite::Trace;
use sardonyx_ir::{Graph, text};
use sardonyx_passes::{Driver, Options, PASSES, pass};

fn parse(source: &str) -> Graph {
    text::parse(source).unwrap_or_else(|e| panic!("{e}"))
}

const SOURCE: &str = "graph(%x: f32[2]) {
  %0 = mul(%x, 1.0)
  %1 = exp(%0)
  %2 = add(%1, 0.0)
  return %2
}";

#[test]
fn changes_are_shown_without_numbers_of_values() {
    let (options, mut g) = (Options::default(), parse(SOURCE));
    let mut shown = Vec::new();
    let mut show = |name: &str, change: &str| shown.push(format!("{name}\n{change}"));
    let mut driver = Driver::new(&options).dump_after("algebra", &mut show);
    driver.run(pass("fold").unwrap(), &mut g);
    assert!(driver.run(pass("algebra").unwrap(), &mut g));
    let changes: Vec<(&str, usize)> = driver.timings().iter().map(|t| (t.pass, t.rewrites)).collect();
    assert_eq!(changes, [("fold", 0), ("algebra", 2)]);
    assert_eq!(
        shown,
        [
            "algebra\n-  %0 = mul(%x, 1.0:f32) : f32[2]\n-  %1 = exp(%0) : f32[2]\n-  %2 = add(%1, 0.0:f32) : f32[2]\n\
          +  %0 = exp(%x) : f32[2]\n"
        ]
    );
}

#[test]
fn a_limit_stops_every_pass() {
    let options = Options { trace: Trace::new(Some(1), None), ..Options::default() };
    let mut g = parse(SOURCE);
    let mut driver = Driver::new(&options);
    for pass in PASSES {
        driver.run(pass, &mut g);
    }
    assert_eq!(options.trace.len(), 1);
}

#[test]
fn sub_graphs_are_simplified_too() {
    let mut g = parse(
        "graph(%c: bool[], %x: f32[2]) {
           %0 = if(%c, %x) : f32[2] then (%y: f32[2]) { %0 = mul(%y, 1.0) return %0 }
                                    otherwise (%y: f32[2]) { %0 = neg(%y) %1 = neg(%0) return %1 }
           return %0
         }",
    );
    let options = Options::default();
    assert!(Driver::new(&options).run(pass("algebra").unwrap(), &mut g));
    assert_eq!(options.trace.len(), 2);
    let printed = text::print(&g);
    assert!(!printed.contains("mul") && !printed.contains("neg"), "{printed}");
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = PASSES.iter().map(|p| p.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), PASSES.len());
}
