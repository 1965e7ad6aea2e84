// A stand-in for MIOpen, a part of hip_double.cpp: what the runtime calls of it, and no more. Work is done by the
// stream; descriptions and sizes are checked. Errors are those of miopenStatus_t: 2 for a handle, 3 for a parameter,
// 7 for what is not there, 8 for what is not supported.
namespace {

// What is given back by a function of its own, by kind; hip_double_leaks tells what is left.
struct Miopen {
    int device;
    void* stream;
    // Convolutions whose workspace was asked for, and that an algorithm was looked for.
    std::set<void*> asked, found;
};

struct MiopenTensor {
    bool set;
    int type, sizes[4], strides[4];

    size_t element() const { return type == 0 ? 2 : 4; }
    size_t bytes() const {
        size_t last = 0;
        for (int k = 0; k < 4; k++) last += size_t(sizes[k] - 1) * strides[k];
        return (last + 1) * element();
    }
    size_t place(const int at[4]) const {
        size_t place = 0;
        // A size of 1 broadcasts.
        for (int k = 0; k < 4; k++) place += sizes[k] == 1 ? 0 : size_t(at[k]) * strides[k];
        return place;
    }
    float get(uintptr_t start, const int at[4]) const {
        return type == 0 ? float(((const _Float16*)start)[place(at)]) : ((const float*)start)[place(at)];
    }
    void put(uintptr_t start, const int at[4], float value) const {
        if (type == 0)
            ((_Float16*)start)[place(at)] = _Float16(value);
        else
            ((float*)start)[place(at)] = value;
    }
    template <class Each> void each(Each each) const {
        int at[4];
        for (at[0] = 0; at[0] < sizes[0]; at[0]++)
            for (at[1] = 0; at[1] < sizes[1]; at[1]++)
                for (at[2] = 0; at[2] < sizes[2]; at[2]++)
                    for (at[3] = 0; at[3] < sizes[3]; at[3]++) each(at);
    }
    bool equals(const MiopenTensor& other) const {
        return set && other.set && type == other.type && !memcmp(sizes, other.sizes, sizeof sizes) &&
               !memcmp(strides, other.strides, sizeof strides);
    }
};

struct MiopenConvolution {
    bool set;
    int pads[2], strides[2], dilations[2], groups;
};

struct MiopenActivation {
    bool set;
};

const char *const HANDLES = "handles of MIOpen", *const TENSORS = "tensors of MIOpen",
           *const CONVOLUTIONS = "convolutions of MIOpen", *const ACTIVATIONS = "activations of MIOpen";
// The algorithm that the runtime should take of those that are found, and its workspace.
const int IMPLICIT_GEMM = 5;
const size_t MIOPEN_WORKSPACE = 4096;

template <class T> int make(const char* kind, void** handle, T* made) {
    state().held[kind].insert(made);
    *handle = made;
    return SUCCESS;
}

template <class T> int give_back(const char* kind, void* handle, int code) {
    if (!state().held[kind].erase(handle)) return problem(code, std::string("what is given back is none of the ") + kind);
    delete (T*)handle;
    return SUCCESS;
}

// Something of this kind; none, and a problem, where it is no such thing.
template <class T> T* get(const char* kind, const void* handle) {
    if (state().held[kind].count((void*)handle)) return (T*)handle;
    problem(0, std::string("what is used is none of the ") + kind);
    return nullptr;
}

Stream* stream_of_miopen(void* handle) {
    Miopen* const miopen = get<Miopen>(HANDLES, handle);
    return miopen && miopen->device == current ? stream_of(miopen->stream) : nullptr;
}

bool apart(uintptr_t a, size_t a_size, uintptr_t b, size_t b_size) { return a + a_size <= b || b + b_size <= a; }

struct Convolved {
    MiopenTensor x, w, y;
    MiopenConvolution by;
    uintptr_t from, weights, to;

