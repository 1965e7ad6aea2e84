//! Support vector machines.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::scores::{Post, best, complement, opposite};
use super::{class_labels, many, one, rows, singles, table};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::{DType, Dim, Tensor};

pub(super) const ROWS: &[Row] = &[many("SVMClassifier", classifier), one("SVMRegressor", regressor)];

/// Probabilities stay this far from 0 and 1, as in libsvm.
const LEAST: f64 = 1e-7;

/// The kernel function of every row of `x` `[rows, width]` and every support vector, `[rows, vectors]`.
fn kernels(cx: &mut Context, x: Value, vectors: Value) -> Built {
    let kind = cx.string("kernel_type", "LINEAR")?;
    let parameters = singles(cx, "kernel_params")?;
    let [gamma, offset, degree] = match parameters[..] {
        [] => [0.0; 3],
        [a, b, c] => [a, b, c],
        _ => return invalid(format!("{} kernel parameters", parameters.len())),
    };
    let turned = cx.transpose(vectors, &[1, 0])?;
    let product = cx.add(Op::Matmul {}, &[x, turned])?;
    let moved = |cx: &mut Context| {
        let scaled = cx.times_number(product, gamma)?;
        cx.plus_number(scaled, offset)
    };
    match kind.as_str() {
        "LINEAR" => Ok(product),
        "POLY" => {
            let (base, degree) = (moved(cx)?, cx.like(product, degree));
            cx.pow(base, degree)
        }
        "SIGMOID" => {
            let inner = moved(cx)?;
            cx.add(Op::Tanh {}, &[inner])
        }
        "RBF" => {
            let (x, vectors) = (cx.unsqueeze(x, &[1])?, cx.unsqueeze(vectors, &[0])?);
            let difference = cx.minus(x, vectors)?;
            let square = cx.times(difference, difference)?;
            let distance = cx.reduce_sum(square, &[2])?;
            let distance = cx.squeeze(distance, &[2])?;
            let scaled = cx.times_number(distance, -gamma)?;
            cx.exp(scaled)
        }
        other => invalid(format!("kernel `{other}`")),
    }
}

fn regressor(cx: &mut Context) -> Built {
    let (x, width) = rows(cx, DType::F32)?;
    let n = usize::try_from(cx.int("n_supports", 0)?).unwrap_or(0);
    let rho = singles(cx, "rho")?.first().copied().unwrap_or(0.0);
    let y = if n > 0 {
        let vectors = table(cx, "support_vectors", DType::F32, &[n, width])?;
        let coefficients = table(cx, "coefficients", DType::F32, &[n, 1])?;
        let values = kernels(cx, x, vectors)?;
        cx.add(Op::Matmul {}, &[values, coefficients])?
    } else {
        let coefficients = table(cx, "coefficients", DType::F32, &[width, 1])?;
        cx.add(Op::Matmul {}, &[x, coefficients])?
    };
    let y = cx.plus_number(y, rho)?;
    if !cx.flag("one_class", false)? {
        return Post::of(cx)?.apply(cx, y);
    }
    let zero = cx.like(y, 0.0);
    let inside = cx.gt(y, zero)?;
    let (yes, no) = (cx.like(y, 1.0), cx.like(y, -1.0));
    cx.select(inside, yes, no)
}

/// The pairs of classes, in the order of their scores.
fn pairs(classes: usize) -> Vec<(usize, usize)> {
    (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j))).collect()
}

/// Which vector counts how much in the score of which pair, `[vectors, pairs]`: those of class i with the
/// coefficients against class j and the other way round.
fn pair_weights(cx: &Context, sizes: &[usize]) -> Built<Tensor> {
    let (n, classes) = (sizes.iter().sum::<usize>(), sizes.len());
    let coefficients = singles(cx, "coefficients")?;
    if coefficients.len() != n * (classes - 1) {
        return invalid(format!("{} coefficients of {n} vectors and {classes} classes", coefficients.len()));
    }
    let pairs = pairs(classes);
    let starts: Vec<usize> = (0..classes).map(|i| sizes[..i].iter().sum()).collect();
    let mut weights = vec![0.0; n * pairs.len()];
    for (p, &(i, j)) in pairs.iter().enumerate() {
        for (class, row) in [(i, j - 1), (j, i)] {
            for v in starts[class]..starts[class] + sizes[class] {
                weights[v * pairs.len() + p] = coefficients[row * n + v];
            }
        }
    }
    Ok(Tensor::from_f64s(DType::F32, [n, pairs.len()], weights))
}

/// A matrix from pairs to classes: `first` for the first class of a pair, `second` for its second.
fn to_classes(cx: &mut Context, classes: usize, first: f64, second: f64) -> Value {
    let pairs = pairs(classes);
    let mut m = vec![0.0; pairs.len() * classes];
    for (p, &(i, j)) in pairs.iter().enumerate() {
        (m[p * classes + i], m[p * classes + j]) = (first, second);
    }
    cx.constant(Tensor::from_f64s(DType::F32, [pairs.len(), classes], m))
}

