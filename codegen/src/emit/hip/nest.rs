//! Nests as HIP text: statements and memory.
//!
//! A register of several lanes is a struct whose lanes are computed in an unrolled loop over `l`.
use super::{narrow, prim};
use crate::math;
use crate::nest::{Buf, Buffer, Nest, Op, Place, Reg, Stmt, Ty, Worker};
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};
use std::fmt::Write;

/// The kernel of a nest, whose threads run work items, or whose blocks one each. `dims` are those that a launch passes.
pub(super) fn kernel(nest: &Nest, dims: &[Dim]) -> String {
    let nest = math::expand_gpu(nest);
    let (consts, narrow) = (vec![None; nest.regs.len()], narrow::narrow(&nest));
    let mut p = Printer { consts, narrow, nest: &nest, text: String::new(), depth: 1, coarse: false };
    p.kernel(dims);
    p.text
}

/// A nest without work items as a function of the device: its parameters are the buffers.
pub(super) fn function(nest: &Nest, coarse: bool) -> String {
    let nest = if coarse { math::expand_coarse(nest) } else { math::expand_gpu(nest) };
    let (consts, narrow) = (vec![None; nest.regs.len()], narrow::narrow(&nest));
    let mut p = Printer { consts, narrow, nest: &nest, text: String::new(), depth: 1, coarse };
    let list = p.parameters().join(", ");
    let _ = writeln!(p.text, "DEVICE void {}({list}) {{", nest.name);
    p.declarations();
    p.block(&nest.body);
    p.text.push_str("}\n");
    p.text
}

