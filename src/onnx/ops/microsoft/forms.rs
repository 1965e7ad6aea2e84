//! Operators that ONNX has under the same name or could have: shapes, indexing, sampling, hashing.
use super::super::super::context::{Built, Context};
use super::super::super::error::{Fault, invalid, unsupported};
use super::super::{Row, pad, recurrent, shape};
use super::{many, one};
use sardonyx_ir::ops::attribute::{Interpolation, Padding, Reduction};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[
    one("CDist", distances),
    one("CropAndResize", crop_and_resize),
    many("DynamicQuantizeLSTM", recurrent::quantized_lstm),
    one("DynamicTimeWarping", time_warp),
    one("ExpandDims", expand_dims),
    one("GatherND", |cx| cx.on_all(Op::GatherNd { batch_dims: 0 })),
    one("GridSample", grid_sample),
    one("Inverse", |cx| cx.on_first(Op::Inverse {})),
    one("MurmurHash3", murmur_hash),
    one("NGramRepeatBlock", block_repeats),
    one("Pad", pad::pad_rows),
    one("Range", shape::range),
    one("Tokenizer", tokenizer),
    one("Trilu", shape::trilu),
    one("UnfoldTensor", unfold),
    many("Unique", unique),
];

/// The cheapest path through costs `[m, n]` or `[1, m, n]`.
fn time_warp(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let x = if cx.rank(x) == 3 { cx.squeeze(x, &[0])? } else { cx.ranked(x, 2)? };
    let count = cx.importer.symbol();
    cx.add(Op::TimeWarp { count }, &[x])
}

/// The tokens of texts: matches of one pattern, or what stands between separators.
fn tokenizer(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let separators = cx.strings("separators")?.filter(|all| !all.is_empty());
    let token = cx.string_if("tokenexp")?.filter(|text| !text.is_empty());
    let (between, patterns) = match (separators, token) {
        (Some(separators), None) => (true, separators),
        // Any character is a token.
        (None, Some(token)) if token == "." => (true, vec![String::new()]),
        (None, Some(token)) => (false, vec![token]),
        _ => return invalid("one of the attributes `separators` and `tokenexp` is needed"),
    };
    for pattern in &patterns {
        sardonyx_values::pattern(pattern).map_err(Fault::Unsupported)?;
    }
    let (least, mark) = (cx.int("mincharnum", 1)?, cx.flag("mark", false)?);
    let pad = cx.string("pad_value", "")?;
    let (patterns, pad, width) = (cx.text_list(&patterns), cx.text(&pad), cx.importer.symbol());
    cx.add(Op::TextTokens { between, least, mark, width }, &[x, patterns, pad])
}

/// A new axis of size 1 where a constant operand says.
fn expand_dims(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let Some(axis) = cx.known_ints(1, "an axis")?.and_then(|axes| axes.first().copied()) else {
        return invalid("the axis is missing");
    };
    let rank = cx.rank(x) as i64 + 1;
    match usize::try_from(if axis < 0 { axis + rank } else { axis }) {
        Ok(place) if (place as i64) < rank => cx.unsqueeze(x, &[place]),
        _ => invalid(format!("no axis {axis} can be added to {}", cx.ty(x))),
    }
}

/// Distances of all pairs of rows.
fn distances(cx: &mut Context) -> Built {
    let (a, b) = (cx.operand(0)?, cx.operand(1)?);
    let (a, b) = (cx.ranked(a, 2)?, cx.ranked(b, 2)?);
    let (a, b) = (cx.unsqueeze(a, &[1])?, cx.unsqueeze(b, &[0])?);
    let difference = cx.minus(a, b)?;
    let square = cx.times(difference, difference)?;
    let sum = cx.reduce_sum(square, &[2])?;
    let sum = cx.squeeze(sum, &[2])?;
    match cx.string("metric", "sqeuclidean")?.as_str() {
        "sqeuclidean" => Ok(sum),
        "euclidean" => cx.sqrt(sum),
        other => unsupported(format!("distances of kind `{other}`")),
    }
}

