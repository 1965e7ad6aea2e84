//! The builder: nests are written as Rust closures over expression handles.
//!
//! Every operation is appended to the current block when it is called; equal pure operations that are in
//! scope are written once. The builder is shared (`&Builder`), so loop bodies are plain closures:
//! ```
//! # use sardonyx_codegen::nest::Builder; use sardonyx_tensor::{DType, Dim};
//! let b = Builder::new("double");
//! let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
//! b.for_(0, 64, |i| b.store(y, b.grid() * 64 + i, b.load(x, b.grid() * 64 + i) * 2.0));
//! let nest = b.finish(Dim::from(16));
//! ```
use super::{Blocks, Buf, Buffer, Expr, LoopKind, Nest, Op, Operand, Place, Reg, RegInfo, Stmt, Ty, Worker};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Builds a [`Nest`].
pub struct Builder {
    name: String,
    pub(super) state: RefCell<State>,
    exact: Cell<bool>,
    grid_kind: Cell<LoopKind>,
    blocks: RefCell<Option<Blocks>>,
}

/// One block under construction and the pure operations it holds.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) stmts: Vec<Stmt>,
    known: HashMap<(Op, Ty, bool), Reg>,
}

pub(super) struct State {
    buffers: Vec<Buffer>,
    dims: Vec<Dim>,
    scratch: Dim,
    pub(super) vars: Vec<Ty>,
    pub(super) regs: Vec<RegInfo>,
    pub(super) defs: Vec<Option<Op>>,
    pub(super) frames: Vec<Frame>,
}

impl Builder {
    /// A builder of the kernel `name`, an identifier.
    pub fn new(name: &str) -> Builder {
        let state = State {
            buffers: Vec::new(),
            dims: Vec::new(),
            scratch: Dim::from(0),
            vars: Vec::new(),
            regs: Vec::new(),
            defs: Vec::new(),
            frames: vec![Frame::default()],
        };
        Builder {
            name: name.to_string(),
            state: RefCell::new(state),
            exact: Cell::new(false),
            grid_kind: Cell::new(LoopKind::Serial),
            blocks: RefCell::new(None),
        }
    }

    /// The nest, run for work items 0 to `grid`.
    pub fn finish(self, grid: impl Into<Dim>) -> Nest {
        let state = self.state.into_inner();
        let [root] = <[Frame; 1]>::try_from(state.frames).unwrap_or_else(|_| panic!("bug: open blocks"));
        let nest = Nest {
            name: self.name,
            buffers: state.buffers,
            dims: state.dims,
            grid: grid.into(),
            grid_kind: self.grid_kind.get(),
            scratch: state.scratch,
            blocks: self.blocks.into_inner(),
            vars: state.vars,
            regs: state.regs,
            body: root.stmts,
        };
        nest.verify().unwrap_or_else(|e| panic!("bug: {e}\n{nest}"));
        nest
    }

    /// The nest of a GPU whose work items 0 to `grid` are each run by a block of `threads` threads.
    pub fn finish_blocks(self, grid: impl Into<Dim>, threads: u32) -> Nest {
        let grid = grid.into();
        let blocks = Blocks { worker: Worker::Block, threads, count: grid.clone(), scratch: Dim::ZERO };
        self.set_blocks(Some(blocks));
        self.finish(grid)
    }

    pub(super) fn set_blocks(&self, blocks: Option<Blocks>) {
        *self.blocks.borrow_mut() = blocks;
    }

    /// Lets the work items of a range run as the iterations of a loop of this kind.
    pub fn set_grid_kind(&self, kind: LoopKind) {
        self.grid_kind.set(kind);
    }

