//! The invariants of a nest.
//!
//! - A register is assigned once, before its uses, in a block that encloses them.
//! - Operands have the types their operation asks for; indices and loop bounds are scalar `i64`,
//!   conditions scalar `bool`, masks have a lane per element.
//! - Threads of a block, shared arrays, barriers and reductions over waves occur only where a block runs an item;
//!   barriers and such reductions stand where all threads of the block come: no condition or loop bound around
//!   them depends on the thread, on variables, or on memory that is written.
//! - A stored value has the register type of its buffer's elements; inputs are not written.
use super::{Nest, Op, Place, Reg, Stmt, Ty, Worker};
use sardonyx_tensor::DType;

impl Nest {
    /// Checks the invariants; the error names the statement.
    pub fn verify(&self) -> Result<(), String> {
        let together = self.blocks.as_ref().is_some_and(|b| b.worker == Worker::Block);
        if !together && self.shared_bytes() > 0 {
            return Err(format!("shared arrays without blocks in nest {}", self.name));
        }
        let regs = self.regs.len();
        let mut v = Verifier {
            nest: self,
            seen: vec![false; regs],
            scope: Vec::new(),
            uniform: vec![false; regs],
            together,
        };
        v.block(&self.body)
    }
}

struct Verifier<'a> {
    nest: &'a Nest,
    seen: Vec<bool>,
    scope: Vec<Reg>,
    /// Whether a register is the same in all threads of a block.
    uniform: Vec<bool>,
    /// Whether all threads of a block are here.
    together: bool,
}

