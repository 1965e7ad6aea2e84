//! Resize and Upsample, and sampling on grids.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Row, one};
use sardonyx_ir::ops::attribute::{Coordinates, Interpolation, Nearest, Padding};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

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

/// What a node says about sizes, for each of the axes it is about.
enum Wanted {
    Scales(Vec<f64>),
    /// Scales that only the run knows.
    LateScales(Value),
    Sizes(Vec<Dim>),
}

/// The region of interest.
enum Region {
    /// All starts, then all ends, for every axis.
    Known(Vec<f64>),
    /// The same, as a value.
    Late(Value),
}

/// Scales as an attribute or an operand.
fn scales(cx: &Context, operand: usize) -> Built<Option<Wanted>> {
    if let Some(scales) = cx.floats("scales")? {
        return Ok(Some(Wanted::Scales(scales)));
    }
    let Some(v) = cx.operand_if(operand)?.filter(|&v| cx.ty(v).elements() != 0) else { return Ok(None) };
    Ok(Some(match cx.constant_of(v) {
        Some(t) => Wanted::Scales(t.to_f64s()),
        None => Wanted::LateScales(v),
    }))
}

/// Before opset 11: scales only, coordinates `out / scale`; nearest rounds down along axes that grow, and up
/// along those that shrink.
fn upsample(cx: &mut Context, operand: usize) -> Built {
    let mut x = cx.operand(0)?;
    let wanted = scales(cx, operand)?.ok_or("scales are missing")?;
    let mode = interpolation(&cx.string("mode", "nearest")?)?;
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let op = |nearest| Op::Resize {
        sizes: Vec::new(),
        scales: Vec::new(),
        mode,
        coordinates: Coordinates::Asymmetric,
        nearest,
        cubic_coeff: -0.75,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
        roi: Vec::new(),
    };
    let whole = || Region::Known(Vec::new());
    let wanted = match wanted {
        Wanted::Scales(scales) if mode == Interpolation::Nearest => {
            let fewer = scales.iter().map(|s| s.min(1.0)).collect();
            x = resized(cx, x, &axes, Wanted::Scales(fewer), whole(), op(Nearest::Ceil))?;
            Wanted::Scales(scales.iter().map(|s| s.max(1.0)).collect())
        }
        wanted => wanted,
    };
    resized(cx, x, &axes, wanted, whole(), op(Nearest::Floor))
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
    let region = match coordinates {
        Coordinates::CropAndResize => region(cx, x, &axes)?,
        _ => Region::Known(Vec::new()),
    };
    let sizes = cx.operand_if(3)?.filter(|&v| cx.ty(v).elements() != 0);
    let wanted = match (scales(cx, 2)?, sizes) {
        (_, Some(list)) => Wanted::Sizes(cx.shape_from(list)?),
        (Some(scales), None) => scales,
        (None, None) => return invalid("neither scales nor sizes"),
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
        roi: Vec::new(),
    };
    resized(cx, x, &axes, wanted, region, op)
}

/// The region of interest: the whole of an axis where the node says nothing.
fn region(cx: &mut Context, x: Value, axes: &[usize]) -> Built<Region> {
    let rank = cx.rank(x);
    let given = cx.operand(1)?;
    if cx.shape(given) != [Dim::from(2 * axes.len())] {
        return invalid(format!("a region {} for {} axes", cx.ty(given), axes.len()));
    }
    let Some(known) = cx.constant_of(given) else {
        let ends = cx.slice_axis(given, 0, Dim::from(axes.len()), Dim::from(axes.len()), 1)?;
        let (starts, ends) = (spread(cx, given, axes, rank, 0.0)?, spread(cx, ends, axes, rank, 1.0)?);
        return Ok(Region::Late(cx.concat(&[starts, ends], 0)?));
    };
    let known = known.to_f64s();
    let mut roi = [vec![0.0; rank], vec![1.0; rank]].concat();
    for (i, &axis) in axes.iter().enumerate() {
        (roi[axis], roi[axis + rank]) = (known[i], known[i + axes.len()]);
    }
    Ok(Region::Known(roi))
}

/// A list with a number for each of some axes, as one for all axes.
fn spread(cx: &mut Context, list: Value, axes: &[usize], rank: usize, default: f64) -> Built {
    let default = cx.like(list, default);
    let default = cx.reshape(default, vec![Dim::ONE])?;
    let mut parts = Vec::new();
    for axis in 0..rank {
        parts.push(match axes.iter().position(|&a| a == axis) {
            Some(i) => cx.slice_axis(list, 0, Dim::from(i), Dim::ONE, 1)?,
            None => default,
        });
    }
    cx.concat(&parts, 0)
}

