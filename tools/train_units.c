#include "tools/train_units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/host.h"
#include "loader/file.h"
#include "optim/output_folder.h"
#include "tools/program.h"
#include "tools/train_join.h"
#include "tools/train_result.h"
#include "tools/train_resume.h"
#include "tools/train_select.h"
#include "tools/train_work.h"

/* Seconds: between two questions of who has nothing to do; and of who trains; how long rank 0 waits for the
 * others when it was interrupted, and a replica that has failed for replica 0 to fail alike. */
static const double PAUSE = 0.1, LOOK = 1, PATIENCE = 10, GRACE = 2;

/* ---- rank 0 of all, and its answers ---- */

static size_t answer(void *context, int rank, const void *request, size_t bytes, void *out)
{
    const train_replicas *r = context;
    unit_request q;
    if (bytes != sizeof q) return 0;
    memcpy(&q, request, sizeof q);
    unit_answer a = unit_queue_answer(r->queue, rank / r->world->tp, &q);
    memcpy(out, &a, sizeof a);
    return sizeof a;
}

static void lose(void *context, int replica)
{
    const train_replicas *r = context;
    unit_queue_lost(r->queue, replica);
}

int train_replicas_open(train_replicas *r, osv_world *w, osv_error *e)
{
    *r = (train_replicas){.world = w, .replicas = 1};
    if (w) r->replica = w->replica;
    if (w) r->replicas = w->size / w->tp;
    if (w && w->rank > 0) return OSV_OK;
    OSV_TRY(unit_queue_open(&r->queue, r->replicas, e));
    if (w) osv_world_serve(w, &(osv_world_service){r, answer, lose});
    return OSV_OK;
}

void train_replicas_close(train_replicas *r)
{
    unit_queue_close(r->queue);
    *r = (train_replicas){0};
}

/* ---- asking ---- */

typedef struct {
    train_setup *s;
    train_replicas *r;
    osv_run_directory *run; /* on rank 0 of all: the whole's, */
    int ended;              /* and how many units have, as was told */
    osv_progress *progress; /* of the unit at hand; NULL: none */
    double looked;          /* seconds, when it last did */
} sharing;

static int ask(const train_replicas *r, unit_request *q, unit_answer *a, osv_error *e)
{
    size_t got = sizeof *a;
    q->run = r->run;
    if (r->queue)
        *a = unit_queue_answer(r->queue, r->replica, q);
    else
        OSV_TRY(osv_world_ask(r->world, q, sizeof *q, a, sizeof *a, &got, e));
    return got == sizeof *a ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "rank 0 gives no answer about units");
}

/* One rank of those that train together asks, and all of them hear the answer. */
static int ask_together(const sharing *h, unit_request *q, unit_answer *a)
{
    typedef struct {
        int status;
        unit_answer answer;
    } told;
    static told all[OSV_RANKS];
    const tool_model *m = &h->s->m;
    told own = {0};
    if (train_setup_writes(h->s)) own.status = ask(h->r, q, &own.answer, h->s->error);
    m->comm->exchange(m->comm, all, &own, sizeof own);
    own = all[0];
    m->sharers->exchange(m->sharers, all, &own, sizeof own);
    OSV_TRY(osv_ops_status(m->ops));
    *a = all[0].answer;
    return all[0].status;
}

void train_replicas_fail(const train_replicas *r, int status)
{
    unit_request q = {.run = r->run, .question = UNIT_STILL, .unit = UNIT_WAIT};
    unit_answer a = {.unit = UNIT_WAIT};
    osv_error ignored = {0};
    if (r->queue) unit_queue_stop(r->queue, status);
    if (r->replica == 0) return;
    for (double start = osv_host_seconds(); osv_host_seconds() - start < GRACE; osv_host_sleep(PAUSE)) {
        if (ask(r, &q, &a, &ignored)) return;
        if (a.unit != UNIT_OVER) continue;
        if (a.status == status) osv_program_mute();
        return;
    }
    q.question = UNIT_LEAVE;
    ask(r, &q, &a, &ignored);
}

/* ---- which units ---- */