    /// Runs `f`; the floating-point operations it builds round exactly as written.
    pub fn exactly<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = self.exact.replace(true);
        let result = f();
        self.exact.set(before);
        result
    }

    pub(super) fn set_exact(&self, exact: bool) {
        self.exact.set(exact);
    }

    // Buffers.

    /// The next argument, which the kernel reads.
    pub fn input(&self, name: &str, dtype: DType) -> Buf {
        self.buffer(name, dtype, Place::Input)
    }
    /// The next argument, which the kernel writes (and may read).
    pub fn output(&self, name: &str, dtype: DType) -> Buf {
        self.buffer(name, dtype, Place::Output)
    }
    /// `len` elements of scratch memory of the thread, 64-byte aligned; holds anything at first.
    pub fn scratch(&self, name: &str, dtype: DType, len: impl Into<Dim>) -> Buf {
        let offset = self.state.borrow().scratch.clone();
        let bytes = (len.into() * dtype.size() as i64).ceil_div(64) * 64;
        self.state.borrow_mut().scratch = offset.clone() + bytes;
        self.dim_slot(&offset);
        self.buffer(name, dtype, Place::Scratch { offset })
    }
    /// An array of `len` elements that the threads of a block share; holds anything at first.
    pub fn shared(&self, name: &str, dtype: DType, len: usize) -> Buf {
        self.buffer(name, dtype, Place::Shared { len })
    }
    /// An array of `len` elements of the work item; holds anything at first.
    pub fn local(&self, name: &str, dtype: DType, len: usize) -> Buf {
        self.buffer(name, dtype, Place::Local { len })
    }
    pub(super) fn buffer(&self, name: &str, dtype: DType, place: Place) -> Buf {
        let mut s = self.state.borrow_mut();
        s.buffers.push(Buffer { name: name.to_string(), dtype, place });
        Buf(s.buffers.len() as u32 - 1)
    }
    pub(super) fn set_scratch(&self, bytes: Dim) {
        self.state.borrow_mut().scratch = bytes;
    }
    /// The type of the buffer's elements.
    pub fn dtype(&self, buf: Buf) -> DType {
        self.state.borrow().buffers[buf.0 as usize].dtype
    }

    // Values.

    pub(crate) fn wrap(&self, reg: Reg) -> Expr<'_> {
        Expr { b: self, reg }
    }
    pub(super) fn new_reg(&self, ty: Ty, op: Option<Op>) -> Reg {
        let mut s = self.state.borrow_mut();
        s.regs.push(RegInfo { ty, exact: self.exact.get() });
        s.defs.push(op);
        Reg(s.regs.len() as u32 - 1)
    }
    /// Appends an operation as it stands; equal pure operations in scope are reused.
    pub(super) fn push(&self, ty: Ty, op: Op) -> Expr<'_> {
        let key = op.is_pure().then(|| (op.clone(), ty, self.exact.get()));
        if let Some(key) = &key {
            let s = self.state.borrow();
            if let Some(&reg) = s.frames.iter().rev().find_map(|f| f.known.get(key)) {
                drop(s);
                return self.wrap(reg);
            }
        }
        let reg = self.new_reg(ty, Some(op.clone()));
        let mut s = self.state.borrow_mut();
        let frame = s.frames.last_mut().expect("a block should be open");
        frame.stmts.push(Stmt::Let(reg, op));
        if let Some(key) = key {
            frame.known.insert(key, reg);
        }
        drop(s);
        self.wrap(reg)
    }
    /// A constant of a type: an integer or, for floats, its value.
    pub fn constant(&self, ty: Ty, value: impl Literal) -> Expr<'_> {
        self.push(ty, Op::Const(value.bits(ty.dtype)))
    }
    /// An index constant.
    pub fn int(&self, value: i64) -> Expr<'_> {
        self.constant(Ty::INDEX, value)
    }
    /// An `f32` constant.
    pub fn f32(&self, value: f64) -> Expr<'_> {
        self.constant(Ty::of(DType::F32), value)
    }
    /// A dimension, as an index.
    pub fn dim(&self, dim: &Dim) -> Expr<'_> {
        if let Some(value) = dim.known() {
            return self.int(value);
        }
        let slot = self.dim_slot(dim);
        self.push(Ty::INDEX, Op::Dim(slot as u32))
    }
    /// The place of a dimension among those passed at run time.
    fn dim_slot(&self, dim: &Dim) -> usize {
        let mut s = self.state.borrow_mut();
        let slot = s.dims.iter().position(|d| d == dim).unwrap_or(s.dims.len());
        if slot == s.dims.len() && !dim.is_known() {
            s.dims.push(dim.clone());
        }
        slot
    }
    /// The work item, an index.
    pub fn grid(&self) -> Expr<'_> {
        self.push(Ty::INDEX, Op::Grid)
    }
    /// The thread of the block, an index.
    pub fn thread(&self) -> Expr<'_> {
        self.push(Ty::INDEX, Op::Thread)
    }
    /// The coordinates of position `at` in row-major order of `shape`.
    pub fn unravel<'b>(&'b self, at: Expr<'b>, shape: &[Dim]) -> Vec<Expr<'b>> {
        let mut rest = at;
        let mut coordinates = Vec::with_capacity(shape.len());
        for (i, d) in shape.iter().enumerate().rev() {
            let d = self.dim(d);
            coordinates.push(if i == 0 { rest } else { rest.index_rem(d) });
            if i > 0 {
                rest = rest.index_div(d);
            }
        }
        coordinates.reverse();
        coordinates
    }
    /// A primitive, simplified where an operand is constant.
    pub fn prim<'b>(&'b self, p: Prim, args: &[Expr<'b>]) -> Expr<'b> {
        super::simplify::prim(self, p, args)
    }
    /// `a * b + c`, rounded once where the target can.
    pub fn fma<'b>(&'b self, a: Expr<'b>, b: impl Operand<'b>, c: impl Operand<'b>) -> Expr<'b> {
        let (b, c) = (b.expr(self, a.ty()), c.expr(self, a.ty()));
        let lanes = a.ty().lanes.max(b.ty().lanes).max(c.ty().lanes);
        let [a, b, c] = [a, b, c].map(|x| x.splat(lanes));
        assert!(a.ty() == b.ty() && a.ty() == c.ty(), "bug: fma of {:?}, {:?}, {:?}", a.ty(), b.ty(), c.ty());
        self.push(a.ty(), Op::Fma(a.reg, b.reg, c.reg))
    }
    /// `sum + a0·b0 + a1·b1 + a2·b2 + a3·b3` in each lane of `i32`s, the bytes of `a` unsigned and those of
    /// `b` signed.
    pub fn dot<'b>(&'b self, sum: Expr<'b>, a: Expr<'b>, b: Expr<'b>) -> Expr<'b> {
        self.push(sum.ty(), Op::Dot(sum.reg, a.reg, b.reg))
    }
    /// 0, 1, 2, … in the lanes.
    pub fn iota(&self, dtype: DType, lanes: u32) -> Expr<'_> {
        self.push(Ty { dtype, lanes }, Op::Iota)
    }
    /// A mask whose first `n` lanes are true, `n` an index (which may exceed `lanes`).
    pub fn first_lanes<'b>(&'b self, n: impl Operand<'b>, lanes: u32) -> Expr<'b> {
        let n = n.expr(self, Ty::INDEX).min(i64::from(lanes)).cast(DType::I32);
        self.iota(DType::I32, lanes).lt(n)
    }
    /// The lanes `picks` of the concatenation of two vectors.
    pub fn shuffle<'b>(&'b self, a: Expr<'b>, b: Expr<'b>, picks: &[u32]) -> Expr<'b> {
        assert_eq!(a.ty(), b.ty(), "bug: shuffle of different types");
        self.push(a.ty().with_lanes(picks.len() as u32), Op::Shuffle(a.reg, b.reg, picks.to_vec()))
    }

    // Memory.

    /// One element.
    pub fn load<'b>(&'b self, buf: Buf, index: impl Operand<'b>) -> Expr<'b> {
        self.load_lanes(buf, index, 1)
    }
    /// `lanes` consecutive elements from `index` on.
    pub fn load_lanes<'b>(&'b self, buf: Buf, index: impl Operand<'b>, lanes: u32) -> Expr<'b> {
        let index = index.expr(self, Ty::INDEX).reg;
        self.push(Ty::of(self.dtype(buf)).with_lanes(lanes), Op::Load { buf, index, mask: None })
    }
    /// Consecutive elements from `index` on, one per lane of the mask; 0 where it is false.
    pub fn load_masked<'b>(&'b self, buf: Buf, index: impl Operand<'b>, mask: Expr<'b>) -> Expr<'b> {
        let index = index.expr(self, Ty::INDEX).reg;
        let ty = Ty::of(self.dtype(buf)).with_lanes(mask.ty().lanes);
        self.push(ty, Op::Load { buf, index, mask: Some(mask.reg) })
    }
    /// Stores the lanes of `value` from `index` on; a literal takes the buffer's type.
    pub fn store<'b>(&'b self, buf: Buf, index: impl Operand<'b>, value: impl Operand<'b>) {
        let (index, value) = (index.expr(self, Ty::INDEX).reg, value.expr(self, Ty::of(self.dtype(buf))).reg);
        self.stmt(Stmt::Store { buf, index, value, mask: None });
    }
    /// Stores the lanes of `value` whose mask holds.
    pub fn store_masked<'b>(&'b self, buf: Buf, index: impl Operand<'b>, value: Expr<'b>, mask: Expr<'b>) {
        let index = index.expr(self, Ty::INDEX).reg;
        self.stmt(Stmt::Store { buf, index, value: value.reg, mask: Some(mask.reg) });
    }
    /// Hints that the cache line of an element will be read soon.
    pub fn prefetch<'b>(&'b self, buf: Buf, index: impl Operand<'b>) {
        let index = index.expr(self, Ty::INDEX).reg;
        self.stmt(Stmt::Prefetch { buf, index });
    }
}

/// A Rust number that stands for a constant.
pub trait Literal: Copy {
    /// The bits of [`Op::Const`] for an element type.
    fn bits(self, dtype: DType) -> u64;
}
impl Literal for i64 {
    fn bits(self, dtype: DType) -> u64 {
        if dtype.is_float() { (self as f64).bits(dtype) } else { self as u64 }
    }
}
impl Literal for f64 {
    fn bits(self, dtype: DType) -> u64 {
        match dtype {
            DType::F64 => return self.to_bits(),
            DType::F32 => return f64::from(self as f32).to_bits(),
            _ => {}
        }
        if dtype == DType::Bool {
            return u64::from(self != 0.0);
        }
        let (least, greatest) = dtype.int_range();
        (self as i128).clamp(least, greatest) as u64
    }
}

/// Operands of a primitive, ready for [`Op::Prim`].
pub(super) fn regs(args: &[Expr<'_>]) -> SmallVec<[Reg; 3]> {
    args.iter().map(|a| a.reg).collect()
}
