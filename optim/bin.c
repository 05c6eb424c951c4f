#include "optim/bin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bump.h"
#include "engine/maths.h"
#include "optim/noise.h"
#include "optim/objective.h"
#include "optim/orthogonal.h"
#include "optim/penalty.h"
#include "optim/share.h"
#include "optim/turn.h"

typedef struct {
    int first, count;
} span;

struct osv_bin {
    const osv_training *t;
    int J, C, D;
    const int *job;        /* [J] */
    osv_job_state **state; /* [J] */
    int *first;            /* [J + 1] completions of the i-th job are first[i] .. first[i + 1) */
    osv_shares own;        /* the jobs as this replica computes them */
    int *rows;             /* [J] of the batch */
    span *directions;      /* [P] that each row of parameters stays orthogonal to */
    osv_batch *batch;
    osv_step *step;

    /* device */
    void *memory;
    osv_real *p;                /* [OSV_HISTORY, P, D] parameters, P as in the batch */
    osv_real *m, *s;            /* [P, D] */
    osv_real *dp;               /* [G, D] */
    osv_real *completion;       /* [C] losses, then rank 0's wish */
    osv_real *own_completion;   /* [batch C] this replica's; in `completion` where it has all */
    osv_real *norm, *grad_norm; /* [P] */
    double *direction;          /* [directions, D] that vectors stay orthogonal to, job by job */
    osv_turn turn;
    osv_objective objective;
    osv_penalties penalties;
    osv_noisy noisy;
    bool bounded; /* any of the completions */

    /* host, one set for even and one for odd iterations: the device may be an iteration ahead */
    osv_turn host_turn[2];
    osv_real host_wish[2];
    osv_real *host_completion[2], *host_norm[2], *host_grad_norm[2], *host_cost[2];
    osv_graph *graph[2];
    bool recorded;
    int submitted;
};

int osv_bin_batch(osv_batch **batch, const osv_training *t, const int *job, int J, bool as_probability)
{
    osv_error *e = t->ops->error;
    int C = 0, bad = -1;
    *batch = NULL;
    for (int i = 0; i < J; i++) C += osv_share_of(&t->job[job[i]], t->data).count;
    osv_sequence *sequence = malloc((size_t)C * sizeof *sequence + 1);
    osv_batch_job *batch_job = malloc((size_t)J * sizeof *batch_job + 1);
    int status = sequence && batch_job ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (status) goto done;
    for (int i = 0, c = 0; i < J; i++) {
        const osv_job *j = &t->job[job[i]];
        const osv_share share = osv_share_of(j, t->data);
        batch_job[i] = (osv_batch_job){.layer = j->layer,
                                       .laters = j->laters,
                                       .later = j->later,
                                       .apart = j->apart,
                                       .form = j->form,
                                       .coldness = j->options.coldness,
                                       .eps = as_probability ? 0 : j->options.eps,
                                       .power = j->options.power};
        for (int k = 0; k < share.count; k++, c++) {
            sequence[c] = j->sequence[share.first + k];
            sequence[c].job = i;
            if (as_probability) sequence[c].kind = OSV_PROMOTE;
        }
    }
    osv_error local = {0};
    status = osv_batch_build(batch, sequence, C, batch_job, J, t->model->config.N, &t->on, &bad, &local);
    if (status && bad >= 0)
        status = OSV_FAIL(e, local.status, "job \"%s\": %s", t->job[job[bad]].name, local.text);
    else if (status)
        status = osv_error_set(e, local.status, local.file, local.line, "%s", local.text);
done:
    free(sequence);
    free(batch_job);
    return status;
}

/* ---- memory ---- */

/* Room for those of all jobs. */
static size_t directions_of(const osv_bin *b)
{
    size_t n = 0;
    for (int i = 0; i < b->J; i++) {
        const osv_job *job = &b->t->job[b->job[i]];
        n += (size_t)(osv_orthogonal_most(job) * osv_job_vectors(job));
    }
    return n;
}

static int most_draws(const osv_bin *b)
{
    int most = 0;
    for (int i = 0; i < b->J; i++) {
        int draws = osv_noise_draws(&b->t->job[b->job[i]]);
        if (draws > most) most = draws;
    }
    return most;
}

