#include "tools/train_jobs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A target that nothing would read is a mistake on the command line, as is satisficing towards nothing. */
static int check_targets(const osv_dataset *data, const train_options *o, osv_error *e)
{
    bool have_target = !isnan(o->job.target_loss);
    for (int i = 0; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        for (int c = 0; c < p->completions; c++) {
            bool own = !isnan(p->completion[c].target);
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

static int allocate(train_jobs *t, const osv_dataset *data, int layers, osv_error *e)
{
    size_t completions = 0, jobs = (size_t)data->count * (size_t)layers;
    for (int i = 0; i < data->count; i++) completions += (size_t)data->point[i].completions;
    completions *= (size_t)layers;
    t->job = calloc(jobs + 1, sizeof *t->job);
    t->from = calloc(jobs + 1, sizeof *t->from);
    t->name = calloc(jobs + 1, sizeof *t->name);
    t->sequence = calloc(completions + 1, sizeof *t->sequence);
    t->target = calloc(completions + 1, sizeof *t->target);
    t->source = calloc(completions + 1, sizeof *t->source);
    if (!t->job || !t->from || !t->name || !t->sequence || !t->target || !t->source)
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for %zu completions", completions);
    return OSV_OK;
}

static bool seen_before(const osv_dataset *data, int i)
{
    for (int k = 0; k < i; k++)
        if (strcmp(data->point[k].job, data->point[i].job) == 0) return true;
    return false;
}

/* The job of the datapoints named like point[first], at one layer. */
static int add_job(train_jobs *t, const osv_dataset *data, int first, int layer, const train_options *o,
                   const float *init, osv_error *e)
{
    const char *group = data->point[first].job;
    int at = t->completions, index = t->jobs;
    char **name = &t->name[index];
    int length = o->layers > 1 ? asprintf(name, "%s.%d", group, layer) : asprintf(name, "%s", group);
    if (length < 0) {
        *name = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for the names of the jobs");
    }
    t->jobs++;
    for (int i = first; i < data->count; i++) {
        const osv_datapoint *p = &data->point[i];
        if (strcmp(p->job, group) != 0) continue;
        for (int c = 0; c < p->completions; c++, t->completions++) {
            const osv_completion *k = &p->completion[c];
            osv_score_kind suppress = o->negated ? OSV_NEGATED : OSV_ONE_MINUS;
            t->source[t->completions] = (train_source){p, k};
            t->target[t->completions] = k->target;
            t->sequence[t->completions] = (osv_sequence){.job = index,
                                                         .count = k->count,
                                                         .prompt = k->prompt,
                                                         .ids = k->ids,
                                                         .steer = k->steer,
                                                         .kind = k->suppress ? suppress : OSV_PROMOTE};
        }
    }
    t->from[index] = t->source + at;
    t->job[index] = (osv_job){.name = *name,
                              .layer = layer,
                              .options = o->job,
                              .completions = t->completions - at,
                              .sequence = t->sequence + at,
                              .target = t->target + at};
    t->job[index].options.init = init;
    return OSV_OK;
}

int train_jobs_make(train_jobs *t, const osv_dataset *data, const train_options *o, const float *init,
                    osv_error *e)
{
    *t = (train_jobs){0};
    int status = check_targets(data, o, e);
    if (!status) status = allocate(t, data, o->layers, e);
    for (int i = 0; i < data->count && !status; i++) {
        if (seen_before(data, i)) continue;
        for (int l = 0; l < o->layers && !status; l++) status = add_job(t, data, i, o->layer[l], o, init, e);
    }
    if (status) train_jobs_free(t);
    return status;
}

void train_jobs_free(train_jobs *t)
{
    for (int j = 0; j < t->jobs; j++) free(t->name[j]);
    free(t->job);
    free(t->from);
    free(t->name);
    free(t->sequence);
    free(t->target);
    free(t->source);
    *t = (train_jobs){0};
}

const char *train_job_positions(const train_jobs *t, int job)
{
    const train_source *from = t->from[job];
    for (int c = 1; c < t->job[job].completions; c++)
        if (strcmp(from[c].point->positions, from[0].point->positions) != 0) return "mixed";
    return from[0].point->positions;
}

bool train_job_chat(const train_jobs *t, int job)
{
    for (int c = 0; c < t->job[job].completions; c++)
        if (t->from[job][c].point->chat) return true;
    return false;
}

void train_job_objective(char *text, size_t room, const train_jobs *t, int job)
{
    const osv_job *j = &t->job[job];
    bool promote = false, suppress = false, negated = false;
    for (int c = 0; c < j->completions; c++) {
        promote |= j->sequence[c].kind == OSV_PROMOTE;
        suppress |= j->sequence[c].kind != OSV_PROMOTE;
        negated |= j->sequence[c].kind == OSV_NEGATED;
    }
    snprintf(text, room, "%s%s%s%s%s", promote ? "promote" : "", promote && suppress ? " + " : "",
             !suppress ? ""
             : negated ? "suppress negated"
                       : "suppress one-minus",
             j->options.satisfice ? ", satisfice" : "", j->options.length_norm ? ", length-norm" : "");
}
