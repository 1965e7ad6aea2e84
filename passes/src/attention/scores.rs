//! What a softmax of scores is made of: queries, keys, scale, masks.
use crate::pattern::{number, uniform};
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::{Check, need};
use sardonyx_ir::{Graph, NodeId, Value};
use sardonyx_tensor::{DType, Tensor};

/// A mask on the scores.
enum Mask {
    /// Is added.
    Added(Value),
    /// The scores stay where it holds (`keep`) or where it does not; elsewhere stands `fill`.
    Selected { condition: Value, keep: bool, fill: f64 },
}

/// The scores of attention.
pub(super) struct Scores {
    pub queries: Value,
    /// Transposed: `[.., d, t]`.
    pub keys: Value,
    pub scale: f64,
    /// 0 is none.
    pub softcap: f64,
    /// The nodes between softmax and product.
    pub nodes: Vec<NodeId>,
    /// Outermost first.
    masks: Vec<Mask>,
    /// The type of the scores' elements.
    dtype: DType,
}

/// From here on a number that stands for a masked score makes its probability 0.
const MASKED: f64 = -1e4;

impl Scores {
    /// Takes apart the operand of a softmax.
    pub(super) fn of(g: &Graph, softmax: Value) -> Check<Scores> {
        let Op::Softmax { axis } = g.op(softmax) else { panic!("bug: not a softmax") };
        let ty = g.ty(softmax);
        need(ty.axis(*axis) == Ok(ty.rank() - 1), "the softmax is not over the last axis")?;
        let start = g.operand(softmax.node, 0);
        let mut s = Scores {
            queries: start,
            keys: start,
            scale: 1.0,
            softcap: 0.0,
            nodes: vec![],
            masks: vec![],
            dtype: ty.dtype,
        };
        let mut at = start;
        while !matches!(g.op(at), Op::Matmul {}) {
            need(g.use_count(at) == 1, "a step between product and softmax is used elsewhere too")?;
            s.nodes.push(at.node);
            at = s.step(g, at)?;
        }
        need(g.use_count(at) == 1, "the scores are used elsewhere too")?;
        s.nodes.push(at.node);
        let (queries, keys) = (g.operand(at.node, 0), g.operand(at.node, 1));
        s.queries = s.scaled(g, queries);
        s.keys = s.scaled(g, keys);
        Ok(s)
    }

    /// Notes what makes `v` of the value it returns, which leads on to the product.
    fn step(&mut self, g: &Graph, v: Value) -> Check<Value> {
        let operand = |i| g.operand(v.node, i);
        match g.op(v) {
            Op::Mul {} => self.factor(g, v),
            Op::Div {} => {
                let divisor = number(g, operand(1)).ok_or("the scores are divided by a tensor")?;
                self.scale /= divisor;
                Ok(operand(0))
            }
            Op::Add {} => {
                let scores = if leads_to_product(g, operand(0)) { 0 } else { 1 };
                need(leads_to_product(g, operand(scores)), "no product of queries with keys")?;
                self.mask_with(Mask::Added(operand(1 - scores)))?;
                Ok(operand(scores))
            }
            Op::Select {} => {
                let keep = leads_to_product(g, operand(1));
                let (scores, filled) = if keep { (operand(1), operand(2)) } else { (operand(2), operand(1)) };
                let fill =
                    g.const_value(filled).and_then(uniform).ok_or("scores are selected with a tensor")?;
                need(fill <= MASKED, "scores are selected with a number that does not mask")?;
                self.mask_with(Mask::Selected { condition: operand(0), keep, fill })?;
                Ok(scores)
            }
            Op::Cast { .. } => Ok(operand(0)),
            op => Err(format!("a {} stands between product and softmax", op.name())),
        }
    }

    /// A product: of scores with a number, or of `tanh` with the cap of the scores.
    fn factor(&mut self, g: &Graph, v: Value) -> Check<Value> {
        let (a, b) = (g.operand(v.node, 0), g.operand(v.node, 1));
        let (x, factor) = match (number(g, a), number(g, b)) {
            (_, Some(c)) => (a, c),
            (Some(c), _) => (b, c),
            _ => return Err("the scores are multiplied by a tensor".into()),
        };
        if !matches!(g.op(x), Op::Tanh {}) {
            self.scale *= factor;
            return Ok(x);
        }
        let inner = g.operand(x.node, 0);
        let Op::Mul {} = g.op(inner) else { return Err("a tanh that caps nothing".into()) };
        let (a, b) = (g.operand(inner.node, 0), g.operand(inner.node, 1));
        let (scores, divisor) = match (number(g, a), number(g, b)) {
            (_, Some(c)) => (a, 1.0 / c),
            (Some(c), _) => (b, 1.0 / c),
            _ => return Err("a tanh that caps nothing".into()),
        };
        need((divisor - factor).abs() <= 1e-4 * factor.abs(), "the caps before and after tanh differ")?;
        need(self.scale == 1.0 && self.softcap == 0.0, "the cap is scaled")?;
        self.nodes.extend([x.node, inner.node]);
        self.softcap = factor;
        Ok(scores)
    }

    fn mask_with(&mut self, mask: Mask) -> Check {
        need(self.scale == 1.0 && self.softcap == 0.0, "a scale stands outside of the mask")?;
        self.masks.push(mask);
        Ok(())
    }

    /// A factor of queries or keys.
    fn scaled(&mut self, g: &Graph, v: Value) -> Value {
        let operand = |i| g.operand(v.node, i);
        let (inner, factor) = match g.op(v) {
            Op::Mul {} => match (number(g, operand(0)), number(g, operand(1))) {
                (_, Some(c)) => (operand(0), c),
                (Some(c), _) => (operand(1), c),
                _ => return v,
            },
            Op::Div {} => match number(g, operand(1)) {
                Some(c) => (operand(0), 1.0 / c),
                None => return v,
            },
            _ => return v,
        };
        if g.ty(inner) != g.ty(v) {
            return v;
        }
        self.scale *= factor;
        self.scaled(g, inner)
    }

    /// The masks as one operand of attention.
    pub(super) fn mask(&self, g: &mut Graph) -> Check<Option<Value>> {
        if let [Mask::Selected { condition, keep, fill }] = self.masks[..]
            && fill == f64::NEG_INFINITY
        {
            return Ok(Some(if keep { condition } else { g.add(Op::Not {}, &[condition])? }));
        }
        let mut sum = None;
        for mask in self.masks.iter().rev() {
            let next = match *mask {
                Mask::Added(v) => v,
                Mask::Selected { condition, keep, fill } => {
                    let mut number = |x| g.constant(Tensor::from_f64s(self.dtype, [], [x]));
                    let (zero, fill) = (number(0.0), number(fill));
                    let operands = if keep { [condition, zero, fill] } else { [condition, fill, zero] };
                    g.add(Op::Select {}, &operands)?
                }
            };
            sum = Some(match sum {
                None => next,
                Some(sum) => g.add(Op::Add {}, &[sum, next])?,
            });
        }
        Ok(sum)
    }
}

/// Whether a value comes from a product of queries with keys.
fn leads_to_product(g: &Graph, v: Value) -> bool {
    let operand = |i| g.operand(v.node, i);
    match g.op(v) {
        Op::Matmul {} => true,
        Op::Cast { .. } | Op::Tanh {} | Op::Div {} => leads_to_product(g, operand(0)),
        Op::Mul {} | Op::Add {} => leads_to_product(g, operand(0)) || leads_to_product(g, operand(1)),
        Op::Select {} => leads_to_product(g, operand(1)) || leads_to_product(g, operand(2)),
        _ => false,
    }
}