static void lay_out(osv_bin *b, osv_bump *memory)
{
    size_t P = (size_t)b->batch->P, G = (size_t)b->batch->G, D = (size_t)b->D, C = (size_t)b->C;
    bool shared = osv_sharers(b->t->data) > 1;
    b->p = osv_take(memory, OSV_HISTORY * P * D, sizeof *b->p);
    b->m = osv_take(memory, P * D, sizeof *b->m);
    b->s = osv_take(memory, P * D, sizeof *b->s);
    b->dp = osv_take(memory, G * D, sizeof *b->dp);
    b->completion = osv_take(memory, C + 1, sizeof *b->completion);
    b->own_completion = shared ? osv_take(memory, (size_t)b->batch->C, sizeof *b->completion) : b->completion;
    b->norm = osv_take(memory, P, sizeof *b->norm);
    b->grad_norm = osv_take(memory, P, sizeof *b->grad_norm);
    b->direction = osv_take(memory, directions_of(b) * D, sizeof *b->direction);
    osv_turn_place(&b->turn, memory, b->batch);
    osv_objective_place(&b->objective, memory, b->batch, b->own.job, NULL, b->J);
    b->objective.weight = b->turn.weight;
    osv_penalties_place(&b->penalties, memory, b->batch, b->t->job, b->job, b->J);
    osv_noisy_place(&b->noisy, memory, b->batch, most_draws(b), b->D);
}

size_t osv_bin_bytes(const osv_training *t, const osv_batch *batch, const int *job, int J, int recompute)
{
    osv_switches on = t->on;
    on.recompute = recompute;
    osv_batch counted = *batch; /* lay_out only reads it and the jobs */
    osv_bin b = {.J = J, .D = t->model->config.D, .batch = &counted, .t = t, .job = job};
    for (int i = 0; i < J; i++) b.C += t->job[job[i]].completions;
    osv_bump own = {0};
    lay_out(&b, &own);
    osv_model widest = *t->model;
    widest.shard = osv_shard_widest(&widest.config, widest.shard.size);
    return own.used + osv_plan_bytes(&widest, batch, &on, t->ops->error);
}

osv_traffic osv_bin_traffic(const osv_training *t, const osv_batch *batch, const int *job, int J,
                            int recompute)
{
    osv_switches on = t->on;
    on.recompute = recompute;
    osv_traffic pass = osv_iteration_traffic(t->model, batch, &on);
    size_t passes = 1 + (size_t)most_draws(&(osv_bin){.t = t, .job = (int *)job, .J = J});
    size_t numbers = (size_t)batch->C + 1 + (size_t)J +
                     (size_t)batch->P * (size_t)t->model->config.D; /* from rank 0 */
    return (osv_traffic){.calls = (long)passes * pass.calls + 3,
                         .bytes = passes * pass.bytes + numbers * sizeof(osv_real)};
}

static int alloc_host(osv_bin *b)
{
    size_t P = (size_t)b->batch->P, C = (size_t)b->C;
    b->directions = calloc(P, sizeof *b->directions);
    if (!b->directions) return OSV_FAIL(b->t->ops->error, OSV_DEVICE, "out of memory");
    for (int k = 0; k < 2; k++) {
        osv_bump turn = {.memory = calloc(b->turn.bytes, 1)};
        osv_turn_place(&b->host_turn[k], &turn, b->batch);
        b->host_completion[k] = calloc(C + 1, sizeof(osv_real));
        b->host_norm[k] = calloc(P, sizeof(osv_real));
        b->host_grad_norm[k] = calloc(P, sizeof(osv_real));
        b->host_cost[k] = calloc((size_t)b->J + 1, sizeof(osv_real));
        if (!b->host_turn[k].params || !b->host_completion[k] || !b->host_norm[k] || !b->host_grad_norm[k] ||
            !b->host_cost[k])
            return OSV_FAIL(b->t->ops->error, OSV_DEVICE, "out of memory");
    }
    return OSV_OK;
}