static int share_memory(train_setup *s, train_replicas *r)
{
    sharing h = {.s = s, .r = r};
    unit_request q = {.question = UNIT_HELLO, .unit = -1, .memory = s->memory.bin};
    unit_answer a;
    for (;;) {
        OSV_TRY(ask_together(&h, &q, &a));
        if (a.unit == UNIT_OVER) return a.status;
        if (a.unit != UNIT_WAIT) break;
        osv_host_sleep(PAUSE);
    }
    s->memory.bin = a.memory;
    return OSV_OK;
}

static bool has_checkpoint(const char *out)
{
    osv_error ignored = {0};
    char *path;
    if (osv_path_join(&path, out, "checkpoint.safetensors", &ignored)) return false;
    bool there = osv_path_exists(path);
    free(path);
    return there;
}

int train_units_find(train_setup *s, train_replicas *r)
{
    if (r->replicas > 1) OSV_TRY(share_memory(s, r));
    if (train_resume_wanted(s->options)) /* joined already: it is complete */
        return has_checkpoint(s->options->out) ? OSV_OK : train_resume_units(s);
    if (r->replicas == 1) return OSV_OK;
    const osv_training t = train_setup_training(s);
    return osv_units_plan(&s->units, &t, r->replicas);
}

/* ---- a unit ---- */

/* What has become of the other replicas, on rank 0 of all. */
static void tell_news(sharing *h)
{
    unit_queue *q = h->r->queue;
    int units, ended = unit_queue_count(q, &units);
    if (ended != h->ended && !h->s->options->quiet) {
        if (h->progress) osv_progress_end(h->progress);
        fprintf(stderr, "osv-train: %d of %d units done\n", ended, units);
    }
    h->ended = ended;
    for (int lost; (lost = unit_queue_news(q)) >= 0;) {
        if (h->progress) osv_progress_end(h->progress);
        fprintf(stderr, "osv-train: warning: replica %d is lost; others go on with its unit\n", lost);
    }
}

/* Now and then. Where the run is to end it is as if this process had been told so. */
static int look(void *context)
{
    sharing *h = context;
    double now = osv_host_seconds();
    unit_request q = {.question = UNIT_STILL, .unit = UNIT_WAIT};
    unit_answer a;
    if (now - h->looked < LOOK) return OSV_OK;
    h->looked = now;
    if (h->run) {
        tell_news(h);
        OSV_TRY(osv_run_lock_renew(&h->run->lock, h->s->error));
    }
    OSV_TRY(ask(h->r, &q, &a, h->s->error));
    if (a.unit == UNIT_OVER && !osv_program_signal) osv_program_signal = SIGTERM;
    return OSV_OK;
}

/* Who has the lock of OUT hands out its units: the lock of one of them is of a replica that is lost. */
static int unlock(const train_setup *part)
{
    return train_setup_writes(part) ? osv_output_remove(part->options->out, "lock", part->error) : OSV_OK;
}

static int train_part(sharing *h, const train_setup *part, bool *ended)
{
    train_work w = {0};
    train_work_manner how = {.quiet = h->s->options->quiet, .look = look, .context = h};
    OSV_TRY(unlock(part));
    h->progress = &w.report.progress;
    int status = train_work_train(&w, part, how);
    h->progress = NULL;
    *ended = !status && !w.report.interrupted;
    if (*ended && train_setup_writes(part)) status = train_join_prepare(&w);
    int closed = train_work_close(&w);
    return status ? status : closed;
}

static int train_unit(sharing *h, int unit, bool *ended)
{
    train_setup *s = h->s;
    const osv_units *u = &s->units;
    int *job = u->job + u->first[unit], jobs = u->first[unit + 1] - u->first[unit];
    train_options options = *s->options;
    train_setup part = *s;
    char *out;
    part.options = &options;
    part.units = (osv_units){0};
    options.force = options.resume = options.quiet = true; /* what is no run there is replaced */
    OSV_TRY(osv_run_unit_path(s->options->out, unit, &out, s->error));
    options.out = out;
    int status = train_jobs_select(&part.jobs, &s->jobs, job, jobs, s->error);
    if (!status && !s->options->quiet)
        fprintf(stderr, "osv-train: unit %d of %d: %d job%s\n", unit + 1, u->units, jobs,
                jobs == 1 ? "" : "s");
    osv_program_log("unit %d of %d: %d job%s", unit + 1, u->units, jobs, jobs == 1 ? "" : "s");
    if (!status) status = train_part(h, &part, ended);
    train_jobs_free(&part.jobs);
    free(out);
    return status;
}

