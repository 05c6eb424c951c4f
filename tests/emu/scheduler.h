/* Runs blocks: between device_emu.cpp, which has the queue, and emu.cpp, which has the fibers. */
#ifndef OSV_TESTS_EMU_SCHEDULER_H
#define OSV_TESTS_EMU_SCHEDULER_H

#include <cstdint>
#include <functional>

namespace emu
{
struct grid {
    unsigned blocks, threads;
    size_t shared_bytes;
    const char *kernel, *file;
    int line;
    std::function<void()> thread;
};

/* Runs all blocks of a launch. order 0: threads, warps and blocks forward, 1: backward, else shuffled, order
 * being the seed. */
void run(const grid &g, uint64_t order);

/* For memory that nothing may touch; no-ops without the address sanitizer. */
void poison(void *p, size_t bytes);
void unpoison(void *p, size_t bytes);
} /* namespace emu */

#endif
