//! Hostile texts: whatever is parsed gives a graph or an error, whatever is evaluated gives values or an
//! error. Nothing panics.
#[path = "../../tests/fuzz/bytes.rs"]
mod bytes;
#[path = "../../tests/fuzz/text.rs"]
mod damage;
#[path = "../../tests/fuzz/random.rs"]
#[allow(dead_code)]
mod random;

use random::Random;
use sardonyx_ir::{Graph, Type, interp, text, verify};
use sardonyx_tensor::{DType, Tensor};

/// The text with a change or two.
fn mutated(text: &str, other: &str, random: &mut Random) -> String {
    let mut text = text.to_string();
    for _ in 0..=random.below(2) {
        damage::once(&mut text, other, random);
    }
    text
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
    let rounds: usize = std::env::var("SARDONYX_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let mut parsed = 0;
    for round in 0..rounds {
        let mut random = Random::new(0x5ead_0175, round as u64);
        let other = &texts[random.below(texts.len())];
        let source = mutated(&texts[round % texts.len()], other, &mut random);
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
