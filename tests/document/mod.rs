//! Sections of `docs/onnx-support.md`, each written by the test that knows what it says. A section begins
//! with a comment that names it and ends where the next one begins.
use std::path::Path;

/// Fails unless the section says `text`; with `SARDONYX_BLESS=1` it is written.
pub fn check(section: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/onnx-support.md");
    let whole = std::fs::read_to_string(&path).unwrap_or_default();
    let mark = format!("<!-- {section} -->\n");
    let start = whole.find(&mark).unwrap_or(whole.len());
    let body = whole.get(start + mark.len()..).unwrap_or_default();
    let length = body.find("<!-- ").unwrap_or(body.len());
    if std::env::var_os("SARDONYX_BLESS").is_some() {
        let text = format!("{}{mark}{}\n\n{}", &whole[..start], text.trim_end(), &body[length..]);
        return std::fs::write(&path, format!("{}\n", text.trim_end()))
            .expect("the document should be writable");
    }
    let (made, found) = (text.trim_end(), body[..length].trim_end());
    let mut lines = made.lines().zip(found.lines()).filter(|(made, found)| made != found);
    assert!(
        made == found,
        "docs/onnx-support.md is out of date in the section `{section}`: run with SARDONYX_BLESS=1. {}",
        match lines.next() {
            Some((made, found)) => format!("The first line that differs is now\n{made}\nand was\n{found}"),
            None => "One is the other's beginning".to_owned(),
        }
    );
}
