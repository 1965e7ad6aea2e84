//! Random operators through the reference and the CPU target: type and shape, the distribution by its mean, its
//! variance and the test of Kolmogorov and Smirnov, and that a seed decides the numbers.
use super::build::{self, D, float, graph, int, integers, node, value};
use super::case::number;
use super::check::on_cpu;
use onnx_protobuf::{AttributeProto, TensorProto};
use sardonyx::onnx::{ImportOptions, Model, import_bytes};
use sardonyx_ir::interp;
use sardonyx_tensor::DType::{self, Bool, F16, F32, F64, I32, I64};
use sardonyx_tensor::Tensor;

/// How many numbers are drawn.
const COUNT: usize = 20_000;
/// `√n D` of a sample of its own law exceeds this once in a thousand.
const KOLMOGOROV: f64 = 1.95;

/// What the numbers should be.
#[derive(Clone, Copy)]
enum Law {
    Uniform(f64, f64),
    Normal(f64, f64),
}

impl Law {
    fn moments(self) -> (f64, f64) {
        match self {
            Law::Uniform(low, high) => ((low + high) / 2.0, (high - low).powi(2) / 12.0),
            Law::Normal(mean, scale) => (mean, scale * scale),
        }
    }
    /// The chance of a number up to `x`.
    fn below(self, x: f64) -> f64 {
        match self {
            Law::Uniform(low, high) => ((x - low) / (high - low)).clamp(0.0, 1.0),
            Law::Normal(mean, scale) => {
                0.5 * (1.0 + sardonyx_ir::erf::erf((x - mean) / scale / std::f64::consts::SQRT_2))
            }
        }
    }
    fn holds(self, name: &str, values: &[f64]) {
        let n = values.len() as f64;
        let (mean, variance) = (values.iter().sum::<f64>() / n, self.moments().1);
        let spread = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - self.moments().0).abs() < 4.0 * (variance / n).sqrt(), "{name}: mean {mean}");
        assert!((spread / variance - 1.0).abs() < 0.05, "{name}: variance {spread} for {variance}");
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let apart = |(i, &x): (usize, &f64)| {
            let chance = self.below(x);
            (chance - i as f64 / n).abs().max((chance - (i + 1) as f64 / n).abs())
        };
        let distance = sorted.iter().enumerate().map(apart).fold(0.0, f64::max);
        assert!(distance * n.sqrt() < KOLMOGOROV, "{name}: distance {distance}");
        // Neighbours have nothing to do with each other.
        let together = values.windows(2).map(|p| (p[0] - mean) * (p[1] - mean)).sum::<f64>() / n / spread;
        assert!(together.abs() < 4.0 / n.sqrt(), "{name}: correlation {together}");
    }
}

