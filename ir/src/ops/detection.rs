//! Ops of object detection: suppression of overlapping boxes, pooling of regions.
use super::attribute::RegionPooling;
use super::values::known;
use super::{Definition, Infer, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};

fn check_scalars(cx: &Infer, dtypes: &[DType]) -> Result<(), String> {
    for (t, &dtype) in cx.operands()[2..].iter().zip(dtypes) {
        if *t != Type::scalar(dtype) {
            return Err(format!("expected {dtype}[], got {t}"));
        }
    }
    Ok(())
}

pub(super) const NMS: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, Nms { count });
        let (boxes, scores) = (cx.operand(0), cx.operand(1));
        if boxes.rank() != 3 || scores.rank() != 3 || boxes.shape[2] != 4 {
            return Err(format!("{}: boxes [b,n,4] and scores [b,c,n]", cx.listed()));
        }
        if boxes.dtype != scores.dtype || !boxes.dtype.is_float() {
            return Err(format!("{}: floats of one type", cx.listed()));
        }
        check_scalars(cx, &[DType::I64, boxes.dtype, boxes.dtype])?;
        cx.same(&boxes.shape[0], &scores.shape[0]).map_err(|e| format!("{}: {e}", cx.listed()))?;
        cx.same(&boxes.shape[1], &scores.shape[2]).map_err(|e| format!("{}: {e}", cx.listed()))?;
        Ok(vec![Type { dtype: DType::I64, shape: vec![count.clone(), Dim::from(3)] }])
    },
    eval: |op, x, _| {
        attributes!(op, Nms { centers });
        let (most, iou, threshold) = (x[2].get_i64(0), x[3].get_f64(0), x[4].get_f64(0));
        Ok(vec![sardonyx_values::suppress(&x[0], &x[1], most, iou, threshold, *centers)])
    },
};

fn infer_regions(cx: &mut Infer, columns: i64, height: i64, width: i64) -> Result<Vec<Type>, String> {
    let (x, rois) = (cx.operand(0), cx.operand(1));
    if x.rank() != 4 || !x.dtype.is_float() || rois.rank() != 2 || rois.dtype != x.dtype {
        return Err(format!("{}: floats [n,c,h,w] and regions", cx.listed()));
    }
    if rois.shape[1] != columns || height < 1 || width < 1 {
        return Err(format!("{rois}: {columns} numbers a region, for {height} by {width}"));
    }
    if x.shape[2..].iter().any(|d| *d == 0) {
        return Err(format!("{x} has no pixels"));
    }
    let count = rois.shape[0].clone();
    Ok(vec![x.with_shape(vec![count, x.shape[1].clone(), Dim::from(height), Dim::from(width)])])
}

pub(super) const ROI_ALIGN: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, RoiAlign { height, width, sampling_ratio });
        let types = infer_regions(cx, 4, *height, *width)?;
        let batch = cx.operand(2);
        if batch.rank() != 1 || !matches!(batch.dtype, DType::I64 | DType::I32) {
            return Err(format!("{batch} are no batch indices"));
        }
        if !(0..1 << 16).contains(sampling_ratio) {
            return Err(format!("sampling ratio {sampling_ratio}"));
        }
        cx.same(&types[0].shape[0], &batch.shape[0])?;
        Ok(types)
    },
    eval: |op, x, types| {
        let shape = known(&types[0]);
        let [n, channels, h, w] = *x[0].shape() else { panic!("bug: rank 4") };
        let (values, rois, batches) = (x[0].to_f64s(), x[1].to_f64s(), x[2].to_i64s());
        let mut out = Vec::with_capacity(shape.iter().product());
        for (roi, &b) in rois.chunks_exact(4).zip(&batches) {
            let b = usize::try_from(b)
                .ok()
                .filter(|&b| b < n)
                .ok_or_else(|| format!("batch index {b} of {n}"))?;
            let bins = bins(op, roi, h, w)?;
            for c in 0..channels {
                let plane = &values[(b * channels + c) * h * w..][..h * w];
                out.extend(bins.iter().map(|samples| pooled(op, plane, samples)));
            }
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, shape, out)])
    },
};

/// A sample: four pixels with weights.
type Sample = [(usize, f64); 4];

