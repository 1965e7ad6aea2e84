//! Scalar primitives as LLVM text: one match over [`Prim`].
//!
//! Transcendental primitives, float remainders and powers have been replaced by `math::expand`.
use super::{Function, constant, line, scalar_name, suffix, ty_name};
use crate::nest::{Reg, Ty};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;
use std::fmt::Write;

impl Function<'_> {
    pub(super) fn prim(&mut self, r: Reg, p: Prim, args: &[Reg]) {
        let of = self.ty(args[args.len() - 1]);
        if of.dtype.is_float() { self.float(r, p, args) } else { self.integer(r, p, args) }
    }

    /// The fast-math flags of an arithmetic operation.
    fn flags(&self, r: Reg) -> &'static str {
        match (self.nest.regs[r.0 as usize].exact, self.reassociate) {
            (true, _) => "",
            (false, true) => "reassoc nsz contract ",
            (false, false) => "contract ",
        }
    }

    pub(super) fn fma(&mut self, r: Reg, a: Reg, b: Reg, c: Reg) {
        let ty = ty_name(self.ty(r));
        let [a, b, c] = [a, b, c].map(|x| self.reg(x));
        let exact = self.nest.regs[r.0 as usize].exact;
        if self.reassociate && !exact {
            let (t, flags) = (self.temporary(), self.flags(r));
            line!(self, "{t} = fmul {flags}{ty} {a}, {b}");
            line!(self, "%v{} = fadd {flags}{ty} {t}, {c}", r.0);
            return;
        }
        let name = if self.target.fma { "fma" } else { "fmuladd" };
        line!(
            self,
            "%v{} = call {ty} @llvm.{name}.{}({ty} {a}, {ty} {b}, {ty} {c})",
            r.0,
            suffix(self.ty(r))
        );
    }

    /// Floating-point operands.
    fn float(&mut self, r: Reg, p: Prim, args: &[Reg]) {
        let ty = self.ty(args[args.len() - 1]);
        let (name, out, flags) = (ty_name(ty), format!("%v{}", r.0), self.flags(r));
        let x: Vec<String> = args.iter().map(|&a| self.reg(a)).collect();
        let call = |intrinsic: &str| {
            let operands: Vec<String> = x.iter().map(|x| format!("{name} {x}")).collect();
            format!("{name} @llvm.{intrinsic}.{}({})", suffix(ty), operands.join(", "))
        };
        match p {
            Prim::Add => line!(self, "{out} = fadd {flags}{name} {}, {}", x[0], x[1]),
            Prim::Sub => line!(self, "{out} = fsub {flags}{name} {}, {}", x[0], x[1]),
            Prim::Mul => line!(self, "{out} = fmul {flags}{name} {}, {}", x[0], x[1]),
            Prim::Div => line!(self, "{out} = fdiv {name} {}, {}", x[0], x[1]),
            Prim::Min => line!(self, "{out} = call nsz {}", call("minimum")),
            Prim::Max => line!(self, "{out} = call nsz {}", call("maximum")),
            Prim::Neg => line!(self, "{out} = fneg {name} {}", x[0]),
            Prim::Abs => line!(self, "{out} = call {}", call("fabs")),
            Prim::Floor => line!(self, "{out} = call {}", call("floor")),
            Prim::Ceil => line!(self, "{out} = call {}", call("ceil")),
            Prim::Round => line!(self, "{out} = call {}", call("roundeven")),
            Prim::Trunc => line!(self, "{out} = call {}", call("trunc")),
            Prim::Sqrt => line!(self, "{out} = call {}", call("sqrt")),
            Prim::Eq => line!(self, "{out} = fcmp oeq {name} {}, {}", x[0], x[1]),
            Prim::Lt => line!(self, "{out} = fcmp olt {name} {}, {}", x[0], x[1]),
            Prim::Le => line!(self, "{out} = fcmp ole {name} {}, {}", x[0], x[1]),
            Prim::IsNan => line!(self, "{out} = fcmp uno {name} {}, {}", x[0], x[0]),
            Prim::IsInf => {
                let t = self.temporary();
                line!(self, "{t} = call {}", call("fabs"));
                line!(self, "{out} = fcmp oeq {name} {t}, {}", constant(ty, f64::INFINITY.to_bits()));
            }
            Prim::Select => self.select(r, &x),
            Prim::And | Prim::Or | Prim::Xor | Prim::Not | Prim::Shl | Prim::Shr => {
                panic!("bug: {} of floats", p.name())
            }
            Prim::Mod
            | Prim::Rem
            | Prim::Pow
            | Prim::Sign
            | Prim::Exp
            | Prim::Expm1
            | Prim::Log
            | Prim::Log1p => {
                panic!("bug: {} should have been expanded", p.name())
            }
            Prim::Sin
            | Prim::Cos
            | Prim::Tan
            | Prim::Asin
            | Prim::Acos
            | Prim::Atan
            | Prim::Sinh
            | Prim::Cosh => {
                panic!("bug: {} should have been expanded", p.name())
            }
            Prim::Tanh | Prim::Asinh | Prim::Acosh | Prim::Atanh | Prim::Erf => {
                panic!("bug: {} should have been expanded", p.name())
            }
        }
    }

    fn select(&mut self, r: Reg, x: &[String]) {
        let ty = self.ty(r);
        let (name, bools) = (ty_name(ty), ty_name(ty.with_dtype(DType::Bool)));
        line!(self, "%v{} = select {bools} {}, {name} {}, {name} {}", r.0, x[0], x[1], x[2]);
    }

    /// Integer and bool operands.
    fn integer(&mut self, r: Reg, p: Prim, args: &[Reg]) {
        let ty = self.ty(args[args.len() - 1]);
        let (name, out) = (ty_name(ty), format!("%v{}", r.0));
        let x: Vec<String> = args.iter().map(|&a| self.reg(a)).collect();
        let signed = ty.dtype.is_signed();
        let sign = if signed { 's' } else { 'u' };
        match p {
            Prim::Add => line!(self, "{out} = add {name} {}, {}", x[0], x[1]),
            Prim::Sub => line!(self, "{out} = sub {name} {}, {}", x[0], x[1]),
            Prim::Mul => line!(self, "{out} = mul {name} {}, {}", x[0], x[1]),
            Prim::Div => self.divide(r, ty, &x),
            Prim::Rem => self.remainder(r, ty, &x),
            Prim::Mod if !signed => self.remainder(r, ty, &x),
            Prim::Min | Prim::Max => {
                let (a, b) = (&x[0], &x[1]);
                line!(
                    self,
                    "{out} = call {name} @llvm.{sign}{}.{}({name} {a}, {name} {b})",
                    p.name(),
                    suffix(ty)
                );
            }
            Prim::Neg => line!(self, "{out} = sub {name} zeroinitializer, {}", x[0]),
            Prim::Abs if signed => {
                line!(self, "{out} = call {name} @llvm.abs.{}({name} {}, i1 false)", suffix(ty), x[0]);
            }
            Prim::Abs | Prim::Floor | Prim::Ceil | Prim::Round | Prim::Trunc => {
                self.consts[r.0 as usize] = Some(x[0].clone());
            }
            Prim::Eq => line!(self, "{out} = icmp eq {name} {}, {}", x[0], x[1]),
            Prim::Lt => line!(self, "{out} = icmp {sign}lt {name} {}, {}", x[0], x[1]),
            Prim::Le => line!(self, "{out} = icmp {sign}le {name} {}, {}", x[0], x[1]),
            Prim::And | Prim::Or | Prim::Xor => line!(self, "{out} = {} {name} {}, {}", p.name(), x[0], x[1]),
            Prim::Not => line!(self, "{out} = xor {name} {}, {}", x[0], constant(ty, u64::MAX)),
            Prim::Shl | Prim::Shr => self.shift(r, p, ty, args),
            Prim::Select => self.select(r, &x),
            Prim::Mod | Prim::Pow | Prim::Sign => panic!("bug: {} should have been expanded", p.name()),
            Prim::Sqrt
            | Prim::Exp
            | Prim::Expm1
            | Prim::Log
            | Prim::Log1p
            | Prim::Sin
            | Prim::Cos
            | Prim::Tan => {
                panic!("bug: {} of integers", p.name())
            }
            Prim::Asin | Prim::Acos | Prim::Atan | Prim::Sinh | Prim::Cosh | Prim::Tanh | Prim::Asinh => {
                panic!("bug: {} of integers", p.name())
            }
            Prim::Acosh | Prim::Atanh | Prim::Erf | Prim::IsNan | Prim::IsInf => {
                panic!("bug: {} of integers", p.name())
            }
        }
    }

    /// Toward zero; division by zero gives 0, and the least value divided by -1 itself.
    fn divide(&mut self, r: Reg, ty: Ty, x: &[String]) {
        let (name, bools) = (ty_name(ty), ty_name(ty.with_dtype(DType::Bool)));
        let (zero, one) = (constant(ty, 0), constant(ty, 1));
        let [is_zero, safe, quotient] = [(); 3].map(|()| self.temporary());
        line!(self, "{is_zero} = icmp eq {name} {}, {zero}", x[1]);
        if !ty.dtype.is_signed() {
            line!(self, "{safe} = select {bools} {is_zero}, {name} {one}, {name} {}", x[1]);
            line!(self, "{quotient} = udiv {name} {}, {safe}", x[0]);
            line!(self, "%v{} = select {bools} {is_zero}, {name} {zero}, {name} {quotient}", r.0);
            return;
        }
        let [is_minus, unsafe_, negated, other] = [(); 4].map(|()| self.temporary());
        line!(self, "{is_minus} = icmp eq {name} {}, {}", x[1], constant(ty, u64::MAX));
        line!(self, "{unsafe_} = or {bools} {is_zero}, {is_minus}");
        line!(self, "{safe} = select {bools} {unsafe_}, {name} {one}, {name} {}", x[1]);
        line!(self, "{quotient} = sdiv {name} {}, {safe}", x[0]);
        line!(self, "{negated} = sub {name} {zero}, {}", x[0]);
        line!(self, "{other} = select {bools} {is_minus}, {name} {negated}, {name} {quotient}");
        line!(self, "%v{} = select {bools} {is_zero}, {name} {zero}, {name} {other}", r.0);
    }

    /// With the sign of the dividend; 0 for the divisors 0 and -1.
    fn remainder(&mut self, r: Reg, ty: Ty, x: &[String]) {
        let (name, bools) = (ty_name(ty), ty_name(ty.with_dtype(DType::Bool)));
        let [bad, safe] = [(); 2].map(|()| self.temporary());
        let sign = if ty.dtype.is_signed() { 's' } else { 'u' };
        let one = constant(ty, 1);
        if ty.dtype.is_signed() {
            let t = self.temporary();
            line!(self, "{t} = add {name} {}, {one}", x[1]);
            line!(self, "{bad} = icmp ule {name} {t}, {one}");
        } else {
            line!(self, "{bad} = icmp eq {name} {}, {}", x[1], constant(ty, 0));
        }
        line!(self, "{safe} = select {bools} {bad}, {name} {one}, {name} {}", x[1]);
        line!(self, "%v{} = {sign}rem {name} {}, {safe}", r.0, x[0]);
    }

    /// 0 where the distance is not below the width.
    fn shift(&mut self, r: Reg, p: Prim, ty: Ty, args: &[Reg]) {
        let (name, bools) = (ty_name(ty), ty_name(ty.with_dtype(DType::Bool)));
        let (x, distance) = (self.reg(args[0]), self.reg(args[1]));
        let instruction = match p {
            Prim::Shl => "shl",
            _ if ty.dtype.is_signed() => "ashr",
            _ => "lshr",
        };
        let width = u64::from(ty.dtype.bits());
        let literal = distance.trim_start_matches("splat (").trim_end_matches(')');
        let literal = literal.trim_start_matches(scalar_name(ty.dtype)).trim();
        if literal.parse::<u64>().is_ok_and(|n| n < width) {
            line!(self, "%v{} = {instruction} {name} {x}, {distance}", r.0);
            return;
        }
        let [inside, safe, shifted] = [(); 3].map(|()| self.temporary());
        line!(self, "{inside} = icmp ult {name} {distance}, {}", constant(ty, width));
        line!(self, "{safe} = select {bools} {inside}, {name} {distance}, {name} {}", constant(ty, 0));
        line!(self, "{shifted} = {instruction} {name} {x}, {safe}");
        line!(self, "%v{} = select {bools} {inside}, {name} {shifted}, {name} {}", r.0, constant(ty, 0));
    }
}