impl Verifier<'_> {
    fn block(&mut self, block: &[Stmt]) -> Result<(), String> {
        let depth = self.scope.len();
        self.open(block)?;
        self.close(depth);
        Ok(())
    }
    fn open(&mut self, block: &[Stmt]) -> Result<(), String> {
        block.iter().try_for_each(|s| self.stmt(s).map_err(|e| format!("{e} in nest {}", self.nest.name)))
    }
    fn close(&mut self, depth: usize) {
        for r in self.scope.drain(depth..) {
            self.seen[r.0 as usize] = false;
        }
    }
    fn define(&mut self, r: Reg) -> Result<(), String> {
        if std::mem::replace(&mut self.seen[r.0 as usize], true) {
            return Err(format!("v{} is assigned twice", r.0));
        }
        self.scope.push(r);
        Ok(())
    }
    fn expect(&self, r: Reg, ty: Ty) -> Result<(), String> {
        self.used(r)?;
        let found = self.nest.ty(r);
        if found == ty { Ok(()) } else { Err(format!("v{} is {found}, not {ty}", r.0)) }
    }
    fn used(&self, r: Reg) -> Result<(), String> {
        if self.seen[r.0 as usize] { Ok(()) } else { Err(format!("v{} is used out of its block", r.0)) }
    }
    /// Runs `f` where only threads come that these registers bring.
    fn under(
        &mut self,
        conditions: &[Reg],
        f: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let before = self.together;
        self.together &= conditions.iter().all(|c| self.uniform[c.0 as usize]);
        let result = f(self);
        self.together = before;
        result
    }
    fn is_uniform(&self, op: &Op) -> bool {
        let own = match op {
            Op::Thread | Op::Get(_) | Op::WaveReduce(..) => false,
            Op::Load { buf, .. } => self.nest.buffer(*buf).place == Place::Input,
            _ => true,
        };
        let mut all = own;
        op.visit(|r| all &= self.uniform[r.0 as usize]);
        all
    }
    fn mask(&self, mask: Option<Reg>, lanes: u32) -> Result<(), String> {
        mask.map_or(Ok(()), |m| self.expect(m, Ty::BOOL.with_lanes(lanes)))
    }

    fn stmt(&mut self, s: &Stmt) -> Result<(), String> {
        match s {
            Stmt::Let(r, op) => {
                self.op(self.nest.ty(*r), op)?;
                self.uniform[r.0 as usize] = self.is_uniform(op);
                self.define(*r)
            }
            Stmt::Set(v, x) => self.expect(*x, self.nest.vars[v.0 as usize]),
            Stmt::Store { buf, index, value, mask } => {
                let buffer = self.nest.buffer(*buf);
                if buffer.place == Place::Input {
                    return Err(format!("the input {} is written", buffer.name));
                }
                self.expect(*index, Ty::INDEX)?;
                let lanes = self.nest.ty(*value).lanes;
                self.expect(*value, Ty::of(buffer.dtype).with_lanes(lanes))?;
                self.mask(*mask, lanes)
            }
            Stmt::Prefetch { index, .. } => self.expect(*index, Ty::INDEX),
            Stmt::For { var, begin, end, body, .. } => {
                self.expect(*begin, Ty::INDEX)?;
                self.expect(*end, Ty::INDEX)?;
                let depth = self.scope.len();
                self.define(*var)?;
                self.uniform[var.0 as usize] =
                    [begin, end].into_iter().all(|bound| self.uniform[bound.0 as usize]);
                self.under(&[*begin, *end], |v| v.open(body))?;
                self.close(depth);
                Ok(())
            }
            Stmt::If { cond, then, els } => {
                self.expect(*cond, Ty::BOOL)?;
                self.under(&[*cond], |v| {
                    v.block(then)?;
                    v.block(els)
                })
            }
            Stmt::While { head, cond, body } => {
                let depth = self.scope.len();
                // Threads leave the loop at different times, so that nothing in it is met by all.
                let before = std::mem::replace(&mut self.together, false);
                self.open(head)?;
                self.expect(*cond, Ty::BOOL)?;
                self.open(body)?;
                self.together = before;
                self.close(depth);
                Ok(())
            }
            Stmt::Barrier if !self.together => Err("a barrier that not all threads meet".into()),
            Stmt::Barrier | Stmt::Comment(_) => Ok(()),
        }
    }

    fn op(&self, ty: Ty, op: &Op) -> Result<(), String> {
        let mut result = Ok(());
        op.visit(|r| result = result.clone().and(self.used(r)));
        result?;
        match op {
            Op::Dim(_) | Op::Grid | Op::Thread if ty != Ty::INDEX => Err("an index of another type".into()),
            Op::Thread if self.nest.blocks.as_ref().is_none_or(|b| b.worker == Worker::Thread) => {
                Err("a thread of no block".into())
            }
            Op::WaveReduce(..) if !self.together => Err("a reduction that not all threads meet".into()),
            Op::WaveReduce(_, a) => self.expect(*a, ty.with_lanes(1)),
            Op::Fma(a, b, c) => [a, b, c].into_iter().try_for_each(|&r| self.expect(r, ty)),
            Op::Dot(a, b, c) => {
                [a, b, c].into_iter().try_for_each(|&r| self.expect(r, ty.with_dtype(DType::I32)))
            }
            Op::Bitcast(a) if bytes(self.nest.ty(*a)) != bytes(ty) => {
                Err(format!("the bits of {} as {ty}", self.nest.ty(*a)))
            }
            Op::CastInside(a) if !self.nest.ty(*a).dtype.is_float() || ty.dtype.size() > 2 => {
                Err(format!("{ty} of {} in its range", self.nest.ty(*a)))
            }
            Op::IndexDiv(a, b) | Op::IndexRem(a, b) => {
                [a, b].into_iter().try_for_each(|&r| self.expect(r, Ty::INDEX))
            }
            Op::Splat(a) => self.expect(*a, ty.with_lanes(1)),
            Op::Load { index, mask, buf } => {
                self.expect(*index, Ty::INDEX)?;
                if Ty::of(self.nest.buffer(*buf).dtype).dtype != ty.dtype {
                    return Err(format!("a load of {ty} from {}", self.nest.buffer(*buf).name));
                }
                self.mask(*mask, ty.lanes)
            }
            Op::Reduce(_, a) if self.nest.ty(*a).dtype != ty.dtype => {
                Err("a reduction to another type".into())
            }
            Op::Narrow(t, a) => {
                if *t == DType::Bool {
                    return Err("bool is not narrow".into());
                }
                self.expect(*a, ty)
            }
            _ => Ok(()),
        }
    }
}

fn bytes(ty: Ty) -> usize {
    ty.dtype.size() * ty.lanes as usize
}
