//! `nms(boxes[b,n,4], scores[b,c,n], i64 most, iou, threshold) {centers} -> i64[k,3]`: non-maximum
//! suppression. For every image and class boxes are taken by falling score, if the score is greater than
//! `threshold` and the overlap with all boxes taken is at most `iou`, until there are `most`. A box is two
//! opposite corners `y, x, y, x`, or with `centers` `x, y, width, height`. A row of the result is image,
//! class, box.

use sardonyx_tensor::Tensor;

use super::{Call, View};

pub(super) fn nms(call: &Call) -> Result<Vec<Tensor>, String> {
    let (boxes, scores) = (call.input(0)?, call.input(1)?);
    let (&[batch, n, 4], &[images, classes, of]) = (&boxes.shape[..], &scores.shape[..]) else {
        return Err("boxes should be [b,n,4], scores [b,c,n]".into());
    };
    if batch != images || n != of {
        return Err(format!("scores of {images} images and {of} boxes for {batch} and {n}"));
    }
    let centers = call.flag("centers", false)?;
    let single = |index: usize| -> Result<Tensor, String> {
        let tensor = call.input(index)?.to_tensor()?;
        if tensor.len() == 1 { Ok(tensor) } else { Err(format!("input {index} should be one number")) }
    };
    let most = usize::try_from(single(2)?.to_i64s()[0]).unwrap_or(0);
    let (iou, threshold) = (single(3)?.get_f64(0), single(4)?.get_f64(0));
    let corners = corners(boxes, centers)?;
    let scores = scores.to_tensor()?.to_f64s();
    let mut found = Vec::new();
    for (image, class) in (0..batch).flat_map(|image| (0..classes).map(move |class| (image, class))) {
        let scores = &scores[(image * classes + class) * n..][..n];
        for kept in kept(&corners[image * n..][..n], scores, most, iou, threshold) {
            found.extend([image as i64, class as i64, kept as i64]);
        }
    }
    Ok(vec![Tensor::from_slice([found.len() / 3, 3], &found)])
}

/// The lower and the upper y and x.
type Corners = [f64; 4];

fn corners(boxes: &View, centers: bool) -> Result<Vec<Corners>, String> {
    let numbers = boxes.to_tensor()?.to_f64s();
    let corner = |b: &[f64]| match centers {
        true => [b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0],
        false => [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])],
    };
    Ok(numbers.chunks_exact(4).map(corner).collect())
}

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
    use serde_json::json;

    fn run(centers: bool, most: i64) -> Vec<i64> {
        let boxes = match centers {
            false => [0.0f32, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0],
            true => [0.5f32, 0.5, 1.0, 1.0, 0.6, 0.5, 1.0, 1.0, 10.5, 0.5, 1.0, 1.0],
        };
        let tensors = [
            Tensor::from_slice([1, 3, 4], &boxes),
            Tensor::from_slice([1, 1, 3], &[0.5f32, 0.9, 0.7]),
            Tensor::scalar(most),
            Tensor::scalar(0.5f32),
            Tensor::scalar(0.0f32),
        ];
        let inputs = tensors.each_ref().map(|t| View {
            dtype: t.dtype(),
            shape: t.shape().to_vec(),
            bytes: t.bytes(),
        });
        let attrs = json!({ "centers": centers });
        nms(&Call { inputs: &inputs, attrs: &attrs, outputs: &[None] }).unwrap()[0].to_i64s()
    }

    #[test]
    fn overlapping_boxes_go() {
        for centers in [false, true] {
            assert_eq!(run(centers, 3), [0, 0, 1, 0, 0, 2]);
            assert_eq!(run(centers, 1), [0, 0, 1]);
            assert!(run(centers, 0).is_empty());
        }
    }
}
