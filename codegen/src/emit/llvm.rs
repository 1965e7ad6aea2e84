//! Nests as LLVM 19 text for processors.
//!
//! Each kernel is an exported function of the kernel ABI,
//! `void(ptr args, ptr dims, i64 begin, i64 end, ptr scratch)`, which loads its arguments and calls an
//! internal function whose buffers are `noalias` parameters. The text needs no library: transcendental
//! functions are written out by `math`, `no-builtins` keeps LLVM from inventing calls, and everything else
//! is an instruction of every target of the table.
mod block;
mod cast;
mod dot;
mod prim;

use crate::math;
use crate::nest::{Buffer, LoopKind, Nest, Place, Reg, Ty};
use crate::target::TargetSpec;
use sardonyx_tensor::DType;
use std::fmt::Write;

/// The module of these nests, whose names differ.
pub fn module(nests: &[&Nest], target: &TargetSpec) -> String {
    let mut m = Module { target, text: String::new(), metadata: Vec::new() };
    m.text.push_str("target triple = \"x86_64-unknown-linux-gnu\"\n");
    for nest in nests {
        m.kernel(&math::expand(nest, target));
    }
    m.attributes();
    for (i, line) in m.metadata.iter().enumerate() {
        let _ = writeln!(m.text, "!{i} = {line}");
    }
    m.text
}

struct Module<'a> {
    target: &'a TargetSpec,
    text: String,
    metadata: Vec<String>,
}

impl Module<'_> {
    fn kernel(&mut self, nest: &Nest) {
        self.entry(nest);
        let mut f = Function {
            nest,
            target: self.target,
            text: &mut self.text,
            metadata: &mut self.metadata,
            consts: vec![None; nest.regs.len()],
            temporaries: 0,
            label: "entry".to_string(),
            groups: Vec::new(),
            reassociate: false,
        };
        f.body();
    }

    /// The exported function.
    fn entry(&mut self, nest: &Nest) {
        let t = &mut self.text;
        let _ = writeln!(
            t,
            "\ndefine void @{}(ptr %args, ptr %dims, i64 %begin, i64 %end, ptr %scratch) #0 {{",
            nest.name
        );
        let mut passed = vec!["i64 %begin".to_string(), "i64 %end".to_string()];
        let mut arg = 0;
        for (i, b) in nest.buffers.iter().enumerate() {
            match &b.place {
                Place::Input | Place::Output => {
                    let _ = writeln!(t, "  %a{i} = getelementptr ptr, ptr %args, i64 {arg}");
                    let _ = writeln!(t, "  %b{i} = load ptr, ptr %a{i}, align 8");
                    arg += 1;
                }
                Place::Scratch { offset } => {
                    let offset = match offset.known() {
                        Some(n) => n.to_string(),
                        None => {
                            let slot = nest
                                .dims
                                .iter()
                                .position(|d| d == offset)
                                .expect("a scratch offset should be a run-time dimension");
                            let _ = writeln!(t, "  %o{i} = getelementptr i64, ptr %dims, i64 {slot}");
                            let _ = writeln!(t, "  %s{i} = load i64, ptr %o{i}, align 8");
                            format!("%s{i}")
                        }
                    };
                    let _ = writeln!(t, "  %b{i} = getelementptr i8, ptr %scratch, i64 {offset}");
                }
                Place::Shared { .. } | Place::Local { .. } => continue,
            }
            passed.push(format!("ptr %b{i}"));
        }
        for i in 0..nest.dims.len() {
            let _ = writeln!(t, "  %p{i} = getelementptr i64, ptr %dims, i64 {i}");
            let _ = writeln!(t, "  %d{i} = load i64, ptr %p{i}, align 8");
            passed.push(format!("i64 %d{i}"));
        }
        let _ = writeln!(t, "  call void @{}.body({})\n  ret void\n}}", nest.name, passed.join(", "));
    }

    fn attributes(&mut self) {
        let TargetSpec { cpu, features, vector_bytes, .. } = self.target;
        let features =
            if features.is_empty() { String::new() } else { format!(" \"target-features\"=\"{features}\"") };
        let common = format!(
            "\"no-builtins\" \"target-cpu\"=\"{cpu}\"{features} \"prefer-vector-width\"=\"{}\"",
            vector_bytes * 8
        );
        let _ = writeln!(self.text, "\nattributes #0 = {{ nounwind {common} }}");
        let _ = writeln!(self.text, "attributes #1 = {{ nounwind noinline nosync nofree {common} }}");
    }
}

