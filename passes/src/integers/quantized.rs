//! The forms of quantized values, recognized.
use crate::pattern::is_constant;
use sardonyx_ir::ops::Op;
use sardonyx_ir::{Graph, Value, interp};
use sardonyx_tensor::{DType, Tensor};

/// Bytes that stand for integers: `x - zero`.
#[derive(Clone, Copy)]
pub struct Bytes {
    /// The bytes.
    pub x: Value,
    /// What stands for 0, of i32; none if 0 does.
    pub zero: Option<Value>,
}

/// A centered or dequantized value: the transposes of `(x - zero) · scale`.
pub struct Quantized {
    pub bytes: Bytes,
    /// None of a centered value.
    pub scale: Option<Value>,
    /// The permutations of transposes that follow, the last one first.
    pub perms: Vec<Vec<i64>>,
}

impl Quantized {
    /// Zero point and scale.
    pub fn parameters(&self) -> impl Iterator<Item = Value> {
        self.bytes.zero.into_iter().chain(self.scale)
    }

    /// With the transposes made of the bytes and of their parameters.
    pub fn turned(&self, g: &mut Graph) -> Quantized {
        let rank = g.ty(self.bytes.x).rank();
        let mut turn = |v: Value| {
            let has_axes = g.ty(v).rank() == rank;
            self.perms.iter().rev().filter(|_| has_axes).fold(v, |v, perm| {
                g.add(Op::Transpose { perm: perm.clone() }, &[v]).unwrap_or_else(|e| panic!("bug: {e}"))
            })
        };
        let bytes = Bytes { x: turn(self.bytes.x), zero: self.bytes.zero.map(&mut turn) };
        Quantized { bytes, scale: self.scale.map(&mut turn), perms: vec![] }
    }
}

fn is_byte(g: &Graph, v: Value) -> bool {
    matches!(g.ty(v).dtype, DType::I8 | DType::U8)
}

/// The value behind transposes, and their permutations.
fn before_transposes(g: &Graph, mut v: Value) -> (Value, Vec<Vec<i64>>) {
    let mut perms = Vec::new();
    while let Op::Transpose { perm } = g.op(v) {
        perms.push(perm.clone());
        v = g.operand(v.node, 0);
    }
    (v, perms)
}

/// Whether parameters keep their meaning under transposes: they have no axes, or all of them.
fn turnable(q: &Quantized, g: &Graph) -> bool {
    let rank = g.ty(q.bytes.x).rank();
    q.perms.is_empty()
        || q.parameters().all(|p| g.ty(p).rank() == rank || g.ty(p).elements() == sardonyx_tensor::Dim::ONE)
}

/// What a centered value is made of.
pub fn centered(g: &Graph, v: Value) -> Option<Quantized> {
    let (v, perms) = before_transposes(g, v);
    let q = Quantized { bytes: bytes(g, v)?, scale: None, perms };
    turnable(&q, g).then_some(q)
}

fn bytes(g: &Graph, v: Value) -> Option<Bytes> {
    match g.op(v) {
        Op::Cast { to: DType::I32 } => {
            let x = g.operand(v.node, 0);
            is_byte(g, x).then_some(Bytes { x, zero: None })
        }
        Op::Sub {} if g.ty(v).dtype == DType::I32 => {
            let (wide, zero) = (g.operand(v.node, 0), g.operand(v.node, 1));
            let bytes = bytes(g, wide).filter(|b| b.zero.is_none())?;
            // A zero point that is broadcast to more axes would change the shape.
            (g.ty(wide).shape == g.ty(v).shape).then_some(Bytes { zero: Some(zero), ..bytes })
        }
        _ => None,
    }
}

/// What a dequantized value is made of.
pub fn dequantized(g: &Graph, v: Value) -> Option<Quantized> {
    let (v, perms) = before_transposes(g, v);
    let Op::Mul {} = g.op(v) else { return None };
    let ty = g.ty(v);
    let (p, q) = (g.operand(v.node, 0), g.operand(v.node, 1));
    let (bytes, scale) = [(p, q), (q, p)].into_iter().find_map(|(wide, scale)| {
        let Op::Cast { to: DType::F32 } = g.op(wide) else { return None };
        let from = g.operand(wide.node, 0);
        let bytes = if is_byte(g, from) { Bytes { x: from, zero: None } } else { bytes(g, from)? };
        (g.ty(wide).shape == ty.shape).then_some((bytes, scale))
    })?;
    let q = Quantized { bytes, scale: Some(scale), perms };
    turnable(&q, g).then_some(q)
}

