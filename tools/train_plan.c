#include "tools/train_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cost.h"
#include "engine/plan.h"
#include "kernels/rates.h"
#include "optim/bin.h"
#include "optim/pack.h"
#include "optim/units.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/train_cluster.h"
#include "tools/train_select.h"

/* A bin as it would be if no job ended before the others of it. */
typedef struct {
    int unit;
    osv_bin_size size;
    int first_block, end_block;
    size_t kv, vectors; /* bytes of size.bytes: keys and values; vectors and all that Adam has beside them */
    osv_cost cost;
    osv_traffic traffic;
    double floor, sent; /* seconds of an iteration, and of its collectives */
    int iterations;     /* at most */
} bin_plan;

typedef struct {
    const train_setup *s;
    train_cluster cluster;
    osv_model shapes;      /* all here is of the rank that has most */
    int units;             /* 0: one replica trains all jobs, which no units divide */
    int unit;              /* the one at hand */
    osv_training training; /* of it */
    train_memory memory;
    bin_plan *bin;
    int bins;
    long live, frozen, scored, asked; /* tokens over all bins; asked: of all sequences, without sharing */
    const bin_plan *largest;
    double flops;
    osv_traffic traffic;
    osv_rates rates;    /* of what a rank computes on */
    bool assumed;       /* there is no such machine here */
    double floor, sent; /* seconds of an iteration of every bin, and of its collectives */
    double run;         /* seconds until the last replica has ended */
} work_plan;

/* How many floors an iteration takes. On a CPU as measured (bench/results); on a GPU what is aimed at: it has
 * not been measured yet. */
static double floors(const work_plan *p)
{
    return p->assumed ? 1 / 0.65 : 1.6;
}

/* A GPU is taken for an H100: large products and copies as such cards are commonly measured. The host is
 * measured, in a fifth of a second, and shared by the ranks on it. */
static void find_rates(work_plan *p, bool on_gpu)
{
    const osv_footprint *f = &p->s->m.footprint;
    int sharing = p->s->options->machine.threads > 0 ? 1 : p->cluster.on_host;
    p->assumed = on_gpu;
    if (p->assumed) {
        p->rates = (osv_rates){f->dtype == OSV_DTYPE_BF16 ? 7e14 : 5e13, 3e12};
        return;
    }
    osv_rates host = osv_host_rates(p->s->m.threads, (size_t)1 << 24, 0);
    p->rates = (osv_rates){host.flops / sharing, host.bandwidth / sharing};
}

static double iteration_seconds(const work_plan *p, double floor, double sent)
{
    return floors(p) * floor + sent;
}

/* What of the bytes of a bin are keys and values, and what is not of a pass. */
static void divide_bytes(bin_plan *b, const work_plan *p, const osv_batch *batch)
{
    osv_switches on = p->training.on;
    on.recompute = b->size.recompute;
    b->vectors = b->size.bytes - osv_plan_bytes(&p->shapes, batch, &on, p->s->error);
    b->kv = 2 * (size_t)(batch->end_block - batch->first_block) * (size_t)batch->slots *
            (size_t)(p->shapes.shard.K * p->shapes.config.E) * sizeof(osv_real);
}

static void add_up(work_plan *p, const bin_plan *b)
{
    p->live += b->size.rows;
    p->frozen += b->size.frozen;
    p->scored += b->size.scored;
    p->flops += b->cost.flops;
    p->traffic.calls += b->traffic.calls;
    p->traffic.bytes += b->traffic.bytes;
    p->floor += b->floor;
    p->sent += b->sent;
    if (!p->largest || b->size.bytes > p->largest->size.bytes) p->largest = b;
}

