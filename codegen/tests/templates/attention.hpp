// The check of attention; the program before defines types, sizes, strides, limits and the launch.
#include <cmath>
#include <cstdint>
#include <vector>

static const In *q_data, *k_data, *v_data;
static const Mask* mask_data;
static In* out_data;
static void switch_to(long block, int thread) {
    sardonyx_block = (u32)block;
    sardonyx_thread = (u32)thread;
}
static void run_kernel() { KERNEL_NAME(q_data, k_data, v_data MASK_ARGUMENT, out_data DIMS); }

static float drawn() {
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (1 << 23) - 1.0f;
}
static std::vector<In> filled(size_t size) {
    std::vector<In> v(size);
    for (auto& x : v) narrow(drawn(), x);
    return v;
}
static void draw_mask(unsigned char& x) { x = drawn() < 0.4f; }
template <typename T>
static void draw_mask(T& x) { narrow(drawn() < -0.7f ? -INFINITY : drawn(), x); }
static double addend(unsigned char x) { return x ? 0.0 : -INFINITY; }
template <typename T>
static double addend(T x) { return widen(x); }

int main() {
    // [batch, sequence, head, element]; the mask is [batch, head, query, key].
    const auto q = filled(BATCH_ * Q_ * H_ * HEAD_), k = filled(BATCH_ * K_ * (H_ / GROUP_) * HEAD_);
    const auto v = filled(BATCH_ * K_ * (H_ / GROUP_) * VALUE_);
    std::vector<In> out(BATCH_ * Q_ * H_ * VALUE_);
    for (auto& x : out) narrow(NAN, x);
    std::vector<Mask> mask(BATCH_ * H_ * Q_ * K_);
    for (auto& x : mask) draw_mask(x);
    q_data = q.data(), k_data = k.data(), v_data = v.data(), mask_data = mask.data(), out_data = out.data();
    launch(BLOCKS, THREADS_);
    for (long b = 0; b < BATCH_; ++b)
        for (long h = 0; h < H_; ++h)
            for (long i = 0; i < Q_; ++i) {
                std::vector<double> p(K_);
                double most = -INFINITY, sum = 0;
                for (long j = 0; j < K_; ++j) {
                    double s = 0;
                    for (long d = 0; d < HEAD_; ++d)
                        s += (double)widen(q[((b * Q_ + i) * H_ + h) * HEAD_ + d]) *
                             widen(k[((b * K_ + j) * (H_ / GROUP_) + h / GROUP_) * HEAD_ + d]);
                    s *= SCALE_;
                    if (CAP_ != 0) s = std::tanh(s / CAP_) * CAP_;
                    if (MASKED) s += addend(mask[((b * H_ + h) * Q_ + i) * K_ + j]);
                    if (CAUSAL_ && j > i + OFFSET_) s = -INFINITY;
                    p[j] = s;
                    most = std::fmax(most, s);
                }
                for (auto& x : p) sum += x = most == -INFINITY ? 0 : std::exp(x - most);
                for (long e = 0; e < VALUE_; ++e) {
                    double want = 0;
                    for (long j = 0; j < K_; ++j)
                        want += p[j] * widen(v[((b * K_ + j) * (H_ / GROUP_) + h / GROUP_) * VALUE_ + e]);
                    want = sum == 0 ? 0 : want / sum;
                    const double got = widen(out[((b * Q_ + i) * H_ + h) * VALUE_ + e]);
                    if (!(std::fabs(got - want) <= TOLERANCE * (1 + std::fabs(want))))
                        return fprintf(stderr, "(%ld, %ld, %ld, %ld): %g instead of %g\n", b, h, i, e, got, want), 1;
                }
            }
}
