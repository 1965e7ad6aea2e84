use super::*;
use sardonyx_ir::Op;

fn counted() -> Tensor {
    i64s(&[2, 3], &[1, 2, 3, 4, 5, 6])
}

fn moved(call: &str, shape: &[usize], values: &[i64]) {
    let y = op(call, &[counted()]);
    assert_eq!((y.shape(), y.to_i64s()), (shape, values.to_vec()), "{call}");
}

#[test]
fn elements_move() {
    moved("reshape(%a) {shape=[3, 2]}", &[3, 2], &[1, 2, 3, 4, 5, 6]);
    moved("transpose(%a) {perm=[1, 0]}", &[3, 2], &[1, 4, 2, 5, 3, 6]);
    moved("expand(%a) {shape=[2, 2, 3]}", &[2, 2, 3], &[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    moved("slice(%a) {starts=[0, 2], sizes=[2, 2], steps=[1, -2]}", &[2, 2], &[3, 1, 6, 4]);
    moved("slice(%a) {starts=[7, 0], sizes=[0, 3], steps=[1, 1]}", &[0, 3], &[]);
    moved("concat(%a, %a) {axis=1}", &[2, 6], &[1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
}

#[test]
fn borders_are_filled() {
    let pad = |mode: &str| format!("pad(%a, 9:i64) {{before=[0, 2], after=[0, 1], mode={mode}}}");
    moved(&pad("constant"), &[2, 6], &[9, 9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9]);
    moved(&pad("edge"), &[2, 6], &[1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6]);
    moved(&pad("reflect"), &[2, 6], &[3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5]);
    moved(&pad("wrap"), &[2, 6], &[2, 3, 1, 2, 3, 1, 5, 6, 4, 5, 6, 4]);
    moved("pad(%a, 9:i64) {before=[-1, 0], after=[0, -1]}", &[1, 2], &[4, 5]);
}

#[test]
fn values_are_made() {
    assert_eq!(
        run("graph(%x: f32[b,3]) { %y = dims() {values=[b*2, 7]} return %y }", &[sample(&[4, 3], 1)])[0]
            .to_i64s(),
        [8, 7]
    );
    check(&run("graph() { %y = iota() {count=3, to=f32} return %y }", &[])[0], &[3], &[0., 1., 2.]);
    let bound = "graph(%n: i64[1]) {
        %k = bind(%n) {dims=[k]}
        %y = iota() {count=k}
        return %y, %k }";
    assert_eq!(run(bound, &[i64s(&[1], &[2])])[0].to_i64s(), [0, 1]);
}

#[test]
fn reductions_keep_their_axes() {
    moved("reduce_sum(%a) {axes=[1]}", &[2, 1], &[6, 15]);
    moved("reduce_sum(%a)", &[2, 3], &[1, 2, 3, 4, 5, 6]);
    moved("reduce_mean(%a) {axes=[0]}", &[1, 3], &[2, 3, 4]);
    moved("reduce_max(%a) {axes=[0, -1]}", &[1, 1], &[6]);
    moved("reduce_min(%a) {axes=[0]}", &[1, 3], &[1, 2, 3]);
    moved("reduce_prod(%a) {axes=[1]}", &[2, 1], &[6, 120]);
    check(&op("reduce_mean(%a) {axes=[0]}", &[f32s(&[4], &[1., 2., 3., 4.])]), &[1], &[2.5]);
    let empty = f32s(&[0], &[]);
    check(&op("reduce_max(%a) {axes=[0]}", &[empty.clone()]), &[1], &[f64::NEG_INFINITY]);
    check(&op("reduce_prod(%a) {axes=[0]}", &[empty.clone()]), &[1], &[1.]);
    check(&op("reduce_sum(%a) {axes=[0]}", &[empty]), &[1], &[0.]);
    assert_eq!(op("reduce_min(%a) {axes=[0]}", &[Tensor::from_slice([0], &[0u8; 0])]).to_i64s(), [255]);
}

#[test]
fn bits_are_taken_as_another_type() {
    assert_eq!(op("bitcast(%a) {to=i32}", &[f32s(&[1], &[1.0])]).to_i64s(), [0x3f80_0000]);
    assert_eq!(op("bitcast(%a) {to=u8}", &[Tensor::from_slice([1], &[-1i8])]).to_i64s(), [255]);
    assert_eq!(op("bitcast(%a) {to=u8}", &[Tensor::from_slice([1], &[true])]).to_i64s(), [1]);
    assert_eq!(op("bitcast(%a) {to=i4}", &[Tensor::from_i64s(DType::U4, [1], [15])]).to_i64s(), [-1]);
    assert!(try_run("graph(%x: f32[1]) { %y = bitcast(%x) {to=i64} return %y }", &[]).is_err());
}

#[test]
fn texts_are_moved_chosen_and_compared_but_not_computed_with() {
    let a = Tensor::from_texts([3], &["one", "two", "three"]);
    let b = Tensor::from_texts([1], &["two"]);
    let last = Tensor::from_slice([2], &[-1i64, 0]);
    let gathered = interp::eval_op(&Op::Gather { axis: 0 }, &[a.clone(), last]).unwrap();
    assert_eq!(gathered[0].texts(), ["three", "one"]);
    let joined = interp::eval_op(&Op::Concat { axis: 0 }, &[a.clone(), b.clone()]).unwrap();
    assert_eq!(joined[0].texts(), ["one", "two", "three", "two"]);
    let equal = interp::eval_op(&Op::Eq {}, &[a.clone(), b.clone()]).unwrap();
    assert_eq!(equal[0].to_i64s(), [0, 1, 0]);
    let chosen = interp::eval_op(&Op::Select {}, &[equal[0].clone(), a.clone(), b.clone()]).unwrap();
    assert_eq!(chosen[0].texts(), ["two"; 3]);
    for op in [Op::Add {}, Op::Lt {}, Op::Cast { to: DType::F32 }, Op::ReduceSum { axes: vec![0] }] {
        let count = op.row().required;
        assert!(interp::eval_op(&op, &[a.clone(), b.clone()][..count]).is_err(), "{}", op.name());
    }
}
