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
            let sign = if to.dtype.is_signed() { 's' } else { 'u' };
            line!(
                self,
                "{out} = call {target} @llvm.fpto{sign}i.sat.{}.{}({source})",
                suffix(to),
                suffix(from)
            );
            return;
        }
        if ty_name(from) == target {
            self.consts[r.0 as usize] = Some(self.reg(a));
            return;
        }
        line!(self, "{out} = {} {source} to {target}", instruction(from, to));
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
