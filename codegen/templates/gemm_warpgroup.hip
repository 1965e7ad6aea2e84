// A batched matrix product with an epilogue, as in gemm.hip, on warpgroups (sm_90): every block computes a tile of
// the result, its warpgroups rows of it. While one stage is multiplied, the next ones are copied.
#ifndef GEMM_PARAMETERS
#define GEMM_PARAMETERS const F16 *p0, const F16 *p1, F16 *p2, i64_t M
#define GEMM_FIRST p0
#define GEMM_SECOND p1
#define GEMM_SIZES const i64_t N = 768, K = 768, A_PITCH = 768, B_PITCH = 768
typedef F16 Element;
// Whether elements of equal row (column) stand side by side: a is row-major, b column-major.
constexpr bool A_ALONG = true, B_ALONG = false;
// The tile of a block, and the stages of the pipeline; every warpgroup takes BLOCK_M / WAVES_M * 4 rows.
constexpr int BLOCK_M = 128, BLOCK_N = 128, BLOCK_K = 64, WAVES_M = 8, STAGES = 4;
#define GEMM_A(z) 0
#define GEMM_B(z) 0
// Results that are stored at once, neighbours in a row or, DOWN, in a column.
constexpr int PACKET = 1;
constexpr bool DOWN = false;
#define GEMM_EPILOGUE(z, i, j, from, apart) narrow(*(from), p2[(i) * N + (j)])
#endif

constexpr int GROUPS = WAVES_M / 4, THREADS = GROUPS * WARPGROUP, ROWS = BLOCK_M / GROUPS / 64;
static_assert(BLOCK_K == 64 && ROWS * GROUPS * 64 == BLOCK_M, "warpgroups divide the tile");
// Stages on their way: two more are held, one that is multiplied and one whose product may not be done.
constexpr int AHEAD = STAGES - 2;
static_assert(AHEAD >= 1, "a stage is on its way");
typedef Swizzled<Element, A_ALONG ? BLOCK_M : BLOCK_K, A_ALONG ? BLOCK_K : BLOCK_M, THREADS> TileA;
typedef Swizzled<Element, B_ALONG ? BLOCK_N : BLOCK_K, B_ALONG ? BLOCK_K : BLOCK_N, THREADS> TileB;
constexpr int STAGE = TileA::elements + TileB::elements;

BLOCK_KERNEL(THREADS) KERNEL_NAME(GEMM_PARAMETERS) {
    GEMM_SIZES;
    SHARED_MEMORY(memory, STAGES * STAGE * sizeof(Element));
    Element* const stages = (Element*)memory;
    const int thread = (int)thread_index(), member = thread % WARPGROUP;
    // Blocks go down 8 tiles before they move right, so that those that run together share operands.
    const int tiles_m = (int)((M + BLOCK_M - 1) / BLOCK_M), tiles_n = (int)((N + BLOCK_N - 1) / BLOCK_N);
    const int block = (int)block_index(), z = block / (tiles_m * tiles_n), tile = block % (tiles_m * tiles_n);
    const int band = tile / (8 * tiles_n) * 8, height = tiles_m - band < 8 ? tiles_m - band : 8;
    const i64_t row = (i64_t)(band + tile % (8 * tiles_n) % height) * BLOCK_M;
    const i64_t column = (i64_t)(tile % (8 * tiles_n) / height) * BLOCK_N;

    Sums<BLOCK_N> sums[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int v = 0; v < BLOCK_N / 2; ++v) sums[i].v[v] = 0;

    const int steps = (int)((K + BLOCK_K - 1) / BLOCK_K), group_row = thread / WARPGROUP * ROWS * 64;
    TileA::Walk walk_a(GEMM_FIRST + GEMM_A(z), A_PITCH, A_ALONG ? row : 0, A_ALONG ? 0 : row, A_ALONG ? M : K,
                       A_ALONG ? K : M, thread);
    TileB::Walk walk_b(GEMM_SECOND + GEMM_B(z), B_PITCH, B_ALONG ? column : 0, B_ALONG ? 0 : column,
                       B_ALONG ? N : K, B_ALONG ? K : N, thread);
    const auto load_stage = [&](Element* stage) INLINED {
        walk_a.load(stage);
        walk_b.load(stage + TileA::elements);
        A_ALONG ? walk_a.next_elements() : walk_a.next_lines();
        B_ALONG ? walk_b.next_elements() : walk_b.next_lines();
    };
    // Beyond the last step, zeros are copied.
    for (int s = 0; s < AHEAD; ++s) {
        load_stage(stages + s * STAGE);
        commit();
    }
    int at = 0, to = AHEAD;
#pragma unroll 1
    for (int s = 0; s < steps; ++s) {
        arrive<AHEAD - 1>();
        publish();
        // Behind it, everyone's products of all stages but the last are done, and this stage is there.
        barrier();
        const Element* const stage = stages + at * STAGE;
        open_products();
#pragma unroll
        for (int i = 0; i < ROWS; ++i)
            multiply_tiles<Element, BLOCK_N, BLOCK_K, A_ALONG, B_ALONG, TileA, TileB>(
                sums[i], stage, group_row + i * 64, stage + TileA::elements, member);
        commit_products();
        if (s + AHEAD < steps) load_stage(stages + to * STAGE);
        commit();
        finish_products<1>();
        at = at + 1 == STAGES ? 0 : at + 1;
        to = to + 1 == STAGES ? 0 : to + 1;
    }
    finish_products<0>();

    // Results leave in strips of 64 columns; the last products may still read the stages.
    typedef Strip<64, PACKET, DOWN> Room;
    const int lane = thread % SARDONYX_WAVE, first = member / SARDONYX_WAVE * SARDONYX_WAVE / 2;
    float* const strip = (float*)memory + thread / SARDONYX_WAVE * Room::elements;
    barrier();
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
        settle(sums[i]);
#pragma unroll
        for (int part = 0; part < BLOCK_N; part += 64) {
#pragma unroll
            for (int v = part / 2; v < part / 2 + 32; ++v)
                strip[(Sums<BLOCK_N>::row(member, v) - first) * Room::stride + Sums<BLOCK_N>::column(member, v) - part] =
                    sums[i].v[v];
            wave_barrier();
            Room::drain<SARDONYX_WAVE>(strip, lane, [&](int y, int x, const float* from) INLINED {
                const i64_t to = row + group_row + i * 64 + first + y, j = column + part + x;
                if (to < M && j < N) GEMM_EPILOGUE(z, to, j, from, Room::apart);
            });
            wave_barrier();
        }
    }
}
