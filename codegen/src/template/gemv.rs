//! Products of few rows with a matrix, which is what they wait for: `codegen/templates/gemv.hip`.
use super::gemm::{HEADERS, Lines, operands};
use super::text::{Dims, Packets, element};
use crate::kernel::contract::{Access, Gemm};
use crate::target::{GpuSpec, Platform};
use crate::unit::Template;
use sardonyx_tensor::Dim;
use std::fmt::Write;

const TEXT: &str = include_str!("../../templates/gemv.hip");

/// Rows that a thread sums up at most.
pub(super) const MOST_ROWS: i64 = 8;

/// A product of few rows.
pub(super) struct Few<'a> {
    /// The product.
    pub gemm: &'a Gemm,
    /// Its rows.
    pub rows: i64,
    /// The rows' elements.
    pub a: &'a Access,
    /// The matrix.
    pub b: &'a Access,
    /// How rows and matrix stand in memory.
    pub lines: &'a [Lines; 2],
}

/// The template for few rows.
pub(super) fn template(few: &Few<'_>, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let Few { gemm, rows, a, b, lines: [left, right] } = few;
    let ty = element(a.dtype)?;
    let vector = right.vector;
    let threads: i64 = if *rows > 4 { 128 } else { 256 };
    let blocks = |columns: i64| gemm.n.ceil_div(columns) * Dim::product(&gemm.batch);
    // 32 bytes of a row of the matrix at least, 64 where the GPU is busy all the same.
    let busy = |columns: i64| blocks(columns).known().is_none_or(|n| n >= i64::from(gpu.units) / 2);
    let columns = match right.along {
        true => 8,
        false => [32, 16].into_iter().find(|&c| busy(c)).unwrap_or(16).max(vector),
    };
    let mut dims = Dims::default();
    let rank = a.strides.len();
    let sizes = [
        ("N", &gemm.n),
        ("K", &gemm.k),
        ("A_PITCH", &a.strides[rank - 2]),
        ("A_STEP", &a.strides[rank - 1]),
        ("B_PITCH", &right.pitch),
    ];
    let sizes: Vec<String> = sizes.iter().map(|(name, d)| format!("{name} = {}", dims.print(d))).collect();
    let mut text = format!("#define GEMM_SIZES const i64_t {}\ntypedef {ty} Element;\n", sizes.join(", "));
    let _ = writeln!(text, "constexpr bool B_ALONG = {};", right.along);
    let _ = writeln!(text, "constexpr bool A_PACKED = {};", left.along && left.vector >= vector);
    let _ = writeln!(text, "constexpr int ROWS = {rows}, VECTOR = {vector};");
    let _ = writeln!(text, "constexpr int COLUMNS = {columns}, THREADS = {threads};");
    let packets = Packets::of(&gemm.epilogue, &gemm.m, &gemm.n);
    let packets = if packets.down { Packets { count: 1, down: false } } else { packets };
    let (rest, params) = operands(gemm, [a, b], packets, &mut dims)?;
    text += &rest;
    let share = if right.along { threads } else { threads * vector };
    Some(Template {
        name: name.into(),
        source: [HEADERS, &text, TEXT].concat(),
        params,
        dims: dims.0,
        grid: blocks(columns),
        threads: u32::try_from(threads).ok()?,
        shared: if gpu.platform == Platform::Cuda { u32::try_from(share * rows * 4).ok()? } else { 0 },
        scratch: Dim::ZERO,
    })
}
