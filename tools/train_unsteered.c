#include "tools/train_unsteered.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim/evaluate.h"
#include "tools/text.h"

static const osv_target *line_target(const train_jobs *t, int job)
{
    return &t->origin[job].line->options.target;
}

static bool is_relative(const train_jobs *t, int job)
{
    if (line_target(t, job)->kind == OSV_TARGET_UNSTEERED) return true;
    for (int c = 0; c < t->job[job].completions; c++)
        if (t->from[job][c].completion->target.kind == OSV_TARGET_UNSTEERED) return true;
    return false;
}

/* A job that something is measured for. */
static bool is_measured(const train_jobs *t, int job)
{
    for (int c = 0; c < t->job[job].completions; c++)
        if (t->job[job].goal[c].partner >= 0) return true;
    return is_relative(t, job);
}

/* ---- measuring ---- */

/* The unsteered losses of the jobs in question, each as a job whose vector of zeros enters the last block:
 * its completions under their own prompts, then those whose targets are of other prompts under these. */
typedef struct {
    const train_setup *s;
    int jobs, sequences, ids;
    osv_job *job;           /* [jobs] */
    int *of;                /* [jobs] index of the job that it is about */
    osv_sequence *sequence; /* [sequences] job by job */
    double *loss;           /* [sequences] */
    int *id;                /* [ids] of the sequences under other prompts */
    signed char *steer;     /* [longest] ones */
} measuring;

static int allocate(measuring *m)
{
    const train_jobs *t = &m->s->jobs;
    int longest = 1;
    for (int j = 0; j < t->jobs; j++) {
        if (!is_measured(t, j)) continue;
        m->jobs++;
        for (int c = 0; c < t->job[j].completions; c++) {
            const osv_completion *k = t->from[j][c].completion;
            int under = k->under.count ? k->under.count + k->count - k->prompt : 0;
            m->sequences += under ? 2 : 1;
            m->ids += under;
            if (k->count > longest) longest = k->count;
            if (under > longest) longest = under;
        }
    }
    m->job = calloc((size_t)m->jobs + 1, sizeof *m->job);
    m->of = calloc((size_t)m->jobs + 1, sizeof *m->of);
    m->sequence = calloc((size_t)m->sequences + 1, sizeof *m->sequence);
    m->loss = calloc((size_t)m->sequences + 1, sizeof *m->loss);
    m->id = calloc((size_t)m->ids + 1, sizeof *m->id);
    m->steer = malloc((size_t)longest);
    if (!m->job || !m->of || !m->sequence || !m->loss || !m->id || !m->steer)
        return OSV_FAIL(m->s->error, OSV_DEVICE, "out of memory for the unsteered losses");
    memset(m->steer, 1, (size_t)longest);
    return OSV_OK;
}

static osv_sequence under_other_prompt(const osv_completion *k, const osv_sequence *own, int *id)
{
    osv_sequence s = *own;
    s.prompt = k->under.count;
    s.count = k->under.count + k->count - k->prompt;
    s.ids = id;
    memcpy(id, k->under.data, (size_t)k->under.count * sizeof *id);
    memcpy(id + k->under.count, k->ids + k->prompt, (size_t)(k->count - k->prompt) * sizeof *id);
    return s;
}

static void make_jobs(measuring *m)
{
    const train_jobs *t = &m->s->jobs;
    osv_sequence *next = m->sequence;
    int *id = m->id;
    for (int j = 0, i = 0; j < t->jobs; j++) {
        if (!is_measured(t, j)) continue;
        const osv_job *job = &t->job[j];
        osv_job *own = &m->job[i];
        m->of[i++] = j;
        *own = (osv_job){
            .name = job->name, .layer = m->s->m.config.N - 1, .options = job->options, .sequence = next};
        for (int c = 0; c < job->completions; c++) {
            *next = job->sequence[c];
            next++->steer = m->steer;
        }
        for (int c = 0; c < job->completions; c++) {
            const osv_completion *k = t->from[j][c].completion;
            if (!k->under.count) continue;
            *next = under_other_prompt(k, &own->sequence[c], id);
            id += next++->count;
        }
        own->completions = (int)(next - own->sequence);
    }
}

/* ---- targets and references ---- */

/* loss: of the completions of the job, then of those under other prompts. */
static void resolve(const train_jobs *t, int j, const double *loss)
{
    osv_job *job = &t->job[j];
    osv_goal *goal = t->goal + (job->goal - t->goal);
    const osv_target *of_line = line_target(t, j);
    const double *under = loss + job->completions;
    for (int c = 0; c < job->completions; c++) goal[c].reference = loss[c];
    for (int c = 0; c < job->completions; c++) {
        const osv_completion *k = t->from[j][c].completion;
        const osv_target *target = k->target.kind == OSV_TARGET_NONE ? of_line : &k->target;
        double unsteered = k->under.count ? *under++ : osv_job_term(job, c, loss);
        if (target->kind == OSV_TARGET_UNSTEERED) goal[c].target = target->x * unsteered;
    }
    if (of_line->kind == OSV_TARGET_UNSTEERED)
        job->options.target_loss = of_line->x * osv_job_loss(job, loss);
}

int train_unsteered_measure(train_setup *s)
{
    measuring m = {.s = s};
    int status = allocate(&m);
    if (!status && m.jobs > 0) {
        osv_training t = train_setup_training(s);
        t.job = m.job;
        t.jobs = m.jobs;
        make_jobs(&m);
        status = osv_evaluate_losses(&t, NULL, m.loss);
        const double *loss = m.loss;
        for (int i = 0; i < m.jobs && !status; loss += m.job[i++].completions)
            resolve(&s->jobs, m.of[i], loss);
    }
    free(m.job);
    free(m.of);
    free(m.sequence);
    free(m.loss);
    free(m.id);
    free(m.steer);
    return status;
}

/* ---- what they came to ---- */

json_t *train_targets_json(const train_jobs *t, int job)
{
    if (!is_relative(t, job)) return NULL;
    json_t *targets = json_array();
    for (int c = 0; c < t->job[job].completions; c++)
        json_array_append_new(targets, osv_number_json(t->job[job].goal[c].target));
    return json_pack("{s:o, s:o}", "target_loss", osv_number_json(t->job[job].options.target_loss), "targets",
                     targets);
}

static void print_job(const osv_job *job)
{
    enum { TARGETS = 12 };
    const osv_job_options *o = &job->options;
    char name[512];
    fprintf(stderr, "osv-train: note: %s:", osv_show_name(name, sizeof name, job->name));
    if (o->satisfice || o->target_rule == OSV_TARGET_EACH) {
        int shown = 0;
        for (int c = 0; c < job->completions; c++)
            if (osv_job_counts(job, c) && shown++ < TARGETS)
                fprintf(stderr, "%s %.6g", shown > 1 ? "," : " targets", osv_job_target(job, c));
        fprintf(stderr, "%s nats", shown > TARGETS ? ", ..." : "");
    }
    if (o->target_rule == OSV_TARGET_SUM && !isnan(o->target_loss))
        fprintf(stderr, "%s --target-loss is %.6g nats", o->satisfice ? ";" : "", o->target_loss);
    fputc('\n', stderr);
}

void train_targets_print(const train_jobs *t)
{
    enum { JOBS = 10 };
    int relative = 0;
    for (int j = 0; j < t->jobs; j++)
        if (is_relative(t, j) && relative++ < JOBS) print_job(&t->job[j]);
    if (relative > JOBS)
        fprintf(stderr, "osv-train: note: the targets of %d more jobs are in run.json\n", relative - JOBS);
}
