/* Scans (optim/scan.h): at every block the gradient is that of a job which steers there, the decrease that is
 * predicted is what a small step gives, and the blocks that are suggested are the best ones. In the double
 * build on `ref`, else on the fillings. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "optim/once.h"
#include "optim/pack.h"
#include "optim/scan.h"
#include "tests/toy.h"
#ifndef OSV_DOUBLE
#include "tests/emu/device_emu.h"
#endif

enum { N = 4, D = 24, JOBS = 3, COMPLETIONS = 3, TOKENS = 16 };

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    toy toy;
    int ids[JOBS][COMPLETIONS][TOKENS];
    signed char steer[JOBS][COMPLETIONS][TOKENS];
    osv_sequence sequence[JOBS][COMPLETIONS];
    osv_goal goal[COMPLETIONS];
    osv_job job[JOBS];
    osv_training training;
} setting;

static int below(unsigned *s, int n)
{
    int x = (int)((toy_random(s) + 1) / 2 * n);
    return x < n ? x : n - 1;
}

/* Completions that begin alike, steered from some token on, some with the other sign. */
static void make_job(setting *s, int j, unsigned *seed)
{
    static const osv_score_kind kinds[COMPLETIONS] = {OSV_PROMOTE, OSV_ONE_MINUS, OSV_NEGATED};
    static const char *const names[JOBS] = {"a", "b", "c"};
    for (int c = 0; c < COMPLETIONS; c++) {
        int prompt = 3 + below(seed, 6), count = prompt + 1 + below(seed, 4),
            same = c ? below(seed, prompt) : 0;
        int from = below(seed, prompt), sign = c == 2 ? -1 : 1;
        for (int t = 0; t < count; t++) {
            s->ids[j][c][t] = t < same ? s->ids[j][0][t] : below(seed, s->toy.model.config.V);
            s->steer[j][c][t] = (signed char)(t < from ? 0 : sign);
        }
        s->sequence[j][c] = (osv_sequence){
            .count = count, .prompt = prompt, .ids = s->ids[j][c], .steer = s->steer[j][c], .kind = kinds[c]};
    }
    s->job[j] = (osv_job){.name = names[j],
                          .layer = below(seed, N), /* a scan does not care */
                          .form = {.kind = OSV_FORM_CLAMP, .clamp = 1},
                          .options = osv_job_defaults(),
                          .completions = COMPLETIONS,
                          .sequence = s->sequence[j],
                          .goal = s->goal};
    s->job[j].options.length_norm = j == 1;
    s->job[j].options.coldness = j == 2 ? 1 : 0.7;
}

typedef int opener(osv_ops **o, osv_error *error);

static void open_setting(setting *s, opener *open, unsigned seed)
{
    memset(s, 0, sizeof *s);
    s->toy = toy_make((toy_family)(seed % TOY_FAMILIES), N, seed);
    cr_assert_eq(s->toy.model.config.D, D);
    cr_assert_eq(open(&s->ops, &s->error), OSV_OK, "%s", s->error.text);
    cr_assert_eq(osv_comm_self_open(&s->comm, &s->error), OSV_OK);
    cr_assert_eq(osv_model_place(&s->toy.model, s->ops), OSV_OK);
    for (int c = 0; c < COMPLETIONS; c++) {
        s->goal[c] = osv_goal_plain;
        s->goal[c].weight = 1 + 0.5 * c;
    }
    for (int j = 0; j < JOBS; j++) make_job(s, j, &seed);
    s->training = (osv_training){.ops = s->ops,
                                 .comm = s->comm,
                                 .model = &s->toy.model,
                                 .on = osv_all_on,
                                 .job = s->job,
                                 .jobs = JOBS};
}

static void close_setting(setting *s)
{
    s->comm->close(s->comm);
    s->ops->close(s->ops);
    toy_free(&s->toy);
}

static void nothing(void *context, osv_ops *o, const char *name, int number)
{
    (void)context, (void)o, (void)name, (void)number;
}

/* What training of `job`, from the vector v (NULL: zeros) added at block l, begins with: the gradient, and
 * what is optimized. */
static double first_step(setting *s, osv_real dv[D], osv_job job, int l, const float *v)
{
    osv_training one = s->training;
    osv_once once;
    osv_real loss[COMPLETIONS];
    double sum = 0;
    const int first = 0;
    job.layer = l;
    job.form = (osv_form){.kind = OSV_FORM_ADD};
    job.options.init = v;
    job.options.init_norm = 0;
    one.job = &job;
    cr_assert_eq(osv_once_open(&once, &one, &first, 1), OSV_OK, "%s", s->error.text);
    osv_once_run(&once, &(osv_watch){.end = nothing});
    s->ops->copy(s->ops, dv, once.dv, D * sizeof *dv, OSV_TO_HOST);
    s->ops->copy(s->ops, loss, once.loss, (size_t)job.completions * sizeof *loss, OSV_TO_HOST);
    s->ops->sync(s->ops, 0);
    osv_once_close(&once);
    for (int c = 0; c < job.completions; c++) sum += job.goal[c].weight * (double)loss[c];
    return sum;
}

