//! Resize and Upsample, and sampling on grids.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, one};
use sardonyx_ir::ops::attribute::{Coordinates, Interpolation, Nearest, Padding};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] = &[
    one("AffineGrid", 20, affine_grid),
    one("GridSample", 16, grid_sample),
    one("Resize", 10, |cx| upsample(cx, 1)),
    one("Resize", 11, resize),
    one("Upsample", 7, |cx| upsample(cx, 1)),
];

fn interpolation(name: &str) -> Built<Interpolation> {
    match name {
        "bilinear" => Ok(Interpolation::Linear),
        "bicubic" => Ok(Interpolation::Cubic),
        _ => Interpolation::from_name(name).ok_or_else(|| format!("unknown mode `{name}`").into()),
    }
}

/// What a node says about sizes: for the axes it is about, a scale or a size.
struct Target {
    axes: Vec<usize>,
    scales: Option<Vec<f64>>,
    sizes: Option<Vec<Dim>>,
}

/// Before opset 11: scales only, coordinates `out / scale`, nearest rounds down.
fn upsample(cx: &mut Context, operand: usize) -> Built {
    let x = cx.operand(0)?;
    let scales = match cx.floats("scales")? {
        Some(scales) => scales,
        None => cx.known_floats(operand, "scales")?.ok_or("scales are missing")?,
    };
    let mode = interpolation(&cx.string("mode", "nearest")?)?;
    let target = Target { axes: (0..cx.rank(x)).collect(), scales: Some(scales), sizes: None };
    let op = Op::Resize {
        sizes: Vec::new(),
        scales: Vec::new(),
        mode,
        coordinates: Coordinates::Asymmetric,
        nearest: Nearest::Floor,
        cubic_coeff: -0.75,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
        roi: Vec::new(),
    };
    resized(cx, x, target, op)
}

fn resize(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let axes = match cx.ints("axes")? {
        Some(axes) => cx.axes(cx.rank(x), &axes)?,
        None => (0..cx.rank(x)).collect(),
    };
    let coordinates = cx.string("coordinate_transformation_mode", "half_pixel")?;
    let coordinates =
        Coordinates::from_name(&coordinates).ok_or_else(|| format!("unknown coordinates `{coordinates}`"))?;
    let nearest = cx.string("nearest_mode", "round_prefer_floor")?;
    let nearest = Nearest::from_name(&nearest).ok_or_else(|| format!("unknown nearest_mode `{nearest}`"))?;
    let roi = match coordinates {
        Coordinates::CropAndResize => region(cx, x, &axes)?,
        _ => Vec::new(),
    };
    let present = |v: Option<Value>| v.filter(|&v| cx.ty(v).elements() != 0);
    let (scales, sizes) = (present(cx.operand_if(2)?), present(cx.operand_if(3)?));
    let scales = match (scales, sizes) {
        (Some(_), None) => cx.known_floats(2, "scales")?,
        _ => None,
    };
    let sizes = match sizes {
        Some(list) => Some(cx.shape_from(list)?),
        None => None,
    };
    let op = Op::Resize {
        sizes: Vec::new(),
        scales: Vec::new(),
        mode: interpolation(&cx.string("mode", "nearest")?)?,
        coordinates,
        nearest,
        cubic_coeff: cx.float("cubic_coeff_a", -0.75)?,
        exclude_outside: cx.flag("exclude_outside", false)?,
        antialias: cx.flag("antialias", false)?,
        extrapolation: cx.float("extrapolation_value", 0.0)?,
        roi,
    };
    resized(cx, x, Target { axes, scales, sizes }, op)
}

/// The region of interest for every axis: the whole, where the node says nothing.
fn region(cx: &mut Context, x: Value, axes: &[usize]) -> Built<Vec<f64>> {
    let rank = cx.rank(x);
    let given = cx.known_floats(1, "a region of interest")?.unwrap_or_default();
    if given.len() != 2 * axes.len() {
        return invalid(format!("a region of {} numbers for {} axes", given.len(), axes.len()));
    }
    let mut roi = [vec![0.0; rank], vec![1.0; rank]].concat();
    for (i, &axis) in axes.iter().enumerate() {
        (roi[axis], roi[axis + rank]) = (given[i], given[i + axes.len()]);
    }
    Ok(roi)
}

/// `op` with the sizes and scales of the target.
fn resized(cx: &mut Context, x: Value, target: Target, mut op: Op) -> Built {
    let shape = cx.shape(x);
    let mut wanted = shape.clone();
    let mut factors = vec![1.0; shape.len()];
    match (&target.scales, &target.sizes) {
        (Some(scales), _) => {
            if scales.len() != target.axes.len() {
                return invalid(format!("{} scales for {} axes", scales.len(), target.axes.len()));
            }
            for (&axis, &scale) in target.axes.iter().zip(scales) {
                if !(scale > 0.0 && scale < 1e9) {
                    return invalid(format!("a scale of {scale}"));
                }
                (wanted[axis], factors[axis]) = (scaled(&shape[axis], scale)?, scale);
            }
        }
        (None, Some(sizes)) => {
            if sizes.len() != target.axes.len() {
                return invalid(format!("{} sizes for {} axes", sizes.len(), target.axes.len()));
            }
            let kept = cx.string("keep_aspect_ratio_policy", "stretch")?;
            let sizes = fitted(&shape, &target.axes, sizes, &kept)?;
            for (&axis, (size, factor)) in target.axes.iter().zip(sizes) {
                (wanted[axis], factors[axis]) = (size, factor);
            }
        }
        (None, None) => return invalid("neither scales nor sizes"),
    }
    if wanted == shape && !matches!(op, Op::Resize { coordinates: Coordinates::CropAndResize, .. }) {
        return Ok(x);
    }
    if let Op::Resize { sizes, scales, .. } = &mut op {
        (*sizes, *scales) = (wanted, factors);
    }
    let dtype = cx.dtype(x);
    if dtype.is_float() {
        return cx.add(op, &[x]);
    }
    let wide = cx.cast(x, DType::F32)?;
    let result = cx.add(op, &[wide])?;
    cx.cast(result, dtype)
}

