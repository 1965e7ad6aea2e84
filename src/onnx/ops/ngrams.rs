//! Counts of n-grams (TfIdfVectorizer).
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[one("TfIdfVectorizer", 9, tf_idf)];

/// The most comparisons of one element that are written out.
const MOST_SKIPS: i64 = 64;

fn tf_idf(cx: &mut Context) -> Built {
    let x = cx.operand(0)?;
    let (x, pool) = pool(cx, x)?;
    let single = cx.rank(x) == 1;
    let x = if single { cx.unsqueeze(x, &[0])? } else { cx.ranked(x, 2)? };
    let x = cx.cast(x, DType::I64)?;
    let list = |name: &str| -> Built<Vec<i64>> {
        Ok(cx.ints(name)?.ok_or_else(|| format!("the attribute `{name}` is missing"))?)
    };
    let (starts, places) = (list("ngram_counts")?, list("ngram_indexes")?);
    let (shortest, longest) = (cx.int("min_gram_length", 1)?, cx.int("max_gram_length", 1)?);
    let skips = cx.int("max_skip_count", 0)?;
    if !(0..=MOST_SKIPS).contains(&skips) {
        return unsupported(format!("{skips} elements skipped"));
    }
    let mut counts: Vec<Value> = Vec::new();
    let mut total = 0;
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let Some(grams) = part.and_then(|(a, b)| pool.get(a..b)).filter(|g| g.len() % (i + 1) == 0) else {
            return invalid(format!("ngram_counts {starts:?} for a pool of {}", pool.len()));
        };
        if grams.is_empty() {
            continue;
        }
        let grams: Vec<&[i64]> = grams.chunks_exact(i + 1).collect();
        total += grams.len();
        counts.push(match (shortest..=longest).contains(&(i as i64 + 1)) {
            true => counted(cx, x, &grams, if i == 0 { 0 } else { skips })?,
            false => {
                let (zero, rows) = (cx.scalar(DType::F32, 0.0), cx.shape(x)[0].clone());
                cx.expand(zero, vec![rows, Dim::from(grams.len())])?
            }
        });
    }
    let width = places.iter().max().map_or(0, |&n| n + 1);
    if total != places.len() || total == 0 || places.iter().any(|&p| p < 0) || width > 1 << 24 {
        return invalid(format!("{} places for {total} n-grams", places.len()));
    }
    let counts = cx.concat(&counts, 1)?;
    let y = weighted(cx, counts, &places, width as usize)?;
    if single { cx.squeeze(y, &[0]) } else { Ok(y) }
}

/// The elements and those of the n-grams as integers; a text is the place where it is first among the latter.
fn pool(cx: &mut Context, x: Value) -> Built<(Value, Vec<i64>)> {
    let Some(texts) = cx.strings("pool_strings")? else {
        let pool = cx.ints("pool_int64s")?.ok_or("the attribute `pool_int64s` is missing")?;
        return if cx.dtype(x).is_int() {
            Ok((x, pool))
        } else {
            invalid("n-grams of integers in no integers")
        };
    };
    let first = |text: &String| texts.iter().position(|t| t == text).map_or(-1, |place| place as i64);
    let pool: Vec<i64> = texts.iter().map(first).collect();
    let (keys, places, none) = (cx.text_list(&texts), cx.int_list(&pool), cx.int_scalar(-1));
    Ok((cx.add(Op::Lookup {}, &[x, keys, places, none])?, pool))
}

/// How often each of some n-grams of one length stands in each row, with up to so many elements skipped
/// between two of its own; f32.
fn counted(cx: &mut Context, x: Value, grams: &[&[i64]], skips: i64) -> Built {
    let (length, size) = (grams[0].len(), cx.shape(x)[1].clone());
    let mut sum: Option<Value> = None;
    for step in 1..=skips + 1 {
        let reach = (length as i64 - 1) * step;
        let starts = (&size - reach).max(&Dim::ZERO);
        let mut all: Option<Value> = None;
        for i in 0..length {
            let from = Dim::from(i as i64 * step).min(&size);
            let here = cx.slice_axis(x, 1, from, starts.clone(), 1)?;
            let here = cx.unsqueeze(here, &[2])?;
            let element: Vec<i64> = grams.iter().map(|g| g[i]).collect();
            let element = cx.int_list(&element);
            let same = cx.eq(here, element)?;
            all = Some(all.map_or(Ok(same), |all| cx.and(all, same))?);
        }
        let all = all.ok_or("an n-gram without elements")?;
        let found = cx.cast(all, DType::F32)?;
        let found = cx.reduce_sum(found, &[1])?;
        let found = cx.squeeze(found, &[1])?;
        sum = Some(sum.map_or(Ok(found), |sum| cx.plus(sum, found))?);
    }
    Ok(sum.ok_or("no n-grams")?)
}

/// The counts, or whether there is one, times the weights, at their places.
fn weighted(cx: &mut Context, counts: Value, places: &[i64], width: usize) -> Built {
    let weights = match cx.floats("weights")? {
        Some(weights) if weights.len() == places.len() => weights,
        Some(weights) => return invalid(format!("{} weights for {} n-grams", weights.len(), places.len())),
        None => vec![1.0; places.len()],
    };
    let (values, weights) = match cx.string("mode", "TF")?.as_str() {
        "TF" => (counts, vec![1.0; places.len()]),
        "IDF" => {
            let zero = cx.like(counts, 0.0);
            let there = cx.gt(counts, zero)?;
            (cx.cast(there, DType::F32)?, weights)
        }
        "TFIDF" => (counts, weights),
        other => return invalid(format!("unknown mode `{other}`")),
    };
    let mut matrix = vec![0.0; places.len() * width];
    for (i, (&place, weight)) in places.iter().zip(weights).enumerate() {
        matrix[i * width + place as usize] = weight;
    }
    let matrix = cx.constant(Tensor::from_f64s(DType::F32, [places.len(), width], matrix));
    cx.add(Op::Matmul {}, &[values, matrix])
}
