//! Joining, splitting, matching and normalizing texts.

use regex_lite::Regex;
use sardonyx_tensor::Tensor;

/// Each text of `a` with the text of `b` behind it, numpy-broadcast.
///
/// # Errors
/// When the shapes do not broadcast.
pub fn concat(a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    let shape = broadcast(a.shape(), b.shape())
        .ok_or_else(|| format!("{:?} and {:?} do not broadcast", a.shape(), b.shape()))?;
    let (left, right) = (a.texts(), b.texts());
    let (from_left, from_right) = (steps(a.shape(), &shape), steps(b.shape(), &shape));
    let count = shape.iter().product::<usize>();
    let texts: Vec<String> = (0..count)
        .map(|index| {
            [left[place(index, &shape, &from_left)], right[place(index, &shape, &from_right)]].concat()
        })
        .collect();
    Ok(Tensor::from_texts(shape, &texts))
}

fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let one = |axis| match (size(a, axis), size(b, axis)) {
        (1, n) | (n, 1) => Some(n),
        (m, n) => (m == n).then_some(n),
    };
    (0..rank).map(one).collect()
}

/// Elements from one index to the next per dimension of the broadcast shape; 0 where there is only one.
fn steps(own: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; shape.len()];
    let mut step = 1;
    for (axis, &size) in own.iter().enumerate().rev() {
        steps[axis + shape.len() - own.len()] = if size == 1 { 0 } else { step };
        step *= size;
    }
    steps
}

fn place(mut index: usize, shape: &[usize], steps: &[usize]) -> usize {
    let mut place = 0;
    for (size, step) in shape.iter().zip(steps).rev() {
        place += index % size * step;
        index /= size;
    }
    place
}

/// The parts of each text between delimiters, at most `most` + 1 of them (negative: any number), along a new last
/// dimension that is as long as the longest list of parts, with empty texts behind the shorter ones; and the number
/// of parts, i64. An empty delimiter stands for any run of white space, also at the ends.
pub fn split(x: &Tensor, delimiter: &str, most: i64) -> [Tensor; 2] {
    let limit = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
    let texts = x.texts();
    let lists: Vec<Vec<&str>> = texts
        .iter()
        .map(|text| match delimiter {
            "" => words(text, limit),
            _ => text.splitn(limit, delimiter).collect(),
        })
        .collect();
    let width = lists.iter().map(Vec::len).max().unwrap_or(0);
    let padded: Vec<&str> =
        lists.iter().flat_map(|list| list.iter().copied().chain(std::iter::repeat("")).take(width)).collect();
    let counts: Vec<i64> = lists.iter().map(|list| list.len() as i64).collect();
    let shape = [x.shape(), &[width]].concat();
    [Tensor::from_texts(shape, &padded), Tensor::from_slice(x.shape(), &counts)]
}

/// The words of a text; the last of as many as may be is the rest, with the white space in it and behind it.
fn words(text: &str, limit: usize) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).filter(|_| words.len() + 1 < limit).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// A regular expression in RE2's syntax that has to fit a whole text.
///
/// # Errors
/// When it is no regular expression, or one with Unicode classes, which are not known here.
pub fn pattern(text: &str) -> Result<Regex, String> {
    // The line break ends a comment of an expression with `(?x)`.
    let whole =
        if text.contains("(?x") { format!("\\A(?:{text}\n)\\z") } else { format!("\\A(?:{text})\\z") };
    Regex::new(&whole).map_err(|error| format!("the pattern `{text}`: {error}"))
}

/// Whether the pattern fits each text as a whole; bool.
///
/// # Errors
/// As of [`pattern`].
pub fn matches(x: &Tensor, text: &str) -> Result<Tensor, String> {
    let pattern = pattern(text)?;
    let found: Vec<bool> = x.texts().iter().map(|text| pattern.is_match(text)).collect();
    Ok(Tensor::from_slice(x.shape(), &found))
}

/// What becomes of the case of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They stay.
    Same,
    /// All become small.
    Lower,
    /// All become capital.
    Upper,
}

