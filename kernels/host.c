#include "kernels/host.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double osv_host_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

void osv_host_sleep(double seconds)
{
    double whole = floor(seconds);
    nanosleep(&(struct timespec){(time_t)whole, (long)((seconds - whole) * 1e9)}, NULL);
}

double osv_host_cpu_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

void osv_host_processor(char *name, size_t room)
{
    snprintf(name, room, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, room, "%s", colon + (colon[1] == ' ' ? 2 : 1));
        break;
    }
    if (f) fclose(f);
}

/* The number that follows `key` in a file; -1: there is none. An empty key: the file is the number. */
static long long number_in(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    char line[256];
    long long number = -1;
    while (f && number < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%lld", &number) != 1)
            number = -1;
    if (f) fclose(f);
    return number;
}

size_t osv_host_available(void)
{
    long long kilobytes = number_in("/proc/meminfo", "MemAvailable:");
    long long limit = number_in("/sys/fs/cgroup/memory.max", ""); /* "max": none */
    long long used = number_in("/sys/fs/cgroup/memory.current", "");
    size_t available = kilobytes < 0 ? SIZE_MAX : (size_t)kilobytes << 10;
    if (limit >= 0 && used >= 0) {
        size_t left = limit > used ? (size_t)(limit - used) : 0;
        if (left < available) available = left;
    }
    return available;
}

size_t osv_host_peak(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) ? 0 : (size_t)used.ru_maxrss << 10; /* Linux counts in KiB */
}

void osv_host_copy(void *to, const void *from, size_t bytes)
{
    enum { MOST_THREADS = 8, PART = 1 << 20 };
    ptrdiff_t parts = (ptrdiff_t)((bytes + PART - 1) / PART);
#ifdef _OPENMP
    int threads = omp_get_num_procs() < MOST_THREADS ? omp_get_num_procs() : MOST_THREADS;
#pragma omp parallel for num_threads(threads) if (parts > 1)
#endif
    for (ptrdiff_t i = 0; i < parts; i++) {
        size_t at = (size_t)i * PART, left = bytes - at;
        memcpy((char *)to + at, (const char *)from + at, left < PART ? left : PART);
    }
}
