// What softmax over the rows of accumulators needs: lanes that exchange values, powers of two, and
// probabilities as the left operand of the next product.

#if defined(ON_CUDA)
INLINE float exchange(float x, int mask) {
    float y;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(y) : "f"(x), "r"(mask));
    return y;
}
INLINE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#elif defined(ON_HIP)
INLINE float exchange(float x, int mask) {
    const int lane = (int)(thread_index() % SARDONYX_WAVE);
    FloatBits bits;
    bits.f = x;
    bits.u = (u32_t)__builtin_amdgcn_ds_bpermute((lane ^ mask) * 4, (int)bits.u);
    return bits.f;
}
// LLVM 15 does not know the instruction by name.
#if __has_builtin(__builtin_amdgcn_exp2f)
INLINE float power_of_two(float x) { return __builtin_amdgcn_exp2f(x); }
#else
INLINE float power_of_two(float x) { return __builtin_exp2f(x); }
#endif
#else
static thread_local float exchanged[1024];
INLINE float exchange(float x, int mask) {
    exchanged[thread_index()] = x;
    barrier();
    const float y = exchanged[thread_index() ^ (unsigned)mask];
    barrier();
    return y;
}
INLINE float power_of_two(float x) { return __builtin_exp2f(x); }
#endif

// The greater; a NaN never becomes it.
INLINE float greater(float x, float most) { return x > most ? x : most; }

template <int sharing>
INLINE float greatest_of_row(float x) {
#pragma unroll
    for (int mask = 1; mask < sharing; mask *= 2) x = greater(exchange(x, mask), x);
    return x;
}
template <int sharing>
INLINE float sum_of_row(float x) {
#pragma unroll
    for (int mask = 1; mask < sharing; mask *= 2) x += exchange(x, mask);
    return x;
}

INLINE float hyperbolic_tangent(float x) {
    return 1.0f - 2.0f / (power_of_two(x * 2.8853900817779268f) + 1.0f);
}

// Accumulators of one row of tiles as left operands: in registers where the layouts agree, else through `room`,
// 16 lines of shared memory of the wave, `stride` elements apart.
template <typename T, int tiles>
INLINE void as_operands(typename Wave<T>::Fragment (&to)[tiles], const typename Wave<T>::Accumulator (&from)[tiles],
                        T* room, int stride, int lane) {
    typedef typename Wave<T>::Accumulator Accumulator;
#if defined(MATRIX_MMA)
    if constexpr (Wave<T>::in_registers) {
#pragma unroll
        for (int j = 0; j < tiles; ++j)
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                T low, high;
                narrow(from[j].v[2 * q], low);
                narrow(from[j].v[2 * q + 1], high);
                to[j].v[q] = (u32_t)low.bits | (u32_t)high.bits << 16;
            }
        return;
    }
#endif
    if constexpr (!Wave<T>::in_registers) {
        wave_barrier();
        for (int j = 0; j < tiles; ++j)
            for (int v = 0; v < Wave<T>::values; ++v)
                narrow(from[j].v[v],
                       room[Accumulator::row(lane, v) * stride + j * 16 + Accumulator::column(lane, v)]);
        wave_barrier();
        for (int j = 0; j < tiles; ++j) Wave<T>::template load<true>(to[j], room + j * 16, stride, lane);
    }
}
