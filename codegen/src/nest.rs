//! Nest: the loop language that gives every kernel its meaning on every target.
//!
//! A nest is a list of statements over typed registers, run once per work item of a one-dimensional grid.
//! A register is assigned once; mutable state lives in variables and buffers. Pure operations are printed
//! where they are used, effects (loads, reads of variables, stores) keep their order.
//! Nests are built with [`Builder`], printed by `Display`, and turned into text by `emit`.
mod build;
mod control;
mod expr;
mod inline;
mod print;
mod rewrite;
mod simplify;
#[cfg(test)]
mod tests;
mod verify;

pub use build::{Builder, Literal};
pub use control::Variable;
pub use expr::{Expr, Operand};
pub(crate) use rewrite::{Rules, rewrite};

use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};
use smallvec::SmallVec;

/// The type of a register: `lanes` values of one element type.
///
/// Registers hold `bool`, integers of 8 to 64 bits, `f32` and `f64`. Narrower types exist in memory only:
/// a load widens them, a store narrows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ty {
    /// The element type.
    pub dtype: DType,
    /// The number of lanes; 1 for a scalar.
    pub lanes: u32,
}

impl Ty {
    /// The type of indices.
    pub const INDEX: Ty = Ty { dtype: DType::I64, lanes: 1 };
    /// The type of conditions.
    pub const BOOL: Ty = Ty { dtype: DType::Bool, lanes: 1 };

    /// The register type that holds one element of `dtype`.
    pub fn of(dtype: DType) -> Ty {
        Ty { dtype: register_dtype(dtype), lanes: 1 }
    }
    /// This element type with `lanes` lanes.
    pub fn with_lanes(self, lanes: u32) -> Ty {
        Ty { lanes, ..self }
    }
    /// Another element type with as many lanes.
    pub fn with_dtype(self, dtype: DType) -> Ty {
        Ty { dtype: register_dtype(dtype), ..self }
    }
}

/// The element type in which registers hold values of `dtype`.
pub fn register_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        t if t.is_float() => DType::F32,
        t if t.is_reference() => DType::U64,
        DType::I4 | DType::I2 => DType::I8,
        DType::U4 | DType::U2 => DType::U8,
        t => t,
    }
}

/// A register, assigned once; an index into [`Nest::regs`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Reg(pub u32);

/// A mutable variable; an index into [`Nest::vars`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Var(pub u32);

/// A buffer; an index into [`Nest::buffers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Buf(pub u32);

/// Where a buffer lives.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    /// An argument of the kernel that it only reads.
    Input,
    /// An argument of the kernel that it writes.
    Output,
    /// The scratch memory of the thread, from `offset` bytes on.
    Scratch {
        /// Bytes from the start of the scratch memory.
        offset: Dim,
    },
    /// An array that the threads of a block share.
    Shared {
        /// The number of elements.
        len: usize,
    },
    /// A small array of the work item.
    Local {
        /// The number of elements.
        len: usize,
    },
}

/// A buffer of elements of one type.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    /// The name in dumps.
    pub name: String,
    /// The type of the elements in memory.
    pub dtype: DType,
    /// Where it lives.
    pub place: Place,
}

/// What a register is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegInfo {
    /// Its type.
    pub ty: Ty,
    /// Whether floating-point rounding must happen exactly as written (no contraction, no reassociation).
    pub exact: bool,
}

