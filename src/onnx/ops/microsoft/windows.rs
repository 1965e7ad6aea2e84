//! Convolutions with operands where ONNX has attributes, and words as windows over their letters.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::{Row, conv};
use super::one;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};

pub(super) const ROWS: &[Row] =
    &[one("ConvTransposeWithDynamicPads", padded_later), one("WordConvEmbedding", words)];

/// A transposed convolution whose pads are operand 2: what they crop is sliced off where only the run knows them.
fn padded_later(cx: &mut Context) -> Built {
    let (pads, bias) = (cx.operand_if(2)?, cx.operand_if(3)?);
    let Some(pads) = pads else { return conv::transposed(cx, bias, None) };
    if let Some(known) = cx.ints_of(pads) {
        return conv::transposed(cx, bias, Some(known));
    }
    let whole = conv::transposed(cx, bias, None)?;
    let mut sizes = cx.shape(whole);
    let n = sizes.len() - 2;
    let pads = cx.bound(pads, 2 * n)?;
    let mut starts = vec![Dim::ZERO; 2];
    for i in 0..n {
        sizes[2 + i] = &sizes[2 + i] - &pads[i] - &pads[n + i];
        starts.push(pads[i].clone());
    }
    let steps = vec![1; n + 2];
    cx.add(Op::Slice { starts, sizes, steps }, &[whole])
}

/// A vector for each word `[words, letters]` (0 ends one): the maxima over its windows of letters.
fn words(cx: &mut Context) -> Built {
    let (ids, w, bias, letters) = (cx.operand(0)?, cx.operand(1)?, cx.operand(2)?, cx.operand(3)?);
    let (ids, w) = (cx.ranked(ids, 2)?, cx.ranked(w, 4)?);
    let [filters, _, width, depth] = &cx.shape(w)[..] else { return invalid("no kernel") };
    let Some(width) = width.known() else { return unsupported("windows of symbolic size") };
    let [count, length] = &cx.shape(ids)[..] else { return invalid("no words") };
    let windows = length - (width - 1);
    if windows.provably_le(0) {
        return invalid(format!("windows of {width} over {}", cx.ty(ids)));
    }
    let x = cx.add(Op::Gather { axis: 0 }, &[letters, ids])?;
    // Every window as a row.
    let first = cx.iota(windows.clone(), DType::I64, 0, 2)?;
    let within = cx.iota(Dim::from(width), DType::I64, 1, 2)?;
    let places = cx.plus(first, within)?;
    let x = cx.add(Op::Gather { axis: 1 }, &[x, places])?;
    let row = Dim::from(width) * depth;
    let x = cx.reshape(x, vec![count.clone(), windows.clone(), row.clone()])?;
    let w = cx.reshape(w, vec![filters.clone(), row])?;
    let w = cx.transpose(w, &[1, 0])?;
    let y = cx.add(Op::Matmul {}, &[x, w])?;
    let y = cx.plus(y, bias)?;
    let y = cx.add(Op::Tanh {}, &[y])?;
    let size = word_lengths(cx, ids)?;
    // The first window counts for shorter words too.
    let least = cx.like(size, width as f64);
    let reached = cx.max(size, least)?;
    let last = cx.plus_number(reached, -(width as f64))?;
    let last = cx.unsqueeze(last, &[1, 2])?;
    let place = cx.iota(windows, DType::I64, 1, 3)?;
    let counts = cx.le(place, last)?;
    let least = cx.like(y, f64::NEG_INFINITY);
    let y = cx.select(counts, y, least)?;
    let y = cx.reduce_max(y, &[1])?;
    let y = cx.squeeze(y, &[1])?;
    let (none, zero) = (cx.like(size, 0.0), cx.like(y, 0.0));
    let empty = cx.eq(size, none)?;
    let empty = cx.unsqueeze(empty, &[1])?;
    cx.select(empty, zero, y)
}

/// How many letters stand before the first 0 of each row.
fn word_lengths(cx: &mut Context, ids: Value) -> Built {
    let zero = cx.like(ids, 0.0);
    let letter = cx.gt(ids, zero)?;
    let letter = cx.cast(letter, DType::I64)?;
    let sofar = cx.add(Op::CumProd { axis: 1, exclusive: false, reverse: false }, &[letter])?;
    let size = cx.reduce_sum(sofar, &[1])?;
    cx.squeeze(size, &[1])
}
