//! The table itself: its page in the documentation.
use sardonyx_ir::ops::TABLE;
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
