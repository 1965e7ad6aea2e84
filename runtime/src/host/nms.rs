//! `nms(boxes[b,n,4], scores[b,c,n], i64 most, iou, threshold) {centers} -> i64[k,3]`: non-maximum
//! suppression, as [`sardonyx_values::suppress`] does it.

use sardonyx_tensor::Tensor;

use super::Call;

pub(super) fn nms(call: &Call) -> Result<Vec<Tensor>, String> {
    let (boxes, scores) = (call.input(0)?, call.input(1)?);
    let (&[batch, n, 4], &[images, _, of]) = (&boxes.shape[..], &scores.shape[..]) else {
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
    let most = single(2)?.to_i64s()[0];
    let (iou, threshold) = (single(3)?.get_f64(0), single(4)?.get_f64(0));
    let (boxes, scores) = (boxes.to_tensor()?, scores.to_tensor()?);
    Ok(vec![sardonyx_values::suppress(&boxes, &scores, most, iou, threshold, centers)])
}
