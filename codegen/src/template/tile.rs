//! The tiles that blocks compute of a matrix product, and the choice among them.
use crate::target::{GpuSpec, Matrix, Platform};
use sardonyx_tensor::{DType, Dim};

/// The tile of a block and how its waves share it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Tile {
    /// Rows.
    pub m: i64,
    /// Columns.
    pub n: i64,
    /// The part of the sums that a stage holds.
    pub k: i64,
    /// Waves above each other.
    pub waves_m: u32,
    /// Waves beside each other.
    pub waves_n: u32,
    /// Waves that take turns along the sums.
    pub waves_k: u32,
    /// Stages of the pipeline.
    pub stages: i64,
    /// Blocks of a cluster that share the sums of a tile.
    pub blocks: i64,
}

/// The tiles that there are, the greatest first.
const TILES: &[Tile] = &[
    Tile { m: 128, n: 128, k: 32, waves_m: 2, waves_n: 2, waves_k: 1, stages: 4, blocks: 1 },
    Tile { m: 128, n: 64, k: 32, waves_m: 2, waves_n: 2, waves_k: 1, stages: 4, blocks: 1 },
    Tile { m: 64, n: 64, k: 64, waves_m: 2, waves_n: 2, waves_k: 1, stages: 4, blocks: 1 },
    Tile { m: 32, n: 64, k: 64, waves_m: 1, waves_n: 2, waves_k: 2, stages: 4, blocks: 1 },
    Tile { m: 32, n: 32, k: 64, waves_m: 1, waves_n: 1, waves_k: 4, stages: 4, blocks: 1 },
];

/// The tiles for sums of multiply-adds, of which a thread holds 8 by 8 at most.
const FMA_TILES: &[Tile] = &[
    Tile { m: 128, n: 128, k: 16, waves_m: 4, waves_n: 2, waves_k: 1, stages: 3, blocks: 1 },
    Tile { m: 64, n: 128, k: 16, waves_m: 2, waves_n: 2, waves_k: 1, stages: 3, blocks: 1 },
    Tile { m: 64, n: 64, k: 16, waves_m: 2, waves_n: 2, waves_k: 1, stages: 3, blocks: 1 },
    Tile { m: 32, n: 64, k: 32, waves_m: 1, waves_n: 4, waves_k: 1, stages: 3, blocks: 1 },
    Tile { m: 32, n: 32, k: 32, waves_m: 2, waves_n: 2, waves_k: 1, stages: 3, blocks: 1 },
];

/// The tiles of warpgroups, the greatest first; they lie in rows. Of those with enough blocks the first was the fastest
/// where it was measured (H100, 20 shapes).
const WARPGROUP_TILES: &[Tile] = &[
    Tile { m: 128, n: 256, k: 64, waves_m: 8, waves_n: 1, waves_k: 1, stages: 4, blocks: 1 },
    Tile { m: 256, n: 128, k: 64, waves_m: 8, waves_n: 1, waves_k: 1, stages: 4, blocks: 1 },
    Tile { m: 64, n: 128, k: 64, waves_m: 4, waves_n: 1, waves_k: 1, stages: 6, blocks: 1 },
    Tile { m: 64, n: 64, k: 64, waves_m: 4, waves_n: 1, waves_k: 1, stages: 8, blocks: 1 },
];

/// The tile for products that are small but for the length of their sums, along which 8 waves take turns.
const LONG_TILE: Tile =
    Tile { m: 16, n: 32, k: 128, waves_m: 1, waves_n: 1, waves_k: 8, stages: 4, blocks: 1 };
/// Sums of this length are long.
const LONG: i64 = 2048;

/// Sums of at most this length are little work beside the loads and stores.
const LITTLE: i64 = 256;
/// The fewest steps of a sum for which a block of its own pays.
const FEW_STEPS: i64 = 3;

/// What tiles of warpgroups need beside the device headers of matrix products.
const WARPGROUP_HEADER: &str = include_str!("../../device/warpgroup.hpp");

/// Rows taken for a number of rows that only the run knows, when a tile is chosen.
const USUAL_ROWS: i64 = 512;

/// What the choice depends on.
pub(super) struct Product<'a> {
    /// Batch sizes.
    pub batch: &'a [Dim],
    /// Rows.
    pub m: &'a Dim,
    /// Columns.
    pub n: &'a Dim,
    /// The length of the sums.
    pub k: &'a Dim,
    /// The type of the operands.
    pub dtype: DType,
}

impl Tile {
    /// The greatest tile that leaves little of the GPU without work, or the smallest.
    pub fn choose(product: &Product<'_>, gpu: &GpuSpec) -> Tile {
        let dtype = product.dtype;
        if Self::is_long(product, gpu) {
            return LONG_TILE;
        }
        let tiles = if on_matrix_units(dtype, gpu) { TILES } else { FMA_TILES };
        let enough = |t: &&Tile| t.is_enough(product, gpu);
        let mut tile = *tiles.iter().find(enough).unwrap_or(&tiles[tiles.len() - 1]);
        if gpu.platform == Platform::Hip {
            tile.stages = 2;
            // A fragment holds more registers there than on NVIDIA.
            tile.k = if tile.waves_k == 1 { tile.k.min(32) } else { tile.k };
        }
        while tile.bytes(dtype) > gpu.shared_bytes && tile.k > i64::from(16 * tile.waves_k) {
            tile.k /= 2;
        }
        tile
    }

