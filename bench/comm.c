/* bench-comm: collective operators between ranks, by size, with bandwidths as nccl-tests defines them. CSV on
 * standard output; bench/README.md says what the columns mean. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"
#include "kernels/host.h"
#include "tools/options.h"
#include "tools/program.h"
#include "tools/ranks.h"
#include "tools/tool_model.h"

static const char program[] = "bench-comm";

typedef struct {
    osv_machine machine;
    size_t least, most;
    int factor, iterations;
    bool help;
} comm_options;

#define FIELD(name) .offset = offsetof(comm_options, name)

static const osv_option option_table[] = {
    {"min", "SIZE", "64", "smallest buffer", OSV_OPTION_BYTES, FIELD(least), .group = "What is measured:"},
    {"max", "SIZE", "64M", "largest buffer", OSV_OPTION_BYTES, FIELD(most)},
    {"factor", "N", "4", "each is so many times the one before", OSV_OPTION_INT, FIELD(factor), .low = 2,
     .high = 1 << 20},
    {"iterations", "N", "20", "calls that are timed together, after a quarter as many that are not",
     OSV_OPTION_INT, FIELD(iterations), .low = 1, .high = 1 << 20},
    TOOL_MACHINE_OPTIONS,
    TOOL_RANK_OPTIONS,
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    osv_real *x;    /* [most] device */
    osv_real *host; /* [most] */
    size_t n;       /* numbers of the buffer at hand, of all ranks together */
} bench;

/* A small whole number: sums of these are exact in any order. */
static osv_real number(int rank, size_t i)
{
    return (osv_real)((i + 7 * (size_t)rank) % 61);
}

/* ---- the operators ---- */

static size_t share(const bench *b)
{
    return b->n / (size_t)b->comm->size;
}

static void all_reduce(const bench *b)
{
    b->comm->all_reduce(b->comm, b->x, b->n, OSV_SUM);
}

static osv_real reduced(const bench *b, size_t i)
{
    osv_real sum = 0;
    for (int r = 0; r < b->comm->size; r++) sum += number(r, i);
    return sum;
}

static void all_gather(const bench *b)
{
    b->comm->all_gather(b->comm, b->x, share(b) * sizeof *b->x);
}

static osv_real gathered(const bench *b, size_t i)
{
    return number((int)(i / share(b)), i);
}

static void broadcast(const bench *b)
{
    b->comm->broadcast(b->comm, b->x, b->n * sizeof *b->x, 0);
}

static osv_real sent(const bench *b, size_t i)
{
    (void)b;
    return number(0, i);
}

/* What crosses the slowest wire at best, for each byte of the buffer: then the same network has the same
 * number for any count of ranks (doc/PERFORMANCE.md of nccl-tests). */
static double of_reduce(double n)
{
    return 2 * (n - 1) / n;
}

static double of_gather(double n)
{
    return (n - 1) / n;
}

static double of_broadcast(double n)
{
    (void)n;
    return 1;
}

static const struct {
    const char *name;
    void (*run)(const bench *b);
    osv_real (*expected)(const bench *b, size_t i);
    double (*bus)(double ranks);
} operators[] = {{"all_reduce", all_reduce, reduced, of_reduce},
                 {"all_gather", all_gather, gathered, of_gather},
                 {"broadcast", broadcast, sent, of_broadcast}};

/* ---- measuring ---- */

/* Numbers that came out wrong, on all ranks. */
static long check(bench *b, int k)
{
    osv_ops *o = b->ops;
    long wrong = 0, all[OSV_RANKS];
    for (size_t i = 0; i < b->n; i++) b->host[i] = number(b->comm->rank, i);
    o->copy(o, b->x, b->host, b->n * sizeof *b->x, OSV_TO_DEVICE);
    operators[k].run(b);
    o->copy(o, b->host, b->x, b->n * sizeof *b->x, OSV_TO_HOST);
    o->sync(o, 0);
    for (size_t i = 0; i < b->n; i++) wrong += !(b->host[i] == operators[k].expected(b, i));
    b->comm->exchange(b->comm, all, &wrong, sizeof wrong);
    wrong = 0;
    for (int r = 0; r < b->comm->size; r++) wrong += all[r];
    return wrong;
}

