//! Primitives of integers that are no single instruction.
use super::each_lane;
use crate::nest::Expr;
use sardonyx_ir::scalar::Prim;

/// A primitive of integers; `None` for those that emitters print themselves.
pub(super) fn prim<'b>(p: Prim, args: &[Expr<'b>]) -> Option<Expr<'b>> {
    let signed = args[0].ty().dtype.is_signed();
    match p {
        Prim::Sign => Some(sign(args[0])),
        Prim::Mod if signed => Some(modulo(args[0], args[1])),
        Prim::Pow => Some(pow(args[0], args[1])),
        _ => None,
    }
}

fn sign(x: Expr<'_>) -> Expr<'_> {
    let number = |v: i64| x.builder().constant(x.ty(), v);
    x.eq(0).select(number(0), x.lt(0).select(number(-1), number(1)))
}

fn modulo<'b>(a: Expr<'b>, d: Expr<'b>) -> Expr<'b> {
    let r = a.builder().prim(Prim::Rem, &[a, d]);
    r.ne(0).and(r.xor(d).lt(0)).select(r + d, r)
}

/// By squaring, wrapping; a negative power of anything but 1 and -1 is 0.
fn pow<'b>(x: Expr<'b>, y: Expr<'b>) -> Expr<'b> {
    let (b, ty) = (x.builder(), x.ty());
    let number = |v: i64| b.constant(ty, v);
    if let Some(n @ 0..=64) = y.as_int() {
        return (0..n).fold(number(1), |product, _| product * x);
    }
    if ty.lanes > 1 {
        return each_lane(b, x, y, pow);
    }
    let (result, base, exponent) = (b.var(number(1)), b.var(x), b.var(y));
    b.while_(
        || exponent.get().gt(0),
        || {
            let odd = exponent.get().and(1).eq(1);
            result.update(|r| odd.select(r * base.get(), r));
            base.update(|x| x * x);
            exponent.update(|e| e.shr(1));
        },
    );
    if !ty.dtype.is_signed() {
        return result.get();
    }
    let alternating = y.and(1).eq(0).select(number(1), number(-1));
    let inverse = x.eq(1).select(number(1), x.eq(-1).select(alternating, number(0)));
    y.lt(0).select(inverse, result.get())
}
