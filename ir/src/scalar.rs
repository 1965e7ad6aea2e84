//! Scalar expressions: the one definition of what a pointwise op computes.
//!
//! `prims!` is the only place that says what a scalar primitive means: its type rule, its value on
//! floats and integers, and its value on symbolic dimensions. Everything pointwise is built of these;
//! each emitter has one exhaustive `match` over [`Prim`].
//!
//! A literal takes the type of the operand it meets, so one expression serves every dtype.
use sardonyx_tensor::{DType, Dim};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::cmp::Ordering;

/// What a primitive asks of its operand types and what it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Operands of one numeric type, which is the result's.
    Same,
    /// As [`Rule::Same`], floating point only.
    Float,
    /// As [`Rule::Same`], integers and bools only.
    Bits,
    /// Operands of one type; the result is a bool.
    Compare,
    /// Float operands of one type; the result is a bool.
    Classify,
    /// A bool, then two operands of the result's type.
    Select,
}

macro_rules! na {
    () => {
        if true {
            return None;
        } else {
            NoValue
        }
    };
}

macro_rules! prims { ($( $(#[doc = $doc:literal])* $Name:ident $method:ident ( $x:ident $(, $a:ident)* ) $rule:ident, $float:expr, $int:expr, $dim:expr; )*) => {
    /// A scalar primitive.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
    #[allow(missing_docs)]
    pub enum Prim { $( $(#[doc = $doc])* $Name ),* }

    impl Prim {
        /// Every primitive, in table order.
        pub const ALL: &'static [Prim] = &[$(Prim::$Name),*];
        /// The name in kernel dumps.
        pub fn name(self) -> &'static str { match self { $(Prim::$Name => stringify!($method)),* } }
        /// The number of operands.
        pub fn arity(self) -> usize { match self { $(Prim::$Name => [stringify!($x) $(, stringify!($a))*].len()),* } }
        /// The type rule.
        pub fn rule(self) -> Rule { match self { $(Prim::$Name => Rule::$rule),* } }
        /// The value on floating-point operands (bools as 0 and 1); `None` where it has none.
        #[allow(unused_variables, unreachable_code)]
        pub fn float(self, args: &[f64]) -> Option<f64> { Some(match self { $(Prim::$Name => {
            let [$x $(, $a)*] = *args else { panic!("bug: {} takes {} operands", self.name(), self.arity()) };
            Number::<f64>::number($float)
        })* }) }
        /// The value on integer operands, before it is wrapped to the dtype; `None` where it has none.
        #[allow(unused_variables, unreachable_code)]
        pub fn int(self, args: &[i128]) -> Option<i128> { Some(match self { $(Prim::$Name => {
            let [$x $(, $a)*] = *args else { panic!("bug: {} takes {} operands", self.name(), self.arity()) };
            Number::<i128>::number($int)
        })* }) }
        /// As [`Prim::float`] on every element of columns at least as long as `out`.
        #[allow(unused_variables, unreachable_code, clippy::needless_range_loop)]
        pub fn floats(self, args: &[&[f64]], out: &mut [f64]) -> Option<()> {
            match self { $(Prim::$Name => {
                let [$x $(, $a)*] = *args else { panic!("bug: {} takes {} operands", self.name(), self.arity()) };
                let n = out.len();
                let ($x, $($a,)*) = (&$x[..n], $(&$a[..n],)*);
                for i in 0..n {
                    let ($x, $($a,)*) = ($x[i], $($a[i],)*);
                    out[i] = Number::<f64>::number($float);
                }
            })* }
            Some(())
        }
        /// As [`Prim::int`] on every element of columns at least as long as `out`.
        #[allow(unused_variables, unreachable_code, clippy::needless_range_loop)]
        pub fn ints(self, args: &[&[i128]], out: &mut [i128]) -> Option<()> {
            match self { $(Prim::$Name => {
                let [$x $(, $a)*] = *args else { panic!("bug: {} takes {} operands", self.name(), self.arity()) };
                let n = out.len();
                let ($x, $($a,)*) = (&$x[..n], $(&$a[..n],)*);
                for i in 0..n {
                    let ($x, $($a,)*) = ($x[i], $($a[i],)*);
                    out[i] = Number::<i128>::number($int);
                }
            })* }
            Some(())
        }
        /// The value on symbolic dimensions; `None` where it is not a dimension or cannot be decided.
        #[allow(unused_variables, unreachable_code)]
        pub fn dim(self, args: &[Dim]) -> Option<Dim> { Some(match self { $(Prim::$Name => {
            let [$x $(, $a)*] = args else { panic!("bug: {} takes {} operands", self.name(), self.arity()) };
            Number::<Dim>::number($dim)
        })* }) }
    }

    #[allow(missing_docs)]
    impl<'b> Expr<'b> { $(
        #[allow(clippy::should_implement_trait)]
        pub fn $method(self $(, $a: impl IntoExpr<'b>)*) -> Expr<'b> {
            self.b.prim(Prim::$Name, &[self.id $(, $a.into_expr(self.b).id)*])
        }
    )* }
}; }

// The columns: name, builder method, operands, type rule, value on floats, on integers, on dimensions.
prims! {
    Add    add    (a, b)    Same,     a + b,                      a.wrapping_add(b),            a + b;
    Sub    sub    (a, b)    Same,     a - b,                      a.wrapping_sub(b),            a - b;
    Mul    mul    (a, b)    Same,     a * b,                      a.wrapping_mul(b),            a * b;
    /// Integers: toward zero; division by zero gives 0.
    Div    div    (a, b)    Same,     a / b,                      a.checked_div(b).unwrap_or(0), quotient(a, b)?;
    /// The remainder with the sign of the divisor (Python's `%`).
    Mod    modulo (a, b)    Same,     a - (a / b).floor() * b,    floor_mod(a, b),              remainder(a, b)?;
    /// The remainder with the sign of the dividend (C's `fmod`).
    Rem    rem    (a, b)    Same,     a % b,                      a.checked_rem(b).unwrap_or(0), remainder(a, b)?;
    Pow    pow    (a, b)    Same,     a.powf(b),                  int_pow(a, b),                na!();
    Min    min    (a, b)    Same,     nan_min(a, b),              a.min(b),                     a.min(b);
    Max    max    (a, b)    Same,     nan_max(a, b),              a.max(b),                     a.max(b);
    Neg    neg    (x)       Same,     -x,                         x.wrapping_neg(),             Dim::from(0) - x;
    Abs    abs    (x)       Same,     x.abs(),                    x.wrapping_abs(),             x.provably_ge(0).then(|| x.clone())?;
    Sign   sign   (x)       Same,     sign(x),                    x.signum(),                   na!();
    Floor  floor  (x)       Same,     x.floor(),                  x,                            x.clone();
    Ceil   ceil   (x)       Same,     x.ceil(),                   x,                            x.clone();
    /// To the nearest integer, ties to even.
    Round  round  (x)       Same,     x.round_ties_even(),        x,                            x.clone();
    Trunc  trunc  (x)       Same,     x.trunc(),                  x,                            x.clone();
    Sqrt   sqrt   (x)       Float,    x.sqrt(),                   na!(),                        na!();
    Exp    exp    (x)       Float,    x.exp(),                    na!(),                        na!();
    /// `exp(x) - 1`, accurate near zero.
    Expm1  expm1  (x)       Float,    x.exp_m1(),                 na!(),                        na!();
    Log    log    (x)       Float,    x.ln(),                     na!(),                        na!();
    /// `log(1 + x)`, accurate near zero.
    Log1p  log1p  (x)       Float,    x.ln_1p(),                  na!(),                        na!();
    Sin    sin    (x)       Float,    x.sin(),                    na!(),                        na!();
    Cos    cos    (x)       Float,    x.cos(),                    na!(),                        na!();
    Tan    tan    (x)       Float,    x.tan(),                    na!(),                        na!();
    Asin   asin   (x)       Float,    x.asin(),                   na!(),                        na!();
    Acos   acos   (x)       Float,    x.acos(),                   na!(),                        na!();
    Atan   atan   (x)       Float,    x.atan(),                   na!(),                        na!();
    Sinh   sinh   (x)       Float,    x.sinh(),                   na!(),                        na!();
    Cosh   cosh   (x)       Float,    x.cosh(),                   na!(),                        na!();
    Tanh   tanh   (x)       Float,    x.tanh(),                   na!(),                        na!();
    Asinh  asinh  (x)       Float,    x.asinh(),                  na!(),                        na!();
    Acosh  acosh  (x)       Float,    x.acosh(),                  na!(),                        na!();
    Atanh  atanh  (x)       Float,    x.atanh(),                  na!(),                        na!();
    /// The error function.
    Erf    erf    (x)       Float,    crate::erf::erf(x),         na!(),                        na!();
    Eq     eq     (a, b)    Compare,  a == b,                     a == b,                       truth(a.compare(b)?.is_eq());
    Lt     lt     (a, b)    Compare,  a < b,                      a < b,                        truth(a.compare(b)?.is_lt());
    Le     le     (a, b)    Compare,  a <= b,                     a <= b,                       truth(a.compare(b)?.is_le());
    /// Bitwise on integers.
    And    and    (a, b)    Bits,     na!(),                      a & b,                        truth(known(a)? & known(b)? != 0);
    Or     or     (a, b)    Bits,     na!(),                      a | b,                        truth(known(a)? | known(b)? != 0);
    Xor    xor    (a, b)    Bits,     na!(),                      a ^ b,                        truth(known(a)? ^ known(b)? != 0);
    /// Bitwise complement of an integer, negation of a bool.
    Not    not    (x)       Bits,     na!(),                      !x,                           truth(known(x)? == 0);
    /// A shift by the type's width or more gives 0.
    Shl    shl    (a, b)    Bits,     na!(),                      shift(a, b, true),            na!();
    Shr    shr    (a, b)    Bits,     na!(),                      shift(a, b, false),           na!();
    IsNan  is_nan (x)       Classify, x.is_nan(),                 na!(),                        na!();
    IsInf  is_inf (x)       Classify, x.is_infinite(),            na!(),                        na!();
    /// `b` where `c` holds, else `a`'s counterpart: `select(c, a, b)` is `a` if `c`, else `b`.
    Select select (c, a, b) Select,   if c != 0.0 { a } else { b }, if c != 0 { a } else { b }, if known(c)? != 0 { a.clone() } else { b.clone() };
}

trait Number<T> {
    fn number(self) -> T;
}
/// What a cell without a value has the type of.
struct NoValue;
impl<T> Number<T> for NoValue {
    fn number(self) -> T {
        panic!("bug: the cell returned")
    }
}
impl Number<Dim> for Dim {
    fn number(self) -> Dim {
        self
    }
}
impl Number<f64> for f64 {
    fn number(self) -> f64 {
        self
    }
}
impl Number<f64> for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}
impl Number<i128> for i128 {
    fn number(self) -> i128 {
        self
    }
}
impl Number<i128> for bool {
    fn number(self) -> i128 {
        i128::from(self)
    }
}

fn truth(b: bool) -> Dim {
    Dim::from(i64::from(b))
}
fn known(d: &Dim) -> Option<i64> {
    d.known()
}
fn quotient(a: &Dim, b: &Dim) -> Option<Dim> {
    (a.provably_ge(0) && b.provably_ge(1)).then(|| a.floor_div(b)).or_else(|| a.exact_div(b))
}
fn remainder(a: &Dim, b: &Dim) -> Option<Dim> {
    (a.provably_ge(0) && b.provably_ge(1)).then(|| a.modulo(b))
}
fn floor_mod(a: i128, b: i128) -> i128 {
    a.checked_rem(b).map_or(0, |r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
}
fn int_pow(a: i128, b: i128) -> i128 {
    match u32::try_from(b) {
        Ok(e) => a.wrapping_pow(e),
        Err(_) if a == 1 => 1,
        Err(_) if a == -1 => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        Err(_) => 0,
    }
}
fn shift(a: i128, b: i128, left: bool) -> i128 {
    match u32::try_from(b) {
        Ok(n @ 0..=63) => {
            if left {
                a << n
            } else {
                a >> n
            }
        }
        _ => 0,
    }
}
fn nan_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
fn sign(x: f64) -> f64 {
    match x.partial_cmp(&0.0) {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Less) => -1.0,
        Some(Ordering::Equal) => 0.0,
        None => f64::NAN,
    }
}

/// One step of a scalar function; operands are indices of earlier nodes.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// The i-th argument of the function.
    Arg(usize),
    /// A literal, of whatever type it meets.
    Num(f64),
    /// A primitive.
    Prim(Prim, SmallVec<[usize; 3]>),
    /// A conversion: to integers toward zero, to bool by `!= 0`.
    Cast(DType, usize),
}

/// Owns the nodes of one scalar function under construction; equal nodes are stored once.
#[derive(Default)]
pub struct Builder {
    nodes: RefCell<Vec<Node>>,
}

/// A node of a scalar function under construction.
#[derive(Clone, Copy)]
pub struct Expr<'b> {
    b: &'b Builder,
    id: usize,
}

impl Builder {
    fn push(&self, n: Node) -> Expr<'_> {
        let mut nodes = self.nodes.borrow_mut();
        let id = nodes.iter().position(|m| *m == n).unwrap_or(nodes.len());
        if id == nodes.len() {
            nodes.push(n);
        }
        Expr { b: self, id }
    }
    /// The i-th argument.
    pub fn arg(&self, i: usize) -> Expr<'_> {
        self.push(Node::Arg(i))
    }
    /// A literal.
    pub fn num(&self, x: f64) -> Expr<'_> {
        self.push(Node::Num(x))
    }
    /// A primitive of earlier nodes, by index.
    pub fn prim(&self, p: Prim, args: &[usize]) -> Expr<'_> {
        self.push(Node::Prim(p, SmallVec::from_slice(args)))
    }
    /// The expressions of `f` on these arguments, and its root.
    pub fn inline<'b>(&'b self, f: &Scalar, args: &[Expr<'b>]) -> Expr<'b> {
        let mut ids: Vec<usize> = Vec::with_capacity(f.nodes.len());
        for n in &f.nodes {
            let e = match n {
                Node::Arg(i) => args[*i],
                Node::Num(x) => self.num(*x),
                Node::Prim(p, a) => {
                    self.prim(*p, &a.iter().map(|&i| ids[i]).collect::<SmallVec<[usize; 3]>>())
                }
                Node::Cast(t, a) => self.push(Node::Cast(*t, ids[*a])),
            };
            ids.push(e.id);
        }
        Expr { b: self, id: ids[f.root] }
    }
    /// The function whose value is the node with index `root`.
    pub fn finish(self, root: usize) -> Scalar {
        Scalar { nodes: self.nodes.into_inner(), root }
    }
}

impl<'b> Expr<'b> {
    /// The node's index, for [`Builder::finish`].
    pub fn id(self) -> usize {
        self.id
    }
    /// A conversion to `t`.
    pub fn cast(self, t: DType) -> Expr<'b> {
        self.b.push(Node::Cast(t, self.id))
    }
    /// The logistic function `1 / (1 + exp(-x))`.
    pub fn sigmoid(self) -> Expr<'b> {
        1.0 / (1.0 + (-self).exp())
    }
    /// `a > b`.
    pub fn gt(self, b: impl IntoExpr<'b>) -> Expr<'b> {
        b.into_expr(self.b).lt(self)
    }
    /// `a >= b`.
    pub fn ge(self, b: impl IntoExpr<'b>) -> Expr<'b> {
        b.into_expr(self.b).le(self)
    }
}

/// An expression or a number that can stand as an operand.
pub trait IntoExpr<'b> {
    /// The expression in `b`.
    fn into_expr(self, b: &'b Builder) -> Expr<'b>;
}
impl<'b> IntoExpr<'b> for Expr<'b> {
    fn into_expr(self, _: &'b Builder) -> Expr<'b> {
        self
    }
}
impl<'b> IntoExpr<'b> for f64 {
    fn into_expr(self, b: &'b Builder) -> Expr<'b> {
        b.num(self)
    }
}

macro_rules! infix { ($($Trait:ident $method:ident),*) => { $(
    impl<'b, T: IntoExpr<'b>> std::ops::$Trait<T> for Expr<'b> {
        type Output = Expr<'b>;
        fn $method(self, o: T) -> Expr<'b> { Expr::$method(self, o) }
    }
    impl<'b> std::ops::$Trait<Expr<'b>> for f64 {
        type Output = Expr<'b>;
        fn $method(self, o: Expr<'b>) -> Expr<'b> { Expr::$method(o.b.num(self), o) }
    }
)* } }
infix!(Add add, Sub sub, Mul mul, Div div);
impl<'b> std::ops::Neg for Expr<'b> {
    type Output = Expr<'b>;
    fn neg(self) -> Expr<'b> {
        Expr::neg(self)
    }
}

/// A finished scalar function of its arguments; nodes come after the nodes they use.
#[derive(Clone, PartialEq, Debug)]
pub struct Scalar {
    /// The nodes, operands first.
    pub nodes: Vec<Node>,
    /// The node that is the value.
    pub root: usize,
}

impl Scalar {
    /// The function that `f` builds of `n` arguments.
    pub fn build(n: usize, f: impl for<'b> FnOnce(&'b Builder, &[Expr<'b>]) -> Expr<'b>) -> Scalar {
        let b = Builder::default();
        let root = f(&b, &(0..n).map(|i| b.arg(i)).collect::<Vec<_>>()).id;
        b.finish(root)
    }

    /// The type of every node given the arguments' types; `None` for a literal whose type is still open
    /// (it takes the type of whatever it meets). Fails where a primitive's type rule does not hold.
    pub fn types(&self, args: &[DType]) -> Result<Vec<Option<DType>>, String> {
        let mut types: Vec<Option<DType>> = Vec::with_capacity(self.nodes.len());
        for n in &self.nodes {
            let t = match n {
                Node::Arg(i) => Some(*args.get(*i).ok_or_else(|| format!("argument {i} is missing"))?),
                Node::Num(_) => None,
                Node::Cast(t, a) => {
                    if let Some(from) = types[*a].into_iter().chain([*t]).find(|t: &DType| t.is_reference()) {
                        return Err(format!("no number is {from}: cast from or to it"));
                    }
                    Some(*t)
                }
                Node::Prim(p, a) => {
                    result_type(*p, &a.iter().map(|&i| types[i]).collect::<SmallVec<[_; 3]>>())?
                }
            };
            types.push(t);
        }
        Ok(types)
    }

    /// The type of the value; that of the first argument if only literals decide it.
    pub fn result(&self, args: &[DType]) -> Result<DType, String> {
        self.types(args)?[self.root]
            .or(args.first().copied())
            .ok_or_else(|| "a literal alone has no type".into())
    }
}

fn result_type(p: Prim, args: &[Option<DType>]) -> Result<Option<DType>, String> {
    let operands = if p.rule() == Rule::Select { &args[1..] } else { args };
    let common = operands.iter().flatten().next().copied();
    if let (Some(t), Some(other)) = (common, operands.iter().flatten().find(|&&o| Some(o) != common)) {
        return Err(format!("{} of {t} and {other}", p.name()));
    }
    let allowed = |t: DType| match p.rule() {
        // References have equality and can be chosen, nothing else.
        _ if t.is_reference() => p.rule() == Rule::Select || (p == Prim::Eq && t == DType::String),
        Rule::Same => t != DType::Bool,
        Rule::Float | Rule::Classify => t.is_float(),
        Rule::Bits => !t.is_float(),
        Rule::Compare | Rule::Select => true,
    };
    if let Some(t) = common.filter(|&t| !allowed(t)) {
        return Err(format!("{} is not defined on {t}", p.name()));
    }
    match p.rule() {
        Rule::Select if args[0].is_some_and(|c| c != DType::Bool) => {
            Err("select needs a bool condition".into())
        }
        Rule::Compare | Rule::Classify => Ok(Some(DType::Bool)),
        _ => Ok(common),
    }
}