/* ---- all of them ---- */

/* Trains what it is given until there is nothing left: OSV_OK on replica 0 when all have ended, else how the
 * run was ended. */
static int work(sharing *h)
{
    unit_request q = {.unit = UNIT_WAIT};
    unit_answer a;
    for (;;) {
        int told = osv_program_signal;
        q.question = told ? UNIT_LEAVE : UNIT_NEXT;
        q.status = told == SIGINT ? OSV_INTERRUPTED : OSV_TERMINATED;
        OSV_TRY(ask_together(h, &q, &a));
        if (h->run) tell_news(h);
        if (a.unit == UNIT_ALL) return OSV_OK;
        if (a.unit == UNIT_OVER) return a.status;
        q.unit = a.unit;
        bool ended = false;
        if (a.unit == UNIT_WAIT) {
            osv_host_sleep(PAUSE);
            if (h->run) OSV_TRY(look(h));
        } else {
            OSV_TRY(train_unit(h, a.unit, &ended));
        }
        q.ended = ended;
    }
}

/* Rank 0 of all: the folder of the run, and which of its units have ended. */
static int open_run(osv_run_directory *run, const train_setup *s, unit_queue *q)
{
    osv_saved_run nothing = {0};
    bool resumed = false;
    int units = s->units.units;
    OSV_TRY(train_work_open(run, &nothing, &resumed, s));
    bool *ended = calloc((size_t)units + 1, sizeof *ended);
    int status = ended ? OSV_OK : OSV_FAIL(s->error, OSV_DEVICE, "out of memory for %d units", units);
    for (int k = 0; k < units && !status; k++) status = train_join_ready(&ended[k], s, k);
    if (!status) status = unit_queue_fill(q, units, ended, s->error);
    free(ended);
    return status;
}

static int join(const train_setup *s, osv_run_directory *run)
{
    train_report r;
    double *before = calloc(2 * (size_t)s->jobs.completions + 1, sizeof *before);
    double *after = before + s->jobs.completions;
    if (!before) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
    int status = train_report_open(&r, s, run, NULL, true);
    if (!status) status = train_join(&r, before, after);
    if (!status) status = train_result_tell(&r, before, after, s->error);
    if (!status) status = train_result_verdict(&r, s->error);
    train_report_close(&r);
    free(before);
    return status;
}

/* It is interrupted, or has failed: the others save theirs now. */
static void end_early(const train_setup *s, unit_queue *q, int status)
{
    int units;
    unit_queue_stop(q, status);
    for (double start = osv_host_seconds(); !unit_queue_idle(q) && osv_host_seconds() - start < PATIENCE;)
        osv_host_sleep(PAUSE);
    int ended = unit_queue_count(q, &units);
    if ((status == OSV_INTERRUPTED || status == OSV_TERMINATED) && !s->options->quiet)
        fprintf(stderr,
                "osv-train: interrupted; with --resume the run goes on from here, %d of %d units done\n",
                ended, units);
}

/* On rank 0 of all. */
static int lead(sharing *h)
{
    const train_setup *s = h->s;
    unit_queue *q = h->r->queue;
    osv_run_directory run = {0};
    osv_program_catch_signals();
    h->run = &run;
    int status = open_run(&run, s, q);
    if (status) unit_queue_stop(q, status); /* its replica hears of it from work() */
    int worked = work(h);
    if (!status) status = worked;
    if (status)
        end_early(s, q, status);
    else
        status = join(s, &run);
    int closed = osv_run_close(&run, s->error);
    if (!status) status = closed;
    unit_queue_finish(q, status);
    return status;
}

static int train_whole(sharing *h, int (*alone)(const train_setup *s))
{
    if (h->r->replica > 0) return work(h); /* that is, wait */
    int status = alone(h->s);
    if (h->r->queue) unit_queue_finish(h->r->queue, status);
    return status;
}

int train_units_train(train_setup *s, train_replicas *r, int (*alone)(const train_setup *s))
{
    sharing h = {.s = s, .r = r};
    int status = s->units.units == 0 ? train_whole(&h, alone) : r->queue ? lead(&h) : work(&h);
    r->run++;
    return status;
}
