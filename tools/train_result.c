#include "tools/train_result.h"

#include <math.h>
#include <stdio.h>

#include "kernels/host.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/train_job_words.h"

enum { PROMPT_CHARACTERS = 72, COMPLETION_CHARACTERS = 40, IDS_SHOWN = 12, SHOWN_ROOM = 512 };

static const char *kind_of(const train_source *from, const osv_sequence *s)
{
    return s->target_layer > 0 ? "melbo" : osv_completion_lists[from->kind].name;
}

static bool scores_tokens(const osv_job *job)
{
    for (int c = 0; c < job->completions; c++)
        if (job->sequence[c].target_layer == 0) return true;
    return false;
}

/* NaN: the jobs have several. */
static double common_coldness(const train_setup *s)
{
    const osv_job *job = s->jobs.job;
    for (int j = 1; j < s->jobs.jobs; j++)
        if (job[j].options.coldness != job[0].options.coldness) return NAN;
    return job[0].options.coldness;
}

/* ---- text ---- */

static void print_datapoint(const osv_datapoint *p, const osv_completion *k)
{
    char shown[SHOWN_ROOM], id[SHOWN_ROOM];
    if (p->prompt)
        osv_show_text(shown, sizeof shown, p->prompt, PROMPT_CHARACTERS, OSV_KEEP_TAIL);
    else
        osv_show_ids(shown, sizeof shown, k->ids, k->prompt, IDS_SHOWN);
    printf("  %s: %s%s\n", osv_show_name(id, sizeof id, p->id), shown,
           p->negative ? "  (steered with -v)" : "");
}

/* From what osv_evaluate says: of a match, or of a token of an anchor on average. */
static double divergence(const osv_completion *c, double logprob)
{
    return c->kind == OSV_COMPLETION_ANCHOR ? -logprob / (c->count - c->scored) : -logprob;
}

static void print_completion(const train_source *from, const osv_sequence *s, double before, double after,
                             double loss)
{
    const osv_completion *k = from->completion;
    char shown[SHOWN_ROOM];
    if (k->scored < k->prompt)
        snprintf(shown, sizeof shown, "(every token of it)");
    else if (k->count == k->prompt)
        snprintf(shown, sizeof shown, "(the prompt alone)");
    else if (k->text)
        osv_show_text(shown, sizeof shown, k->text, COMPLETION_CHARACTERS, OSV_KEEP_HEAD);
    else
        osv_show_ids(shown, sizeof shown, k->ids + k->prompt, k->count - k->prompt, IDS_SHOWN);
    printf("    %-9s%s  ", kind_of(from, s), shown);
    if (osv_completion_lists[k->kind].whole)
        printf("KL %.3g -> %.3g  ", divergence(k, before), divergence(k, after));
    else if (s->target_layer == 0)
        printf("P %.3g -> %.3g  ", exp(before), exp(after));
    printf("loss %.4g%s\n", loss, from->opposite ? "  (the other sign)" : "");
}

static void print_text(const train_report *r, const double *before, const double *after)
{
    const train_setup *s = r->setup;
    int c = 0;
    bool tokens = false;
    for (int j = 0; j < s->jobs.jobs; j++) {
        const osv_job *job = &s->jobs.job[j];
        const osv_outcome *out = &r->outcome[j];
        char layers[TRAIN_LAYERS_ROOM];
        printf("%s, layer%s %s: ", job->name, job->laters ? "s" : "", train_job_layers(layers, job));
        if (out->stopped == OSV_RUNNING) {
            printf("not begun when the run was interrupted\n");
            c += job->completions;
            continue;
        }
        printf("stopped after %d iterations (%s), loss %.4g -> %.4g%s, norm %.4g\n", out->iterations,
               osv_stop_name(out->stopped), out->loss_start, out->loss, scores_tokens(job) ? " nats" : "",
               out->norm);
        const osv_datapoint *shown = NULL;
        tokens |= scores_tokens(job);
        for (int i = 0; i < job->completions; i++, c++) {
            const train_source *from = &s->jobs.from[j][i];
            if (from->point != shown) print_datapoint(from->point, from->completion);
            shown = from->point;
            print_completion(from, &job->sequence[i], before[c], after[c], out->losses[i]);
        }
        printf("  vector: %s\n", r->file[j]);
    }
    char coldness[32] = "its job's coldness";
    if (!isnan(common_coldness(s))) snprintf(coldness, sizeof coldness, "coldness %g", common_coldness(s));
    if (tokens)
        printf("P: probability of the whole completion at %s, KL: divergence in nats; without the vector -> "
               "with it\n",
               coldness);
    printf("also written: %s/trace.jsonl, %s/run.json\n", s->options->out, s->options->out);
}

