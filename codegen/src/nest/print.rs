//! The text of nests: operations used once are printed where they are used.
use super::{LoopKind, Nest, Op, Place, Reg, Stmt, Ty, Var, Worker, walk};
use sardonyx_ir::scalar::Prim;
use std::fmt;

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.lanes {
            1 => write!(f, "{}", self.dtype),
            n => write!(f, "{}x{n}", self.dtype),
        }
    }
}

impl fmt::Display for Nest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (mut uses, mut ops) = (vec![0; self.regs.len()], vec![None; self.regs.len()]);
        walk(&self.body, &mut |s| {
            count(s, &mut |r| uses[r.0 as usize] += 1);
            if let Stmt::Let(r, op) = s {
                ops[r.0 as usize] = Some(op);
            }
        });
        let p = Printer { nest: self, uses, ops };
        p.header(f)?;
        p.block(f, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

/// Calls `f` on the registers a statement reads itself, not those of its blocks.
fn count(s: &Stmt, f: &mut impl FnMut(Reg)) {
    match s {
        Stmt::Let(_, op) => op.visit(f),
        Stmt::Set(_, x) => f(*x),
        Stmt::Store { index, value, mask, .. } => {
            [Some(*index), Some(*value), *mask].into_iter().flatten().for_each(f)
        }
        Stmt::Prefetch { index, .. } => f(*index),
        Stmt::For { begin, end, .. } => [*begin, *end].into_iter().for_each(f),
        Stmt::If { cond, .. } | Stmt::While { cond, .. } => f(*cond),
        Stmt::Barrier | Stmt::Comment(_) => {}
    }
}

struct Printer<'a> {
    nest: &'a Nest,
    uses: Vec<usize>,
    ops: Vec<Option<&'a Op>>,
}