/// `op` with the sizes and scales that are wanted.
fn resized(cx: &mut Context, x: Value, axes: &[usize], wanted: Wanted, region: Region, mut op: Op) -> Built {
    let shape = cx.shape(x);
    let (mut to, mut factors, mut late) = (shape.clone(), vec![1.0; shape.len()], None);
    let count = match &wanted {
        Wanted::Scales(scales) => scales.len(),
        Wanted::LateScales(v) => cx.ty(*v).elements().known().unwrap_or(0) as usize,
        Wanted::Sizes(sizes) => sizes.len(),
    };
    if count != axes.len() {
        return invalid(format!("{count} scales or sizes for {} axes", axes.len()));
    }
    match wanted {
        Wanted::Scales(scales) => {
            if let Some(scale) = scales.iter().find(|&&s| !(s > 0.0 && s < 1e9)) {
                return invalid(format!("a scale of {scale}"));
            }
            axes.iter().zip(&scales).for_each(|(&axis, &scale)| factors[axis] = scale);
            let sizes: Option<Vec<Dim>> =
                axes.iter().zip(&scales).map(|(&axis, &scale)| scaled(&shape[axis], scale)).collect();
            let sizes = match sizes {
                Some(sizes) => sizes,
                None => {
                    let scales = cx.constant(Tensor::from_f64s(DType::F32, [count], scales));
                    late_sizes(cx, &shape, axes, scales, 0.0)?
                }
            };
            axes.iter().zip(sizes).for_each(|(&axis, size)| to[axis] = size);
        }
        Wanted::LateScales(scales) => {
            let scales = cx.cast(scales, DType::F32)?;
            let sizes = late_sizes(cx, &shape, axes, scales, 0.0)?;
            axes.iter().zip(sizes).for_each(|(&axis, size)| to[axis] = size);
            late = Some(spread(cx, scales, axes, shape.len(), 1.0)?);
        }
        Wanted::Sizes(sizes) => match cx.string("keep_aspect_ratio_policy", "stretch")?.as_str() {
            "stretch" => {
                for (&axis, size) in axes.iter().zip(sizes) {
                    (to[axis], factors[axis]) = (size, 0.0);
                }
            }
            policy @ ("not_larger" | "not_smaller") => {
                let scale = common_scale(cx, &shape, axes, sizes, policy == "not_larger")?;
                let sizes = late_sizes(cx, &shape, axes, scale, 0.5)?;
                axes.iter().zip(sizes).for_each(|(&axis, size)| to[axis] = size);
                match cx.constant_of(scale) {
                    Some(t) => axes.iter().for_each(|&axis| factors[axis] = t.get_f64(0)),
                    None => {
                        let all = cx.expand(scale, vec![Dim::from(axes.len())])?;
                        late = Some(spread(cx, all, axes, shape.len(), 1.0)?);
                    }
                }
            }
            other => return invalid(format!("unknown policy `{other}`")),
        },
    }
    let crops = matches!(op, Op::Resize { coordinates: Coordinates::CropAndResize, .. });
    if to == shape && !crops && late.is_none() {
        return Ok(x);
    }
    let dtype = cx.dtype(x);
    let wide = if dtype.is_float() { x } else { cx.cast(x, DType::F32)? };
    let mut operands = vec![wide];
    let Op::Resize { sizes, scales, roi, .. } = &mut op else { return invalid("no resize") };
    *sizes = to;
    match (late, region) {
        (Some(late), Region::Known(region)) => {
            operands.push(late);
            *roi = region;
        }
        (None, Region::Known(region)) => (*scales, *roi) = (factors, region),
        (late, Region::Late(region)) => {
            let known = cx.constant(Tensor::from_f64s(DType::F64, [factors.len()], factors));
            operands.extend([late.unwrap_or(known), region]);
        }
    }
    let result = cx.add(op, &operands)?;
    cx.cast(result, dtype)
}

/// The sizes `floor(size * scale + extra)` of the axes, for one scale or one an axis.
fn late_sizes(cx: &mut Context, shape: &[Dim], axes: &[usize], scales: Value, extra: f64) -> Built<Vec<Dim>> {
    let own = cx.dims(axes.iter().map(|&a| shape[a].clone()).collect())?;
    let own = cx.cast(own, cx.dtype(scales))?;
    let sizes = cx.times(own, scales)?;
    let sizes = cx.plus_number(sizes, extra)?;
    let sizes = cx.add(Op::Floor {}, &[sizes])?;
    let sizes = cx.cast(sizes, DType::I64)?;
    cx.bound(sizes, axes.len())
}

/// The one scale with which the result is not larger, or not smaller, than the sizes; f64 of one element.
fn common_scale(cx: &mut Context, shape: &[Dim], axes: &[usize], sizes: Vec<Dim>, least: bool) -> Built {
    let own = cx.dims(axes.iter().map(|&a| shape[a].clone()).collect())?;
    let (own, sizes) = (cx.cast(own, DType::F64)?, cx.dims(sizes)?);
    let sizes = cx.cast(sizes, DType::F64)?;
    let ratios = cx.over(sizes, own)?;
    let op = if least { Op::ReduceMin { axes: vec![0] } } else { Op::ReduceMax { axes: vec![0] } };
    cx.add(op, &[ratios])
}

/// `floor(size * scale)`, symbolically where the scale is a fraction of small whole numbers.
fn scaled(size: &Dim, scale: f64) -> Option<Dim> {
    if let Some(n) = size.known() {
        // The file's scale is a single: 0.6 is a little more than six tenths.
        return Some(Dim::from((n as f64 * f64::from(scale as f32) + 1e-5).floor() as i64));
    }
    (1..=64i64).find_map(|divisor| {
        let times = scale * divisor as f64;
        let whole = (times - times.round()).abs() < 1e-6 * times.max(1.0);
        whole.then(|| (size * (times.round() as i64)).floor_div(divisor))
    })
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