static double norm_of(const osv_real *x)
{
    double sum = 0;
    for (int i = 0; i < D; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void check_near(double a, double b, double scale, double most, const char *what, int j, int l)
{
    cr_assert(fabs(a - b) <= most * scale, "%s of job %d, block %d: %.15g, expected %.15g", what, j, l, a, b);
}

static void check_dv(const double *a, const osv_real *b, double most, int j, int l)
{
    double difference = 0;
    for (int i = 0; i < D; i++) difference += pow(a[i] - (double)b[i], 2);
    cr_assert(sqrt(difference) <= most * norm_of(b), "dv of job %d, block %d: %.3g apart", j, l,
              sqrt(difference) / norm_of(b));
}

static void check_blocks(setting *s, const osv_scan *scan, double most)
{
    for (int j = 0; j < JOBS; j++) {
        osv_real dv[D];
        for (int l = 0; l < N; l++) {
            first_step(s, dv, s->job[j], l, NULL);
            check_dv(scan[j].dv + l * D, dv, most, j, l);
            check_near(scan[j].block[l].shared, norm_of(dv), norm_of(dv), most, "|dv|", j, l);
        }
    }
}

/* Of one completion alone, which is steered at one token alone: dv is that token's dx. */
static void check_points(setting *s, double most)
{
    signed char steer[TOKENS];
    osv_sequence q = s->sequence[0][0];
    osv_job job = s->job[0];
    osv_training one = s->training;
    osv_scan scan;
    q.steer = steer;
    job.sequence = &q;
    job.completions = 1;
    one.job = &job;
    one.jobs = 1;
    for (int at = 0; at + 1 < q.count; at++) {
        osv_real dv[D], x[D];
        for (int t = 0; t < q.count; t++) steer[t] = t == at ? -1 : 0;
        cr_assert_eq(osv_scan_jobs(&scan, &one), OSV_OK, "%s", s->error.text);
        cr_assert_eq(scan.tokens, q.count - 1, "unsteered tokens are there");
        for (int l = 0; l < N; l++) {
            const osv_scan_point *p = &scan.point[l * scan.tokens + at];
            const osv_scan_block *b = &scan.block[l];
            first_step(s, dv, job, l, NULL);
            check_near(p->gradient, norm_of(dv), norm_of(dv), most, "|dx|", at, l);
            cr_assert(b->shared == p->gradient && b->apart == p->gradient && b->residual == p->residual);
            check_near(b->alignment, p->alignment, 1, 1e-12, "alignment", at, l);
            if (l > 0) continue;
            const float *row = s->toy.weights + (size_t)q.ids[at] * D; /* embeddings are the first */
            double along = 0;
            for (int i = 0; i < D; i++) x[i] = (osv_real)(s->toy.model.config.embed_scale * (double)row[i]);
            for (int i = 0; i < D; i++) along += (double)x[i] * (double)dv[i];
            check_near(p->residual, norm_of(x), norm_of(x), most, "|x|", at, l);
            double cosine = along / norm_of(x) / norm_of(dv); /* dv is -dx */
            check_near(p->alignment, cosine, 1, 10 * most, "alignment", at, l);
        }
        cr_assert(scan.token[at].sign == -1 && scan.token[at].id == q.ids[at] && scan.token[at].pos == at);
        osv_scan_free(&scan);
    }
}

/* The least that each job can be scanned in. */
static size_t least_memory(const setting *s)
{
    osv_training one = s->training;
    osv_bin_size size;
    size_t least = 0;
    bool fits;
    const int first = 0;
    one.on.freeze = false;
    for (int j = 0; j < JOBS; j++) {
        osv_job job = s->job[j];
        job.layer = 0;
        job.form = (osv_form){.kind = OSV_FORM_ADD};
        one.job = &job;
        cr_assert_eq(osv_pack_measure(&size, &fits, &one, &first, 1, 1), OSV_OK);
        if (size.bytes > least) least = size.bytes;
    }
    return least;
}

/* So little memory that there are several bins, which compute blocks again. */
static void check_bins(setting *s, const osv_scan *whole, double most)
{
    osv_training small = s->training;
    osv_scan scan[JOBS];
    small.memory = least_memory(s);
    cr_assert_eq(osv_scan_jobs(scan, &small), OSV_OK, "%s", s->error.text);
    for (int j = 0; j < JOBS; j++) {
        cr_assert_eq(scan[j].tokens, whole[j].tokens);
        check_near(scan[j].loss, whole[j].loss, fabs(whole[j].loss), most, "loss", j, 0);
        for (int i = 0; i < N * scan[j].tokens; i++) {
            const osv_scan_point *a = &scan[j].point[i], *b = &whole[j].point[i];
            check_near(a->residual, b->residual, b->residual, most, "|x|", j, i);
            check_near(a->gradient, b->gradient, whole[j].block[i / scan[j].tokens].apart, most, "|dx|", j,
                       i);
        }
        osv_scan_free(&scan[j]);
    }
}

static void check_all(opener *open, unsigned seed, double most)
{
    static setting s;
    osv_scan scan[JOBS];
    open_setting(&s, open, seed);
    cr_assert_eq(osv_scan_jobs(scan, &s.training), OSV_OK, "%s", s.error.text);
    check_blocks(&s, scan, most);
    check_points(&s, most);
    check_bins(&s, scan, most);
    for (int j = 0; j < JOBS; j++) osv_scan_free(&scan[j]);
    close_setting(&s);
}

#ifdef OSV_DOUBLE
static int open_ref(osv_ops **o, osv_error *error)
{
    return osv_ref_open(o, OSV_DTYPE_F32, error);
}

Test(scan, ref)
{
    for (unsigned seed = 1; seed <= 15; seed++) check_all(open_ref, seed, 1e-9);
}

/* A step of length h along -dv lowers what is optimized by h |dv|, along dv it raises it by as much. */
Test(scan, decrease)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        static setting s;
        osv_scan scan[JOBS];
        open_setting(&s, open_ref, seed);
        cr_assert_eq(osv_scan_jobs(scan, &s.training), OSV_OK, "%s", s.error.text);
        for (int j = 0; j < JOBS; j++)
            for (int l = 0; l < N; l++) {
                float down[D], up[D];
                osv_real dv[D];
                double h = 1e-4, shared = scan[j].block[l].shared;
                for (int i = 0; i < D; i++) down[i] = (float)(-h * scan[j].dv[l * D + i] / shared);
                for (int i = 0; i < D; i++) up[i] = -down[i];
                double change = first_step(&s, dv, s.job[j], l, up) - first_step(&s, dv, s.job[j], l, down);
                check_near(change / 2, h * shared, h * shared, 1e-6, "decrease", j, l);
            }
        for (int j = 0; j < JOBS; j++) osv_scan_free(&scan[j]);
        close_setting(&s);
    }
}