pub(super) struct Printer<'a> {
    pub(super) nest: &'a Nest,
    /// The text of registers that are printed where they are used.
    consts: Vec<Option<String>>,
    /// Which registers are indices of 32 bits.
    narrow: Vec<bool>,
    text: String,
    depth: usize,
    /// Whether exponentials and quotients of `f32` are those of the hardware.
    coarse: bool,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}{text}", "  ".repeat(self.depth));
    }

    fn kernel(&mut self, dims: &[Dim]) {
        let nest = self.nest;
        let blocks = nest.blocks.as_ref().expect("a nest of a GPU should say how blocks run it");
        let mut params = self.parameters();
        params.extend((0..dims.len()).map(|i| format!("i64 d{i}")));
        if nest.scratch != Dim::ZERO {
            params.push("u8* scratch".into());
        }
        let _ = writeln!(
            self.text,
            "\nKERNEL({}) {}({}) {{",
            blocks.threads,
            super::symbol(&nest.name),
            params.join(", ")
        );
        if blocks.worker == Worker::Block {
            assert!(nest.scratch == Dim::ZERO, "bug: scratch memory of a thread in a nest of blocks");
            self.line("const i64 grid = block_index(), thread = thread_index();");
            self.declarations();
            self.block(&nest.body);
            self.text.push_str("}\n");
            return;
        }
        let (threads, count, grid) = (blocks.threads, self.dim(&blocks.count), self.dim(&nest.grid));
        self.line(&format!("const i64 thread = i64(block_index()) * {threads} + thread_index();"));
        self.scratch();
        self.line(&format!("for (i64 grid = thread; grid < {grid}; grid += {count} * {threads}) {{"));
        self.depth += 1;
        self.declarations();
        self.block(&nest.body);
        self.depth -= 1;
        self.line("}");
        self.text.push_str("}\n");
    }

    /// The arguments that are buffers.
    fn parameters(&self) -> Vec<String> {
        let parameter = |(i, b): (usize, &Buffer)| match b.place {
            Place::Input => Some(format!("const {}* __restrict__ {}", memory(b), buffer(b, i))),
            Place::Output => Some(format!("{}* __restrict__ {}", memory(b), buffer(b, i))),
            Place::Scratch { .. } | Place::Shared { .. } | Place::Local { .. } => None,
        };
        self.nest.buffers.iter().enumerate().filter_map(parameter).collect()
    }

    /// The scratch memory of the thread.
    fn scratch(&mut self) {
        let size = self.dim(&self.nest.scratch);
        for (i, b) in self.nest.buffers.iter().enumerate() {
            if let Place::Scratch { offset } = &b.place {
                let (t, offset) = (memory(b), self.dim(offset));
                let name = buffer(b, i);
                self.line(&format!(
                    "{t}* __restrict__ {name} = ({t}*)(scratch + thread * {size} + {offset});"
                ));
            }
        }
    }

    fn declarations(&mut self) {
        for (i, ty) in self.nest.vars.iter().enumerate() {
            self.line(&format!("{} var{i};", ty_name(*ty)));
        }
        for (i, b) in self.nest.buffers.iter().enumerate() {
            match b.place {
                Place::Local { len } => self.line(&format!("{} {}[{len}];", memory(b), buffer(b, i))),
                Place::Shared { len } => {
                    self.line(&format!("SHARED {} {}[{len}];", memory(b), buffer(b, i)));
                }
                _ => {}
            }
        }
    }

    /// A dimension that is known or passed.
    fn dim(&self, dim: &Dim) -> String {
        match dim.known() {
            Some(n) => format!("{n}ll"),
            None => {
                let slot = self.nest.dims.iter().position(|d| d == dim);
                format!("d{}", slot.expect("a dimension that code needs should be passed"))
            }
        }
    }

    fn block(&mut self, block: &[Stmt]) {
        block.iter().for_each(|s| self.stmt(s));
    }

    fn inner(&mut self, head: &str, block: &[Stmt]) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        self.block(block);
        self.depth -= 1;
        self.line("}");
    }

    fn stmt(&mut self, s: &Stmt) {
        match s {
            Stmt::Let(r, op) => self.assign(*r, op),
            Stmt::Set(v, x) => self.line(&format!("var{} = {};", v.0, self.whole(*x))),
            Stmt::Store { buf, index, value, mask } => {
                let lanes = self.nest.ty(*value).lanes;
                if mask.is_none() && self.is_wide(*buf, lanes) {
                    return self.store_wide(*buf, *index, *value, lanes);
                }
                let element = self.element(*buf, *index, lanes);
                let x = narrowed(self.nest.buffer(*buf).dtype, self.lane(*value));
                let guard = mask.map_or(String::new(), |m| format!("if ({}) ", self.lane(m)));
                self.each(lanes, &format!("{guard}{element} = {x};"));
            }
            // Other threads hide the latency.
            Stmt::Prefetch { .. } => {}
            Stmt::For { var, begin, end, step, kind, body } => {
                if let crate::nest::LoopKind::Unroll(n) = kind {
                    let count = if *n == 0 { String::new() } else { format!(" {n}") };
                    self.line(&format!("#pragma unroll{count}"));
                }
                let narrow = self.narrow[var.0 as usize];
                let name = if narrow { "i32" } else { "i64" };
                let bound = |r: Reg| if narrow { self.small(r) } else { self.lane(r) };
                let (i, begin, end) = (format!("v{}", var.0), bound(*begin), bound(*end));
                self.inner(&format!("for ({name} {i} = {begin}; {i} < {end}; {i} += {step})"), body);
            }
            Stmt::If { cond, then, els } => {
                self.inner(&format!("if ({})", self.lane(*cond)), then);
                if !els.is_empty() {
                    self.inner("else", els);
                }
            }
            Stmt::While { head, cond, body } => {
                self.line("for (;;) {");
                self.depth += 1;
                self.block(head);
                self.line(&format!("if (!{}) break;", self.lane(*cond)));
                self.block(body);
                self.depth -= 1;
                self.line("}");
            }
            Stmt::Barrier => self.line("block_barrier();"),
            Stmt::Comment(text) => self.line(&format!("// {text}")),
        }
    }

    /// A statement for each lane `l`.
    fn each(&mut self, lanes: u32, statement: &str) {
        if lanes > 1 {
            self.line("#pragma unroll");
            self.line(&format!("for (int l = 0; l < {lanes}; l++) {statement}"));
        } else {
            self.line(statement);
        }
    }

    fn assign(&mut self, r: Reg, op: &Op) {
        let ty = self.nest.ty(r);
        let name = format!("v{}", r.0);
        let known = match op {
            Op::Const(bits) => Some(prim::constant(ty, *bits)),
            Op::Dim(slot) => Some(format!("d{slot}")),
            Op::Grid => Some("grid".into()),
            Op::Thread => Some("thread".into()),
            Op::Iota => Some(format!("{}(l)", scalar_name(ty.dtype))),
            Op::Splat(a) => Some(self.lane(*a)),
            Op::Extract(a, lane) => Some(self.at(*a, *lane)),
            _ => None,
        };
        if known.is_some() {
            self.consts[r.0 as usize] = known;
            return;
        }
        match op {
            Op::Get(v) => return self.line(&format!("const {} {name} = var{};", ty_name(ty), v.0)),
            Op::Reduce(p, a) => return self.reduce(r, *p, *a),
            Op::Load { buf, index, mask: None } if self.is_wide(*buf, ty.lanes) => {
                return self.load_wide(r, *buf, *index);
            }
            Op::WaveReduce(p, a) => return self.wave_reduce(r, *p, *a),
            Op::Shuffle(a, b, picks) => {
                let half = self.nest.ty(*a).lanes;
                let pick = |&i: &u32| if i < half { self.at(*a, i) } else { self.at(*b, i - half) };
                let list = picks.iter().map(pick).collect::<Vec<_>>().join(", ");
                let list = if ty.lanes == 1 { list } else { format!("{{{{{list}}}}}") };
                return self.line(&format!("const {} {name} = {list};", ty_name(ty)));
            }
            _ => {}
        }
        if self.narrow[r.0 as usize] {
            let value = self.value(r, op);
            let value = if self.is_small(r, op) { value } else { format!("i32({value})") };
            return self.line(&format!("const i32 {name} = {value};"));
        }
        let value = self.value(r, op);
        if ty.lanes == 1 {
            self.line(&format!("const {} {name} = {value};", ty_name(ty)));
        } else {
            self.line(&format!("{} {name};", ty_name(ty)));
            self.each(ty.lanes, &format!("{name}.at[l] = {value};"));
        }
    }

    /// The value of an operation in one lane.
    fn value(&self, r: Reg, op: &Op) -> String {
        let ty = self.nest.ty(r);
        match op {
            Op::Prim(p, args) => {
                let of = self.nest.ty(args[args.len() - 1]);
                let small = self.is_small(r, op);
                let args: Vec<String> =
                    args.iter().map(|&a| if small { self.small(a) } else { self.lane(a) }).collect();
                match p {
                    Prim::Exp | Prim::Div if self.coarse && of.dtype == DType::F32 => prim::coarse(*p, &args),
                    _ => prim::prim(*p, of.dtype, &args),
                }
            }
            Op::Fma(a, b, c) => {
                let [a, b, c] = [a, b, c].map(|&r| self.lane(r));
                match ty.dtype.is_float() {
                    true => format!("fused({a}, {b}, {c})"),
                    false => format!("add(multiply({a}, {b}), {c})"),
                }
            }
            Op::IndexDiv(a, b) | Op::IndexRem(a, b) => {
                let name = if matches!(op, Op::IndexDiv(..)) { "index_div" } else { "index_rem" };
                let [a, b] = [a, b].map(|&r| if self.is_small(r, op) { self.small(r) } else { self.lane(r) });
                format!("{name}({a}, {b})")
            }
            Op::Cast(a) | Op::CastInside(a) => prim::cast(self.nest.ty(*a).dtype, ty.dtype, &self.lane(*a)),
            Op::Narrow(t, a) => {
                assert_eq!(*t, DType::F16, "bug: {t} should have been expanded");
                format!("widen_half(narrow_half({}))", self.lane(*a))
            }
            Op::Bitcast(a) => format!("bits<{}>({})", scalar_name(ty.dtype), self.lane(*a)),
            Op::Load { buf, index, mask } => {
                let element = self.element(*buf, *index, ty.lanes);
                let x = widened(self.nest.buffer(*buf).dtype, element);
                let name = scalar_name(ty.dtype);
                mask.map_or(x.clone(), |m| format!("({} ? {x} : {name}(0))", self.lane(m)))
            }
            _ => panic!("bug: {op:?} is not computed lane by lane"),
        }
    }

    fn reduce(&mut self, r: Reg, p: Prim, a: Reg) {
        let of = self.nest.ty(a);
        let sum =
            (1..of.lanes).fold(self.at(a, 0), |sum, lane| prim::prim(p, of.dtype, &[sum, self.at(a, lane)]));
        self.line(&format!("const {} v{} = {sum};", scalar_name(of.dtype), r.0));
    }

    /// A butterfly over the threads of a wave.
    fn wave_reduce(&mut self, r: Reg, p: Prim, a: Reg) {
        let (name, dtype) = (format!("v{}", r.0), self.nest.ty(a).dtype);
        self.line(&format!("{} {name} = {};", scalar_name(dtype), self.lane(a)));
        let other = format!("lane_xor({name}, distance)");
        let combined = prim::prim(p, dtype, &[name.clone(), other]);
        self.line("#pragma unroll");
        self.line(&format!(
            "for (u32 distance = 1; distance < SARDONYX_WAVE; distance *= 2) {name} = {combined};"
        ));
    }

    /// Whether lanes are read and written with accesses of several elements.
    fn is_wide(&self, buf: Buf, lanes: u32) -> bool {
        let b = self.nest.buffer(buf);
        lanes > 1 && lanes.is_power_of_two() && !matches!(b.place, Place::Local { .. })
    }

    fn place(&self, buf: Buf, index: Reg) -> String {
        format!("{} + {}", buffer(self.nest.buffer(buf), buf.0 as usize), self.index(index))
    }

    fn load_wide(&mut self, r: Reg, buf: Buf, index: Reg) {
        let (ty, b) = (self.nest.ty(r), self.nest.buffer(buf));
        let (name, lanes) = (format!("v{}", r.0), ty.lanes);
        let load = format!("load_lanes<{lanes}>({})", self.place(buf, index));
        if memory(b) == scalar_name(ty.dtype) {
            return self.line(&format!("const {} {name} = {load};", ty_name(ty)));
        }
        self.line(&format!("const Lanes<{}, {lanes}> m{name} = {load};", memory(b)));
        self.line(&format!("{} {name};", ty_name(ty)));
        let value = widened(b.dtype, format!("m{name}.at[l]"));
        self.each(lanes, &format!("{name}.at[l] = {value};"));
    }

    fn store_wide(&mut self, buf: Buf, index: Reg, value: Reg, lanes: u32) {
        let b = self.nest.buffer(buf);
        let place = self.place(buf, index);
        if memory(b) == scalar_name(self.nest.ty(value).dtype) {
            return self.line(&format!("store_lanes({place}, {});", self.whole(value)));
        }
        let narrow = narrowed(b.dtype, self.lane(value));
        self.line("{");
        self.depth += 1;
        self.line(&format!("Lanes<{}, {lanes}> narrow;", memory(b)));
        self.each(lanes, &format!("narrow.at[l] = {narrow};"));
        self.line(&format!("store_lanes({place}, narrow);"));
        self.depth -= 1;
        self.line("}");
    }

    fn element(&self, buf: Buf, index: Reg, lanes: u32) -> String {
        let lane = if lanes > 1 { " + l" } else { "" };
        format!("{}[{}{lane}]", buffer(self.nest.buffer(buf), buf.0 as usize), self.index(index))
    }

    /// An index, of whichever size.
    fn index(&self, r: Reg) -> String {
        if self.narrow[r.0 as usize] && self.consts[r.0 as usize].is_none() {
            return format!("v{}", r.0);
        }
        self.lane(r)
    }

    /// Whether an operation of indices is one of 32 bits: its operands are, and an index that it gives.
    fn is_small(&self, r: Reg, op: &Op) -> bool {
        let (mut all, mut any) = (self.nest.ty(r) != Ty::INDEX || self.narrow[r.0 as usize], false);
        op.visit(|a| {
            all &= self.narrow[a.0 as usize] || self.nest.ty(a) == Ty::BOOL;
            any |= self.nest.ty(a) == Ty::INDEX;
        });
        let known = match op {
            Op::IndexDiv(..) | Op::IndexRem(..) => true,
            Op::Prim(p, _) => matches!(
                p,
                Prim::Add
                    | Prim::Sub
                    | Prim::Mul
                    | Prim::Min
                    | Prim::Max
                    | Prim::Select
                    | Prim::Lt
                    | Prim::Le
                    | Prim::Eq
            ),
            _ => false,
        };
        known && all && any
    }

    /// A narrow register, as an `i32`.
    fn small(&self, r: Reg) -> String {
        match &self.consts[r.0 as usize] {
            Some(text) if self.nest.ty(r) == Ty::INDEX => format!("i32({text})"),
            Some(text) => text.clone(),
            None => format!("v{}", r.0),
        }
    }

    /// A register in the lane `l`.
    fn lane(&self, r: Reg) -> String {
        match &self.consts[r.0 as usize] {
            Some(text) => text.clone(),
            None if self.nest.ty(r).lanes > 1 => format!("v{}.at[l]", r.0),
            None if self.narrow[r.0 as usize] => format!("i64(v{})", r.0),
            None => format!("v{}", r.0),
        }
    }

    /// A register in a lane of this number.
    fn at(&self, r: Reg, lane: u32) -> String {
        match &self.consts[r.0 as usize] {
            Some(text) if self.nest.ty(r).lanes > 1 && text.ends_with("(l)") => {
                format!("{}({lane})", scalar_name(self.nest.ty(r).dtype))
            }
            Some(text) => text.clone(),
            None if self.nest.ty(r).lanes > 1 => format!("v{}.at[{lane}]", r.0),
            None => format!("v{}", r.0),
        }
    }

    /// A register with all its lanes.
    fn whole(&self, r: Reg) -> String {
        let ty = self.nest.ty(r);
        if ty.lanes == 1 || self.consts[r.0 as usize].is_none() {
            return self.consts[r.0 as usize].clone().unwrap_or_else(|| format!("v{}", r.0));
        }
        let lanes: Vec<String> = (0..ty.lanes).map(|lane| self.at(r, lane)).collect();
        format!("{}{{{{{}}}}}", ty_name(ty), lanes.join(", "))
    }
}

