#include "tools/train_jobs.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/text.h"
#include "tools/train_names.h"

/* A target that nothing would read is a mistake on the command line, as is satisficing towards nothing. */
static int check_targets(const osv_dataset *data, const train_line *line, osv_error *e)
{
    const train_options *o = &line->options;
    bool have_target = o->target.kind != OSV_TARGET_NONE;
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        if (line->job && strcmp(line->job, p->job) != 0) continue;
        for (int c = 0; c < p->completions; c++) {
            osv_completion_kind kind = p->completion[c].kind;
            if (osv_completion_lists[kind].paired && o->job.satisfice)
                return OSV_FAIL(e, OSV_USAGE,
                                "--satisfice: the loss of a preference has no target to rest at: datapoint "
                                "\"%s\" (%s:%d) has \"prefer\"",
                                p->id, o->data, p->line);
            if (osv_completion_lists[kind].paired && o->job.min_norm_iters > 0)
                return OSV_FAIL(
                    e, OSV_USAGE,
                    "--min-norm: lets no loss rise, and that of what is rejected should: datapoint "
                    "\"%s\" (%s:%d) has \"prefer\"",
                    p->id, o->data, p->line);
            if (kind == OSV_COMPLETION_ANCHOR) continue; /* it has no part in the loss */
            bool own = p->completion[c].target.kind != OSV_TARGET_NONE;
            if (o->job.satisfice && !own && !have_target)
                return OSV_FAIL(
                    e, OSV_USAGE,
                    "--satisfice needs a target for every completion: datapoint \"%s\" (%s:%d) has one "
                    "without; give --target-loss",
                    p->id, o->data, p->line);
            if (o->job.satisfice || !own) continue;
            if (o->job.target_rule == OSV_TARGET_SUM)
                return OSV_FAIL(
                    e, OSV_USAGE,
                    "%s:%d: targets of completions are read by --satisfice and --target-rule each; "
                    "here the rule is sum",
                    o->data, p->line);
            if (!have_target)
                return OSV_FAIL(
                    e, OSV_USAGE,
                    "%s:%d: targets of completions with --target-rule each need --target-loss, which "
                    "turns the stopping rule on and is the target of completions without one",
                    o->data, p->line);
        }
    }
    return OSV_OK;
}

/* Without completions only --melbo has something to do, and it takes nothing but text to go on with. */
static int check_completions(const osv_dataset *data, const train_line *line, osv_error *e)
{
    const train_options *o = &line->options;
    bool scores = false;
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        if (line->job && strcmp(line->job, p->job) != 0) continue;
        for (int c = 0; c < p->completions; c++) {
            const osv_completion *one = &p->completion[c];
            scores |= one->kind == OSV_COMPLETION_ANCHOR;
            if (!o->melbo && one->count == one->prompt)
                return OSV_FAIL(e, OSV_USAGE, "%s:%d: has no completion, which only --melbo can do without",
                                o->data, p->line);
            if (o->melbo && one->kind != OSV_COMPLETION_PROMOTE && one->kind != OSV_COMPLETION_ANCHOR)
                return OSV_FAIL(e, OSV_USAGE,
                                "%s:%d: \"%s\" has no meaning with --melbo, which takes prompts, and under "
                                "\"promote\" what they go on with",
                                o->data, p->line, osv_completion_lists[one->kind].name);
        }
    }
    if (o->melbo && !scores && o->job.coldness != osv_job_defaults().coldness)
        return OSV_FAIL(e, OSV_USAGE, "--coldness %g with --melbo: that scores no tokens", o->job.coldness);
    return OSV_OK;
}

/* So is what only preferences would read. */
static int check_preferences(const osv_dataset *data, const train_line *line, osv_error *e)
{
    const train_options *o = &line->options;
    const char *option = o->signs != TRAIN_SIGNS_PLUS ? "preference-signs" : "beta";
    if (o->stage == OSV_STAGE_LATE || (o->beta == TRAIN_BETA && o->signs == TRAIN_SIGNS_PLUS)) return OSV_OK;
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        if (line->job && strcmp(line->job, p->job) != 0) continue;
        for (int c = 0; c < p->completions; c++)
            if (osv_completion_lists[p->completion[c].kind].paired) return OSV_OK;
    }
    return OSV_FAIL(e, OSV_USAGE, "--%s: no datapoint in %s has \"prefer\", which alone has a use for it",
                    option, o->data);
}

