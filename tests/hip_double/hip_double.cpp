// A stand-in for libamdhip64 over the memory of the host, for tests on machines without a GPU.
//
// It has the functions of HIP, rocBLAS and MIOpen that the runtime uses, and no others: it is also found as librocblas
// and libMIOpen. Work is done as late as HIP allows: a stream does it when it is waited for, so that results read too
// early, memory freed or reused too early, and arguments that do not outlive their call are seen. Handles, ranges of copies, argument counts and pointers are checked;
// what is wrong is noted and the call refused. Kernels are code of the host, see host_object.hpp.
//
// The environment variable HIP_DOUBLE holds settings, separated by spaces:
//   devices=N     how many devices there are (1)
//   arch=NAME     what they are (host)
//   memory=BYTES  what each has (1 GiB)
//   fault=NAME    launches of this kernel fault
//   slow=NAME     what rocblas or miopen is called for takes 5 ms
//   fail=NAME:N:CODE  call N of this function, from 1, returns this error
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

struct HostKernel {
    uint32_t version, arguments;
    uint64_t pointers;
    void (*run)(const uint64_t*, uint32_t, uint32_t, uint32_t);
};

namespace {

enum Code {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_CONFIGURATION = 9,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    NO_BINARY = 209,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900,
};

struct {
    int code;
    const char *name, *text;
} const ERRORS[] = {
    {SUCCESS, "hipSuccess", "no error"},
    {INVALID_VALUE, "hipErrorInvalidValue", "invalid argument"},
    {OUT_OF_MEMORY, "hipErrorOutOfMemory", "out of memory"},
    {INVALID_CONFIGURATION, "hipErrorInvalidConfiguration", "invalid configuration argument"},
    {NO_DEVICE, "hipErrorNoDevice", "no ROCm-capable device is detected"},
    {INVALID_DEVICE, "hipErrorInvalidDevice", "invalid device ordinal"},
    {INVALID_IMAGE, "hipErrorInvalidImage", "device kernel image is invalid"},
    {NO_BINARY, "hipErrorNoBinaryForGpu", "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "hipErrorInvalidHandle", "invalid resource handle"},
    {NOT_FOUND, "hipErrorNotFound", "named symbol not found"},
    {NOT_READY, "hipErrorNotReady", "device not ready"},
    {ILLEGAL_ADDRESS, "hipErrorIllegalAddress", "an illegal memory access was encountered"},
    {801, "hipErrorNotSupported", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "hipErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
};

struct Memory {
    size_t size;
    // -1 for memory of the host.
    int device;
};

struct Module {
    int device;
    void* library;
};

// A handle of rocBLAS, as rocblas_create_handle makes it.
struct Rocblas {
    int device;
    void* stream;
};

// A product of rocBLAS: matrices by columns, f32 or f16.
struct Product {
    bool transposed_a, transposed_b;
    int64_t m, n, k, batch;
    struct Matrix {
        uintptr_t address;
        int type;
        int64_t pitch, slice;
        size_t element() const { return type == 150 ? 2 : 4; }
        // Up to the end of the last element of so many columns of so many rows.
        size_t size(int64_t rows, int64_t columns, int64_t batch) const {
            return ((batch - 1) * slice + (columns - 1) * pitch + rows) * element();
        }
        float get(int64_t at) const {
            return type == 150 ? float(((const _Float16*)address)[at]) : ((const float*)address)[at];
        }
        void set(int64_t at, float value) const {
            if (type == 150)
                ((_Float16*)address)[at] = _Float16(value);
            else
                ((float*)address)[at] = value;
        }
    } a, b, out;

    size_t size_a() const { return transposed_a ? a.size(k, m, batch) : a.size(m, k, batch); }
    size_t size_b() const { return transposed_b ? b.size(n, k, batch) : b.size(k, n, batch); }
    size_t size_out() const { return out.size(m, n, batch); }

    void run() const {
        for (int64_t z = 0; z < batch; z++)
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++) {
                    float sum = 0;
                    for (int64_t l = 0; l < k; l++)
                        sum += a.get(z * a.slice + (transposed_a ? l + i * a.pitch : i + l * a.pitch)) *
                               b.get(z * b.slice + (transposed_b ? j + l * b.pitch : l + j * b.pitch));
                    out.set(z * out.slice + i + j * out.pitch, sum);
                }
    }
};

struct Function {
    Module* module;
    const HostKernel* kernel;
    std::string name;
};

struct Event {
    int device;
    bool recorded, passed;
    std::chrono::steady_clock::time_point when;
};

// What a library was called for: the memory that it uses, and what it does.
struct Call {
    const char* library;
    std::vector<std::pair<uintptr_t, size_t>> ranges;
    std::function<void()> run;
};

// One piece of work.
struct Work {
    enum Kind { COPY, SET, LAUNCH, CALL, RECORD } kind;
    uintptr_t to, from;
    size_t size;
    uint32_t value;
    // Bytes of memory that the driver does not know, copied when the call was made.
    std::shared_ptr<std::vector<unsigned char>> held;
    Function* function;
    std::vector<uint64_t> arguments;
    uint32_t blocks, threads, shared;
    Event* event;
    std::shared_ptr<const Call> call;
};

struct Graph {
    int device;
    std::vector<Work> work;
};

struct Stream {
    int device;
    std::deque<Work> work;
    // What it records, while it does.
    Graph* recording;
    bool spoiled;
    // Which threads must not manage memory meanwhile (hipStreamCaptureMode), and the one that records.
    int mode;
    std::thread::id recorder;
};

struct Double {
    std::recursive_mutex lock;
    int devices = 1;
    size_t memory = size_t(1) << 30;
    std::string arch = "host", fault, fail;
    uint64_t fail_at = 0;
    int fail_code = 0;

    std::map<std::string, uint64_t> calls;
    std::vector<std::string> problems;
    std::map<uintptr_t, Memory> allocations;
    std::map<int, size_t> used;
    std::set<int> dead;
    std::set<Stream*> streams;
    std::set<Event*> events;
    std::set<Module*> modules;
    std::set<Function*> functions;
    std::set<Graph*> graphs, replays;
    std::set<Rocblas*> rocblas;
    // Things of MIOpen, by kind.
    std::map<std::string, std::set<void*>> held;
    std::string slow;
    std::map<int, Stream*> null_streams;

    Double() {
        const char* settings = getenv("HIP_DOUBLE");
        std::istringstream words(settings ? settings : "");
        for (std::string word; words >> word;) {
            const size_t at = word.find('=');
            const std::string key = word.substr(0, at), value = word.substr(at + 1);
            if (key == "devices") devices = atoi(value.c_str());
            if (key == "arch") arch = value;
            if (key == "memory") memory = strtoull(value.c_str(), nullptr, 10);
            if (key == "fault") fault = value;
            if (key == "slow") slow = value;
            if (key == "fail") {
                const size_t first = value.find(':'), second = value.find(':', first + 1);
                fail = value.substr(0, first);
                fail_at = strtoull(value.c_str() + first + 1, nullptr, 10);
                fail_code = atoi(value.c_str() + second + 1);
            }
        }
    }
};

Double& state() {
    // Never destroyed: calls may come while the process ends.
    static Double* const only = new Double;
    return *only;
}

thread_local int current = 0;

int problem(int code, const std::string& text) {
    state().problems.push_back(text);
    return code;
}

// Begins a function: locks, counts, and returns where the call is to fail.
#define CALL(needs_device)                                                         \
    Double& d = state();                                                           \
    std::lock_guard<std::recursive_mutex> guard(d.lock);                           \
    if (++d.calls[__func__] == d.fail_at && d.fail == __func__) return d.fail_code; \
    if (d.devices == 0) return NO_DEVICE;                                          \
    if ((needs_device) && d.dead.count(current)) return ILLEGAL_ADDRESS;

std::string hexadecimal(uintptr_t address) {
    char text[32];
    snprintf(text, sizeof text, "0x%zx", size_t(address));
    return text;
}

// The allocation that a range lies in.
const Memory* find(uintptr_t start, size_t size, uintptr_t* base = nullptr) {
    auto& all = state().allocations;
    auto after = all.upper_bound(start);
    if (after == all.begin()) return nullptr;
    auto& [at, memory] = *--after;
    if (start - at > memory.size || size > memory.size - (start - at)) return nullptr;
    if (base) *base = at;
    return &memory;
}

bool on_device(uintptr_t start, size_t size, int device) {
    const Memory* memory = find(start, size);
    return memory && memory->device == device;
}

int execute(const Work& work, int device) {
    Double& d = state();
    const auto inside = [](uintptr_t start, size_t size) { return find(start, size) != nullptr; };
    switch (work.kind) {
        case Work::COPY: {
            const bool from = work.held || inside(work.from, work.size);
            if (!from || !inside(work.to, work.size))
                return problem(ILLEGAL_ADDRESS, "a copy uses memory that was freed");
            memcpy((void*)work.to, work.held ? work.held->data() : (void*)work.from, work.size);
            return SUCCESS;
        }
        case Work::SET:
            if (!inside(work.to, work.size)) return problem(ILLEGAL_ADDRESS, "a set uses memory that was freed");
            for (size_t at = 0; at < work.size; at += 4) memcpy((void*)(work.to + at), &work.value, 4);
            return SUCCESS;
        case Work::RECORD:
            work.event->passed = true;
            work.event->when = std::chrono::steady_clock::now();
            return SUCCESS;
        case Work::CALL:
            for (auto& [start, size] : work.call->ranges)
                if (!inside(start, size))
                    return problem(ILLEGAL_ADDRESS, std::string(work.call->library) + " uses memory that was freed");
            if (d.slow == work.call->library) usleep(5000);
            work.call->run();
            return SUCCESS;
        case Work::LAUNCH: {
            const Function& function = *work.function;
            for (size_t at = 0; at < work.arguments.size(); at++)
                if (function.kernel->pointers >> at & 1 && !on_device(work.arguments[at], 0, device))
                    return problem(ILLEGAL_ADDRESS, "argument " + std::to_string(at) + " of " + function.name +
                                                        " is freed memory");
            if (function.name == d.fault) return ILLEGAL_ADDRESS;
            function.kernel->run(work.arguments.data(), work.blocks, work.threads, work.shared);
            return SUCCESS;
        }
    }
    return INVALID_VALUE;
}

int drain(Stream& stream) {
    Double& d = state();
    while (!stream.work.empty()) {
        const Work work = std::move(stream.work.front());
        stream.work.pop_front();
        if (const int code = execute(work, stream.device)) {
            // A fault ends the work of the whole device.
            d.dead.insert(stream.device);
            stream.work.clear();
            return code;
        }
    }
    return SUCCESS;
}

Stream* stream_of(void* handle) {
    Double& d = state();
    if (!handle) {
        Stream*& stream = d.null_streams[current];
        if (!stream) stream = new Stream{current, {}, nullptr, false};
        return stream;
    }
    Stream* const stream = (Stream*)handle;
    if (!d.streams.count(stream)) {
        problem(0, "a stream that does not exist");
        return nullptr;
    }
    if (stream->device != current) {
        problem(0, "a stream of device " + std::to_string(stream->device) + " is used on device " +
                       std::to_string(current));
        return nullptr;
    }
    return stream;
}

int add(Stream* stream, Work work) {
    if (stream->recording)
        stream->recording->work.push_back(std::move(work));
    else
        stream->work.push_back(std::move(work));
    return SUCCESS;
}

// Work of a library.
int call(Stream* stream, const char* library, std::vector<std::pair<uintptr_t, size_t>> ranges, std::function<void()> run) {
    Work work{};
    work.kind = Work::CALL;
    work.call = std::make_shared<const Call>(Call{library, std::move(ranges), std::move(run)});
    return add(stream, std::move(work));
}

// Whether a stream of this device records in a mode that forbids this thread to manage memory: in the global mode
// (0) any thread, in that of a thread (1) the one that records, in the relaxed one (2) none.
bool recording() {
    for (Stream* stream : state().streams)
        if (stream->recording && stream->device == current &&
            (stream->mode == 0 || (stream->mode == 1 && stream->recorder == std::this_thread::get_id())))
            return true;
    return false;
}

bool uses(const Work& work, uintptr_t start, size_t size) {
    const auto meets = [&](uintptr_t at, size_t length) { return at < start + size && start < at + length; };
    if (work.kind == Work::COPY)
        return meets(work.to, work.size) || (!work.held && meets(work.from, work.size));
    if (work.kind == Work::SET) return meets(work.to, work.size);
    if (work.kind == Work::CALL)
        for (auto& [at, length] : work.call->ranges)
            if (meets(at, length)) return true;
    if (work.kind == Work::LAUNCH)
        for (size_t at = 0; at < work.arguments.size(); at++)
            if (work.function->kernel->pointers >> at & 1 && meets(work.arguments[at], 1)) return true;
    return false;
}

bool in_use(uintptr_t start, size_t size) {
    for (Stream* stream : state().streams)
        for (const Work& work : stream->work)
            if (uses(work, start, size)) return true;
    return false;
}

int allocate(uintptr_t* start, size_t size, int device) {
    Double& d = state();
    if (recording()) return problem(CAPTURE_UNSUPPORTED, "memory is allocated while a stream records");
    if (size == 0) return problem(INVALID_VALUE, "an allocation of 0 bytes");
    if (device >= 0 && size > d.memory - d.used[device]) return OUT_OF_MEMORY;
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, size)) return OUT_OF_MEMORY;
    // Floats that were not written are NaN.
    memset(memory, 0xff, size);
    d.allocations[(uintptr_t)memory] = {size, device};
    d.used[device] += size;
    *start = (uintptr_t)memory;
    return SUCCESS;
}

