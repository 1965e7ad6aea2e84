// Runs a kernel on the host, one block or cluster of blocks after the other. The threads are fibers: a barrier and
// an exchange between the threads of a wave switch to the next one. It stands before the kernel's text; what stands
// behind it defines `switch_to` and `run_kernel`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

// Makes this block and thread the current ones.
static void switch_to(long block, int thread);
// Runs the current thread.
static void run_kernel();

static const int MOST_THREADS = 1024, STACK = 64 << 10, MOST_SHARED = 256 << 10, MOST_BLOCKS = 8;
static ucontext_t scheduler, fibers[MOST_THREADS];
static int current_fiber, block_threads;
// What a thread waits for: nothing yet, a barrier of its block or cluster, an exchange at this distance, or it is done.
static const int RUNNING = 0, BARRIER = -1, DONE = -2, CLUSTER_BARRIER = -3;
static int waits_for[MOST_THREADS];
static unsigned words[MOST_THREADS];
alignas(128) static unsigned char block_memory[MOST_BLOCKS][MOST_SHARED];

static inline void wait_for(int what) {
    waits_for[current_fiber] = what;
    swapcontext(&fibers[current_fiber], &scheduler);
}
static inline void barrier() { wait_for(BARRIER); }
static inline void cluster_barrier() { wait_for(CLUSTER_BARRIER); }
// The scheduler has replaced the word by that of the other thread.
static inline unsigned exchange(unsigned word, unsigned distance) {
    words[current_fiber] = word;
    wait_for((int)distance);
    return words[current_fiber];
}
static inline unsigned char* shared_memory(size_t bytes) {
    if (bytes > MOST_SHARED) abort();
    return block_memory[current_fiber / block_threads];
}
// Where another block of the cluster has what this one has here.
static inline const void* member_memory(const void* here, int member) {
    return (const unsigned char*)here + (member - current_fiber / block_threads) * MOST_SHARED;
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

// Lets the threads of a block go on, of which the first is `start`, until all meet a barrier of the cluster or their end.
static void run_block(long block, int start, int threads, int wave) {
    for (bool stopped = false; !stopped;) {
        for (int first = 0; first < threads; first += wave) {
            const int end = first + wave < threads ? first + wave : threads;
            // A wave goes on until it meets a barrier or its end.
            do {
                for (int t = first; t < end; ++t) {
                    current_fiber = start + t;
                    switch_to(block, t);
                    swapcontext(&scheduler, &fibers[start + t]);
                    if (waits_for[start + t] != waits_for[start + first]) {
                        fprintf(stderr, "threads %d and %d of a wave part at an exchange\n", first, t);
                        abort();
                    }
                }
                if (waits_for[start + first] > 0)
                    exchange_words(start + first, waits_for[start + first], wave);
            } while (waits_for[start + first] > 0);
        }
        stopped = waits_for[start] != BARRIER;
        for (int t = 0; t < threads; ++t) {
            if (waits_for[start + t] != waits_for[start]) {
                fprintf(stderr, "a barrier that not all of %d threads reach\n", threads);
                abort();
            }
        }
    }
}

// Runs all blocks, so many at once, each of which finds NaN in the memory that it asks for.
static void launch(long blocks, int threads, int wave, int cluster) {
    const int all = threads * cluster;
    if (all > MOST_THREADS || cluster > MOST_BLOCKS || blocks % cluster != 0) abort();
    block_threads = threads;
    char* const stacks = (char*)malloc((size_t)STACK * all);
    for (long first = 0; first < blocks; first += cluster) {
        memset(block_memory, 0xff, (size_t)MOST_SHARED * cluster);
        start(stacks, all);
        do {
            for (int member = 0; member < cluster; ++member) {
                run_block(first + member, member * threads, threads, wave);
                if (waits_for[member * threads] != waits_for[0]) {
                    fprintf(stderr, "a barrier that not all of %d blocks reach\n", cluster);
                    abort();
                }
            }
        } while (waits_for[0] != DONE);
    }
    free(stacks);
}
