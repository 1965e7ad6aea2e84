//! Linear regression and classification.
use super::super::super::context::{Built, Context};
use super::super::super::error::{invalid, unsupported};
use super::super::Row;
use super::scores::{Post, best, complement, either, opposite};
use super::{class_labels, many, one, rows, table};
use sardonyx_ir::{Op, Value};
use sardonyx_tensor::DType;

pub(super) const ROWS: &[Row] = &[many("LinearClassifier", classifier), one("LinearRegressor", regressor)];

/// The rows of features times the transposed coefficients `[classes, width]`, and the intercepts.
fn products(cx: &mut Context, classes: usize) -> Built {
    let (x, width) = rows(cx, DType::F32)?;
    let coefficients = table(cx, "coefficients", DType::F32, &[classes, width])?;
    let turned = cx.transpose(coefficients, &[1, 0])?;
    let y = cx.add(Op::Matmul {}, &[x, turned])?;
    if cx.floats("intercepts")?.is_none_or(|all| all.is_empty()) {
        return Ok(y);
    }
    let intercepts = table(cx, "intercepts", DType::F32, &[classes])?;
    cx.plus(y, intercepts)
}

fn regressor(cx: &mut Context) -> Built {
    let targets = usize::try_from(cx.int("targets", 1)?).unwrap_or(0);
    let y = products(cx, targets)?;
    Post::of(cx)?.apply(cx, y)
}

/// Labels, and the scores of every class.
fn classifier(cx: &mut Context) -> Built<Vec<Value>> {
    let labels = class_labels(cx, "classlabels_ints")?;
    let classes = cx.floats("intercepts")?.map_or(0, |all| all.len());
    let scores = products(cx, classes)?;
    let post = Post::of(cx)?;
    if classes > 1 && classes == labels.len() {
        return Ok(vec![best(cx, scores, labels)?, post.apply(cx, scores)?]);
    }
    if (classes, labels.len()) != (1, 2) {
        return invalid(format!("{classes} rows of coefficients for {} classes", labels.len()));
    }
    let label = either(cx, scores, 0.0, labels)?;
    let both = match post {
        Post::Logistic => {
            let both = opposite(cx, scores)?;
            cx.add(Op::Sigmoid {}, &[both])?
        }
        Post::Probit => return unsupported("the quantiles of two classes of one score"),
        _ => complement(cx, scores)?,
    };
    Ok(vec![label, both])
}
