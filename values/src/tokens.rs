//! Taking texts apart into tokens.

use regex_lite::Regex;
use sardonyx_tensor::Tensor;

/// How texts are taken apart, and which tokens are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Whether the patterns are what stands between tokens, one after the other, rather than tokens.
    pub between: bool,
    /// The least number of characters of a token.
    pub least: usize,
    /// Whether the tokens of a text begin with U+0002 and end with U+0003.
    pub mark: bool,
}

/// The tokens of each text along a new last dimension, with `pad` behind shorter lists. An empty pattern between
/// tokens stands between all characters.
///
/// # Errors
/// When a pattern is no regular expression.
pub fn tokens(x: &Tensor, patterns: &[&str], pad: &str, how: Tokens) -> Result<Tensor, String> {
    let characters = how.between && patterns == [""];
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>()?;
    let of = |text: &str| -> Vec<String> {
        let parts: Vec<&str> = if characters {
            text.split("").filter(|part| !part.is_empty()).collect()
        } else if how.between {
            patterns
                .iter()
                .fold(vec![text], |parts, p| parts.into_iter().flat_map(|part| p.apart(part)).collect())
        } else {
            patterns.iter().flat_map(|p| p.all(text).into_iter().map(|(from, to)| &text[from..to])).collect()
        };
        let kept = parts.into_iter().filter(|part| !part.is_empty() && part.chars().count() >= how.least);
        kept.map(String::from).collect()
    };
    let mut lists: Vec<Vec<String>> = x.texts().into_iter().map(of).collect();
    let mut width = lists.iter().map(Vec::len).max().unwrap_or(0);
    if how.mark && width > 0 {
        width += 2;
        for list in &mut lists {
            list.insert(0, '\u{2}'.into());
            list.push('\u{3}'.into());
        }
    }
    lists.iter_mut().for_each(|list| list.resize(width, pad.into()));
    Ok(Tensor::from_texts([x.shape(), &[width]].concat(), &lists.concat()))
}

/// A regular expression of which the longest of the first matches counts, as in RE2's longest-match mode.
struct Pattern {
    any: Regex,
    whole: Regex,
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern, String> {
        let any = Regex::new(text).map_err(|error| format!("the pattern `{text}`: {error}"))?;
        Ok(Pattern { any, whole: super::pattern(text)? })
    }

    /// The matches that are not empty, as ranges of bytes.
    fn all(&self, text: &str) -> Vec<(usize, usize)> {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(first) = self.any.find_at(text, from) {
            let mut ends = (first.end()..=text.len()).rev().filter(|&end| text.is_char_boundary(end));
            let longest = ends.find(|&end| self.whole.is_match(&text[first.start()..end]));
            let end = longest.unwrap_or(first.end());
            if end > first.start() {
                found.push((first.start(), end));
                from = end;
            } else {
                match text[end..].chars().next() {
                    Some(next) => from = end + next.len_utf8(),
                    None => break,
                }
            }
        }
        found
    }

    /// What is left between the matches.
    fn apart<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let (mut parts, mut start) = (Vec::new(), 0);
        for (from, to) in self.all(text) {
            parts.push(&text[start..from]);
            start = to;
        }
        parts.push(&text[start..]);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], patterns: &[&str], how: Tokens) -> (Vec<usize>, Vec<String>) {
        let found = tokens(&Tensor::from_texts([texts.len()], texts), patterns, "#", how).expect("patterns");
        (found.shape().to_vec(), found.texts().into_iter().map(String::from).collect())
    }

    #[test]
    fn texts_are_taken_apart() {
        let how = Tokens { between: true, least: 1, mark: false };
        let (shape, found) = of(&["a,b  c", "x"], &[" ", ","], how);
        assert_eq!((shape, found), (vec![2, 3], ["a", "b", "c", "x", "#", "#"].map(String::from).to_vec()));
        let (shape, _) = of(&["ab", ""], &[""], Tokens { mark: true, ..how });
        assert_eq!(shape, [2, 4]);
        let (_, found) = of(&["aabbb"], &["b|bb"], Tokens { between: false, ..how });
        assert_eq!(found, ["bb", "b"]);
        let (shape, _) = of(&["", " "], &[" "], Tokens { mark: true, ..how });
        assert_eq!(shape, [2, 0]);
        assert!(tokens(&Tensor::from_texts([1], &["a"]), &["("], "", how).is_err());
    }
}