    /// The tile of warpgroups for a product; `None` without `wgmma`, or where others are faster.
    pub fn of_warpgroups(product: &Product<'_>, gpu: &GpuSpec) -> Option<Tile> {
        let served = gpu.matrix == Matrix::Wgmma && matches!(product.dtype, DType::F16 | DType::BF16);
        let filled = |size: &Dim, tile: i64| tile < size.known().unwrap_or(USUAL_ROWS) + 64;
        let fits = |t: &&Tile| filled(product.m, t.m) && filled(product.n, t.n);
        let units = i64::from(gpu.units);
        let enough = |t: &&Tile| t.tiles(product).saturating_mul(2) >= units;
        let smallest = WARPGROUP_TILES[WARPGROUP_TILES.len() - 1];
        let depth = product.k.known();
        // What is little work for each result waits for memory: several blocks of a unit hide that.
        let small = |t: &&Tile| depth.is_none_or(|k| k > LITTLE) || t.m * t.n <= 64 * 128;
        let tiles = WARPGROUP_TILES.iter().filter(fits).filter(small);
        let mut tile = *tiles.clone().find(enough).unwrap_or(&smallest);
        let steps = depth.map(|k| (k + tile.k - 1) / tile.k);
        tile.blocks = steps.map_or(1, |steps| tile.shared_by(product, steps, units));
        if !served || (tile == smallest && Self::is_long(product, gpu)) {
            return None;
        }
        // Several blocks of a unit hide each other's waiting as well as more stages do.
        if tile.tiles(product) > units {
            tile.stages = tile.stages.min(4);
        }
        // One stage is multiplied, one may be, the others are on their way.
        let most = steps.map_or(i64::MAX, |steps| (steps + tile.blocks - 1) / tile.blocks + 2);
        tile.stages = tile.stages.min(most.max(3));
        Some(tile)
    }

    /// How many blocks share a tile's sums of so many steps: while they are fewer than the units that there are, and
    /// some steps are left for each.
    fn shared_by(&self, product: &Product<'_>, steps: i64, units: i64) -> i64 {
        let fits = |n: &i64| self.tiles(product).saturating_mul(*n) <= units && steps >= n * FEW_STEPS;
        [8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }

    /// Whether sums are long and results so few that most of the GPU would wait for some blocks.
    fn is_long(product: &Product<'_>, gpu: &GpuSpec) -> bool {
        let smallest = WARPGROUP_TILES[WARPGROUP_TILES.len() - 1];
        gpu.platform == Platform::Cuda
            && on_matrix_units(product.dtype, gpu)
            && smallest.tiles(product).saturating_mul(8) <= i64::from(gpu.units)
            && product.k.known().is_some_and(|k| k >= LONG)
    }

    /// Whether there are blocks for two thirds of the GPU at least: smaller tiles would not be faster. On AMD's, whose
    /// greater tiles are short of registers, for all of it.
    fn is_enough(&self, product: &Product<'_>, gpu: &GpuSpec) -> bool {
        let (of, parts) = if gpu.platform == Platform::Cuda { (2, 3) } else { (1, 1) };
        self.tiles(product).saturating_mul(parts) >= of * i64::from(gpu.units)
    }

    /// The number of tiles, with usual sizes for those that only the run knows.
    fn tiles(&self, product: &Product<'_>) -> i64 {
        let of = |d: &Dim, usual: i64| d.known().unwrap_or(usual).max(1);
        let tiles = |d: &Dim, tile: i64| (of(d, USUAL_ROWS) + tile - 1) / tile;
        let batch: i64 = product.batch.iter().map(|d| of(d, 1)).fold(1, i64::saturating_mul);
        tiles(product.m, self.m).saturating_mul(tiles(product.n, self.n)).saturating_mul(batch)
    }

    /// The most bytes of shared memory that it takes, padding counted.
    pub fn bytes(&self, dtype: DType) -> u32 {
        let size = i64::try_from(dtype.size()).unwrap_or(i64::MAX);
        let operand = |wide: i64| (wide * self.k) * size + 16 * wide.max(self.k);
        let waves = i64::from(self.waves());
        let strips = waves * 16 * (self.n / i64::from(self.waves_n) + 8) * 4;
        let shown = if self.blocks > 1 { self.m * (self.n + 8) * 4 } else { 0 };
        let bytes = (self.stages * (operand(self.m) + operand(self.n))).max(strips).max(shown);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// What the text says of a tile of warpgroups.
    pub fn warpgroups(&self) -> String {
        format!("#define WARPGROUPS {}\n{WARPGROUP_HEADER}", self.waves() / 4)
    }

    /// What stands before the device headers.
    pub fn cluster(&self) -> String {
        if self.blocks > 1 { format!("#define CLUSTER {}\n", self.blocks) } else { String::new() }
    }

    /// Waves of a block.
    pub fn waves(&self) -> u32 {
        self.waves_m * self.waves_n * self.waves_k
    }

    /// What the text says of it.
    pub fn constants(&self) -> String {
        let Tile { m, n, k, waves_m, waves_n, waves_k, stages, .. } = self;
        format!(
            "constexpr int BLOCK_M = {m}, BLOCK_N = {n}, BLOCK_K = {k}, STAGES = {stages};\n\
             constexpr int WAVES_M = {waves_m}, WAVES_N = {waves_n}, WAVES_K = {waves_k};\n"
        )
    }
}

/// Whether products of this type run on the GPU's matrix unit.
fn on_matrix_units(dtype: DType, gpu: &GpuSpec) -> bool {
    gpu.matrix != Matrix::None && dtype != DType::F32
}