int release(uintptr_t start, bool host) {
    Double& d = state();
    const auto found = d.allocations.find(start);
    if (found == d.allocations.end() || (found->second.device < 0) != host)
        return problem(INVALID_VALUE, "memory is freed that was not allocated: " + hexadecimal(start));
    if (in_use(start, found->second.size))
        problem(0, "memory is freed that work under way uses: " + hexadecimal(start));
    if (recording()) problem(0, "memory is freed while a stream records");
    d.used[found->second.device] -= found->second.size;
    d.allocations.erase(found);
    free((void*)start);
    return SUCCESS;
}

// The size of an ELF file of which only the start is known, as drivers find it.
size_t elf_size(const unsigned char* image) {
    Elf64_Ehdr header;
    memcpy(&header, image, sizeof header);
    size_t size = sizeof header;
    const auto end = [&](size_t at) { size = at > size ? at : size; };
    end(header.e_shoff + size_t(header.e_shnum) * header.e_shentsize);
    end(header.e_phoff + size_t(header.e_phnum) * header.e_phentsize);
    for (int at = 0; at < header.e_shnum; at++) {
        Elf64_Shdr section;
        memcpy(&section, image + header.e_shoff + size_t(at) * header.e_shentsize, sizeof section);
        if (section.sh_type != SHT_NOBITS) end(section.sh_offset + section.sh_size);
    }
    return size;
}

}  // namespace