/// The value of a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A constant in every lane: an integer's bits sign-extended to 64, or those of an `f64`.
    Const(u64),
    /// The value of a run-time dimension, an index into [`Nest::dims`].
    Dim(u32),
    /// The work item.
    Grid,
    /// The thread of the block that runs the work item.
    Thread,
    /// The current value of a variable.
    Get(Var),
    /// A primitive, lane by lane.
    Prim(Prim, SmallVec<[Reg; 3]>),
    /// `a * b + c`, rounded once where the target can.
    Fma(Reg, Reg, Reg),
    /// The quotient of indices, `a >= 0` and `b > 0`.
    IndexDiv(Reg, Reg),
    /// The remainder of indices, `a >= 0` and `b > 0`.
    IndexRem(Reg, Reg),
    /// `sum + a0·b0 + a1·b1 + a2·b2 + a3·b3` in each lane, all of `i32`: the bytes of `a` are unsigned, those
    /// of `b` signed. The sum wraps.
    Dot(Reg, Reg, Reg),
    /// A conversion: to integers toward zero and wrapping, to bool by `!= 0`.
    Cast(Reg),
    /// As `Cast` of a float to a narrow integer; the value is known to lie in the range of the result, or is
    /// NaN, which becomes 0.
    CastInside(Reg),
    /// The value after being stored as the narrow type and loaded again.
    Narrow(DType, Reg),
    /// The same bits as another type of the same size; lanes of another width are the bytes in memory order.
    Bitcast(Reg),
    /// Consecutive elements from `index` on, one per lane; lanes whose mask is false read 0.
    Load {
        /// The buffer.
        buf: Buf,
        /// The index of the first element.
        index: Reg,
        /// One bool per lane.
        mask: Option<Reg>,
    },
    /// A scalar in every lane.
    Splat(Reg),
    /// 0, 1, 2, … in the lanes.
    Iota,
    /// One lane of a vector.
    Extract(Reg, u32),
    /// The lanes `picks` of the concatenation of two vectors.
    Shuffle(Reg, Reg, Vec<u32>),
    /// `add`, `mul`, `min`, `max`, `and` or `or` over the lanes, in any order.
    Reduce(Prim, Reg),
    /// The same over the threads of a wave; every thread gets the result. All threads of the block take part.
    WaveReduce(Prim, Reg),
}

impl Op {
    /// Whether the value depends on the thread's operands alone.
    pub fn is_pure(&self) -> bool {
        !matches!(self, Op::Get(_) | Op::Load { .. } | Op::WaveReduce(..))
    }

    /// Calls `f` on every operand.
    pub fn visit(&self, mut f: impl FnMut(Reg)) {
        match self {
            Op::Const(_) | Op::Dim(_) | Op::Grid | Op::Thread | Op::Get(_) | Op::Iota => {}
            Op::Prim(_, args) => args.iter().copied().for_each(f),
            Op::Fma(a, b, c) | Op::Dot(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
            Op::IndexDiv(a, b) | Op::IndexRem(a, b) | Op::Shuffle(a, b, _) => {
                [*a, *b].into_iter().for_each(f)
            }
            Op::Cast(a) | Op::CastInside(a) | Op::Narrow(_, a) | Op::Bitcast(a) | Op::Splat(a) => f(*a),
            Op::Extract(a, _) | Op::Reduce(_, a) | Op::WaveReduce(_, a) => f(*a),
            Op::Load { index, mask, .. } => [Some(*index), *mask].into_iter().flatten().for_each(f),
        }
    }
}

impl Op {
    /// The operation with every operand replaced.
    pub fn map(&self, mut f: impl FnMut(Reg) -> Reg) -> Op {
        match self {
            Op::Const(_) | Op::Dim(_) | Op::Grid | Op::Thread | Op::Get(_) | Op::Iota => self.clone(),
            Op::Prim(p, args) => Op::Prim(*p, args.iter().map(|&a| f(a)).collect()),
            Op::Fma(a, b, c) => Op::Fma(f(*a), f(*b), f(*c)),
            Op::IndexDiv(a, b) => Op::IndexDiv(f(*a), f(*b)),
            Op::IndexRem(a, b) => Op::IndexRem(f(*a), f(*b)),
            Op::Shuffle(a, b, picks) => Op::Shuffle(f(*a), f(*b), picks.clone()),
            Op::Dot(a, b, c) => Op::Dot(f(*a), f(*b), f(*c)),
            Op::Cast(a) => Op::Cast(f(*a)),
            Op::CastInside(a) => Op::CastInside(f(*a)),
            Op::Narrow(t, a) => Op::Narrow(*t, f(*a)),
            Op::Bitcast(a) => Op::Bitcast(f(*a)),
            Op::Splat(a) => Op::Splat(f(*a)),
            Op::Extract(a, lane) => Op::Extract(f(*a), *lane),
            Op::Reduce(p, a) => Op::Reduce(*p, f(*a)),
            Op::WaveReduce(p, a) => Op::WaveReduce(*p, f(*a)),
            Op::Load { buf, index, mask } => Op::Load { buf: *buf, index: f(*index), mask: mask.map(f) },
        }
    }
}

/// How the iterations of a loop may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// One after the other, unrolled this many times; 0 is fully.
    Unroll(u32),
    /// In any order and at once: no iteration touches what another writes.
    Vectorize,
    /// As `Vectorize`, but variables accumulate, and sums and products may be reassociated.
    Reduce,
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// Assigns a register.
    Let(Reg, Op),
    /// Sets a variable.
    Set(Var, Reg),
    /// Stores consecutive elements from `index` on, one per lane; lanes whose mask is false stay.
    Store {
        /// The buffer.
        buf: Buf,
        /// The index of the first element.
        index: Reg,
        /// What is stored.
        value: Reg,
        /// One bool per lane.
        mask: Option<Reg>,
    },
    /// A hint that the cache line of an element will be read soon.
    Prefetch {
        /// The buffer.
        buf: Buf,
        /// The index of the element; may lie outside the buffer.
        index: Reg,
    },
    /// Runs `body` with `var` = begin, begin + step, … below `end`.
    For {
        /// The loop index.
        var: Reg,
        /// Its first value.
        begin: Reg,
        /// The bound.
        end: Reg,
        /// The increment, positive.
        step: i64,
        /// How the iterations may run.
        kind: LoopKind,
        /// The iteration.
        body: Vec<Stmt>,
    },
    /// Runs one of two blocks.
    If {
        /// A bool.
        cond: Reg,
        /// Run if it holds.
        then: Vec<Stmt>,
        /// Run if not.
        els: Vec<Stmt>,
    },
    /// Runs `head`, ends if `cond` (computed there) is false, runs `body`, and starts over.
    While {
        /// Computes the condition.
        head: Vec<Stmt>,
        /// A bool.
        cond: Reg,
        /// The iteration.
        body: Vec<Stmt>,
    },
    /// Waits until every thread of the block is here; what they stored into shared arrays is then seen by all.
    Barrier,
    /// A line for the reader of dumps.
    Comment(String),
}