/* ---- the data's jobs ---- */

/* Datapoints with the same "job". */
typedef struct {
    const char *name;
    const int *point; /* [points] indexes, rising */
    int points, completions, pairs;
} group;

typedef struct {
    int count;
    group *group; /* by first appearance */
    int *point;   /* [data->count] group by group */
} grouping;

static int by_job(const void *a, const void *b, void *context)
{
    const osv_dataset *data = context;
    int i = *(const int *)a, j = *(const int *)b, order = strcmp(data->point[i].job, data->point[j].job);
    return order ? order : i - j;
}

static int by_first_point(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return x->point[0] - y->point[0];
}

static int group_points(grouping *g, const osv_dataset *data, osv_error *e)
{
    size_t count = (size_t)data->count;
    *g = (grouping){.group = calloc(count + 1, sizeof *g->group),
                    .point = malloc((count + 1) * sizeof *g->point)};
    if (!g->group || !g->point) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %zu datapoints", count);
    for (int i = 0; i < data->count; i++) g->point[i] = i;
    qsort_r(g->point, count, sizeof *g->point, by_job, (void *)data);
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[g->point[i]];
        if (g->count == 0 || strcmp(g->group[g->count - 1].name, p->job) != 0)
            g->group[g->count++] = (group){.name = p->job, .point = g->point + i};
        g->group[g->count - 1].points++;
        g->group[g->count - 1].completions += p->completions;
        for (int c = 0; c < p->completions; c++)
            g->group[g->count - 1].pairs += p->completion[c].kind == OSV_COMPLETION_CHOSEN;
    }
    qsort(g->group, (size_t)g->count, sizeof *g->group, by_first_point);
    return OSV_OK;
}

/* Anchors hold back what others ask for. */
static int check_anchors(const grouping *g, const osv_dataset *data, const char *path, osv_error *e)
{
    for (int i = 0; i < g->count; i++) {
        const group *own = &g->group[i];
        bool anchored = true;
        for (int k = 0; k < own->points; k++) {
            const osv_datapoint *p = &data->point[own->point[k]];
            for (int c = 0; c < p->completions; c++)
                anchored &= p->completion[c].kind == OSV_COMPLETION_ANCHOR;
        }
        if (anchored)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: job \"%s\" has anchors alone, which leave the model as it is; give it "
                            "something to promote, suppress or match",
                            path, own->name);
    }
    return OSV_OK;
}

static bool takes(const train_line *line, const group *g)
{
    return !line->job || strcmp(line->job, g->name) == 0;
}

/* Of a job: with both signs each pair is there twice. */
static int completions_of(const group *g, const train_options *o)
{
    return g->completions + (o->signs == TRAIN_SIGNS_PLUS ? 0 : 2 * g->pairs);
}

/* ---- jobs ---- */

static int allocate(train_jobs *t, const grouping *g, osv_error *e)
{
    const train_sweep *sweep = t->sweep;
    long jobs = 0, completions = 0;
    for (int l = 0; l < sweep->lines; l++) {
        const train_line *line = &sweep->line[l];
        bool used = false;
        int of_line = train_line_jobs(&line->options);
        osv_error cause = {0};
        for (int i = 0; i < g->count; i++) {
            if (!takes(line, &g->group[i])) continue;
            used = true;
            jobs += of_line;
            completions += (long)of_line * completions_of(&g->group[i], &line->options);
            if (of_line < 0 || jobs > TRAIN_MOST_JOBS || completions > INT_MAX)
                OSV_FAIL(&cause, OSV_USAGE, "more than %d vectors in one run; divide it", TRAIN_MOST_JOBS);
        }
        if (!used)
            OSV_FAIL(&cause, OSV_USAGE, "\"job\" \"%s\": %s has no datapoint of this job", line->job,
                     line->options.data);
        if (cause.status) return train_line_fail(sweep, line, &cause, e);
    }
    t->job = calloc((size_t)jobs + 1, sizeof *t->job);
    t->origin = calloc((size_t)jobs + 1, sizeof *t->origin);
    t->from = calloc((size_t)jobs + 1, sizeof *t->from);
    t->name = calloc((size_t)jobs + 1, sizeof *t->name);
    t->start = calloc((size_t)jobs + 1, sizeof *t->start);
    t->sequence = calloc((size_t)completions + 1, sizeof *t->sequence);
    t->goal = calloc((size_t)completions + 1, sizeof *t->goal);
    t->source = calloc((size_t)completions + 1, sizeof *t->source);
    t->chain = calloc((size_t)jobs + 1, sizeof *t->chain);
    if (!t->job || !t->origin || !t->from || !t->name || !t->start || !t->sequence || !t->goal ||
        !t->source || !t->chain)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for %ld completions", completions);
    return OSV_OK;
}

