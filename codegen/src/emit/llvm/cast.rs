//! Conversions as LLVM text.
use super::{Function, line, suffix, ty_name};
use crate::nest::{Reg, Ty};
use sardonyx_tensor::DType;
use std::fmt::Write;

impl Function<'_> {
    pub(super) fn cast(&mut self, r: Reg, a: Reg) {
        let (from, to) = (self.ty(a), self.ty(r));
        let (source, target) = (format!("{} {}", ty_name(from), self.reg(a)), ty_name(to));
        let out = format!("%v{}", r.0);
        if from.dtype.is_float() && !to.dtype.is_float() {
            return self.integer_of(r, from, to, &source);
        }
        if ty_name(from) == target {
            self.consts[r.0 as usize] = Some(self.reg(a));
            return;
        }
        line!(self, "{out} = {} {source} to {target}", instruction(from, to));
    }

    /// Toward zero. What does not fit wraps, as numpy's and ONNX Runtime's conversions do on x86: it goes
    /// through a wider integer, where it saturates.
    fn integer_of(&mut self, r: Reg, from: Ty, to: Ty, source: &str) {
        let (out, target, wide_bits) =
            (format!("%v{}", r.0), ty_name(to), if to.dtype == DType::U32 { 64 } else { 32 });
        let convert = |sign: char, ty: Ty| {
            format!("call {} @llvm.fpto{sign}i.sat.{}.{}({source})", ty_name(ty), suffix(ty), suffix(from))
        };
        match to.dtype {
            DType::I64 | DType::I32 => line!(self, "{out} = {}", convert('s', to)),
            DType::U64 => {
                let [negative, signed, unsigned] = [(); 3].map(|()| self.temporary());
                let bools = ty_name(to.with_dtype(DType::Bool));
                line!(self, "{negative} = fcmp olt {source}, zeroinitializer");
                line!(self, "{signed} = {}", convert('s', to));
                line!(self, "{unsigned} = {}", convert('u', to));
                line!(self, "{out} = select {bools} {negative}, {target} {signed}, {target} {unsigned}");
            }
            _ => {
                let wide = to.with_dtype(if wide_bits == 64 { DType::I64 } else { DType::I32 });
                let t = self.temporary();
                line!(self, "{t} = {}", convert('s', wide));
                line!(self, "{out} = trunc {} {t} to {target}", ty_name(wide));
            }
        }
    }

    /// The value rounded to a narrow type; only `f16` is left by `math::expand`.
    pub(super) fn narrow(&mut self, r: Reg, dtype: DType, a: Reg) {
        assert_eq!(dtype, DType::F16, "bug: {dtype} should have been expanded");
        let ty = self.ty(r);
        let (name, t) = (ty_name(ty), self.temporary());
        let half = ty_name(Ty { dtype: DType::F16, ..ty });
        line!(self, "{t} = fptrunc {name} {} to {half}", self.reg(a));
        line!(self, "%v{} = fpext {half} {t} to {name}", r.0);
    }
}

fn instruction(from: Ty, to: Ty) -> &'static str {
    match (from.dtype.is_float(), to.dtype.is_float()) {
        (true, _) => {
            if to.dtype == DType::F64 {
                "fpext"
            } else {
                "fptrunc"
            }
        }
        (false, true) => {
            if from.dtype.is_signed() {
                "sitofp"
            } else {
                "uitofp"
            }
        }
        (false, false) if to.dtype.bits() < from.dtype.bits() => "trunc",
        (false, false) => {
            if from.dtype.is_signed() {
                "sext"
            } else {
                "zext"
            }
        }
    }
}