/// The name of an element type in registers.
pub(super) fn scalar_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::Bool => "bool",
        DType::I64 => "i64",
        DType::I32 => "i32",
        DType::I16 => "i16",
        DType::I8 => "i8",
        DType::U64 => "u64",
        DType::U32 => "u32",
        DType::U16 => "u16",
        DType::U8 => "u8",
        t => panic!("bug: {t} in a register"),
    }
}

fn ty_name(ty: Ty) -> String {
    match ty.lanes {
        1 => scalar_name(ty.dtype).to_string(),
        n => format!("Lanes<{}, {n}>", scalar_name(ty.dtype)),
    }
}

/// The name of a buffer's elements.
fn memory(b: &Buffer) -> &'static str {
    match b.dtype {
        DType::Bool => "u8",
        DType::F16 => "u16",
        t => scalar_name(t),
    }
}

/// A buffer's element as registers hold it.
fn widened(dtype: DType, element: String) -> String {
    match dtype {
        DType::F16 => format!("widen_half({element})"),
        DType::Bool => format!("({element} != 0)"),
        _ => element,
    }
}

/// A register's value as a buffer's element.
fn narrowed(dtype: DType, value: String) -> String {
    match dtype {
        DType::F16 => format!("narrow_half({value})"),
        DType::Bool => format!("u8({value})"),
        _ => value,
    }
}

/// The name of a buffer, the `i`th.
fn buffer(b: &Buffer, i: usize) -> String {
    format!("{}_{i}", b.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}
