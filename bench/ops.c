/* bench-ops: every operator of a filling, on the shapes of models, beside what the machine can do in the same
 * run. CSV on standard output; bench/README.md says what the columns mean. */
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/models.h"
#include "bench/op_cost.h"
#include "bench/op_shapes.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "kernels/backend.h"
#include "tools/options.h"
#include "tools/tool_model.h"

static const char program[] = "bench-ops";

/* ---- options ---- */

typedef struct {
    osv_machine machine;
    const char *models, *ops, *rows, *longs;
    double seconds;
    bool quick, help;
} ops_options;

#define FIELD(name) .offset = offsetof(ops_options, name)

static const osv_option option_table[] = {
    {"model", "NAME,..", NULL, "shapes; NAME/8: one of 8 ranks (default: small ones on a CPU, 5 on a GPU)",
     OSV_OPTION_TEXT, FIELD(models), .group = "What is measured:"},
    {"op", "NAME,..", NULL, "only these operators", OSV_OPTION_TEXT, FIELD(ops)},
    {"rows", "N,..", NULL, "rows at once (default: 64; on a GPU 64,1024)", OSV_OPTION_TEXT, FIELD(rows)},
    {"long", "N,..", "512,2048", "tokens of long segments in attention", OSV_OPTION_TEXT, FIELD(longs)},
    {"seconds", "X", "0.3", "for each figure", OSV_OPTION_NUMBER, FIELD(seconds), .low = 0, .high = 3600},
    {"quick", NULL, NULL, "small baselines, no long segments: to try the program", OSV_OPTION_FLAG,
     FIELD(quick)},
    TOOL_MACHINE_OPTIONS,
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

/* ---- one figure ---- */

typedef struct {
    const ops_options *options;
    osv_ops *o;
    osv_rates rates;
    osv_copies copies;
    const char *model;
} bench;

static void run_call(osv_ops *o, void *state, int turn)
{
    op_call *call = state;
    (void)o;
    call[turn].kind->run(&call[turn]);
}

static void print(const bench *b, const op_call *c, const char *text, int rows, double seconds)
{
    double flops = op_flops(c), moved = op_bytes_moved(c);
    double floor = fmax(flops / b->rates.flops, moved / b->rates.bandwidth);
    printf("%s,%s,%s,%d,%.3f,%.1f,%.1f,%.2f,%.1f,%.3f,%.2f\n", b->model, c->kind->name, text, rows,
           1e6 * seconds, 1e-9 * flops / seconds, 100 * flops / seconds / b->rates.flops,
           1e-9 * moved / seconds, 100 * moved / seconds / osv_copy_rate(&b->copies, moved), 1e6 * floor,
           seconds / floor);
    fflush(stdout);
}

/* The first call is made on the host, the others are copies of it. */
static void measure(void *context, const op_kind *kind, const void *shape, const char *text, int rows)
{
    const bench *b = context;
    if (osv_ops_status(b->o) || !bench_listed(b->options->ops, kind->name)) return;
    op_call first;
    op_call_make(&first, kind, shape, b->o);
    int copies = bench_copies(b->o, op_bytes_moved(&first), op_bytes_held(&first));
    op_call *call = calloc((size_t)copies, sizeof *call);
    if (!call) OSV_FAIL(b->o->error, OSV_DEVICE, "out of memory");
    for (int i = 0; call && i < copies; i++) op_call_copy(&call[i], &first);
    bench_work w = {run_call, call, copies};
    double seconds = call && !osv_ops_status(b->o) ? bench_time(b->o, &w, b->options->seconds) : NAN;
    if (!osv_ops_status(b->o)) print(b, &first, text, rows, seconds);
    for (int i = 0; call && i < copies; i++) op_call_free(&call[i]);
    free(call);
    op_call_free(&first);
}

/* ---- all of them ---- */

typedef struct {
    bench_model model[BENCH_MODELS];
    int models, rows[BENCH_NUMBERS], row_counts, longs[BENCH_NUMBERS], long_counts;
} plan;

static int make_plan(plan *p, const ops_options *o, bool device, osv_error *e)
{
    const char *models = o->models ? o->models
                         : device  ? "llama-3.2-1b,llama-3.1-8b,llama-3.1-70b/8,gemma-2-2b,gemma-2-9b"
                                   : "llama-60m,qwen2.5-0.5b";
    const char *rows = o->rows ? o->rows : device ? "64,1024" : "64";
    OSV_TRY(bench_models_parse(p->model, &p->models, models, e));
    OSV_TRY(bench_numbers_parse(p->rows, &p->row_counts, rows, "rows", e));
    OSV_TRY(bench_numbers_parse(p->longs, &p->long_counts, o->longs, "long", e));
    if (o->quick) p->long_counts = 0;
    return OSV_OK;
}

/* The filling is opened anew for each model: weights that it has placed go when it is closed. */
static int measure_model(bench *b, const plan *p, const bench_model *m, osv_error *e)
{
    op_visitor visitor = {b, measure};
    OSV_TRY(osv_backend_open(&b->o, &b->options->machine, e));
    b->model = m->name;
    for (int i = 0; i < p->row_counts; i++) op_shapes_rows(&visitor, &m->config, &m->shard, p->rows[i]);
    for (int i = 0; i < p->long_counts; i++) op_shapes_long(&visitor, &m->config, &m->shard, p->longs[i]);
    b->o->close(b->o);
    return e->status;
}

static int start(bench *b, osv_ops *base, osv_error *e)
{
    const ops_options *o = b->options;
    osv_rates_size size = o->quick ? OSV_RATES_QUICK : OSV_RATES_WHOLE;
    bench_report_start(base, program, o->machine.threads, o->machine.device);
    b->rates = osv_measure_rates(base, o->machine.threads, size);
    osv_measure_copies(&b->copies, base, o->quick ? 0 : o->seconds, size);
    if (e->status) return e->status;
    bench_report_rates(base, b->rates);
    printf("# copies (bytes read and written, GB/s):");
    for (int i = 0; i < b->copies.count; i++)
        printf("%s %.0f %.2f", i ? "," : "", b->copies.moved[i], 1e-9 * b->copies.rate[i]);
    printf("\nmodel,operator,shape,rows,us,gflops,percent_of_matmul,gbytes_per_s,percent_of_copy,floor_us,"
           "ratio\n");
    return OSV_OK;
}

static int run(ops_options *o, osv_error *e)
{
    static plan p;
    osv_ops *base;
    bench b = {.options = o};
    if (o->machine.threads <= 0) o->machine.threads = omp_get_num_procs();
    OSV_TRY(osv_backend_open(&base, &o->machine, e));
    int status = make_plan(&p, o, osv_on_device(base), e);
    if (!status) status = start(&b, base, e);
    for (int i = 0; i < p.models && !status; i++) status = measure_model(&b, &p, &p.model[i], e);
    if (!status) bench_report_end(base, o->machine.device);
    base->close(base);
    return status;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    ops_options options = {.machine = TOOL_MACHINE_DEFAULT};
    int status = osv_options_parse(option_table, argc, argv, &options, &e);
    if (!status && options.help)
        osv_options_help(stdout, option_table, "usage: bench-ops [options]\n", "");
    else if (!status)
        status = run(&options, &e);
    if (status) fprintf(stderr, "%s: %s\n", program, e.text);
    return status;
}
