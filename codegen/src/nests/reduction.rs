//! Reductions as nest expressions.
use crate::kernel::pointwise::{Combine, Reduction};
use crate::nest::{Builder, Expr, Ty};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;

impl Reduction {
    /// The value of an empty reduction.
    pub fn start<'b>(&self, b: &'b Builder) -> Expr<'b> {
        let ty = Ty::of(self.dtype);
        if !ty.dtype.is_float() && ty.dtype != DType::Bool {
            let (least, greatest) = ty.dtype.int_range();
            return b.constant(ty, self.neutral(least as i64, greatest as i64, 0, 1));
        }
        let (least, greatest) =
            if ty.dtype == DType::Bool { (0.0, 1.0) } else { (f64::NEG_INFINITY, f64::INFINITY) };
        b.constant(ty, self.neutral(least, greatest, 0.0, 1.0))
    }

    fn neutral<T>(&self, least: T, greatest: T, zero: T, one: T) -> T {
        match self.combine {
            Combine::Sum => zero,
            Combine::Prod => one,
            Combine::Max => least,
            Combine::Min => greatest,
        }
    }

    /// The primitive that combines two values.
    pub fn prim(&self) -> Prim {
        let bools = self.dtype == DType::Bool;
        match self.combine {
            Combine::Sum => Prim::Add,
            Combine::Prod => Prim::Mul,
            Combine::Max if bools => Prim::Or,
            Combine::Min if bools => Prim::And,
            Combine::Max => Prim::Max,
            Combine::Min => Prim::Min,
        }
    }

    /// Two values combined.
    pub fn combined<'b>(&self, a: Expr<'b>, x: Expr<'b>) -> Expr<'b> {
        a.builder().prim(self.prim(), &[a, x])
    }
}
