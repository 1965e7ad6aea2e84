// A convolution as a matrix product of the pixels' neighbourhoods with the weights, with an epilogue:
// out[p, c] = f(sum over taps t and channels k of x[p seen through t, k] * w[c, t, k], ...), for each group.
//
// The neighbourhoods are gathered on their way to shared memory: by channels, where channels stand side by side, else
// by pixels. Weights stand as [group, channel, taps.., input channel].
#ifndef CONV_PARAMETERS
#define CONV_PARAMETERS const F16 *p0, const F16 *p1, F16 *p2, i64_t IMAGES
#define CONV_FIRST p0
#define CONV_SECOND p1
#define CONV_FIELD {1, 56, 56, 1, 56, 56, IMAGES, 56 * 56 * 64, 1, 0, 56 * 64, 64}
typedef F16 Element;
// Whether channels of x are gathered side by side.
constexpr bool CHANNELS = true;
// Elements that one load moves.
constexpr int X_VECTOR = 8, W_VECTOR = 8;
constexpr int GROUPS = 1, IN = 64, OUT = 64;
constexpr int KD = 1, KH = 3, KW = 3, SD = 1, SH = 1, SW = 1, PD = 0, PH = 1, PW = 1, DD = 1, DH = 1, DW = 1;
constexpr bool TRANSPOSED = false;
// The tile of a block, its waves, and the stages of the pipeline.
constexpr int BLOCK_M = 64, BLOCK_N = 64, BLOCK_K = 32, WAVES_M = 2, WAVES_N = 2, WAVES_K = 1, STAGES = 3;
// Results that are stored at once: neighbouring channels or, DOWN, pixels.
constexpr int PACKET = 1;
constexpr bool DOWN = false;
// Whether the epilogue loads what may come nearer before the sums are known.
constexpr bool AHEAD = false;
#define CONV_AHEAD(z, i, j)
#define CONV_EPILOGUE(z, i, j, from, apart) narrow(*(from), p2[(i) * OUT + (j)])
#endif

constexpr int DEPTH = KD * KH * KW * IN;
#if defined(WARPGROUPS)
constexpr int THREADS = WARPGROUPS * WARPGROUP;
typedef Swizzled<Element, BLOCK_M, BLOCK_K, THREADS> TileX;
typedef Swizzled<Element, BLOCK_N, BLOCK_K, THREADS> TileW;
typedef WarpgroupProduct<Element, BLOCK_M, BLOCK_N, BLOCK_K, WARPGROUPS, true, true, TileX, TileW> Block;
#else
constexpr int THREADS = WAVES_M * WAVES_N * WAVES_K * SARDONYX_WAVE;
typedef Tile<Element, CHANNELS ? BLOCK_M : BLOCK_K, CHANNELS ? BLOCK_K : BLOCK_M, X_VECTOR, THREADS> TileX;
typedef Tile<Element, BLOCK_N, BLOCK_K, W_VECTOR, THREADS> TileW;
typedef Product<Element, BLOCK_M, BLOCK_N, BLOCK_K, WAVES_M, WAVES_N, WAVES_K, CHANNELS, true, TileX, TileW> Block;
#endif

struct Weights : TileW::Walk {
    INLINE Weights(const Element* w, i64_t channel, int begin, int thread)
        : TileW::Walk(w, DEPTH, channel, begin, OUT, DEPTH, thread) {}
    INLINE void next() { this->next_elements(); }
};

// A pixel of the output; beyond the last, one that sees nothing.
struct Pixel {
    i64_t image;
    int d, h, w;
    INLINE Pixel() {}
    INLINE Pixel(const Field& f, i64_t number) {
        const i64_t size = (i64_t)f.od * f.oh * f.ow;
        const int place = (int)(number % size);
        image = number / size * f.image;
        d = place / (f.oh * f.ow), h = place / f.ow % f.oh, w = place % f.ow;
        if (number >= size * f.images) image = 0, h = -(1 << 24);
    }
    // The place of the input that it sees through a tap; whether there is one.
    INLINE bool see(const Field& f, int tap, i64_t& place) const {
        int z, y, x;
        const bool inside = look<SD, PD, DD, TRANSPOSED>(d, tap / (KH * KW), f.id, z) &
                            look<SH, PH, DH, TRANSPOSED>(h, tap / KW % KH, f.ih, y) &
                            look<SW, PW, DW, TRANSPOSED>(w, tap % KW, f.iw, x);
        place = image + z * f.d + y * f.h + x * f.w;
        return inside;
    }
};