fn grid_sample(cx: &mut Context) -> Built {
    let mode = match cx.string("mode", "bilinear")?.as_str() {
        "bilinear" => Interpolation::Linear,
        "bicubic" => Interpolation::Cubic,
        "nearest" => Interpolation::Nearest,
        other => return invalid(format!("mode `{other}`")),
    };
    let padding = cx.string("padding_mode", "zeros")?;
    let padding = Padding::from_name(&padding).ok_or_else(|| format!("unknown padding `{padding}`"))?;
    cx.on_all(Op::GridSample { mode, padding, align_corners: cx.flag("align_corners", false)? })
}

/// The elements of a list that differ, in the order in which they appear, where each element of the list is
/// among them, and how often each appears.
fn unique(cx: &mut Context) -> Built<Vec<Value>> {
    let x = cx.operand(0)?;
    let x = cx.ranked(x, 1)?;
    let count = cx.importer.symbol();
    let v = cx.add(Op::Unique { axis: 0, sorted: false, count }, &[x])?;
    Ok(vec![v, v.port(2), v.port(3)])
}

/// Windows of `size` elements of an axis, every `step`-th, in a new last axis.
fn unfold(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let axis = cx.int("dim", -1)?;
    let axis = cx.axis(x, axis)?;
    let (size, step) = (cx.int("size", 0)?, cx.int("step", 1)?);
    let length = cx.shape(x)[axis].clone();
    if size < 1 || step < 1 || (&length - size).provably_le(-1) {
        return invalid(format!("windows of {size} every {step} along axis {axis} of {}", cx.ty(x)));
    }
    let count = (length - size).floor_div(step) + 1;
    let first = cx.iota(count, DType::I64, 0, 2)?;
    let first = cx.times_number(first, step as f64)?;
    let within = cx.iota(Dim::from(size), DType::I64, 1, 2)?;
    let places = cx.plus(first, within)?;
    let y = cx.add(Op::Gather { axis: axis as i64 }, &[x, places])?;
    let rank = cx.rank(y);
    let mut order: Vec<usize> = (0..rank).filter(|&a| a != axis + 1).collect();
    order.push(axis + 1);
    cx.transpose(y, &order)
}

/// Scores `[batch, tokens]` without those of tokens that would repeat a run of `ngram_size` tokens.
fn block_repeats(cx: &mut Context) -> Built {
    let (ids, scores) = (cx.operand(0)?, cx.operand(1)?);
    let (ids, scores) = (cx.ranked(ids, 2)?, cx.ranked(scores, 2)?);
    let n = cx.int("ngram_size", 0)?;
    let length = cx.shape(ids)[1].clone();
    if n < 1 {
        return invalid(format!("ngram_size {n}"));
    }
    let count = (&length - (n - 1)).max(&Dim::ZERO);
    if count == 0 {
        return Ok(scores);
    }
    if length.known().is_none() {
        return unsupported("tokens whose number only the run knows");
    }
    let mut equal: Option<Value> = None;
    for i in 0..n - 1 {
        let window = cx.slice_axis(ids, 1, Dim::from(i), count.clone(), 1)?;
        let last = cx.slice_axis(ids, 1, &length - (n - 1) + i, Dim::ONE, 1)?;
        let same = cx.eq(window, last)?;
        equal = Some(equal.map_or(Ok(same), |e| cx.and(e, same))?);
    }
    let next = cx.slice_axis(ids, 1, Dim::from(n - 1), count.clone(), 1)?;
    let (never, always) = (cx.like(scores, f64::NEG_INFINITY), cx.like(scores, f64::INFINITY));
    let least = match equal {
        Some(equal) => cx.select(equal, never, always)?,
        None => {
            let shape = cx.shape(next);
            cx.expand(never, shape)?
        }
    };
    cx.add(Op::ScatterElements { axis: 1, reduction: Reduction::Min }, &[scores, next, least])
}

