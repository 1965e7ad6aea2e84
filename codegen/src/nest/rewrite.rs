//! Rebuilding a nest with some of its operations replaced by others.
use super::{Builder, Expr, Nest, Op, Reg, Stmt, Ty};
use sardonyx_tensor::DType;
use std::collections::HashMap;

/// What a rewrite replaces; each returns `None` to keep what stands.
pub(crate) struct Rules<'a> {
    /// The element type under which a buffer of this type is accessed.
    pub dtype: &'a dyn Fn(DType) -> DType,
    /// An operation whose operands are of the new nest; for loads, after the buffer has its new type.
    pub op: &'a dyn for<'b> Fn(&'b Builder, Ty, &Op) -> Option<Expr<'b>>,
    /// The value of a load from a buffer that had this type, given the element now loaded.
    pub load: &'a dyn for<'b> Fn(&'b Builder, DType, Expr<'b>) -> Option<Expr<'b>>,
    /// The element to store into a buffer that had this type.
    pub store: &'a dyn for<'b> Fn(&'b Builder, DType, Expr<'b>) -> Option<Expr<'b>>,
}

/// The nest with its operations replaced.
pub(crate) fn rewrite(nest: &Nest, rules: &Rules<'_>) -> Nest {
    let b = Builder::new(&nest.name);
    for buffer in &nest.buffers {
        b.buffer(&buffer.name, (rules.dtype)(buffer.dtype), buffer.place.clone());
    }
    b.set_scratch(nest.scratch.clone());
    b.set_grid_kind(nest.grid_kind);
    b.set_blocks(nest.blocks.clone());
    for &ty in &nest.vars {
        b.new_var(ty);
    }
    for dim in &nest.dims {
        b.dim(dim);
    }
    let mut replay = Replay { nest, rules, b: &b, regs: vec![None; nest.regs.len()], loaded: HashMap::new() };
    replay.block(&nest.body);
    b.finish(nest.grid.clone())
}

struct Replay<'a, 'b> {
    nest: &'a Nest,
    rules: &'a Rules<'a>,
    b: &'b Builder,
    regs: Vec<Option<Reg>>,
    /// The elements as they were loaded, and their type, by what a rule made of them.
    loaded: HashMap<Reg, (Expr<'b>, DType)>,
}

impl<'b> Replay<'_, 'b> {
    fn reg(&self, old: Reg) -> Reg {
        self.regs[old.0 as usize].expect("a register should be assigned before it is used")
    }
    fn expr(&self, old: Reg) -> Expr<'b> {
        self.b.wrap(self.reg(old))
    }
    fn block(&mut self, block: &[Stmt]) {
        block.iter().for_each(|s| self.stmt(s));
    }
    fn inner(&mut self, block: &[Stmt]) -> Vec<Stmt> {
        let b = self.b;
        b.block(|| self.block(block)).0
    }

    fn stmt(&mut self, s: &Stmt) {
        let b = self.b;
        let s = match s {
            Stmt::Let(r, op) => return self.assign(*r, op),
            Stmt::Set(v, x) => Stmt::Set(*v, self.reg(*x)),
            Stmt::Store { buf, index, value, mask } => {
                let (value, index) = (self.expr(*value), self.reg(*index));
                let narrowed = self.narrowed(self.nest.buffer(*buf).dtype, value);
                Stmt::Store { buf: *buf, index, value: narrowed.reg, mask: mask.map(|m| self.reg(m)) }
            }
            Stmt::Prefetch { buf, index } => Stmt::Prefetch { buf: *buf, index: self.reg(*index) },
            Stmt::For { var, begin, end, step, kind, body } => {
                let (begin, end) = (self.reg(*begin), self.reg(*end));
                let new = b.new_reg(Ty::INDEX, None);
                self.regs[var.0 as usize] = Some(new);
                Stmt::For { var: new, begin, end, step: *step, kind: *kind, body: self.inner(body) }
            }
            Stmt::If { cond, then, els } => {
                Stmt::If { cond: self.reg(*cond), then: self.inner(then), els: self.inner(els) }
            }
            Stmt::While { head, cond, body } => {
                let (head, cond) = b.block(|| {
                    self.block(head);
                    self.reg(*cond)
                });
                Stmt::While { head, cond, body: self.inner(body) }
            }
            Stmt::Barrier => Stmt::Barrier,
            Stmt::Comment(text) => Stmt::Comment(text.clone()),
        };
        b.stmt(s);
    }

    /// The element to store: one that was loaded from the same type is stored as it was.
    fn narrowed(&self, dtype: DType, value: Expr<'b>) -> Expr<'b> {
        match self.loaded.get(&value.reg) {
            Some(&(raw, of)) if of == dtype => raw,
            _ => (self.rules.store)(self.b, dtype, value).unwrap_or(value),
        }
    }

    fn assign(&mut self, r: Reg, op: &Op) {
        let (b, info) = (self.b, self.nest.regs[r.0 as usize]);
        let mapped = op.map(|r| self.reg(r));
        b.set_exact(info.exact);
        let new = match op {
            Op::Load { buf, .. } => {
                let dtype = self.nest.buffer(*buf).dtype;
                let raw = b.push(Ty::of((self.rules.dtype)(dtype)).with_lanes(info.ty.lanes), mapped);
                let value = (self.rules.load)(b, dtype, raw).unwrap_or(raw);
                self.loaded.insert(value.reg, (raw, dtype));
                value
            }
            Op::Dim(slot) => b.dim(&self.nest.dims[*slot as usize]),
            _ => (self.rules.op)(b, info.ty, &mapped).unwrap_or_else(|| b.push(info.ty, mapped)),
        };
        b.set_exact(false);
        self.regs[r.0 as usize] = Some(new.reg);
    }
}
