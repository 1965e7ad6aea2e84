//! Operators of classical machine learning on numbers.
use super::case::{Case, ML, encode, tensor};
use sardonyx_ir::interp::sample;
use sardonyx_tensor::DType::{self, F32, F64, I32, I64};
use sardonyx_tensor::Tensor;

/// The post transforms.
const POSTS: [&str; 5] = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"];

fn ml(op: &'static str, version: i64) -> Case {
    Case::new(ML, op, version)
}

/// Seeded singles.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    sample(F32, &[count], seed).to_f64s().into_iter().map(|x| x as f32).collect()
}

/// Rows with numbers in 0…1, for which quantiles are defined.
fn unit(shape: &[usize], seed: u64) -> Tensor {
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_f64s(F32, shape.to_vec(), values.into_iter().map(|x| 0.2 + 0.1 * x.abs().min(5.0)))
}

/// Small integers.
pub fn small(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let values = sample(F32, shape, seed).to_f64s();
    Tensor::from_f64s(dtype, shape.to_vec(), values.into_iter().map(|x| (x * 3.0).round()))
}

fn preparation(all: &mut Vec<Case>) {
    for dtype in [F32, F64, I64, I32] {
        for n in [1, 4] {
            let scaler = ml("Scaler", 1).floats("offset", &numbers(n, 1)).floats("scale", &numbers(n, 2));
            all.push(scaler.input(small(dtype, &[3, 4], 3)).out(F32));
        }
        for norm in ["MAX", "L1", "L2"] {
            all.push(ml("Normalizer", 1).text("norm", norm).input(small(dtype, &[5, 3], 4)).out(F32));
        }
        all.push(ml("ArrayFeatureExtractor", 1).input(small(dtype, &[3, 5], 1)).input(indices()).out(dtype));
        let encoder = ml("OneHotEncoder", 1).ints("cats_int64s", &[-2, 0, 3, 1]);
        let encoder = encoder.input(small(dtype, &[4, 3], 5)).out(F32);
        all.push(if dtype == I32 { encoder.refused("Could not find an implementation") } else { encoder });
    }
    all.push(ml("Normalizer", 1).text("norm", "L1").input(Tensor::zeros(F32, [2, 3])).out(F32));
    all.push(ml("Normalizer", 1).text("norm", "L2").x(F32, &[4]).out(F32));
    all.push(ml("Normalizer", 1).text("norm", "MAX").x(F32, &[2, 4]).named(&["rows"]).out(F32));
    all.push(ml("Scaler", 1).floats("offset", &[0.5]).floats("scale", &[2.0]).x(F32, &[2, 3, 4]).out(F32));
    all.push(ml("ArrayFeatureExtractor", 1).x(F32, &[5]).input(indices()).out(F32));
    all.push(ml("ArrayFeatureExtractor", 1).x(F32, &[2, 3, 5]).named(&["a", "b"]).input(indices()).out(F32));
    all.push(ml("OneHotEncoder", 1).ints("cats_int64s", &[0, 1, 2]).input(small(I64, &[6], 5)).out(F32));
    all.push(ml("OneHotEncoder", 1).text("cats", "").x(F32, &[2]).out(F32).unsupported("no categories"));
    for threshold in [None, Some(0.0), Some(0.5)] {
        let case = ml("Binarizer", 1);
        let case =
            threshold.map_or(case, |_| ml("Binarizer", 1).float("threshold", threshold.unwrap_or(0.0)));
        all.push(case.x(F32, &[3, 4]).out(F32));
    }
    let nan = Tensor::from_f64s(F32, [2, 3], [1.0, f64::NAN, 2.0, f64::NAN, -1.0, 0.0]);
    for (values, missing) in [(1, f32::NAN), (3, f32::NAN), (1, 2.0), (3, 0.0)] {
        let case = ml("Imputer", 1).floats("imputed_value_floats", &numbers(values, 9));
        all.push(case.float("replaced_value_float", missing).input(nan.clone()).out(F32));
    }
    for values in [vec![7], vec![7, 8, 9]] {
        let case = ml("Imputer", 1).ints("imputed_value_int64s", &values).int("replaced_value_int64", 1);
        all.push(case.input(small(I64, &[5, 3], 2)).out(I64));
    }
    let joined = ml("FeatureVectorizer", 1).ints("inputdimensions", &[2, 3, 1]);
    all.push(joined.x(F32, &[4, 2]).x(F32, &[4, 3]).x(F32, &[4, 1]).out(F32));
    let joined = ml("FeatureVectorizer", 1).ints("inputdimensions", &[3, 2]);
    all.push(joined.input(small(I64, &[4, 2], 1)).input(small(I64, &[4, 3], 2)).out(F32));
    let joined = ml("FeatureVectorizer", 1).ints("inputdimensions", &[2, 1]);
    all.push(joined.x(F64, &[4, 2]).named(&["rows"]).x(F64, &[4, 1]).named(&["rows"]).out(F32));
}

