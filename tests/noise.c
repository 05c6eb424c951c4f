/* Training with noise: what the draws are, and where gradients are taken. (Jobs with and without noise in one
 * bin: tests/alone.c.) */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/noise.h"
#include "kernels/ops.h"
#include "optim/random.h"
#include "optim/train.h"
#include "tests/toy.h"

enum { D = 64, MANY = 2000 };

static double dot(const osv_real *a, const osv_real *b)
{
    double sum = 0;
    for (int d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

/* The draw alone: at p = 0. */
static void draw(osv_ops *o, osv_real *n, const osv_real *g, osv_noise_kind kind, int place)
{
    const osv_real zero[D] = {0};
    const osv_noise noise = {
        .draws = 1, .kind = kind, .scale = 0.5, .seed = {3}, .name = {4}, .place = place};
    o->noise(o, n, zero, g, &noise, 0, D, 1);
}

Test(noise, draws_are_normal_and_lose_what_their_kind_says)
{
    osv_error e = {0};
    osv_ops *o = NULL;
    cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_F32, &e), OSV_OK);
    osv_real g[D], n[D], before[D] = {0}, anti[D];
    for (int d = 0; d < D; d++) g[d] = (osv_real)sin(d + 1.0);
    double sum = 0, squares = 0, lost = 0;
    int gains = 0;
    for (int place = 0; place < MANY; place++) {
        draw(o, n, g, OSV_NOISE_PLAIN, place);
        for (int d = 0; d < D; d++) sum += (double)n[d], squares += (double)n[d] * (double)n[d];
        double along = dot(n, g);
        draw(o, anti, g, OSV_NOISE_ANTI, place);
        for (int d = 0; d < D; d++) lost = fmax(lost, fabs((double)(anti[d] - (n[d] - before[d]))));
        memcpy(before, n, sizeof n);
        draw(o, n, g, OSV_NOISE_TANGENT, place);
        cr_assert(fabs(dot(n, g)) <= 1e-5, "%g", dot(n, g));
        draw(o, n, g, OSV_NOISE_NO_GAIN, place);
        cr_assert(fabs(dot(n, g) - fmax(along, 0)) <= 1e-5, "%g, not %g", dot(n, g), along);
        gains += along < 0;
    }
    const double all = (double)D * MANY;
    cr_expect(fabs(sum / all) <= 5 * 0.5 / sqrt(all), "mean %g", sum / all);
    cr_expect(fabs(squares / all - 0.25) <= 5 * 0.25 * sqrt(2 / all), "variance %g", squares / all);
    cr_expect(abs(gains - MANY / 2) <= 5 * sqrt(MANY) / 2, "%d of %d draws would lower the loss", gains,
              MANY);
    cr_expect(lost <= 1e-6, "anti: %g", lost);
    o->close(o);
}

/* ---- training ---- */

enum { IDS = 10, WIDTH = 24 };

/* Loss and norm of the gradient before the first step. */
typedef struct {
    double loss, grad_norm;
} first;

static int keep_first(void *context, const osv_report *r, osv_error *e)
{
    (void)e;
    if (r->iter == 0 && r->stopped == OSV_RUNNING) *(first *)context = (first){r->loss, r->grad_norm};
    return OSV_OK;
}

static first measure(const toy *t, osv_ops *o, const float *init, double noise)
{
    static const int ids[IDS] = {1, 5, 9, 30, 2, 7, 11, 3, 8, 4};
    static const signed char steer[IDS] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    osv_sequence sequence = {.count = IDS, .prompt = 6, .ids = ids, .steer = steer, .kind = OSV_PROMOTE};
    osv_job job = {
        .name = "a", .layer = 1, .options = osv_job_defaults(), .completions = 1, .sequence = &sequence};
    job.options.init = init;
    job.options.noise = noise;
    job.options.max_iters = 1;
    osv_comm *comm;
    first out = {NAN, NAN};
    cr_assert_eq(osv_comm_self_open(&comm, o->error), OSV_OK);
    const osv_training training = {.ops = o,
                                   .comm = comm,
                                   .model = &t->model,
                                   .on = osv_all_on,
                                   .job = &job,
                                   .jobs = 1,
                                   .observer = {.context = &out, .report = keep_first}};
    cr_assert_eq(osv_train(&training), OSV_OK, "%s", o->error->text);
    comm->close(comm);
    return out;
}

/* The gradient of a step with noise is that of a vector which starts where the noise leads. */
Test(noise, gradients_are_taken_at_the_draw_and_losses_are_not)
{
    osv_error e = {0};
    osv_ops *o = NULL;
    toy t = toy_make(TOY_GEMMA2, 3, 5);
    cr_assert_eq(osv_ref_open(&o, OSV_DTYPE_F32, &e), OSV_OK);
    cr_assert_eq(osv_model_place(&t.model, o), OSV_OK, "%s", e.text);
    float at[WIDTH], moved[WIDTH];
    osv_noise n = {.draws = 1, .scale = (osv_real)0.3};
    osv_random_noise(&n, 0, "a");
    for (int d = 0; d < WIDTH; d++) at[d] = (float)sin(3.0 * d);
    for (int d = 0; d < WIDTH; d++) moved[d] = (float)((double)at[d] + osv_noise_draw(&n, 0, WIDTH, d));
    first plain = measure(&t, o, at, 0), there = measure(&t, o, moved, 0), noisy = measure(&t, o, at, 0.3);
    cr_expect(noisy.loss == plain.loss, "%.17g, not %.17g", noisy.loss, plain.loss);
    cr_expect(fabs(noisy.grad_norm / there.grad_norm - 1) <= 1e-5, "%g, not %g", noisy.grad_norm,
              there.grad_norm);
    cr_expect(fabs(there.grad_norm / plain.grad_norm - 1) > 1e-3, "the noise would not be seen");
    o->close(o);
    toy_free(&t);
}