/// `x` times a constant, of 32 bits.
fn times_bits(cx: &mut Context, x: Value, constant: u32) -> Built {
    let constant = bits(cx, constant);
    cx.times(x, constant)
}

fn bits(cx: &mut Context, value: u32) -> Value {
    cx.constant(Tensor::scalar(value))
}

/// The bits of `x`, turned left by `by`.
fn turned(cx: &mut Context, x: Value, by: u32) -> Built {
    let (left, right) = (bits(cx, by), bits(cx, 32 - by));
    let (high, low) = (cx.add(Op::ShiftLeft {}, &[x, left])?, cx.add(Op::ShiftRight {}, &[x, right])?);
    cx.add(Op::Or {}, &[high, low])
}

/// `x` with its bits from place `by` on flipped by itself.
fn folded(cx: &mut Context, x: Value, by: u32) -> Built {
    let by = bits(cx, by);
    let moved = cx.add(Op::ShiftRight {}, &[x, by])?;
    cx.add(Op::Xor {}, &[x, moved])
}

/// The 32-bit MurmurHash3 of every element's bytes (Appleby 2011).
fn murmur_hash(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let seed = cx.int("seed", 0)?;
    let Ok(seed) = u32::try_from(seed) else { return invalid(format!("seed {seed}")) };
    let words: Vec<Value> = match cx.dtype(x).bits() {
        32 => vec![cx.add(Op::Bitcast { to: DType::U32 }, &[x])?],
        64 => {
            let whole = cx.add(Op::Bitcast { to: DType::U64 }, &[x])?;
            let by = cx.constant(Tensor::scalar(32u64));
            let high = cx.add(Op::ShiftRight {}, &[whole, by])?;
            vec![cx.cast(whole, DType::U32)?, cx.cast(high, DType::U32)?]
        }
        other => return unsupported(format!("hashes of {other} bits")),
    };
    let mut hash = bits(cx, seed);
    let length = 4 * words.len() as u32;
    for word in words {
        let k = times_bits(cx, word, 0xcc9e_2d51)?;
        let k = turned(cx, k, 15)?;
        let k = times_bits(cx, k, 0x1b87_3593)?;
        let h = cx.add(Op::Xor {}, &[hash, k])?;
        let h = turned(cx, h, 13)?;
        let h = times_bits(cx, h, 5)?;
        let offset = bits(cx, 0xe654_6b64);
        hash = cx.plus(h, offset)?;
    }
    let length = bits(cx, length);
    let mut h = cx.add(Op::Xor {}, &[hash, length])?;
    h = folded(cx, h, 16)?;
    h = times_bits(cx, h, 0x85eb_ca6b)?;
    h = folded(cx, h, 13)?;
    h = times_bits(cx, h, 0xc2b2_ae35)?;
    h = folded(cx, h, 16)?;
    if cx.flag("positive", true)? { Ok(h) } else { cx.add(Op::Bitcast { to: DType::I32 }, &[h]) }
}

