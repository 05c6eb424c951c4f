#include "tools/train_job_words.h"

#include <stdio.h>
#include <string.h>

#include "tools/text.h"

void train_job_options_of(train_options *o, const train_jobs *t, int job)
{
    train_line_job(o, &t->origin[job].line->options, t->origin[job].index);
}

/* An option of another form or loss than the job's. */
static bool has_no_say(const train_options *o, const char *option)
{
    if (strcmp(option, "noise-draws") == 0 || strcmp(option, "noise-kind") == 0) return o->job.noise == 0;
    if (strcmp(option, "rank") == 0) return o->form.kind != OSV_FORM_AFFINE;
    if (strcmp(option, "melbo-power") == 0) return !o->melbo;
    return strcmp(option, "clamp") == 0 && strcmp(o->apply, "clamp") != 0;
}

json_t *train_job_value(const train_options *o, int k)
{
    if (has_no_say(o, train_job_options[k].option)) return json_null();
    if (k == 0 && o->joint) return json_string(o->layer_text);
    if (k == 0) return json_integer(o->layer[0]);
    return osv_option_json(osv_options_find(train_option_table, train_job_options[k].option), o);
}

const char *train_job_layers(char text[TRAIN_LAYERS_ROOM], const osv_job *job)
{
    int used = snprintf(text, TRAIN_LAYERS_ROOM, "%d", job->layer);
    for (int i = 0; i < job->laters; i++) /* OSV_MAX_VECTOR_LAYERS of three digits at most */
        used += snprintf(text + used, TRAIN_LAYERS_ROOM - (size_t)used, ",%d", job->later[i]);
    return text;
}

json_t *train_job_layers_json(const osv_job *job)
{
    if (job->laters == 0) return NULL;
    json_t *layers = json_array();
    json_array_append_new(layers, json_integer(job->layer));
    for (int i = 0; i < job->laters; i++) json_array_append_new(layers, json_integer(job->later[i]));
    return layers;
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

/* What is optimized besides, where it is not 0; returns where the text ends. */
static int add_number(char *text, int used, const char *name, double x)
{
    char shown[OSV_NUMBER_ROOM];
    if (x == 0) return used;
    return used + snprintf(text + used, (size_t)(TRAIN_OBJECTIVE_ROOM - used), ", %s %s", name,
                           osv_show_number(shown, x));
}

const char *train_job_objective(char text[TRAIN_OBJECTIVE_ROOM], const train_jobs *t, int job)
{
    const osv_job *j = &t->job[job];
    const osv_job_options *o = &j->options;
    const osv_sequence *of[OSV_COMPLETION_KINDS] = {NULL};
    int used = 0, melbo = 0;
    for (int c = 0; c < j->completions; c++) {
        of[t->from[job][c].completion->kind] = &j->sequence[c];
        if (j->sequence[c].target_layer) melbo = j->sequence[c].target_layer;
    }
    for (int k = 0; k < OSV_COMPLETION_KINDS; k++) {
        if (!of[k] || of[k]->target_layer) continue;
        const char *how = k == OSV_COMPLETION_SUPPRESS
                              ? of[k]->kind == OSV_NEGATED ? " negated" : " one-minus"
                          : of[k]->reverse ? " reverse"
                                           : "";
        used += snprintf(text + used, (size_t)(TRAIN_OBJECTIVE_ROOM - used), "%s%s%s", used ? " + " : "",
                         osv_completion_lists[k].name, how);
    }
    if (melbo)
        used += snprintf(text + used, (size_t)(TRAIN_OBJECTIVE_ROOM - used), "%smelbo:%d", used ? " + " : "",
                         melbo);
    used += snprintf(text + used, (size_t)(TRAIN_OBJECTIVE_ROOM - used), "%s%s",
                     o->satisfice ? ", satisfice" : "", o->length_norm ? ", length-norm" : "");
    used = add_number(text, used, "power", melbo && o->power != 1 ? o->power : 0);
    used = add_number(text, used, "l1", o->l1);
    add_number(text, used, "group-sparsity", o->group_sparsity);
    return text;
}
