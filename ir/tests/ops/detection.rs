use super::*;

fn nms(boxes: &[f64], scores: &[f64], most: i64, iou: f64, least: f64, centers: bool) -> Vec<i64> {
    let inputs = [
        f32s(&[1, boxes.len() / 4, 4], boxes),
        f32s(&[1, 1, scores.len()], scores),
        Tensor::scalar(most),
        f32s(&[], &[iou]),
        f32s(&[], &[least]),
    ];
    let y = op(&format!("nms(%a, %b, %c, %d, %e) {{centers={centers}, count=k}}"), &inputs);
    assert_eq!(y.shape()[1], 3);
    y.to_i64s().chunks(3).map(|row| row[2]).collect()
}

#[test]
fn overlapping_boxes_are_suppressed() {
    // The second overlaps the first by 2/3, the third by nothing, the fourth is the first, flipped.
    let boxes = [0., 0., 1., 1., 0., 0.2, 1., 1.2, 0., 5., 1., 6., 1., 1., 0., 0.];
    let scores = [0.9, 0.95, 0.3, 0.8];
    assert_eq!(nms(&boxes, &scores, 9, 0.5, 0.0, false), [1, 2]);
    assert_eq!(nms(&boxes, &scores, 9, 0.7, 0.0, false), [1, 0, 2]);
    assert_eq!(nms(&boxes, &scores, 1, 0.7, 0.0, false), [1]);
    assert_eq!(nms(&boxes, &scores, 9, 0.7, 0.3, false), [1, 0]);
    assert!(nms(&boxes, &scores, 0, 0.7, 0.3, false).is_empty());
    let centers = [0.5, 0.5, 1., 1., 0.5, 0.6, 1., 1., 9., 9., 1., 1.];
    assert_eq!(nms(&centers, &[0.5, 0.6, 0.7], 9, 0.5, 0.0, true), [2, 1]);
}

#[test]
fn regions_are_averaged() {
    // On a plane x + 10 y an average of samples is the value at their mean.
    let plane: Vec<f64> = (0..36).map(|i| f64::from(i % 6 + 10 * (i / 6))).collect();
    let (x, rois) = (f32s(&[1, 1, 6, 6], &plane), f32s(&[1, 4], &[2., 1., 4., 5.]));
    let inputs = [x, rois, i64s(&[1], &[0])];
    let call = |more: &str| format!("roi_align(%a, %b, %c) {{height=2, width=1, sampling_ratio=2, {more}}}");
    check(&op(&call("half_pixel=false"), &inputs), &[1, 1, 2, 1], &[23., 43.]);
    check(&op(&call("half_pixel=true"), &inputs), &[1, 1, 2, 1], &[17.5, 37.5]);
    let maximum = "roi_align(%a, %b, %c) {mode=max, half_pixel=false, sampling_ratio=1}";
    check(&op(maximum, &inputs), &[1, 1, 1, 1], &[33.]);
    let outside = [inputs[0].clone(), inputs[1].clone(), i64s(&[1], &[1])];
    assert!(try_run(&graph(&call("half_pixel=true"), &outside, 1), &outside).is_err());
}

#[test]
fn regions_have_maxima() {
    let plane: Vec<f64> = (0..16).map(f64::from).collect();
    let inputs = [f32s(&[1, 1, 4, 4], &plane), f32s(&[1, 5], &[0., 0., 0., 6., 4.])];
    let y = op("max_roi_pool(%a, %b) {height=2, width=2, spatial_scale=0.5}", &inputs);
    check(&y, &[1, 1, 2, 2], &[5., 7., 9., 11.]);
}

#[test]
fn slices_are_made_unique() {
    let x = i64s(&[6], &[2, 1, 1, 3, 4, 3]);
    let found = |call: &str, x: &Tensor| {
        ops(call, std::slice::from_ref(x), 4).iter().map(Tensor::to_i64s).collect::<Vec<_>>()
    };
    let sorted = [vec![1, 2, 3, 4], vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]];
    assert_eq!(found("unique(%a) {count=k}", &x), sorted);
    let seen = [vec![2, 1, 3, 4], vec![0, 1, 3, 4], vec![0, 1, 1, 2, 3, 2], vec![1, 2, 2, 1]];
    assert_eq!(found("unique(%a) {count=k, sorted=false}", &x), seen);
    let rows = i64s(&[3, 2], &[1, 0, 1, 0, 0, 5]);
    let by_row = [vec![0, 5, 1, 0], vec![2, 0], vec![1, 1, 0], vec![1, 2]];
    assert_eq!(found("unique(%a) {count=k}", &rows), by_row);
    let columns = [vec![0, 1, 0, 1, 5, 0], vec![1, 0], vec![1, 0], vec![1, 1]];
    assert_eq!(found("unique(%a) {count=k, axis=1}", &rows), columns);
}
