//! Einsum, composed of diagonals, sums, transposes and matrix products.
use super::super::context::{Built, Context};
use super::super::error::{invalid, unsupported};
use super::{Row, one};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim};
use std::collections::BTreeMap;

pub(super) const ROWS: &[Row] = &[one("Einsum", 12, einsum)];

/// A tensor with a letter for every axis.
#[derive(Clone)]
struct Term {
    value: Value,
    letters: Vec<char>,
}

fn einsum(cx: &mut Context) -> Built {
    let equation = cx.string("equation", "")?.replace(' ', "");
    let operands = cx.operands()?;
    let (left, right) = match equation.split_once("->") {
        Some((l, r)) => (l.to_string(), Some(r.to_string())),
        None => (equation.clone(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != operands.len() || operands.is_empty() {
        return invalid(format!("`{equation}` for {} operands", operands.len()));
    }
    let mut terms = Vec::new();
    for (part, &value) in parts.iter().zip(&operands) {
        let letters = named(part, cx.rank(value))?;
        terms.push(diagonal(cx, Term { value, letters })?);
    }
    let output = match right {
        Some(r) => output_letters(&r, &terms)?,
        None => implied(&terms),
    };
    if let Some(c) = output.iter().find(|c| !terms.iter().any(|t| t.letters.contains(c))) {
        return invalid(format!("`{c}` of the result is in no operand"));
    }
    let mut rest = terms.into_iter();
    let mut acc = rest.next().ok_or("no operands")?;
    let later: Vec<Term> = rest.collect();
    for (i, term) in later.iter().enumerate() {
        let keep = |c: &char| output.contains(c) || later[i + 1..].iter().any(|t| t.letters.contains(c));
        acc = product(cx, acc, term.clone(), keep)?;
    }
    let acc = summed(cx, acc, |c| output.contains(c))?;
    let order: Vec<usize> = output.iter().filter_map(|c| acc.letters.iter().position(|l| l == c)).collect();
    if order.len() != acc.letters.len() {
        return invalid(format!("a letter repeats in the result of `{equation}`"));
    }
    cx.transpose(acc.value, &order)
}

/// The letters of a term; the axes of `...` get private ones, counted from the last.
fn named(part: &str, rank: usize) -> Built<Vec<char>> {
    let letters: Vec<char> = part.replace("...", ".").chars().collect();
    if let Some(c) = letters.iter().find(|c| !c.is_alphabetic() && **c != '.') {
        return invalid(format!("`{c}` in an equation"));
    }
    let open = letters.iter().filter(|&&c| c == '.').count();
    let named = letters.len() - open;
    if open > 1 || named > rank || (open == 0 && named != rank) {
        return invalid(format!("`{part}` for a tensor of rank {rank}"));
    }
    let mut result = Vec::with_capacity(rank);
    for c in letters {
        if c == '.' { result.extend((0..rank - named).rev().map(private)) } else { result.push(c) }
    }
    Ok(result)
}

/// The letter of the axis that is `i`-th from the end of an ellipsis.
fn private(i: usize) -> char {
    char::from_u32(0xE000 + i as u32).unwrap_or('\u{E000}')
}

fn is_private(c: char) -> bool {
    ('\u{E000}'..='\u{F8FF}').contains(&c)
}

fn ellipsis(terms: &[Term]) -> Vec<char> {
    let mut all: Vec<char> =
        terms.iter().flat_map(|t| &t.letters).copied().filter(|&c| is_private(c)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.dedup();
    all
}

fn output_letters(text: &str, terms: &[Term]) -> Built<Vec<char>> {
    let mut letters = Vec::new();
    for c in text.replace("...", ".").chars() {
        match c {
            '.' => letters.extend(ellipsis(terms)),
            c if c.is_alphabetic() => letters.push(c),
            c => return invalid(format!("`{c}` in an equation")),
        }
    }
    Ok(letters)
}

/// Without an arrow: the ellipsis, then the letters that occur once, sorted.
fn implied(terms: &[Term]) -> Vec<char> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    terms
        .iter()
        .flat_map(|t| &t.letters)
        .filter(|&&c| !is_private(c))
        .for_each(|&c| *counts.entry(c).or_default() += 1);
    let once = counts.into_iter().filter(|&(_, n)| n == 1).map(|(c, _)| c);
    ellipsis(terms).into_iter().chain(once).collect()
}

/// Takes the diagonal of axes with the same letter.
fn diagonal(cx: &mut Context, mut term: Term) -> Built<Term> {
    while let Some((i, j)) = repeated(&term.letters) {
        let shape = cx.shape(term.value);
        let rank = shape.len();
        let (a, b) = (
            cx.iota(shape[i].clone(), DType::I64, i, rank)?,
            cx.iota(shape[j].clone(), DType::I64, j, rank)?,
        );
        let (on, zero) = (cx.eq(a, b)?, cx.like(term.value, 0.0));
        let kept = cx.select(on, term.value, zero)?;
        let sum = cx.reduce_sum(kept, &[j])?;
        term.value = cx.squeeze(sum, &[j])?;
        term.letters.remove(j);
    }
    Ok(term)
}

fn repeated(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|j| letters[..j].iter().position(|c| *c == letters[j]).map(|i| (i, j)))
}

/// Sums over the letters that nobody needs.
fn summed(cx: &mut Context, mut term: Term, keep: impl Fn(&char) -> bool) -> Built<Term> {
    let axes: Vec<usize> = (0..term.letters.len()).filter(|&i| !keep(&term.letters[i])).collect();
    if !axes.is_empty() {
        let sum = cx.reduce_sum(term.value, &axes)?;
        term.value = cx.squeeze(sum, &axes)?;
        term.letters.retain(|c| keep(c));
    }
    Ok(term)
}

/// Two terms as a batched matrix product; `keep` says which letters are still needed.
fn product(cx: &mut Context, a: Term, b: Term, keep: impl Fn(&char) -> bool) -> Built<Term> {
    let a = summed(cx, a.clone(), |c| keep(c) || b.letters.contains(c))?;
    let b = summed(cx, b.clone(), |c| keep(c) || a.letters.contains(c))?;
    let shared = |c: &&char| a.letters.contains(c) && b.letters.contains(c);
    let batch: Vec<char> = a.letters.iter().filter(shared).filter(|c| keep(c)).copied().collect();
    let inner: Vec<char> = a.letters.iter().filter(shared).filter(|c| !keep(c)).copied().collect();
    let rows: Vec<char> = a.letters.iter().filter(|c| !b.letters.contains(c)).copied().collect();
    let columns: Vec<char> = b.letters.iter().filter(|c| !a.letters.contains(c)).copied().collect();
    if inner.is_empty() {
        return pointwise(cx, a, b);
    }
    let sizes = sizes(cx, &[&a, &b]);
    let size = |letters: &[char]| Dim::product(letters.iter().map(|c| &sizes[c]));
    let dims = |letters: &[char]| letters.iter().map(|c| sizes[c].clone()).collect::<Vec<Dim>>();
    // A letter that is 1 in one operand and more in the other broadcasts: that is no matrix product.
    for term in [&a, &b] {
        if term.letters.iter().zip(cx.shape(term.value)).any(|(c, d)| d == 1 && sizes[c] != 1) {
            let whole = pointwise(cx, a.clone(), b.clone())?;
            return summed(cx, whole, keep);
        }
    }
    let left =
        arranged(cx, &a, &[&batch, &rows, &inner], [dims(&batch), vec![size(&rows), size(&inner)]].concat())?;
    let right = arranged(
        cx,
        &b,
        &[&batch, &inner, &columns],
        [dims(&batch), vec![size(&inner), size(&columns)]].concat(),
    )?;
    let product = cx.add(Op::Matmul {}, &[left, right])?;
    let letters = [batch, rows, columns].concat();
    let value = cx.reshape(product, dims(&letters))?;
    Ok(Term { value, letters })
}

/// The size of every letter; where operands differ, the one that is not 1.
fn sizes(cx: &Context, terms: &[&Term]) -> BTreeMap<char, Dim> {
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    for term in terms {
        for (&c, d) in term.letters.iter().zip(cx.shape(term.value)) {
            let known = sizes.entry(c).or_insert_with(|| d.clone());
            if *known == 1 {
                *known = d;
            }
        }
    }
    sizes
}

/// The term with its axes in the order of the groups, in this shape.
fn arranged(cx: &mut Context, term: &Term, groups: &[&Vec<char>], shape: Vec<Dim>) -> Built {
    let order: Vec<usize> =
        groups.iter().copied().flatten().filter_map(|c| term.letters.iter().position(|l| l == c)).collect();
    let value = cx.transpose(term.value, &order)?;
    cx.reshape(value, shape)
}

/// The product of every pair of elements, over the letters of both.
fn pointwise(cx: &mut Context, a: Term, b: Term) -> Built<Term> {
    let mut letters = a.letters.clone();
    letters.extend(b.letters.iter().filter(|c| !a.letters.contains(c)));
    if letters.len() > 16 {
        return unsupported("more than 16 letters");
    }
    let mut parts = Vec::new();
    for term in [&a, &b] {
        let order: Vec<usize> =
            letters.iter().filter_map(|c| term.letters.iter().position(|l| l == c)).collect();
        let turned = cx.transpose(term.value, &order)?;
        let missing: Vec<usize> =
            (0..letters.len()).filter(|&i| !term.letters.contains(&letters[i])).collect();
        parts.push(cx.unsqueeze(turned, &missing)?);
    }
    let value = cx.times(parts[0], parts[1])?;
    Ok(Term { value, letters })
}
