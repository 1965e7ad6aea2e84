//! Shape arithmetic is known without knowing the sizes.
use sardonyx_ir::{text, verify};

/// The elements of the graph's first output, as text.
fn fact(source: &str) -> String {
    let g = text::parse(source).unwrap_or_else(|e| panic!("{e}"));
    verify::verify(&g).unwrap_or_else(|e| panic!("{e}"));
    let fact = g.fact(g.outputs()[0]).unwrap_or_else(|| panic!("nothing is known of the output of\n{g}"));
    fact.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn gather_arithmetic_and_concat() {
    let source = r#"graph(%x: f32[b,12,s,64]) {
        %shape = dims() {values=[b, 12, s, 64]}
        %i = const [0, -2] : i64[2]
        %bs = gather(%shape, %i) {axis=0}
        %heads = slice(%shape) {starts=[1], sizes=[1], steps=[1]}
        %width = mul(%heads, 64:i64)
        %half = div(%width, 2:i64)
        %rest = modulo(%width, 5:i64)
        %all = concat(%bs, %half, %rest) {axis=0}
        return %all
    }"#;
    assert_eq!(fact(source), "b s 384 3");
}

#[test]
fn minus_one_in_a_shape_is_recognized() {
    let source = r#"graph(%x: f32[b,s]) {
        %shape = dims() {values=[b, s]}
        %wanted = const [-1, 7] : i64[2]
        %keep = eq(%wanted, -1:i64)
        %chosen = select(%keep, %shape, %wanted)
        %never = eq(%shape, -1:i64)
        %again = select(%never, 1:i64, %chosen)
        return %again
    }"#;
    assert_eq!(fact(source), "b 7");
}

#[test]
fn extrema_products_and_sums() {
    let source = r#"graph(%x: f32[b,s]) {
        %shape = dims() {values=[b, s, 4]}
        %product = reduce_prod(%shape) {axes=[0]}
        %sum = reduce_sum(%shape) {axes=[0]}
        %low = min(%sum, 100:i64)
        %twice = expand(%low) {shape=[2]}
        %ends = cumsum(%shape)
        %all = concat(%product, %twice, %ends)
        return %all
    }"#;
    assert_eq!(fact(source), "b*s*4 min(b + s + 4, 100) min(b + s + 4, 100) b b + s b + s + 4");
}

#[test]
fn sizes_pass_through_floating_point() {
    let source = r#"graph(%x: f32[b,3,h,w]) {
        %shape = dims() {values=[b, 3, h, w]}
        %float = cast(%shape) {to=f32}
        %scales = const [1.0, 1.0, 2.0, 0.5] : f32[4]
        %scaled = mul(%float, %scales)
        %floor = floor(%scaled)
        %sizes = cast(%floor) {to=i64}
        %blocks = div(%float, 32.0)
        %up = ceil(%blocks)
        %padded = mul(%up, 32.0)
        %back = cast(%padded) {to=i64}
        %all = concat(%sizes, %back)
        return %all
    }"#;
    assert_eq!(fact(source), "b 3 h*2 w / 2 ((b + 31) / 32)*32 32 ((h + 31) / 32)*32 ((w + 31) / 32)*32");
}

#[test]
fn a_scale_that_is_a_quotient_of_sizes() {
    let source = r#"graph(%x: f32[h], %y: f32[o]) {
        %from = dims() {values=[h]}
        %to = dims() {values=[o]}
        %from_float = cast(%from) {to=f32}
        %to_float = cast(%to) {to=f32}
        %scale = div(%to_float, %from_float)
        %size = mul(%scale, %from_float)
        %floor = floor(%size)
        %result = cast(%floor) {to=i64}
        return %result
    }"#;
    assert_eq!(fact(source), "o");
}

#[test]
fn numbers_are_evaluated_by_any_op() {
    let source = r#"graph() {
        %x = const [3, 1, 2] : i64[3]
        %i = arg_max(%x)
        %r = iota() {count=4}
        %p = pow(%r, 2:i64)
        %s = scatter_elements(%p, %i, %i) {axis=0}
        %y = concat(%i, %s)
        return %y
    }"#;
    assert_eq!(fact(source), "0 0 1 4 9");
}