fn model(
    op: &str,
    attributes: Vec<AttributeProto>,
    inputs: &[(&str, DType, &[i64])],
    constants: Vec<TensorProto>,
    outputs: &[(&str, DType)],
) -> Model {
    let constant: Vec<String> = constants.iter().map(|t| t.name.clone()).collect();
    let names: Vec<&str> = inputs.iter().map(|i| i.0).chain(constant.iter().map(String::as_str)).collect();
    let results: Vec<&str> = outputs.iter().map(|o| o.0).collect();
    let input = |&(name, dtype, dims): &(&str, DType, &[i64])| {
        value(name, number(dtype), &dims.iter().map(|&n| D::N(n)).collect::<Vec<_>>())
    };
    let output = |&(name, dtype): &(&str, DType)| value(name, number(dtype), &[]);
    let g = graph(
        vec![node(op, &names, &results, attributes)],
        inputs.iter().map(input).collect(),
        outputs.iter().map(output).collect(),
        constants,
    );
    import_bytes(build::bytes(&build::model(g, 22)), &ImportOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
}

/// What the reference and the CPU give.
fn both(model: &Model, inputs: &[(String, Tensor)]) -> [Vec<Tensor>; 2] {
    let operands: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    let reference = interp::eval(&model.graph, &operands).unwrap_or_else(|e| panic!("{e}"));
    [reference, on_cpu(model, inputs).unwrap_or_else(|e| panic!("{e}"))]
}

#[test]
fn numbers_follow_their_law() {
    let shape = [COUNT as i64 / 100, 100];
    for dtype in [F32, F64, F16] {
        for (op, a, b, law) in [
            ("RandomUniform", ("low", 0.0), ("high", 1.0), Law::Uniform(0.0, 1.0)),
            ("RandomUniform", ("low", -3.0), ("high", 2.5), Law::Uniform(-3.0, 2.5)),
            ("RandomNormal", ("mean", 0.0), ("scale", 1.0), Law::Normal(0.0, 1.0)),
            ("RandomNormal", ("mean", 5.0), ("scale", 0.25), Law::Normal(5.0, 0.25)),
        ] {
            let attributes = |seed: f32| {
                vec![
                    float(a.0, a.1),
                    float(b.0, b.1),
                    float("seed", seed),
                    int("dtype", number(dtype).into()),
                ]
            };
            let plain = |seed: f32| {
                let all = [attributes(seed), vec![integers("shape", &shape)]].concat();
                both(&model(op, all, &[], vec![], &[("y", dtype)]), &[])
            };
            let first = plain(7.0);
            for (made, who) in first.iter().zip(["reference", "CPU"]) {
                assert_eq!((made[0].dtype(), made[0].shape()), (dtype, &[COUNT / 100, 100][..]));
                // The steps of a half are wide beside the distance that the test sees.
                if dtype != F16 {
                    law.holds(&format!("{op} {dtype} {who}"), &made[0].to_f64s());
                }
            }
            let again = plain(7.0);
            assert!(first[1] == again[1] && first[0] == again[0], "{op}: the same seed, other numbers");
            assert_ne!(first[1], plain(8.0)[1], "{op}: another seed, the same numbers");
            let like =
                model(&format!("{op}Like"), attributes(7.0), &[("x", I64, &shape)], vec![], &[("y", dtype)]);
            let x = Tensor::zeros(I64, [COUNT / 100, 100]);
            assert_eq!(both(&like, &[("x".into(), x)])[1], first[1], "{op}Like");
        }
    }
}

#[test]
fn coins_fall_as_often_as_they_should() {
    let chances = [0.0, 0.1, 0.5, 0.9, 1.0];
    let rows = COUNT / 2;
    let x = Tensor::from_f64s(F32, [rows, 5], chances.iter().copied().cycle().take(rows * 5));
    for dtype in [F32, I32, Bool] {
        let attributes = vec![float("seed", 3.0), int("dtype", number(dtype).into())];
        let m = model("Bernoulli", attributes, &[("x", F32, &[rows as i64, 5])], vec![], &[("y", dtype)]);
        for made in both(&m, &[("x".into(), x.clone())]) {
            assert_eq!((made[0].dtype(), made[0].shape()), (dtype, &[rows, 5][..]));
            let values = made[0].to_f64s();
            assert!(values.iter().all(|&v| v == 0.0 || v == 1.0));
            for (i, chance) in chances.iter().enumerate() {
                let share = values.iter().skip(i).step_by(5).sum::<f64>() / rows as f64;
                let allowed = 4.0 * (chance * (1.0 - chance) / rows as f64).sqrt();
                assert!((share - chance).abs() <= allowed, "{dtype}: {share} for {chance}");
            }
        }
    }
}

#[test]
fn classes_come_as_often_as_they_should() {
    let shares = [0.5f64, 0.25, 0.05, 0.2];
    let x = Tensor::from_f64s(F32, [2, 4], shares.iter().chain(shares.iter().rev()).map(|p| p.ln() + 1.0));
    for dtype in [I32, I64] {
        let attributes =
            vec![float("seed", 11.0), int("dtype", number(dtype).into()), int("sample_size", COUNT as i64)];
        let m = model("Multinomial", attributes, &[("x", F32, &[2, 4])], vec![], &[("y", dtype)]);
        for made in both(&m, &[("x".into(), x.clone())]) {
            assert_eq!((made[0].dtype(), made[0].shape()), (dtype, &[2, COUNT][..]));
            for (row, drawn) in made[0].to_i64s().chunks(COUNT).enumerate() {
                for class in 0..4 {
                    let chance = shares[if row == 0 { class } else { 3 - class }];
                    let share = drawn.iter().filter(|&&c| c == class as i64).count() as f64 / COUNT as f64;
                    let allowed = 4.0 * (chance * (1.0 - chance) / COUNT as f64).sqrt();
                    assert!((share - chance).abs() <= allowed, "class {class}: {share} for {chance}");
                }
            }
        }
    }
}

#[test]
fn dropped_elements_leave_the_mean() {
    let shape = [COUNT as i64];
    let x = Tensor::from_f64s(F32, [COUNT], (0..COUNT).map(|i| 1.0 + (i % 7) as f64));
    for ratio in [0.1f32, 0.5, 0.75] {
        let constants =
            vec![build::floats("ratio", &[], &[ratio]), build::raw("training", number(Bool), &[], &[1])];
        let m = model(
            "Dropout",
            vec![int("seed", 5)],
            &[("x", F32, &shape)],
            constants,
            &[("y", F32), ("kept", Bool)],
        );
        for made in both(&m, &[("x".into(), x.clone())]) {
            let (values, kept) = (made[0].to_f64s(), made[1].to_f64s());
            assert_eq!((made[0].dtype(), made[1].dtype(), made[1].shape()), (F32, Bool, &[COUNT][..]));
            let (chance, n) = (1.0 - f64::from(ratio), COUNT as f64);
            let share = kept.iter().sum::<f64>() / n;
            assert!(
                (share - chance).abs() < 4.0 * (chance * (1.0 - chance) / n).sqrt(),
                "{share} of {chance}"
            );
            for ((y, k), x) in values.iter().zip(&kept).zip(x.to_f64s()) {
                let wanted = if *k == 1.0 { x / chance } else { 0.0 };
                assert!((y - wanted).abs() < 1e-5 * (1.0 + wanted), "{y} for {wanted}");
            }
        }
    }
}
