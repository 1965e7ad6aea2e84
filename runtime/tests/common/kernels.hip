// The kernels of the runtime's tests on GPUs, as text for AMD, NVIDIA and the host: the parameters are those of
// `Kernel` in the manifest. Blocks have 64 threads.
#if defined(SARDONYX_HOST)
static thread_local unsigned sardonyx_block, sardonyx_thread;
#define KERNEL extern "C" void
#define BLOCK sardonyx_block
#define THREAD sardonyx_thread
#define SHARED_FLOATS(name) static thread_local float name[16384]
#else
#define KERNEL extern "C" __global__ void
#define BLOCK blockIdx.x
#define THREAD threadIdx.x
#define SHARED_FLOATS(name) extern __shared__ float name[]
#endif
typedef long long i64;
#define INDEX ((i64)BLOCK * 64 + THREAD)

// z = x + y
KERNEL add(const float* x, const float* y, float* z, i64 n) {
    if (INDEX < n) z[INDEX] = x[INDEX] + y[INDEX];
}

// y = x * the table, whose 8 values repeat
KERNEL times_table(const float* x, const float* table, float* y, i64 n) {
    if (INDEX < n) y[INDEX] = x[INDEX] * table[INDEX % 8];
}

// y = the sum of each row of x, a block each, through scratch memory of `width` floats per block
KERNEL row_sum(const float* x, float* y, i64 width, float* scratch) {
    if (THREAD != 0) return;
    float* const copy = scratch + BLOCK * width;
    for (i64 i = 0; i < width; i++) copy[i] = x[BLOCK * width + i];
    float sum = 0;
    for (i64 i = 0; i < width; i++) sum += copy[i];
    y[BLOCK] = sum;
}

// count = how many of x are positive
KERNEL count_positive(const float* x, i64* count, i64 n) {
    if (THREAD != 0) return;
    i64 found = 0;
    for (i64 i = 0; i < n; i++) found += x[i] > 0;
    *count = found;
}

// y = the positive ones of x
KERNEL take_positive(const float* x, float* y, i64 n) {
    if (THREAD != 0) return;
    for (i64 i = 0; i < n; i++)
        if (x[i] > 0) *y++ = x[i];
}

// less = x[0] < limit[0]
KERNEL less(const float* x, const float* limit, bool* less) {
    if (THREAD == 0) *less = *x < *limit;
}

// y = x + the number of the iteration
KERNEL add_iteration(const float* x, const i64* iteration, float* y, i64 n) {
    if (INDEX < n) y[INDEX] = x[INDEX] + (float)*iteration;
}

// y = x, through 64 KiB of shared memory
KERNEL through_shared(const float* x, float* y, i64 n) {
    SHARED_FLOATS(memory);
    if (INDEX >= n) return;
    memory[16383 - THREAD] = x[INDEX];
    y[INDEX] = memory[16383 - THREAD];
}

// z = the rows of x times those of y, which have 5 elements, each sum formed `rounds` times
KERNEL product(const float* x, const float* y, float* z, i64 n, i64 rounds) {
    if (INDEX >= n) return;
    for (volatile i64 round = 0; round < rounds; round = round + 1) {
        float sum = 0;
        for (i64 i = 0; i < 5; i++) sum += x[INDEX / 4 * 5 + i] * y[INDEX % 4 * 5 + i];
        z[INDEX] = sum;
    }
}

// z = the images x, of so many rows, 6 columns and 4 channels with a `pitch`, convolved with 6 filters in two groups, at
// every second row and column of 3 by 3 taps around; and what `forms` says: 1 the bias, 2 the residual, 4 relu; each
// sum formed `rounds` times
KERNEL convolve(const float* x, const float* w, const float* bias, const float* residual, float* z, i64 rows, i64 outs,
                i64 pitch, i64 forms, i64 n, i64 rounds) {
    if (INDEX >= n) return;
    const i64 c = INDEX % 6, column = INDEX / 6 % 3, row = INDEX / 18 % outs, image = INDEX / 18 / outs;
    for (volatile i64 round = 0; round < rounds; round = round + 1) {
        float sum = 0;
        for (i64 tap = 0; tap < 18; tap++) {
            const i64 y = row * 2 + tap / 6 - 1, at = column * 2 + tap / 2 % 3 - 1;
            if (y < 0 || y >= rows || at < 0 || at >= 6) continue;
            sum += w[c * 18 + tap] * x[((image * rows + y) * 6 + at) * pitch + c / 3 * 2 + tap % 2];
        }
        if (forms & 1) sum += bias[c];
        if (forms & 2) sum += residual[INDEX];
        z[INDEX] = forms & 4 && sum < 0 ? 0 : sum;
    }
}

// Writes the element behind y.
KERNEL write_behind(const float* x, float* y, i64 n) {
    if (INDEX == 0) y[n] = x[0];
}
