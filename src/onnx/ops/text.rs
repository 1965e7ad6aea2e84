//! Operators on texts, and the one on files of pictures.
use super::super::context::{Built, Context};
use super::super::error::{Fault, invalid};
use super::{Row, many, one};
use sardonyx_ir::ops::attribute::{LetterCase, PixelForm};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    one("ImageDecoder", 20, picture),
    one("RegexFullMatch", 20, |cx| {
        let (x, pattern) = (cx.operand(0)?, cx.string_if("pattern")?);
        let pattern = pattern.ok_or("the attribute `pattern` is missing")?;
        // A pattern that cannot be read is told now, not when the program runs.
        sardonyx_values::pattern(&pattern).map_err(Fault::Unsupported)?;
        let pattern = cx.text(&pattern);
        cx.add(Op::TextMatch {}, &[x, pattern])
    }),
    one("StringConcat", 20, |cx| cx.on_all(Op::TextConcat {})),
    one("StringNormalizer", 10, normalizer),
    many("StringSplit", 20, split),
];

impl Context<'_> {
    /// A constant text without dimensions.
    pub fn text(&mut self, text: &str) -> Value {
        self.constant(Tensor::from_texts([], &[text]))
    }
    /// A constant list of texts.
    pub fn text_list(&mut self, texts: &[String]) -> Value {
        self.constant(Tensor::from_texts([texts.len()], texts))
    }
}

fn picture(cx: &mut Context) -> Built {
    let form = match cx.string("pixel_format", "RGB")?.as_str() {
        "RGB" => PixelForm::Rgb,
        "BGR" => PixelForm::Bgr,
        "Grayscale" => PixelForm::Gray,
        other => return invalid(format!("unknown pixel_format `{other}`")),
    };
    let (x, height, width) = (cx.operand(0)?, cx.importer.symbol(), cx.importer.symbol());
    cx.add(Op::ImageDecode { form, height, width }, &[x])
}

fn normalizer(cx: &mut Context) -> Built {
    let case = match cx.string("case_change_action", "NONE")?.as_str() {
        "NONE" => LetterCase::Same,
        "LOWER" => LetterCase::Lower,
        "UPPER" => LetterCase::Upper,
        other => return invalid(format!("unknown case_change_action `{other}`")),
    };
    let exact = cx.flag("is_case_sensitive", false)?;
    let stops = cx.strings("stopwords")?.unwrap_or_default();
    let (x, stops) = (cx.operand(0)?, cx.text_list(&stops));
    let count = cx.importer.symbol();
    cx.add(Op::TextNormalize { case, exact, count }, &[x, stops])
}

fn split(cx: &mut Context) -> Built<Vec<Value>> {
    let (delimiter, most) = (cx.string("delimiter", "")?, cx.int("maxsplit", -1)?);
    let (x, delimiter) = (cx.operand(0)?, cx.text(&delimiter));
    let width = cx.importer.symbol();
    let parts = cx.add(Op::TextSplit { most, width }, &[x, delimiter])?;
    Ok(vec![parts, parts.port(1)])
}
