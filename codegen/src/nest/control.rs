//! Loops, branches and variables of a nest under construction.
use super::build::Frame;
use super::{Builder, Expr, LoopKind, Op, Operand, Stmt, Ty, Var};

/// A mutable variable of a nest under construction.
#[derive(Clone, Copy)]
pub struct Variable<'b> {
    pub(super) b: &'b Builder,
    pub(super) var: Var,
}

impl Builder {
    /// A variable with this first value.
    pub fn var<'b>(&'b self, value: Expr<'b>) -> Variable<'b> {
        let v = self.new_var(value.ty());
        v.set(value);
        v
    }
    pub(super) fn new_var(&self, ty: Ty) -> Variable<'_> {
        let mut s = self.state.borrow_mut();
        s.vars.push(ty);
        Variable { b: self, var: Var(s.vars.len() as u32 - 1) }
    }
    pub(super) fn stmt(&self, s: Stmt) {
        self.state.borrow_mut().frames.last_mut().expect("a block should be open").stmts.push(s);
    }
    pub(super) fn block<T>(&self, f: impl FnOnce() -> T) -> (Vec<Stmt>, T) {
        self.state.borrow_mut().frames.push(Frame::default());
        let result = f();
        let frame = self.state.borrow_mut().frames.pop().expect("a block should be open");
        (frame.stmts, result)
    }
    /// A serial loop over `begin..end`.
    pub fn for_<'b>(&'b self, begin: impl Operand<'b>, end: impl Operand<'b>, f: impl FnOnce(Expr<'b>)) {
        self.for_step(LoopKind::Serial, begin, end, 1, f);
    }
    /// A loop over `begin..end` whose iterations are independent.
    pub fn vectorize<'b>(&'b self, begin: impl Operand<'b>, end: impl Operand<'b>, f: impl FnOnce(Expr<'b>)) {
        self.for_step(LoopKind::Vectorize, begin, end, 1, f);
    }
    /// A loop over `begin..end` that accumulates in variables, in any order.
    pub fn reduce<'b>(&'b self, begin: impl Operand<'b>, end: impl Operand<'b>, f: impl FnOnce(Expr<'b>)) {
        self.for_step(LoopKind::Reduce, begin, end, 1, f);
    }
    /// A loop over `begin`, `begin + step`, … below `end`; a single iteration is written without a loop.
    pub fn for_step<'b>(
        &'b self,
        kind: LoopKind,
        begin: impl Operand<'b>,
        end: impl Operand<'b>,
        step: i64,
        f: impl FnOnce(Expr<'b>),
    ) {
        assert!(step > 0, "bug: a loop step of {step}");
        let (begin, end) = (begin.expr(self, Ty::INDEX), end.expr(self, Ty::INDEX));
        if let (Some(first), Some(bound)) = (begin.as_int(), end.as_int()) {
            if first >= bound {
                return;
            }
            if bound - first <= step {
                return f(begin);
            }
        }
        let var = self.new_reg(Ty::INDEX, None);
        let (body, ()) = self.block(|| f(self.wrap(var)));
        self.stmt(Stmt::For { var, begin: begin.reg, end: end.reg, step, kind, body });
    }
    /// Runs `then` if `cond` holds.
    pub fn if_<'b>(&'b self, cond: Expr<'b>, then: impl FnOnce()) {
        self.if_else(cond, then, || {});
    }
    /// Runs `then` if `cond` holds, else `els`.
    pub fn if_else<'b>(&'b self, cond: Expr<'b>, then: impl FnOnce(), els: impl FnOnce()) {
        match cond.as_int() {
            Some(0) => els(),
            Some(_) => then(),
            None => {
                let (then, ()) = self.block(then);
                let (els, ()) = self.block(els);
                self.stmt(Stmt::If { cond: cond.reg, then, els });
            }
        }
    }
    /// Runs `body` as long as `cond` holds.
    pub fn while_<'b>(&'b self, cond: impl FnOnce() -> Expr<'b>, body: impl FnOnce()) {
        let (head, cond) = self.block(cond);
        let (body, ()) = self.block(body);
        self.stmt(Stmt::While { head, cond: cond.reg, body });
    }
    /// Waits until every thread of the block is here.
    pub fn barrier(&self) {
        self.stmt(Stmt::Barrier);
    }
    /// A line for the reader of dumps.
    pub fn comment(&self, text: &str) {
        self.stmt(Stmt::Comment(text.to_string()));
    }
}

impl<'b> Variable<'b> {
    /// The current value.
    pub fn get(self) -> Expr<'b> {
        let ty = self.b.state.borrow().vars[self.var.0 as usize];
        self.b.push(ty, Op::Get(self.var))
    }
    /// Sets the value; a literal takes the variable's type.
    pub fn set(self, value: impl Operand<'b>) {
        let ty = self.b.state.borrow().vars[self.var.0 as usize];
        let value = value.expr(self.b, ty).splat(ty.lanes);
        assert_eq!(value.ty(), ty, "bug: a variable of another type");
        self.b.stmt(Stmt::Set(self.var, value.reg));
    }
    /// Replaces the value by a function of it.
    pub fn update(self, f: impl FnOnce(Expr<'b>) -> Expr<'b>) {
        self.set(f(self.get()));
    }
    /// Adds to the value.
    pub fn add(self, x: impl Operand<'b>) {
        self.update(|v| v + x);
    }
    /// Adds a product to the value.
    pub fn add_product(self, a: Expr<'b>, b: impl Operand<'b>) {
        self.update(|v| self.b.fma(a, b, v));
    }
}
