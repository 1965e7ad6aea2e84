// Tiles of a matrix on their way from global to shared memory, several stages deep where the hardware copies
// by itself (cp.async), else through registers.

// `bytes` that the copy engine or one load moves.
template <int bytes>
struct Packet;
template <>
struct Packet<2> {
    u16_t v;
};
template <>
struct Packet<4> {
    u32_t v;
};
template <>
struct __attribute__((aligned(8))) Packet<8> {
    u32_t v[2];
};
template <>
struct __attribute__((aligned(16))) Packet<16> {
    u32_t v[4];
};

// Copies a packet, or zeros where it is outside the matrix.
template <int bytes>
INLINE void copy(void* to, const void* from, bool inside) {
#if defined(ON_CUDA)
    if (bytes >= 4) {
        const int valid = inside ? bytes : 0;
        if (bytes == 16)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                         "r"(valid) : "memory");
        else
            asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from),
                         "n"(bytes >= 4 ? bytes : 4), "r"(valid) : "memory");
        return;
    }
#endif
    if (inside)
        *(Packet<bytes>*)to = *(const Packet<bytes>*)from;
    else
        *(Packet<bytes>*)to = Packet<bytes>{};
}

INLINE void commit() {
#if defined(ON_CUDA)
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Lets what stands here come nearer.
INLINE void prefetch(const void* at) {
#if defined(ON_CUDA)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
#endif
}

// Calls `touch(row, column)` for the places of a tile that are 64 results from each other along its lines, or `down`
// its columns.
template <int M, int N, int threads, bool down, typename F>
INLINE void each_line(int thread, const F& touch) {
    constexpr int across = down ? N : M, along = ((down ? M : N) + 63) / 64;
    for (int line = thread; line < across * along; line += threads) {
        const int outer = line % across, inner = line / across * 64;
        down ? touch(inner, outer) : touch(outer, inner);
    }
}

// Waits until all but the newest `pending` groups of this thread's copies have arrived.
template <int pending>
INLINE void arrive() {
#if defined(ON_CUDA)
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// A tile in shared memory of `lines` lines, each of `length` elements that stand side by side in global memory.
// The padding of a line keeps the lanes that read neighbouring lines on different banks.
template <typename T, int lines, int length, int vector, int threads>
struct Tile {
    static constexpr int stride = length + 16 / (int)sizeof(T), elements = lines * stride;
    static constexpr int line = stride;
    // Where element (i, j) stands.
    static INLINE int at(int i, int j) { return i * stride + j; }
    // The packets of a thread are one below the other: `apart` lines from each other.
    static constexpr int across = length / vector, apart = threads < across ? 1 : threads / across;
    static constexpr int packets = (lines + apart - 1) / apart;
    static constexpr bool alike = threads % across == 0 && (lines % apart == 0 || lines < apart);
    // What a thread copies of tiles that follow each other; all that stays the same is computed once. Element
    // (i, j) of the tile is element (line + i, first + j) of the matrix, `pitch` elements between lines; zeros
    // from line `line_end` and element `end` on.
    struct Walk {
        static_assert(alike, "packets of a thread are one below the other");
        const T* from;
        i64_t gap, step;
        int to, lines_left, elements_left;
        INLINE Walk(const T* matrix, i64_t pitch, i64_t line, i64_t first, i64_t line_end, i64_t end, int thread) {
            const int i = thread / across, j = thread % across * vector;
            from = matrix + (line + i) * pitch + first + j;
            gap = apart * pitch;
            step = lines * pitch;
            // Threads beyond the last line have nothing to do.
            to = lines >= apart || i < lines ? i * stride + j : -1;
            lines_left = clip(line_end - line - i);
            elements_left = clip(end - first - j);
        }
        static INLINE int clip(i64_t x) { return (int)(x < 0x7fffffff ? x : 0x7fffffff); }
        INLINE void load(T* tile) const {
            if (lines < apart && to < 0) return;
            const T* line = from;
#pragma unroll
            for (int p = 0; p < packets; ++p) {
                copy<vector * (int)sizeof(T)>(tile + to + p * apart * stride, line,
                                              p * apart < lines_left && elements_left > 0);
                line += gap;
            }
        }
        // To the tile `lines` lines or `length` elements further.
        INLINE void next_lines() { from += step, lines_left -= lines; }
        INLINE void next_elements() { from += length, elements_left -= length; }
    };
    static INLINE void load(T* to, const T* matrix, i64_t pitch, i64_t line, i64_t first, i64_t line_end,
                            i64_t end, int thread) {
        if constexpr (alike) {
            Walk(matrix, pitch, line, first, line_end, end, thread).load(to);
        } else {
#pragma unroll
            for (int p = 0; p < (lines * across + threads - 1) / threads; ++p) {
                const int packet = p * threads + thread, i = packet / across, j = packet % across * vector;
                if (packet >= lines * across) break;
                const bool inside = line + i < line_end && first + j < end;
                const T* from = matrix + (inside ? (line + i) * pitch + first + j : 0);
                copy<vector * (int)sizeof(T)>(to + i * stride + j, from, inside);
            }
        }
    }
};
