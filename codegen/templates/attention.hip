// Attention: out[b, h, i, :] = sum over j of softmax(scores[b, h, i, :])[j] * v[b, h / GROUP, j, :].
//
// Every block computes a head's values for a tile of queries, a wave 16 * ROWS of them, block of keys by block of
// keys: scores, exponentials and sums never leave the registers. Scores are in units of log2. Where queries are few,
// TURNS waves take turns along the keys, and put their sums together at the end.
#ifndef ATTENTION_PARAMETERS
#define ATTENTION_PARAMETERS const F16 *p0, const F16 *p1, const F16 *p2, F16 *p3, i64_t KEYS_TOTAL
#define ATTENTION_SIZES const i64_t BATCH = 1, HEADS = 12, QUERIES = 128, Q_PITCH = 768, K_PITCH = 768, V_PITCH = 768
typedef F16 Element;
constexpr int GROUP = 1, HEAD = 64, VALUE = 64;
// Elements that one load moves.
constexpr int Q_VECTOR = 8, K_VECTOR = 8, V_VECTOR = 8;
// Rows of 16 queries of a wave, waves, how often they are there, keys of a wave at once, stages of the pipeline (1 or 2).
constexpr int ROWS = 1, WAVES = 4, TURNS = 1, KEYS = 64, STAGES = 2;
constexpr float SCALE = 0.125f, CAP = 0;
constexpr bool CAUSAL = false;
#define ATTENTION_OFFSET 0
#define ATTENTION_Q(b, h) (p0 + h * HEAD)
#define ATTENTION_K(b, h) (p1 + h * HEAD)
#define ATTENTION_V(b, h) (p2 + h * HEAD)
#define ATTENTION_STORE(b, h, i, e, value) narrow(value, p3[(i) * 768 + h * HEAD + (e)])
#endif

constexpr int THREADS = WAVES * TURNS * SARDONYX_WAVE, BLOCK = WAVES * ROWS * 16;
constexpr int HEAD_TILES = (HEAD + 15) / 16, VALUE_TILES = (VALUE + 15) / 16, KEY_TILES = KEYS / 16;
typedef Wave<Element> Unit;
typedef Unit::Accumulator Sums;
typedef Tile<Element, BLOCK, HEAD_TILES * 16, Q_VECTOR, THREADS> TileQ;
typedef Tile<Element, KEYS * TURNS, HEAD_TILES * 16, K_VECTOR, THREADS> TileK;
typedef Tile<Element, KEYS * TURNS, VALUE_TILES * 16, V_VECTOR, THREADS> TileV;
constexpr int STAGE = TileK::elements + TileV::elements;
// Probabilities on their way to be operands, where they take the way through shared memory.
constexpr int ROOM_STRIDE = KEYS + 8, ROOM = Unit::in_registers ? 0 : ROWS * 16 * ROOM_STRIDE;
constexpr float LOG2E = 1.4426950408889634f, LOWEST = -3.0e38f;

