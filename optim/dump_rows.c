#include "optim/dump_rows.h"

#include <math.h>

#include "optim/objective.h"

/* ---- JSON; a failed allocation leaves an array short or makes a NULL, which json_pack refuses ---- */

static json_t *integers(const int *x, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(array, json_integer(x[i]));
    return array;
}

static json_t *pass_json(const osv_pass *p, int N)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "id", integers(p->id, p->T), "pos", integers(p->pos, p->T),
                     "parent", integers(p->parent, p->T), "scored", integers(p->scored, p->R), "active",
                     integers(p->active, N));
}

static json_t *live_json(const osv_batch *b)
{
    int T = b->live.T;
    json_t *live = pass_json(&b->live, b->N);
    json_object_set_new(live, "base_row", integers(b->base_row, T));
    json_object_set_new(live, "job", integers(b->row_job, T));
    json_object_set_new(live, "sign", integers(b->row_sign, T));
    return live;
}

static json_t *jobs_json(const osv_training *t)
{
    json_t *jobs = json_array();
    for (int j = 0; j < t->jobs; j++)
        json_array_append_new(jobs,
                              json_pack("{s:s, s:i}", "name", t->job[j].name, "layer", t->job[j].layer));
    return jobs;
}

static json_t *completion_json(const osv_batch *b, const osv_training *t, int job, int completion, int c)
{
    static const char *const kind[] = {
        [OSV_PROMOTE] = "promote", [OSV_ONE_MINUS] = "one-minus", [OSV_NEGATED] = "negated"};
    const osv_job *j = &t->job[job];
    const osv_sequence *s = &j->sequence[completion];
    const osv_terms terms = osv_terms_of(j, completion);
    const char *what = !s->logp ? kind[s->kind] : s->reverse ? "reverse-kl" : "kl";
    json_t *steer = json_array();
    for (int i = 0; i < s->count; i++) json_array_append_new(steer, json_integer(s->steer[i]));
    int score = b->completion_first[c], token = b->token_first[c];
    return json_pack("{s:i, s:o, s:i, s:o, s:s, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "job", job, "ids",
                     integers(s->ids, s->count), "prompt", s->prompt, "steer", steer, "kind", what,
                     "coldness", j->options.coldness, "eps", j->options.eps, "scale", terms.scale, "weight",
                     terms.weight, "target", isnan(terms.target) ? json_null() : json_real(terms.target),
                     "rows", integers(b->token_row + token, b->token_first[c + 1] - token), "scores",
                     integers(b->completion_score + score, b->completion_first[c + 1] - score));
}

/* NULL where there is no memory. */
static json_t *completions_json(const osv_batch *b, const osv_training *t)
{
    json_t *array = json_array();
    int c = 0;
    for (int j = 0; j < t->jobs; j++) {
        for (int k = 0; k < t->job[j].completions; k++, c++) {
            if (!json_array_append_new(array, completion_json(b, t, j, k, c))) continue;
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool scores_tokens(const osv_training *t)
{
    for (int j = 0; j < t->jobs; j++)
        for (int k = 0; k < t->job[j].completions; k++)
            if (t->job[j].sequence[k].target_layer > 0) return false;
    return true;
}

int osv_dump_rows(json_t **out, const osv_training *t, const osv_batch *batch, const char *model)
{
    const osv_config *c = &t->model->config;
    const osv_ops *o = t->ops;
    *out = NULL;
    if (!t->on.share) return OSV_FAIL(o->error, OSV_USAGE, "a dump needs sequences that share their rows");
    if (!scores_tokens(t))
        return OSV_FAIL(o->error, OSV_USAGE, "a dump holds losses of tokens, not distances (MELBO)");
    *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:o, s:o, s:o, s:o}",
                     "format", "osv-dump/1", "model", model, "family", c->family, "backend", o->name,
                     "hardware", o->hardware, "dtype", o->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32", "blocks",
                     c->N, "width", c->D, "vocabulary", c->V, "first_block", batch->first_block, "frozen",
                     batch->frozen, "narrow", t->on.narrow_last, "jobs", jobs_json(t), "base",
                     pass_json(&batch->base, batch->N), "live", live_json(batch), "completions",
                     completions_json(batch, t));
    return *out ? OSV_OK : OSV_FAIL(o->error, OSV_DEVICE, "out of memory for rows.json");
}