impl Case {
    /// The case called `lower`, `upper` or `same`.
    pub fn named(name: &str) -> Option<Case> {
        match name {
            "same" => Some(Case::Same),
            "lower" => Some(Case::Lower),
            "upper" => Some(Case::Upper),
            _ => None,
        }
    }
}

/// The texts `[n]` or `[1,n]` without those among `stops`, in the given case; one empty text where none is left.
/// Stops that are not `exact` are compared without regard to case.
///
/// # Errors
/// When the shape is another.
pub fn normalize(x: &Tensor, stops: &Tensor, case: Case, exact: bool) -> Result<Tensor, String> {
    if !matches!(x.shape(), [_] | [1, _]) {
        return Err(format!("texts of shape {:?}: [n] or [1,n] is needed", x.shape()));
    }
    let compared = |text: &str| if exact { text.to_string() } else { text.to_lowercase() };
    let stops: Vec<String> = stops.texts().into_iter().map(compared).collect();
    let kept = x.texts().into_iter().filter(|text| stops.is_empty() || !stops.contains(&compared(text)));
    let mut texts: Vec<String> = kept
        .map(|text| match case {
            Case::Same => text.to_string(),
            Case::Lower => text.to_lowercase(),
            Case::Upper => text.to_uppercase(),
        })
        .collect();
    if texts.is_empty() {
        texts.push(String::new());
    }
    let mut shape = x.shape().to_vec();
    shape[x.rank() - 1] = texts.len();
    Ok(Tensor::from_texts(shape, &texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Tensor {
        Tensor::from_texts([texts.len()], texts)
    }

    #[test]
    fn texts_are_joined_with_broadcast() {
        let a = Tensor::from_texts([2, 1], &["a", "b"]);
        let joined = concat(&a, &list(&["x", "", "z"])).expect("the shapes should broadcast");
        assert_eq!(joined, Tensor::from_texts([2, 3], &["ax", "a", "az", "bx", "b", "bz"]));
        assert!(concat(&list(&["a", "b"]), &list(&["a", "b", "c"])).is_err());
        assert_eq!(concat(&a, &list(&[])).expect("nothing is broadcast").shape(), [2, 0]);
    }

    #[test]
    fn texts_are_split_at_delimiters_or_white_space() {
        let [parts, counts] = split(&list(&["a,b,,c", ",", ""]), ",", -1);
        let expected = ["a", "b", "", "c", "", "", "", "", "", "", "", ""];
        assert_eq!(parts, Tensor::from_texts([3, 4], &expected));
        assert_eq!(counts.to_i64s(), [4, 2, 1]);
        let [parts, counts] = split(&list(&["  a  b c  ", " \t"]), "", 1);
        assert_eq!(parts, Tensor::from_texts([2, 2], &["a", "b c  ", "", ""]));
        assert_eq!(counts.to_i64s(), [2, 0]);
        let [parts, _] = split(&Tensor::from_texts::<&str>([0], &[]), "", -1);
        assert_eq!(parts.shape(), [0, 0]);
        let [parts, _] = split(&list(&["a b"]), "", 0);
        assert_eq!(parts.texts(), ["a b"]);
    }

    #[test]
    fn patterns_fit_whole_texts() {
        let found = matches(&list(&["ab", "abc", "", "a\n"]), "a.?|c").expect("a regular expression");
        assert_eq!(found.to_i64s(), [1, 0, 0, 0]);
        assert!(matches(&list(&[]), "(").is_err());
    }

    #[test]
    fn stop_words_go_and_letters_change() {
        let x = list(&["Monday", "tuesday", "ÉTÉ"]);
        let normal = |stops: &[&str], case, exact| {
            let result = normalize(&x, &list(stops), case, exact).expect("a list of texts");
            result.texts().into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(normal(&["monday"], Case::Lower, true), ["monday", "tuesday", "été"]);
        assert_eq!(normal(&["monday"], Case::Upper, false), ["TUESDAY", "ÉTÉ"]);
        assert_eq!(normal(&["Monday", "tuesday", "ÉTÉ"], Case::Same, true), [""]);
        assert!(normalize(&Tensor::from_texts([2, 1], &["a", "b"]), &list(&[]), Case::Same, true).is_err());
    }
}
