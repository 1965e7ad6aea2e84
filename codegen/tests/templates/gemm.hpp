// The check of a matrix product; the program before defines types, sizes, strides and the launch.
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

static const In *a_data, *b_data, *bias_data;
static const Out* residual_data;
static Out* out_data;
static void switch_to(long block, int thread) {
    sardonyx_block = (u32)block;
    sardonyx_thread = (u32)thread;
}
static void run_kernel() { KERNEL_NAME(a_data, b_data, bias_data, residual_data, out_data DIMS); }

static float drawn() {
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1.0f;
}
template <typename T>
static std::vector<T> filled(size_t size) {
    std::vector<T> v(size);
    for (auto& x : v) narrow(drawn(), x);
    return v;
}
static long extent(const long (&s)[3], long x, long y) {
    return (B_ - 1) * s[0] + (x - 1) * s[1] + (y - 1) * s[2] + 1;
}

int main() {
    const auto a = filled<In>(extent(AS, M_, K_));
    const auto b = filled<In>(extent(BS, K_, N_));
    const auto bias = filled<In>(N_);
    const auto residual = filled<Out>(extent(OS, M_, N_));
    std::vector<Out> out(residual.size());
    for (auto& x : out) narrow(NAN, x);
    a_data = a.data(), b_data = b.data(), bias_data = bias.data(), residual_data = residual.data();
    out_data = out.data();
#if !defined(CLUSTER)
#define CLUSTER 1
#endif
    launch(BLOCKS, THREADS_, CLUSTER);
    const double tolerance = sizeof(Out) == 4 ? 1e-4 : std::is_same<Out, Bf16>::value ? 1e-2 : 2e-3;
    for (long z = 0; z < B_; ++z)
        for (long i = 0; i < M_; ++i)
            for (long j = 0; j < N_ + (i + 1 < M_ ? GAP : 0); ++j) {
                const long at = z * OS[0] + i * OS[1] + j;
                const double got = widen(out[at]);
                if (j >= N_) {
                    if (got == got) return fprintf(stderr, "written between lines at %ld\n", at), 1;
                    continue;
                }
                double sum = 0;
                for (long k = 0; k < K_; ++k)
                    sum += (double)widen(a[z * AS[0] + i * AS[1] + k * AS[2]]) *
                           widen(b[z * BS[0] + k * BS[1] + j * BS[2]]);
                const double want = std::fmax(sum + widen(bias[j]), 0) - widen(residual[at]);
                if (!(std::fabs(got - want) <= tolerance * (1 + std::fabs(want))))
                    return fprintf(stderr, "(%ld, %ld, %ld): %g instead of %g\n", z, i, j, got, want), 1;
            }
}
