// Runs a kernel on the host, one block after the other. The threads of a block are fibers: a barrier and an
// exchange between the threads of a wave switch to the next one. It stands before the kernel's text; what stands
// behind it defines `switch_to` and `run_kernel`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

// Makes this block and thread the current ones.
static void switch_to(long block, int thread);
// Runs the current thread.
static void run_kernel();

static const int MOST_THREADS = 1024, STACK = 64 << 10, MOST_SHARED = 256 << 10;
static ucontext_t scheduler, fibers[MOST_THREADS];
static int current_fiber, block_threads;
// What a thread waits for: nothing yet, a barrier, an exchange at this distance, or it is done.
static const int RUNNING = 0, BARRIER = -1, DONE = -2;
static int waits_for[MOST_THREADS];
static unsigned words[MOST_THREADS];
alignas(128) static unsigned char block_memory[MOST_SHARED];

static inline void wait_for(int what) {
    waits_for[current_fiber] = what;
    swapcontext(&fibers[current_fiber], &scheduler);
}
static inline void barrier() { wait_for(BARRIER); }
// The scheduler has replaced the word by that of the other thread.
static inline unsigned exchange(unsigned word, unsigned distance) {
    words[current_fiber] = word;
    wait_for((int)distance);
    return words[current_fiber];
}
static inline unsigned char* shared_memory(size_t bytes) {
    if (bytes > MOST_SHARED) abort();
    return block_memory;
}

static void fiber() {
    run_kernel();
    wait_for(DONE);
}

static void start(char* stacks, int threads) {
    for (int t = 0; t < threads; ++t) {
        waits_for[t] = RUNNING;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks + (size_t)STACK * t;
        fibers[t].uc_stack.ss_size = STACK;
        makecontext(&fibers[t], fiber, 0);
    }
}

// Exchanges the words of a wave's threads, all of which wait for it.
static void exchange_words(int first, int distance, int wave) {
    unsigned before[64];
    memcpy(before, words + first, sizeof(unsigned) * wave);
    for (int t = 0; t < wave; ++t) words[first + t] = before[t ^ distance];
}

// Runs all blocks, each of which finds NaN in the memory that it asks for.
static void launch(long blocks, int threads, int wave) {
    char* const stacks = (char*)malloc((size_t)STACK * threads);
    for (long block = 0; block < blocks; ++block) {
        memset(block_memory, 0xff, MOST_SHARED);
        start(stacks, threads);
        for (bool done = false; !done;) {
            for (int first = 0; first < threads; first += wave) {
                const int end = first + wave < threads ? first + wave : threads;
                // A wave goes on until it meets a barrier or its end.
                do {
                    for (int t = first; t < end; ++t) {
                        current_fiber = t;
                        switch_to(block, t);
                        swapcontext(&scheduler, &fibers[t]);
                        if (waits_for[t] != waits_for[first]) {
                            fprintf(stderr, "threads %d and %d of a wave part at an exchange\n", first, t);
                            abort();
                        }
                    }
                    if (waits_for[first] > 0) exchange_words(first, waits_for[first], wave);
                } while (waits_for[first] > 0);
            }
            done = waits_for[0] == DONE;
            for (int t = 0; t < threads; ++t) {
                if ((waits_for[t] == DONE) != done) {
                    fprintf(stderr, "a barrier that not all of %d threads reach\n", threads);
                    abort();
                }
            }
        }
    }
    free(stacks);
}