/// The internal function of one kernel.
struct Function<'a> {
    nest: &'a Nest,
    target: &'a TargetSpec,
    text: &'a mut String,
    metadata: &'a mut Vec<String>,
    /// The text of registers that are printed where they are used.
    consts: Vec<Option<String>>,
    temporaries: usize,
    /// The label of the block that is open.
    label: String,
    /// The access groups of the enclosing loops with independent iterations.
    groups: Vec<usize>,
    /// Whether sums and products may be reassociated here.
    reassociate: bool,
}

/// Appends a line of the function.
macro_rules! line {
    ($f:expr, $($arg:tt)*) => {{
        let _ = writeln!($f.text, "  {}", format_args!($($arg)*));
    }};
}
use line;

impl Function<'_> {
    fn body(&mut self) {
        let nest = self.nest;
        let mut params = vec!["i64 %begin".to_string(), "i64 %end".to_string()];
        for (i, b) in nest.buffers.iter().enumerate() {
            match b.place {
                Place::Input => params.push(format!("ptr noalias readonly %b{i}")),
                Place::Output => params.push(format!("ptr noalias %b{i}")),
                Place::Scratch { .. } => params.push(format!("ptr noalias align 64 %b{i}")),
                Place::Shared { .. } | Place::Local { .. } => {}
            }
        }
        params.extend((0..nest.dims.len()).map(|i| format!("i64 %d{i}")));
        let _ = writeln!(
            self.text,
            "\ndefine internal void @{}.body({}) #1 {{\nentry:",
            nest.name,
            params.join(", ")
        );
        for (i, ty) in nest.vars.iter().enumerate() {
            line!(self, "%m{i} = alloca {}", ty_name(*ty));
        }
        for (i, b) in nest.buffers.iter().enumerate() {
            if let Place::Local { len } = b.place {
                line!(self, "%b{i} = alloca [{len} x {}], align 64", memory_name(b));
            }
        }
        self.range("%g", "%begin", "%end", 1, nest.grid_kind, |f| f.block(&nest.body));
        line!(self, "ret void");
        self.text.push_str("}\n");
    }

    fn temporary(&mut self) -> String {
        self.temporaries += 1;
        format!("%t{}", self.temporaries)
    }
    /// The operand text of a register.
    fn reg(&self, r: Reg) -> String {
        self.consts[r.0 as usize].clone().unwrap_or_else(|| format!("%v{}", r.0))
    }
    fn ty(&self, r: Reg) -> Ty {
        self.nest.ty(r)
    }
    fn add_metadata(&mut self, line: String) -> usize {
        self.metadata.push(line);
        self.metadata.len() - 1
    }

    /// A loop of `index` over a range; `body` prints an iteration.
    fn range(
        &mut self,
        index: &str,
        begin: &str,
        end: &str,
        step: i64,
        kind: LoopKind,
        body: impl FnOnce(&mut Self),
    ) {
        self.temporaries += 1;
        let n = self.temporaries;
        let independent = matches!(kind, LoopKind::Vectorize | LoopKind::Reduce);
        let outer = self.reassociate;
        self.reassociate |= kind == LoopKind::Reduce;
        let group = independent.then(|| self.add_metadata("distinct !{}".into()));
        self.groups.extend(group);
        let from = std::mem::replace(&mut self.label, format!("do{n}"));
        line!(self, "br label %for{n}");
        let _ = writeln!(self.text, "for{n}:");
        line!(self, "{index} = phi i64 [ {begin}, %{from} ], [ %next{n}, %latch{n} ]");
        line!(self, "%more{n} = icmp slt i64 {index}, {end}");
        line!(self, "br i1 %more{n}, label %do{n}, label %end{n}");
        let _ = writeln!(self.text, "do{n}:");
        body(self);
        line!(self, "br label %latch{n}");
        let _ = writeln!(self.text, "latch{n}:");
        line!(self, "%next{n} = add nsw i64 {index}, {step}");
        let metadata = self.loop_metadata(kind, group);
        line!(self, "br label %for{n}{metadata}");
        let _ = writeln!(self.text, "end{n}:");
        self.label = format!("end{n}");
        if group.is_some() {
            self.groups.pop();
        }
        self.reassociate = outer;
    }

    fn loop_metadata(&mut self, kind: LoopKind, group: Option<usize>) -> String {
        let mut hints = Vec::new();
        match kind {
            LoopKind::Serial => return String::new(),
            LoopKind::Unroll(0) => hints.push("!{!\"llvm.loop.unroll.full\"}".to_string()),
            LoopKind::Unroll(n) => hints.push(format!("!{{!\"llvm.loop.unroll.count\", i32 {n}}}")),
            LoopKind::Vectorize | LoopKind::Reduce => {
                hints.extend(group.map(|g| format!("!{{!\"llvm.loop.parallel_accesses\", !{g}}}")));
            }
        }
        let own = self.metadata.len() + hints.len();
        let parts: Vec<String> = hints.into_iter().map(|h| format!("!{}", self.add_metadata(h))).collect();
        self.add_metadata(format!("distinct !{{!{own}, {}}}", parts.join(", ")));
        format!(", !llvm.loop !{own}")
    }

    /// The metadata of a load or store that concerns the enclosing loops.
    fn access(&mut self, buffer: &Buffer) -> String {
        match (&self.groups[..], &buffer.place) {
            ([], _) | (_, Place::Local { .. }) => String::new(),
            ([g], _) => format!(", !llvm.access.group !{g}"),
            (groups, _) => {
                let list =
                    format!("!{{{}}}", groups.iter().map(|g| format!("!{g}")).collect::<Vec<_>>().join(", "));
                let known = self.metadata.iter().position(|m| *m == list);
                let id = known.unwrap_or_else(|| self.add_metadata(list));
                format!(", !llvm.access.group !{id}")
            }
        }
    }
}

