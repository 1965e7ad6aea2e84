//! Suppression of overlapping boxes.
use sardonyx_tensor::Tensor;

/// The lower and the upper y and x.
type Corners = [f64; 4];

/// Which boxes an image's classes keep, as rows of image, class and box of an `i64[k, 3]`; boxes are
/// `[images, n, 4]`, scores `[images, classes, n]`.
///
/// For every image and class boxes are taken by falling score, if the score is greater than `threshold` and the
/// overlap with all boxes taken is at most `iou`, until there are `most` (ONNX NonMaxSuppression). A box is two
/// opposite corners `y, x, y, x`, or with `centers` `x, y, width, height`.
pub fn suppress(
    boxes: &Tensor,
    scores: &Tensor,
    most: i64,
    iou: f64,
    threshold: f64,
    centers: bool,
) -> Tensor {
    let (images, n, classes) = (boxes.shape()[0], boxes.shape()[1], scores.shape()[1]);
    let corners: Vec<Corners> = boxes.to_f64s().chunks_exact(4).map(|b| corners(b, centers)).collect();
    let scores = scores.to_f64s();
    let most = usize::try_from(most).unwrap_or(0);
    let mut found = Vec::new();
    for (image, class) in (0..images).flat_map(|image| (0..classes).map(move |class| (image, class))) {
        let scores = &scores[(image * classes + class) * n..][..n];
        for kept in kept(&corners[image * n..][..n], scores, most, iou, threshold) {
            found.extend([image as i64, class as i64, kept as i64]);
        }
    }
    Tensor::from_slice([found.len() / 3, 3], &found)
}

fn corners(b: &[f64], centers: bool) -> Corners {
    match centers {
        true => [b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0],
        false => [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])],
    }
}

/// Boxes by falling score, without those that overlap a better one.
fn kept(boxes: &[Corners], scores: &[f64], most: usize, iou: f64, threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).filter(|&index| scores[index] > threshold).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        if kept.len() >= most {
            break;
        }
        if kept.iter().all(|&other| overlap(&boxes[other], &boxes[index]) <= iou) {
            kept.push(index);
        }
    }
    kept
}

/// Intersection over union; 0 for boxes without area.
fn overlap(a: &Corners, b: &Corners) -> f64 {
    let side = |d: usize| (a[d + 2].min(b[d + 2]) - a[d].max(b[d])).max(0.0);
    let area = |c: &Corners| (c[2] - c[0]) * (c[3] - c[1]);
    let common = side(0) * side(1);
    if common > 0.0 { common / (area(a) + area(b) - common) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(centers: bool, most: i64) -> Vec<i64> {
        let boxes = match centers {
            false => [0.0f32, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0],
            true => [0.5f32, 0.5, 1.0, 1.0, 0.6, 0.5, 1.0, 1.0, 10.5, 0.5, 1.0, 1.0],
        };
        let boxes = Tensor::from_slice([1, 3, 4], &boxes);
        let scores = Tensor::from_slice([1, 1, 3], &[0.5f32, 0.9, 0.7]);
        suppress(&boxes, &scores, most, 0.5, 0.0, centers).to_i64s()
    }

    #[test]
    fn overlapping_boxes_go() {
        for centers in [false, true] {
            assert_eq!(run(centers, 3), [0, 0, 1, 0, 0, 2]);
            assert_eq!(run(centers, 1), [0, 0, 1]);
            assert!(run(centers, 0).is_empty());
            assert!(run(centers, -1).is_empty());
        }
    }
}