static int add_bin(void *context, const int *job, const osv_bin_size *size)
{
    work_plan *p = context;
    osv_batch *batch;
    bin_plan *b = &p->bin[p->bins++];
    OSV_TRY(osv_bin_batch(&batch, &p->training, job, size->jobs, false));
    *b = (bin_plan){.unit = p->unit,
                    .size = *size,
                    .first_block = batch->first_block,
                    .end_block = batch->end_block,
                    .cost = osv_iteration_cost(&p->shapes, batch),
                    .traffic = osv_bin_traffic(&p->training, batch, job, size->jobs, size->recompute),
                    .floor = osv_floor(&p->shapes, batch, p->rates.flops, p->rates.bandwidth)};
    b->sent = train_cluster_seconds(&p->cluster, b->traffic);
    for (int i = 0; i < size->jobs; i++) {
        int iterations = p->training.job[job[i]].options.max_iters;
        if (iterations > b->iterations) b->iterations = iterations;
    }
    divide_bytes(b, p, batch);
    osv_batch_free(batch);
    add_up(p, b);
    return osv_ops_status(p->training.ops);
}

static int add_unit(work_plan *p, const int *job, int jobs)
{
    train_jobs some;
    int status = train_jobs_select(&some, &p->s->jobs, job, jobs, p->s->error);
    p->training.job = some.job;
    p->training.jobs = some.jobs;
    if (!status) status = osv_pack_each_ready(&p->training, add_bin, p);
    train_jobs_free(&some);
    return status;
}

static int add_units(work_plan *p)
{
    osv_units u;
    if (p->cluster.replicas == 1) return osv_pack_each_ready(&p->training, add_bin, p);
    OSV_TRY(osv_units_plan(&u, &p->training, p->cluster.replicas));
    int status = OSV_OK;
    for (p->units = u.units; p->unit < p->units && !status; p->unit++)
        status = add_unit(p, u.job + u.first[p->unit], u.first[p->unit + 1] - u.first[p->unit]);
    osv_units_free(&u);
    return status;
}

static int find_run(work_plan *p)
{
    int units = p->units > 0 ? p->units : 1;
    double *seconds = calloc((size_t)units, sizeof *seconds);
    if (!seconds) return OSV_FAIL(p->s->error, OSV_DEVICE, "out of memory");
    for (int i = 0; i < p->bins; i++) {
        const bin_plan *b = &p->bin[i];
        seconds[b->unit] += b->iterations * iteration_seconds(p, b->floor, b->sent);
    }
    int status = train_cluster_makespan(&p->run, &p->cluster, seconds, units, p->s->error);
    free(seconds);
    return status;
}

static int make(work_plan *p, const train_setup *s)
{
    osv_error *e = s->error;
    osv_shard shard;
    bool on_gpu = strcmp(s->m.footprint.backend, "cuda") == 0;
    *p = (work_plan){.s = s};
    OSV_TRY(train_cluster_make(&p->cluster, s->options, on_gpu, e));
    OSV_TRY(osv_shard_make(&shard, &s->m.config, 0, p->cluster.tp, e));
    shard = osv_shard_widest(&s->m.config, p->cluster.tp);
    OSV_TRY(osv_model_alloc(&p->shapes, &s->m.config, &shard, e));
    osv_model_shapes(&p->shapes, train_memory_format(&s->m.footprint, &s->m.config));
    find_rates(p, on_gpu);
    OSV_TRY(train_memory_plan(&p->memory, s->options->memory, osv_teacher_bytes(&s->lessons.teacher),
                              &s->m.footprint, &p->shapes, p->cluster.on_host, e));
    p->training = (osv_training){.ops = s->m.ops,
                                 .comm = s->m.comm,
                                 .model = &p->shapes,
                                 .on = osv_all_on,
                                 .job = s->jobs.job,
                                 .jobs = s->jobs.jobs,
                                 .memory = p->memory.bin};
    for (int c = 0; c < s->jobs.completions; c++) p->asked += osv_sequence_tokens(&s->jobs.sequence[c]);
    p->bin = calloc((size_t)s->jobs.jobs + 1, sizeof *p->bin);
    if (!p->bin) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    OSV_TRY(add_units(p));
    return find_run(p);
}