/* ---- JSON ---- */

static json_t *completion_json(const train_source *from, const osv_sequence *s, double before, double after,
                               double loss)
{
    const osv_completion *k = from->completion;
    json_t *ids = json_array();
    for (int t = k->prompt; t < k->count; t++) json_array_append_new(ids, json_integer(k->ids[t]));
    bool whole = osv_completion_lists[k->kind].whole;
    return json_pack(
        "{s:s, s:s, s:o*, s:o, s:o, s:o, s:o, s:o}", "datapoint", from->point->id, "kind", kind_of(from, s),
        "opposite", from->opposite ? json_true() : NULL, "text", osv_text_json(k->text), "ids", ids, "loss",
        osv_number_json(loss), whole ? "kl_before" : "probability_before",
        osv_number_json(whole ? divergence(k, before) : exp(before)),
        whole ? "kl_after" : "probability_after", osv_number_json(whole ? divergence(k, after) : exp(after)));
}

static json_t *job_json(const train_report *r, int j, const double *before, const double *after)
{
    const osv_job *job = &r->setup->jobs.job[j];
    const osv_outcome *out = &r->outcome[j];
    bool begun = out->stopped != OSV_RUNNING;
    json_t *completions = json_array();
    for (int i = 0; i < job->completions; i++)
        json_array_append_new(completions,
                              completion_json(&r->setup->jobs.from[j][i], &job->sequence[i], before[i],
                                              after[i], begun ? out->losses[i] : NAN));
    return json_pack("{s:s, s:i, s:o*, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "name", job->name, "layer",
                     job->layer, "layers", train_job_layers_json(job), "stopped",
                     begun ? osv_stop_name(out->stopped) : "not-begun", "iterations", out->iterations,
                     "loss_start", osv_number_json(out->loss_start), "loss", osv_number_json(out->loss),
                     "norm", osv_number_json(out->norm), "file", osv_text_json(r->file[j]), "completions",
                     completions);
}

static int print_json(const train_report *r, const double *before, const double *after, osv_error *e)
{
    json_t *jobs = json_array();
    int c = 0;
    for (int j = 0; j < r->setup->jobs.jobs; j++) {
        json_array_append_new(jobs, job_json(r, j, before + c, after + c));
        c += r->setup->jobs.job[j].completions;
    }
    json_t *all = json_pack("{s:o, s:o, s:I, s:o}", "run", osv_text_json(r->setup->options->out), "coldness",
                            osv_number_json(common_coldness(r->setup)), "host_peak_bytes",
                            (json_int_t)osv_host_peak(), "jobs", jobs);
    if (!all) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the results");
    json_dumpf(all, stdout, JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
    return OSV_OK;
}

int train_result_tell(const train_report *r, const double *before, const double *after, osv_error *e)
{
    const train_options *o = r->setup->options;
    if (!o->json)
        print_text(r, before, after);
    else if (o->stage != OSV_STAGE_EARLY)
        OSV_TRY(print_json(r, before, after, e));
    return osv_program_flush(e);
}

int train_result_verdict(const train_report *r, osv_error *e)
{
    for (int j = 0; j < r->setup->jobs.jobs; j++) {
        const osv_outcome *out = &r->outcome[j];
        if (out->stopped == OSV_STOP_NAN)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "job \"%s\": the loss of iteration %d is not a finite number; %s holds the "
                            "vector of iteration "
                            "%d",
                            r->setup->jobs.job[j].name, out->nan_iter, r->file[j], out->iterations);
    }
    return osv_program_signal == SIGTERM  ? OSV_TERMINATED
           : osv_program_signal == SIGINT ? OSV_INTERRUPTED
                                          : OSV_OK;
}
