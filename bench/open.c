#include "bench/open.h"

#include <stdio.h>
#include <string.h>

#include "loader/random_model.h"

static bool is_shape(const char *name)
{
    for (int i = 0; osv_random_shape(i); i++)
        if (strcmp(osv_random_shape(i), name) == 0) return true;
    return false;
}

int bench_open_model(bench_open *b, const char *name, const osv_machine *machine, osv_error *e)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s%s", is_shape(name) ? "random:" : "", name);
    *b = (bench_open){0};
    OSV_TRY(osv_backend_open(&b->ops, machine, e));
    OSV_TRY(osv_backend_comm(&b->comm, b->ops, machine));
    OSV_TRY(osv_checkpoint_open(&b->checkpoint, &b->model, dir, b->comm->rank, b->comm->size, e));
    return osv_model_place(&b->model, b->ops);
}

void bench_close(bench_open *b)
{
    if (b->comm) b->comm->close(b->comm);
    if (b->checkpoint) osv_model_free(&b->model);
    if (b->ops) b->ops->close(b->ops);
    if (b->checkpoint) osv_checkpoint_close(b->checkpoint);
}