/// What runs a work item on a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worker {
    /// A thread: thread `t` of all threads runs items `t`, `t + all`, ….
    Thread,
    /// The threads of a block together: block `k` runs item `k`.
    Block,
}

/// How blocks of threads run the work items on a GPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Blocks {
    /// What runs an item.
    pub worker: Worker,
    /// Threads of a block.
    pub threads: u32,
    /// The number of blocks.
    pub count: Dim,
    /// Bytes of scratch memory of a block, that of its threads.
    pub scratch: Dim,
}

/// The loops of one kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Nest {
    /// The kernel's name, an identifier.
    pub name: String,
    /// The buffers; the arguments of the kernel are its inputs and outputs in this order.
    pub buffers: Vec<Buffer>,
    /// The dimensions passed at run time, in the order the code expects them.
    pub dims: Vec<Dim>,
    /// The number of work items.
    pub grid: Dim,
    /// How the work items of a range may run.
    pub grid_kind: LoopKind,
    /// Bytes of scratch memory per thread.
    pub scratch: Dim,
    /// How blocks of threads run the work items, on a GPU.
    pub blocks: Option<Blocks>,
    /// The types of the variables.
    pub vars: Vec<Ty>,
    /// The registers.
    pub regs: Vec<RegInfo>,
    /// What a work item does.
    pub body: Vec<Stmt>,
}

impl Nest {
    /// The arguments of the kernel: inputs and outputs.
    pub fn params(&self) -> impl Iterator<Item = &Buffer> {
        self.buffers.iter().filter(|b| matches!(b.place, Place::Input | Place::Output))
    }
    /// Bytes of the arrays that the threads of a block share.
    pub fn shared_bytes(&self) -> usize {
        let bytes = |b: &Buffer| if let Place::Shared { len } = b.place { len * b.dtype.size() } else { 0 };
        self.buffers.iter().map(bytes).sum()
    }
    /// The type of a register.
    pub fn ty(&self, r: Reg) -> Ty {
        self.regs[r.0 as usize].ty
    }
    /// The buffer.
    pub fn buffer(&self, b: Buf) -> &Buffer {
        &self.buffers[b.0 as usize]
    }
}

/// Calls `f` on every statement of `block`, outer before inner.
pub fn walk<'a>(block: &'a [Stmt], f: &mut impl FnMut(&'a Stmt)) {
    for s in block {
        f(s);
        match s {
            Stmt::For { body, .. } => walk(body, f),
            Stmt::If { then, els, .. } => {
                walk(then, f);
                walk(els, f);
            }
            Stmt::While { head, body, .. } => {
                walk(head, f);
                walk(body, f);
            }
            _ => {}
        }
    }
}