/// The samples of every bin of a region.
fn bins(op: &Op, roi: &[f64], h: usize, w: usize) -> Result<Vec<Vec<Sample>>, String> {
    attributes!(op, RoiAlign { height, width, sampling_ratio, spatial_scale, half_pixel });
    let offset = if *half_pixel { 0.5 } else { 0.0 };
    let [x0, y0, x1, y1] = [0, 1, 2, 3].map(|i| roi[i] * spatial_scale - offset);
    let least = if *half_pixel { f64::NEG_INFINITY } else { 1.0 };
    let size = [(y1 - y0).max(least) / *height as f64, (x1 - x0).max(least) / *width as f64];
    let grid = size.map(|s| if *sampling_ratio > 0 { *sampling_ratio as f64 } else { s.ceil().max(0.0) });
    // A region far larger than the image would take unbounded time.
    if !(grid[0] * grid[1] < 1e7 && size.iter().all(|s| s.is_finite())) {
        return Err(format!("region {roi:?} takes {grid:?} samples a bin"));
    }
    let at = |start: f64, bin: i64, d: usize, i: usize| {
        start + (bin as f64 + (i as f64 + 0.5) / grid[d]) * size[d]
    };
    let mut bins = Vec::new();
    for (p, q) in (0..*height).flat_map(|p| (0..*width).map(move |q| (p, q))) {
        let mut samples = Vec::new();
        for (i, j) in (0..grid[0] as usize).flat_map(|i| (0..grid[1] as usize).map(move |j| (i, j))) {
            samples.push(bilinear(at(y0, p, 0, i), at(x0, q, 1, j), h, w));
        }
        bins.push(samples);
    }
    Ok(bins)
}

fn bilinear(y: f64, x: f64, h: usize, w: usize) -> Sample {
    if !(-1.0..=h as f64).contains(&y) || !(-1.0..=w as f64).contains(&x) {
        return [(0, 0.0); 4];
    }
    let split = |v: f64, n: usize| {
        let v = v.clamp(0.0, (n - 1) as f64);
        let low = v.floor() as usize;
        (low, (low + 1).min(n - 1), v - v.floor())
    };
    let ((y0, y1, fy), (x0, x1, fx)) = (split(y, h), split(x, w));
    [
        (y0 * w + x0, (1.0 - fy) * (1.0 - fx)),
        (y0 * w + x1, (1.0 - fy) * fx),
        (y1 * w + x0, fy * (1.0 - fx)),
        (y1 * w + x1, fy * fx),
    ]
}

fn pooled(op: &Op, plane: &[f64], samples: &[Sample]) -> f64 {
    attributes!(op, RoiAlign { mode });
    let terms = samples.iter().flatten().map(|&(i, weight)| weight * plane[i]);
    match mode {
        RegionPooling::Average => terms.sum::<f64>() / samples.len().max(1) as f64,
        RegionPooling::Maximum => terms.reduce(f64::max).unwrap_or(0.0),
    }
}

pub(super) const MAX_ROI_POOL: Definition = Definition {
    infer: |op, cx| {
        attributes!(op, MaxRoiPool { height, width });
        infer_regions(cx, 5, *height, *width)
    },
    eval: |op, x, types| {
        attributes!(op, MaxRoiPool { height, width, spatial_scale });
        let [n, channels, h, w] = *x[0].shape() else { panic!("bug: rank 4") };
        let (values, rois) = (x[0].to_f64s(), x[1].to_f64s());
        let mut out = Vec::new();
        for roi in rois.chunks_exact(5) {
            let b = roi[0] as usize;
            if b >= n {
                return Err(format!("batch index {b} of {n}"));
            }
            let [x0, y0, x1, y1] = [1, 2, 3, 4].map(|i| (roi[i] * spatial_scale).round());
            let (rows, columns) = ((y1 - y0 + 1.0).max(1.0), (x1 - x0 + 1.0).max(1.0));
            let span = |start: f64, size: f64, bins: i64, bin: i64, n: usize| {
                let (size, bin) = (size / bins as f64, bin as f64);
                let place = |v: f64| (v + start).clamp(0.0, n as f64) as usize;
                place((bin * size).floor())..place(((bin + 1.0) * size).ceil())
            };
            for c in 0..channels {
                let plane = &values[(b * channels + c) * h * w..][..h * w];
                for (p, q) in (0..*height).flat_map(|p| (0..*width).map(move |q| (p, q))) {
                    let columns = span(x0, columns, *width, q, w);
                    let cells =
                        span(y0, rows, *height, p, h).flat_map(|y| columns.clone().map(move |x| y * w + x));
                    out.push(cells.map(|i| plane[i]).reduce(f64::max).unwrap_or(0.0));
                }
            }
        }
        Ok(vec![Tensor::from_f64s(types[0].dtype, known(&types[0]), out)])
    },
};