fn indices() -> Tensor {
    Tensor::from_slice([1, 3], &[2i64, 0, 4])
}

fn encoders(all: &mut Vec<Case>) {
    let (keys, values) = ([3i64, -1, 0, 3], [0.5f32, 1.5, -2.0, 9.0]);
    for version in [2, 4] {
        let op = || ml("LabelEncoder", version);
        let x = || small(I64, &[4, 3], 6);
        all.push(op().ints("keys_int64s", &keys).floats("values_floats", &values).input(x()).out(F32));
        let case =
            op().ints("keys_int64s", &keys).floats("values_floats", &values).float("default_float", 7.0);
        all.push(case.input(x()).out(F32));
        all.push(op().ints("keys_int64s", &keys).ints("values_int64s", &[5, 6, 7, 8]).input(x()).out(I64));
        let float = Tensor::from_f64s(F32, [5], [0.5, f64::NAN, -2.0, 4.0, 1.5]);
        let case = op().floats("keys_floats", &[0.5, f32::NAN, -2.0, 0.0]);
        all.push(
            case.ints("values_int64s", &[5, 6, 7, 8]).int("default_int64", -9).input(float.clone()).out(I64),
        );
        let case = op().floats("keys_floats", &[0.5, 1.5, -2.0, 0.0]).floats("values_floats", &values);
        all.push(case.input(float).out(F32));
    }
    for (from, to) in [(I64, F32), (F64, F64), (F32, I64), (I64, I64), (I32, F32)] {
        let t = |name: &str, t: DType, list: &[f64]| {
            tensor(name, encode("", &Tensor::from_f64s(t, [list.len()], list.iter().copied())))
        };
        let case = ml("LabelEncoder", 4)
            .tensor(t("keys_tensor", from, &[3.0, -1.0, 0.0]))
            .tensor(t("values_tensor", to, &[5.0, 6.0, 7.0]))
            .tensor(t("default_tensor", to, &[-4.0]))
            .input(small(from, &[3, 4], 8))
            .out(to);
        all.push(if from == I32 { case.refused("LabelEncoder") } else { case });
    }
}

fn linear(all: &mut Vec<Case>) {
    for post in POSTS {
        for classes in [1, 2, 3] {
            let positive =
                |n, seed| unit(&[n], seed).to_f64s().iter().map(|&x| x as f32 * 0.4).collect::<Vec<_>>();
            let weights = if post == "PROBIT" { positive(classes * 4, 1) } else { numbers(classes * 4, 1) };
            let case = ml("LinearRegressor", 1).text("post_transform", post).floats("coefficients", &weights);
            let case = case.floats("intercepts", &positive(classes, 5)).int("targets", classes as i64);
            all.push(case.input(unit(&[5, 4], 2)).out(F32));
            let case =
                ml("LinearClassifier", 1).text("post_transform", post).floats("coefficients", &weights);
            let case = case.floats("intercepts", &positive(classes, 5));
            let case = case.ints("classlabels_ints", &[7, 3, 5][..classes.max(2)]).int("multi_class", 1);
            let case = case.input(unit(&[5, 4], 2)).outs(&[I64, F32]);
            all.push(match (post, classes) {
                ("PROBIT", 1) => case.unsupported("quantiles"),
                _ => case,
            });
        }
    }
    for dtype in [F64, I64, I32] {
        let case = ml("LinearClassifier", 1).floats("coefficients", &numbers(12, 4));
        let case = case.floats("intercepts", &numbers(3, 5)).ints("classlabels_ints", &[1, 2, 3]);
        all.push(case.input(small(dtype, &[6, 4], 2)).named(&["rows"]).outs(&[I64, F32]));
    }
}

