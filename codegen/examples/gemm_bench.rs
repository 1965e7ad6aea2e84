//! The speed of contraction kernels on one thread, beside that of a loop of multiply-adds in the same run.
//!
//! `cargo run --release -p sardonyx-codegen --example gemm_bench -- [--json] [name filter]`
#[path = "../tests/common/mod.rs"]
mod common;
use sardonyx_codegen::kernel::attention::Attention;
use sardonyx_codegen::kernel::contract::{Access, Conv, Epilogue, Gemm, Operand};
use sardonyx_codegen::kernel::window::{Window, WindowOp};
use sardonyx_codegen::nest::{Builder, LoopKind, Nest, Ty};
use sardonyx_codegen::target::TargetSpec;
use sardonyx_ir::scalar::Scalar;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::time::Instant;

const F32: DType = DType::F32;

/// A kernel with its arguments, and the floating-point operations of one run.
struct Case {
    name: String,
    nest: Nest,
    args: Vec<Tensor>,
    operations: f64,
}

fn main() {
    let (flags, filters): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let json = flags.iter().any(|f| f == "--json");
    let target = sardonyx_codegen::toolchain::cpu("native").expect("the table should have this processor");
    let mut lines = vec![];
    for case in cases(&target) {
        if !filters.iter().all(|f| case.name.contains(f.as_str())) {
            continue;
        }
        let peak = measure(peak(&target));
        let (name, operations) = (case.name.clone(), case.operations);
        let start = Instant::now();
        let speed = measure(case);
        let compile = start.elapsed().as_secs_f64() - speed.spent;
        let (own, peak) = (speed.gflops, peak.gflops);
        if json {
            let ms = operations / own / 1e6;
            lines.push(format!(
                r#"{{"name":"{name}","ms":{ms:.4},"gflops":{own:.1},"peak_gflops":{peak:.1}}}"#
            ));
        } else {
            let ms = operations / own / 1e6;
            println!(
                "{name:32} {ms:9.4} ms {own:7.1} GFLOP/s of {peak:.1}   compiled in {:.0} ms",
                compile * 1e3
            );
        }
    }
    if json {
        println!("[{}]", lines.join(",\n "));
    }
}

struct Speed {
    gflops: f64,
    spent: f64,
}

/// The best of several runs.
fn measure(mut case: Case) -> Speed {
    let known = |d: &Dim| d.known().expect("a benchmark should have known sizes");
    let (grid, scratch) = (known(&case.nest.grid), known(&case.nest.scratch));
    let loaded = common::load(&[case.nest]);
    let mut args: Vec<&mut [u8]> = case.args.iter_mut().map(Tensor::bytes_mut).collect();
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    let mut spare = vec![0u8; scratch as usize + 128];
    while runs < 5 || (start.elapsed().as_secs_f64() < 0.4 && runs < 2000) {
        let before = Instant::now();
        loaded.run_with(0, &mut args, &[], 0, grid, &mut spare);
        best = best.min(before.elapsed().as_secs_f64());
        runs += 1;
    }
    Speed { gflops: case.operations / best / 1e9, spent: start.elapsed().as_secs_f64() }
}

/// Independent multiply-adds in registers.
fn peak(target: &TargetSpec) -> Case {
    let (chains, steps) = (i64::from(target.vector_registers) * 5 / 8, 200_000);
    let b = Builder::new("peak");
    let (x, y) = (b.input("x", F32), b.output("y", F32));
    let lanes = target.f32_lanes();
    let (factor, term) = (b.load(x, 0).splat(lanes), b.load(x, 1).splat(lanes));
    let sums: Vec<_> = (0..chains).map(|i| b.var(b.constant(Ty { dtype: F32, lanes }, i as f64))).collect();
    b.for_step(LoopKind::Serial, 0, steps, 1, |_| {
        sums.iter().for_each(|s| s.update(|v| b.fma(v, factor, term)))
    });
    sums.iter().enumerate().for_each(|(i, s)| b.store(y, i as i64 * i64::from(lanes), s.get()));
    let args = vec![tensor(2), tensor(chains * i64::from(lanes))];
    let operations = (chains * steps * i64::from(lanes) * 2) as f64;
    Case { name: "peak".into(), nest: b.finish(1), args, operations }
}

fn tensor(count: i64) -> Tensor {
    Tensor::from_f64s(F32, [count as usize], (0..count).map(|i| f64::from((i % 13) as i32) * 0.1))
}

fn matrix(arg: usize, rows: i64, columns: i64) -> Access {
    Access::row_major(arg, F32, &[rows.into(), columns.into()])
}