/// A quantized value: what is quantized, by which parameters.
pub struct Quantization {
    pub value: Value,
    pub scale: Value,
    /// Of the type of the value.
    pub zero: Option<Value>,
}

/// What a quantized value is made of.
pub fn quantization(g: &Graph, v: Value) -> Option<Quantization> {
    let Op::Cast { to: DType::I8 | DType::U8 } = g.op(v) else { return None };
    let clip = g.operand(v.node, 0);
    let (least, greatest) = g.ty(v).dtype.int_range();
    match g.op(clip) {
        Op::Clip { min, max } if *min == least as f64 && *max == greatest as f64 => {}
        _ => return None,
    }
    let moved = g.operand(clip.node, 0);
    let (round, zero) = match g.op(moved) {
        Op::Add {} => (g.operand(moved.node, 0), Some(g.operand(moved.node, 1))),
        _ => (moved, None),
    };
    let Op::Round {} = g.op(round) else { return None };
    let ratio = g.operand(round.node, 0);
    let Op::Div {} = g.op(ratio) else { return None };
    let (value, scale) = (g.operand(ratio.node, 0), g.operand(ratio.node, 1));
    Some(Quantization { value, scale, zero })
}

/// The most elements of a parameter that is looked at.
const LOOKED_AT: i64 = 1 << 16;

/// The value of a parameter that is made of constants.
pub fn evaluated(g: &Graph, v: Value) -> Option<Tensor> {
    if let Some(t) = g.const_value(v) {
        return Some(t.clone());
    }
    let small = g.ty(v).elements().known().is_some_and(|n| n <= LOOKED_AT);
    if !small || !is_constant(g, v) || v.port != 0 {
        return None;
    }
    let operands: Vec<Tensor> = g.operands(v.node).map(|o| evaluated(g, o)).collect::<Option<_>>()?;
    interp::eval_op(&g.node(v.node).op, &operands).ok()?.into_iter().next()
}

/// Whether both are the same, or constants of one element each of which are equal.
pub fn same(g: &Graph, a: Value, b: Value) -> bool {
    let number = |v| evaluated(g, v).filter(|t| t.len() == 1).map(|t| t.get_f64(0));
    a == b || number(a).is_some_and(|x| Some(x) == number(b))
}

/// Whether it is a constant of zeros.
pub fn is_zero(g: &Graph, v: Value) -> bool {
    evaluated(g, v).is_some_and(|t| t.to_f64s().iter().all(|&x| x == 0.0))
}

/// Whether signed bytes stand for themselves, and unsigned ones for integers 128 less.
pub fn centered_in_middle(g: &Graph, bytes: &Bytes) -> bool {
    let middle = if g.ty(bytes.x).dtype == DType::U8 { 128.0 } else { 0.0 };
    match bytes.zero {
        None => middle == 0.0,
        Some(zero) => evaluated(g, zero).is_some_and(|t| t.to_f64s().iter().all(|&x| x == middle)),
    }
}

/// Whether the zero point is certainly a value that the bytes can have.
pub fn zero_is_a_byte(g: &Graph, bytes: &Bytes) -> bool {
    let Some(zero) = bytes.zero else { return true };
    let dtype = g.ty(bytes.x).dtype;
    let (least, greatest) = dtype.int_range();
    let in_range = |t: &Tensor| t.to_i128s().iter().all(|x| (least..=greatest).contains(x));
    let mut from = zero;
    while let Op::Reshape { .. } | Op::Cast { to: DType::I32 } = g.op(from) {
        from = g.operand(from.node, 0);
    }
    g.ty(from).dtype == dtype || evaluated(g, zero).as_ref().is_some_and(in_range)
}
