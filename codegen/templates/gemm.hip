// A batched matrix product with an epilogue: out[z, i, j] = f(sum over k of a[z, i, k] * b[z, k, j], ...).
//
// Every block computes a tile of the result, its waves, or with WARPGROUPS (sm_90) so many warpgroups, parts of it. One stride of each operand is 1. The
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
constexpr int BLOCK_M = 64, BLOCK_N = 64, BLOCK_K = 32, WAVES_M = 2, WAVES_N = 2, WAVES_K = 1, STAGES = 3;
#define GEMM_A(z) 0
#define GEMM_B(z) 0
// Results that are stored at once, neighbours in a row or, DOWN, in a column.
constexpr int PACKET = 1;
constexpr bool DOWN = false;
// Whether the epilogue loads what may come nearer before the sums are known.
constexpr bool AHEAD = false;
#define GEMM_AHEAD(z, i, j)
#define GEMM_EPILOGUE(z, i, j, from, apart) narrow(*(from), p2[(i) * N + (j)])
#endif

#if defined(WARPGROUPS)
constexpr int THREADS = WARPGROUPS * WARPGROUP;
typedef Swizzled<Element, A_ALONG ? BLOCK_M : BLOCK_K, A_ALONG ? BLOCK_K : BLOCK_M, THREADS> TileA;
typedef Swizzled<Element, B_ALONG ? BLOCK_N : BLOCK_K, B_ALONG ? BLOCK_K : BLOCK_N, THREADS> TileB;
typedef WarpgroupProduct<Element, BLOCK_M, BLOCK_N, BLOCK_K, WARPGROUPS, A_ALONG, B_ALONG, TileA, TileB> Block;
#else
constexpr int THREADS = WAVES_M * WAVES_N * WAVES_K * SARDONYX_WAVE;
typedef Tile<Element, A_ALONG ? BLOCK_M : BLOCK_K, A_ALONG ? BLOCK_K : BLOCK_M, A_VECTOR, THREADS> TileA;
typedef Tile<Element, B_ALONG ? BLOCK_N : BLOCK_K, B_ALONG ? BLOCK_K : BLOCK_N, B_VECTOR, THREADS> TileB;
typedef Product<Element, BLOCK_M, BLOCK_N, BLOCK_K, WAVES_M, WAVES_N, WAVES_K, A_ALONG, B_ALONG, TileA, TileB> Block;
#endif

// The tiles of an operand in the order of the sum.
template <typename Tile, bool along>
struct Along : Tile::Walk {
    INLINE Along(const Element* matrix, i64_t pitch, i64_t outer, i64_t outer_end, i64_t begin, i64_t depth, int thread)
        : Tile::Walk(matrix, pitch, along ? outer : begin, along ? begin : outer, along ? outer_end : depth,
                     along ? depth : outer_end, thread) {}
    INLINE void next() { along ? this->next_elements() : this->next_lines(); }
};

BLOCK_KERNEL(THREADS) KERNEL_NAME(GEMM_PARAMETERS) {
    GEMM_SIZES;
    constexpr int bytes = STAGES * Block::stage * (int)sizeof(Element);
    SHARED_MEMORY(memory, bytes > Block::leave_bytes ? bytes : Block::leave_bytes);
    const int thread = (int)thread_index();
    // Blocks go down 8 tiles before they move right, so that those that run together share operands.
    const int tiles_m = (int)((M + BLOCK_M - 1) / BLOCK_M), tiles_n = (int)((N + BLOCK_N - 1) / BLOCK_N);
    const int block = (int)block_index() / CLUSTER, z = block / (tiles_m * tiles_n), tile = block % (tiles_m * tiles_n);
    const int band = tile / (8 * tiles_n) * 8, height = tiles_m - band < 8 ? tiles_m - band : 8;
    const i64_t row = (i64_t)(band + tile % (8 * tiles_n) % height) * BLOCK_M;
    const i64_t column = (i64_t)(tile % (8 * tiles_n) / height) * BLOCK_N;

    const Share share((K + BLOCK_K - 1) / BLOCK_K);
    const i64_t begin = (i64_t)share.begin * BLOCK_K;
    Along<TileA, A_ALONG> a(GEMM_FIRST + GEMM_A(z), A_PITCH, row, M, begin, K, thread);
    Along<TileB, B_ALONG> b(GEMM_SECOND + GEMM_B(z), B_PITCH, column, N, begin, K, thread);
    if (AHEAD)
        each_line<BLOCK_M, BLOCK_N, THREADS, DOWN>(thread, [&](int y, int x) INLINED {
            const i64_t i = row + y, j = column + x;
            if (i < M && j < N) {
                GEMM_AHEAD(z, i, j)
            }
        });
    Block sums(thread);
    sums.run<STAGES>((Element*)memory, a, b, share.steps);
    sums.leave<PACKET, DOWN>(memory, [&](int y, int x, const float* from, int apart) INLINED {
        const i64_t i = row + y, j = column + x;
        if (i < M && j < N) GEMM_EPILOGUE(z, i, j, from, apart);
    });
}
