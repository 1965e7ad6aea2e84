//! Kernels of single ops against the reference interpreter, at several sizes from one compilation.
#![cfg(feature = "cpu")]
#![allow(clippy::unwrap_used)]
mod common;

use sardonyx_codegen::nests::special;
use sardonyx_ir::interp::{eval_op, sample};
use sardonyx_ir::{Graph, Op, Type, text};
use sardonyx_tensor::{Bindings, DType, Dim, Tensor};

/// The single node of a graph text: its op, operand types and result types.
fn node(source: &str) -> (Op, Vec<Type>, Vec<Type>) {
    let g: Graph = text::parse(source).unwrap_or_else(|e| panic!("{e} in {source}"));
    let id = g.outputs()[0].node;
    let operands = g.operands(id).map(|v| g.ty(v).clone()).collect();
    (g.node(id).op.clone(), operands, g.node(id).types.to_vec())
}

fn operand(ty: &Type, bindings: &Bindings, seed: u64, below: Option<i64>) -> Tensor {
    let shape: Vec<usize> = ty.shape.iter().map(|d| d.eval(bindings).unwrap() as usize).collect();
    match below {
        None => sample(ty.dtype, &shape, seed),
        Some(n) => {
            let noise = sample(DType::F64, &shape, seed).to_f64s();
            let indices = noise.iter().map(|x| ((x + 1.0) / 2.0 * 2.0 * n as f64) as i128 - i128::from(n));
            Tensor::from_i128s(ty.dtype, shape, indices.collect::<Vec<_>>())
        }
    }
}

fn check(source: &str, below: &[Option<i64>], sizes: &[&[(&str, i64)]]) {
    let (op, operands, results) = node(source);
    let nest = special::nest(&op, &operands, &results).expect("the op should be such a kernel");
    let loaded = common::load(std::slice::from_ref(&nest));
    for (round, size) in sizes.iter().enumerate() {
        let bindings: Bindings = size.iter().map(|&(s, n)| (s.to_string(), n)).collect();
        let value = |d: &Dim| d.eval(&bindings).unwrap();
        let inputs: Vec<Tensor> = operands
            .iter()
            .enumerate()
            .map(|(i, t)| operand(t, &bindings, (round * 10 + i) as u64, below.get(i).copied().flatten()))
            .collect();
        let mut bound = op.clone();
        bound.map_dims(&mut |d| Dim::from(value(d)));
        let expected = eval_op(&bound, &inputs).unwrap_or_else(|e| panic!("{e}"));
        let mut buffers: Vec<Vec<u8>> = inputs.iter().map(|t| t.bytes().to_vec()).collect();
        buffers.extend(expected.iter().map(|t| vec![0u8; t.bytes().len()]));
        let mut args: Vec<&mut [u8]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
        let dims: Vec<i64> = nest.dims.iter().map(value).collect();
        loaded.run(0, &mut args, &dims, 0, value(&nest.grid), value(&nest.scratch) as usize);
        for (t, bytes) in expected.iter().zip(&buffers[inputs.len()..]) {
            let ours = Tensor::new(t.dtype(), t.shape().to_vec(), bytes.clone()).unwrap().to_f64s();
            for (i, (a, b)) in ours.iter().zip(t.to_f64s()).enumerate() {
                assert!(
                    (a - b).abs() <= 1e-5 + 1e-5 * b.abs(),
                    "{source}\nat {i}: {a} instead of {b}, sizes {size:?}"
                );
            }
        }
    }
}

const SIZES: &[&[(&str, i64)]] = &[&[("b", 2), ("s", 5)], &[("b", 1), ("s", 37)], &[("b", 3), ("s", 1)]];

#[test]
fn scatters() {
    for reduction in ["replace", "add", "mul", "max", "min"] {
        check(
            &format!(
                "graph(%x: f32[b,7,s], %i: i64[b,3,s], %u: f32[b,3,s]) {{ %0 = scatter_elements(%x, %i, %u) {{axis=1, reduction={reduction}}} return %0 }}"
            ),
            &[None, Some(7)],
            SIZES,
        );
        check(
            &format!(
                "graph(%x: f32[5,s], %i: i64[b,1], %u: f32[b,s]) {{ %0 = scatter_nd(%x, %i, %u) {{reduction={reduction}}} return %0 }}"
            ),
            &[None, Some(5)],
            SIZES,
        );
    }
}

#[test]
fn scans() {
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        for op in ["cumsum", "cumprod"] {
            check(
                &format!(
                    "graph(%x: f32[b,6,s]) {{ %0 = {op}(%x) {{axis=1, exclusive={exclusive}, reverse={reverse}}} return %0 }}"
                ),
                &[],
                SIZES,
            );
        }
    }
    check(
        "graph(%x: f32[b,9,s]) { %0 = lrn(%x) {size=4, alpha=0.3, beta=0.6, bias=1.5} return %0 }",
        &[],
        SIZES,
    );
}

#[test]
fn resizes() {
    for mode in ["nearest", "linear", "cubic"] {
        for coordinates in [
            "half_pixel",
            "half_pixel_symmetric",
            "pytorch_half_pixel",
            "align_corners",
            "asymmetric",
            "tf_half_pixel_for_nn",
        ] {
            for more in
                ["", ", exclude_outside=true", ", antialias=true", ", nearest=floor", ", nearest=ceil"]
            {
                let attributes = format!("mode={mode}, coordinates={coordinates}{more}");
                check(
                    &format!(
                        "graph(%x: f32[b,3,6,s]) {{ %0 = resize(%x) {{sizes=[b,3,9,s*2], {attributes}}} return %0 }}"
                    ),
                    &[],
                    SIZES,
                );
                check(
                    &format!(
                        "graph(%x: f32[b,12,s]) {{ %0 = resize(%x) {{sizes=[b,5,s], {attributes}}} return %0 }}"
                    ),
                    &[],
                    &SIZES[..1],
                );
            }
        }
    }
    check(
        "graph(%x: f32[b,3,8,9]) { %0 = resize(%x) {sizes=[b,3,5,7], mode=linear, coordinates=tf_crop_and_resize, roi=[0.0,0.0,0.4,-0.2,1.0,1.0,0.9,1.3], extrapolation=10.0} return %0 }",
        &[],
        SIZES,
    );
}

#[test]
fn grid_samples() {
    for mode in ["nearest", "linear", "cubic"] {
        for padding in ["zeros", "border", "reflection"] {
            for align in [false, true] {
                check(
                    &format!(
                        "graph(%x: f32[b,3,6,s], %g: f32[b,4,5,2]) {{ %0 = grid_sample(%x, %g) {{mode={mode}, padding={padding}, align_corners={align}}} return %0 }}"
                    ),
                    &[],
                    SIZES,
                );
            }
        }
    }
}
