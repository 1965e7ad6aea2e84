// A batched matrix product with an epilogue: out[z, i, j] = f(sum over k of a[z, i, k] * b[z, k, j], ...).
//
// Every block computes a tile of the result, its waves parts of it. One stride of each operand is 1. The
// instantiation gives the sizes, strides and the epilogue; what stands here makes the text valid alone.
#ifndef GEMM_PARAMETERS
#define GEMM_PARAMETERS const F16 *p0, const F16 *p1, F16 *p2, i64_t M
#define GEMM_FIRST p0
#define GEMM_SECOND p1
#define GEMM_SIZES const i64_t N = 768, K = 768, A_PITCH = 768, B_PITCH = 768
typedef F16 Element;
// Whether elements of equal row (column) stand side by side: a is row-major, b column-major.
constexpr bool A_ALONG = true, B_ALONG = false;
// Elements that one load moves.
constexpr int A_VECTOR = 8, B_VECTOR = 8;
// The tile of a block, its waves, and the stages of the pipeline.
constexpr int BLOCK_M = 64, BLOCK_N = 64, BLOCK_K = 32, WAVES_M = 2, WAVES_N = 2, STAGES = 3;
#define GEMM_A(z) 0
#define GEMM_B(z) 0
#define GEMM_EPILOGUE(z, i, j, sum) narrow(sum, p2[(i) * N + (j)])
#endif

typedef Wave<Element> Unit;
constexpr int THREADS = WAVES_M * WAVES_N * SARDONYX_WAVE;
constexpr int ROWS = BLOCK_M / WAVES_M / 16, COLUMNS = BLOCK_N / WAVES_N / 16;
static_assert(ROWS * WAVES_M * 16 == BLOCK_M && COLUMNS * WAVES_N * 16 == BLOCK_N, "waves divide the tile");
typedef Tile<Element, A_ALONG ? BLOCK_M : BLOCK_K, A_ALONG ? BLOCK_K : BLOCK_M, A_VECTOR, THREADS> TileA;
typedef Tile<Element, B_ALONG ? BLOCK_N : BLOCK_K, B_ALONG ? BLOCK_K : BLOCK_N, B_VECTOR, THREADS> TileB;
constexpr int STAGE = TileA::elements + TileB::elements;

INLINE void load_stage(Element* to, const Element* a, const Element* b, i64_t a_pitch, i64_t b_pitch, i64_t row,
                       i64_t column, i64_t k, i64_t m, i64_t n, i64_t depth, int thread) {
    TileA::load(to, a, a_pitch, A_ALONG ? row : k, A_ALONG ? k : row, A_ALONG ? m : depth, A_ALONG ? depth : m,
                thread);
    TileB::load(to + TileA::elements, b, b_pitch, B_ALONG ? column : k, B_ALONG ? k : column,
                B_ALONG ? n : depth, B_ALONG ? depth : n, thread);
}

INLINE void multiply_stage(Unit::Accumulator (&sums)[ROWS][COLUMNS], const Element* stage, int row, int column,
                           int lane) {
#pragma unroll
    for (int k = 0; k < BLOCK_K; k += 16) {
        Unit::Fragment a[ROWS], b[COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            const int at = row + i * 16;
            Unit::template load<A_ALONG>(a[i], stage + (A_ALONG ? at * TileA::stride + k : k * TileA::stride + at),
                                         TileA::stride, lane);
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
            const int at = column + j * 16;
            Unit::template load<B_ALONG>(
                b[j], stage + TileA::elements + (B_ALONG ? at * TileB::stride + k : k * TileB::stride + at),
                TileB::stride, lane);
        }
#pragma unroll
        for (int i = 0; i < ROWS; ++i)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) Unit::multiply(sums[i][j], a[i], b[j], lane);
    }
}

BLOCK_KERNEL(THREADS) KERNEL_NAME(GEMM_PARAMETERS) {
    GEMM_SIZES;
    SHARED_MEMORY(memory, STAGES * STAGE * sizeof(Element));
    Element* const stages = (Element*)memory;
    const int thread = (int)thread_index(), lane = thread % SARDONYX_WAVE, wave = thread / SARDONYX_WAVE;
    // Blocks go down 8 tiles before they move right, so that those that run together share operands.
    const int tiles_m = (int)((M + BLOCK_M - 1) / BLOCK_M), tiles_n = (int)((N + BLOCK_N - 1) / BLOCK_N);
    const int block = (int)block_index(), z = block / (tiles_m * tiles_n), tile = block % (tiles_m * tiles_n);
    const int band = tile / (8 * tiles_n) * 8, height = tiles_m - band < 8 ? tiles_m - band : 8;
    const i64_t row = (i64_t)(band + tile % (8 * tiles_n) % height) * BLOCK_M;
    const i64_t column = (i64_t)(tile % (8 * tiles_n) / height) * BLOCK_N;
    const Element* const from_a = GEMM_FIRST + GEMM_A(z);
    const Element* const from_b = GEMM_SECOND + GEMM_B(z);

    Unit::Accumulator sums[ROWS][COLUMNS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
            for (int v = 0; v < Unit::values; ++v) sums[i][j].v[v] = 0;

    const int steps = (int)((K + BLOCK_K - 1) / BLOCK_K);
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < steps)
            load_stage(stages + s * STAGE, from_a, from_b, A_PITCH, B_PITCH, row, column, (i64_t)s * BLOCK_K, M, N,
                       K, thread);
        commit();
    }
    const int wave_row = wave / WAVES_N * ROWS * 16, wave_column = wave % WAVES_N * COLUMNS * 16;
    for (int s = 0; s < steps; ++s) {
        arrive<STAGES - 2>();
        barrier();
        const int next = s + STAGES - 1;
        if (next < steps)
            load_stage(stages + next % STAGES * STAGE, from_a, from_b, A_PITCH, B_PITCH, row, column,
                       (i64_t)next * BLOCK_K, M, N, K, thread);
        commit();
        multiply_stage(sums, stages + s % STAGES * STAGE, wave_row, wave_column, lane);
    }

#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
            for (int v = 0; v < Unit::values; ++v) {
                const i64_t y = row + wave_row + i * 16 + Unit::Accumulator::row(lane, v);
                const i64_t x = column + wave_column + j * 16 + Unit::Accumulator::column(lane, v);
                if (y < M && x < N) GEMM_EPILOGUE(z, y, x, sums[i][j].v[v]);
            }
}
