// The border between kernels and platforms: everything in which AMD, NVIDIA and the host build of tests
// differ. No includes: hiprtc 5.2 has no headers, NVRTC needs none. The host build is the same text, compiled
// as C++ with SARDONYX_HOST defined; whoever runs it sets `sardonyx_block` and `sardonyx_thread`, and defines
// `barrier` and `exchange` where threads of a block meet.
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

#if defined(SARDONYX_HOST)
#define DEVICE static inline
#define KERNEL(threads) extern "C" void
static thread_local u32 sardonyx_block, sardonyx_thread;
DEVICE u32 block_index() { return sardonyx_block; }
DEVICE u32 thread_index() { return sardonyx_thread; }
#define SHARED static thread_local
static inline void barrier();
// The word of the thread whose number differs in the bit `distance`.
static inline u32 exchange(u32 word, u32 distance);
DEVICE void block_barrier() { barrier(); }
#elif defined(SARDONYX_HIP)
#define DEVICE static inline __attribute__((device, always_inline))
// `__launch_bounds__` is a macro of headers; the attribute alone tells the compiler the size of blocks.
#define KERNEL(threads) \
    extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(1, threads))) void
DEVICE u32 block_index() { return __builtin_amdgcn_workgroup_id_x(); }
DEVICE u32 thread_index() { return __builtin_amdgcn_workitem_id_x(); }
#define SHARED static __attribute__((shared))
DEVICE void block_barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
DEVICE u32 exchange(u32 word, u32 distance) {
    const u32 lane = (thread_index() ^ distance) % SARDONYX_WAVE;
    return u32(__builtin_amdgcn_ds_bpermute(i32(lane * 4), i32(word)));
}
#else
#define DEVICE static __device__ __forceinline__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
DEVICE u32 block_index() { return blockIdx.x; }
DEVICE u32 thread_index() { return threadIdx.x; }
#define SHARED __shared__
DEVICE void block_barrier() { __syncthreads(); }
DEVICE u32 exchange(u32 word, u32 distance) { return __shfl_xor_sync(0xffffffffu, word, distance); }
#endif

