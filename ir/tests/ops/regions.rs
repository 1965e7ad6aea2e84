use super::*;
use sardonyx_ir::Op;
use sardonyx_tensor::Dim;

#[test]
fn fused_is_its_body() {
    let source = "graph(%x: f32[b,2], %y: f32[2]) {
        %z = fused(%x, %y) : f32[b,2] body (%p: f32[n,2], %q: f32[2]) {
            %s = add(%p, %q)
            %shape = dims() {values=[n]}
            return %s
        }
        return %z }";
    let y = run(source, &[f32s(&[1, 2], &[1., 2.]), f32s(&[2], &[10., 20.])]);
    check(&y[0], &[1, 2], &[11., 22.]);
}

const IF: &str = "graph(%c: bool[], %x: f32[n]) {
    %y = if(%c, %x) {types=[f32[u]]} : f32[u]
      then (%p: f32[k]) { %r = concat(%p, %p) return %r }
      otherwise (%p: f32[k]) { %r = neg(%p) return %r }
    %z = relu(%y) : f32[u]
    return %z }";

#[test]
fn branches_may_differ_in_shape() {
    let x = f32s(&[2], &[1., -2.]);
    check(&run(IF, &[Tensor::scalar(true), x.clone()])[0], &[4], &[1., 0., 1., 0.]);
    check(&run(IF, &[Tensor::scalar(false), x])[0], &[2], &[0., 2.]);
    let undeclared = IF.replace(" {types=[f32[u]]} : f32[u]", "");
    assert!(text::parse(&undeclared).unwrap_err().to_string().contains("none are declared"));
}

#[test]
fn declared_types_have_new_symbols_where_needed() {
    let g = text::parse(IF).unwrap();
    let node = g.nodes().find(|&id| matches!(g.node(id).op, Op::If { .. })).unwrap();
    let mut op = g.node(node).op.clone();
    let operands: Vec<_> = g.operands(node).map(|v| g.ty(v).clone()).collect();
    op.declare_types(&operands, &mut || Dim::symbol("fresh")).unwrap();
    let Op::If { types, .. } = op else { panic!() };
    assert_eq!(types[0].to_string(), "f32[fresh]");
}

/// Fibonacci numbers: carried values, stacked rows, a capture and an early end.
#[test]
fn loops_carry_and_stack() {
    let source = "graph(%trip: i64[], %limit: i64[]) {
        %a, %b, %rows = loop(%trip, 1:bool, 0:i64, 1:i64, %limit)
            {carried=2, types=[i64[], i64[], i64[k]]} : i64[], i64[], i64[k]
          body (%i: i64[], %c: bool[], %p: i64[], %q: i64[], %limit: i64[]) {
            %s = add(%p, %q)
            %go = lt(%s, %limit)
            return %go, %q, %s, %p
          }
        return %a, %b, %rows }";
    let y = run(source, &[Tensor::scalar(5i64), Tensor::scalar(1000i64)]);
    assert_eq!((y[0].to_i64s(), y[1].to_i64s(), y[2].to_i64s()), (vec![5], vec![8], vec![0, 1, 1, 2, 3]));
    let y = run(source, &[Tensor::scalar(i64::MAX), Tensor::scalar(10i64)]);
    assert_eq!(y[2].to_i64s(), [0, 1, 1, 2, 3, 5]);
    let y = run(source, &[Tensor::scalar(0i64), Tensor::scalar(10i64)]);
    assert_eq!((y[2].shape(), y[1].to_i64s()), (&[0][..], vec![1]));
}

#[test]
fn a_carried_value_may_grow() {
    let source = "graph(%x: f32[2], %trip: i64[]) {
        %y = loop(%trip, 1:bool, %x, %x) {carried=1, types=[f32[u]]} : f32[u]
          body (%i: i64[], %c: bool[], %p: f32[n], %x: f32[2]) {
            %q = concat(%p, %x)
            return %c, %q
          }
        return %y }";
    let y = run(source, &[f32s(&[2], &[1., 2.]), Tensor::scalar(2i64)]);
    check(&y[0], &[6], &[1., 2., 1., 2., 1., 2.]);
    let g = text::parse(source).unwrap();
    let node = g.nodes().find(|&id| matches!(g.node(id).op, Op::Loop { .. })).unwrap();
    let mut op = g.node(node).op.clone();
    let operands: Vec<_> = g.operands(node).map(|v| g.ty(v).clone()).collect();
    op.declare_types(&operands, &mut || Dim::symbol("fresh")).unwrap();
    let Op::Loop { types, .. } = op else { panic!() };
    assert_eq!(types[0].to_string(), "f32[fresh]");
}