static size_t peak(const work_plan *p)
{
    return train_memory_taken(&p->memory, &p->s->m.footprint) + p->largest->size.bytes;
}

/* ---- text ---- */

static void print_ranks(const work_plan *p)
{
    const train_cluster *c = &p->cluster;
    char sent[24];
    printf(
        "ranks          %d on %d host%s: %d replica%s of the model, %d rank%s each; all here is of the rank "
        "that has most\n",
        c->ranks, c->hosts, c->hosts == 1 ? "" : "s", c->replicas, c->replicas == 1 ? "" : "s", c->tp,
        c->tp == 1 ? "" : "s");
    if (c->tp > 1)
        printf("collectives    %ld with %s an iteration of every job: %.4g s of its time (assumed: %.3g us "
               "each, and %.4g GB/s)\n",
               p->traffic.calls, osv_show_bytes(sent, sizeof sent, p->traffic.bytes), p->sent,
               c->latency * 1e6, c->bandwidth * 1e-9);
}

static void print_time(const work_plan *p)
{
    printf("work           %.4g GFLOP an iteration of every job\n", p->flops * 1e-9);
    printf("time           %.4g s an iteration of every job expected, floor %.4g s (%s: %.4g GFLOP/s, %.4g "
           "GB/s)\n",
           iteration_seconds(p, p->floor, p->sent), p->floor,
           p->assumed ? "an H100 is assumed" : "measured now", p->rates.flops * 1e-9,
           p->rates.bandwidth * 1e-9);
    if (p->cluster.ranks > 1) print_ranks(p);
    printf("run            %.4g min at most, %.4g hours of ranks in all\n", p->run / 60,
           p->run * p->cluster.ranks / 3600);
}

static void print_memory(const work_plan *p)
{
    const train_setup *s = p->s;
    const train_memory *m = &p->memory;
    const bin_plan *b = p->largest;
    char all[24], limit[24], weights[24], largest[24], kv[24], vectors[24], rest[24];
    printf("memory         %s at most, of %s: weights %s, largest bin %s (%zu bytes; keys and values %s, "
           "vectors %s), scratch and libraries %s\n",
           osv_show_bytes(all, sizeof all, peak(p)), osv_show_bytes(limit, sizeof limit, m->limit),
           osv_show_bytes(weights, sizeof weights, m->weights),
           osv_show_bytes(largest, sizeof largest, b->size.bytes), b->size.bytes,
           osv_show_bytes(kv, sizeof kv, b->kv), osv_show_bytes(vectors, sizeof vectors, b->vectors),
           osv_show_bytes(rest, sizeof rest, m->fixed + m->runtime));
    if (m->teacher > 0)
        printf("teacher        %zu distributions over %d tokens, %s of host memory\n",
               osv_teacher_rows(&s->lessons.teacher), s->m.config.V,
               osv_show_bytes(all, sizeof all, m->teacher));
    if (m->bin == 0) printf("               more than there is: planned as if it were enough\n");
}

