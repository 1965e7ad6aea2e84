//! Operators of object detection, and of matrices.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, one};
use sardonyx_ir::ops::attribute::RegionPooling;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    one("Det", 11, |cx| cx.on_first(Op::Det {})),
    one("MaxRoiPool", 1, max_roi_pool),
    one("NonMaxSuppression", 10, non_max_suppression),
    one("RoiAlign", 10, |cx| roi_align(cx, "output_half_pixel")),
    one("RoiAlign", 16, |cx| roi_align(cx, "half_pixel")),
];

/// Operand `i` as a scalar of a type; a number if it is left out.
fn scalar_or(cx: &mut Context, i: usize, dtype: DType, default: f64) -> Built {
    match cx.operand_if(i)? {
        Some(v) => {
            let v = cx.cast(v, dtype)?;
            cx.as_scalar(v)
        }
        None => Ok(cx.scalar(dtype, default)),
    }
}

fn non_max_suppression(cx: &mut Context) -> Built {
    let (boxes, scores) = (cx.operand(0)?, cx.operand(1)?);
    let dtype = cx.dtype(boxes);
    let most = scalar_or(cx, 2, DType::I64, 0.0)?;
    let iou = scalar_or(cx, 3, dtype, 0.0)?;
    let threshold = scalar_or(cx, 4, dtype, f64::NEG_INFINITY)?;
    let centers = match cx.int("center_point_box", 0)? {
        0 => false,
        1 => true,
        other => return invalid(format!("center_point_box {other}")),
    };
    let count = cx.importer.symbol();
    cx.add(Op::Nms { centers, count }, &[boxes, scores, most, iou, threshold])
}

fn roi_align(cx: &mut Context, default: &str) -> Built {
    let (x, rois, batches) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let mode = match cx.string("mode", "avg")?.as_str() {
        "avg" => RegionPooling::Average,
        "max" => RegionPooling::Maximum,
        other => return invalid(format!("unknown mode `{other}`")),
    };
    let half_pixel = match cx.string("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return invalid(format!("unknown coordinates `{other}`")),
    };
    let op = Op::RoiAlign {
        mode,
        height: cx.int("output_height", 1)?,
        width: cx.int("output_width", 1)?,
        sampling_ratio: cx.int("sampling_ratio", 0)?,
        spatial_scale: cx.float("spatial_scale", 1.0)?,
        half_pixel,
    };
    cx.add(op, &[x, rois, batches])
}

fn max_roi_pool(cx: &mut Context) -> Built {
    let operands: [Value; 2] = [cx.operand(0)?, cx.operand(1)?];
    let Some([height, width]) =
        cx.ints("pooled_shape")?.as_deref().and_then(|s| <[i64; 2]>::try_from(s).ok())
    else {
        return invalid("the attribute `pooled_shape` should have two sizes");
    };
    let spatial_scale = cx.float("spatial_scale", 1.0)?;
    cx.add(Op::MaxRoiPool { height, width, spatial_scale }, &operands)
}