extern "C" {

int hipInit(unsigned flags) {
    CALL(false)
    return flags == 0 ? SUCCESS : INVALID_VALUE;
}

int hipDriverGetVersion(int* version) {
    CALL(false)
    *version = 60342134;
    return SUCCESS;
}

const char* hipGetErrorName(int code) {
    for (auto& error : ERRORS)
        if (error.code == code) return error.name;
    return "hipErrorUnknown";
}

const char* hipGetErrorString(int code) {
    for (auto& error : ERRORS)
        if (error.code == code) return error.text;
    return "unknown error";
}

int hipGetDeviceCount(int* count) {
    CALL(false)
    *count = d.devices;
    return SUCCESS;
}

int hipDeviceGet(int* device, int ordinal) {
    CALL(false)
    if (ordinal < 0 || ordinal >= d.devices) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

int hipSetDevice(int device) {
    CALL(false)
    if (device < 0 || device >= d.devices) return INVALID_DEVICE;
    current = device;
    return SUCCESS;
}

int hipDeviceGetName(char* name, int size, int device) {
    CALL(false)
    if (device < 0 || device >= d.devices) return INVALID_DEVICE;
    snprintf(name, size, "HIP test double");
    return SUCCESS;
}

int hipDeviceTotalMem(size_t* bytes, int device) {
    CALL(false)
    if (device < 0 || device >= d.devices) return INVALID_DEVICE;
    *bytes = d.memory;
    return SUCCESS;
}

#ifndef HIP_DOUBLE_OLD
int hipGetDevicePropertiesR0600(void* properties, int device) {
    CALL(false)
    if (device < 0 || device >= d.devices) return INVALID_DEVICE;
    memset(properties, 0, 1472);
    snprintf((char*)properties, 256, "HIP test double");
    snprintf((char*)properties + 1160, 256, "%s", d.arch.c_str());
    return SUCCESS;
}
#endif

int hipMalloc(uintptr_t* start, size_t size) {
    CALL(true)
    return allocate(start, size, current);
}

int hipFree(uintptr_t start) {
    CALL(false)
    return release(start, false);
}

int hipHostMalloc(void** start, size_t size, unsigned) {
    CALL(true)
    return allocate((uintptr_t*)start, size, -1);
}

int hipHostFree(void* start) {
    CALL(false)
    return release((uintptr_t)start, true);
}

int hipMemcpyHtoDAsync(uintptr_t to, const void* from, size_t size, void* handle) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!on_device(to, size, current)) return problem(INVALID_VALUE, "a copy to outside of the device's memory");
    Work work{};
    work.kind = Work::COPY, work.to = to, work.from = (uintptr_t)from, work.size = size;
    if (!on_device((uintptr_t)from, size, -1)) {
        const auto bytes = (const unsigned char*)from;
        work.held = std::make_shared<std::vector<unsigned char>>(bytes, bytes + size);
    }
    return add(stream, work);
}

