//! Snapshots of nests and of their LLVM and HIP text; needs no toolchain.
#![allow(clippy::unwrap_used)]
use sardonyx_codegen::emit;
use sardonyx_codegen::nest::{Builder, LoopKind, Nest, Ty};
use sardonyx_codegen::nests::gpu::items;
use sardonyx_codegen::target::{GpuSpec, TargetSpec};
use sardonyx_codegen::unit::Unit;
use sardonyx_ir::scalar::{Prim, Scalar};
use sardonyx_tensor::{DType, Dim};

/// The nest as text and as LLVM text for one processor.
fn check(name: &str, cpu: &str, nest: &Nest) {
    let target = TargetSpec::named(cpu).unwrap();
    insta::assert_snapshot!(name, format!("{nest}\n; {cpu}\n{}", emit::llvm::module(&[nest], &target)));
}

#[test]
fn rows_of_softmax() {
    check("softmax", "x86-64-v4", &softmax());
}

/// The same rows, each run by a thread of a GPU: the text after the prelude.
#[test]
fn rows_of_softmax_as_hip_text() {
    let target = GpuSpec::named("hip:gfx90a").unwrap();
    let nest = items::spread(softmax(), target, items::THREADS);
    let text = emit::hip::text(&Unit::Nest(nest.clone()), target).replace(emit::hip::PRELUDE, "// prelude\n");
    insta::assert_snapshot!("softmax_hip", format!("{nest}\n{text}"));
}

fn softmax() -> Nest {
    let b = Builder::new("softmax");
    let (x, y) = (b.input("x", DType::F16), b.output("y", DType::F16));
    let n = &Dim::symbol("n");
    let (first, kept) = (b.grid() * n, b.scratch("kept", DType::F32, n));
    let greatest = b.var(b.f32(f64::NEG_INFINITY));
    b.reduce(0, n, |i| greatest.update(|m| m.max(b.load(x, first + i))));
    let (m, sum) = (greatest.get(), b.var(b.f32(0.0)));
    b.reduce(0, n, |i| {
        let e = (b.load(x, first + i) - m).exp();
        b.store(kept, i, e);
        sum.add(e);
    });
    let scale = 1.0 / sum.get();
    b.vectorize(0, n, |i| b.store(y, first + i, b.load(kept, i) * scale));
    b.finish(Dim::symbol("b") * 12)
}

#[test]
fn tile_of_a_product() {
    let b = Builder::new("tile");
    let (x, w, y) = (b.input("x", DType::F32), b.input("w", DType::F32), b.output("y", DType::F32));
    let zero = b.constant(Ty::of(DType::F32).with_lanes(8), 0.0);
    let sums = [(); 4].map(|()| b.var(zero));
    b.for_step(LoopKind::Unroll(4), 0, 64, 1, |k| {
        let row = [0, 8].map(|j| b.load_lanes(w, k * 16 + j, 8));
        for (i, sum) in sums.iter().enumerate() {
            let a = b.load(x, (b.grid() * 2 + (i / 2) as i64) * 64 + k);
            sum.add_product(row[i % 2], a);
        }
    });
    let mask = b.first_lanes(&Dim::symbol("n"), 8);
    for (i, sum) in sums.iter().enumerate() {
        b.store_masked(y, (b.grid() * 2 + (i / 2) as i64) * 16 + (i % 2 * 8) as i64, sum.get(), mask);
    }
    b.comment("the sum of one lane");
    b.store(y, 0, sums[0].get().reduce(Prim::Add) + sums[1].get().lane(3));
    check("tile", "x86-64-v3", &b.finish(8));
}

#[test]
fn flat_map_of_narrow_types() {
    let f = Scalar::build(2, |_, a| (a[0] * a[1]).max(0.0));
    let b = Builder::new("scale");
    let (x, s, y) = (b.input("x", DType::BF16), b.input("s", DType::F8E4M3FN), b.output("y", DType::F16));
    b.set_grid_kind(LoopKind::Vectorize);
    let args = [b.load(x, b.grid()), b.load(s, b.grid().index_div(32))];
    let value = b.inline(&f, &args, &[DType::F32, DType::F32]);
    b.store(y, b.grid(), value);
    check("scale", "x86-64-v2", &b.finish(4096));
}

#[test]
fn control_and_integers() {
    let b = Builder::new("power");
    let (x, y) = (b.input("x", DType::I32), b.output("y", DType::Bool));
    let (n, local) = (b.load(x, b.grid()), b.local("digits", DType::I32, 4));
    let left = b.var(n);
    b.while_(
        || left.get().gt(0),
        || {
            b.store(local, left.get().modulo(4).cast(DType::I64), left.get());
            left.update(|v| v / 10);
        },
    );
    b.if_else(
        n.shl(3).lt(100),
        || b.store(y, b.grid(), b.load(local, 1).eq(n)),
        || b.store(y, b.grid(), 0i64),
    );
    check("control", "znver5", &b.finish(Dim::symbol("n")));
}