/// Labels, and scores of the pairs of classes or probabilities of the classes.
fn classifier(cx: &mut Context) -> Built<Vec<Value>> {
    let (x, width) = rows(cx, DType::F32)?;
    let labels = class_labels(cx, "classlabels_ints")?;
    let sizes = cx.ints("vectors_per_class")?.unwrap_or_default();
    let sizes: Vec<usize> = sizes.into_iter().map(|n| usize::try_from(n).unwrap_or(0)).collect();
    let (classes, n) = (labels.len(), sizes.iter().sum::<usize>());
    if n == 0 {
        return unsupported("a classifier without support vectors");
    }
    if classes < 2 || sizes.len() != classes {
        return invalid(format!("{classes} classes, vectors of {}", sizes.len()));
    }
    let vectors = table(cx, "support_vectors", DType::F32, &[n, width])?;
    let values = kernels(cx, x, vectors)?;
    let weights = pair_weights(cx, &sizes)?;
    let weights = cx.constant(weights);
    let scores = cx.add(Op::Matmul {}, &[values, weights])?;
    let rho = table(cx, "rho", DType::F32, &[pairs(classes).len()])?;
    let scores = cx.plus(scores, rho)?;
    let post = Post::of(cx)?;
    if !singles(cx, "prob_a")?.is_empty() {
        let p = probabilities(cx, scores, classes)?;
        return Ok(vec![best(cx, p, labels)?, post.apply(cx, p)?]);
    }
    let zero = cx.like(scores, 0.0);
    let first = cx.gt(scores, zero)?;
    let first = cx.cast(first, DType::F32)?;
    // The second class of a pair has the vote that the first has not: a constant offset.
    let (turn, offset) = (to_classes(cx, classes, 1.0, -1.0), to_classes(cx, classes, 0.0, 1.0));
    let votes = cx.add(Op::Matmul {}, &[first, turn])?;
    let offset = cx.reduce_sum(offset, &[0])?;
    let votes = cx.plus(votes, offset)?;
    let label = best(cx, votes, labels)?;
    if classes > 2 {
        return Ok(vec![label, post.apply(cx, scores)?]);
    }
    let both = match post {
        Post::None => opposite(cx, scores)?,
        Post::Logistic => {
            let both = opposite(cx, scores)?;
            cx.add(Op::Sigmoid {}, &[both])?
        }
        Post::Softmax | Post::SoftmaxZero => complement(cx, scores)?,
        Post::Probit => return unsupported("the quantiles of two classes of one score"),
    };
    Ok(vec![label, both])
}

/// Probabilities of the classes from those of the pairs `r` (Wu, Lin and Weng 2004, their second method): `p`
/// with the least `Σ (r_ji p_i - r_ij p_j)²` that sums to 1. ONNX Runtime approaches it until it is as near as
/// 0.005 over the number of classes; here it is solved for.
fn probabilities(cx: &mut Context, scores: Value, classes: usize) -> Built {
    let count = pairs(classes).len();
    let (a, b) = (table(cx, "prob_a", DType::F32, &[count])?, table(cx, "prob_b", DType::F32, &[count])?);
    let scaled = cx.times(scores, a)?;
    let moved = cx.plus(scaled, b)?;
    let opposite = cx.neg(moved)?;
    let r = cx.add(Op::Sigmoid {}, &[opposite])?;
    let r = cx.add(Op::Clip { min: LEAST, max: 1.0 - LEAST }, &[r])?;
    let rows = cx.shape(r)[0].clone();
    let one = cx.like(r, 1.0);
    let other = cx.minus(one, r)?;
    // The probability that the first class of a pair has against the second, and the other way round.
    let both = cx.concat(&[r, other], 1)?;
    let size = classes + 1;
    // The equations: Q p + λ = 0 and Σ p = 1, as a matrix made of sums of squares and products of `both`.
    let (mut squares, mut products) = (vec![0.0; 2 * count * size * size], vec![0.0; count * size * size]);
    let mut border = vec![0.0; size * size];
    for (p, &(i, j)) in pairs(classes).iter().enumerate() {
        squares[(count + p) * size * size + i * size + i] = 1.0;
        squares[p * size * size + j * size + j] = 1.0;
        products[p * size * size + i * size + j] = -1.0;
        products[p * size * size + j * size + i] = -1.0;
    }
    for i in 0..classes {
        (border[i * size + classes], border[classes * size + i]) = (1.0, 1.0);
    }
    let matrix = |cx: &mut Context, rows: usize, m: Vec<f64>| {
        cx.constant(Tensor::from_f64s(DType::F64, [rows, size * size], m))
    };
    let (squares, products) = (matrix(cx, 2 * count, squares), matrix(cx, count, products));
    let border = matrix(cx, 1, border);
    let [both, r, other] = [both, r, other].map(|v| cx.cast(v, DType::F64));
    let (both, cross) = (both?, cx.times(r?, other?)?);
    let square = cx.times(both, both)?;
    let diagonal = cx.add(Op::Matmul {}, &[square, squares])?;
    let rest = cx.add(Op::Matmul {}, &[cross, products])?;
    let all = cx.plus(diagonal, rest)?;
    let all = cx.plus(all, border)?;
    let n = Dim::from(size);
    let all = cx.reshape(all, vec![rows, n.clone(), n])?;
    let inverse = cx.add(Op::Inverse {}, &[all])?;
    let column = cx.pick(inverse, 2, classes as i64)?;
    let p = cx.slice_axis(column, 1, Dim::ZERO, Dim::from(classes), 1)?;
    cx.cast(p, DType::F32)
}
