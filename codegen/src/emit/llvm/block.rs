//! Statements, memory and vector operations as LLVM text.
use super::{Function, constant, line, memory_name, scalar_name, suffix, ty_name};
use crate::nest::{Buf, Op, Reg, Stmt};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::DType;
use std::fmt::Write;

impl Function<'_> {
    pub(super) fn block(&mut self, block: &[Stmt]) {
        block.iter().for_each(|s| self.stmt(s));
    }

    fn open(&mut self, label: String) {
        let _ = writeln!(self.text, "{label}:");
        self.label = label;
    }

    fn stmt(&mut self, s: &Stmt) {
        match s {
            Stmt::Let(r, op) => self.assign(*r, op),
            Stmt::Set(v, x) => {
                let ty = ty_name(self.ty(*x));
                line!(self, "store {ty} {}, ptr %m{}", self.reg(*x), v.0);
            }
            Stmt::Store { buf, index, value, mask } => self.store(*buf, *index, *value, *mask),
            Stmt::Prefetch { buf, index } => {
                let p = self.address(*buf, *index, false);
                line!(self, "call void @llvm.prefetch.p0(ptr {p}, i32 0, i32 3, i32 1)");
            }
            Stmt::For { var, begin, end, step, kind, body } => {
                let (begin, end) = (self.reg(*begin), self.reg(*end));
                self.range(&format!("%v{}", var.0), &begin, &end, *step, *kind, |f| f.block(body));
            }
            Stmt::If { cond, then, els } => self.branch(*cond, then, els),
            Stmt::While { head, cond, body } => {
                self.temporaries += 1;
                let n = self.temporaries;
                line!(self, "br label %while{n}");
                self.open(format!("while{n}"));
                self.block(head);
                line!(self, "br i1 {}, label %go{n}, label %done{n}", self.reg(*cond));
                self.open(format!("go{n}"));
                self.block(body);
                line!(self, "br label %while{n}");
                self.open(format!("done{n}"));
            }
            Stmt::Barrier => panic!("bug: a barrier on a processor"),
            Stmt::Comment(text) => line!(self, "; {text}"),
        }
    }

    fn branch(&mut self, cond: Reg, then: &[Stmt], els: &[Stmt]) {
        self.temporaries += 1;
        let n = self.temporaries;
        let other = if els.is_empty() { "fi" } else { "else" };
        line!(self, "br i1 {}, label %then{n}, label %{other}{n}", self.reg(cond));
        self.open(format!("then{n}"));
        self.block(then);
        line!(self, "br label %fi{n}");
        if !els.is_empty() {
            self.open(format!("else{n}"));
            self.block(els);
            line!(self, "br label %fi{n}");
        }
        self.open(format!("fi{n}"));
    }

    fn assign(&mut self, r: Reg, op: &Op) {
        let ty = self.ty(r);
        let (name, out) = (ty_name(ty), format!("%v{}", r.0));
        match op {
            Op::Const(bits) => self.consts[r.0 as usize] = Some(constant(ty, *bits)),
            Op::Dim(slot) => self.consts[r.0 as usize] = Some(format!("%d{slot}")),
            Op::Grid => self.consts[r.0 as usize] = Some("%g".into()),
            Op::Thread | Op::WaveReduce(..) => panic!("bug: threads of a block on a processor"),
            Op::Iota => {
                let element = scalar_name(ty.dtype);
                let lanes: Vec<String> = (0..ty.lanes).map(|i| format!("{element} {i}")).collect();
                self.consts[r.0 as usize] = Some(format!("<{}>", lanes.join(", ")));
            }
            Op::Get(v) => line!(self, "{out} = load {name}, ptr %m{}", v.0),
            Op::Prim(p, args) => self.prim(r, *p, args),
            Op::Fma(a, b, c) => self.fma(r, *a, *b, *c),
            Op::IndexDiv(a, b) => line!(self, "{out} = udiv i64 {}, {}", self.reg(*a), self.reg(*b)),
            Op::IndexRem(a, b) => line!(self, "{out} = urem i64 {}, {}", self.reg(*a), self.reg(*b)),
            Op::Dot(sum, a, b) => self.dot(r, *sum, *a, *b),
            Op::Cast(a) => self.cast(r, *a),
            Op::CastInside(a) => self.cast_inside(r, *a),
            Op::Narrow(t, a) => self.narrow(r, *t, *a),
            Op::Bitcast(a) => {
                let from = self.ty(*a);
                if ty_name(from) == name {
                    self.consts[r.0 as usize] = Some(self.reg(*a));
                } else {
                    line!(self, "{out} = bitcast {} {} to {name}", ty_name(from), self.reg(*a));
                }
            }
            Op::Load { buf, index, mask } => self.load(r, *buf, *index, *mask),
            Op::Splat(a) => self.splat(r, *a),
            Op::Extract(a, lane) => {
                line!(self, "{out} = extractelement {} {}, i64 {lane}", ty_name(self.ty(*a)), self.reg(*a));
            }
            Op::Shuffle(a, b, picks) => {
                let from = ty_name(self.ty(*a));
                let picks: Vec<String> = picks.iter().map(|i| format!("i32 {i}")).collect();
                let (a, b) = (self.reg(*a), self.reg(*b));
                line!(
                    self,
                    "{out} = shufflevector {from} {a}, {from} {b}, <{} x i32> <{}>",
                    picks.len(),
                    picks.join(", ")
                );
            }
            Op::Reduce(p, a) => self.reduce(r, *p, *a),
        }
    }

    fn splat(&mut self, r: Reg, a: Reg) {
        let (ty, element) = (ty_name(self.ty(r)), ty_name(self.ty(a)));
        let t = self.temporary();
        let lanes = self.ty(r).lanes;
        line!(self, "{t} = insertelement {ty} poison, {element} {}, i64 0", self.reg(a));
        line!(self, "%v{} = shufflevector {ty} {t}, {ty} poison, <{lanes} x i32> zeroinitializer", r.0);
    }

    fn reduce(&mut self, r: Reg, p: Prim, a: Reg) {
        let (from, to) = (self.ty(a), ty_name(self.ty(r)));
        let vector = format!("{} {}", ty_name(from), self.reg(a));
        let float = from.dtype.is_float();
        let sign = if from.dtype.is_signed() { "s" } else { "u" };
        let (flags, name, start) = match p {
            Prim::Add if float => ("reassoc ", "fadd".into(), format!("{to} -0.0, ")),
            Prim::Mul if float => ("reassoc ", "fmul".into(), format!("{to} 1.0, ")),
            Prim::Min if float => ("nsz ", "fminimum".into(), String::new()),
            Prim::Max if float => ("nsz ", "fmaximum".into(), String::new()),
            Prim::Min | Prim::Max => ("", format!("{sign}{}", p.name()), String::new()),
            Prim::Add | Prim::Mul | Prim::And | Prim::Or | Prim::Xor => {
                ("", p.name().to_string(), String::new())
            }
            _ => panic!("bug: a reduction by {}", p.name()),
        };
        line!(
            self,
            "%v{} = call {flags}{to} @llvm.vector.reduce.{name}.{}({start}{vector})",
            r.0,
            suffix(from)
        );
    }

    fn address(&mut self, buf: Buf, index: Reg, inside: bool) -> String {
        let p = self.temporary();
        let element = memory_name(self.nest.buffer(buf));
        let inbounds = if inside { "inbounds " } else { "" };
        line!(self, "{p} = getelementptr {inbounds}{element}, ptr %b{}, i64 {}", buf.0, self.reg(index));
        p
    }

    /// The alignment of an access and the name of the type in memory.
    fn memory(&self, buf: Buf, lanes: u32) -> (u32, String, String) {
        let b = self.nest.buffer(buf);
        let element = memory_name(b);
        let name = if lanes == 1 { element.to_string() } else { format!("<{lanes} x {element}>") };
        let scalar = match b.dtype {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::F16 => "f16",
            _ => element,
        };
        (b.dtype.size() as u32, name, format!("v{lanes}{scalar}"))
    }

    fn load(&mut self, r: Reg, buf: Buf, index: Reg, mask: Option<Reg>) {
        let (ty, dtype) = (self.ty(r), self.nest.buffer(buf).dtype);
        let p = self.address(buf, index, mask.is_none());
        let (align, memory, suffix) = self.memory(buf, ty.lanes);
        let access = self.access(self.nest.buffer(buf));
        let widened = matches!(dtype, DType::Bool | DType::F16);
        let out = if widened { self.temporary() } else { format!("%v{}", r.0) };
        match mask {
            Some(m) if ty.lanes > 1 => {
                let mask = format!("<{} x i1> {}", ty.lanes, self.reg(m));
                line!(
                    self,
                    "{out} = call {memory} @llvm.masked.load.{suffix}.p0(ptr {p}, i32 {align}, {mask}, {memory} zeroinitializer){access}"
                );
            }
            Some(_) => panic!("bug: a masked load of a scalar"),
            None => line!(self, "{out} = load {memory}, ptr {p}, align {align}{access}"),
        }
        match dtype {
            DType::Bool => line!(self, "%v{} = icmp ne {memory} {out}, zeroinitializer", r.0),
            DType::F16 => line!(self, "%v{} = fpext {memory} {out} to {}", r.0, ty_name(ty)),
            _ => {}
        }
    }

    fn store(&mut self, buf: Buf, index: Reg, value: Reg, mask: Option<Reg>) {
        let (ty, dtype) = (self.ty(value), self.nest.buffer(buf).dtype);
        let (align, memory, suffix) = self.memory(buf, ty.lanes);
        let mut x = self.reg(value);
        let conversion = match dtype {
            DType::Bool => Some("zext"),
            DType::F16 => Some("fptrunc"),
            _ => None,
        };
        if let Some(conversion) = conversion {
            let t = self.temporary();
            line!(self, "{t} = {conversion} {} {x} to {memory}", ty_name(ty));
            x = t;
        }
        let p = self.address(buf, index, mask.is_none());
        let access = self.access(self.nest.buffer(buf));
        match mask {
            Some(m) if ty.lanes > 1 => {
                let mask = format!("<{} x i1> {}", ty.lanes, self.reg(m));
                line!(
                    self,
                    "call void @llvm.masked.store.{suffix}.p0({memory} {x}, ptr {p}, i32 {align}, {mask}){access}"
                );
            }
            Some(_) => panic!("bug: a masked store of a scalar"),
            None => line!(self, "store {memory} {x}, ptr {p}, align {align}{access}"),
        }
    }
}