int hipMemcpyDtoHAsync(void* to, uintptr_t from, size_t size, void* handle) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!on_device(from, size, current))
        return problem(INVALID_VALUE, "a copy from outside of the device's memory");
    Work work{};
    work.kind = Work::COPY, work.to = (uintptr_t)to, work.from = from, work.size = size;
    if (on_device((uintptr_t)to, size, -1)) return add(stream, work);
    // Memory that the driver does not know is written before the call returns.
    if (stream->recording) return problem(CAPTURE_UNSUPPORTED, "a copy to pageable memory is recorded");
    if (const int code = drain(*stream)) return code;
    memcpy(to, (void*)from, size);
    return SUCCESS;
}

int hipMemcpyDtoDAsync(uintptr_t to, uintptr_t from, size_t size, void* handle) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!on_device(from, size, current) || !on_device(to, size, current))
        return problem(INVALID_VALUE, "a copy outside of the device's memory");
    if (to < from + size && from < to + size) return problem(INVALID_VALUE, "a copy whose ranges overlap");
    Work work{};
    work.kind = Work::COPY, work.to = to, work.from = from, work.size = size;
    return add(stream, work);
}

int hipMemsetD32Async(uintptr_t to, int value, size_t count, void* handle) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!on_device(to, count * 4, current) && !on_device(to, count * 4, -1))
        return problem(INVALID_VALUE, "a set outside of the device's memory");
    Work work{};
    work.kind = Work::SET, work.to = to, work.value = value, work.size = count * 4;
    return add(stream, work);
}

