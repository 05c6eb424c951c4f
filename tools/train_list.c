#include "tools/train_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/program.h"
#include "tools/text.h"
#include "tools/train_job_words.h"

json_t *train_job_json(const train_jobs *t, int job, bool all)
{
    char objective[TRAIN_OBJECTIVE_ROOM];
    train_options o;
    json_t *options = json_object();
    train_job_options_of(&o, t, job);
    for (int k = 1; k < TRAIN_JOB_OPTIONS; k++) /* the layer stands by itself */
        if (all || t->varies[k])
            json_object_set_new(options, train_job_options[k].option, train_job_value(&o, k));
    train_job_objective(objective, t, job);
    const osv_job *j = &t->job[job];
    const char *after = j->befores > 0 ? t->name[j->before[j->befores - 1]] : NULL;
    return json_pack("{s:s, s:s, s:i, s:o*, s:i, s:s, s:s, s:s*, s:o}", "name", t->name[job], "job",
                     t->origin[job].group, "layer", t->job[job].layer, "layers",
                     train_job_layers_json(&t->job[job]), "completions", t->job[job].completions, "positions",
                     train_job_positions(t, job), "objective", objective, "after", after, "options", options);
}

static int print_json(FILE *out, const train_jobs *t, osv_error *e)
{
    for (int j = 0; j < t->jobs; j++) {
        json_t *line = train_job_json(t, j, true), *varies = json_array();
        for (int k = 0; k < TRAIN_JOB_OPTIONS; k++)
            if (t->varies[k]) json_array_append_new(varies, json_string(train_job_options[k].option));
        bool failed = json_object_set_new(line, "varies", varies) ||
                      json_dumpf(line, out, JSON_REAL_PRECISION(15)) || fputc('\n', out) < 0;
        json_decref(line);
        if (failed) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the list of jobs");
    }
    return OSV_OK;
}

/* "max-norm 20, lr 0.1": what varies, but for layer and seed, which have columns of their own. */
static void print_varying(FILE *out, const train_jobs *t, int job)
{
    train_options o;
    const char *comma = "";
    train_job_options_of(&o, t, job);
    for (int k = 2; k < TRAIN_JOB_OPTIONS; k++) {
        if (!t->varies[k]) continue;
        json_t *value = train_job_value(&o, k);
        char text[OSV_NUMBER_ROOM], *dump = NULL;
        const char *shown = json_is_null(value)     ? "none"
                            : json_is_string(value) ? json_string_value(value)
                            : json_is_real(value)   ? osv_show_number(text, json_real_value(value))
                                                    : (dump = json_dumps(value, JSON_ENCODE_ANY));
        fprintf(out, "%s%s %s", comma, train_job_options[k].option, shown ? shown : "?");
        comma = ", ";
        free(dump);
        json_decref(value);
    }
}

static int wider(int width, const char *text)
{
    return (int)strlen(text) > width ? (int)strlen(text) : width;
}

static void print_table(FILE *out, const train_jobs *t)
{
    char name[512], seed[24], objective[TRAIN_OBJECTIVE_ROOM], layers[TRAIN_LAYERS_ROOM];
    int names = 4, seeds = 4, objectives = 9, blocks = 5;
    for (int j = 0; j < t->jobs; j++) {
        snprintf(seed, sizeof seed, "%llu", t->job[j].options.seed);
        train_job_objective(objective, t, j);
        names = wider(names, osv_show_name(name, sizeof name, t->name[j]));
        seeds = wider(seeds, seed);
        blocks = wider(blocks, train_job_layers(layers, &t->job[j]));
        objectives = wider(objectives, objective);
    }
    bool more = false;
    for (int k = 2; k < TRAIN_JOB_OPTIONS; k++) more |= t->varies[k];
    fprintf(out, "%-*s  %*s  %*s  %11s  %-*s%s\n", names, "name", blocks, "layer", seeds, "seed",
            "completions", more ? objectives : 0, "objective", more ? "  varies" : "");
    for (int j = 0; j < t->jobs; j++) {
        const osv_job *job = &t->job[j];
        train_job_objective(objective, t, j);
        fprintf(out, "%-*s  %*s  %*llu  %11d  %-*s%s", names, osv_show_name(name, sizeof name, t->name[j]),
                blocks, train_job_layers(layers, job), seeds, job->options.seed, job->completions,
                more ? objectives : 0, objective, more ? "  " : "");
        print_varying(out, t, j);
        fputc('\n', out);
    }
}

int train_list_print(const train_jobs *t, bool json, osv_error *e)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the list of jobs");
    int status = OSV_OK;
    if (json)
        status = print_json(out, t, e);
    else
        print_table(out, t);
    if (fclose(out) && !status) status = OSV_FAIL(e, OSV_DEVICE, "out of memory for the list of jobs");
    if (!status) status = osv_program_write(text, bytes, e);
    free(text);
    return status;
}