/// LLVM's name of an element type in registers.
fn scalar_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::F16 => "half",
        DType::Bool => "i1",
        t => match t.bits() {
            64 => "i64",
            32 => "i32",
            16 => "i16",
            8 => "i8",
            _ => panic!("bug: {t} in a register"),
        },
    }
}

/// LLVM's name of a register type.
fn ty_name(ty: Ty) -> String {
    match ty.lanes {
        1 => scalar_name(ty.dtype).to_string(),
        n => format!("<{n} x {}>", scalar_name(ty.dtype)),
    }
}

/// The suffix of intrinsics on this type.
fn suffix(ty: Ty) -> String {
    let scalar = match ty.dtype {
        DType::F64 => "f64".to_string(),
        DType::F32 => "f32".to_string(),
        t => scalar_name(t).to_string(),
    };
    if ty.lanes == 1 { scalar } else { format!("v{}{scalar}", ty.lanes) }
}

/// LLVM's name of a buffer's elements.
fn memory_name(b: &Buffer) -> &'static str {
    if b.dtype == DType::Bool { "i8" } else { scalar_name(b.dtype) }
}

/// A constant operand.
fn constant(ty: Ty, bits: u64) -> String {
    let scalar = match ty.dtype {
        t if t.is_float() => format!("0x{bits:016X}"),
        DType::Bool => (bits != 0).to_string(),
        t => {
            let shift = 64 - t.bits();
            (((bits << shift) as i64) >> shift).to_string()
        }
    };
    match (ty.lanes, &scalar[..]) {
        (1, _) => scalar,
        (_, "0" | "0x0000000000000000" | "false") => "zeroinitializer".into(),
        _ => format!("splat ({} {scalar})", scalar_name(ty.dtype)),
    }
}
