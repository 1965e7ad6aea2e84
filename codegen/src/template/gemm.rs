//! Matrix products on matrix units: `codegen/templates/gemm.hip`.
use super::gemv;
use super::text::{Dims, Packets, Store, element, parameters, signature};
use super::tile::{Product, Tile};
use crate::kernel::contract::{Access, Gemm, Operand};
use crate::target::{GpuSpec, Platform};
use crate::unit::Template;
use sardonyx_tensor::Dim;
use std::fmt::Write;

/// The device headers of matrix products.
pub(super) const HEADERS: &str = concat!(
    include_str!("../../device/matrix.hpp"),
    include_str!("../../device/stage.hpp"),
    include_str!("../../device/product.hpp")
);
const TEXT: &str = include_str!("../../templates/gemm.hip");

/// How an operand stands in memory: lines of neighbouring elements.
pub(super) struct Lines {
    /// Whether a line is along the sum.
    pub along: bool,
    /// Elements from a line to the next.
    pub pitch: Dim,
    /// Elements that one load moves.
    pub vector: i64,
}

impl Lines {
    /// Those of an access over `batch.., outer, k`; `None` unless one of the two last strides is 1.
    fn of(access: &Access, outer: &Dim, k: &Dim) -> Option<Lines> {
        let (batch, [across, along]) = access.strides.split_last_chunk()?;
        let (along, pitch, extent) = match () {
            () if *along == Dim::ONE => (true, across, k),
            () if *across == Dim::ONE => (false, along, outer),
            () => return None,
        };
        let widest = 16 / i64::try_from(access.dtype.size()).ok()?;
        let whole = |v: i64| {
            batch.iter().chain([pitch, extent, &access.offset]).all(|d| d.exact_div(&Dim::from(v)).is_some())
        };
        let vector = [8, 4, 2].into_iter().find(|&v| v <= widest && whole(v)).unwrap_or(1);
        Some(Lines { along, pitch: pitch.clone(), vector })
    }
}

/// The template for a matrix product; `None` for types and layouts that it does not serve.
pub(super) fn template(gemm: &Gemm, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let gemm = &gemm.merged();
    let (Operand::Strided(a), Operand::Strided(b)) = (&gemm.a, &gemm.b) else { return None };
    let ty = element(a.dtype).filter(|_| a.dtype == b.dtype)?;
    // Over `batch.., n, k`, as the first operand is over `batch.., m, k`.
    let mut turned = b.clone();
    let rank = turned.strides.len();
    turned.strides.swap(rank - 1, rank - 2);
    let lines = [Lines::of(a, &gemm.m, &gemm.k)?, Lines::of(&turned, &gemm.n, &gemm.k)?];
    let product = Product { batch: &gemm.batch, m: &gemm.m, n: &gemm.n, k: &gemm.k, dtype: a.dtype };
    if let Some(rows) = gemm.m.known().filter(|m| (1..=gemv::MOST_ROWS).contains(m)) {
        return gemv::template(&gemv::Few { gemm, rows, a, b, lines: &lines }, name, gpu);
    }
    let warpgroups =
        Tile::of_warpgroups(&product, gpu).filter(|_| lines.iter().all(|lines| lines.vector == 8));
    let tile = warpgroups.unwrap_or_else(|| Tile::choose(&product, gpu));

    let mut dims = Dims::default();
    let mut text = constants(gemm, &tile, &lines, &mut dims);
    text += &warpgroups.map_or_else(String::new, |tile| tile.warpgroups());
    let _ = writeln!(text, "typedef {ty} Element;");
    let packets = Packets::of(&gemm.epilogue, &gemm.m, &gemm.n);
    let (rest, params) = operands(gemm, [a, b], packets, &mut dims)?;
    text += &rest;

    let blocks = |size: &Dim, tile: i64| (size + Dim::from(tile - 1)).floor_div(tile);
    Some(Template {
        name: name.into(),
        source: [&tile.cluster(), HEADERS, &text, TEXT].concat(),
        params,
        dims: dims.0,
        grid: blocks(&gemm.m, tile.m) * blocks(&gemm.n, tile.n) * Dim::product(&gemm.batch) * tile.blocks,
        threads: tile.waves() * gpu.wave,
        shared: match gpu.platform {
            Platform::Hip => 0,
            Platform::Cuda => tile.bytes(a.dtype),
        },
        scratch: Dim::ZERO,
    })
}

/// What the text says of buffers and of what becomes of the sums, and the number of buffers.
pub(super) fn operands(
    gemm: &Gemm,
    [a, b]: [&Access; 2],
    packets: Packets,
    dims: &mut Dims,
) -> Option<(String, usize)> {
    let mut text = String::new();
    let batch = dims.batch(&gemm.batch, "z");
    for (operand, access) in [("A", a), ("B", b)] {
        let _ = writeln!(text, "#define GEMM_{operand}(z) {}", dims.place(access, &batch));
    }
    let rank = batch.len() + 2;
    let indices: Vec<String> = batch.into_iter().chain(["i".into(), "j".into()]).collect();
    let axis = if packets.down { rank - 2 } else { rank - 1 };
    let store = Store { epilogue: &gemm.epilogue, indices: &indices, axis, count: packets.count };
    let (function, statements) = store.print(dims)?;
    text += &store.ahead("GEMM", dims, "z, i, j");
    let _ = writeln!(text, "constexpr int PACKET = {};", packets.count);
    let _ = writeln!(text, "constexpr bool DOWN = {};\n{function}", packets.down);

    let inputs: Vec<&Access> = gemm.epilogue.accesses.iter().chain([a, b]).collect();
    let buffers = parameters(&inputs, &gemm.epilogue.out)?;
    text += &signature("GEMM", &buffers, dims, "i64_t z, i64_t i, i64_t j", &statements);
    let _ = writeln!(text, "#define GEMM_FIRST p{}\n#define GEMM_SECOND p{}", a.arg, b.arg);
    Some((text, buffers.len()))
}

/// What the text says of sizes, layouts and the tile.
fn constants(gemm: &Gemm, tile: &Tile, lines: &[Lines; 2], dims: &mut Dims) -> String {
    let mut text = String::new();
    let sizes = [
        ("M", &gemm.m),
        ("N", &gemm.n),
        ("K", &gemm.k),
        ("A_PITCH", &lines[0].pitch),
        ("B_PITCH", &lines[1].pitch),
    ];
    let sizes: Vec<String> = sizes.iter().map(|(name, d)| format!("{name} = {}", dims.print(d))).collect();
    let _ = writeln!(text, "#define GEMM_SIZES const i64_t {}", sizes.join(", "));
    for (operand, lines) in ["A", "B"].iter().zip(lines) {
        let _ = writeln!(text, "constexpr bool {operand}_ALONG = {};", lines.along);
        let _ = writeln!(text, "constexpr int {operand}_VECTOR = {};", lines.vector);
    }
    text + &tile.constants()
}