/* To add a case: gains of blocks, the blocks that are looked at, what is suggested. */
static const struct {
    double gain[6];
    int layer[6], layers, suggested[OSV_SCAN_MOST], count;
} suggestions[] = {
    {{1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4, 5}, 6, {5, 4}, 2},
    {{6, 5.9, 5.8, 5.7, 5.6, 5.5}, {0, 1, 2, 3, 4, 5}, 6, {0, 1, 2}, 3},
    {{5, 6, 5.5, 6, 5.8, 5.9}, {0, 1, 2, 3, 4, 5}, 6, {1, 3, 5}, 3},
    {{5, 6, 5.5, 6, 5.8, 5.9}, {4, 0}, 2, {4, 0}, 2},
    {{1, 9, 1, 1, 1, 1}, {3, 1}, 2, {1}, 1},
    {{0, 0, 0, 0, 0, 0}, {2}, 1, {2}, 1},
};

Test(scan, suggestions)
{
    for (size_t k = 0; k < sizeof suggestions / sizeof *suggestions; k++) {
        osv_scan_block block[6] = {0};
        const osv_scan scan = {.N = 6, .block = block};
        int suggested[OSV_SCAN_MOST];
        for (int l = 0; l < 6; l++)
            block[l] = (osv_scan_block){.residual = 0.5, .shared = 7, .apart = 2 * suggestions[k].gain[l]};
        int count = osv_scan_suggest(&scan, suggestions[k].layer, suggestions[k].layers, suggested);
        cr_assert_eq(count, suggestions[k].count, "case %zu: %d blocks", k, count);
        for (int i = 0; i < count; i++)
            cr_expect_eq(suggested[i], suggestions[k].suggested[i], "case %zu: %d", k, suggested[i]);
    }
}
#else
static int open_cpu(osv_ops **o, osv_error *error)
{
    return osv_cpu_open(o, OSV_DTYPE_F32, 1, error);
}

static int open_emu(osv_ops **o, osv_error *error)
{
    return osv_emu_open(o, OSV_DTYPE_F32, error);
}

Test(scan, cpu)
{
    for (unsigned seed = 1; seed <= 10; seed++) check_all(open_cpu, seed, 1e-5);
}

Test(scan, cuda_emu, .timeout = 300)
{
    for (unsigned seed = 1; seed <= 2; seed++) check_all(open_emu, seed, 1e-5);
    cr_expect_eq(osv_emu_bytes(), 0);
}
#endif