    // What is wrong with it.
    const char* wrong() const {
        if (!x.set || !w.set || !y.set || !by.set) return "a description that was not filled";
        if (x.type != w.type || x.type != y.type || (x.type != 0 && x.type != 1)) return "types that do not fit";
        if (x.sizes[0] != y.sizes[0] || x.sizes[1] != w.sizes[1] * by.groups || y.sizes[1] != w.sizes[0] ||
            w.sizes[0] % by.groups)
            return "channels that do not fit";
        for (int k = 0; k < 2; k++) {
            const int room = x.sizes[2 + k] + 2 * by.pads[k] - by.dilations[k] * (w.sizes[2 + k] - 1) - 1;
            if (room < 0 || y.sizes[2 + k] != room / by.strides[k] + 1) return "an output of another size";
        }
        if (!on_device(from, x.bytes(), current) || !on_device(weights, w.bytes(), current) ||
            !on_device(to, y.bytes(), current))
            return "it reaches beyond the memory of the device";
        if (from % 16 || weights % 16 || to % 16) return "memory that is not aligned";
        if (!apart(to, y.bytes(), from, x.bytes()) || !apart(to, y.bytes(), weights, w.bytes()))
            return "its result overwrites an operand";
        return nullptr;
    }

    void run() const {
        const int each = w.sizes[0] / by.groups;
        y.each([&](const int* at) {
            float sum = 0;
            for (int i = 0; i < w.sizes[1]; i++)
                for (int r = 0; r < w.sizes[2]; r++)
                    for (int s = 0; s < w.sizes[3]; s++) {
                        const int row = at[2] * by.strides[0] + r * by.dilations[0] - by.pads[0];
                        const int column = at[3] * by.strides[1] + s * by.dilations[1] - by.pads[1];
                        if (row < 0 || row >= x.sizes[2] || column < 0 || column >= x.sizes[3]) continue;
                        const int input[4] = {at[0], at[1] / each * w.sizes[1] + i, row, column};
                        const int weight[4] = {at[1], i, r, s};
                        sum += x.get(from, input) * w.get(weights, weight);
                    }
            y.put(to, at, sum);
        });
    }
};

}  // namespace

