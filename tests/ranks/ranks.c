#include "tests/ranks/ranks.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/comm_filling.h"
#include "tests/emu/device_emu.h"
#include "tools/ranks_start.h"

static int tests, failures;

static void must(const ranks *r, int status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", r->error.text);
    _exit(1); /* which the others notice */
}

static void lost(void *context, const char *text, double wait)
{
    (void)context;
    if (text && wait == 0) fprintf(stderr, "%s\n", text);
}

static void end(void *context, int status)
{
    (void)context;
    _exit(status);
}

/* All that were started. */
static void open_world(ranks *r, osv_machine *m)
{
    bool told;
    const osv_world_settings settings = {
        .launch = m->launch, .tp = m->launch.size, .timeout = 60, .observer = {NULL, lost, end}};
    must(r, osv_world_open(&r->world, &settings, &told, &r->error));
    m->world = r->world;
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

void ranks_open(ranks *r, int argc, char **argv)
{
    const char *backend = argc > 1 ? argv[1] : "cpu";
    bool nccl = strcmp(backend, "nccl") == 0, gpu = nccl || strcmp(backend, "gpu") == 0;
    osv_machine machine = {.backend = gpu ? "cuda" : backend,
                           .dtype = OSV_DTYPE_F32,
                           .threads = 1,
                           .device = -1,
                           .tp = argc > 3 ? atoi(argv[3]) : 0,
                           .comm = OSV_COMM_TCP};
    *r = (ranks){0};
    must(r, osv_launch_find(&machine.launch, getenv, &r->error));
    if (!machine.launch.by && machine.tp > 1) must(r, ranks_start(&machine, argv, &r->error));
    if (machine.launch.size > 1) open_world(r, &machine);
    machine.comm = nccl ? OSV_COMM_NCCL : machine.launch.mpi ? OSV_COMM_MPI : OSV_COMM_TCP;
    must(r, strcmp(backend, "cuda") == 0 ? osv_emu_open(&r->ops, OSV_DTYPE_F32, &r->error)
                                         : osv_backend_open(&r->ops, &machine, &r->error));
    must(r, nccl && machine.launch.size == 1 ? open_nccl_alone(r)
                                             : osv_backend_comm(&r->comm, r->ops, &machine));
}

void ranks_group(ranks *r, osv_comm **c, osv_group g)
{
    must(r, g.size == 1            ? osv_comm_self_open(c, &r->error)
            : r->world->launch.mpi ? osv_mpi_filling_open(c, r->ops, r->world, g)
                                   : osv_tcp_open(c, r->ops, r->world, g));
}

int ranks_close(ranks *r)
{
    int lowest;
    must(r, osv_ops_status(r->ops));
    if (r->comm->rank == 0) printf("1..%d\n", tests);
    fflush(stdout);
    r->comm->close(r->comm);
    r->ops->close(r->ops);
    must(r, !osv_world_leave(r->world, OSV_OK, &lowest));
    must(r, !osv_world_close(r->world));
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