int hipStreamCreateWithFlags(void** handle, unsigned) {
    CALL(true)
    Stream* const stream = new Stream{current, {}, nullptr, false};
    d.streams.insert(stream);
    *handle = stream;
    return SUCCESS;
}

int hipStreamDestroy(void* handle) {
    CALL(false)
    Stream* const stream = stream_of(handle);
    if (!stream || !handle) return INVALID_HANDLE;
    if (!stream->work.empty()) problem(0, "a stream is destroyed whose work is under way");
    d.streams.erase(stream);
    delete stream;
    return SUCCESS;
}

int hipStreamSynchronize(void* handle) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (stream->recording) {
        stream->spoiled = true;
        return problem(CAPTURE_UNSUPPORTED, "a stream is waited for while it records");
    }
    return drain(*stream);
}

int hipEventCreateWithFlags(void** handle, unsigned) {
    CALL(true)
    Event* const event = new Event{current, false, false, {}};
    d.events.insert(event);
    *handle = event;
    return SUCCESS;
}

int hipEventDestroy(void* handle) {
    CALL(false)
    Event* const event = (Event*)handle;
    if (!d.events.erase(event)) return problem(INVALID_HANDLE, "an event that does not exist");
    delete event;
    return SUCCESS;
}

int hipEventRecord(void* handle, void* stream_handle) {
    CALL(true)
    Event* const event = (Event*)handle;
    Stream* const stream = stream_of(stream_handle);
    if (!d.events.count(event) || !stream) return problem(INVALID_HANDLE, "an event or stream that does not exist");
    event->recorded = true, event->passed = false;
    Work work{};
    work.kind = Work::RECORD, work.event = event;
    return add(stream, work);
}