/// Regions of images `[n, c, h, w]`, `[k, 4]` as y, x of two corners in 0…1, resized to one size.
fn crop_and_resize(cx: &mut Context) -> Built {
    let (x, rois, batches) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?);
    let (x, rois, batches) = (cx.ranked(x, 4)?, cx.ranked(rois, 2)?, cx.ranked(batches, 1)?);
    let Some(sizes) = cx.known_ints(3, "crop sizes")? else { return invalid("the crop size is missing") };
    let [height, width] = sizes[..] else { return invalid(format!("crop sizes {sizes:?}")) };
    if height < 1 || width < 1 {
        return invalid(format!("crop sizes {sizes:?}"));
    }
    let linear = match cx.string("mode", "bilinear")?.as_str() {
        "bilinear" => true,
        "nearest" => false,
        other => return invalid(format!("mode `{other}`")),
    };
    let outside = cx.float("extrapolation_value", 0.0)?;
    let rows = Axis::new(cx, x, rois, 0, height)?;
    let columns = Axis::new(cx, x, rois, 1, width)?;
    let last = cx.transpose(x, &[0, 2, 3, 1])?;
    let batches = cx.cast(batches, DType::I64)?;
    let at = |cx: &mut Context, row: Value, column: Value| {
        let k = cx.shape(row)[0].clone();
        let shape = vec![k, Dim::from(height), Dim::from(width), Dim::ONE];
        let batch = cx.unsqueeze(batches, &[1, 2, 3])?;
        let (row, column) = (cx.unsqueeze(row, &[2, 3])?, cx.unsqueeze(column, &[1, 3])?);
        let parts = [batch, row, column].map(|v| cx.expand(v, shape.clone()));
        let [a, b, c] = parts;
        let place = cx.concat(&[a?, b?, c?], 3)?;
        cx.add(Op::GatherNd { batch_dims: 0 }, &[last, place])
    };
    let y = if linear {
        let (fy, fx) = (cx.unsqueeze(rows.part, &[2, 3])?, cx.unsqueeze(columns.part, &[1, 3])?);
        let mut lines = Vec::new();
        for row in [rows.low, rows.high] {
            let (left, right) = (at(cx, row, columns.low)?, at(cx, row, columns.high)?);
            lines.push(between(cx, left, right, fx)?);
        }
        between(cx, lines[0], lines[1], fy)?
    } else {
        at(cx, rows.near, columns.near)?
    };
    let (inside_y, inside_x) = (cx.unsqueeze(rows.inside, &[2, 3])?, cx.unsqueeze(columns.inside, &[1, 3])?);
    let inside = cx.and(inside_y, inside_x)?;
    let outside = cx.like(y, outside);
    let y = cx.select(inside, y, outside)?;
    cx.transpose(y, &[0, 3, 1, 2])
}

/// `a + (b - a) * part`.
fn between(cx: &mut Context, a: Value, b: Value, part: Value) -> Built {
    let difference = cx.minus(b, a)?;
    let moved = cx.times(difference, part)?;
    cx.plus(a, moved)
}

/// Where the samples of one axis of each region lie, `[k, count]`.
struct Axis {
    low: Value,
    high: Value,
    near: Value,
    /// How far from `low`.
    part: Value,
    inside: Value,
}

impl Axis {
    fn new(cx: &mut Context, x: Value, rois: Value, axis: usize, count: i64) -> Built<Axis> {
        let size = cx.shape(x)[2 + axis].clone();
        let last = cx.dim(size - 1, DType::F32)?;
        let mut ends = Vec::new();
        for i in [axis, axis + 2] {
            let end = cx.slice_axis(rois, 1, Dim::from(i), Dim::ONE, 1)?;
            ends.push(cx.times(end, last)?);
        }
        let at = if count > 1 {
            let span = cx.minus(ends[1], ends[0])?;
            let step = cx.times_number(span, 1.0 / (count - 1) as f64)?;
            let i = cx.iota(Dim::from(count), DType::F32, 1, 2)?;
            let moved = cx.times(i, step)?;
            cx.plus(ends[0], moved)?
        } else {
            let sum = cx.plus(ends[0], ends[1])?;
            cx.times_number(sum, 0.5)?
        };
        let zero = cx.like(at, 0.0);
        let (from, to) = (cx.ge(at, zero)?, cx.le(at, last)?);
        let inside = cx.and(from, to)?;
        let kept = cx.max(at, zero)?;
        let kept = cx.min(kept, last)?;
        let floor = cx.add(Op::Floor {}, &[kept])?;
        let ceil = cx.add(Op::Ceil {}, &[kept])?;
        let part = cx.minus(kept, floor)?;
        let half = cx.plus_number(kept, 0.5)?;
        let near = cx.add(Op::Floor {}, &[half])?;
        let near = cx.min(near, last)?;
        let [low, high, near] = [floor, ceil, near].map(|v| cx.cast(v, DType::I64));
        Ok(Axis { low: low?, high: high?, near: near?, part, inside })
    }
}
