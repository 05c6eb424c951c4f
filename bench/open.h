/* A model for a benchmark: a shape of random weights by its name, or a folder. */
#ifndef OSV_BENCH_OPEN_H
#define OSV_BENCH_OPEN_H

#include "kernels/backend.h"
#include "kernels/comm.h"
#include "loader/checkpoint.h"

typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    osv_checkpoint *checkpoint;
    osv_model model; /* placed */
} bench_open;

/* Everything is released by bench_close, also after a failure; the ops' error is e. */
int bench_open_model(bench_open *b, const char *name, const osv_machine *machine, osv_error *e);
void bench_close(bench_open *b);

#endif
