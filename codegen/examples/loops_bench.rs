//! The speed of loops over rows on one thread, and with `--asm` their assembly.
//!
//! `cargo run --release -p sardonyx-codegen --example loops_bench -- [--asm] [name filter]`
#[path = "../tests/common/mod.rs"]
mod common;
use common::{bytes, load};
use sardonyx_codegen::emit;
use sardonyx_codegen::nest::{Builder, Expr, LoopKind, Nest};
use sardonyx_codegen::toolchain;
use sardonyx_ir::scalar::Prim;
use sardonyx_tensor::{DType, Dim};
use std::time::Instant;

const ROWS: usize = 64;
const COLUMNS: usize = 768;

/// Applies `f` to every element.
fn map(name: &str, dtype: DType, f: impl for<'b> FnOnce(Expr<'b>) -> Expr<'b>) -> Nest {
    let b = Builder::new(name);
    let (x, y) = (b.input("x", dtype), b.output("y", dtype));
    let first = b.grid() * COLUMNS;
    let mut f = Some(f);
    b.vectorize(0, COLUMNS, |i| {
        let f = f.take().expect("a body should be built once");
        b.store(y, first + i, f(b.load(x, first + i)));
    });
    b.finish(ROWS as i64)
}

fn gelu(x: Expr<'_>) -> Expr<'_> {
    x * 0.5 * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
}

fn softmax(name: &str, columns: &Dim) -> Nest {
    let b = Builder::new(name);
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    let e = b.scratch("e", DType::F32, columns);
    let first = b.grid() * columns;
    let greatest = b.var(b.f32(f64::NEG_INFINITY));
    b.reduce(0, columns, |i| greatest.update(|m| m.max(b.load(x, first + i))));
    let (m, sum) = (greatest.get(), b.var(b.f32(0.0)));
    b.reduce(0, columns, |i| {
        let v = (b.load(x, first + i) - m).exp();
        b.store(e, i, v);
        sum.add(v);
    });
    let scale = 1.0 / sum.get();
    b.vectorize(0, columns, |i| b.store(y, first + i, b.load(e, i) * scale));
    b.finish(ROWS as i64)
}

fn layer_norm() -> Nest {
    let b = Builder::new("layer_norm");
    let (x, g, y) = (b.input("x", DType::F32), b.input("g", DType::F32), b.output("y", DType::F32));
    let n = COLUMNS as f64;
    let first = b.grid() * COLUMNS;
    let sum = b.var(b.f32(0.0));
    b.reduce(0, COLUMNS, |i| sum.add(b.load(x, first + i)));
    let mean = sum.get() / n;
    let squares = b.var(b.f32(0.0));
    b.reduce(0, COLUMNS, |i| {
        let d = b.load(x, first + i) - mean;
        squares.add(d * d);
    });
    let scale = 1.0 / (squares.get() / n + 1e-5).sqrt();
    b.vectorize(0, COLUMNS, |i| b.store(y, first + i, (b.load(x, first + i) - mean) * scale * b.load(g, i)));
    b.finish(ROWS as i64)
}

fn transpose() -> Nest {
    let b = Builder::new("transpose");
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    b.vectorize(0, COLUMNS, |i| b.store(y, b.grid() * COLUMNS + i, b.load(x, i * ROWS + b.grid())));
    b.finish(ROWS as i64)
}

fn flat() -> Nest {
    let b = Builder::new("flat_add");
    let (x, y) = (b.input("x", DType::F32), b.output("y", DType::F32));
    b.set_grid_kind(LoopKind::Vectorize);
    b.store(y, b.grid(), b.load(x, b.grid()) + 1.0);
    b.finish((ROWS * COLUMNS) as i64)
}

fn main() {
    let (flags, filters): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let asm = flags.iter().any(|f| f == "--asm");
    let target = toolchain::cpu("native").expect("LLVM should describe this processor");
    let f32 = DType::F32;
    let nests = [
        flat(),
        map("relu", f32, |x| x.max(0.0)),
        map("relu_f16", DType::F16, |x| x.max(0.0)),
        map("relu_bf16", DType::BF16, |x| x.max(0.0)),
        map("exp", f32, |x| x.exp()),
        map("log", f32, |x| x.abs().log()),
        map("tanh", f32, |x| x.tanh()),
        map("erf", f32, |x| x.erf()),
        map("gelu", f32, gelu),
        map("gelu_f16", DType::F16, gelu),
        map("sigmoid", f32, |x| 1.0 / ((-x).exp() + 1.0)),
        map("sin", f32, |x| x.builder().prim(Prim::Sin, &[x])),
        map("tan", f32, |x| x.builder().prim(Prim::Tan, &[x])),
        map("pow", f32, |x| x.builder().prim(Prim::Pow, &[x, x])),
        map("exp_f64", DType::F64, |x| x.exp()),
        softmax("softmax", &Dim::from(COLUMNS as i64)),
        softmax("softmax_symbolic", &Dim::symbol("n")),
        layer_norm(),
        transpose(),
    ];
    let kept: Vec<Nest> =
        nests.into_iter().filter(|n| filters.iter().all(|f| n.name.contains(f.as_str()))).collect();
    if asm {
        for nest in &kept {
            let text = emit::llvm::module(&[nest], &target);
            println!(
                "{text}\n{}",
                toolchain::llvm::to_assembly(&text, &target).expect("LLVM should take the text")
            );
        }
        return;
    }
    let start = Instant::now();
    let loaded = load(&kept);
    println!("{} kernels compiled in {:.0} ms", kept.len(), start.elapsed().as_secs_f64() * 1e3);
    let mut x: Vec<f64> = (0..ROWS * COLUMNS).map(|i| (i % 977) as f64 / 100.0 - 5.0).collect();
    let (mut g, mut y) = (vec![1f32; COLUMNS], vec![0f64; ROWS * COLUMNS]);
    for (k, nest) in kept.iter().enumerate() {
        fill(&mut x, nest.params().next().expect("a kernel should have an input").dtype);
        let mut args: Vec<&mut [u8]> = vec![bytes(&mut x)];
        if nest.params().count() == 3 {
            args.push(bytes(&mut g));
        }
        args.push(bytes(&mut y));
        let end = nest.grid.known().expect("a bench should have a known grid");
        let mut best = f64::INFINITY;
        for _ in 0..30 {
            let start = Instant::now();
            loaded.run(k, &mut args, &[COLUMNS as i64], 0, end, 1 << 16);
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{:18} {:7.3} ns an element", nest.name, best * 1e9 / (ROWS * COLUMNS) as f64);
    }
}

/// Numbers between -5 and 5 as elements of a type.
fn fill(x: &mut [f64], dtype: DType) {
    let n = x.len();
    let t = sardonyx_tensor::Tensor::from_f64s(
        dtype,
        [n],
        (0..n).map(|i| (i % 977) as f64 / 100.0 - 5.0).collect::<Vec<_>>(),
    );
    bytes(x)[..t.bytes().len()].copy_from_slice(t.bytes());
}