int hipEventElapsedTime(float* milliseconds, void* first, void* last) {
    CALL(true)
    Event *const a = (Event*)first, *const b = (Event*)last;
    if (!d.events.count(a) || !d.events.count(b)) return problem(INVALID_HANDLE, "an event that does not exist");
    if (!a->recorded || !b->recorded) return problem(INVALID_HANDLE, "an event that was not recorded");
    if (!a->passed || !b->passed) return NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(b->when - a->when).count();
    return SUCCESS;
}

int hipModuleLoadData(void** handle, const void* image) {
    CALL(true)
    if (memcmp(image, ELFMAG, SELFMAG) || ((const Elf64_Ehdr*)image)->e_machine != EM_X86_64) return NO_BINARY;
    char path[] = "/tmp/hip_double_XXXXXX";
    const int file = mkstemp(path);
    if (file < 0) return INVALID_IMAGE;
    const size_t size = elf_size((const unsigned char*)image);
    const bool written = write(file, image, size) == (ssize_t)size;
    close(file);
    void* const library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!library) fprintf(stderr, "hip_double: %s\n", written ? dlerror() : "cannot write the code object");
    unlink(path);
    if (!library) return INVALID_IMAGE;
    Module* const module = new Module{current, library};
    d.modules.insert(module);
    *handle = module;
    return SUCCESS;
}

int hipModuleUnload(void* handle) {
    CALL(false)
    Module* const module = (Module*)handle;
    if (!d.modules.count(module)) return problem(INVALID_HANDLE, "a module that does not exist");
    for (Stream* stream : d.streams)
        for (const Work& work : stream->work)
            if (work.kind == Work::LAUNCH && work.function->module == module)
                problem(0, "a module is unloaded whose kernels are under way");
    for (auto at = d.functions.begin(); at != d.functions.end();) {
        Function* const function = *at;
        if (function->module == module) {
            at = d.functions.erase(at);
            delete function;
        } else {
            ++at;
        }
    }
    d.modules.erase(module);
    dlclose(module->library);
    delete module;
    return SUCCESS;
}

int hipModuleGetFunction(void** handle, void* module_handle, const char* name) {
    CALL(true)
    Module* const module = (Module*)module_handle;
    if (!d.modules.count(module)) return problem(INVALID_HANDLE, "a module that does not exist");
    const auto kernel = (const HostKernel*)dlsym(module->library, (std::string(name) + "_host").c_str());
    if (!kernel || kernel->version != 1) return NOT_FOUND;
    Function* const function = new Function{module, kernel, name};
    d.functions.insert(function);
    *handle = function;
    return SUCCESS;
}

int hipModuleLaunchKernel(void* handle, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                          unsigned threads_z, unsigned shared, void* stream_handle, void** parameters,
                          void** extra) {
    CALL(true)
    Function* const function = (Function*)handle;
    Stream* const stream = stream_of(stream_handle);
    if (!d.functions.count(function) || !stream)
        return problem(INVALID_HANDLE, "a function or stream that does not exist");
    if (function->module->device != current) return problem(INVALID_HANDLE, "a function of another device");
    if (x == 0 || x > 0x7fffffff || y != 1 || z != 1 || threads == 0 || threads > 1024 || threads_y != 1 ||
        threads_z != 1 || shared > 65536)
        return INVALID_CONFIGURATION;
    const uintptr_t *const e = (uintptr_t*)extra;
    if (parameters || !e || e[0] != 1 || e[2] != 2 || e[4] != 3)
        return problem(INVALID_VALUE, "the arguments of " + function->name + " are not packed");
    const size_t size = *(size_t*)e[3];
    if (size != function->kernel->arguments * size_t(8))
        return problem(INVALID_VALUE, function->name + " takes " + std::to_string(function->kernel->arguments) +
                                          " arguments, not " + std::to_string(size) + " bytes");
    Work work{};
    work.kind = Work::LAUNCH, work.function = function;
    work.blocks = x, work.threads = threads, work.shared = shared;
    work.arguments.assign((uint64_t*)e[1], (uint64_t*)e[1] + size / 8);
    for (size_t at = 0; at < work.arguments.size(); at++)
        if (function->kernel->pointers >> at & 1 && !on_device(work.arguments[at], 0, current))
            return problem(INVALID_VALUE, "argument " + std::to_string(at) + " of " + function->name +
                                              " is no memory of the device: " + hexadecimal(work.arguments[at]));
    return add(stream, work);
}