/// Only the second result of a node, whose first ONNX Runtime does not leave out.
fn second_result(case: Case) -> Case {
    let case = case.no_out().out(F32);
    let mut node = case.model().graph.node[0].clone();
    node.output[0] = "first".into();
    case.oracle(vec![node])
}

/// The kernels with parameters.
const KERNELS: [&str; 4] = ["LINEAR", "POLY", "RBF", "SIGMOID"];

fn vector_machines(all: &mut Vec<Case>) {
    let kernel =
        |case: Case, kind: &str| case.text("kernel_type", kind).floats("kernel_params", &[0.4, 0.1, 2.0]);
    for kind in KERNELS {
        for one_class in [0, 1] {
            for post in ["NONE", "LOGISTIC"] {
                let case = kernel(ml("SVMRegressor", 1), kind).text("post_transform", post);
                let case = case.int("n_supports", 3).floats("support_vectors", &numbers(12, 1));
                let case = case.floats("coefficients", &numbers(3, 2)).floats("rho", &[0.05]);
                all.push(case.int("one_class", one_class).x(F32, &[6, 4]).out(F32).within(1e-5, 1e-4));
            }
        }
        let classifier = |sizes: &[i64], seed: u64| {
            let (n, k) = (sizes.iter().sum::<i64>() as usize, sizes.len());
            let case = kernel(ml("SVMClassifier", 1), kind).ints("vectors_per_class", sizes);
            let case = case.ints("classlabels_ints", &[4, 7, 2, 9][..k]);
            let case = case.floats("support_vectors", &numbers(n * 3, seed));
            case.floats("coefficients", &numbers(n * (k - 1), seed + 1))
                .floats("rho", &numbers(k * (k - 1) / 2, 5))
        };
        for sizes in [&[2, 3][..], &[2, 1, 3], &[1, 2, 2, 1]] {
            for post in POSTS {
                let case = classifier(sizes, 1).text("post_transform", post).x(F32, &[8, 3]);
                let case = case.outs(&[I64, F32]).within(1e-5, 1e-4);
                match (post, sizes.len()) {
                    ("PROBIT", 2) => all.push(case.unsupported("quantiles")),
                    ("PROBIT", _) => {}
                    _ => all.push(case),
                }
            }
            let count = sizes.len() * (sizes.len() - 1) / 2;
            let case = classifier(sizes, 3)
                .floats("prob_a", &vec![-0.7; count])
                .floats("prob_b", &numbers(count, 8));
            // ONNX Runtime stops when it is near enough: labels of nearly equal classes differ.
            let case = case.x(F32, &[5, 3]).named(&["rows"]).within(1e-2, 0.0);
            all.push(if sizes.len() == 2 { case.outs(&[I64, F32]) } else { second_result(case) });
        }
    }
    let linear = ml("SVMRegressor", 1).floats("coefficients", &numbers(4, 2)).floats("rho", &[0.05]);
    all.push(linear.floats("kernel_params", &[0.0, 0.0, 0.0]).x(F32, &[6, 4]).out(F32));
    let linear = ml("SVMClassifier", 1).floats("coefficients", &numbers(8, 2)).floats("rho", &[0.05]);
    let linear = linear.ints("classlabels_ints", &[1, 2]).x(F32, &[6, 4]).outs(&[I64, F32]);
    all.push(linear.unsupported("without support vectors"));
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    vector_machines(&mut all);
    preparation(&mut all);
    encoders(&mut all);
    linear(&mut all);
    all
}
