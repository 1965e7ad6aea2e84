// Runs a kernel on the host, one block after the other, its threads as fibers that a barrier switches. It stands
// before the kernel's text; what stands behind it defines `switch_to` and `run_kernel`.
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
static bool finished[MOST_THREADS];
static int current_fiber;
alignas(128) static unsigned char block_memory[MOST_SHARED];

static inline void barrier() { swapcontext(&fibers[current_fiber], &scheduler); }
static inline unsigned char* shared_memory(size_t bytes) {
    if (bytes > MOST_SHARED) abort();
    return block_memory;
}

static void fiber() {
    run_kernel();
    finished[current_fiber] = true;
    swapcontext(&fibers[current_fiber], &scheduler);
}

// Runs all blocks, each of which finds NaN in its shared memory.
static void launch(long blocks, int threads) {
    char* const stacks = (char*)malloc((size_t)STACK * threads);
    for (long block = 0; block < blocks; ++block) {
        memset(block_memory, 0xff, MOST_SHARED);
        for (int t = 0; t < threads; ++t) {
            finished[t] = false;
            getcontext(&fibers[t]);
            fibers[t].uc_stack.ss_sp = stacks + (size_t)STACK * t;
            fibers[t].uc_stack.ss_size = STACK;
            makecontext(&fibers[t], fiber, 0);
        }
        for (int done = 0; done < threads;) {
            done = 0;
            for (int t = 0; t < threads; ++t) {
                current_fiber = t;
                switch_to(block, t);
                if (!finished[t]) swapcontext(&scheduler, &fibers[t]);
                done += finished[t];
            }
            if (done != 0 && done != threads) {
                fprintf(stderr, "a barrier that %d of %d threads reach\n", threads - done, threads);
                abort();
            }
        }
    }
    free(stacks);
}
