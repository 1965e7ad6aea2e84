// Attention without masks and soft caps, as attention.hip, on warpgroups (sm_90): 64 queries for each of GROUPS.
//
// While the matrix unit adds up the values of a block of keys and computes the scores of the next, the scores of
// that one become probabilities. Keys are two blocks ahead, values one. Scores are in units of log2.
#ifndef ATTENTION_PARAMETERS
#define ATTENTION_PARAMETERS const F16 *p0, const F16 *p1, const F16 *p2, F16 *p3, i64_t KEYS_TOTAL
#define ATTENTION_SIZES const i64_t BATCH = 1, HEADS = 12, QUERIES = 128, Q_PITCH = 768, K_PITCH = 768, V_PITCH = 768
typedef F16 Element;
// Elements of a query, key and value: a multiple of 64.
constexpr int GROUP = 1, HEAD = 64, VALUE = 64;
// Warpgroups of a block, and keys that they take at once.
constexpr int GROUPS = 2, KEYS = 128;
constexpr float SCALE = 0.125f;
constexpr bool CAUSAL = false;
#define ATTENTION_OFFSET 0
#define ATTENTION_Q(b, h) (p0 + h * HEAD)
#define ATTENTION_K(b, h) (p1 + h * HEAD)
#define ATTENTION_V(b, h) (p2 + h * HEAD)
// Two neighbouring values.
#define ATTENTION_PAIR(b, h, i, e, x, y) (narrow(x, p3[(i) * 768 + h * HEAD + (e)]), narrow(y, p3[(i) * 768 + h * HEAD + (e) + 1]))
#endif

constexpr int THREADS = GROUPS * WARPGROUP, BLOCK = GROUPS * 64;
typedef Swizzled<Element, BLOCK, HEAD, THREADS> TileQ;
typedef Swizzled<Element, KEYS, HEAD, THREADS> TileK;
typedef Swizzled<Element, KEYS, VALUE, THREADS> TileV;

// The scores of 64 queries from `row` on.
INLINE void score(Sums<KEYS>& scores, const Element* queries, int row, const Element* keys, int member) {
#pragma unroll
    for (int d = 0; d < HEAD; d += 64)
        multiply_tiles<Element, KEYS, 64, true, true, TileQ, TileK>(scores, queries + d * BLOCK, row, keys + d * KEYS,
                                                                    member);
}

BLOCK_KERNEL(THREADS) KERNEL_NAME(ATTENTION_PARAMETERS) {
    ATTENTION_SIZES;
    constexpr int bytes = (TileQ::elements + 2 * (TileK::elements + TileV::elements)) * (int)sizeof(Element);
    SHARED_MEMORY(memory, bytes);
    Element* const queries = (Element*)memory;
    Element* const all_keys = queries + TileQ::elements;
    Element* const all_values = all_keys + 2 * TileK::elements;
    const int thread = (int)thread_index(), member = thread % WARPGROUP, row = thread / WARPGROUP * 64;
    // The last queries first: a causal limit leaves them the most work.
    const int tiles = (int)((QUERIES + BLOCK - 1) / BLOCK), block = (int)block_index();
    const i64_t first = (i64_t)(tiles - 1 - block / (int)(BATCH * HEADS)) * BLOCK;
    const i64_t h = block % (int)(BATCH * HEADS) % HEADS, b = block % (int)(BATCH * HEADS) / HEADS;
    const i64_t query = first + row;

    i64_t end = KEYS_TOTAL;
    if (CAUSAL && first + BLOCK + ATTENTION_OFFSET < end) end = first + BLOCK + ATTENTION_OFFSET;
    const int steps = end > 0 ? (int)((end + KEYS - 1) / KEYS) : 0;
    TileK::Walk keys(ATTENTION_K(b, (h / GROUP)), K_PITCH, 0, 0, KEYS_TOTAL, HEAD, thread);
    TileV::Walk values(ATTENTION_V(b, (h / GROUP)), V_PITCH, 0, 0, KEYS_TOTAL, VALUE, thread);
    const auto load_keys = [&](int step) INLINED {
        if (step < steps) keys.load(all_keys + step % 2 * TileK::elements);
        keys.next_lines();
    };
    const auto load_values = [&](int step) INLINED {
        if (step < steps) values.load(all_values + step % 2 * TileV::elements);
        values.next_lines();
    };
    TileQ::Walk(ATTENTION_Q(b, h), Q_PITCH, first, 0, QUERIES, HEAD, thread).load(queries);
    load_keys(0);
    commit();
    load_keys(1);
    load_values(0);
    commit();

    Sums<KEYS> scores;
    Sums<VALUE> out;
    LeftOperand<Element, KEYS> shares;
    float most[2] = {minus_infinity(), minus_infinity()}, sums[2] = {0, 0}, factors[2];
    clear(out);

    // Scores become probabilities.
    const auto soften = [&](int step) INLINED {
        const i64_t key = (i64_t)step * KEYS;
        if (key + KEYS > KEYS_TOTAL || (CAUSAL && key + KEYS - 1 > query + ATTENTION_OFFSET)) {
#pragma unroll
            for (int v = 0; v < Sums<KEYS>::values; ++v) {
                const i64_t i = query + Sums<KEYS>::row(member, v), n = key + Sums<KEYS>::column(member, v);
                if (n >= KEYS_TOTAL || (CAUSAL && n > i + ATTENTION_OFFSET)) scores.v[v] = minus_infinity();
            }
        }
        soften_rows(scores, most, sums, factors, SCALE * 1.4426950408889634f);
    };
    if (steps > 0) {
        arrive<1>();
        publish();
        barrier();
        clear(scores);
        open_products();
        score(scores, queries, row, all_keys, member);
        commit_products();
        finish_products<0>();
        settle(scores);
        soften(0);
        as_left_operand(shares, scores);
    }
#pragma unroll 1
    for (int step = 0; step + 1 < steps; ++step) {
        arrive<0>();
        publish();
        // Behind it, everyone is done with the keys of this step and the values of the last one.
        barrier();
        load_keys(step + 2);
        load_values(step + 1);
        commit();
        clear(scores);
        open_products();
        score(scores, queries, row, all_keys + (step + 1) % 2 * TileK::elements, member);
        commit_products();
        multiply_registers<Element, VALUE, KEYS, TileV>(out, shares, all_values + step % 2 * TileV::elements, member);
        commit_products();
        finish_products<1>();
        settle(scores);
        soften(step + 1);
        finish_products<0>();
        settle(out);
#pragma unroll
        for (int v = 0; v < Sums<VALUE>::values; ++v) out.v[v] *= factors[v / 2 % 2];
        as_left_operand(shares, scores);
    }
    arrive<0>();
    if (steps > 0) {
        publish();
        barrier();
        open_products();
        multiply_registers<Element, VALUE, KEYS, TileV>(out, shares, all_values + (steps - 1) % 2 * TileV::elements,
                                                        member);
        commit_products();
        finish_products<0>();
        settle(out);
    }

#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float sum = sum_of_row<4>(sums[r]);
        factors[r] = sum == 0 ? 0 : 1 / sum;
    }
#pragma unroll
    for (int v = 0; v < Sums<VALUE>::values; v += 2) {
        const i64_t i = query + Sums<VALUE>::row(member, v);
        const int e = Sums<VALUE>::column(member, v);
        const float factor = factors[v / 2 % 2];
        if (i < QUERIES) ATTENTION_PAIR(b, h, i, e, out.v[v] * factor, out.v[v + 1] * factor);
    }
}
