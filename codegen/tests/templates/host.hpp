// Runs a template on the host: its threads as fibers, whose exchanges, if any, are those of one wave.
#include "../../../tests/hip_double/host_runtime.hpp"

static void launch(long blocks, int threads, int cluster = 1) { launch(blocks, threads, threads, cluster); }