static void print_text(const work_plan *p)
{
    const train_setup *s = p->s;
    const osv_footprint *f = &s->m.footprint;
    printf("backend        %s, %s\n", f->backend, f->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32");
    printf("jobs           %d in %d bin%s", s->jobs.jobs, p->bins, p->bins == 1 ? "" : "s");
    if (p->units > 0) printf(" of %d units", p->units);
    printf("\n");
    printf("completions    %d of %ld tokens, not counting each one's last\n", s->jobs.completions, p->asked);
    printf("live tokens    %ld (computed in each iteration)\n", p->live);
    printf("frozen tokens  %ld (computed once)\n", p->frozen);
    printf("shared tokens  %ld (the same as others, not computed again)\n", p->asked - p->live - p->frozen);
    printf("scored tokens  %ld\n", p->scored);
    print_time(p);
    print_memory(p);
    printf("\n  bin   jobs   live  frozen  scored  blocks       recomputed       bytes      GFLOP  GB read   "
           " floor s\n");
    for (int i = 0; i < p->bins; i++) {
        const bin_plan *b = &p->bin[i];
        printf("%5d  %5d  %5d  %6d  %6d  %3d to %-4d  %10d  %10zu  %9.4g  %7.4g  %9.4g\n", i, b->size.jobs,
               b->size.rows, b->size.frozen, b->size.scored, b->first_block, b->end_block - 1,
               b->size.recompute, b->size.bytes, b->cost.flops * 1e-9,
               (b->cost.weight_bytes + b->cost.kv_bytes) * 1e-9, b->floor);
    }
}

/* ---- JSON ---- */

static json_t *bin_json(const bin_plan *b)
{
    return json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, "
        "s:f}",
        "unit", b->unit, "jobs", b->size.jobs, "live_tokens", b->size.rows, "frozen_tokens", b->size.frozen,
        "scored_tokens", b->size.scored, "first_block", b->first_block, "last_block", b->end_block - 1,
        "recomputed_blocks", b->size.recompute, "iterations", b->iterations, "bytes",
        (json_int_t)b->size.bytes, "kv_bytes", (json_int_t)b->kv, "vector_bytes", (json_int_t)b->vectors,
        "collectives", (json_int_t)b->traffic.calls, "collective_bytes", (json_int_t)b->traffic.bytes,
        "flops", b->cost.flops, "weight_bytes_read", b->cost.weight_bytes, "kv_bytes_read", b->cost.kv_bytes,
        "floor_seconds", b->floor, "collective_seconds", b->sent);
}

/* What the seconds stand on. */
static json_t *rates_json(const work_plan *p)
{
    return json_pack("{s:b, s:f, s:f, s:f, s:f, s:f}", "machine_assumed", p->assumed, "flops_per_second",
                     p->rates.flops, "bytes_per_second", p->rates.bandwidth, "floors", floors(p),
                     "collective_latency_seconds", p->cluster.latency, "collective_bytes_per_second",
                     p->cluster.bandwidth);
}

static int print_json(const work_plan *p)
{
    const train_setup *s = p->s;
    const train_cluster *c = &p->cluster;
    json_t *bins = json_array();
    for (int i = 0; i < p->bins; i++) json_array_append_new(bins, bin_json(&p->bin[i]));
    json_t *all = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o, "
        "s:I, "
        "s:I, "
        "s:o, s:o}",
        "backend", s->m.footprint.backend, "dtype", s->m.footprint.dtype == OSV_DTYPE_BF16 ? "bf16" : "f32",
        "ranks", c->ranks, "tp", c->tp, "replicas", c->replicas, "hosts", c->hosts, "units", p->units, "jobs",
        s->jobs.jobs, "completions", s->jobs.completions, "live_tokens", (json_int_t)p->live, "frozen_tokens",
        (json_int_t)p->frozen, "shared_tokens", (json_int_t)(p->asked - p->live - p->frozen), "scored_tokens",
        (json_int_t)p->scored, "flops", p->flops, "floor_seconds", p->floor, "collective_seconds", p->sent,
        "expected_seconds", iteration_seconds(p, p->floor, p->sent), "run_seconds", p->run, "rates",
        rates_json(p), "bytes", (json_int_t)p->largest->size.bytes, "peak_bytes", (json_int_t)peak(p),
        "memory", train_memory_json(&p->memory), "bins", bins);
    if (!all) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory for the plan");
    json_dumpf(all, stdout, JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
    return OSV_OK;
}

int train_plan_print(train_setup *s)
{
    work_plan p;
    int status = make(&p, s);
    if (!status && s->options->json) status = print_json(&p);
    if (!status && !s->options->json) print_text(&p);
    osv_model_free(&p.shapes);
    free(p.bin);
    return status ? status : osv_program_flush(s->error);
}
