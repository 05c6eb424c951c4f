/* For libFuzzer targets: an input as a file that never reaches a disk, and a check that stops the fuzzer. */
#ifndef OSV_TESTS_FUZZ_H
#define OSV_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

/* Path of a file in memory that holds the input; the same file each time. */
static inline const char *as_file(const uint8_t *data, size_t bytes)
{
    static int file = -1;
    static char path[32];
    if (file < 0) {
        file = memfd_create("input", 0);
        MUST(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    MUST(ftruncate(file, 0) == 0);
    MUST(pwrite(file, data, bytes, 0) == (ssize_t)bytes);
    return path;
}

/* A failure has one of the documented codes and says something. */
static inline void check_error(int status, const osv_error *e)
{
    MUST(status == e->status);
    MUST(status == OSV_OK || status == OSV_BAD_INPUT);
    MUST((status == OSV_OK) == (e->text[0] == '\0'));
}

#endif
