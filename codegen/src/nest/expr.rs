//! Expression handles: operators, primitives and conversions on registers of a nest under construction.
use super::{Builder, Op, Reg, Ty};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};

/// A value of a nest under construction.
#[derive(Clone, Copy)]
pub struct Expr<'b> {
    pub(super) b: &'b Builder,
    pub(super) reg: Reg,
}

/// What can stand as an operand: an expression, a number (which takes the type of what it meets) or a
/// dimension.
pub trait Operand<'b> {
    /// The expression in `b`, where it meets a value of type `like`.
    fn expr(self, b: &'b Builder, like: Ty) -> Expr<'b>;
}
impl<'b> Operand<'b> for Expr<'b> {
    fn expr(self, _: &'b Builder, _: Ty) -> Expr<'b> {
        self
    }
}
impl<'b> Operand<'b> for &Expr<'b> {
    fn expr(self, _: &'b Builder, _: Ty) -> Expr<'b> {
        *self
    }
}
impl<'b> Operand<'b> for &Dim {
    fn expr(self, b: &'b Builder, _: Ty) -> Expr<'b> {
        b.dim(self)
    }
}
macro_rules! numbers { ($($t:ty as $as:ty),*) => { $(
    impl<'b> Operand<'b> for $t {
        fn expr(self, b: &'b Builder, like: Ty) -> Expr<'b> {
            b.constant(like, self as $as)
        }
    }
)* } }
numbers!(i64 as i64, i32 as i64, u32 as i64, usize as i64, f64 as f64);

macro_rules! methods { ($($(#[doc = $doc:literal])* $name:ident = $Prim:ident ( $($a:ident),* );)*) => {
    impl<'b> Expr<'b> { $(
        $(#[doc = $doc])*
        #[allow(clippy::should_implement_trait)]
        pub fn $name(self $(, $a: impl Operand<'b>)*) -> Expr<'b> {
            self.b.prim(Prim::$Prim, &[self $(, $a.expr(self.b, self.ty()))*])
        }
    )* }
} }
methods! {
    /// The lesser, NaN if either is.
    min = Min(o);
    /// The greater, NaN if either is.
    max = Max(o);
    /// The magnitude.
    abs = Abs();
    /// The square root.
    sqrt = Sqrt();
    /// The exponential.
    exp = Exp();
    /// The natural logarithm.
    log = Log();
    /// The hyperbolic tangent.
    tanh = Tanh();
    /// The error function.
    erf = Erf();
    /// The integer below.
    floor = Floor();
    /// The nearest integer, ties to even.
    round = Round();
    /// The integer toward zero.
    trunc = Trunc();
    /// Whether it is NaN.
    is_nan = IsNan();
    /// `self == o`.
    eq = Eq(o);
    /// `self < o`.
    lt = Lt(o);
    /// `self <= o`.
    le = Le(o);
    /// Bitwise and.
    and = And(o);
    /// Bitwise or.
    or = Or(o);
    /// Bitwise exclusive or.
    xor = Xor(o);
    /// Bitwise complement; negation of a bool.
    not = Not();
    /// A shift to the left.
    shl = Shl(o);
    /// A shift to the right: of the sign for signed types.
    shr = Shr(o);
    /// The remainder with the sign of the divisor.
    modulo = Mod(o);
}

impl<'b> Expr<'b> {
    /// The builder it belongs to.
    pub fn builder(self) -> &'b Builder {
        self.b
    }
    /// The type.
    pub fn ty(self) -> Ty {
        self.b.state.borrow().regs[self.reg.0 as usize].ty
    }
    /// The bits of a constant.
    pub(super) fn as_const(self) -> Option<u64> {
        match self.b.state.borrow().defs[self.reg.0 as usize] {
            Some(Op::Const(bits)) => Some(bits),
            _ => None,
        }
    }
    /// The value of an integer or bool constant.
    pub fn as_int(self) -> Option<i64> {
        self.as_const().filter(|_| !self.ty().dtype.is_float()).map(|bits| bits as i64)
    }
    /// The value of a floating-point constant.
    pub fn as_num(self) -> Option<f64> {
        self.as_const().filter(|_| self.ty().dtype.is_float()).map(f64::from_bits)
    }
    /// `self > o`.
    pub fn gt(self, o: impl Operand<'b>) -> Expr<'b> {
        o.expr(self.b, self.ty()).lt(self)
    }
    /// `self >= o`.
    pub fn ge(self, o: impl Operand<'b>) -> Expr<'b> {
        o.expr(self.b, self.ty()).le(self)
    }
    /// `self != o`.
    pub fn ne(self, o: impl Operand<'b>) -> Expr<'b> {
        self.eq(o).not()
    }
    /// For a bool: `a` where it holds, else `b`; a literal takes the type of the other.
    pub fn select(self, a: impl Operand<'b>, b: impl Operand<'b>) -> Expr<'b> {
        let first = a.expr(self.b, Ty::of(DType::F32));
        let second = b.expr(self.b, first.ty());
        self.b.prim(Prim::Select, &[self, first, second])
    }
    /// The quotient of indices, this one `>= 0` and the divisor `> 0`.
    pub fn index_div(self, o: impl Operand<'b>) -> Expr<'b> {
        super::simplify::index(self, o.expr(self.b, Ty::INDEX), false)
    }
    /// The remainder of indices, this one `>= 0` and the divisor `> 0`.
    pub fn index_rem(self, o: impl Operand<'b>) -> Expr<'b> {
        super::simplify::index(self, o.expr(self.b, Ty::INDEX), true)
    }
    /// Converted to `dtype`: to integers toward zero and wrapping, to bool by
    /// `!= 0`, to types that exist in memory only by rounding to their values.
    pub fn cast(self, dtype: DType) -> Expr<'b> {
        super::simplify::cast(self, dtype)
    }
    /// The same bits as another type of the same size.
    pub fn bitcast(self, dtype: DType) -> Expr<'b> {
        assert_eq!(dtype.size(), self.ty().dtype.size(), "bug: bitcast to {dtype}");
        self.b.push(self.ty().with_dtype(dtype), Op::Bitcast(self.reg))
    }
    /// Bytes as `i32`s, four lanes each.
    pub fn words(self) -> Expr<'b> {
        let ty = self.ty();
        assert!(ty.dtype.size() == 1 && ty.lanes.is_multiple_of(4), "bug: words of {ty}");
        self.b.push(Ty { dtype: DType::I32, lanes: ty.lanes / 4 }, Op::Bitcast(self.reg))
    }
    /// A scalar in every lane; a vector of `lanes` lanes as it is.
    pub fn splat(self, lanes: u32) -> Expr<'b> {
        let ty = self.ty();
        if ty.lanes == lanes {
            return self;
        }
        assert_eq!(ty.lanes, 1, "bug: {} lanes where {lanes} are needed", ty.lanes);
        match self.as_const() {
            Some(bits) => self.b.push(ty.with_lanes(lanes), Op::Const(bits)),
            None => self.b.push(ty.with_lanes(lanes), Op::Splat(self.reg)),
        }
    }
    /// One lane of a vector.
    pub fn lane(self, i: u32) -> Expr<'b> {
        self.b.push(self.ty().with_lanes(1), Op::Extract(self.reg, i))
    }
    /// `add`, `mul`, `min`, `max`, `and` or `or` over the threads of a wave, in any order.
    pub fn wave_reduce(self, p: Prim) -> Expr<'b> {
        self.b.push(self.ty(), Op::WaveReduce(p, self.reg))
    }
    /// `add`, `mul`, `min`, `max`, `and` or `or` over the lanes, in any order.
    pub fn reduce(self, p: Prim) -> Expr<'b> {
        self.b.push(self.ty().with_lanes(1), Op::Reduce(p, self.reg))
    }
}

macro_rules! infix { ($($Trait:ident $method:ident),*) => { $(
    impl<'b, T: Operand<'b>> std::ops::$Trait<T> for Expr<'b> {
        type Output = Expr<'b>;
        fn $method(self, o: T) -> Expr<'b> {
            self.b.prim(Prim::$Trait, &[self, o.expr(self.b, self.ty())])
        }
    }
    infix!(@left $Trait $method i64, i32, f64, &Dim);
)* };
    (@left $Trait:ident $method:ident $($t:ty),*) => { $(
    impl<'b> std::ops::$Trait<Expr<'b>> for $t {
        type Output = Expr<'b>;
        fn $method(self, o: Expr<'b>) -> Expr<'b> {
            o.b.prim(Prim::$Trait, &[Operand::expr(self, o.b, o.ty()), o])
        }
    }
)* } }
infix!(Add add, Sub sub, Mul mul, Div div);
impl<'b> std::ops::Neg for Expr<'b> {
    type Output = Expr<'b>;
    fn neg(self) -> Expr<'b> {
        self.b.prim(Prim::Neg, &[self])
    }
}