/* What vectors stay orthogonal to, to the device. */
static int place_directions(osv_bin *b)
{
    osv_ops *o = b->t->ops;
    size_t D = (size_t)b->D, room = directions_of(b);
    int used = 0;
    double *host = malloc((room * D + 1) * sizeof *host);
    if (!host) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    for (int i = 0; i < b->J; i++) {
        const osv_job *job = &b->t->job[b->job[i]];
        int rows = osv_job_rows(job) / osv_job_vectors(job);
        for (int k = 0; k < osv_job_vectors(job) && osv_orthogonal_most(job) > 0; k++) {
            double *to = host + (size_t)used * D;
            span *own = &b->directions[b->batch->job_param[i] + k * rows];
            *own = (span){used, osv_orthogonal_make(to, job, k, b->t->kept, b->D)};
            used += own->count;
        }
    }
    OP(copy, b->direction, host, (size_t)used * D * sizeof *host, OSV_TO_DEVICE);
    OP(sync, 0); /* it is read until here */
    free(host);
    return osv_ops_status(o);
}

/* The state of every job to the device, or back. */
static void copy_states(osv_bin *b, osv_direction direction)
{
    osv_ops *o = b->t->ops;
    size_t all = (size_t)b->batch->P * (size_t)b->D;
    bool up = direction == OSV_TO_DEVICE;
    for (int i = 0; i < b->J; i++) {
        const osv_job_state *state = b->state[i];
        size_t at = (size_t)b->batch->job_param[i] * (size_t)b->D;
        size_t numbers = (size_t)osv_job_rows(&b->t->job[b->job[i]]) * (size_t)b->D;
        for (int h = 0; h < OSV_HISTORY + 2; h++) {
            osv_real *host = state->vector + (size_t)h * numbers;
            osv_real *device = h < OSV_HISTORY    ? b->p + (size_t)h * all + at
                               : h == OSV_HISTORY ? b->m + at
                                                  : b->s + at;
            OP(copy, up ? device : host, up ? host : device, numbers * sizeof *host, direction);
        }
        osv_multiplier *host = state->multiplier + b->own.share[i].first;
        osv_multiplier *device = b->objective.multiplier + b->own.first[i];
        OP(copy, up ? device : host, up ? host : device, (size_t)b->own.share[i].count * sizeof *host,
           direction);
    }
}

static void release(osv_bin *b)
{
    osv_ops *o = b->t->ops;
    for (int k = 0; k < 2; k++) {
        if (b->graph[k]) o->graph_free(o, b->graph[k]);
        free(b->host_turn[k].params);
        free(b->host_completion[k]);
        free(b->host_norm[k]);
        free(b->host_grad_norm[k]);
        free(b->host_cost[k]);
    }
    osv_step_close(b->step);
    osv_batch_free(b->batch);
    if (b->memory) OP(free, b->memory);
    free((void *)b->job);
    free(b->state);
    free(b->first);
    osv_shares_free(&b->own);
    free(b->rows);
    free(b->directions);
    free(b);
}

/* ---- one iteration ---- */

/* The losses that this replica has found to their places among all, and those of the other replicas. */
static void gather_losses(osv_bin *b)
{
    osv_ops *o = b->t->ops;
    osv_comm *data = b->t->data;
    OP(zero, b->completion, (size_t)b->C * sizeof(osv_real));
    for (int i = 0; i < b->J; i++)
        OP(copy, b->completion + b->first[i] + b->own.share[i].first, b->own_completion + b->own.first[i],
           (size_t)b->own.share[i].count * sizeof(osv_real), OSV_ON_DEVICE);
    data->all_reduce(data, b->completion, (size_t)b->C + 1, OSV_SUM);
}