BLOCK_KERNEL(THREADS) KERNEL_NAME(ATTENTION_PARAMETERS) {
    ATTENTION_SIZES;
    constexpr int bytes = (TileQ::elements + STAGES * STAGE + WAVES * TURNS * ROOM) * (int)sizeof(Element);
    // What a lane knows of its queries in the end: the greatest scores, the sums and the values.
    constexpr int KNOWN = ROWS * (2 * Sums::held + VALUE_TILES * Unit::values);
    constexpr int known_bytes = (TURNS - 1) * WAVES * KNOWN * SARDONYX_WAVE * 4;
    SHARED_MEMORY(memory, bytes > known_bytes ? bytes : known_bytes);
    Element* const queries = (Element*)memory;
    Element* const stages = queries + TileQ::elements;
    const int thread = (int)thread_index(), lane = thread % SARDONYX_WAVE;
    const int wave = thread / SARDONYX_WAVE % WAVES, turn = thread / SARDONYX_WAVE / WAVES;
    Element* const room = stages + STAGES * STAGE + thread / SARDONYX_WAVE * ROOM;
    // The last queries first: a causal limit leaves them the most work.
    const int tiles = (int)((QUERIES + BLOCK - 1) / BLOCK), block = (int)block_index();
    const i64_t first = (i64_t)(tiles - 1 - block / (int)(BATCH * HEADS)) * BLOCK;
    const i64_t h = block % (int)(BATCH * HEADS) % HEADS, b = block % (int)(BATCH * HEADS) / HEADS;
    const Element* const from_k = ATTENTION_K(b, (h / GROUP));
    const Element* const from_v = ATTENTION_V(b, (h / GROUP));
    const i64_t query = first + wave * ROWS * 16;

    i64_t end = KEYS_TOTAL;
    if (CAUSAL && first + BLOCK + ATTENTION_OFFSET < end) end = first + BLOCK + ATTENTION_OFFSET;
    const int steps = end > 0 ? (int)((end + KEYS * TURNS - 1) / (KEYS * TURNS)) : 0;
    TileQ::load(queries, ATTENTION_Q(b, h), Q_PITCH, first, 0, QUERIES, HEAD, thread);
    const auto load_stage = [&](int step) INLINED {
        Element* const to = stages + step % STAGES * STAGE;
        TileK::load(to, from_k, K_PITCH, (i64_t)step * (KEYS * TURNS), 0, KEYS_TOTAL, HEAD, thread);
        TileV::load(to + TileK::elements, from_v, V_PITCH, (i64_t)step * (KEYS * TURNS), 0, KEYS_TOTAL, VALUE, thread);
    };
    if (STAGES == 2 && steps > 0) load_stage(0);
    commit();

    Sums out[ROWS][VALUE_TILES];
    float most[ROWS][Sums::held], sums[ROWS][Sums::held];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (int j = 0; j < VALUE_TILES; ++j)
#pragma unroll
            for (int v = 0; v < Unit::values; ++v) out[r][j].v[v] = 0;
#pragma unroll
        for (int i = 0; i < Sums::held; ++i) most[r][i] = minus_infinity(), sums[r][i] = 0;
    }

#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
        if (STAGES == 1) load_stage(step);
        if (STAGES == 2 && step + 1 < steps) load_stage(step + 1);
        commit();
        arrive<STAGES - 1>();
        barrier();
        const Element* const stage = stages + step % STAGES * STAGE;
        const Element* const keys = stage + turn * KEYS * TileK::stride;
        const Element* const values = stage + TileK::elements + turn * KEYS * TileV::stride;
        const i64_t key = (i64_t)(step * TURNS + turn) * KEYS;

        Sums scores[ROWS][KEY_TILES];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
#pragma unroll
            for (int j = 0; j < KEY_TILES; ++j)
#pragma unroll
                for (int v = 0; v < Unit::values; ++v) scores[r][j].v[v] = 0;
#pragma unroll
        for (int d = 0; d < HEAD_TILES; ++d) {
            Unit::Fragment q[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                Unit::load<true>(q[r], queries + (wave * ROWS + r) * 16 * TileQ::stride + d * 16, TileQ::stride, lane);
            Unit::Fragment k[KEY_TILES];
#pragma unroll
            for (int j = 0; j < KEY_TILES; ++j)
                Unit::load<true>(k[j], keys + j * 16 * TileK::stride + d * 16, TileK::stride, lane);
            multiply_all<Unit, ROWS, KEY_TILES>(scores, q, k, lane);
        }

        // Whether some key of the block is not seen by some query of the wave.
        const bool edge = key + KEYS > KEYS_TOTAL || (CAUSAL && key + KEYS - 1 > query + ATTENTION_OFFSET);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
#pragma unroll
            for (int j = 0; j < KEY_TILES; ++j)
#pragma unroll
                for (int v = 0; v < Unit::values; ++v) {
                    float x = scores[r][j].v[v];
                    x = CAP != 0 ? hyperbolic_tangent(x * (SCALE / (CAP != 0 ? CAP : 1))) * (CAP * LOG2E)
                                 : x * (SCALE * LOG2E);
                    const i64_t i = query + r * 16 + Sums::row(lane, v), n = key + j * 16 + Sums::column(lane, v);
#ifdef ATTENTION_MASK
                    if (i < QUERIES && n < KEYS_TOTAL) x += ATTENTION_MASK(b, h, i, n) * LOG2E;
#endif
                    if (edge && (n >= KEYS_TOTAL || (CAUSAL && n > i + ATTENTION_OFFSET))) x = minus_infinity();
                    scores[r][j].v[v] = x;
                }
            float factors[Sums::held];
#pragma unroll
            for (int i = 0; i < Sums::held; ++i) {
                float now = most[r][i];
#pragma unroll
                for (int j = 0; j < KEY_TILES; ++j)
#pragma unroll
                    for (int v = 0; v < Unit::values; ++v)
                        if (Sums::held_row(v) == i) now = greater(scores[r][j].v[v], now);
                now = greatest_of_row<Sums::sharing>(now);
                const float shift = greater(now, LOWEST);
                factors[i] = power_of_two(most[r][i] - shift);
                most[r][i] = now;
                float sum = sums[r][i] * factors[i];
#pragma unroll
                for (int j = 0; j < KEY_TILES; ++j)
#pragma unroll
                    for (int v = 0; v < Unit::values; ++v)
                        if (Sums::held_row(v) == i) {
                            scores[r][j].v[v] = power_of_two(scores[r][j].v[v] - shift);
                            sum += scores[r][j].v[v];
                        }
                sums[r][i] = sum;
            }
#pragma unroll
            for (int j = 0; j < VALUE_TILES; ++j)
#pragma unroll
                for (int v = 0; v < Unit::values; ++v) out[r][j].v[v] *= factors[Sums::held_row(v)];
        }

        Unit::Fragment p[ROWS][KEY_TILES];
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            as_operands<Element>(p[r], scores[r], room + r * 16 * ROOM_STRIDE, ROOM_STRIDE, lane);
#pragma unroll
        for (int j = 0; j < KEY_TILES; ++j) {
            Unit::Fragment left[ROWS], v[VALUE_TILES];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) left[r] = p[r][j];
