/* What this machine can do, measured in the run whose figures stand beside it. */
#ifndef OSV_BENCH_RATES_H
#define OSV_BENCH_RATES_H

#include "kernels/ops.h"
#include "kernels/rates.h"

/* Sizes of what is measured: whole ones, or small ones with which programs are tried, not measured. */
typedef enum { OSV_RATES_WHOLE, OSV_RATES_QUICK } osv_rates_size;

/* The best of several. On a device through its table of operators: a product of 8192 x 8192 matrices in the
 * ops' dtype, and a copy of 512 MB; else with `threads` threads of the host. Failures stick in the ops' error
 * (on the host, where there is no memory, a rate is 0). */
osv_rates osv_measure_rates(osv_ops *o, int threads, osv_rates_size size);

/* Bytes read and written per second by ON_DEVICE copies of different sizes, timed as every operator is: small
 * operators are compared with a copy of the same bytes. */
enum { OSV_COPIES = 14 };

typedef struct {
    int count;
    double moved[OSV_COPIES]; /* bytes read and written by a call, rising */
    double rate[OSV_COPIES];  /* bytes/s */
} osv_copies;

void osv_measure_copies(osv_copies *c, osv_ops *o, double seconds, osv_rates_size size);

/* Of a copy that moves this many bytes: between those measured, on a line over the logarithm. */
double osv_copy_rate(const osv_copies *c, double moved);

#endif