static void iterate(osv_bin *b, int parity)
{
    osv_ops *o = b->t->ops;
    const osv_training *g = b->t;
    int P = b->batch->P;
    size_t C = (size_t)b->C, all = (size_t)P * (size_t)b->D;
    osv_real *dp = b->noisy.draws > 0 ? b->noisy.mean : b->dp;
    osv_comm *data = osv_sharers(g->data) > 1 ? g->data : NULL;

    OP(copy, b->turn.params, b->host_turn[parity].params, b->turn.bytes, OSV_TO_DEVICE);
    if (!b->t->on.cache_prefix) osv_prefix(b->step);
    osv_forward(b->step, b->p);
    OP(objective, b->step->buffer.w, b->own_completion, b->step->buffer.loss, &b->objective,
       osv_losses_of(&b->batch->live));
    osv_backward(b->step, b->p, b->dp);
    /* What the ranks decide by, and below what they compute with, is rank 0's: they have the same bytes where
     * their processors are the same. */
    OP(copy, b->completion + C, &b->host_wish[parity], sizeof(osv_real), OSV_TO_DEVICE);
    if (data) gather_losses(b);
    ACROSS(broadcast, b->completion, (C + 1) * sizeof(osv_real), 0);
    if (b->noisy.draws > 0) osv_noisy_run(&b->noisy, b->step, b->p, b->dp, b->turn.noise, &b->objective);
    if (data) data->all_reduce(data, dp, all, OSV_SUM);
    osv_penalties_run(&b->penalties, o, dp, b->p, b->D);
    ACROSS(broadcast, b->penalties.cost, (size_t)b->J * sizeof(osv_real), 0);
    OP(norm, b->norm, b->p, b->D, P);
    OP(norm, b->grad_norm, dp, b->D, P);
    OP(copy, b->host_completion[parity], b->completion, (C + 1) * sizeof(osv_real), OSV_TO_HOST);
    OP(copy, b->host_norm[parity], b->norm, (size_t)P * sizeof(osv_real), OSV_TO_HOST);
    OP(copy, b->host_grad_norm[parity], b->grad_norm, (size_t)P * sizeof(osv_real), OSV_TO_HOST);
    OP(copy, b->host_cost[parity], b->penalties.cost, (size_t)b->J * sizeof(osv_real), OSV_TO_HOST);
    for (int h = OSV_HISTORY - 1; h > 0; h--)
        OP(copy, b->p + (size_t)h * all, b->p + (size_t)(h - 1) * all, all * sizeof(osv_real), OSV_ON_DEVICE);
    if (b->bounded) OP(multipliers, b->completion, &b->objective, b->turn.bound);
    OP(adam, b->p, b->m, b->s, dp, b->direction, b->turn.params, b->D, P);
    ACROSS(broadcast, b->p, all * sizeof(osv_real), 0);
    if (data) data->broadcast(data, b->p, all * sizeof(osv_real), 0);
}

void osv_bin_submit(osv_bin *b, bool op_by_op, int wish)
{
    osv_ops *o = b->t->ops;
    int parity = b->submitted++ % 2;
    b->host_wish[parity] = (osv_real)wish;
    for (int i = 0; i < b->J; i++) {
        osv_turn_fill(&b->host_turn[parity], &b->own.job[i], b->state[i], b->batch->job_param[i],
                      b->own.first[i]);
        b->state[i]->steps++;
    }
    for (int row = 0; row < b->batch->P; row++) {
        osv_adam_params *params = &b->host_turn[parity].params[row];
        params->direction = b->directions[row].first;
        params->directions = b->directions[row].count;
    }
    b->recorded = !op_by_op && (b->graph[parity] || o->graph_begin(o));
    if (!b->graph[parity] || op_by_op) iterate(b, parity);
    if (!b->recorded) return;
    if (!b->graph[parity]) b->graph[parity] = o->graph_end(o);
    o->graph_run(o, b->graph[parity]);
}

/* ---- public ---- */