extern "C" {

int miopenCreateWithStream(void** handle, void* stream) {
    CALL(true)
    if (!stream_of(stream)) return 3;
    return make(HANDLES, handle, new Miopen{current, stream, {}, {}});
}

int miopenDestroy(void* handle) {
    CALL(false)
    return give_back<Miopen>(HANDLES, handle, 2);
}

int miopenCreateTensorDescriptor(void** handle) {
    CALL(false)
    return make(TENSORS, handle, new MiopenTensor{});
}

int miopenDestroyTensorDescriptor(void* handle) {
    CALL(false)
    return give_back<MiopenTensor>(TENSORS, handle, 3);
}

int miopenSet4dTensorDescriptorEx(void* handle, int type, int n, int c, int h, int w, int n_stride, int c_stride,
                                  int h_stride, int w_stride) {
    CALL(false)
    MiopenTensor* const tensor = get<MiopenTensor>(TENSORS, handle);
    if (!tensor) return 3;
    const MiopenTensor made{true, type, {n, c, h, w}, {n_stride, c_stride, h_stride, w_stride}};
    for (int k = 0; k < 4; k++)
        if (made.sizes[k] < 1 || made.strides[k] < 1) return problem(3, "a tensor of MIOpen without elements");
    *tensor = made;
    return SUCCESS;
}

int miopenCreateConvolutionDescriptor(void** handle) {
    CALL(false)
    return make(CONVOLUTIONS, handle, new MiopenConvolution{});
}

int miopenDestroyConvolutionDescriptor(void* handle) {
    CALL(false)
    for (void* miopen : d.held[HANDLES]) ((Miopen*)miopen)->asked.erase(handle), ((Miopen*)miopen)->found.erase(handle);
    return give_back<MiopenConvolution>(CONVOLUTIONS, handle, 3);
}

int miopenInitConvolutionDescriptor(void* handle, int mode, int pad_h, int pad_w, int stride_h, int stride_w,
                                    int dilation_h, int dilation_w) {
    CALL(false)
    MiopenConvolution* const convolution = get<MiopenConvolution>(CONVOLUTIONS, handle);
    if (!convolution || mode || pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1)
        return problem(3, "a convolution of MIOpen in a form that the runtime does not use");
    *convolution = {true, {pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w}, 1};
    return SUCCESS;
}

#ifndef MIOPEN_DOUBLE_OLD
int miopenSetConvolutionGroupCount(void* handle, int groups) {
    CALL(false)
    MiopenConvolution* const convolution = get<MiopenConvolution>(CONVOLUTIONS, handle);
    if (!convolution || !convolution->set || groups < 1) return problem(3, "groups of no convolution of MIOpen");
    convolution->groups = groups;
    return SUCCESS;
}
#endif

int miopenCreateActivationDescriptor(void** handle) {
    CALL(false)
    return make(ACTIVATIONS, handle, new MiopenActivation{});
}

int miopenDestroyActivationDescriptor(void* handle) {
    CALL(false)
    return give_back<MiopenActivation>(ACTIVATIONS, handle, 3);
}

int miopenSetActivationDescriptor(void* handle, int mode, double, double, double) {
    CALL(false)
    MiopenActivation* const activation = get<MiopenActivation>(ACTIVATIONS, handle);
    if (!activation || mode != 3) return problem(3, "an activation of MIOpen that is not relu");
    activation->set = true;
    return SUCCESS;
}

int miopenConvolutionForwardGetWorkSpaceSize(void* handle, void* w, void* x, void* convolution, void* y, size_t* size) {
    CALL(true)
    Miopen* const miopen = get<Miopen>(HANDLES, handle);
    if (!miopen) return 2;
    if (!get<MiopenTensor>(TENSORS, w) || !get<MiopenTensor>(TENSORS, x) || !get<MiopenTensor>(TENSORS, y) ||
        !get<MiopenConvolution>(CONVOLUTIONS, convolution))
        return 3;
    miopen->asked.insert(convolution);
    *size = MIOPEN_WORKSPACE;
    return SUCCESS;
}

struct MiopenFound {
    int algorithm;
    float time;
    size_t workspace;
};

int miopenFindConvolutionForwardAlgorithm(void* handle, void* x, const void* from, void* w, const void* weights,
                                          void* convolution, void* y, void* to, int asked, int* given,
                                          MiopenFound* found, void* workspace, size_t workspace_size, bool exhaustive) {
    CALL(true)
    Stream* const stream = stream_of_miopen(handle);
    if (!stream) return 2;
    if (stream->recording) return problem(7, "MIOpen looks for an algorithm while the stream records");
    MiopenTensor *const xs = get<MiopenTensor>(TENSORS, x), *const ws = get<MiopenTensor>(TENSORS, w),
                        *const ys = get<MiopenTensor>(TENSORS, y);
    MiopenConvolution* const by = get<MiopenConvolution>(CONVOLUTIONS, convolution);
    if (!xs || !ws || !ys || !by) return 3;
    if (!((Miopen*)handle)->asked.count(convolution)) return problem(3, "an algorithm before its workspace was asked for");
    const Convolved all{*xs, *ws, *ys, *by, (uintptr_t)from, (uintptr_t)weights, (uintptr_t)to};
    if (const char* wrong = all.wrong()) return problem(3, std::string("MIOpen looks for an algorithm: ") + wrong);
    if (!on_device((uintptr_t)workspace, workspace_size, current)) return problem(3, "MIOpen's workspace is no memory");
    if (exhaustive || asked < 4) return problem(8, "a search of MIOpen in a form that the runtime does not use");
    // In the order of their times: Winograd's, one with more memory than there is, and two that serve.
    found[0] = {3, 0.1f, 0};
    found[1] = {1, 0.2f, workspace_size + 1};
    found[2] = {IMPLICIT_GEMM, 0.3f, MIOPEN_WORKSPACE};
    found[3] = {0, 0.4f, 0};
    *given = 4;
    ((Miopen*)handle)->found.insert(convolution);
    // The search computes, and leaves any result.
    memset(to, 0x7f, ys->bytes());
    return SUCCESS;
}

int miopenConvolutionForward(void* handle, const void* alpha, void* x, const void* from, void* w, const void* weights,
                             void* convolution, int algorithm, const void* beta, void* y, void* to, void* workspace,
                             size_t workspace_size) {
    CALL(true)
    Stream* const stream = stream_of_miopen(handle);
    if (!stream) return 2;
    MiopenTensor *const xs = get<MiopenTensor>(TENSORS, x), *const ws = get<MiopenTensor>(TENSORS, w),
                        *const ys = get<MiopenTensor>(TENSORS, y);
    MiopenConvolution* const by = get<MiopenConvolution>(CONVOLUTIONS, convolution);
    if (!xs || !ws || !ys || !by) return 3;
    if (!((Miopen*)handle)->found.count(convolution)) return problem(7, "a convolution whose algorithm was not looked for");
    if (algorithm != IMPLICIT_GEMM || *(const float*)alpha != 1 || *(const float*)beta != 0)
        return problem(8, "a convolution of MIOpen in a form that the runtime should not use");
    const Convolved all{*xs, *ws, *ys, *by, (uintptr_t)from, (uintptr_t)weights, (uintptr_t)to};
    if (const char* wrong = all.wrong()) return problem(3, std::string("a convolution of MIOpen: ") + wrong);
    if (workspace_size < MIOPEN_WORKSPACE || !on_device((uintptr_t)workspace, workspace_size, current))
        return problem(3, "a convolution of MIOpen without its workspace");
    return call(stream, "miopen",
                {{all.from, all.x.bytes()}, {all.weights, all.w.bytes()}, {all.to, all.y.bytes()},
                 {(uintptr_t)workspace, workspace_size}},
                [all] { all.run(); });
}

int miopenOpTensor(void* handle, int operation, const void* alpha, void* a, const void* from, const void* alpha2, void* b,
                   const void* other, const void* beta, void* c, void* to) {
    CALL(true)
    Stream* const stream = stream_of_miopen(handle);
    if (!stream) return 2;
    MiopenTensor *const as = get<MiopenTensor>(TENSORS, a), *const bs = get<MiopenTensor>(TENSORS, b);
    if (!as || !bs) return 3;
    if (operation || *(const float*)alpha != 1 || *(const float*)alpha2 != 1 || *(const float*)beta != 0 || a != c ||
        from != to || as->type != bs->type)
        return problem(8, "a sum of MIOpen in a form that the runtime does not use");
    for (int k = 0; k < 4; k++)
        if (bs->sizes[k] != 1 && bs->sizes[k] != as->sizes[k]) return problem(3, "a sum of MIOpen of sizes that do not fit");
    const uintptr_t added = (uintptr_t)other, at = (uintptr_t)to;
    if (!on_device(added, bs->bytes(), current) || !on_device(at, as->bytes(), current))
        return problem(3, "a sum of MIOpen reaches beyond the memory of the device");
    if (!apart(added, bs->bytes(), at, as->bytes())) return problem(3, "a sum of MIOpen overwrites what is added");
    const MiopenTensor result = *as, addend = *bs;
    return call(stream, "miopen", {{added, addend.bytes()}, {at, result.bytes()}}, [=] {
        result.each([&](const int* i) { result.put(at, i, result.get(at, i) + addend.get(added, i)); });
    });
}

int miopenActivationForward(void* handle, void* activation, const void* alpha, void* x, const void* from,
                            const void* beta, void* y, void* to) {
    CALL(true)
    Stream* const stream = stream_of_miopen(handle);
    if (!stream) return 2;
    MiopenTensor* const tensor = get<MiopenTensor>(TENSORS, x);
    MiopenActivation* const relu = get<MiopenActivation>(ACTIVATIONS, activation);
    if (!tensor || !relu || !relu->set || x != y || from != to || *(const float*)alpha != 1 || *(const float*)beta != 0)
        return problem(8, "an activation of MIOpen in a form that the runtime does not use");
    const uintptr_t at = (uintptr_t)to;
    if (!on_device(at, tensor->bytes(), current))
        return problem(3, "an activation of MIOpen reaches beyond the memory of the device");
    const MiopenTensor result = *tensor;
    return call(stream, "miopen", {{at, result.bytes()}}, [=] {
        result.each([&](const int* i) {
            const float value = result.get(at, i);
            result.put(at, i, value < 0 ? 0 : value);
        });
    });
}
}
