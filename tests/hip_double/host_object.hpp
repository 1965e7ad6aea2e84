// What a code object of the test double holds. A kernel's text, compiled as C++ for the host, is followed by this
// file and `HOST_KERNEL(name)` for each of its kernels; the result, linked as a shared library, is the code object.
//
// The text defines `sardonyx_block` and `sardonyx_thread`, which say which thread of which block runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

// How the double finds a kernel: the symbol is the kernel's name with `_host` behind it.
struct HostKernel {
    // The layout of this structure.
    uint32_t version;
    // How many arguments the kernel takes, and which of them are pointers: bit i for argument i.
    uint32_t arguments;
    uint64_t pointers;
    // Runs all blocks. The arguments are 8 bytes each.
    void (*run)(const uint64_t* arguments, uint32_t blocks, uint32_t threads, uint32_t shared);
};

namespace host_object {

// Threads one after the other: for kernels without barriers.
template <class Body>
void run_blocks(uint32_t blocks, uint32_t threads, uint32_t, Body body) {
    for (uint32_t block = 0; block < blocks; block++)
        for (uint32_t thread = 0; thread < threads; thread++) {
            sardonyx_block = block;
            sardonyx_thread = thread;
            body();
        }
}

template <class Type>
constexpr bool is_pointer = false;
template <class Type>
constexpr bool is_pointer<Type*> = true;

template <class... Types>
constexpr uint64_t pointers(void (*)(Types...)) {
    uint64_t bits = 0, at = 0;
    ((bits |= uint64_t(is_pointer<Types>) << at++), ...);
    return bits;
}

template <class... Types>
constexpr uint32_t count(void (*)(Types...)) {
    static_assert(((sizeof(Types) == 8) && ...), "arguments are 8 bytes each");
    return sizeof...(Types);
}

template <class... Types, std::size_t... Index>
void call(void (*kernel)(Types...), const uint64_t* arguments, std::index_sequence<Index...>) {
    kernel((Types)arguments[Index]...);
}

template <class... Types>
void call(void (*kernel)(Types...), const uint64_t* arguments) {
    call(kernel, arguments, std::index_sequence_for<Types...>{});
}

}  // namespace host_object

#define HOST_KERNEL(name) HOST_KERNEL_NAMED(name)
#define HOST_KERNEL_NAMED(name)                                                                              \
    extern "C" const HostKernel name##_host = {                                                              \
        1, host_object::count(name), host_object::pointers(name),                                            \
        [](const uint64_t* arguments, uint32_t blocks, uint32_t threads, uint32_t shared) {                  \
            host_object::run_blocks(blocks, threads, shared, [=] { host_object::call(name, arguments); });   \
        }};
