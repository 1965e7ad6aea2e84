// Where windows of convolutions and poolings look.

// The place in the input that output `o` sees through tap `t`, in `at`; whether it is inside. Transposed: the output
// collects what the input spreads.
template <int stride, int pad, int dilation, bool transposed>
INLINE bool look(int o, int t, int size, int& at) {
    if (!transposed) {
        at = o * stride - pad + t * dilation;
        return (unsigned)at < (unsigned)size;
    }
    const int q = o + pad - t * dilation;
    at = q / stride;
    return q >= 0 && q % stride == 0 && at < size;
}

// Sizes of an input and its outputs, of three dimensions (the first ones 1), and the strides of the input's elements.
struct Field {
    int id, ih, iw, od, oh, ow;
    i64_t images, image, channel, d, h, w;
};