/* Matches and anchors get their distributions later: train_lessons_open. */
static osv_sequence make_sequence(const train_source *from, const train_options *o, int job)
{
    const osv_completion *c = from->completion;
    osv_sequence s = {.job = job, .count = c->count, .prompt = c->scored, .ids = c->ids};
    s.steer = from->opposite ? c->opposite : c->steer;
    if (c->kind == OSV_COMPLETION_SUPPRESS) s.kind = o->negated ? OSV_NEGATED : OSV_ONE_MINUS;
    s.reverse = c->kind == OSV_COMPLETION_MATCH && o->reverse;
    if (c->kind == OSV_COMPLETION_PROMOTE) s.target_layer = o->melbo;
    return s;
}

/* Of the chosen or rejected one of a pair; `number`: of the completion in its job. The loss that it is
 * compared with comes when there are weights: train_unsteered. Where there are two signs each has half of the
 * weight. */
static void make_preference(osv_goal *g, const train_source *from, const train_options *o, int number)
{
    bool chosen = from->kind == OSV_COMPLETION_CHOSEN;
    double beta = isnan(from->completion->beta) ? o->beta : from->completion->beta;
    g->partner = chosen ? number + 1 : number - 1;
    g->beta = chosen ? beta : -beta;
    if (o->signs == TRAIN_SIGNS_PLUS) return;
    g->weight /= 2;
    if (o->signs == TRAIN_SIGNS_RANDOM) g->sign = from->opposite ? -1 : 1;
}

static osv_goal make_goal(const train_source *from, const train_options *o, int number)
{
    const osv_completion *c = from->completion;
    osv_goal g = osv_goal_plain;
    if (c->target.kind == OSV_TARGET_NATS) g.target = c->target.x;
    g.weight = c->weight;
    if (c->kind == OSV_COMPLETION_ANCHOR) {
        g.weight *= o->anchor_weight;
        g.bound = o->anchor_bound;
        g.mean = g.aside = true;
    }
    if (osv_completion_lists[from->kind].paired) make_preference(&g, from, o, number);
    return g;
}

static void add_completion(train_jobs *t, train_source from, const train_options *o, int job, int first)
{
    int at = t->completions++;
    t->source[at] = from;
    t->goal[at] = make_goal(&from, o, at - first);
    t->sequence[at] = make_sequence(&from, o, job);
}

/* Of the pair whose rejected one is *rejected: what -v prefers. */
static void add_opposite(train_jobs *t, const osv_datapoint *p, const osv_completion *rejected,
                         const train_options *o, int job, int first)
{
    const osv_completion *chosen = rejected - 1;
    add_completion(t, (train_source){p, rejected, OSV_COMPLETION_CHOSEN, true}, o, job, first);
    add_completion(t, (train_source){p, chosen, OSV_COMPLETION_REJECTED, true}, o, job, first);
}

