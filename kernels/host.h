/* The processor's name and clock, and its memory: for the fillings whose ops run when they are called, and
 * for benchmarks. */
#ifndef OSV_KERNELS_HOST_H
#define OSV_KERNELS_HOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds since some moment; never goes back. */
double osv_host_seconds(void);
void osv_host_sleep(double seconds);

/* Seconds that the threads of this process have had a processor, all together: what other programs do does
 * not count. */
double osv_host_cpu_seconds(void);

/* Bytes of memory that this process could still take without anything being paged out, within the limit of
 * its control group; the most there can be where the system does not tell. */
size_t osv_host_available(void);

/* The most memory that this process has had, mapped files included, in bytes. */
size_t osv_host_peak(void);

/* memcpy by several threads: one alone reads a mapped file at some 3 GB/s, because it meets each page for the
 * first time. */
void osv_host_copy(void *to, const void *from, size_t bytes);

/* "AMD EPYC 9B14", as Linux tells it; "unknown" where it does not. */
void osv_host_processor(char *name, size_t room);

#ifdef __cplusplus
}
#endif

#endif