#pragma unroll
            for (int n = 0; n < VALUE_TILES; ++n)
                Unit::load<false>(v[n], values + j * 16 * TileV::stride + n * 16, TileV::stride, lane);
            multiply_all<Unit, ROWS, VALUE_TILES>(out, left, v, lane);
        }
        barrier();
    }

#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int i = 0; i < Sums::held; ++i) sums[r][i] = sum_of_row<Sums::sharing>(sums[r][i]);
    if constexpr (TURNS > 1) {
        // Without keys, queries are still on their way.
        arrive<0>();
        barrier();
        // A wave's numbers, one after the other for a lane.
        constexpr int line = KNOWN / ROWS * SARDONYX_WAVE;
        float* const known = (float*)memory + lane + wave * ROWS * line;
        if (turn > 0) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                float* const to = known + ((turn - 1) * WAVES * ROWS + r) * line;
#pragma unroll
                for (int i = 0; i < Sums::held; ++i) {
                    to[2 * i * SARDONYX_WAVE] = most[r][i];
                    to[(2 * i + 1) * SARDONYX_WAVE] = sums[r][i];
                }
#pragma unroll
                for (int j = 0; j < VALUE_TILES; ++j)
#pragma unroll
                    for (int v = 0; v < Unit::values; ++v)
                        to[(2 * Sums::held + j * Unit::values + v) * SARDONYX_WAVE] = out[r][j].v[v];
            }
        }
        barrier();
        if (turn > 0) return;
#pragma unroll 1
        for (int t = 1; t < TURNS; ++t) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const float* const from = known + ((t - 1) * WAVES * ROWS + r) * line;
                float mine[Sums::held], other[Sums::held];
#pragma unroll
                for (int i = 0; i < Sums::held; ++i) {
                    const float theirs = from[2 * i * SARDONYX_WAVE], now = greater(theirs, most[r][i]);
                    const float shift = greater(now, LOWEST);
                    mine[i] = power_of_two(most[r][i] - shift), other[i] = power_of_two(theirs - shift);
                    most[r][i] = now;
                    sums[r][i] = sums[r][i] * mine[i] + from[(2 * i + 1) * SARDONYX_WAVE] * other[i];
                }
#pragma unroll
                for (int j = 0; j < VALUE_TILES; ++j)
#pragma unroll
                    for (int v = 0; v < Unit::values; ++v)
                        out[r][j].v[v] = out[r][j].v[v] * mine[Sums::held_row(v)] +
                                         from[(2 * Sums::held + j * Unit::values + v) * SARDONYX_WAVE] *
                                             other[Sums::held_row(v)];
            }
        }
    }

#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (int i = 0; i < Sums::held; ++i) {
            sums[r][i] = sums[r][i] == 0 ? 0 : 1 / sums[r][i];
        }
#pragma unroll
        for (int j = 0; j < VALUE_TILES; ++j)
#pragma unroll
            for (int v = 0; v < Unit::values; ++v) {
                const i64_t i = query + r * 16 + Sums::row(lane, v);
                const int e = j * 16 + Sums::column(lane, v);
                if (i < QUERIES && e < VALUE) ATTENTION_STORE(b, h, i, e, out[r][j].v[v] * sums[r][Sums::held_row(v)]);
            }
    }
}
