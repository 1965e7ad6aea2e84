// Matrix products of one wave: fragments of 16 by 16 elements, held in registers, on MFMA (CDNA), WMMA (RDNA 3
// and 4), mma.sync (NVIDIA, sm_80 on), or as sums of multiply-adds (everything else, and the host build).
//
// A fragment is loaded from shared memory, either "along k" (the elements of a row or column of the product
// side by side) or "across k" (elements of equal k side by side). `Accumulator::row` and `column` say which
// element a lane's i-th value is; a lane has values of `held` rows, the i-th of row number `held_row(i)`, and
// `sharing` neighbouring lanes have the same rows.

#if !defined(SARDONYX_HOST) && defined(SARDONYX_CUDA)
#define ON_CUDA 1
#elif !defined(SARDONYX_HOST) && defined(SARDONYX_HIP)
#define ON_HIP 1
#endif

#if defined(ON_CUDA)
#define INLINE __device__ __forceinline__
// One block at least on a multiprocessor: as many registers as that leaves.
#define BLOCK_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define SHARED_MEMORY(name, bytes) extern __shared__ __align__(1024) unsigned char name[]
INLINE void barrier() { __syncthreads(); }
// Of the lanes of a wave.
INLINE void wave_barrier() { __syncwarp(); }
#elif defined(ON_HIP)
#define INLINE __attribute__((device)) inline __attribute__((always_inline))
#define BLOCK_KERNEL(threads) \
    extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(threads, threads))) void
#define SHARED_MEMORY(name, bytes) \
    static __attribute__((shared)) __attribute__((aligned(16))) unsigned char name[bytes]
INLINE void barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
INLINE void wave_barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
#else
// Whoever runs it defines barrier and shared_memory. Inlined always: functions of the same name in other kernels
// have other constants.
#define INLINE inline __attribute__((always_inline))
#define BLOCK_KERNEL(threads) extern "C" void
#define SHARED_MEMORY(name, bytes) unsigned char* name = shared_memory(bytes)
INLINE void wave_barrier() { barrier(); }
#endif

// Of lambdas: inlined, so that those of other kernels of a library, whose names are the same, do not take their place.
#if defined(ON_CUDA)
#define INLINED
#else
#define INLINED __attribute__((always_inline))
#endif

// Without the prelude, the text is still valid.
#if !defined(DEVICE) && defined(ON_CUDA)
INLINE unsigned thread_index() { return threadIdx.x; }
INLINE unsigned block_index() { return blockIdx.x; }
#elif !defined(DEVICE) && defined(ON_HIP)
INLINE unsigned thread_index() { return __builtin_amdgcn_workitem_id_x(); }
INLINE unsigned block_index() { return __builtin_amdgcn_workgroup_id_x(); }
#endif

#if defined(ON_CUDA)
#define MATRIX_MMA 1
#elif defined(__gfx908__) || defined(__gfx90a__) || defined(__gfx940__) || defined(__gfx942__) || defined(__gfx950__)
#define MATRIX_MFMA 1
#elif defined(__GFX11__)
#define MATRIX_WMMA3 1
#elif defined(__GFX12__)
#define MATRIX_WMMA4 1
#endif

#ifndef SARDONYX_WAVE
#if defined(MATRIX_MFMA)
#define SARDONYX_WAVE 64
#else
#define SARDONYX_WAVE 32
#endif
#endif

typedef unsigned short u16_t;
typedef unsigned int u32_t;
typedef long long i64_t;

union FloatBits {
    float f;
    u32_t u;
};

INLINE float minus_infinity() {
    FloatBits bits;
    bits.u = 0xff800000u;
    return bits.f;
}

// bf16 as its bits: not every compiler has the type.
struct Bf16 {
    u16_t bits;
};

