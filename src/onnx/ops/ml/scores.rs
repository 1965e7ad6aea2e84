//! What becomes of scores `[rows, classes]` (the attribute `post_transform`).
use super::super::super::context::{Built, Context};
use super::super::super::error::invalid;
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::Tensor;
use std::f64::consts::{PI, SQRT_2};

/// Scores nearer to 0 than this are none in a softmax that leaves out zeros, as in ONNX Runtime.
const NONE: f64 = 1e-7;
/// The constant of Winitzki's approximation of the inverse error function.
const WINITZKI: f64 = 0.147;

/// The attribute `post_transform`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    /// None.
    None,
    /// The logistic function of each score.
    Logistic,
    /// Softmax over the classes.
    Softmax,
    /// Softmax over the classes whose score is not 0.
    SoftmaxZero,
    /// The quantile of the normal distribution.
    Probit,
}

impl Post {
    /// From its text.
    fn parse(text: &str) -> Built<Post> {
        Ok(match text {
            "NONE" | "" => Post::None,
            "LOGISTIC" => Post::Logistic,
            "SOFTMAX" => Post::Softmax,
            "SOFTMAX_ZERO" => Post::SoftmaxZero,
            "PROBIT" => Post::Probit,
            other => return invalid(format!("post_transform `{other}`")),
        })
    }
    /// The attribute of a node.
    pub fn of(cx: &Context) -> Built<Post> {
        Post::parse(&cx.string("post_transform", "NONE")?)
    }
    /// By its number in TreeEnsemble.
    pub fn numbered(number: i64) -> Built<Post> {
        let all = [Post::None, Post::Logistic, Post::Softmax, Post::SoftmaxZero, Post::Probit];
        match usize::try_from(number).ok().and_then(|i| all.get(i)) {
            Some(post) => Ok(*post),
            None => invalid(format!("post_transform {number}")),
        }
    }

    /// The transformed scores. A single class knows only the quantile, as in ONNX Runtime.
    pub fn apply(self, cx: &mut Context, scores: Value) -> Built {
        let one = cx.shape(scores)[1] == 1;
        match self {
            Post::Probit => probit(cx, scores),
            _ if one => Ok(scores),
            Post::None => Ok(scores),
            Post::Logistic => cx.add(Op::Sigmoid {}, &[scores]),
            Post::Softmax => cx.add(Op::Softmax { axis: 1 }, &[scores]),
            Post::SoftmaxZero => softmax_zero(cx, scores),
        }
    }
}

/// `√2 · erf⁻¹(2x - 1)`, as ONNX Runtime approximates it.
fn probit(cx: &mut Context, x: Value) -> Built {
    let x = cx.times_number(x, 2.0)?;
    let x = cx.plus_number(x, -1.0)?;
    let one = cx.like(x, 1.0);
    let (below, above) = (cx.minus(one, x)?, cx.plus(one, x)?);
    let product = cx.times(below, above)?;
    let log = cx.log(product)?;
    let half = cx.times_number(log, 0.5)?;
    let v = cx.plus_number(half, 2.0 / (PI * WINITZKI))?;
    let rest = cx.times_number(log, 1.0 / WINITZKI)?;
    let square = cx.times(v, v)?;
    let inner = cx.minus(square, rest)?;
    let root = cx.sqrt(inner)?;
    let difference = cx.minus(root, v)?;
    let size = cx.sqrt(difference)?;
    let size = cx.times_number(size, SQRT_2)?;
    let zero = cx.like(x, 0.0);
    let negative = cx.lt(x, zero)?;
    let opposite = cx.neg(size)?;
    cx.select(negative, opposite, size)
}

/// Softmax over the scores that are not 0; the others are scaled alike.
fn softmax_zero(cx: &mut Context, scores: Value) -> Built {
    let most = cx.reduce_max(scores, &[1])?;
    let (size, least) = (cx.abs(scores)?, cx.like(scores, NONE));
    let counts = cx.gt(size, least)?;
    let moved = cx.minus(scores, most)?;
    let power = cx.exp(moved)?;
    let zero = cx.like(scores, 0.0);
    let terms = cx.select(counts, power, zero)?;
    let sum = cx.reduce_sum(terms, &[1])?;
    let opposite = cx.neg(most)?;
    let scale = cx.exp(opposite)?;
    let rest = cx.times(scores, scale)?;
    let all = cx.select(counts, power, rest)?;
    cx.over(all, sum)
}

/// The classes with the greatest score, the first of equals, as their labels.
pub(super) fn best(cx: &mut Context, scores: Value, labels: Tensor) -> Built {
    let place = cx.add(Op::ArgMax { axis: 1, last: false }, &[scores])?;
    let place = cx.squeeze(place, &[1])?;
    let labels = cx.constant(labels);
    cx.add(Op::Gather { axis: 0 }, &[labels, place])
}

/// The second of two labels where the score `[rows, 1]` is above `threshold`, else the first.
pub(super) fn either(cx: &mut Context, score: Value, threshold: f64, labels: Tensor) -> Built {
    let score = cx.squeeze(score, &[1])?;
    let threshold = cx.like(score, threshold);
    let above = cx.gt(score, threshold)?;
    let labels = cx.constant(labels);
    let [first, second] = [0, 1].map(|i| cx.pick(labels, 0, i));
    cx.select(above, second?, first?)
}

/// `1 - s` and `s` of scores `[rows, 1]`.
pub(super) fn complement(cx: &mut Context, score: Value) -> Built {
    let one = cx.like(score, 1.0);
    let other = cx.minus(one, score)?;
    cx.concat(&[other, score], 1)
}

/// `-s` and `s` of scores `[rows, 1]`.
pub(super) fn opposite(cx: &mut Context, score: Value) -> Built {
    let other = cx.neg(score)?;
    cx.concat(&[other, score], 1)
}
