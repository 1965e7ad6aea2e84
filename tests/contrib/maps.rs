//! Operators of ai.onnx.ml on maps, and those on numbers where they take or name texts.
use super::case::{Case, ML};
use super::ml::{numbers, small};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, F32, F64, I32, I64, List, String as Text};
use sardonyx_tensor::Tensor;

fn ml(op: &'static str) -> Case {
    Case::new(ML, op, 1)
}

/// A map from the numbers or texts to seeded numbers, as a list of keys and values.
fn map(key: DType, value: DType) -> Tensor {
    let keys = match key {
        Text => Tensor::from_texts([4], &["b", "", "a", "long key"]),
        _ => Tensor::from_slice([4], &[7i64, -1, 2, 30]),
    };
    let values = match value {
        Text => Tensor::from_texts([4], &["1", "-2", "30", "25"]),
        _ => small(value, &[4], 5),
    };
    Tensor::from_list([keys, values])
}

fn zipped(all: &mut Vec<Case>) {
    let texts = ["b", "c", "a"];
    for (rows, name) in [(1, ""), (4, "rows")] {
        let x = |case: Case| case.x(F32, &[rows, 3]).named(&[name]).out(List);
        all.push(x(ml("ZipMap").texts("classlabels_strings", &texts)));
        all.push(x(ml("ZipMap").ints("classlabels_int64s", &[5, -2, 3])));
    }
    all.push(ml("ZipMap").texts("classlabels_strings", &texts).x(F32, &[3]).out(List));
    let wrong = ml("ZipMap").ints("classlabels_int64s", &[1, 2]).x(F32, &[2, 3]).out(List);
    all.push(wrong.unsupported("2 labels"));
}

fn read(all: &mut Vec<Case>) {
    for (key, value) in [(Text, I64), (Text, F32), (Text, F64), (I64, F32), (I64, F64), (I64, Text)] {
        let words = |case: Case| match key {
            Text => case.texts("string_vocabulary", &["a", "x", "", "b", "a"]),
            _ => case.ints("int64_vocabulary", &[2, 9, -1, 7, 30]),
        };
        all.push(words(ml("DictVectorizer")).input(map(key, value)).out(value));
    }
    for (to, dtype) in [("TO_FLOAT", F32), ("TO_INT64", I64), ("TO_STRING", Text)] {
        for value in [F32, Text] {
            let positive = |t: Tensor| {
                Tensor::from_list([Tensor::from_slice([4], &[7i64, 1, 2, 0]), t.items(0)[1].clone()])
            };
            for form in ["DENSE", "SPARSE"] {
                let case = ml("CastMap").text("cast_to", to).text("map_form", form).int("max_map", 9);
                let case = case.input(positive(map(I64, value))).out(dtype);
                all.push(match (to, value, form) {
                    ("TO_STRING", F32, _) => case.unsupported("as texts"),
                    ("TO_STRING", _, "SPARSE") => case.unsupported("texts at the places"),
                    _ => case,
                });
            }
        }
    }
    all.push(ml("DictVectorizer").x(F32, &[2]).out(F32).unsupported("operand 0 is no map"));
}

/// Texts as features and as labels.
fn labelled(all: &mut Vec<Case>) {
    let words = Tensor::from_texts([2, 3], &["b", "", "a", "c", "a", "b"]);
    let indices = Tensor::from_slice([1, 2], &[2i64, 0]);
    all.push(ml("ArrayFeatureExtractor").input(words.clone()).input(indices).out(Text));
    all.push(ml("OneHotEncoder").texts("cats_strings", &["a", "b", ""]).input(words.clone()).out(F32));
    all.push(
        ml("OneHotEncoder")
            .texts("cats_strings", &["c", "a"])
            .input(words.reshaped([6]))
            .named(&["n"])
            .out(F32),
    );
    let labels = ["no", "yes", "maybe"];
    for post in ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"] {
        for classes in [1, 2, 3] {
            let case = ml("LinearClassifier").text("post_transform", post);
            let case = case.floats("coefficients", &numbers(classes * 4, 1));
            let case = case.floats("intercepts", &numbers(classes, 5));
            let case = case.texts("classlabels_strings", &labels[..classes.max(2)]);
            all.push(case.x(F32, &[5, 4]).named(&["rows"]).outs(&[Text, F32]));
        }
        for sizes in [&[2, 3][..], &[2, 1, 3]] {
            let (n, k) = (sizes.iter().sum::<i64>() as usize, sizes.len());
            let case = ml("SVMClassifier").text("post_transform", post).text("kernel_type", "RBF");
            let case = case.floats("kernel_params", &[0.4, 0.1, 2.0]).ints("vectors_per_class", sizes);
            let case =
                case.texts("classlabels_strings", &labels[..k]).floats("rho", &numbers(k * (k - 1) / 2, 5));
            let case = case.floats("support_vectors", &numbers(n * 3, 1));
            let case = case.floats("coefficients", &numbers(n * (k - 1), 2));
            all.push(case.x(F32, &[8, 3]).outs(&[Text, F32]).within(1e-5, 1e-4));
        }
    }
}

/// The types of features that nothing else takes.
fn typed(all: &mut Vec<Case>) {
    for dtype in [F32, F64, I64, I32] {
        let joined = ml("FeatureVectorizer").ints("inputdimensions", &[2, 3]);
        all.push(joined.input(small(dtype, &[4, 2], 1)).input(small(dtype, &[4, 3], 2)).out(F32));
        let joined = ml("FeatureVectorizer").ints("inputdimensions", &[4]);
        all.push(joined.input(small(dtype, &[4], 3)).out(F32));
    }
    let one = ml("Imputer").floats("imputed_value_floats", &[0.5]).float("replaced_value_float", 1.0);
    all.push(one.input(small(F32, &[2, 3], 6)).named(&["rows"]).out(F32));
    let one = ml("Imputer").ints("imputed_value_int64s", &[-5]).int("replaced_value_int64", 2);
    all.push(one.input(small(I64, &[6], 6)).out(I64));
    let three = ml("ArrayFeatureExtractor").input(sample(F64, &[2, 3], 1));
    all.push(three.input(Tensor::from_slice([1, 4], &[0i64, 2, 2, 1])).out(F64));
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    zipped(&mut all);
    read(&mut all);
    labelled(&mut all);
    typed(&mut all);
    all
}
