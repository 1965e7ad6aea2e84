// Pooling and depthwise convolution: out[n, c, p] = f(op over taps t of x[n, c, p seen through t], ...).
//
// A thread reduces the windows of a packet of neighbouring channels at one place, or of one channel.
#ifndef WINDOW_PARAMETERS
#define WINDOW_PARAMETERS const F16 *p0, const F16 *p1, F16 *p2, i64_t IMAGES
#define WINDOW_FIRST p0
#define WINDOW_WEIGHTS(c, t) (p1 + (t) * CHANNELS + (c))
#define WINDOW_FIELD {1, 56, 56, 1, 56, 56, IMAGES, 56 * 56 * 64, 1, 0, 56 * 64, 64}
typedef F16 Element;
typedef F16 Weight;
const i64_t CHANNELS = 64;
constexpr int MULTIPLIER = 1;
constexpr int KD = 1, KH = 3, KW = 3, SD = 1, SH = 1, SW = 1, PD = 0, PH = 1, PW = 1, DD = 1, DH = 1, DW = 1;
// What a tap adds: the greatest (0), the sum (1), the sum of powers (2), or products with weights (3).
constexpr int OP = 3, POWER = 1;
// Of a mean, whether padding counts, and how much of it is behind the input.
constexpr bool MEAN = false, PADDING = false;
constexpr int ED = 0, EH = 0, EW = 0;
constexpr int PACKET = 8;
// Whether neighbouring threads have neighbouring channels, else places.
constexpr bool CHANNELS_FIRST = true;
#define WINDOW_EPILOGUE(n, c, d, h, w, from, apart)                                                    \
    for (int l = 0; l < PACKET; ++l) narrow((from)[l], p2[(((n) * 56 + (h)) * 56 + (w)) * 64 + (c) + l])
#endif

constexpr int THREADS = 256;
#ifndef WINDOW_WEIGHTS
#define WINDOW_WEIGHTS(c, t) (const Weight*)0
#endif

// Of `count` taps, how many an output sees of the input with so much padding around it.
template <int stride, int pad, int dilation, int count, int end>
INLINE int seen(int o, int size) {
    int sum = 0;
    for (int t = 0; t < count; ++t) {
        const int at = o * stride - pad + t * dilation;
        sum += at >= (PADDING ? -pad : 0) && at < size + (PADDING ? end : 0);
    }
    return sum;
}

KERNEL(THREADS) KERNEL_NAME(WINDOW_PARAMETERS) {
    const Field f = WINDOW_FIELD;
    const i64_t places = (i64_t)f.od * f.oh * f.ow, packets = CHANNELS / PACKET;
    const i64_t number = (i64_t)block_index() * THREADS + thread_index(), image = number / (places * packets);
    if (image >= f.images) return;
    const i64_t rest = number % (places * packets), c = (CHANNELS_FIRST ? rest % packets : rest / places) * PACKET;
    const int place = (int)(CHANNELS_FIRST ? rest / packets : rest % places);
    const int d = place / (f.oh * f.ow), h = place / f.ow % f.oh, w = place % f.ow;
    const Element* const from = WINDOW_FIRST + image * f.image + c / MULTIPLIER * f.channel;
    float sums[PACKET];
#pragma unroll
    for (int l = 0; l < PACKET; ++l) sums[l] = OP == 0 ? minus_infinity() : 0;
    for (int u = 0; u < KD; ++u) {
        int z, y, x;
        if (!look<SD, PD, DD, false>(d, u, f.id, z)) continue;
        for (int v = 0; v < KH; ++v) {
            if (!look<SH, PH, DH, false>(h, v, f.ih, y)) continue;
#pragma unroll
            for (int t = 0; t < KW; ++t) {
                if (!look<SW, PW, DW, false>(w, t, f.iw, x)) continue;
                const Elements<Element, PACKET> seen = *(const Elements<Element, PACKET>*)(from + z * f.d + y * f.h + x * f.w);
                Elements<Weight, OP == 3 ? PACKET : 1> weights;
                if (OP == 3) weights = *(decltype(weights)*)(WINDOW_WEIGHTS(c, (u * KH + v) * KW + t));
#pragma unroll
                for (int l = 0; l < PACKET; ++l) {
                    const float x = widen(seen.at[l]);
                    if (OP == 0) sums[l] = x > sums[l] || x != x ? x : sums[l];
                    if (OP == 1) sums[l] += x;
                    if (OP == 2) {
                        const float size = x < 0 ? -x : x;
                        float power = size;
                        for (int e = 1; e < POWER; ++e) power *= size;
                        sums[l] += power;
                    }
                    if (OP == 3) sums[l] = multiply_add(x, widen(weights.at[OP == 3 ? l : 0]), sums[l]);
                }
            }
        }
    }
    if (MEAN) {
        const float count = (float)(seen<SD, PD, DD, KD, ED>(d, f.id) * seen<SH, PH, DH, KH, EH>(h, f.ih) *
                                    seen<SW, PW, DW, KW, EW>(w, f.iw));
#pragma unroll
        for (int l = 0; l < PACKET; ++l) sums[l] /= count;
    }
    WINDOW_EPILOGUE(image, c, d, h, w, sums, 1);
}
