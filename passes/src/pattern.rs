//! What guards and passes ask of a graph again and again.
use sardonyx_ir::ops::Op;
use sardonyx_ir::rewrite::equal_types;
use sardonyx_ir::{Graph, Value};
use sardonyx_tensor::{DType, Tensor};

/// The number a value is, if it is a constant of one element.
pub fn number(g: &Graph, v: Value) -> Option<f64> {
    g.const_value(v).filter(|t| t.len() == 1 && !t.dtype().is_reference()).map(|t| t.get_f64(0))
}

/// The one value that all elements of a tensor of numbers have.
pub fn uniform(t: &Tensor) -> Option<f64> {
    if t.dtype().is_reference() {
        return None;
    }
    let width = t.dtype().size();
    let first = t.bytes().get(..width)?;
    t.bytes().chunks_exact(width).all(|e| e == first).then(|| t.get_f64(0))
}

/// Whether a value is made of constants in a few steps, so that folding will compute it.
pub fn is_constant(g: &Graph, v: Value) -> bool {
    fn within(g: &Graph, v: Value, steps: usize) -> bool {
        let mut operands = g.operands(v.node).peekable();
        match g.op(v) {
            Op::Const { .. } => true,
            _ => operands.peek().is_some() && steps > 0 && operands.all(|o| within(g, o, steps - 1)),
        }
    }
    within(g, v, 8)
}

/// Whether every value of `from` is a value of `to`.
pub fn lossless(from: DType, to: DType) -> bool {
    if from == to || from == DType::Bool {
        return true;
    }
    match (from.is_float(), to.is_float()) {
        (true, true) => {
            float_digits(from).zip(float_digits(to)).is_some_and(|(a, b)| a.0 <= b.0 && a.1 <= b.1)
        }
        (false, true) => float_digits(to).is_some_and(|(digits, _)| from.bits() <= digits),
        (false, false) if to != DType::Bool => {
            let ((low, high), (least, most)) = (from.int_range(), to.int_range());
            least <= low && high <= most
        }
        _ => false,
    }
}

/// The bits of significand and exponent of the IEEE-like types.
fn float_digits(t: DType) -> Option<(u32, u32)> {
    match t {
        DType::F64 => Some((53, 11)),
        DType::F32 => Some((24, 8)),
        DType::F16 => Some((11, 5)),
        DType::BF16 => Some((8, 8)),
        _ => None,
    }
}

/// Puts `new` in place of `old`. Where dimensions are equal only by requirement, a reshape names them as
/// before.
pub fn put(g: &mut Graph, old: Value, new: Value) -> Result<(), String> {
    let (wanted, given) = (g.ty(old).clone(), g.ty(new).clone());
    if wanted == given {
        g.replace(old, new);
        return Ok(());
    }
    if !equal_types(g, &wanted, &given) {
        return Err(format!("the type would change from {wanted} to {given}"));
    }
    let named = g.add(Op::Reshape { shape: wanted.shape }, &[new])?;
    g.replace(old, named);
    Ok(())
}
