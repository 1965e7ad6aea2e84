// Matrix products of a warpgroup (128 threads, sm_90 on): operands stay in shared memory, from which `wgmma` reads
// them while the threads go on. The host build, and GPUs without it, compute the same from the same layout.
//
// A tile in shared memory is cut into columns of 128 bytes; the 16-byte packets of each line of a column stand
// in the order that the line's number, modulo 8, gives by exclusive or. So eight neighbouring lines, and eight
// packets of a line, are on different banks. A tile begins at a multiple of 1024 bytes.

#if defined(ON_CUDA) && __CUDA_ARCH__ >= 900
#define WARPGROUP_MMA 1
#endif

constexpr int WARPGROUP = 128;

// A tile of `lines` lines, each of `length` 2-byte elements that stand side by side in global memory, copied by
// `threads` threads in packets of 16 bytes.
template <typename T, int lines, int length, int threads>
struct Swizzled {
    static constexpr int elements = lines * length;
    static_assert(sizeof(T) == 2 && length % 64 == 0 && lines % 8 == 0, "whole columns of 8 lines");
    // Where element (i, j) stands.
    static INLINE int at(int i, int j) { return j / 64 * (lines * 64) + i * 64 + ((j / 8 ^ i) % 8 * 8 | j % 8); }
    // Threads that copy a line, lines that are copied at once, and how often a thread copies.
    static constexpr int across = length / 8, apart = threads / across, packets = lines / apart;
    // Elements from a line to the one that is a multiple of 8 further, divided by that.
    static constexpr int line = 64;
    static_assert(threads % across == 0 && apart % 8 == 0 && lines % apart == 0, "packets of a thread are alike");
    // What a thread copies of tiles that follow each other; all that stays the same is computed once. Element
    // (i, j) of the tile is element (line + i, first + j) of the matrix, `pitch` elements between lines; zeros
    // from line `line_end` and element `end` on.
    struct Walk {
        const T* from;
        i64_t gap;
        int to, lines_left, elements_left;
        INLINE Walk(const T* matrix, i64_t pitch, i64_t line, i64_t first, i64_t line_end, i64_t end, int thread) {
            const int i = thread / across, j = thread % across * 8;
            from = matrix + (line + i) * pitch + first + j;
            gap = apart * pitch;
            to = at(i, j);
            lines_left = clip(line_end - line - i);
            elements_left = clip(end - first - j);
        }
        static INLINE int clip(i64_t x) { return (int)(x < 0x7fffffff ? x : 0x7fffffff); }
        INLINE void load(T* tile) const {
            const T* line = from;
#pragma unroll
            for (int p = 0; p < packets; ++p) {
                copy<16>(tile + to + p * apart * 64, line, p * apart < lines_left && elements_left > 0);
                line += gap;
            }
        }
        // To the tile `lines` lines or `length` elements further.
        INLINE void next_lines() { from += lines / apart * gap, lines_left -= lines; }
        INLINE void next_elements() { from += length, elements_left -= length; }
    };
};

// What a thread holds of a product of 64 rows and `N` columns.
template <int N>
struct Sums {
    static constexpr int values = N / 2;
    float v[values];
    static INLINE int row(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
    static INLINE int column(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }
};

#if defined(WARPGROUP_MMA)
// The copies of this thread that have arrived become visible to the matrix unit.
INLINE void publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Before the first product, and after sums were written by other instructions.
INLINE void open_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
INLINE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until all but the newest `pending` groups of products are done.
template <int pending>
INLINE void finish_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
// Sums change behind the compiler's back until here.
template <int N>
INLINE void settle(Sums<N>& sums) {
#pragma unroll
    for (int i = 0; i < Sums<N>::values; ++i) asm volatile("" : "+f"(sums.v[i])::"memory");
}

typedef unsigned long long u64_t;
// The 128-byte swizzle; groups of 8 lines stand 1024 bytes apart, columns of the tile `column` bytes.
INLINE u64_t describe(const void* at, int column) {
    return (u64_t)1 << 62 | (u64_t)(1024 >> 4) << 32 | (u64_t)(column >> 4) << 16 |
           (u64_t)((shared_address(at) & 0x3ffff) >> 4);
}

template <typename T, int N, bool a_along, bool b_along>
struct Wgmma;
#define SUM4(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define SUM16(i) SUM4(i), SUM4(i + 4), SUM4(i + 8), SUM4(i + 12)
#define SUM64(i) SUM16(i), SUM16(i + 16), SUM16(i + 32), SUM16(i + 48)
#define NUMBERS64 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA64(T, name)                                                                                     \
    template <bool a_along, bool b_along>                                                                     \
    struct Wgmma<T, 64, a_along, b_along> {                                                                   \
        static INLINE void step(float* c, u64_t a, u64_t b) {                                                 \
            asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name " {" NUMBERS64           \
                         "}, %32, %33, 1, 1, 1, %34, %35;"                                                 \
                         : SUM16(0), SUM16(16)                                                                \
                         : "l"(a), "l"(b), "n"(!a_along), "n"(!b_along));                                     \
        }                                                                                                     \
    };
