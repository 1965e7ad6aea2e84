//! Scalar primitives, constants and conversions as HIP text: one match over [`Prim`].
//!
//! Transcendental primitives, float remainders and powers have been replaced by `math::expand_gpu`.
use super::nest::scalar_name;
use crate::nest::Ty;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;

/// A primitive of operands of type `of`.
pub(super) fn prim(p: Prim, of: DType, x: &[String]) -> String {
    let float = of.is_float();
    let infix = |sign: &str| format!("({} {sign} {})", x[0], x[1]);
    // Operands narrower than `int` are promoted; what comes out goes back.
    let bitwise = |sign: &str| format!("{}({} {sign} {})", scalar_name(of), x[0], x[1]);
    let call = |name: &str| format!("{name}({})", x.join(", "));
    match p {
        Prim::Add if float => infix("+"),
        Prim::Sub if float => infix("-"),
        Prim::Mul if float => infix("*"),
        Prim::Div if float => infix("/"),
        Prim::Add => call("add"),
        Prim::Sub => call("subtract"),
        Prim::Mul => call("multiply"),
        Prim::Div => call("divide"),
        Prim::Rem | Prim::Mod if !float => call("remainder_of"),
        Prim::Min => call("least"),
        Prim::Max => call("greatest"),
        Prim::Neg if float => format!("(-{})", x[0]),
        Prim::Neg => call("negate"),
        Prim::Abs if float => call("magnitude"),
        Prim::Abs if of.is_signed() => call("absolute"),
        Prim::Abs | Prim::Floor | Prim::Ceil | Prim::Round | Prim::Trunc if !float => x[0].clone(),
        Prim::Floor => call("round_down"),
        Prim::Ceil => call("round_up"),
        Prim::Round => call("round_even"),
        Prim::Trunc => call("round_to_zero"),
        Prim::Sqrt => call("square_root"),
        Prim::Eq => infix("=="),
        Prim::Lt => infix("<"),
        Prim::Le => infix("<="),
        Prim::And => bitwise("&"),
        Prim::Or => bitwise("|"),
        Prim::Xor => bitwise("^"),
        Prim::Not if of == DType::Bool => format!("(!{})", x[0]),
        Prim::Not => format!("{}(~{})", scalar_name(of), x[0]),
        Prim::Shl => call("shift_left"),
        Prim::Shr => call("shift_right"),
        Prim::Select => format!("({} ? {} : {})", x[0], x[1], x[2]),
        Prim::IsNan => format!("({0} != {0})", x[0]),
        Prim::IsInf => format!("(magnitude({}) == {})", x[0], infinity(of)),
        _ => panic!("bug: {} of {of} should have been expanded", p.name()),
    }
}

/// A primitive of `f32` as the hardware takes it.
pub(super) fn coarse(p: Prim, x: &[String]) -> String {
    format!("coarse_{}({})", p.name(), x.join(", "))
}

fn infinity(of: DType) -> String {
    constant(Ty { dtype: of, lanes: 1 }, f64::INFINITY.to_bits())
}

/// A constant.
pub(super) fn constant(ty: Ty, bits: u64) -> String {
    let shift = 64 - ty.dtype.bits();
    match ty.dtype {
        DType::F32 => {
            let x = f64::from_bits(bits) as f32;
            if x.is_finite() {
                parenthesized(format!("{x:?}f"))
            } else {
                format!("bits<f32>({}u)", x.to_bits())
            }
        }
        DType::F64 => {
            let x = f64::from_bits(bits);
            if x.is_finite() { parenthesized(format!("{x:?}")) } else { format!("bits<f64>({bits}ull)") }
        }
        DType::Bool => (bits != 0).to_string(),
        DType::U64 => format!("{bits}ull"),
        DType::I64 if bits == 1 << 63 => "(-9223372036854775807ll - 1)".into(),
        DType::I64 => parenthesized(format!("{}ll", bits as i64)),
        t if t.is_unsigned() => format!("{}({}u)", scalar_name(t), (bits << shift) >> shift),
        t => format!("{}({}ll)", scalar_name(t), ((bits << shift) as i64) >> shift),
    }
}

fn parenthesized(literal: String) -> String {
    if literal.starts_with('-') { format!("({literal})") } else { literal }
}

/// A conversion. What does not fit an integer wraps, as on processors: it goes through a wider integer,
/// where it saturates.
pub(super) fn cast(from: DType, to: DType, x: &str) -> String {
    let name = scalar_name(to);
    match to {
        DType::Bool => format!("({x} != {}(0))", scalar_name(from)),
        _ if !from.is_float() || to.is_float() => format!("{name}({x})"),
        DType::I64 => format!("to_i64({x})"),
        DType::U64 => format!("to_u64({x})"),
        DType::I32 => format!("to_i32({x})"),
        DType::U32 => format!("u32(to_i64({x}))"),
        _ => format!("{name}(to_i32({x}))"),
    }
}