#if defined(SARDONYX_CUDA) && !defined(SARDONYX_HOST)
DEVICE f32 fused(f32 a, f32 b, f32 c) { return __fmaf_rn(a, b, c); }
DEVICE f64 fused(f64 a, f64 b, f64 c) { return __fma_rn(a, b, c); }
DEVICE f32 round_down(f32 x) { return floorf(x); }
DEVICE f64 round_down(f64 x) { return floor(x); }
DEVICE f32 round_up(f32 x) { return ceilf(x); }
DEVICE f64 round_up(f64 x) { return ceil(x); }
DEVICE f32 round_even(f32 x) { return rintf(x); }
DEVICE f64 round_even(f64 x) { return rint(x); }
DEVICE f32 round_to_zero(f32 x) { return truncf(x); }
DEVICE f64 round_to_zero(f64 x) { return trunc(x); }
DEVICE f32 square_root(f32 x) { return __fsqrt_rn(x); }
DEVICE f64 square_root(f64 x) { return __dsqrt_rn(x); }
DEVICE f32 magnitude(f32 x) { return fabsf(x); }
DEVICE f64 magnitude(f64 x) { return fabs(x); }
DEVICE f32 widen_half(u16 x) {
    f32 y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
DEVICE u16 narrow_half(f32 x) {
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#else
DEVICE f32 fused(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
DEVICE f64 fused(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }
DEVICE f32 round_down(f32 x) { return __builtin_floorf(x); }
DEVICE f64 round_down(f64 x) { return __builtin_floor(x); }
DEVICE f32 round_up(f32 x) { return __builtin_ceilf(x); }
DEVICE f64 round_up(f64 x) { return __builtin_ceil(x); }
DEVICE f32 round_even(f32 x) { return __builtin_rintf(x); }
DEVICE f64 round_even(f64 x) { return __builtin_rint(x); }
DEVICE f32 round_to_zero(f32 x) { return __builtin_truncf(x); }
DEVICE f64 round_to_zero(f64 x) { return __builtin_trunc(x); }
DEVICE f32 square_root(f32 x) { return __builtin_sqrtf(x); }
DEVICE f64 square_root(f64 x) { return __builtin_sqrt(x); }
DEVICE f32 magnitude(f32 x) { return __builtin_fabsf(x); }
DEVICE f64 magnitude(f64 x) { return __builtin_fabs(x); }
DEVICE f32 widen_half(u16 x) {
    union { u16 bits; _Float16 value; } half;
    half.bits = x;
    return (f32)half.value;
}
DEVICE u16 narrow_half(f32 x) {
    union { u16 bits; _Float16 value; } half;
    half.value = (_Float16)x;
    return half.bits;
}
#endif

// What the hardware takes for an exponential and a quotient: good to some 2^-20, for results of 16 bits.
#if defined(SARDONYX_CUDA) && !defined(SARDONYX_HOST)
DEVICE f32 coarse_exp(f32 x) {
    f32 y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
    return y;
}
DEVICE f32 coarse_div(f32 a, f32 b) {
    f32 y;
    asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
#else
#if defined(SARDONYX_HIP) && __has_builtin(__builtin_amdgcn_exp2f)
DEVICE f32 coarse_exp(f32 x) { return __builtin_amdgcn_exp2f(x * 1.4426950408889634f); }
#else
DEVICE f32 coarse_exp(f32 x) { return __builtin_exp2f(x * 1.4426950408889634f); }
#endif
DEVICE f32 coarse_div(f32 a, f32 b) { return a / b; }
#endif

// Lanes of a register.
template <class T, int N> struct Lanes { T at[N]; };

// The same bits as another type of the same size.
template <class To, class From> DEVICE To bits(From x) {
    union { From from; To to; } both;
    both.from = x;
    return both.to;
}

// The value in the thread of the wave whose number differs in the bit `distance`.
template <class T> DEVICE T lane_xor(T x, u32 distance) {
    union { T value; u32 words[sizeof(T) > 4 ? 2 : 1]; } both;
    both.words[0] = 0;
    both.value = x;
    for (u32& word : both.words) word = exchange(word, distance);
    return both.value;
}

// Neighbouring elements, with accesses of up to 16 bytes where their address allows it.
template <int BYTES> struct Access;
#if defined(SARDONYX_CUDA) && !defined(SARDONYX_HOST)
template <> struct Access<16> { typedef uint4 Word; };
template <> struct Access<8> { typedef uint2 Word; };
template <> struct Access<4> { typedef u32 Word; };
template <> struct Access<2> { typedef u16 Word; };
#else
template <> struct Access<16> { typedef u32 Word __attribute__((ext_vector_type(4), may_alias)); };
template <> struct Access<8> { typedef u32 Word __attribute__((ext_vector_type(2), may_alias)); };
template <> struct Access<4> { typedef u32 Word __attribute__((may_alias)); };
template <> struct Access<2> { typedef u16 Word __attribute__((may_alias)); };
#endif
template <int N, class T> DEVICE Lanes<T, N> load_lanes(const T* from) {
    constexpr int COUNT = N * sizeof(T) > 16 ? N * sizeof(T) / 16 : 1;
    typedef typename Access<N * sizeof(T) / COUNT>::Word Word;
    union { Lanes<T, N> lanes; Word words[COUNT]; } both;
    if (u64(from) % sizeof(Word) == 0)
        for (int k = 0; k < COUNT; k++) both.words[k] = ((const Word*)from)[k];
    else
        for (int l = 0; l < N; l++) both.lanes.at[l] = from[l];
    return both.lanes;
}
template <class T, int N> DEVICE void store_lanes(T* to, Lanes<T, N> x) {
    constexpr int COUNT = N * sizeof(T) > 16 ? N * sizeof(T) / 16 : 1;
    typedef typename Access<N * sizeof(T) / COUNT>::Word Word;
    union { Lanes<T, N> lanes; Word words[COUNT]; } both;
    both.lanes = x;
    if (u64(to) % sizeof(Word) == 0)
        for (int k = 0; k < COUNT; k++) ((Word*)to)[k] = both.words[k];
    else
        for (int l = 0; l < N; l++) to[l] = x.at[l];
}

// Integers wrap.
template <class T> DEVICE T add(T a, T b) { return T(u64(a) + u64(b)); }
template <class T> DEVICE T subtract(T a, T b) { return T(u64(a) - u64(b)); }
template <class T> DEVICE T multiply(T a, T b) { return T(u64(a) * u64(b)); }
template <class T> DEVICE T negate(T a) { return T(0 - u64(a)); }
// The least integer is its own magnitude.
template <class T> DEVICE T absolute(T a) { return a < T(0) ? negate(a) : a; }
// Toward zero; division by zero gives 0, and the least value divided by -1 itself.
template <class T> DEVICE T divide(T a, T b) {
    if (b == T(0)) return T(0);
    if (T(-1) < T(0) && b == T(-1)) return negate(a);
    return T(a / b);
}
// With the sign of the dividend; 0 for the divisors 0 and -1.
template <class T> DEVICE T remainder_of(T a, T b) {
    if (b == T(0) || (T(-1) < T(0) && b == T(-1))) return T(0);
    return T(a % b);
}
// 0 where the distance is not below the width.
template <class T> DEVICE T shift_left(T a, T b) { return u64(b) < sizeof(T) * 8 ? T(u64(a) << u64(b)) : T(0); }
template <class T> DEVICE T shift_right(T a, T b) { return u64(b) < sizeof(T) * 8 ? T(a >> u64(b)) : T(0); }
// A bool is one bit wide.
DEVICE bool shift_left(bool a, bool b) { return a && !b; }
DEVICE bool shift_right(bool a, bool b) { return a && !b; }
DEVICE i64 index_div(i64 a, i64 b) { return i64(u64(a) / u64(b)); }
DEVICE i64 index_rem(i64 a, i64 b) { return i64(u64(a) % u64(b)); }
DEVICE i32 index_div(i32 a, i32 b) { return i32(u32(a) / u32(b)); }
DEVICE i32 index_rem(i32 a, i32 b) { return i32(u32(a) % u32(b)); }

// NaN if either is.
template <class T> DEVICE T least(T a, T b) { return (a < b || a != a) ? a : b; }
template <class T> DEVICE T greatest(T a, T b) { return (b < a || a != a) ? a : b; }

// Floats to integers: toward zero and saturating, NaN as 0.
template <class T> DEVICE i32 to_i32(T x) {
    return x >= T(2147483648.0) ? 2147483647 : x >= T(-2147483648.0) ? i32(x) : x != x ? 0 : i32(-2147483647 - 1);
}
template <class T> DEVICE i64 to_i64(T x) {
    return x >= T(9223372036854775808.0)    ? 9223372036854775807ll
           : x >= T(-9223372036854775808.0) ? i64(x)
           : x != x                         ? 0ll
                                            : -9223372036854775807ll - 1;
}
// Negative numbers wrap.
template <class T> DEVICE u64 to_u64(T x) {
    return x >= T(18446744073709551616.0) ? 18446744073709551615ull
           : x >= T(0)                    ? u64(x)
           : x < T(0)                     ? u64(to_i64(x))
                                          : 0ull;
}
