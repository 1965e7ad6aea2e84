//! The text form: what is printed parses back to the same graph.
use sardonyx_ir::{Graph, interp, text, verify};
use sardonyx_tensor::DType;

fn check(source: &str) -> Graph {
    let g = text::parse(source).unwrap_or_else(|e| panic!("{e}"));
    verify::verify(&g).unwrap_or_else(|e| panic!("{e}"));
    let printed = text::print(&g);
    let again = text::parse(&printed).unwrap_or_else(|e| panic!("{e} in\n{printed}"));
    assert_eq!(printed, text::print(&again));
    g
}

#[test]
fn round_trip_and_value() {
    let g = check(
        r#"graph(%x: f32[b,4], %"in:0": f32[4]) {
             %0 = mul(%x, 2.0) : f32[b,4]
             %1 = add(%0, %"in:0")
             %2 = clip(%1) {min=-0.5, max=0.5}
             %3 = slice(%2) {starts=[0, 3], sizes=[b, 4], steps=[1, -1]}
             %4 = const [1, 2, 3, 4] : i64[4]
             %5 = cast(%4) {to=f32}
             %6 = concat(%3, %3) {axis=0} : f32[b*2,4]
             %7 = mul(%6, %5)
             return %7 as "y"
           }"#,
    );
    let x = interp::sample(DType::F32, &[2, 4], 1);
    let bias = interp::sample(DType::F32, &[4], 2);
    let y = interp::eval(&g, &[x.clone(), bias.clone()]).expect("the graph should run");
    assert_eq!(y[0].shape(), [4, 4]);
    let expected = (x.get_f64(3) * 2.0 + bias.get_f64(3)).clamp(-0.5, 0.5);
    assert!((y[0].get_f64(0) - expected).abs() < 1e-6);
}

#[test]
fn shapes_are_known_symbolically() {
    let g = check(
        r#"graph(%x: f32[b,12,s,64]) {
             %0 = dims() {values=[b, 12, s, 64]} : i64[4]
             %1 = slice(%0) {starts=[2], sizes=[1], steps=[1]}
             %2 = mul(%1, 64:i64)
             %3 = concat(%1, %2, %1) {axis=0}
             return %3
           }"#,
    );
    let fact = g.fact(g.outputs()[0]).expect("the shape arithmetic should be known");
    assert_eq!(fact.iter().map(ToString::to_string).collect::<Vec<_>>(), ["s", "s*64", "s"]);
}

#[test]
fn errors_name_the_place() {
    for (text, message) in [
        ("graph(%x: f32[2]) { %0 = add(%x, %y) return %0 }", "%y is not defined"),
        ("graph(%x: f32[2]) { %0 = frob(%x) return %0 }", "unknown op `frob`"),
        (
            "graph(%x: f32[2], %y: f32[3]) { %0 = add(%x, %y) return %0 }",
            "cannot broadcast f32[2] with f32[3]",
        ),
        ("graph(%x: f32[2]) { %0 = add(%x) return %0 }", "takes 2 operands, got 1"),
    ] {
        let e = text::parse(text).expect_err("the text should be refused");
        assert!(e.to_string().contains(message), "{e}");
    }
}