fn cases(target: &TargetSpec) -> Vec<Case> {
    let mut list = products(target);
    list.extend(convolutions(target));
    // Channels, spatial size of the input, kernel, stride.
    for [c, s, k, stride] in
        [[16, 112, 3, 1], [64, 112, 3, 2], [120, 28, 5, 1], [672, 14, 5, 1], [960, 7, 5, 1]]
    {
        list.push(window(target, true, c, s, k, stride));
    }
    list.push(window(target, false, 64, 112, 3, 2));
    for (queries, keys, causal) in
        [(128, 128, false), (197, 197, false), (1024, 1024, true), (1, 1024, false)]
    {
        list.push(attention(target, queries, keys, causal));
    }
    list
}

fn products(target: &TargetSpec) -> Vec<Case> {
    let mut list = vec![];
    for [m, n, k] in [
        [1024, 1024, 1024],
        [2048, 2048, 2048],
        [128, 768, 768],
        [128, 3072, 768],
        [128, 768, 3072],
        [512, 512, 4096],
        [384, 50257, 768],
        [1, 4096, 4096],
        [4, 1000, 1280],
        [100, 100, 100],
    ] {
        list.push(gemm(target, m, n, k, Layout::Constant));
    }
    for [m, n, k] in [[1024, 1024, 1024], [128, 64, 128], [384, 384, 64], [1, 1024, 1024]] {
        list.push(gemm(target, m, n, k, Layout::Rows));
        list.push(gemm(target, m, n, k, Layout::Columns));
    }
    list.push(gemm(target, 128, 768, 384, Layout::Quantized));
    list
}

/// Channels in, spatial size of the input, channels out, kernel, stride: those of ResNet-50, then some of
/// MobileNet.
const CONVOLUTIONS: [[i64; 5]; 26] = [
    [3, 224, 64, 7, 2],
    [64, 56, 64, 1, 1],
    [64, 56, 64, 3, 1],
    [64, 56, 256, 1, 1],
    [256, 56, 64, 1, 1],
    [256, 56, 128, 1, 1],
    [128, 56, 128, 3, 2],
    [256, 56, 512, 1, 2],
    [128, 28, 512, 1, 1],
    [512, 28, 128, 1, 1],
    [128, 28, 128, 3, 1],
    [256, 28, 256, 3, 2],
    [256, 14, 1024, 1, 1],
    [1024, 14, 256, 1, 1],
    [256, 14, 256, 3, 1],
    [512, 14, 512, 3, 2],
    [1024, 14, 2048, 1, 2],
    [512, 7, 2048, 1, 1],
    [2048, 7, 512, 1, 1],
    [512, 7, 512, 3, 1],
    [3, 224, 16, 3, 2],
    [16, 112, 64, 1, 1],
    [24, 56, 72, 1, 1],
    [80, 14, 184, 1, 1],
    [672, 14, 112, 1, 1],
    [160, 7, 960, 1, 1],
];

fn convolutions(target: &TargetSpec) -> Vec<Case> {
    CONVOLUTIONS.iter().map(|&[c, s, o, k, stride]| conv(target, c, s, o, k, stride)).collect()
}

/// A depthwise convolution, or the pooling of a maximum.
fn window(target: &TargetSpec, depthwise: bool, channels: i64, size: i64, kernel: i64, stride: i64) -> Case {
    let pad = kernel / 2;
    let output = (size + 2 * pad - kernel) / stride + 1;
    let (x, y) = ([1, channels, size, size].map(Dim::from), [1, channels, output, output].map(Dim::from));
    let w = Access::row_major(1, F32, &[channels, kernel, kernel].map(Dim::from));
    let window = Window {
        batch: 1.into(),
        channels: channels.into(),
        input: x[2..].to_vec(),
        output: y[2..].to_vec(),
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads: vec![pad; 2],
        pads_end: vec![pad; 2],
        dilations: vec![1; 2],
        op: if depthwise { WindowOp::Weighted { w, multiplier: 1 } } else { WindowOp::Max },
        x: Access::row_major(0, F32, &x),
        epilogue: Epilogue::store(Access::row_major(1 + usize::from(depthwise), F32, &y)),
    };
    let mut args = vec![tensor(channels * size * size), tensor(channels * output * output)];
    if depthwise {
        args.insert(1, tensor(channels * kernel * kernel));
    }
    let operations = 2.0 * (channels * kernel * kernel * output * output) as f64;
    let kind = if depthwise { "depthwise" } else { "max pool" };
    let name = format!("{kind} {kernel}x{kernel}/{stride} {channels} {size}");
    Case { name, nest: window.nest("window", target), args, operations }
}

