//! Optimizer steps of the preview training domain.
use super::super::context::{Built, Context};
use super::super::error::invalid;
use super::{Import, Row};
use sardonyx_ir::Value;
use sardonyx_tensor::DType;

const DOMAIN: &str = "ai.onnx.preview.training";

const fn step(name: &'static str, f: fn(&mut Context) -> Built<Vec<Value>>) -> Row {
    Row { domain: DOMAIN, name, since: 1, import: Import::Many(f) }
}

pub(super) const ROWS: &[Row] = &[step("Adagrad", adagrad), step("Adam", adam), step("Momentum", momentum)];

/// Operands after the learning rate and the count: `n` tensors, `n` gradients, then `states` more per tensor.
/// Every result of `f` is grouped the same way.
fn each(
    cx: &mut Context,
    states: usize,
    f: impl Fn(&mut Context, &[Value]) -> Built<Vec<Value>>,
) -> Built<Vec<Value>> {
    let operands = cx.operands()?;
    let groups = 2 + states;
    let Some(rest) = operands.get(2..).filter(|r| !r.is_empty() && r.len() % groups == 0) else {
        return invalid(format!("{} operands", operands.len()));
    };
    let n = rest.len() / groups;
    let mut results = vec![Vec::new(); 1 + states];
    for i in 0..n {
        let own: Vec<Value> = (0..groups).map(|g| rest[g * n + i]).collect();
        f(cx, &own)?.into_iter().zip(&mut results).for_each(|(v, all)| all.push(v));
    }
    Ok(results.concat())
}

/// `norm * x + gradient`.
fn regularized(cx: &mut Context, x: Value, gradient: Value) -> Built {
    let norm = cx.float("norm_coefficient", 0.0)?;
    let pull = cx.times_number(x, norm)?;
    cx.plus(pull, gradient)
}

fn adagrad(cx: &mut Context) -> Built<Vec<Value>> {
    let (rate, count) = (cx.operand(0)?, cx.operand(1)?);
    let (decay, epsilon) = (cx.float("decay_factor", 0.0)?, cx.float("epsilon", 1e-6)?);
    each(cx, 1, |cx, own| {
        let &[x, g, h] = own else { return invalid("three operands a tensor") };
        let t = cx.cast(count, cx.dtype(x))?;
        let slow = cx.times_number(t, decay)?;
        let slow = cx.plus_number(slow, 1.0)?;
        let rate = cx.over(rate, slow)?;
        let g = regularized(cx, x, g)?;
        let square = cx.times(g, g)?;
        let h = cx.plus(h, square)?;
        let root = cx.sqrt(h)?;
        let root = cx.plus_number(root, epsilon)?;
        let step = cx.times(rate, g)?;
        let step = cx.over(step, root)?;
        Ok(vec![cx.minus(x, step)?, h])
    })
}

fn adam(cx: &mut Context) -> Built<Vec<Value>> {
    let (rate, count) = (cx.operand(0)?, cx.operand(1)?);
    let (alpha, beta) = (cx.float("alpha", 0.9)?, cx.float("beta", 0.999)?);
    let (epsilon, post) = (cx.float("epsilon", 1e-6)?, cx.float("norm_coefficient_post", 0.0)?);
    each(cx, 2, |cx, own| {
        let &[x, g, v, h] = own else { return invalid("four operands a tensor") };
        let g = regularized(cx, x, g)?;
        let square = cx.times(g, g)?;
        let v = mixed(cx, v, g, alpha)?;
        let h = mixed(cx, h, square, beta)?;
        let rate = corrected(cx, rate, count, x, alpha, beta)?;
        let root = cx.sqrt(h)?;
        let root = cx.plus_number(root, epsilon)?;
        let step = cx.times(rate, v)?;
        let step = cx.over(step, root)?;
        let x = cx.minus(x, step)?;
        Ok(vec![cx.times_number(x, 1.0 - post)?, v, h])
    })
}

/// `keep * old + (1 - keep) * new`.
fn mixed(cx: &mut Context, old: Value, new: Value, keep: f64) -> Built {
    let (old, new) = (cx.times_number(old, keep)?, cx.times_number(new, 1.0 - keep)?);
    cx.plus(old, new)
}

/// From the second step on `rate * sqrt(1 - beta^t) / (1 - alpha^t)`.
fn corrected(cx: &mut Context, rate: Value, count: Value, x: Value, alpha: f64, beta: f64) -> Built {
    let t = cx.cast(count, cx.dtype(x))?;
    let mut left = Vec::new();
    for base in [beta, alpha] {
        let base = cx.like(x, base);
        let power = cx.pow(base, t)?;
        let power = cx.neg(power)?;
        left.push(cx.plus_number(power, 1.0)?);
    }
    let root = cx.sqrt(left[0])?;
    let ratio = cx.over(root, left[1])?;
    let later = cx.times(rate, ratio)?;
    let zero = cx.scalar(DType::I64, 0.0);
    let begun = cx.gt(count, zero)?;
    cx.select(begun, later, rate)
}

fn momentum(cx: &mut Context) -> Built<Vec<Value>> {
    let (rate, count) = (cx.operand(0)?, cx.operand(1)?);
    let (alpha, beta) = (cx.float("alpha", 0.9)?, cx.float("beta", 1.0)?);
    let nesterov = match cx.string("mode", "standard")?.as_str() {
        "standard" => false,
        "nesterov" => true,
        other => return invalid(format!("unknown mode `{other}`")),
    };
    each(cx, 1, |cx, own| {
        let &[x, g, v] = own else { return invalid("three operands a tensor") };
        let g = regularized(cx, x, g)?;
        // The first step takes the gradient whole.
        let zero = cx.scalar(DType::I64, 0.0);
        let begun = cx.gt(count, zero)?;
        let (some, whole) = (cx.like(x, beta), cx.like(x, 1.0));
        let share = cx.select(begun, some, whole)?;
        let (kept, new) = (cx.times_number(v, alpha)?, cx.times(share, g)?);
        let v = cx.plus(kept, new)?;
        let direction = if nesterov {
            let ahead = cx.times_number(v, alpha)?;
            cx.plus(g, ahead)?
        } else {
            v
        };
        let step = cx.times(rate, direction)?;
        Ok(vec![cx.minus(x, step)?, v])
    })
}