/* Seconds of a call, the mean over the calls and the ranks, which begin together. */
static double time_of(bench *b, int k, int iterations)
{
    osv_ops *o = b->ops;
    double seconds = 0, all[OSV_RANKS];
    o->zero(o, b->x, b->n * sizeof *b->x); /* sums of sums would leave the numbers */
    for (int i = 0; i < (iterations + 3) / 4; i++) operators[k].run(b);
    osv_comm_told(b->comm, 0);
    double start = osv_host_seconds();
    for (int i = 0; i < iterations; i++) operators[k].run(b);
    o->sync(o, 0);
    double own = (osv_host_seconds() - start) / iterations;
    b->comm->exchange(b->comm, all, &own, sizeof own);
    for (int r = 0; r < b->comm->size; r++) seconds += all[r] / b->comm->size;
    return seconds;
}

static int measure(bench *b, const comm_options *o)
{
    int ranks = b->comm->size;
    printf("backend,communicator,ranks,operator,bytes,us,algbw_gbytes_per_s,busbw_gbytes_per_s,wrong\n");
    for (int k = 0; k < (int)(sizeof operators / sizeof *operators); k++)
        for (size_t size = o->least; size <= o->most; size *= (size_t)o->factor) {
            b->n = size / sizeof *b->x / (size_t)ranks * (size_t)ranks;
            if (b->n == 0) continue;
            double bytes = (double)(b->n * sizeof *b->x), seconds = time_of(b, k, o->iterations);
            long wrong = check(b, k);
            OSV_TRY(osv_ops_status(b->ops));
            printf("%s,%s,%d,%s,%.0f,%.2f,%.3f,%.3f,%ld\n", b->ops->name, b->comm->name, ranks,
                   operators[k].name, bytes, 1e6 * seconds, 1e-9 * bytes / seconds,
                   1e-9 * bytes / seconds * operators[k].bus(ranks), wrong);
            fflush(stdout);
            if (wrong)
                return OSV_FAIL(b->ops->error, OSV_DEVICE, "%s of %.0f bytes: %ld numbers are wrong",
                                operators[k].name, bytes, wrong);
        }
    return OSV_OK;
}

static int run(comm_options *o, osv_error *e)
{
    bench b = {0};
    if (o->machine.threads <= 0) o->machine.threads = ranks_threads(&o->machine.launch);
    int status = osv_backend_open(&b.ops, &o->machine, e);
    if (!status) status = osv_backend_comm(&b.comm, b.ops, &o->machine);
    if (!status && b.comm->size == 1)
        status = OSV_FAIL(e, OSV_USAGE,
                          "one rank has nobody to talk to: give --tp, or start it with mpirun or srun");
    if (!status && !(b.host = malloc(o->most))) status = OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (!status) b.x = b.ops->alloc(b.ops, o->most);
    if (!status && !(status = e->status)) {
        bench_report_start(b.ops, program, o->machine.threads, o->machine.device);
        status = measure(&b, o);
        bench_report_end(b.ops, o->machine.device);
    }
    free(b.host);
    if (b.x) b.ops->free(b.ops, b.x);
    status = ranks_fail(&o->machine, program, status, e);
    if (b.comm) b.comm->close(b.comm);
    if (b.ops) b.ops->close(b.ops);
    return status;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    comm_options options = {.machine = TOOL_MACHINE_DEFAULT};
    bool quiet = false; /* there are no notes */
    int status = osv_options_parse(option_table, argc, argv, &options, &e);
    if (!status && options.help)
        osv_options_help(stdout, option_table, "usage: bench-comm [options]\n", "");
    else if (!status && !(status = ranks_find(&options.machine, program, argv, false, &quiet, &e)))
        status = run(&options, &e);
    return ranks_end(&options.machine, e.status ? osv_program_fail(program, &e) : status);
}
