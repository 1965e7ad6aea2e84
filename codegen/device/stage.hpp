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
    // Element (i, j) of the tile is element (line + i, first + j) of the matrix, `pitch` elements between lines;
    // zeros from line `line_end` and element `end` on.
    static INLINE void load(T* to, const T* matrix, i64_t pitch, i64_t line, i64_t first, i64_t line_end,
                            i64_t end, int thread) {
        constexpr int packets = lines * length / vector, across = length / vector;
        constexpr int apart = threads < across ? 1 : threads / across;
        if (threads % across == 0 && lines % apart == 0) {
            // The packets of a thread are one below the other.
            const int i = thread / across, j = thread % across * vector;
            const i64_t there = line_end - line - i, gap = apart * pitch;
            const int lines_left = first + j < end ? (int)(there < lines ? there : lines) : 0;
            const T* from = matrix + (line + i) * pitch + first + j;
#pragma unroll
            for (int p = 0; p < lines / apart; ++p) {
                copy<vector * (int)sizeof(T)>(to + (i + p * apart) * stride + j, from, p * apart < lines_left);
                from += gap;
            }
            return;
        }
#pragma unroll
        for (int p = 0; p < (packets + threads - 1) / threads; ++p) {
            const int packet = p * threads + thread, i = packet / (length / vector),
                      j = packet % (length / vector) * vector;
            if (packets % threads != 0 && packet >= packets) break;
            const bool inside = line + i < line_end && first + j < end;
            const T* from = matrix + (inside ? (line + i) * pitch + first + j : 0);
            copy<vector * (int)sizeof(T)>(to + i * stride + j, from, inside);
        }
    }
};
