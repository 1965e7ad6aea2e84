//! Dot products of bytes as LLVM text.
//!
//! With VNNI a vector is one instruction. Without it, even and odd bytes are widened to 16 bits, whose
//! products fit 32 (255·128 < 2^15 · 2^15), and `pmaddwd` adds neighbouring products: no step saturates.
//! Vectors of other sizes are written out.
use super::{Function, constant, line, ty_name};
use crate::nest::{Reg, Ty};
use sardonyx_tensor::DType;
use std::fmt::Write;

impl Function<'_> {
    pub(super) fn dot(&mut self, r: Reg, sum: Reg, a: Reg, b: Reg) {
        let ty = self.ty(r);
        let bytes = ty.lanes * 4;
        let [sum, a, b] = [sum, a, b].map(|x| self.reg(x));
        let name = ty_name(ty);
        let whole = matches!(bytes, 16 | 32 | 64) && bytes <= self.target.vector_bytes;
        if whole && self.target.vnni {
            line!(
                self,
                "%v{} = call {name} @llvm.x86.avx512.vpdpbusd.{}({name} {sum}, {name} {a}, {name} {b})",
                r.0,
                bytes * 8
            );
        } else if whole {
            let products = self.pairs(ty, &a, &b);
            line!(self, "%v{} = add {name} {sum}, {products}", r.0);
        } else {
            let products = self.bytewise(ty, &a, &b);
            line!(self, "%v{} = add {name} {sum}, {products}", r.0);
        }
    }

    /// The sums of four products through 16-bit products of even and of odd bytes.
    fn pairs(&mut self, ty: Ty, a: &str, b: &str) -> String {
        let half = Ty { dtype: DType::I16, lanes: ty.lanes * 2 };
        let (words, halves) = (ty_name(ty), ty_name(half));
        let (eight, low) = (constant(half, 8), constant(half, 0xff));
        let [x, y, a0, a1, left, b0, b1, even, odd, all] = [(); 10].map(|()| self.temporary());
        line!(self, "{x} = bitcast {words} {a} to {halves}");
        line!(self, "{y} = bitcast {words} {b} to {halves}");
        line!(self, "{a0} = and {halves} {x}, {low}");
        line!(self, "{a1} = lshr {halves} {x}, {eight}");
        line!(self, "{left} = shl {halves} {y}, {eight}");
        line!(self, "{b0} = ashr {halves} {left}, {eight}");
        line!(self, "{b1} = ashr {halves} {y}, {eight}");
        let intrinsic = match ty.lanes {
            4 => "sse2.pmadd.wd",
            8 => "avx2.pmadd.wd",
            _ => "avx512.pmaddw.d.512",
        };
        line!(self, "{even} = call {words} @llvm.x86.{intrinsic}({halves} {a0}, {halves} {b0})");
        line!(self, "{odd} = call {words} @llvm.x86.{intrinsic}({halves} {a1}, {halves} {b1})");
        line!(self, "{all} = add {words} {even}, {odd}");
        all
    }

    /// The sums of four products, byte by byte.
    fn bytewise(&mut self, ty: Ty, a: &str, b: &str) -> String {
        let name = ty_name(ty);
        let mut total = constant(ty, 0);
        for byte in 0..4u64 {
            let [x, y, p, s] = [(); 4].map(|()| self.temporary());
            let (x, y) = (self.byte(ty, a, byte, "lshr", x), self.byte(ty, b, byte, "ashr", y));
            line!(self, "{p} = mul {name} {x}, {y}");
            line!(self, "{s} = add {name} {total}, {p}");
            total = s;
        }
        total
    }

    /// Byte `byte` of every lane, extended by a shift to the right.
    fn byte(&mut self, ty: Ty, from: &str, byte: u64, extend: &str, out: String) -> String {
        let (name, t) = (ty_name(ty), self.temporary());
        line!(self, "{t} = shl {name} {from}, {}", constant(ty, 24 - 8 * byte));
        line!(self, "{out} = {extend} {name} {t}, {}", constant(ty, 24));
        out
    }
}