impl Printer<'_> {
    fn header(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let params = self.nest.params().map(|b| {
            let role = if b.place == Place::Output { "out " } else { "" };
            format!("{role}{}: {}", b.name, b.dtype)
        });
        let params = params.collect::<Vec<_>>().join(", ");
        writeln!(
            f,
            "nest {}({params}) {}grid {} {{",
            self.nest.name,
            kind(self.nest.grid_kind),
            self.nest.grid
        )?;
        if let Some(blocks) = &self.nest.blocks {
            let items = if blocks.worker == Worker::Block { ", an item each" } else { "" };
            writeln!(f, "  blocks {} of {} threads{items}", blocks.count, blocks.threads)?;
        }
        for b in &self.nest.buffers {
            match &b.place {
                Place::Scratch { offset } => writeln!(f, "  scratch {}: {} at {offset}", b.name, b.dtype)?,
                Place::Shared { len } => writeln!(f, "  shared {}: {}[{len}]", b.name, b.dtype)?,
                Place::Local { len } => writeln!(f, "  local {}: {}[{len}]", b.name, b.dtype)?,
                Place::Input | Place::Output => {}
            }
        }
        Ok(())
    }

    fn block(&self, f: &mut fmt::Formatter, block: &[Stmt], depth: usize) -> fmt::Result {
        block.iter().try_for_each(|s| self.stmt(f, s, depth))
    }

    fn stmt(&self, f: &mut fmt::Formatter, s: &Stmt, depth: usize) -> fmt::Result {
        let pad = "  ".repeat(depth);
        match s {
            Stmt::Let(r, op) if self.inline(*r) || (op.is_pure() && self.uses[r.0 as usize] == 0) => Ok(()),
            Stmt::Let(r, op) => {
                writeln!(f, "{pad}v{}: {} = {}", r.0, self.nest.ty(*r), self.op(self.nest.ty(*r), op))
            }
            Stmt::Set(v, x) => writeln!(f, "{pad}{} = {}", var(*v), self.reg(*x)),
            Stmt::Store { buf, index, value, mask } => {
                write!(
                    f,
                    "{pad}{}[{}] = {}",
                    self.nest.buffer(*buf).name,
                    self.reg(*index),
                    self.reg(*value)
                )?;
                match mask {
                    Some(m) => writeln!(f, " where {}", self.reg(*m)),
                    None => writeln!(f),
                }
            }
            Stmt::Prefetch { buf, index } => {
                writeln!(f, "{pad}prefetch {}[{}]", self.nest.buffer(*buf).name, self.reg(*index))
            }
            Stmt::For { var, begin, end, step, kind: k, body } => {
                let step = if *step == 1 { String::new() } else { format!(" step {step}") };
                let (begin, end) = (self.reg(*begin), self.reg(*end));
                writeln!(f, "{pad}{}for v{} in {begin}..{end}{step} {{", kind(*k), var.0)?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{pad}}}")
            }
            Stmt::If { cond, then, els } => {
                writeln!(f, "{pad}if {} {{", self.reg(*cond))?;
                self.block(f, then, depth + 1)?;
                if !els.is_empty() {
                    writeln!(f, "{pad}}} else {{")?;
                    self.block(f, els, depth + 1)?;
                }
                writeln!(f, "{pad}}}")
            }
            Stmt::While { head, cond, body } => {
                writeln!(f, "{pad}loop {{")?;
                self.block(f, head, depth + 1)?;
                writeln!(f, "{pad}  while {}", self.reg(*cond))?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{pad}}}")
            }
            Stmt::Barrier => writeln!(f, "{pad}barrier"),
            Stmt::Comment(text) => writeln!(f, "{pad}// {text}"),
        }
    }

    /// Whether the register is printed where it is used: constants, dimensions, and what is used once.
    fn inline(&self, r: Reg) -> bool {
        match self.ops[r.0 as usize] {
            Some(Op::Const(_) | Op::Dim(_) | Op::Grid | Op::Thread) => true,
            Some(op) => op.is_pure() && self.uses[r.0 as usize] == 1,
            None => false,
        }
    }

    fn reg(&self, r: Reg) -> String {
        match self.ops[r.0 as usize] {
            Some(op) if self.inline(r) => self.op(self.nest.ty(r), op),
            _ => format!("v{}", r.0),
        }
    }

    fn op(&self, ty: Ty, op: &Op) -> String {
        let reg = |r: &Reg| self.reg(*r);
        match op {
            Op::Const(bits) => constant(ty, *bits),
            Op::Dim(slot) => match &self.nest.dims[*slot as usize] {
                d if d.as_symbol().is_some() => d.to_string(),
                d => format!("({d})"),
            },
            Op::Grid => "grid".into(),
            Op::Thread => "thread".into(),
            Op::Get(v) => var(*v),
            Op::Prim(p, args) => match (infix(*p), &args[..]) {
                (Some(sign), [a, b]) => format!("({} {sign} {})", reg(a), reg(b)),
                _ => format!("{}({})", p.name(), args.iter().map(reg).collect::<Vec<_>>().join(", ")),
            },
            Op::Fma(a, b, c) => format!("fma({}, {}, {})", reg(a), reg(b), reg(c)),
            Op::IndexDiv(a, b) => format!("({} / {})", reg(a), reg(b)),
            Op::IndexRem(a, b) => format!("({} % {})", reg(a), reg(b)),
            Op::Dot(a, b, c) => format!("dot({}, {}, {})", reg(a), reg(b), reg(c)),
            Op::CastInside(a) => format!("{}_inside({})", ty.dtype, reg(a)),
            Op::Cast(a) => format!("{}({})", ty.dtype, reg(a)),
            Op::Narrow(t, a) => format!("{t}({})", reg(a)),
            Op::Bitcast(a) if ty.lanes == self.nest.ty(*a).lanes => {
                format!("bitcast<{}>({})", ty.dtype, reg(a))
            }
            Op::Bitcast(a) => format!("bitcast<{ty}>({})", reg(a)),
            Op::Load { buf, index, mask } => {
                let lanes = if ty.lanes == 1 { String::new() } else { format!(" x{}", ty.lanes) };
                let mask = mask.map_or(String::new(), |m| format!(" where {}", self.reg(m)));
                format!("{}[{}{lanes}]{mask}", self.nest.buffer(*buf).name, reg(index))
            }
            Op::Splat(a) => format!("splat({})", reg(a)),
            Op::Iota => format!("iota<{ty}>"),
            Op::Extract(a, lane) => format!("{}.{lane}", reg(a)),
            Op::Shuffle(a, b, picks) => format!("shuffle({}, {}, {picks:?})", reg(a), reg(b)),
            Op::WaveReduce(p, a) => format!("wave_{}({})", p.name(), reg(a)),
            Op::Reduce(p, a) => format!("reduce_{}({})", p.name(), reg(a)),
        }
    }
}

fn var(v: Var) -> String {
    format!("var{}", v.0)
}

fn kind(k: LoopKind) -> String {
    match k {
        LoopKind::Serial => String::new(),
        LoopKind::Unroll(0) => "unroll ".into(),
        LoopKind::Unroll(n) => format!("unroll({n}) "),
        LoopKind::Vectorize => "vectorize ".into(),
        LoopKind::Reduce => "reduce ".into(),
    }
}

fn constant(ty: Ty, bits: u64) -> String {
    match ty.dtype {
        t if t.is_float() => format!("{:?}", f64::from_bits(bits)),
        sardonyx_tensor::DType::Bool => (bits != 0).to_string(),
        t if t.is_unsigned() => bits.to_string(),
        _ => (bits as i64).to_string(),
    }
}

fn infix(p: Prim) -> Option<&'static str> {
    Some(match p {
        Prim::Add => "+",
        Prim::Sub => "-",
        Prim::Mul => "*",
        Prim::Div => "/",
        Prim::Eq => "==",
        Prim::Lt => "<",
        Prim::Le => "<=",
        Prim::And => "&",
        Prim::Or => "|",
        Prim::Xor => "^",
        Prim::Shl => "<<",
        Prim::Shr => ">>",
        _ => return None,
    })
}
