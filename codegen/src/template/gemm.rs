//! Matrix products on matrix units: `codegen/templates/gemm.hip`, and `gemm_warpgroup.hip` where `wgmma` serves.
use super::text::{Dims, element, epilogue, parameters};
use crate::kernel::contract::{Access, Gemm, Operand};
use crate::target::{GpuSpec, Matrix, Platform};
use crate::unit::Template;
use sardonyx_tensor::{DType, Dim};
use std::fmt::Write;

/// The device headers of both templates.
const HEADERS: &str =
    concat!(include_str!("../../device/matrix.hpp"), include_str!("../../device/stage.hpp"));
/// The template for waves, and that for warpgroups with its device header.
const WAVES: &str = include_str!("../../templates/gemm.hip");
const WARPGROUPS: &str =
    concat!(include_str!("../../device/warpgroup.hpp"), include_str!("../../templates/gemm_warpgroup.hip"));

/// The tile of a block and how its waves share it.
#[derive(Clone, Copy)]
struct Tile {
    m: i64,
    n: i64,
    k: i64,
    waves_m: u32,
    waves_n: u32,
    stages: i64,
}

/// The tiles that there are, the greatest first.
const TILES: &[Tile] = &[
    Tile { m: 128, n: 128, k: 32, waves_m: 2, waves_n: 2, stages: 4 },
    Tile { m: 128, n: 64, k: 32, waves_m: 2, waves_n: 2, stages: 4 },
    Tile { m: 64, n: 64, k: 32, waves_m: 2, waves_n: 2, stages: 4 },
    Tile { m: 32, n: 64, k: 64, waves_m: 1, waves_n: 4, stages: 4 },
    Tile { m: 32, n: 32, k: 64, waves_m: 2, waves_n: 2, stages: 4 },
];

/// The tiles of warpgroups, the greatest first; they lie in rows.
const WARPGROUP_TILES: &[Tile] = &[
    Tile { m: 256, n: 128, k: 64, waves_m: 8, waves_n: 1, stages: 4 },
    Tile { m: 128, n: 128, k: 64, waves_m: 8, waves_n: 1, stages: 3 },
    Tile { m: 64, n: 128, k: 64, waves_m: 4, waves_n: 1, stages: 4 },
];

/// Rows taken for a number of rows that only the run knows, when a tile is chosen.
const USUAL_ROWS: i64 = 512;

/// How an operand stands in memory: lines of neighbouring elements.
struct Lines {
    /// Whether a line is along the sum.
    along: bool,
    /// Elements from a line to the next.
    pitch: Dim,
    /// Elements that one load moves.
    vector: i64,
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

impl Tile {
    /// The greatest tile that leaves no part of the GPU without work, or the smallest.
    fn choose(gemm: &Gemm, dtype: DType, gpu: &GpuSpec) -> Tile {
        // Sums of multiply-adds hold more of both operands in registers.
        let fits = |t: &&Tile| on_matrix_units(dtype, gpu) || t.m <= 64;
        let mut tile = *TILES
            .iter()
            .filter(fits)
            .find(|t| t.blocks(gemm) >= i64::from(gpu.units))
            .unwrap_or(&TILES[TILES.len() - 1]);
        if gpu.platform == Platform::Hip {
            tile.stages = 2;
        }
        while tile.bytes(dtype) > i64::from(gpu.shared_bytes) && tile.k > 16 {
            tile.k /= 2;
        }
        tile
    }

    /// The greatest tile of warpgroups that is nearly filled and leaves no part of the GPU without work; `None`
    /// where there is none, or where `wgmma` does not serve the operands.
    fn of_warpgroups(gemm: &Gemm, dtype: DType, gpu: &GpuSpec, lines: &[Lines; 2]) -> Option<Tile> {
        let served = gpu.matrix == Matrix::Wgmma
            && matches!(dtype, DType::F16 | DType::BF16)
            && lines.iter().all(|l| l.vector == 8);
        let fits = |t: &&Tile| {
            let filled = |size: &Dim, tile: i64| tile < size.known().unwrap_or(USUAL_ROWS) + 64;
            filled(&gemm.m, t.m) && filled(&gemm.n, t.n) && t.bytes(dtype) <= i64::from(gpu.shared_bytes)
        };
        WARPGROUP_TILES
            .iter()
            .filter(fits)
            .find(|t| served && t.blocks(gemm) >= i64::from(gpu.units))
            .copied()
    }