int hipStreamBeginCapture(void* handle, int mode) {
    CALL(true)
    Stream* const stream = stream_of(handle);
    if (!stream || !handle || stream->recording) return problem(INVALID_VALUE, "a stream that cannot record");
    if (mode < 0 || mode > 2) return problem(INVALID_VALUE, "a mode of capture that does not exist");
    stream->recording = new Graph{current, {}};
    stream->spoiled = false;
    stream->mode = mode, stream->recorder = std::this_thread::get_id();
    return SUCCESS;
}

int hipStreamEndCapture(void* handle, void** graph) {
    // Recording ends even where the call fails.
    Stream* const ended = stream_of(handle);
    Graph* const recorded = ended ? ended->recording : nullptr;
    if (ended) ended->recording = nullptr;
    CALL(true)
    if (!recorded) return problem(INVALID_VALUE, "a stream that does not record");
    if (ended->spoiled) return CAPTURE_UNSUPPORTED;
    d.graphs.insert(recorded);
    *graph = recorded;
    return SUCCESS;
}

int hipGraphInstantiateWithFlags(void** replay, void* graph, unsigned long long) {
    CALL(true)
    Graph* const recorded = (Graph*)graph;
    if (!d.graphs.count(recorded)) return problem(INVALID_HANDLE, "a graph that does not exist");
    Graph* const made = new Graph(*recorded);
    d.replays.insert(made);
    *replay = made;
    return SUCCESS;
}

int hipGraphLaunch(void* replay, void* handle) {
    CALL(true)
    Graph* const made = (Graph*)replay;
    Stream* const stream = stream_of(handle);
    if (!stream || !d.replays.count(made)) return problem(INVALID_HANDLE, "a graph that does not exist");
    for (const Work& work : made->work) add(stream, work);
    return SUCCESS;
}

int hipGraphDestroy(void* graph) {
    CALL(false)
    Graph* const recorded = (Graph*)graph;
    if (!d.graphs.erase(recorded)) return problem(INVALID_HANDLE, "a graph that does not exist");
    delete recorded;
    return SUCCESS;
}

int hipGraphExecDestroy(void* replay) {
    CALL(false)
    Graph* const made = (Graph*)replay;
    if (!d.replays.erase(made)) return problem(INVALID_HANDLE, "a graph that does not exist");
    delete made;
    return SUCCESS;
}

// rocBLAS. Errors are those of rocblas_status: 1 for a handle, 3 for a pointer, 4 for a size.

int rocblas_create_handle(void** handle) {
    CALL(true)
    Rocblas* const made = new Rocblas{current, nullptr};
    d.rocblas.insert(made);
    *handle = made;
    return SUCCESS;
}

int rocblas_destroy_handle(void* handle) {
    CALL(false)
    if (!d.rocblas.erase((Rocblas*)handle)) return problem(1, "a handle of rocBLAS is given back that is none");
    delete (Rocblas*)handle;
    return SUCCESS;
}

int rocblas_set_stream(void* handle, void* stream) {
    CALL(true)
    if (!d.rocblas.count((Rocblas*)handle) || !stream_of(stream)) return problem(1, "no handle of rocBLAS, or no stream");
    ((Rocblas*)handle)->stream = stream;
    return SUCCESS;
}

int rocblas_set_workspace(void* handle, void* start, size_t size) {
    CALL(true)
    if (!d.rocblas.count((Rocblas*)handle)) return problem(1, "no handle of rocBLAS");
    return on_device((uintptr_t)start, size, current) ? SUCCESS : problem(3, "the workspace of rocBLAS is no memory");
}

