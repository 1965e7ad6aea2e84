// What attention on warpgroups needs: a product whose left operand is in registers, and softmax over rows of sums.

template <int N>
INLINE void clear(Sums<N>& sums) {
#pragma unroll
    for (int v = 0; v < Sums<N>::values; ++v) sums.v[v] = 0;
}

#if defined(WARPGROUP_MMA)
// 64 rows of `depth` elements as the matrix unit takes them from registers.
template <typename T, int depth>
struct LeftOperand {
    u32_t v[depth / 4];
};
INLINE u32_t packed(float low, float high, F16) {
    u32_t y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
INLINE u32_t packed(float low, float high, Bf16) {
    u32_t y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
// Sums are where the unit wants the operand: neighbours of a row in pairs.
template <typename T, int depth>
INLINE void as_left_operand(LeftOperand<T, depth>& to, const Sums<depth>& from) {
#pragma unroll
    for (int i = 0; i < depth / 4; ++i) to.v[i] = packed(from.v[2 * i], from.v[2 * i + 1], T{});
}

template <typename T, int N>
struct WgmmaOfRegisters;
#define OF_REGISTERS(T, name, N, NUMBERS, SUMS, A0, A1, A2, A3, B)                                               \
    template <>                                                                                                \
    struct WgmmaOfRegisters<T, N> {                                                                            \
        static INLINE void step(float* c, const u32_t* a, u64_t b) {                                           \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." name "." name " {" NUMBERS           \
                         "}, {" A0 ", " A1 ", " A2 ", " A3 "}, " B ", 1, 1, 1, 1;"                                 \
                         : SUMS                                                                                \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                 \
        }                                                                                                      \
    };
#define SUMS64 SUM16(0), SUM16(16)
OF_REGISTERS(F16, "f16", 64, NUMBERS64, SUMS64, "%32", "%33", "%34", "%35", "%36")
OF_REGISTERS(Bf16, "bf16", 64, NUMBERS64, SUMS64, "%32", "%33", "%34", "%35", "%36")
OF_REGISTERS(F16, "f16", 128, NUMBERS128, SUM64(0), "%64", "%65", "%66", "%67", "%68")
OF_REGISTERS(Bf16, "bf16", 128, NUMBERS128, SUM64(0), "%64", "%65", "%66", "%67", "%68")
INLINE float larger(float x, float y) {
    float z;
    asm("max.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}
#else
template <typename T, int depth>
struct LeftOperand {
    T v[depth / 2];
};
template <typename T, int depth>
INLINE void as_left_operand(LeftOperand<T, depth>& to, const Sums<depth>& from) {
    for (int i = 0; i < depth / 2; ++i) narrow(from.v[i], to.v[i]);
}
INLINE float larger(float x, float y) { return greater(x, y); }
#endif

// Adds the product of the operand and all N columns of b, whose `depth` lines are across the sum.
template <typename T, int N, int depth, typename TileB>
INLINE void multiply_registers(Sums<N>& sums, const LeftOperand<T, depth>& a, const T* b, int thread) {
#if defined(WARPGROUP_MMA)
    const u64_t from = describe(b, depth * 128);
#pragma unroll
    for (int k = 0; k < depth; k += 16) WgmmaOfRegisters<T, N>::step(sums.v, a.v + k / 4, from + k * 64 / 8);
#else
    // Four neighbouring threads hold a row.
    for (int mask = 0; mask < 4; ++mask)
        for (int i = 0; i < Sums<depth>::values; ++i) {
            const float x = exchange(widen(a.v[i]), mask);
            const int k = Sums<depth>::column(thread ^ mask, i);
            for (int v = 0; v < Sums<N>::values; ++v)
                if (v / 2 % 2 == i / 2 % 2) sums.v[v] += x * widen(b[TileB::at(k, Sums<N>::column(thread, v))]);
        }
#endif
}

// A block of scores, `scale` from units of log2, becomes the powers of two of what is left to the greatest score of the
// row so far; `factors` is what the values and `sums` of earlier blocks are multiplied by.
template <int N>
INLINE void soften_rows(Sums<N>& scores, float (&most)[2], float (&sums)[2], float (&factors)[2], float scale) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float now = most[r];
#pragma unroll
        for (int v = 2 * r; v < Sums<N>::values; v += 4) now = larger(larger(scores.v[v], scores.v[v + 1]), now);
#pragma unroll
        for (int mask = 1; mask < 4; mask *= 2) now = larger(exchange(now, mask), now);
        const float shift = larger(now * scale, -3.0e38f);
        factors[r] = power_of_two(multiply_add(most[r], scale, -shift));
        most[r] = now;
        float sum = sums[r] * factors[r];
#pragma unroll
        for (int v = 2 * r; v < Sums<N>::values; v += 4) {
            scores.v[v] = power_of_two(multiply_add(scores.v[v], scale, -shift));
            scores.v[v + 1] = power_of_two(multiply_add(scores.v[v + 1], scale, -shift));
            sum += scores.v[v] + scores.v[v + 1];
        }
        sums[r] = sum;
    }
}
