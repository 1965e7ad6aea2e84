//! What stands between the product of queries and keys and the softmax, and between that and the product
//! with the values.
use crate::pattern::{lossless, number};
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::equal_dims;
use sardonyx_ir::{Graph, NodeId, Value};
use sardonyx_tensor::Dim;

/// Scores below this are as good as none in every float type that is wide enough.
pub(super) const HIDDEN: f64 = -1e4;

/// A change of the scores after scaling.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Change {
    /// Something is added.
    Add(Value),
    /// Scores stay where the condition holds; elsewhere they are this number.
    Keep(Value, f64),
    /// Scores where the condition holds become this number.
    Hide(Value, f64),
    /// No score is below this number.
    Floor(f64),
}

/// A change, and the shape of the scores that it changes.
pub(super) struct Mask {
    pub change: Change,
    pub shape: Vec<Dim>,
}

/// Scores as a function of queries and keys.
pub(super) struct Scores {
    /// `[…, s, d]`
    pub queries: Value,
    /// `[…, d, t]`
    pub keys: Value,
    pub scale: f64,
    /// `softcap * tanh(score / softcap)`; 0 is none.
    pub softcap: f64,
    /// Innermost first.
    pub masks: Vec<Mask>,
    /// The product, and everything after it up to the softmax, innermost first.
    pub nodes: Vec<NodeId>,
}

/// The softmax over the last axis from which weights come, and the nodes from there on.
pub(super) fn weights(g: &Graph, mut v: Value) -> Option<(NodeId, Vec<NodeId>)> {
    let mut nodes = Vec::new();
    loop {
        nodes.push(v.node);
        let operand = |i| g.operand(v.node, i);
        v = match g.op(v) {
            Op::Softmax { axis } => {
                let last = g.ty(v).axis(*axis).ok()? + 1 == g.ty(v).rank();
                return last.then_some((v.node, nodes));
            }
            Op::Cast { to } if to.is_float() => operand(0),
            Op::Reshape { .. } if same_matrices(g, v, operand(0)) => operand(0),
            // NaN weights, those of a query that sees no key, are set to 0.
            Op::Select {} if number(g, operand(1)) == Some(0.0) => {
                let condition = operand(0);
                let guard =
                    matches!(g.op(condition), Op::IsNan {}) && g.operand(condition.node, 0) == operand(2);
                nodes.push(condition.node);
                guard.then(|| operand(2))?
            }
            _ => return None,
        }
    }
}

/// Whether the last two axes are the same.
fn same_matrices(g: &Graph, a: Value, b: Value) -> bool {
    let (a, b) = (&g.ty(a).shape, &g.ty(b).shape);
    a.len() >= 2 && b.len() >= 2 && a[a.len() - 2..] == b[b.len() - 2..]
}

/// Reads scores back to their product; or the reason why that cannot be done.
pub(super) fn read(g: &Graph, v: Value) -> Result<Scores, String> {
    let operand = |i| g.operand(v.node, i);
    let inner = match g.op(v) {
        Op::Matmul {} => return Ok(product(g, v)),
        Op::Cast { .. } if lossless(g.ty(operand(0)).dtype, g.ty(v).dtype) => read(g, operand(0))?,
        Op::Reshape { .. } if same_matrices(g, v, operand(0)) => read(g, operand(0))?,
        Op::Mul {} | Op::Div {} => scaled(g, v)?,
        Op::Tanh {} => capped(g, operand(0))?,
        Op::Clip { min, max } if *max == f64::INFINITY && *min <= HIDDEN => {
            masked(read(g, operand(0))?, Change::Floor(*min), g, v)
        }
        Op::Add {} => {
            let first = read_same(g, operand(0), v).map(|s| masked(s, Change::Add(operand(1)), g, v));
            match first {
                Ok(scores) => scores,
                Err(_) => masked(read_same(g, operand(1), v)?, Change::Add(operand(0)), g, v),
            }
        }
        Op::Select {} => match (number(g, operand(1)), number(g, operand(2))) {
            (_, Some(x)) if x <= HIDDEN => {
                masked(read_same(g, operand(1), v)?, Change::Keep(operand(0), x), g, v)
            }
            (Some(x), _) if x <= HIDDEN => {
                masked(read_same(g, operand(2), v)?, Change::Hide(operand(0), x), g, v)
            }
            _ => return Err("scores are replaced by something that does not hide them".into()),
        },
        op => return Err(format!("the scores come from {}", op.name())),
    };
    let mut scores = inner;
    scores.nodes.push(v.node);
    Ok(scores)
}

/// As [`read`], of scores that broadcasting does not make larger.
fn read_same(g: &Graph, v: Value, result: Value) -> Result<Scores, String> {
    let scores = read(g, v)?;
    let (own, masked) = (&g.ty(v).shape, &g.ty(result).shape);
    if own.len() != masked.len() || !own.iter().zip(masked).all(|(a, b)| equal_dims(g, a, b)) {
        return Err("masking repeats the scores".into());
    }
    Ok(scores)
}

fn product(g: &Graph, v: Value) -> Scores {
    let (queries, a) = unscaled(g, g.operand(v.node, 0));
    let (keys, b) = unscaled(g, g.operand(v.node, 1));
    Scores { queries, keys, scale: a * b, softcap: 0.0, masks: Vec::new(), nodes: vec![v.node] }
}

/// The value without multiplication by numbers, and their product.
pub(super) fn unscaled(g: &Graph, v: Value) -> (Value, f64) {
    match factor(g, v) {
        Some((x, c)) => {
            let (x, more) = unscaled(g, x);
            (x, c * more)
        }
        None => (v, 1.0),
    }
}

/// The value and the number of which a value is the product.
fn factor(g: &Graph, v: Value) -> Option<(Value, f64)> {
    let parts = |x, c| {
        let (x, c) = (g.operand(v.node, x), g.operand(v.node, c));
        number(g, c).filter(|_| g.ty(x) == g.ty(v)).map(|c| (x, c))
    };
    match g.op(v) {
        Op::Mul {} => parts(0, 1).or_else(|| parts(1, 0)),
        Op::Div {} => parts(0, 1).map(|(x, c)| (x, 1.0 / c)),
        _ => None,
    }
}

fn scaled(g: &Graph, v: Value) -> Result<Scores, String> {
    let (x, c) = factor(g, v).ok_or("the scores are multiplied by something that is no number")?;
    let mut scores = read(g, x)?;
    if !scores.masks.is_empty() {
        return Err("the scores are scaled after they are masked".into());
    }
    if scores.softcap == 0.0 {
        scores.scale *= c;
    } else if scores.softcap == 1.0 {
        // `c * tanh(x)` is `c * tanh(c * x / c)`.
        scores.scale *= c;
        scores.softcap = c;
    } else {
        return Err("capped scores are scaled".into());
    }
    Ok(scores)
}

fn capped(g: &Graph, v: Value) -> Result<Scores, String> {
    let mut scores = read(g, v)?;
    if scores.softcap != 0.0 || !scores.masks.is_empty() {
        return Err("the scores are capped after they are masked or capped".into());
    }
    scores.softcap = 1.0;
    Ok(scores)
}

fn masked(mut scores: Scores, change: Change, g: &Graph, v: Value) -> Scores {
    scores.masks.push(Mask { change, shape: g.ty(v).shape.clone() });
    scores
}