WGMMA64(F16, "f16")
WGMMA64(Bf16, "bf16")
#define NUMBERS128 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, " \
    "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, " \
    "%56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA128(T, name)                                                                                    \
    template <bool a_along, bool b_along>                                                                     \
    struct Wgmma<T, 128, a_along, b_along> {                                                                  \
        static INLINE void step(float* c, u64_t a, u64_t b) {                                                 \
            asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." name "." name " {" NUMBERS128           \
                         "}, %64, %65, 1, 1, 1, %66, %67;"                                                 \
                         : SUM64(0)                                                                      \
                         : "l"(a), "l"(b), "n"(!a_along), "n"(!b_along));                                     \
        }                                                                                                     \
    };
WGMMA128(F16, "f16")
WGMMA128(Bf16, "bf16")
#define NUMBERS256 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, " \
    "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, " \
    "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, " \
    "%74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, " \
    "%92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, " \
    "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, " \
    "%123, %124, %125, %126, %127"
#define WGMMA256(T, name)                                                                                    \
    template <bool a_along, bool b_along>                                                                     \
    struct Wgmma<T, 256, a_along, b_along> {                                                                  \
        static INLINE void step(float* c, u64_t a, u64_t b) {                                                 \
            asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32." name "." name " {" NUMBERS256           \
                         "}, %128, %129, 1, 1, 1, %130, %131;"                                                 \
                         : SUM64(0), SUM64(64)                                                                      \
                         : "l"(a), "l"(b), "n"(!a_along), "n"(!b_along));                                     \
        }                                                                                                     \
    };
WGMMA256(F16, "f16")
WGMMA256(Bf16, "bf16")
#else
INLINE void publish() {}
INLINE void open_products() {}
INLINE void commit_products() {}
template <int pending>
INLINE void finish_products() {}
template <int N>
INLINE void settle(Sums<N>&) {}
#endif

// Adds the product of 64 rows of a from `row` on and all N columns of b, over the whole depth of the tiles. `along`
// tells whether lines of a tile are along the sum; `thread` counts within the warpgroup.
template <typename T, int N, int depth, bool a_along, bool b_along, typename TileA, typename TileB>
INLINE void multiply_tiles(Sums<N>& sums, const T* a, int row, const T* b, int thread) {
#if defined(WARPGROUP_MMA)
    // Inside a column the unit swizzles addresses itself: it is given the place without it.
    const u64_t from_a = describe(a + (a_along ? row * 64 : row / 64 * (depth * 64)), depth * 128);
    const u64_t from_b = describe(b, depth * 128);
#pragma unroll
    for (int k = 0; k < depth; k += 16)
        Wgmma<T, N, a_along, b_along>::step(sums.v, from_a + (a_along ? k : k * 64) / 8,
                                            from_b + (b_along ? k : k * 64) / 8);
#else
    for (int i = 0; i < Sums<N>::values; ++i) {
        const int y = row + Sums<N>::row(thread, i), x = Sums<N>::column(thread, i);
        for (int k = 0; k < depth; ++k)
            sums.v[i] += widen(a[a_along ? TileA::at(y, k) : TileA::at(k, y)]) *
                         widen(b[b_along ? TileB::at(x, k) : TileB::at(k, x)]);
    }
#endif
}

// What blocks of a cluster do together: they meet, and read `count` floats, `apart` from each other, of what another
// has at the same place of its shared memory.
#if CLUSTER > 1 && defined(WARPGROUP_MMA)
#undef BLOCK_KERNEL
#define BLOCK_KERNEL(threads) \
    extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(threads, 1)
INLINE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
template <int count, int apart>
INLINE void read_member(float* to, const float* at, int member) {
    u32_t from;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(from) : "r"(shared_address(at)), "r"(member));
    if constexpr (apart == 1 && count % 4 == 0) {
#pragma unroll
        for (int i = 0; i < count; i += 4)
            asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(to[i]), "=f"(to[i + 1]), "=f"(to[i + 2]), "=f"(to[i + 3]) : "r"(from + i * 4) : "memory");
    } else {
#pragma unroll
        for (int i = 0; i < count; ++i)
            asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(to[i]) : "r"(from + i * apart * 4) : "memory");
    }
}
#elif CLUSTER > 1
template <int count, int apart>
INLINE void read_member(float* to, const float* at, int member) {
    const float* const from = (const float*)member_memory(at, member);
    for (int i = 0; i < count; ++i) to[i] = from[i * apart];
}
#endif

// A tile of M by N results, K elements of the sums a stage, on `groups` warpgroups that take rows of it, as `Product`.
template <typename Element, int M, int N, int K, int groups, bool a_along, bool b_along, typename TileA,
          typename TileB>
struct WarpgroupProduct {
    static constexpr int rows = M / groups / 64, stage = TileA::elements + TileB::elements;
    static_assert(K == 64 && rows * groups * 64 == M && N % 64 == 0, "warpgroups divide the tile");
    Sums<N> sums[rows];
    int thread, member, row;