/* The i-th job that the line makes of the group. */
static int add_job(train_jobs *t, const group *g, const train_line *line, int i, const train_start *from,
                   osv_error *e)
{
    int at = t->completions, index = t->jobs++;
    train_options o;
    train_line_job(&o, &line->options, i);
    /* The start vector: by the data's name, and where --layer names several by the layer. What else a run
     * varies has no part in it, so that a seed starts at the same vector in a sweep and alone. */
    char **start = &t->start[index];
    if ((line->options.layers > 1 && !o.joint ? asprintf(start, "%s.%d", g->name, o.layer[0])
                                              : asprintf(start, "%s", g->name)) < 0) {
        *start = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for the names of the jobs");
    }
    for (int k = 0; k < g->points; k++) {
        const osv_datapoint *p = &t->data->point[g->point[k]];
        for (int c = 0; c < p->completions; c++) {
            const osv_completion *one = &p->completion[c];
            add_completion(t, (train_source){p, one, one->kind, false}, &o, index, at);
            if (one->kind == OSV_COMPLETION_REJECTED && o.signs != TRAIN_SIGNS_PLUS)
                add_opposite(t, p, one, &o, index, at);
        }
    }
    t->from[index] = t->source + at;
    t->origin[index] = (train_origin){.group = g->name, .line = line, .index = i};
    t->job[index] = (osv_job){.start = *start,
                              .form = o.form,
                              .layer = o.layer[0],
                              .laters = o.layers - 1,
                              .later = line->options.layer + 1, /* of joint ones; the line lives on */
                              .apart = o.apart,
                              .options = o.job,
                              .completions = t->completions - at,
                              .sequence = t->sequence + at,
                              .goal = t->goal + at};
    t->job[index].options.init = from->init;
    t->job[index].options.offset = from->offset;
    t->job[index].given = from->given;
    t->job[index].orthogonal = from->orthogonal;
    return OSV_OK;
}

/* Job `first` + i goes behind those of the line that have another seed and nothing else. */
static void put_in_chain(train_jobs *t, const train_options *o, int first, int i)
{
    int seed, other;
    train_line_seed(o, i, &seed, &other);
    int *chain = t->chain + first + other * o->seeds.count;
    chain[seed] = first + i;
    t->job[first + i].before = chain;
    t->job[first + i].befores = seed;
}

/* All that the line makes of the group. */
static int add_jobs(train_jobs *t, const group *g, const train_line *line, const train_start *from,
                    osv_error *e)
{
    int first = t->jobs;
    for (int i = 0; i < train_line_jobs(&line->options); i++) {
        OSV_TRY(add_job(t, g, line, i, from, e));
        if (line->options.orthogonal) put_in_chain(t, &line->options, first, i);
    }
    return OSV_OK;
}

static int make(train_jobs *t, const grouping *g, const train_start *start, osv_error *e)
{
    const train_sweep *sweep = t->sweep;
    for (int l = 0; l < sweep->lines; l++) {
        osv_error cause = {0};
        if (check_completions(t->data, &sweep->line[l], &cause) ||
            check_targets(t->data, &sweep->line[l], &cause) ||
            check_preferences(t->data, &sweep->line[l], &cause))
            return train_line_fail(sweep, &sweep->line[l], &cause, e);
    }
    OSV_TRY(check_anchors(g, t->data, sweep->line[0].options.data, e));
    OSV_TRY(allocate(t, g, e));
    for (int k = 0; k < g->count; k++)
        for (int l = 0; l < sweep->lines; l++)
            if (takes(&sweep->line[l], &g->group[k]))
                OSV_TRY(add_jobs(t, &g->group[k], &sweep->line[l], &start[l], e));
    return train_names_make(t, e);
}

int train_jobs_make(train_jobs *t, const osv_dataset *data, const train_sweep *sweep,
                    const train_start *start, osv_error *e)
{
    grouping g;
    *t = (train_jobs){.data = data, .sweep = sweep};
    int status = group_points(&g, data, e);
    if (!status) status = make(t, &g, start, e);
    free(g.group);
    free(g.point);
    if (status) train_jobs_free(t);
    return status;
}

void train_jobs_free(train_jobs *t)
{
    for (int j = 0; j < t->jobs; j++) {
        free(t->name[j]);
        free(t->start[j]);
    }
    free(t->job);
    free(t->origin);
    free(t->from);
    free(t->name);
    free(t->start);
    free(t->sequence);
    free(t->goal);
    free(t->source);
    free(t->chain);
    *t = (train_jobs){0};
}