int osv_bin_open(osv_bin **out, const osv_training *t, const int *job, int J, int recompute,
                 osv_job_state *state)
{
    osv_ops *o = t->ops;
    osv_switches on = t->on;
    on.recompute = recompute;
    *out = NULL;
    osv_bin *b = calloc(1, sizeof *b);
    if (!b) return OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    *b = (osv_bin){.t = t, .J = J, .D = t->model->config.D};
    int *own = malloc((size_t)J * sizeof *own + 1);
    b->job = own;
    b->state = malloc((size_t)J * sizeof *b->state + 1);
    b->first = malloc(((size_t)J + 1) * sizeof *b->first);
    b->rows = calloc((size_t)J + 1, sizeof *b->rows);
    int status = b->job && b->state && b->first && b->rows ? OSV_OK
                                                           : OSV_FAIL(o->error, OSV_DEVICE, "out of memory");
    if (status) goto fail;
    for (int i = 0; i < J; i++) {
        own[i] = job[i];
        b->state[i] = &state[job[i]];
        b->first[i] = b->C;
        b->C += t->job[job[i]].completions;
        for (int c = 0; c < t->job[job[i]].completions; c++)
            b->bounded |= !isnan(osv_job_goal(&t->job[job[i]], c).bound);
    }
    b->first[J] = b->C;
    if ((status = osv_shares_make(&b->own, t->job, job, J, t->data, o->error))) goto fail;

    osv_bump bump = {0};
    if ((status = osv_bin_batch(&b->batch, t, job, J, false))) goto fail;
    for (int r = 0; r < b->batch->live.T; r++) b->rows[b->batch->row_job[r]]++;
    if ((status = osv_step_open(&b->step, o, t->comm, t->model, b->batch, &on))) goto fail;
    lay_out(b, &bump);
    b->memory = o->alloc(o, bump.used);
    if ((status = osv_ops_status(o))) goto fail;
    lay_out(b, &(osv_bump){.memory = b->memory, .o = o});
    if ((status = alloc_host(b))) goto fail;
    if ((status = place_directions(b))) goto fail;
    copy_states(b, OSV_TO_DEVICE);
    size_t bytes = OSV_HISTORY * (size_t)b->batch->P * (size_t)b->D * sizeof *b->p;
    t->comm->broadcast(t->comm, b->p, bytes, 0);
    if (osv_sharers(t->data) > 1) t->data->broadcast(t->data, b->p, bytes, 0);
    osv_prefix(b->step);
    if ((status = osv_ops_status(o))) goto fail;
    *out = b;
    return OSV_OK;
fail:
    release(b);
    return status;
}

void osv_bin_save(osv_bin *b)
{
    osv_ops *o = b->t->ops;
    copy_states(b, OSV_TO_HOST);
    OP(sync, 0);
}

void osv_bin_close(osv_bin *b)
{
    if (!b) return;
    osv_bin_save(b);
    release(b);
}

int osv_bin_wish(const osv_bin *b, int iteration)
{
    return (int)b->host_completion[iteration % 2][b->C];
}

bool osv_bin_recorded(const osv_bin *b)
{
    return b->recorded;
}

/* Of the i-th job's vectors together, from the norms of all rows. */
static double norm_of(const osv_bin *b, int i, const osv_real *norm)
{
    const osv_job *job = &b->t->job[b->job[i]];
    int rows = osv_job_rows(job), vectors = 0;
    double squares = 0;
    norm += b->batch->job_param[i];
    for (int r = 0; r < rows; r++) {
        if (osv_job_role(job, r) != OSV_ROW_VECTOR) continue;
        squares += (double)norm[r] * (double)norm[r];
        vectors++;
    }
    return vectors == 1 ? (double)norm[0] : sqrt(squares);
}

void osv_bin_measurement(const osv_bin *b, int iteration, int i, double *losses, double *norm,
                         double *grad_norm, double *size)
{
    int parity = iteration % 2;
    for (int c = b->first[i]; c < b->first[i + 1]; c++)
        losses[c - b->first[i]] = (double)b->host_completion[parity][c];
    *norm = norm_of(b, i, b->host_norm[parity]);
    *grad_norm = norm_of(b, i, b->host_grad_norm[parity]);
    *size = (double)b->host_cost[parity][i];
}

void osv_bin_vector(osv_bin *b, int i, int ago, osv_real *out)
{
    osv_ops *o = b->t->ops;
    size_t at = ((size_t)ago * (size_t)b->batch->P + (size_t)b->batch->job_param[i]) * (size_t)b->D;
    size_t numbers = (size_t)osv_job_rows(&b->t->job[b->job[i]]) * (size_t)b->D;
    OP(copy, out, b->p + at, numbers * sizeof *out, OSV_TO_HOST);
    OP(sync, 0);
}

int osv_bin_rows(const osv_bin *b, int i)
{
    return b->rows[i];
}

int osv_bin_all_rows(const osv_bin *b)
{
    return b->batch->live.T;
}
