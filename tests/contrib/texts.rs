//! Operators on texts, and labels of ai.onnx.ml.
use super::case::{Case, ML, encode, tensor};
use sardonyx_tensor::DType::{Bool, F32, I32, I64, String as Text};
use sardonyx_tensor::Tensor;

fn std(op: &'static str) -> Case {
    Case::new("", op, 21)
}

fn list(texts: &[&str]) -> Tensor {
    Tensor::from_texts([texts.len()], texts)
}

/// Words of all kinds: with white space at the ends and in between, capitals, letters of several bytes.
fn words() -> Tensor {
    list(&["Monday", " a  b c ", "tuesday", "", "ÉTÉ été", "a,b,,c", ",", "monday"])
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        std("StringConcat").x(Text, &[2, 3]).x(Text, &[3]).out(Text),
        std("StringConcat").x(Text, &[2, 1]).w(Text, &[1, 4]).out(Text),
        std("StringConcat").x(Text, &[3]).named(&["n"]).x(Text, &[3]).named(&["n"]).out(Text),
        std("Equal").x(Text, &[2, 6]).x(Text, &[6]).out(Bool),
        std("Where").x(Bool, &[4]).x(Text, &[4]).w(Text, &[1]).out(Text),
        std("Gather").x(Text, &[3, 4]).constant(Tensor::from_slice([2], &[2i64, 0])).out(Text).int("axis", 1),
        std("Concat").int("axis", 0).x(Text, &[2, 3]).w(Text, &[1, 3]).out(Text),
        std("Transpose").x(Text, &[2, 3]).out(Text),
        std("Tile").x(Text, &[2]).constant(Tensor::from_slice([1], &[3i64])).out(Text),
        std("Cast").int("to", 1).input(list(&["1.5", "-2e3", "7"])).out(F32),
        std("Cast").int("to", 7).input(list(&["15", "-3"])).out(I64),
        std("Cast").int("to", 8).input(Tensor::from_slice([3], &[15i64, -3, 0])).out(Text),
        std("Cast").int("to", 8).input(Tensor::from_slice([4], &[0.1f32, -1e-7, 3.0, 1e20])).out(Text),
        std("Cast").int("to", 8).input(Tensor::from_slice([2], &[0.5f64, -3.0])).out(Text),
        Case::new(ML, "LabelEncoder", 1).texts("classes_strings", &["Monday", ""]).input(words()).out(I64),
        Case::new(ML, "LabelEncoder", 1).texts("classes_strings", &["a", "b"]).x(I64, &[2, 3]).out(Text),
        Case::new(ML, "CategoryMapper", 1)
            .texts("cats_strings", &["Monday", ","])
            .ints("cats_int64s", &[5, 6])
            .input(words())
            .out(I64),
        Case::new(ML, "LabelEncoder", 2)
            .texts("keys_strings", &["Monday", "", "x"])
            .floats("values_floats", &[0.5, 1.5, 2.5])
            .float("default_float", -7.0)
            .input(words())
            .out(F32),
        Case::new(ML, "LabelEncoder", 4)
            .floats("keys_floats", &[0.0, f32::NAN])
            .texts("values_strings", &["zero", "none"])
            .text("default_string", "?")
            .input(Tensor::from_slice([3], &[f32::NAN, 0.0, 1.0]))
            .out(Text),
        Case::new(ML, "LabelEncoder", 4)
            .tensor(tensor("keys_tensor", encode("", &list(&["a", "Monday"]))))
            .tensor(tensor("values_tensor", encode("", &Tensor::from_slice([2], &[3i32, 4]))))
            .tensor(tensor("default_tensor", encode("", &Tensor::from_slice([1], &[-9i32]))))
            .input(words())
            .out(I32)
            .refused("Could not find an implementation"),
        Case::new(ML, "LabelEncoder", 4)
            .tensor(tensor("keys_tensor", encode("", &Tensor::from_slice([2], &[1.0f64, 2.0]))))
            .tensor(tensor("values_tensor", encode("", &list(&["one", "two"]))))
            .tensor(tensor("default_tensor", encode("", &list(&["many"]))))
            .input(Tensor::from_slice([3], &[2.0f64, 1.0, 3.0]))
            .out(Text),
        std("Relu").x(Text, &[3]).out(Text).unsupported("string"),
        std("Unique").x(Text, &[3]).out(Text).unsupported("unique is not defined on string[3]"),
    ];
    for pattern in ["a.*", "[A-Z]\\w+", "(mon|tues)day", "\\s?a.*|,"] {
        all.push(std("RegexFullMatch").text("pattern", pattern).input(words()).out(Bool));
    }
    for delimiter in ["", ",", " ", "a "] {
        for most in [-1, 1, 2] {
            let split = std("StringSplit").text("delimiter", delimiter);
            let split = if most < 0 { split } else { split.int("maxsplit", most) };
            all.push(split.input(list(&["a,b,,c", " a  b c", "x", ","])).outs(&[Text, I64]));
        }
    }
    for case in ["NONE", "LOWER", "UPPER"] {
        for exact in [0, 1] {
            for stops in [&[][..], &["monday"], &["ETE", "a,b,,c"]] {
                let normalizer = std("StringNormalizer").text("case_change_action", case);
                // A locale that every system has: it knows the letters of ASCII.
                let normalizer = normalizer.int("is_case_sensitive", exact).text("locale", "C");
                let normalizer =
                    if stops.is_empty() { normalizer } else { normalizer.texts("stopwords", stops) };
                all.push(
                    normalizer.input(list(&["Monday", " a  b c ", "ete", "", "a,B,,c", "monday"])).out(Text),
                );
            }
        }
    }
    all.push(
        std("StringNormalizer")
            .text("locale", "C")
            .texts("stopwords", &["a"])
            .input(list(&["a", "a"]))
            .out(Text),
    );
    all
}
