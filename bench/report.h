/* The comment lines around a benchmark's CSV: where and with what it was measured. */
#ifndef OSV_BENCH_REPORT_H
#define OSV_BENCH_REPORT_H

#include "bench/rates.h"

/* "# program: ...", the version, the hardware, backend, dtype, threads, date and, where nvidia-smi knows a
 * GPU that the ops run on, what it is doing. device: as on the command line, < 0: the first. */
void bench_report_start(const osv_ops *o, const char *program, int threads, int device);
void bench_report_rates(const osv_ops *o, osv_rates r);
/* The state of the GPU after the measurements. */
void bench_report_end(const osv_ops *o, int device);

#endif