    INLINE WarpgroupProduct(int number) {
        thread = number, member = thread % WARPGROUP, row = thread / WARPGROUP * rows * 64;
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
            for (int v = 0; v < N / 2; ++v) sums[i].v[v] = 0;
    }

    // Of the stages, one is multiplied and one has a product that may not be done: the others are on their way.
    template <int stages, typename WalkA, typename WalkB>
    INLINE void run(Element* memory, WalkA& a, WalkB& b, int steps) {
        constexpr int ahead = stages - 2;
        static_assert(ahead >= 1, "a stage is on its way");
        const auto load_stage = [&](Element* to) INLINED {
            a.load(to);
            b.load(to + TileA::elements);
            a.next(), b.next();
        };
#pragma unroll
        for (int s = 0; s < ahead; ++s) {
            if (s < steps) load_stage(memory + s * stage);
            commit();
        }
        int at = 0, to = ahead;
#pragma unroll 1
        for (int s = 0; s < steps; ++s) {
            arrive<ahead - 1>();
            publish();
            // Behind it, everyone's products of all stages but the last are done, and this stage is there.
            barrier();
            const Element* const from = memory + at * stage;
            open_products();
#pragma unroll
            for (int i = 0; i < rows; ++i)
                multiply_tiles<Element, N, K, a_along, b_along, TileA, TileB>(sums[i], from, row + i * 64,
                                                                              from + TileA::elements, member);
            commit_products();
            if (s + ahead < steps) load_stage(memory + to * stage);
            commit();
            finish_products<1>();
            at = at + 1 == stages ? 0 : at + 1;
            to = to + 1 == stages ? 0 : to + 1;
        }
        finish_products<0>();
    }

    // Calls `store(row, column, first, apart)` for all packets of results, in strips of 64 columns; the last products of
    // others may still read the stages.
    template <int packet, bool down, typename F>
    INLINE void leave(void* memory, const F& store) {
#if CLUSTER > 1
        return leave_together<packet, down>((float*)memory, store);
#endif
        typedef Strip<64, packet, down> Room;
        const int lane = thread % SARDONYX_WAVE, first = member / SARDONYX_WAVE * 16;
        float* const strip = (float*)memory + thread / SARDONYX_WAVE * Room::elements;
        barrier();
#pragma unroll
        for (int i = 0; i < rows; ++i) {
            settle(sums[i]);
#pragma unroll
            for (int part = 0; part < N; part += 64) {
#pragma unroll
                for (int v = part / 2; v < part / 2 + 32; ++v)
                    strip[(Sums<N>::row(member, v) - first) * Room::stride + Sums<N>::column(member, v) - part] =
                        sums[i].v[v];
                wave_barrier();
                Room::template drain<SARDONYX_WAVE>(strip, lane, [&](int y, int x, const float* from) INLINED {
                    store(row + i * 64 + first + y, part + x, from, Room::apart);
                });
                wave_barrier();
            }
        }
    }
#if CLUSTER > 1
    // The same of sums that the blocks of a cluster share: each shows its own to the others, and adds up a part of
    // the results, those of the first block first.
    template <int packet, bool down, typename F>
    INLINE void leave_together(float* all, const F& store) {
        constexpr int packets = M * N / packet, across = (down ? M : N) / packet;
        static_assert(packets % CLUSTER == 0, "blocks share the results");
        barrier();
#pragma unroll
        for (int i = 0; i < rows; ++i) {
            settle(sums[i]);
#pragma unroll
            for (int v = 0; v < N / 2; ++v)
                all[(row + i * 64 + Sums<N>::row(member, v)) * whole_line + Sums<N>::column(member, v)] = sums[i].v[v];
        }
        cluster_barrier();
        const int first = (int)(block_index() % CLUSTER) * (packets / CLUSTER);
        for (int p = thread; p < packets / CLUSTER; p += groups * WARPGROUP) {
            const int at = first + p, y = down ? at % across * packet : at / across,
                      x = down ? at / across : at % across * packet;
            float whole[packet];
#pragma unroll
            for (int l = 0; l < packet; ++l) whole[l] = 0;
#pragma unroll
            for (int other = 0; other < CLUSTER; ++other) {
                float part[packet];
                read_member<packet, down ? whole_line : 1>(part, all + y * whole_line + x, other);
#pragma unroll
                for (int l = 0; l < packet; ++l) whole[l] += part[l];
            }
            store(y, x, whole, 1);
        }
        // Until the others have read it, this block's memory stays.
        cluster_barrier();
    }
#endif
    // Floats from a line to the next where a tile's sums are shown to a cluster.
    static constexpr int whole_line = N + 8;
    // Bytes that `leave` needs.
    static constexpr int leave_bytes =
        CLUSTER > 1 ? M * whole_line * 4 : groups * 4 * Strip<64, 1, false>::elements * 4;
};
