//! Conversions as LLVM text.
use super::{Function, constant, line, ty_name};
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
        match to.dtype {
            DType::I64 | DType::I32 => self.saturated(&out, 's', from, to, source),
            DType::U64 => {
                let [negative, signed, unsigned] = [(); 3].map(|()| self.temporary());
                let bools = ty_name(to.with_dtype(DType::Bool));
                line!(self, "{negative} = fcmp olt {source}, zeroinitializer");
                self.saturated(&signed, 's', from, to, source);
                self.saturated(&unsigned, 'u', from, to, source);
                line!(self, "{out} = select {bools} {negative}, {target} {signed}, {target} {unsigned}");
            }
            _ => {
                let wide = to.with_dtype(if wide_bits == 64 { DType::I64 } else { DType::I32 });
                let t = self.temporary();
                self.saturated(&t, 's', from, wide, source);
                line!(self, "{out} = trunc {} {t} to {target}", ty_name(wide));
            }
        }
    }

    /// Toward zero and saturating, NaN as 0. It is written out, because LLVM 19 does not vectorize loops
    /// with `fptosi.sat`, and takes vectors of it apart.
    fn saturated(&mut self, out: &str, sign: char, from: Ty, to: Ty, source: &str) {
        let (float, int, bools) = (ty_name(from), ty_name(to), ty_name(from.with_dtype(DType::Bool)));
        let range = |signed: DType, unsigned: DType| if sign == 's' { signed } else { unsigned }.int_range();
        let (least, greatest) = match to.dtype.size() {
            8 => range(DType::I64, DType::U64),
            _ => range(DType::I32, DType::U32),
        };
        // Both bounds are powers of two: exact in every float type.
        let (low, high) =
            (constant(from, (least as f64).to_bits()), constant(from, ((greatest + 1) as f64).to_bits()));
        let zero = constant(from, 0);
        let [above, below, inside, safe, x, raised] = [(); 6].map(|()| self.temporary());
        line!(self, "{above} = fcmp oge {source}, {high}");
        line!(self, "{below} = fcmp olt {source}, {low}");
        line!(self, "{inside} = fcmp oge {source}, {low}");
        line!(self, "{safe} = xor {bools} {above}, {inside}");
        line!(self, "{x} = select {bools} {safe}, {source}, {float} {zero}");
        let raw = self.temporary();
        line!(self, "{raw} = fpto{sign}i {float} {x} to {int}");
        let (least, greatest) = (constant(to, least as u64), constant(to, greatest as u64));
        line!(self, "{raised} = select {bools} {above}, {int} {greatest}, {int} {raw}");
        line!(self, "{out} = select {bools} {below}, {int} {least}, {int} {raised}");
    }

    /// Toward zero, of a float in the range of a narrow integer; NaN as 0.
    pub(super) fn cast_inside(&mut self, r: Reg, a: Reg) {
        let (from, to) = (self.ty(a), self.ty(r));
        let (float, source) = (ty_name(from), self.reg(a));
        let wide = to.with_dtype(DType::I32);
        let (int, bools) = (ty_name(wide), ty_name(from.with_dtype(DType::Bool)));
        let [number, raw, kept] = [(); 3].map(|()| self.temporary());
        line!(self, "{number} = fcmp ord {float} {source}, {source}");
        line!(self, "{raw} = fptosi {float} {source} to {int}");
        line!(self, "{kept} = select {bools} {number}, {int} {raw}, {int} {}", constant(wide, 0));
        line!(self, "%v{} = trunc {int} {kept} to {}", r.0, ty_name(to));
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
