//! Padding and cropping.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::late;
use super::shape::unknown_axes;
use super::{Row, one};
use sardonyx_ir::ops::attribute::PadMode;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::Dim;

pub(super) const ROWS: &[Row] =
    &[one("CenterCropPad", 18, center_crop_pad), one("Pad", 2, pad_attributes), one("Pad", 11, pad)];

fn pad_mode(cx: &Context) -> Built<PadMode> {
    let mode = cx.string("mode", "constant")?;
    PadMode::from_name(&mode).ok_or_else(|| format!("unknown mode `{mode}`").into())
}

fn pad_attributes(cx: &mut Context) -> Built {
    let (x, pads) = (cx.operand(0)?, cx.ints("pads")?.ok_or("the attribute `pads` is missing")?);
    let value = cx.float("value", 0.0)?;
    let (value, mode) = (cx.like(x, value), pad_mode(cx)?);
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    padded(cx, x, value, pads.into_iter().map(Dim::from).collect(), &axes, mode)
}

fn pad(cx: &mut Context) -> Built {
    let (x, mut list) = (cx.operand(0)?, cx.operand(1)?);
    let late = unknown_axes(cx, 3)?;
    if let Some(axes) = late {
        list = spread_pads(cx, list, axes, cx.rank(x))?;
    }
    let axes = match if late.is_some() { None } else { cx.known_ints(3, "axes")? } {
        Some(axes) => cx.axes(cx.rank(x), &axes)?,
        None => (0..cx.rank(x)).collect(),
    };
    let pads = match cx.dims_of(list) {
        Some(pads) => pads,
        None => cx.bound(list, 2 * axes.len())?,
    };
    let value = match cx.operand_if(2)? {
        Some(v) => cx.as_scalar(v)?,
        None => cx.like(x, 0.0),
    };
    let mode = pad_mode(cx)?;
    padded(cx, x, value, pads, &axes, mode)
}

/// As ONNX's operator; the amounts may be a row.
pub(super) fn pad_rows(cx: &mut Context) -> Built {
    let (x, list) = (cx.operand(0)?, cx.operand(1)?);
    let rank = cx.rank(x);
    let list = cx.reshape(list, vec![Dim::from(2 * rank)])?;
    let pads = cx.bound(list, 2 * rank)?;
    let value = match cx.operand_if(2)? {
        Some(v) => cx.as_scalar(v)?,
        None => cx.like(x, 0.0),
    };
    let (mode, axes): (PadMode, Vec<usize>) = (pad_mode(cx)?, (0..rank).collect());
    padded(cx, x, value, pads, &axes, mode)
}

/// Amounts for axes that only the run knows, as amounts for all axes.
fn spread_pads(cx: &mut Context, list: Value, axes: Value, rank: usize) -> Built {
    let n = cx.ty(axes).elements();
    let mut parts = Vec::new();
    for i in 0..2 {
        let half = cx.slice_axis(list, 0, &n * i, n.clone(), 1)?;
        let zeros = cx.int_list(&vec![0; rank]);
        parts.push(late::spread(cx, half, axes, rank, zeros)?);
    }
    cx.concat(&parts, 0)
}

fn padded(cx: &mut Context, x: Value, value: Value, pads: Vec<Dim>, axes: &[usize], mode: PadMode) -> Built {
    if pads.len() != 2 * axes.len() {
        return invalid(format!("{} amounts for {} axes", pads.len(), axes.len()));
    }
    let mut before = vec![Dim::ZERO; cx.rank(x)];
    let mut after = before.clone();
    for (i, &axis) in axes.iter().enumerate() {
        before[axis] = pads[i].clone();
        after[axis] = pads[i + axes.len()].clone();
    }
    for (d, (b, a)) in cx.shape(x).iter().zip(before.iter().zip(&after)) {
        if (d + b + a).provably_le(-1) || b.known().is_some_and(|b| b.unsigned_abs() > 1 << 40) {
            return invalid(format!("{} padded by {b} and {a}", cx.ty(x)));
        }
    }
    if mode == PadMode::Reflect {
        return reflected(cx, x, value, before, after);
    }
    cx.add(Op::Pad { before, after, mode }, &[x, value])
}

/// A mirrored border, after any cropping: what is cropped does not show in the mirror.
fn reflected(cx: &mut Context, x: Value, value: Value, before: Vec<Dim>, after: Vec<Dim>) -> Built {
    let mode = PadMode::Reflect;
    let crop = |d: &Dim| if d.provably_le(0) { d.clone() } else { Dim::ZERO };
    let grow = |d: &Dim| if d.provably_le(0) { Dim::ZERO } else { d.clone() };
    let cropped = Op::Pad {
        before: before.iter().map(crop).collect(),
        after: after.iter().map(crop).collect(),
        mode: PadMode::Constant,
    };
    let x = if before.iter().chain(&after).any(|d| d.provably_le(-1)) {
        cx.add(cropped, &[x, value])?
    } else {
        x
    };
    let (before, after) = (before.iter().map(grow).collect(), after.iter().map(grow).collect());
    cx.add(Op::Pad { before, after, mode }, &[x, value])
}

fn center_crop_pad(cx: &mut Context) -> Built {
    let (mut x, list) = (cx.operand(0)?, cx.operand(1)?);
    let sizes = cx.shape_from(list)?;
    let axes = match cx.ints("axes")? {
        Some(axes) => cx.axes(cx.rank(x), &axes)?,
        None => (0..cx.rank(x)).collect(),
    };
    if axes.len() != sizes.len() {
        return invalid(format!("{} sizes for {} axes", sizes.len(), axes.len()));
    }
    for (&axis, to) in axes.iter().zip(&sizes) {
        let from = cx.shape(x)[axis].clone();
        let kept = from.min(to);
        x = cx.slice_axis(x, axis, (&from - &kept).floor_div(2), kept.clone(), 1)?;
        let missing = to - &kept;
        if missing != 0 {
            let before = missing.floor_div(2);
            let pads = vec![before.clone(), missing - before];
            let zero = cx.like(x, 0.0);
            x = padded(cx, x, zero, pads, &[axis], PadMode::Constant)?;
        }
    }
    Ok(x)
}
