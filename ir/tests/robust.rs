//! Hostile texts: whatever is parsed gives a graph or an error, whatever is evaluated gives values or an
//! error. Nothing panics.
use sardonyx_ir::{Graph, Type, interp, text, verify};
use sardonyx_tensor::{DType, Tensor};

/// Seeded numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

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
    "b",
    "u9",
    "b*b",
    "(b + 1) / 2",
    "1e300",
    "%m",
    "%x",
];
const PIECES: &[&str] = &[
    "(", ")", "{", "}", "[", "]", ",", "=", ":", "%", "\"", "\\", "//", "\n", "graph", "return", "require",
    "==", "const", "rand(1)", "i64", "f32", "bool", "u4", "true", "as", "é", "\u{0}", "-", "%x", "%m",
    "matmul", "conv",
];

/// The text with a few changes.
fn mutated(text: &str, random: &mut Random) -> String {
    let mut text = text.to_string();
    for _ in 0..=random.below(2) {
        match random.below(4) {
            // A number becomes another one.
            0..=1 => {
                let digits: Vec<usize> =
                    text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(i, _)| i).collect();
                let start = digits[random.below(digits.len())];
                let length = text[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(1);
                text.replace_range(start..start + length, random.pick(NUMBERS));
            }
            2 => {
                let at = boundary(&text, random);
                text.insert_str(at, random.pick(PIECES));
            }
            _ => {
                let (a, b) = (boundary(&text, random), boundary(&text, random));
                let end = (a.min(b) + 12).min(a.max(b));
                let end = (end..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
                text.replace_range(a.min(b)..end, "");
            }
        }
    }
    text
}

fn boundary(text: &str, random: &mut Random) -> usize {
    let at = random.below(text.len() + 1);
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

fn evaluate(g: &Graph) {
    let inputs: Option<Vec<Tensor>> = g.inputs().map(|v| input(g.ty(v))).collect();
    if let Some(inputs) = inputs {
        let _ = interp::eval(g, &inputs);
    }
}

/// Test data of this type, if that is small.
fn input(ty: &Type) -> Option<Tensor> {
    let shape: Option<Vec<usize>> =
        ty.shape.iter().map(|d| usize::try_from(d.known().unwrap_or(2)).ok()).collect();
    let shape = shape?;
    let count = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b))?;
    (count <= 4096).then(|| match ty.dtype {
        DType::I64 if shape.is_empty() => Tensor::scalar(3i64),
        dtype => interp::sample(dtype, &shape, 1),
    })
}

/// Graphs of one op each: every statement of `every.ir` with the constants it uses.
fn texts() -> Vec<String> {
    let every = include_str!("ops/every.ir");
    let header = every.lines().find(|l| l.starts_with("graph")).expect("a graph");
    let lines: Vec<&str> = every.lines().filter(|l| l.starts_with("  %")).collect();
    let mut texts = Vec::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| !l.contains("= const ")) {
        let mut needed = vec![i];
        let mut names: Vec<&str> = words(line.split_once('=').expect("a statement").1);
        while let Some(name) = names.pop() {
            let found = lines[..i]
                .iter()
                .position(|l| words(l.split_once('=').expect("a statement").0).contains(&name));
            if let Some(at) = found.filter(|at| !needed.contains(at)) {
                needed.push(at);
                names.extend(words(lines[at].split_once('=').expect("a statement").1));
            }
        }
        needed.sort_unstable();
        let body: String = needed.iter().map(|&i| statement(every, lines[i])).collect();
        let result = words(line)[0];
        texts.push(format!("{header}\n{body}  return {result} as \"y\"\n}}\n"));
    }
    texts
}

fn words(text: &str) -> Vec<&str> {
    text.match_indices('%')
        .map(|(i, _)| &text[i..])
        .map(|t| {
            &t[..1 + t[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(t.len() - 1)]
        })
        .collect()
}

/// A statement with its regions, which stand in deeper lines.
fn statement(text: &str, line: &str) -> String {
    let start = text.find(line).expect("a line of the text");
    let mut all = format!("{line}\n");
    for inner in text[start..].lines().skip(1).take_while(|l| l.starts_with("    ")) {
        all.push_str(inner);
        all.push('\n');
    }
    all
}

#[test]
fn mutated_texts_give_errors() {
    let texts = texts();
    for t in &texts {
        text::parse(t).unwrap_or_else(|e| panic!("{e} in\n{t}"));
    }
    let mut random = Random(0x5ead_0175);
    let rounds: usize = std::env::var("SARDONYX_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let mut parsed = 0;
    for round in 0..rounds {
        let source = mutated(&texts[round % texts.len()], &mut random);
        if let Ok(g) = text::parse(&source) {
            parsed += 1;
            let _ = verify::verify(&g);
            let printed = text::print(&g);
            // The least integer is no coefficient that parses.
            if let Err(e) = text::parse(&printed)
                && !printed.contains("9223372036854775808")
            {
                panic!("{e} in\n{printed}of\n{source}");
            }
            evaluate(&g);
        }
    }
    assert!(parsed > rounds / 10, "{parsed} of {rounds} texts were parsed");
}
