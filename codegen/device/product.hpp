// The product of a block's tile: its operands come through a pipeline of stages in shared memory, its waves multiply
// parts of it, and the results leave in packets of neighbours.

// Elements side by side, moved by one load or store.
template <typename T, int count>
struct __attribute__((aligned(count * sizeof(T)))) Elements {
    T at[count];
};

// Blocks of a cluster compute the same tile, each a part of the sums.
#if !defined(CLUSTER)
#define CLUSTER 1
#endif
// The part of this block: so many steps of all, and the first.
struct Share {
    int begin, steps;
    INLINE Share(i64_t all) {
        const i64_t member = block_index() % CLUSTER;
        begin = (int)(all * member / CLUSTER), steps = (int)(all * (member + 1) / CLUSTER) - begin;
    }
};

// Results of a wave in shared memory: 16 lines, `width` wide. `packet` neighbours leave at once, those of a line or,
// `down`, those of a column.
template <int width, int packet, bool down>
struct Strip {
    static constexpr int stride = width + 8, elements = 16 * stride, apart = down ? stride : 1;
    static_assert(width % packet == 0 && 16 % packet == 0, "packets fill the strip");
    // Calls `store(row, column, first)` for the packets of one of `lanes` lanes; values stand `apart` from each other.
    template <int lanes, typename F>
    static INLINE void drain(const float* strip, int lane, const F& store) {
        constexpr int across = down ? 16 / packet : width / packet, packets = 16 * width / packet;
        // Many packets in a row would keep their places in more registers than there are.
#pragma unroll 8
        for (int p = 0; p < packets; p += lanes) {
            const int at = p + lane, row = down ? at % across * packet : at / across,
                      column = down ? at / across : at % across * packet;
            if (packets % lanes == 0 || at < packets) store(row, column, strip + row * stride + column);
        }
    }
};

// A tile of M by N results, K elements of the sums a stage, on waves_m by waves_n waves, waves_k times: those that
// compute the same results take turns along the sums.
template <typename Element, int M, int N, int K, int waves_m, int waves_n, int waves_k, bool a_along, bool b_along,
          typename TileA, typename TileB>
struct Product {
    typedef Wave<Element> Unit;
    static constexpr int rows = M / waves_m / 16, columns = N / waves_n / 16;
    static constexpr int waves = waves_m * waves_n;
    static constexpr int stage = TileA::elements + TileB::elements;
    static_assert(rows * waves_m * 16 == M && columns * waves_n * 16 == N && K % (16 * waves_k) == 0, "waves divide the tile");
    typename Unit::Accumulator sums[rows][columns];
    // The wave's number among those that take turns, that among the others, and its place in the tile.
    int lane, turn, wave, row, column;

    INLINE Product(int thread) {
        lane = thread % SARDONYX_WAVE, wave = thread / SARDONYX_WAVE % waves, turn = thread / SARDONYX_WAVE / waves;
        row = wave / waves_n * rows * 16, column = wave % waves_n * columns * 16;
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
            for (int j = 0; j < columns; ++j)
#pragma unroll
                for (int v = 0; v < Unit::values; ++v) sums[i][j].v[v] = 0;
    }

    INLINE void multiply(const Element* at) {
#pragma unroll
        for (int step = 0; step < K; step += 16 * waves_k) {
            const int k = step + turn * 16;
            typename Unit::Fragment a[rows], b[columns];
#pragma unroll
            for (int i = 0; i < rows; ++i) {
                const int line = row + i * 16;
                Unit::template load<a_along>(a[i], at + (a_along ? line * TileA::stride + k : k * TileA::stride + line),
                                             TileA::stride, lane);
            }
#pragma unroll
            for (int j = 0; j < columns; ++j) {
                const int line = column + j * 16;
                Unit::template load<b_along>(
                    b[j], at + TileA::elements + (b_along ? line * TileB::stride + k : k * TileB::stride + line),
                    TileB::stride, lane);
            }
            multiply_all<Unit, rows, columns>(sums, a, b, lane);
        }
    }

    // Sums up `steps` stages. A walk's `load` copies its tile, `next` moves it to the next one.
    template <int stages, typename WalkA, typename WalkB>
    INLINE void run(Element* memory, WalkA& a, WalkB& b, int steps) {
        const auto load_stage = [&](Element* to) INLINED {
            a.load(to);
            b.load(to + TileA::elements);
            a.next(), b.next();
        };
#pragma unroll
        for (int s = 0; s < stages - 1; ++s) {
            if (s < steps) load_stage(memory + s * stage);
            commit();
        }
        int at = 0, to = stages - 1;
#pragma unroll 1
        for (int s = 0; s < steps; ++s) {
            arrive<stages - 2>();
            barrier();
            if (s + stages - 1 < steps) load_stage(memory + to * stage);
            commit();
            multiply(memory + at * stage);
            at = at + 1 == stages ? 0 : at + 1;
            to = to + 1 == stages ? 0 : to + 1;
        }
    }

    // Calls `store(row, column, first, apart)` for all packets of results; `memory` is that of the stages.
    template <int packet, bool down, typename F>
    INLINE void leave(void* memory, const F& store) {
        typedef Strip<columns * 16, packet, down> Room;
        float* const plane = (float*)memory + wave * Room::elements;
        float* const strip = plane + turn * waves * Room::elements;
        barrier();
#pragma unroll
        for (int i = 0; i < rows; ++i) {
#pragma unroll
            for (int j = 0; j < columns; ++j)
#pragma unroll
                for (int v = 0; v < Unit::values; ++v)
                    strip[Unit::Accumulator::row(lane, v) * Room::stride + j * 16 + Unit::Accumulator::column(lane, v)] =
                        sums[i][j].v[v];
            waves_k == 1 ? wave_barrier() : barrier();
            Room::template drain<SARDONYX_WAVE * waves_k>(
                plane, lane + turn * SARDONYX_WAVE, [&](int y, int x, const float* from) INLINED {
                    if (waves_k == 1) return store(row + i * 16 + y, column + x, from, Room::apart);
                    float whole[packet];
#pragma unroll
                    for (int l = 0; l < packet; ++l) {
                        whole[l] = from[l * Room::apart];
#pragma unroll
                        for (int q = 1; q < waves_k; ++q)
                            whole[l] += from[l * Room::apart + q * waves * Room::elements];
                    }
                    store(row + i * 16 + y, column + x, whole, 1);
                });
            waves_k == 1 ? wave_barrier() : barrier();
        }
    }
    // Bytes that `leave` needs.
    static constexpr int leave_bytes = waves * waves_k * 16 * (columns * 16 + 8) * 4;
};