#if defined(ON_CUDA)
// NVRTC without headers has no half type: its bits, converted by instructions.
struct F16 {
    u16_t bits;
};
INLINE float widen(F16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
INLINE void narrow(float x, F16& y) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
#else
typedef _Float16 F16;
INLINE float widen(F16 x) { return (float)x; }
INLINE void narrow(float x, F16& y) { y = (F16)x; }
#endif
#if defined(ON_CUDA)
INLINE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
#else
INLINE float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#endif
INLINE float widen(float x) { return x; }
INLINE void narrow(float x, float& y) { y = x; }
INLINE float widen(Bf16 x) {
    FloatBits bits;
    bits.u = (u32_t)x.bits << 16;
    return bits.f;
}
INLINE void narrow(float x, Bf16& y) {
    FloatBits bits;
    bits.f = x;
    const u32_t rounded = (bits.u + 0x7fffu + ((bits.u >> 16) & 1u)) >> 16;
    y.bits = (u16_t)(x != x ? (bits.u >> 16) | 0x40u : rounded);
}

// A value as the type T holds it.
template <typename T>
INLINE float rounded(float x) {
    T y;
    narrow(x, y);
    return widen(y);
}

// `size` elements of a fragment, from shared memory: side by side, or `stride` apart.
template <int size, bool along, typename T, typename V>
INLINE void gather(V& to, const T* from, int stride) {
    union {
        V vector;
        T elements[size];
    } u;
#pragma unroll
    for (int i = 0; i < size; ++i) u.elements[i] = from[along ? i : i * stride];
    to = u.vector;
}

// The sums of products on multiply-adds: fragments are places in shared memory.
template <typename T>
struct Fma {
    // Whether fragments are places in memory, and whether results are laid out as left operands are.
    static constexpr bool in_memory = true, in_registers = false;
    static constexpr int values = 256 / SARDONYX_WAVE;
    struct Fragment {
        const T* at;
        int outer, inner;
    };
    struct Accumulator {
        float v[values];
        static constexpr int held = values / 2, sharing = 8;
        static INLINE int held_row(int i) { return i / 2; }
        static INLINE int row(int lane, int i) { return lane / 8 * held + i / 2; }
        static INLINE int column(int lane, int i) { return lane % 8 * 2 + i % 2; }
    };
    template <bool along>
    static INLINE void load(Fragment& to, const T* from, int stride, int) {
        to.at = from;
        to.outer = along ? stride : 1;
        to.inner = along ? 1 : stride;
    }
    // All products of rows and columns: what is read once is used for a whole line of tiles.
    template <int rows, int columns>
    static INLINE void multiply_all(Accumulator (&c)[rows][columns], const Fragment (&a)[rows],
                                    const Fragment (&b)[columns], int lane) {
        constexpr int held = values / 2;
        const int row = Accumulator::row(lane, 0), column = Accumulator::column(lane, 0);
#pragma unroll 4
        for (int k = 0; k < 16; ++k) {
            float x[rows][held], y[columns][2];
#pragma unroll
            for (int i = 0; i < rows; ++i)
#pragma unroll
                for (int r = 0; r < held; ++r) x[i][r] = widen(a[i].at[(row + r) * a[i].outer + k * a[i].inner]);
#pragma unroll
            for (int j = 0; j < columns; ++j)
#pragma unroll
                for (int r = 0; r < 2; ++r) y[j][r] = widen(b[j].at[(column + r) * b[j].outer + k * b[j].inner]);
#pragma unroll
            for (int i = 0; i < rows; ++i)
#pragma unroll
                for (int j = 0; j < columns; ++j)
#pragma unroll
                    for (int v = 0; v < values; ++v)
                        c[i][j].v[v] = multiply_add(x[i][v / 2], y[j][v % 2], c[i][j].v[v]);
        }
    }
};

// All products of rows and columns of fragments.
template <typename Unit, int rows, int columns>
INLINE void multiply_all(typename Unit::Accumulator (&c)[rows][columns], const typename Unit::Fragment (&a)[rows],
                         const typename Unit::Fragment (&b)[columns], int lane) {
    if constexpr (Unit::in_memory)
        Unit::template multiply_all<rows, columns>(c, a, b, lane);
    else
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
            for (int j = 0; j < columns; ++j) Unit::multiply(c[i][j], a[i], b[j], lane);
}

template <typename T>
struct Wave : Fma<T> {};

#if defined(MATRIX_MMA)
INLINE u32_t shared_address(const void* p) { return (u32_t)__cvta_generic_to_shared(p); }
template <typename T>
struct Mma {
    static constexpr bool in_memory = false, in_registers = true;
    static constexpr int values = 8;
    struct Fragment {
        u32_t v[4];
    };
    struct Accumulator {
        float v[8];
        static constexpr int held = 2, sharing = 4;
        static INLINE int held_row(int i) { return i / 2 % 2; }
        static INLINE int row(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }
        static INLINE int column(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }
    };
    // The four 8 by 8 blocks in the order (outer, k): (0, 0), (1, 0), (0, 1), (1, 1).
    template <bool along>
    static INLINE void load(Fragment& to, const T* from, int stride, int lane) {
        const int outer = along ? lane % 16 : lane / 8 % 2 * 8, k = along ? lane / 16 * 8 : lane % 8 + lane / 16 * 8;
        const u32_t at = shared_address(along ? from + outer * stride + k : from + k * stride + outer);
        if (along)
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(to.v[0]), "=r"(to.v[1]), "=r"(to.v[2]), "=r"(to.v[3]) : "r"(at) : "memory");
        else
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(to.v[0]), "=r"(to.v[1]), "=r"(to.v[2]), "=r"(to.v[3]) : "r"(at) : "memory");
    }
    static INLINE void step(float* c, const Fragment& a, u32_t b0, u32_t b1);
    static INLINE void multiply(Accumulator& c, const Fragment& a, const Fragment& b, int) {
        step(c.v, a, b.v[0], b.v[2]);
        step(c.v + 4, a, b.v[1], b.v[3]);
    }
};
#define MMA_STEP(T, name)                                                                                     \
    template <>                                                                                               \
    INLINE void Mma<T>::step(float* c, const Fragment& a, u32_t b0, u32_t b1) {                               \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "  \
            "{%8, %9}, {%0, %1, %2, %3};"                                                                      \
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                   \
            : "r"(a.v[0]), "r"(a.v[1]), "r"(a.v[2]), "r"(a.v[3]), "r"(b0), "r"(b1));                           \
    }                                                                                                          \
    template <>                                                                                                \
    struct Wave<T> : Mma<T> {};
MMA_STEP(F16, "f16")
MMA_STEP(Bf16, "bf16")
#endif

#if defined(MATRIX_MFMA)
typedef _Float16 Half4 __attribute__((ext_vector_type(4)));
typedef short Short2 __attribute__((ext_vector_type(2)));
typedef short Short4 __attribute__((ext_vector_type(4)));
typedef float Float4 __attribute__((ext_vector_type(4)));
template <typename T, typename V>
struct Mfma {
    static constexpr bool in_memory = false, in_registers = false;
    static constexpr int values = 4;
    struct Fragment {
        V v;
    };
    struct Accumulator {
        union {
            float v[4];
            Float4 vector;
        };
        static constexpr int held = 4, sharing = 16;
        static INLINE int held_row(int i) { return i; }
        static INLINE int row(int lane, int i) { return lane / 16 * 4 + i; }
        static INLINE int column(int lane, int) { return lane % 16; }
    };
    template <bool along>
    static INLINE void load(Fragment& to, const T* from, int stride, int lane) {
        const int outer = lane % 16, k = lane / 16 * 4;
        gather<4, along>(to.v, along ? from + outer * stride + k : from + k * stride + outer, stride);
    }
};
template <>
struct Wave<F16> : Mfma<F16, Half4> {
    static INLINE void multiply(Accumulator& c, const Fragment& a, const Fragment& b, int) {
        c.vector = __builtin_amdgcn_mfma_f32_16x16x16f16(a.v, b.v, c.vector, 0, 0, 0);
    }
};
template <>
struct Wave<Bf16> : Mfma<Bf16, Short4> {
    static INLINE void multiply(Accumulator& c, const Fragment& a, const Fragment& b, int) {
#if defined(__gfx908__)
        // Each half of k is its own product: the order of k is the same in both operands.
        c.vector = __builtin_amdgcn_mfma_f32_16x16x8bf16(a.v.lo, b.v.lo, c.vector, 0, 0, 0);
        c.vector = __builtin_amdgcn_mfma_f32_16x16x8bf16(a.v.hi, b.v.hi, c.vector, 0, 0, 0);
#else
        c.vector = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(a.v, b.v, c.vector, 0, 0, 0);
#endif
    }
};
#endif

#if defined(MATRIX_WMMA3) || defined(MATRIX_WMMA4)
#if defined(MATRIX_WMMA3)
#define WMMA_SIZE 16
#define WMMA(type) __builtin_amdgcn_wmma_f32_16x16x16_##type##_w32
#else
#define WMMA_SIZE 8
#define WMMA(type) __builtin_amdgcn_wmma_f32_16x16x16_##type##_w32_gfx12
#endif
typedef _Float16 HalfN __attribute__((ext_vector_type(WMMA_SIZE)));
typedef short ShortN __attribute__((ext_vector_type(WMMA_SIZE)));
typedef float Float8 __attribute__((ext_vector_type(8)));
template <typename T, typename V>
struct Wmma {
    static constexpr bool in_memory = false, in_registers = false;
    static constexpr int values = 8;
    struct Fragment {
        V v;
    };
    struct Accumulator {
        union {
            float v[8];
            Float8 vector;
        };
        static constexpr int held = 8, sharing = 16;
        static INLINE int held_row(int i) { return i; }
        static INLINE int row(int lane, int i) {
            return WMMA_SIZE == 16 ? 2 * i + lane / 16 : lane / 16 * 8 + i;
        }
        static INLINE int column(int lane, int) { return lane % 16; }
    };
    // RDNA 3 wants all 16 elements in both halves of the wave, RDNA 4 half of them in each.
    template <bool along>
    static INLINE void load(Fragment& to, const T* from, int stride, int lane) {
        const int outer = lane % 16, k = WMMA_SIZE == 16 ? 0 : lane / 16 * 8;
        gather<WMMA_SIZE, along>(to.v, along ? from + outer * stride + k : from + k * stride + outer, stride);
    }
};
template <>
struct Wave<F16> : Wmma<F16, HalfN> {
    static INLINE void multiply(Accumulator& c, const Fragment& a, const Fragment& b, int) {
        c.vector = WMMA(f16)(a.v, b.v, c.vector);
    }
};
template <>
struct Wave<Bf16> : Wmma<Bf16, ShortN> {
    static INLINE void multiply(Accumulator& c, const Fragment& a, const Fragment& b, int) {
        c.vector = WMMA(bf16)(a.v, b.v, c.vector);
    }
};
#endif