// Neighbourhoods, a line for each pixel. Where the channels are whole stages, all of a stage are seen through one tap.
struct ByChannels {
    static constexpr bool whole = IN % BLOCK_K == 0;
    const Element* x;
    const Field& f;
    Pixel pixels[TileX::packets];
    // Of whole stages: where the pixels' elements of this tap begin, and which are inside.
    const Element* from[TileX::packets];
    u32_t inside;
    int to, k, channel;
    INLINE ByChannels(const Element* first_x, const Field& field, i64_t first, int begin, int thread)
        : x(first_x), f(field) {
        const int i = thread / TileX::across, j = thread % TileX::across * X_VECTOR;
        k = begin + j, channel = begin % IN + j;
        to = BLOCK_M >= TileX::apart || i < BLOCK_M ? TileX::at(i, j) : -1;
#pragma unroll
        for (int p = 0; p < TileX::packets; ++p) pixels[p] = Pixel(f, first + i + p * TileX::apart);
        if (whole) look_through(begin / IN);
    }
    INLINE void look_through(int tap) {
        inside = 0;
#pragma unroll
        for (int p = 0; p < TileX::packets; ++p) {
            i64_t place;
            const bool sees = pixels[p].see(f, tap, place) && tap < KD * KH * KW;
            from[p] = x + (sees ? place : 0);
            inside |= (u32_t)sees << p;
        }
    }
    INLINE void load(Element* tile) const {
        if (BLOCK_M < TileX::apart && to < 0) return;
        const int tap = k / IN;
#pragma unroll
        for (int p = 0; p < TileX::packets; ++p) {
            i64_t place;
            const bool sees = whole ? inside >> p & 1 : pixels[p].see(f, tap, place) && k < DEPTH;
            const Element* const at =
                whole ? from[p] + channel * f.channel : x + (sees ? place + k % IN * f.channel : 0);
            copy<X_VECTOR * (int)sizeof(Element)>(tile + to + p * TileX::apart * TileX::line, at, sees);
        }
    }
    INLINE void next() {
        k += BLOCK_K, channel += BLOCK_K;
        if (whole && channel >= IN) {
            channel -= IN;
            look_through(k / IN);
        }
    }
};

// Neighbourhoods, a line for each place of the sum; a thread gathers for one pixel.
struct ByPixels {
    const Element* x;
    const Field& f;
    Pixel pixel;
    int to, k;
    INLINE ByPixels(const Element* from, const Field& field, i64_t first, int begin, int thread) : x(from), f(field) {
        const int i = thread / TileX::across;
        k = begin + i;
        to = BLOCK_K >= TileX::apart || i < BLOCK_K ? TileX::at(i, thread % TileX::across) : -1;
        pixel = Pixel(f, first + thread % TileX::across);
    }
    INLINE void load(Element* tile) const {
        if (BLOCK_K < TileX::apart && to < 0) return;
        // All are on their way before the first is stored.
        Element held[TileX::packets];
        i64_t place;
        const bool one = IN % BLOCK_K == 0, sees = one && pixel.see(f, k / IN, place) && k < DEPTH;
#pragma unroll
        for (int p = 0; p < TileX::packets; ++p) {
            const int at = k + p * TileX::apart;
            i64_t other = place;
            const bool inside = one ? sees : pixel.see(f, at / IN, other) && at < DEPTH;
            narrow(0.0f, held[p]);
            if (inside) held[p] = x[other + at % IN * f.channel];
        }
#pragma unroll
        for (int p = 0; p < TileX::packets; ++p) tile[to + p * TileX::apart * TileX::line] = held[p];
    }
    INLINE void next() { k += BLOCK_K; }
};

template <bool channels>
struct Gathered {
    typedef ByChannels Walk;
};
template <>
struct Gathered<false> {
    typedef ByPixels Walk;
};

BLOCK_KERNEL(THREADS) KERNEL_NAME(CONV_PARAMETERS) {
    const Field f = CONV_FIELD;
    constexpr int bytes = STAGES * Block::stage * (int)sizeof(Element);
    SHARED_MEMORY(memory, bytes > Block::leave_bytes ? bytes : Block::leave_bytes);
    const i64_t pixels = f.images * f.od * f.oh * f.ow;
    const int thread = (int)thread_index(), tiles_n = (OUT + BLOCK_N - 1) / BLOCK_N;
    const int tiles_m = (int)((pixels + BLOCK_M - 1) / BLOCK_M);
    // Blocks that run together share pixels, and the weights stay in the cache.
    const int block = (int)block_index() / CLUSTER, z = block / (tiles_m * tiles_n), tile = block % (tiles_m * tiles_n);
    const i64_t row = (i64_t)(tile / tiles_n) * BLOCK_M, column = (i64_t)(tile % tiles_n) * BLOCK_N;
    const Share share((DEPTH + BLOCK_K - 1) / BLOCK_K);
    const int begin = share.begin * BLOCK_K;
    Gathered<CHANNELS>::Walk x(CONV_FIRST + z * IN * f.channel, f, row, begin, thread);
    Weights w(CONV_SECOND + (i64_t)z * OUT * DEPTH, column, begin, thread);
    if (AHEAD)
        each_line<BLOCK_M, BLOCK_N, THREADS, DOWN>(thread, [&](int y, int x) INLINED {
            const i64_t i = row + y, j = column + x;
            if (i < pixels && j < OUT) {
                CONV_AHEAD(z, i, j)
            }
        });
    Block sums(thread);
    sums.run<STAGES>((Element*)memory, x, w, share.steps);
    sums.leave<PACKET, DOWN>(memory, [&](int y, int x, const float* from, int apart) INLINED {
        const i64_t i = row + y, j = column + x;
        if (i < pixels && j < OUT) CONV_EPILOGUE(z, i, j, from, apart);
    });
}
