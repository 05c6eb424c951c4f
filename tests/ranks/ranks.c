#include "tests/ranks/ranks.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm_filling.h"
#include "tests/emu/device_emu.h"

static int tests, failures;

static void must(const ranks *r, int status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", r->error.text);
    if (r->comm) r->comm->abort(r->comm, 1);
    exit(1);
}

/* NCCL with nobody. */
static int open_nccl_alone(ranks *r)
{
    unsigned char id[OSV_NCCL_ID];
    osv_comm *self;
    OSV_TRY(osv_nccl_filling_id(id, &r->error));
    OSV_TRY(osv_comm_self_open(&self, &r->error));
    return osv_nccl_filling_open(&r->comm, r->ops, id, self);
}

void ranks_open(ranks *r, const char *backend)
{
    bool nccl = strcmp(backend, "nccl") == 0, gpu = nccl || strcmp(backend, "gpu") == 0;
    osv_machine machine = {.backend = gpu ? "cuda" : backend,
                           .dtype = OSV_DTYPE_F32,
                           .threads = 1,
                           .device = -1,
                           .comm = nccl ? OSV_COMM_NCCL : OSV_COMM_MPI};
    *r = (ranks){0};
    must(r, osv_launch_find(&machine.launch, getenv, &r->error));
    must(r, strcmp(backend, "cuda") == 0 ? osv_emu_open(&r->ops, OSV_DTYPE_F32, &r->error)
                                         : osv_backend_open(&r->ops, &machine, &r->error));
    must(r, nccl && machine.launch.size == 1 ? open_nccl_alone(r)
                                             : osv_backend_comm(&r->comm, r->ops, &machine));
}

int ranks_close(ranks *r)
{
    int lowest;
    must(r, osv_ops_status(r->ops));
    if (r->comm->rank == 0) printf("1..%d\n", tests);
    must(r, !r->comm->leave(r->comm, OSV_OK, &lowest));
    r->comm->close(r->comm);
    r->ops->close(r->ops);
    return failures > 0;
}

void ranks_test(ranks *r, bool passed, const char *name)
{
    must(r, osv_ops_status(r->ops));
    fflush(stdout);
    bool failed = osv_comm_most(r->comm, !passed);
    tests++;
    failures += failed;
    if (r->comm->rank == 0) printf("%sok %d - %s\n", failed ? "not " : "", tests, name);
    fflush(stdout);
}

bool ranks_say(const ranks *r, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("# rank %d: %s\n", r->comm->rank, text);
    return false;
}

/* FNV-1a */
static uint64_t hash_of(const void *x, size_t bytes)
{
    const unsigned char *p = x;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

bool ranks_same(ranks *r, const void *x, size_t bytes)
{
    uint64_t all[OSV_RANKS], own = hash_of(x, bytes);
    r->comm->exchange(r->comm, all, &own, sizeof own);
    must(r, osv_ops_status(r->ops));
    for (int k = 0; k < r->comm->size; k++)
        if (all[k] != own) return false;
    return true;
}
