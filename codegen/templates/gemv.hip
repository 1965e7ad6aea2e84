// A product of few rows with a matrix, with an epilogue: out[z, i, j] = f(sum over k of a[z, i, k] * b[z, k, j], ...).
//
// The matrix is read once, in packets along the stride that is 1. Every block computes some columns of all rows; its
// threads share the sum, which they put together in shared memory.
#ifndef GEMM_PARAMETERS
#define GEMM_PARAMETERS const F16 *p0, const F16 *p1, F16 *p2
#define GEMM_FIRST p0
#define GEMM_SECOND p1
#define GEMM_SIZES const i64_t N = 768, K = 768, A_PITCH = 768, A_STEP = 1, B_PITCH = 768
typedef F16 Element;
// Whether elements of equal column stand side by side.
constexpr bool B_ALONG = false;
constexpr int ROWS = 1, VECTOR = 8;
// Whether a packet of a row is one load.
constexpr bool A_PACKED = true;
// Columns of a block, and threads.
constexpr int COLUMNS = 32, THREADS = 256;
#define GEMM_A(z) 0
#define GEMM_B(z) 0
constexpr int PACKET = 1;
#define GEMM_EPILOGUE(z, i, j, from, apart) narrow(*(from), p2[(i) * N + (j)])
#endif

// Threads beside each other on the columns of a block, and those that share a sum.
constexpr int BESIDE = B_ALONG ? COLUMNS : COLUMNS / VECTOR, SHARE = THREADS / BESIDE;
constexpr int SUMS = B_ALONG ? 1 : VECTOR;
static_assert(BESIDE * SHARE == THREADS && COLUMNS % PACKET == 0, "threads share the columns");

BLOCK_KERNEL(THREADS) KERNEL_NAME(GEMM_PARAMETERS) {
    GEMM_SIZES;
    SHARED_MEMORY(memory, SHARE * ROWS * COLUMNS * 4);
    float* const parts = (float*)memory;
    const int blocks = (int)((N + COLUMNS - 1) / COLUMNS), block = (int)block_index(), z = block / blocks;
    const i64_t first = (i64_t)(block % blocks) * COLUMNS;
    // Along, neighbouring threads read a column, else a row of the matrix.
    const int thread = (int)thread_index(), share = B_ALONG ? thread % SHARE : thread / BESIDE,
              beside = (B_ALONG ? thread / SHARE : thread % BESIDE) * SUMS;
    const Element* const a = GEMM_FIRST + GEMM_A(z);
    const Element* const b = GEMM_SECOND + GEMM_B(z) + (B_ALONG ? (first + beside) * B_PITCH : first + beside);
    float sums[ROWS][SUMS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < SUMS; ++j) sums[i][j] = 0;
    constexpr int STEP = SHARE * (B_ALONG ? VECTOR : 1);
    if (first + beside < N) {
#pragma unroll 4
        for (i64_t k = share * (B_ALONG ? VECTOR : 1); k < K; k += STEP) {
            typedef Elements<Element, VECTOR> Packed;
            const Packed x = *(const Packed*)(b + (B_ALONG ? k : k * B_PITCH));
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                const Element* const row = a + i * A_PITCH + k * A_STEP;
                if constexpr (B_ALONG) {
                    Packed left;
                    if constexpr (A_PACKED)
                        left = *(const Packed*)row;
                    else
                        for (int v = 0; v < VECTOR; ++v) left.at[v] = row[v * A_STEP];
#pragma unroll
                    for (int v = 0; v < VECTOR; ++v)
                        sums[i][0] = multiply_add(widen(left.at[v]), widen(x.at[v]), sums[i][0]);
                } else {
                    const float left = widen(*row);
#pragma unroll
                    for (int v = 0; v < VECTOR; ++v)
                        sums[i][v] = multiply_add(left, widen(x.at[v]), sums[i][v]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
        for (int j = 0; j < SUMS; ++j) parts[(share * ROWS + i) * COLUMNS + beside + j] = sums[i][j];
    barrier();
#pragma unroll
    for (int half = SHARE / 2; half >= 1; half /= 2) {
        for (int p = thread; p < half * ROWS * COLUMNS; p += THREADS) parts[p] += parts[half * ROWS * COLUMNS + p];
        barrier();
    }
    for (int p = thread; p < ROWS * COLUMNS / PACKET; p += THREADS) {
        const i64_t i = p / (COLUMNS / PACKET), j = p % (COLUMNS / PACKET) * PACKET;
        if (first + j < N) GEMM_EPILOGUE(z, i, first + j, parts + i * COLUMNS + j, 1);
    }
}
