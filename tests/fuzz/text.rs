//! Damage to texts: to their words, numbers and lines.
// A test of the graphs' texts alone uses some of it.
#![allow(dead_code)]
use super::bytes;
use super::random::Random;

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "1.5",
    "-0.0",
    "inf",
    "nan",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "170141183460469231731687303715884105728",
    "b",
    "u9",
    "b*b",
    "(b + 1) / 2",
    "1e300",
    "%x",
    "%m",
    "0x7f",
    "",
];
const PIECES: &[&str] = &[
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    "=",
    ":",
    "%",
    "\"",
    "\\",
    "//",
    "\n",
    "graph",
    "return",
    "require",
    "==",
    "const",
    "rand(1)",
    "opaque(2)",
    "i64",
    "f32",
    "bool",
    "u4",
    "true",
    "as",
    "é",
    "\u{0}",
    "-",
    "%x",
    "%m",
    "matmul",
    "conv",
    "body",
    "then (%p: f32[k]) { return %p }",
    "((((((((",
    "b/2*3-(",
    "\u{feff}",
];

/// Changes a few places; `other` is what lines and words are taken from.
pub fn damage(text: &str, other: &str, random: &mut Random) -> String {
    let mut text = text.to_string();
    for _ in 0..1 + random.below(4) {
        once(&mut text, other, random);
    }
    if random.once_in(16) {
        let mut bytes = text.into_bytes();
        bytes::damage(&mut bytes, other.as_bytes(), random);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    text
}

/// Changes one place.
pub fn once(text: &mut String, other: &str, random: &mut Random) {
    match random.below(9) {
        0..=2 => {
            if let Some(at) = word(text, |c| c.is_ascii_digit(), random) {
                text.replace_range(at, random.pick(NUMBERS));
            }
        }
        3 => {
            let at = boundary(text, random);
            text.insert_str(at, random.pick(PIECES));
        }
        4 => {
            let start = boundary(text, random);
            let end = (start + random.below(16)).min(text.len());
            let end = (end..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
            text.replace_range(start..end, "");
        }
        // A word that stands elsewhere.
        5..=6 => {
            let is = |c: char| c.is_alphanumeric() || "%_.".contains(c);
            let from = if random.once_in(2) { other.to_string() } else { text.clone() };
            if let (Some(here), Some(there)) = (word(text, is, random), word(&from, is, random)) {
                text.replace_range(here, &from[there]);
            }
        }
        _ => lines(text, other, random),
    }
}

/// A line that is missing, twice, or from elsewhere.
fn lines(text: &mut String, other: &str, random: &mut Random) {
    let mut all: Vec<&str> = text.lines().collect();
    let others: Vec<&str> = other.lines().collect();
    if all.is_empty() || others.is_empty() {
        return;
    }
    let at = random.below(all.len());
    match random.below(4) {
        0 => drop(all.remove(at)),
        1 => {
            let again = all[random.below(all.len())];
            all.insert(at, again);
        }
        2 => all.insert(at, others[random.below(others.len())]),
        _ => {
            let second = random.below(all.len());
            all.swap(at, second);
        }
    }
    *text = all.join("\n");
}

/// Where a run of such characters stands.
fn word(text: &str, is: impl Fn(char) -> bool, random: &mut Random) -> Option<std::ops::Range<usize>> {
    let from = boundary(text, random);
    let start = from + text[from..].find(&is)?;
    let length = text[start..].find(|c| !is(c)).unwrap_or(text.len() - start);
    Some(start..start + length)
}

fn boundary(text: &str, random: &mut Random) -> usize {
    let at = random.below(text.len() + 1);
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}
