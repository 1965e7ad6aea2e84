//! The table itself: its page in the documentation, the text form of every op.
use sardonyx_ir::ops::{Row, TABLE};
use sardonyx_ir::{Type, interp, text, verify};
use sardonyx_tensor::{DType, Tensor};
use std::collections::BTreeSet;
use std::fmt::Write;

/// `docs/ops.md` is the printed table; `SARDONYX_BLESS=1` writes it anew.
#[test]
fn documentation_is_the_table() {
    let mut page = String::from(
        "# Ops of the graph IR\n\nPrinted from the op table by `SARDONYX_BLESS=1 cargo test -p sardonyx-ir --test ops`.\n\
         Operands after `|` are optional, those after `;` any number. A pointwise op shows its expression.\n\n\
         | op | operands | attributes | meaning |\n|---|---|---|---|\n",
    );
    let cell = |text: &str| text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ");
    for row in TABLE {
        let (required, rest) = row.operands.split_at(row.required);
        let mark = if row.variadic { "; " } else { "\\| " };
        let rest = if rest.is_empty() { String::new() } else { format!("{mark}{}", rest.join(", ")) };
        let attributes: Vec<String> =
            row.attributes.iter().map(|(name, ty)| format!("{name}: {}", cell(ty))).collect();
        let expression = if row.pointwise { format!("`{}` ", cell(row.expression)) } else { String::new() };
        let operands = format!("{} {rest}", required.join(", "));
        let meaning = format!("{expression}{}", cell(row.about));
        let cells = [operands.trim(), &attributes.join(", "), meaning.trim()].join(" | ");
        writeln!(page, "| `{}` | {cells} |", row.name()).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ops.md");
    if std::env::var_os("SARDONYX_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == page, "docs/ops.md is not the op table: run with SARDONYX_BLESS=1");
}

const EVERY: &str = include_str!("every.ir");

/// A graph of one pointwise op on operands it takes.
fn pointwise(row: &Row) -> String {
    let names: Vec<char> = "abc".chars().take(row.required).collect();
    let text = |dtype: &str| {
        let dtype = |i: usize| if row.name() == "select" && i == 0 { "bool" } else { dtype };
        let params: Vec<String> =
            names.iter().enumerate().map(|(i, n)| format!("%{n}: {}[b,3]", dtype(i))).collect();
        let operands: Vec<String> = names.iter().map(|n| format!("%{n}")).collect();
        format!("graph({}) {{ %r = {}({}) return %r }}", params.join(", "), row.name(), operands.join(", "))
    };
    let accepted = ["f32", "i32", "bool"].into_iter().map(text).find(|t| text::parse(t).is_ok());
    accepted.unwrap_or_else(|| panic!("{} takes no type", row.name()))
}

/// Every op of the table prints, parses back to the same text, verifies and evaluates.
#[test]
fn every_op_round_trips() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let texts: Vec<String> = TABLE.iter().filter(|row| row.pointwise).map(pointwise).collect();
    for source in texts.iter().map(String::as_str).chain([EVERY]) {
        let g = text::parse(source).unwrap_or_else(|e| panic!("{e}"));
        verify::verify(&g).unwrap_or_else(|e| panic!("{e} in\n{g}"));
        let printed = text::print(&g);
        let again = text::parse(&printed).unwrap_or_else(|e| panic!("{e} in\n{printed}"));
        assert_eq!(text::print(&again), printed);
        seen.extend(g.nodes().map(|id| g.node(id).op.name()));
        let inputs: Vec<Tensor> = g.inputs().map(|v| input(g.ty(v))).collect();
        let values = interp::eval(&g, &inputs).unwrap_or_else(|e| panic!("{e} in\n{g}"));
        let same = interp::eval(&again, &inputs).unwrap_or_else(|e| panic!("{e} in\n{again}"));
        assert_eq!(values, same);
    }
    let missing: Vec<&str> = TABLE.iter().map(Row::name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "every.ir has no {missing:?}");
}

fn input(ty: &Type) -> Tensor {
    let shape: Vec<usize> = ty.shape.iter().map(|d| d.known().unwrap_or(2) as usize).collect();
    match (ty.dtype, ty.rank()) {
        (DType::I64, 0) => Tensor::scalar(3i64),
        (DType::Bool, 0) => Tensor::scalar(true),
        _ => interp::sample(ty.dtype, &shape, 1),
    }
}