    /// The number of blocks, with usual sizes for those that only the run knows.
    fn blocks(&self, gemm: &Gemm) -> i64 {
        let of = |d: &Dim, usual: i64| d.known().unwrap_or(usual).max(1);
        let tiles = |d: &Dim, tile: i64| (of(d, USUAL_ROWS) + tile - 1) / tile;
        let batch: i64 = gemm.batch.iter().map(|d| of(d, 1)).fold(1, i64::saturating_mul);
        tiles(&gemm.m, self.m).saturating_mul(tiles(&gemm.n, self.n)).saturating_mul(batch)
    }

    /// The most bytes of shared memory that it takes, padding counted.
    fn bytes(&self, dtype: DType) -> i64 {
        let size = i64::try_from(dtype.size()).unwrap_or(i64::MAX);
        let operand = |wide: i64| (wide * self.k) * size + 16 * wide.max(self.k);
        self.stages * (operand(self.m) + operand(self.n))
    }
}

/// Whether products of this type run on the GPU's matrix unit.
fn on_matrix_units(dtype: DType, gpu: &GpuSpec) -> bool {
    gpu.matrix != Matrix::None && dtype != DType::F32
}

/// The template for a matrix product; `None` for types and layouts that it does not serve.
pub(super) fn template(gemm: &Gemm, name: &str, gpu: &GpuSpec) -> Option<Template> {
    let (Operand::Strided(a), Operand::Strided(b)) = (&gemm.a, &gemm.b) else { return None };
    let ty = element(a.dtype).filter(|_| a.dtype == b.dtype)?;
    // Over `batch.., n, k`, as the first operand is over `batch.., m, k`.
    let mut turned = b.clone();
    let rank = turned.strides.len();
    turned.strides.swap(rank - 1, rank - 2);
    let lines = [Lines::of(a, &gemm.m, &gemm.k)?, Lines::of(&turned, &gemm.n, &gemm.k)?];
    let warpgroups = Tile::of_warpgroups(gemm, a.dtype, gpu, &lines);
    let tile = warpgroups.unwrap_or_else(|| Tile::choose(gemm, a.dtype, gpu));

    let mut dims = Dims::default();
    let mut text = constants(gemm, &tile, &lines, &mut dims);
    let _ = writeln!(text, "typedef {ty} Element;");
    let batch = dims.batch(&gemm.batch, "z");
    for (operand, access) in [("A", a), ("B", b)] {
        let _ = writeln!(text, "#define GEMM_{operand}(z) {}", dims.place(access, &batch));
    }
    let indices: Vec<String> = batch.into_iter().chain(["(i)".into(), "(j)".into()]).collect();
    let end = epilogue(&gemm.epilogue, &indices, &mut dims)?;
    let _ = writeln!(
        text,
        "#define GEMM_EPILOGUE(z, i, j, product) do {{ const float sum = product; {end} }} while (0)"
    );

    let inputs: Vec<&Access> = gemm.epilogue.accesses.iter().chain([a, b]).collect();
    let params = parameters(&inputs, &gemm.epilogue.out)?;
    let declared = params.iter().enumerate().map(|(i, p)| format!("{p}p{i}"));
    let declared: Vec<String> = declared.chain((0..dims.0.len()).map(|i| format!("i64_t d{i}"))).collect();
    let _ = writeln!(text, "#define GEMM_PARAMETERS {}", declared.join(", "));
    let _ = writeln!(text, "#define GEMM_FIRST p{}\n#define GEMM_SECOND p{}", a.arg, b.arg);

    let blocks = |size: &Dim, tile: i64| (size + Dim::from(tile - 1)).floor_div(tile);
    Some(Template {
        name: name.into(),
        source: [HEADERS, &text, if warpgroups.is_some() { WARPGROUPS } else { WAVES }].concat(),
        params: params.len(),
        dims: dims.0,
        grid: blocks(&gemm.m, tile.m) * blocks(&gemm.n, tile.n) * Dim::product(&gemm.batch),
        threads: tile.waves_m * tile.waves_n * gpu.wave,
        shared: match gpu.platform {
            Platform::Hip => 0,
            Platform::Cuda => u32::try_from(tile.bytes(a.dtype)).ok()?,
        },
        scratch: Dim::ZERO,
    })
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
    let Tile { m, n, k, waves_m, waves_n, stages } = tile;
    let _ = writeln!(text, "constexpr int BLOCK_M = {m}, BLOCK_N = {n}, BLOCK_K = {k}, STAGES = {stages};");
    let _ = writeln!(text, "constexpr int WAVES_M = {waves_m}, WAVES_N = {waves_n};");
    text
}