/// Twelve heads of 64 elements in `[sequence, head, element]` order.
fn attention(target: &TargetSpec, queries: i64, keys: i64, causal: bool) -> Case {
    let access = |arg: usize, sequence: i64| Access {
        arg,
        dtype: F32,
        offset: Dim::ZERO,
        strides: [sequence * 768, 64, 768, 1].map(Dim::from).to_vec(),
    };
    let attention = Attention {
        batch: 1.into(),
        heads: 12.into(),
        group: 1,
        queries: queries.into(),
        keys: keys.into(),
        head: 64,
        value: 64,
        scale: 0.125,
        softcap: None,
        causal: causal.then_some(Dim::ZERO),
        q: access(0, queries),
        k: access(1, keys),
        v: access(2, keys),
        mask: None,
        out: access(3, queries),
    };
    let args = [queries, keys, keys, queries].map(|n| tensor(n * 768)).to_vec();
    let operations = (4 * 12 * 64 * queries * keys / if causal { 2 } else { 1 }) as f64;
    let name = format!("attention {queries}x{keys}{}", if causal { " causal" } else { "" });
    Case { name, nest: attention.nest("attention", target), args, operations }
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Constant,
    Rows,
    Columns,
    /// Constant, and the result is rounded to eight bits.
    Quantized,
}

fn gemm(target: &TargetSpec, m: i64, n: i64, k: i64, layout: Layout) -> Case {
    let mut b = matrix(1, k, n);
    if layout == Layout::Columns {
        b.strides = vec![1.into(), k.into()];
    }
    let mut gemm = Gemm {
        batch: vec![],
        a: Operand::Strided(matrix(0, m, k)),
        b: Operand::Strided(b),
        epilogue: Epilogue::store(matrix(2, m, n)),
        m: m.into(),
        n: n.into(),
        k: k.into(),
    };
    let mut args = vec![tensor(m * k), tensor(k * n), tensor(m * n)];
    let name = match layout {
        Layout::Constant => "",
        Layout::Rows => " run-time",
        Layout::Columns => " run-time, transposed",
        Layout::Quantized => " rounded to eight bits",
    };
    if layout == Layout::Quantized {
        gemm.epilogue.f = Scalar::build(1, |_, x| {
            let byte = ((x[0] * 18.5).round() + 131.0).max(0.0).min(255.0).cast(DType::U8);
            (byte.cast(DType::I32) - 131.0).cast(F32) * 0.054
        });
    }
    if matches!(layout, Layout::Constant | Layout::Quantized) {
        args[1] = gemm.pack_b(&args[1], target).expect("known sizes should be packed").tensor();
    }
    let operations = 2.0 * (m * n * k) as f64;
    Case { name: format!("gemm {m}x{n}x{k}{name}"), nest: gemm.nest("gemm", target), args, operations }
}

fn conv(target: &TargetSpec, channels: i64, size: i64, out: i64, kernel: i64, stride: i64) -> Case {
    let pad = kernel / 2;
    let output = (size + 2 * pad - kernel) / stride + 1;
    let (x, y) = ([1, channels, size, size].map(Dim::from), [1, out, output, output].map(Dim::from));
    let mut bias = Access::scalar(2, F32, 4);
    bias.strides[1] = Dim::ONE;
    let mut conv = Conv {
        batch: 1.into(),
        groups: 1,
        in_channels: channels,
        out_channels: out,
        input: x[2..].to_vec(),
        output: y[2..].to_vec(),
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads: vec![pad; 2],
        dilations: vec![1; 2],
        transposed: false,
        x: Access::row_major(0, F32, &x),
        w: Operand::Strided(Conv::weights(1, F32, 1, out, channels, &[kernel; 2], false)),
        epilogue: Epilogue {
            accesses: vec![bias],
            f: Scalar::build(2, |_, x| (x[0] + x[1]).max(0.0)),
            out: Access::row_major(3, F32, &y),
        },
    };
    let taps = channels * kernel * kernel;
    let mut args =
        vec![tensor(channels * size * size), tensor(out * taps), tensor(out), tensor(out * output * output)];
    args[1] = conv.pack(&args[1], target).expect("known sizes should be packed").tensor();
    let operations = 2.0 * (taps * out * output * output) as f64;
    let name = format!("conv {kernel}x{kernel}/{stride} {channels}->{out} {size}");
    Case { name, nest: conv.nest("conv", target), args, operations }
}