int rocblas_gemm_strided_batched_ex(void* handle, int operation_a, int operation_b, int m, int n, int k,
                                    const void* alpha, const void* a, int a_type, int a_pitch, int64_t a_slice,
                                    const void* b, int b_type, int b_pitch, int64_t b_slice, const void* beta,
                                    const void* c, int c_type, int c_pitch, int64_t c_slice, void* out, int out_type,
                                    int out_pitch, int64_t out_slice, int batch, int compute, int algorithm,
                                    int32_t solution, uint32_t flags) {
    CALL(true)
    Rocblas* const rocblas = (Rocblas*)handle;
    if (!d.rocblas.count(rocblas) || rocblas->device != current) return problem(1, "no handle of rocBLAS of this device");
    Stream* const stream = stream_of(rocblas->stream);
    if (!stream) return 1;
    const auto operation = [](int value) { return value == 111 || value == 112; };
    const auto type = [](int value) { return value == 150 || value == 151; };
    if (!operation(operation_a) || !operation(operation_b) || !type(a_type) || a_type != b_type || !type(out_type) ||
        c != out || c_type != out_type || c_pitch != out_pitch || c_slice != out_slice || compute != 151 || algorithm ||
        solution || flags || *(const float*)alpha != 1 || *(const float*)beta != 0)
        return problem(11, "a product of rocBLAS in a form that the runtime does not use");
    const Product p{operation_a == 112, operation_b == 112, m, n, k, batch,
                    {(uintptr_t)a, a_type, a_pitch, a_slice},
                    {(uintptr_t)b, b_type, b_pitch, b_slice},
                    {(uintptr_t)out, out_type, out_pitch, out_slice}};
    if (m < 1 || n < 1 || k < 1 || batch < 1 || a_pitch < (p.transposed_a ? k : m) || b_pitch < (p.transposed_b ? n : k) ||
        out_pitch < m)
        return problem(4, "sizes of a product of rocBLAS that do not fit");
    if (!on_device(p.a.address, p.size_a(), current) || !on_device(p.b.address, p.size_b(), current) ||
        !on_device(p.out.address, p.size_out(), current))
        return problem(3, "a product of rocBLAS reaches beyond the memory of the device");
    return call(stream, "rocblas",
                {{p.a.address, p.size_a()}, {p.b.address, p.size_b()}, {p.out.address, p.size_out()}}, [p] { p.run(); });
}

// For tests: how often a function was called.
uint64_t hip_double_calls(const char* name) {
    std::lock_guard<std::recursive_mutex> guard(state().lock);
    return state().calls[name];
}

// For tests: bytes of memory of all devices that are allocated now.
uint64_t hip_double_memory() {
    Double& d = state();
    std::lock_guard<std::recursive_mutex> guard(d.lock);
    uint64_t bytes = 0;
    for (auto& [start, memory] : d.allocations) bytes += memory.device >= 0 ? memory.size : 0;
    return bytes;
}

// For tests: what was done wrong since the last call, a line each.
const char* hip_double_problems() {
    static std::string text;
    Double& d = state();
    std::lock_guard<std::recursive_mutex> guard(d.lock);
    text.clear();
    for (auto& line : d.problems) text += line + "\n";
    d.problems.clear();
    return text.c_str();
}

// For tests: what was not given back, a line each.
const char* hip_double_leaks() {
    static std::string text;
    Double& d = state();
    std::lock_guard<std::recursive_mutex> guard(d.lock);
    text.clear();
    for (auto& [start, memory] : d.allocations)
        text += std::to_string(memory.size) + (memory.device < 0 ? " bytes of the host\n" : " bytes of a device\n");
    const std::pair<const char*, size_t> counts[] = {{"streams", d.streams.size()}, {"events", d.events.size()},
                                                     {"modules", d.modules.size()}, {"graphs", d.graphs.size()},
                                                     {"replays", d.replays.size()}, {"handles of rocBLAS", d.rocblas.size()}};
    for (auto& [what, count] : counts)
        if (count) text += std::to_string(count) + " " + what + "\n";
    for (auto& [what, held] : d.held)
        if (!held.empty()) text += std::to_string(held.size()) + " " + what + "\n";
    return text.c_str();
}
}

#include "miopen.hpp"