/// `floor(size * scale)`, symbolically where the scale is a fraction of small whole numbers.
fn scaled(size: &Dim, scale: f64) -> Built<Dim> {
    if let Some(n) = size.known() {
        // The file's scale is a single: 0.6 is a little more than six tenths.
        return Ok(Dim::from((n as f64 * f64::from(scale as f32) + 1e-5).floor() as i64));
    }
    for divisor in 1..=64i64 {
        let times = scale * divisor as f64;
        if (times - times.round()).abs() < 1e-6 * times.max(1.0) {
            return Ok((size * (times.round() as i64)).floor_div(divisor));
        }
    }
    unsupported(format!("a symbolic size times {scale}"))
}

/// The sizes, and the scales they imply (0 where the sizes alone say it).
fn fitted(shape: &[Dim], axes: &[usize], sizes: &[Dim], policy: &str) -> Built<Vec<(Dim, f64)>> {
    if policy == "stretch" {
        return Ok(sizes.iter().map(|d| (d.clone(), 0.0)).collect());
    }
    let ratios: Option<Vec<f64>> = axes
        .iter()
        .zip(sizes)
        .map(|(&a, s)| Some(s.known()? as f64 / shape[a].known().filter(|&n| n > 0)? as f64))
        .collect();
    let Some(ratios) = ratios else { return unsupported("an aspect ratio kept for symbolic sizes") };
    let scale = match policy {
        "not_larger" => ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => ratios.iter().copied().fold(0.0, f64::max),
        other => return invalid(format!("unknown policy `{other}`")),
    };
    let size = |a: usize| Dim::from((shape[a].known().unwrap_or(0) as f64 * scale + 0.5).floor() as i64);
    Ok(axes.iter().map(|&a| (size(a), scale)).collect())
}

fn grid_sample(cx: &mut Context) -> Built {
    let padding = cx.string("padding_mode", "zeros")?;
    let op = Op::GridSample {
        mode: interpolation(&cx.string("mode", "linear")?)?,
        padding: Padding::from_name(&padding).ok_or_else(|| format!("unknown padding `{padding}`"))?,
        align_corners: cx.flag("align_corners", false)?,
    };
    cx.on_all(op)
}

/// A grid for `grid_sample` from affine maps `[n, d, d + 1]`.
fn affine_grid(cx: &mut Context) -> Built {
    let (theta, list) = (cx.operand(0)?, cx.operand(1)?);
    let sizes = cx.shape_from(list)?;
    let dtype = cx.dtype(theta);
    let n = sizes
        .len()
        .checked_sub(2)
        .filter(|n| (1..=3).contains(n))
        .ok_or("a size for n, c and space is needed")?;
    let align = cx.flag("align_corners", false)?;
    let mut columns = Vec::new();
    // The last spatial axis is the first coordinate.
    for i in (0..n).rev() {
        let size = &sizes[i + 2];
        let at = cx.iota(size.clone(), dtype, i, n)?;
        let count = cx.dim(size.clone(), dtype)?;
        let line = if align {
            let last = cx.plus_number(count, -1.0)?;
            let doubled = cx.times_number(at, 2.0)?;
            let ratio = cx.over(doubled, last)?;
            cx.plus_number(ratio, -1.0)?
        } else {
            let doubled = cx.times_number(at, 2.0)?;
            let odd = cx.plus_number(doubled, 1.0)?;
            let ratio = cx.over(odd, count)?;
            cx.plus_number(ratio, -1.0)?
        };
        let whole = cx.expand(line, sizes[2..].to_vec())?;
        columns.push(cx.unsqueeze(whole, &[n])?);
    }
    let one = cx.scalar(dtype, 1.0);
    let mut last = sizes[2..].to_vec();
    last.push(Dim::ONE);
    columns.push(cx.expand(one, last)?);
    let points = cx.concat(&columns, n)?;
    let pixels = Dim::product(&sizes[2..]);
    let points = cx.reshape(points, vec![pixels, Dim::from(n + 1)])?;
    let turned = cx.transpose(theta, &[0, 2, 1])?;
    let moved = cx.add(Op::Matmul {}, &[points, turned])?;
    let mut shape = vec![cx.shape(moved)[0].clone()];
    shape.extend_from_slice(&sizes[2..]);
    shape.push(Dim::from(n));
    cx.reshape(moved, shape)
}
