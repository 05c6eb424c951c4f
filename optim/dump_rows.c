#include "optim/dump_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/trie.h"
#include "optim/objective.h"

/* A batch keeps rows and no tries: they are made again, a node for each row, in the order of rows, which
 * puts parents first. Then node and row have the same number. */
typedef struct {
    const osv_batch *batch;
    bool freeze;
    osv_trie base, live;
    int *job, *sign; /* [live.T] */
    osv_error *error;
} finder;

static long steer_key(int job, int sign)
{
    return 3L * job + 1 + sign;
}

static int add_rows(osv_trie *trie, const osv_pass *p, const int *job, const int *sign, osv_error *e)
{
    for (int r = 0; r < p->T; r++) {
        int node;
        long key = job ? steer_key(job[r], sign[r]) : 0;
        OSV_TRY(osv_trie_child(trie, p->parent[r], p->id[r], key, p->pos[r], &node, e));
        if (node != r) return OSV_FAIL(e, OSV_USAGE, "a dump needs sequences that share their rows");
    }
    return OSV_OK;
}

static int finder_open(finder *f, const osv_batch *batch, bool freeze, osv_error *e)
{
    size_t T = (size_t)batch->live.T;
    *f = (finder){.batch = batch, .freeze = freeze, .error = e};
    f->job = calloc(T + 1, sizeof *f->job);
    f->sign = calloc(T + 1, sizeof *f->sign);
    if (!f->job || !f->sign) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    memcpy(f->job, batch->row_job, T * sizeof *f->job);
    memcpy(f->sign, batch->row_sign, T * sizeof *f->sign);
    OSV_TRY(add_rows(&f->base, &batch->base, NULL, NULL, e));
    return add_rows(&f->live, &batch->live, f->job, f->sign, e);
}

static void finder_close(finder *f)
{
    osv_trie_free(&f->base);
    osv_trie_free(&f->live);
    free(f->job);
    free(f->sign);
}

/* The row of each token but the last, as insert_sequence of the batch walks them. */
static int find_rows(finder *f, const osv_sequence *s, int job, json_t *rows)
{
    int base = -1, live = -1;
    bool is_live = !f->freeze;
    for (int t = 0; t + 1 < s->count; t++) {
        int base_parent = base;
        OSV_TRY(osv_trie_child(&f->base, base, s->ids[t], 0, t, &base, f->error));
        is_live = is_live || s->steer[t];
        if (is_live) {
            int parent = live >= 0 ? live : base_parent >= 0 ? -2 - base_parent : -1;
            OSV_TRY(
                osv_trie_child(&f->live, parent, s->ids[t], steer_key(job, s->steer[t]), t, &live, f->error));
        }
        if (base >= f->batch->base.T || live >= f->batch->live.T)
            return OSV_FAIL(f->error, OSV_DEVICE, "a token of a dump has no row");
        json_array_append_new(rows, json_integer(is_live ? live : -1 - base));
    }
    return OSV_OK;
}

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

static json_t *live_json(const finder *f)
{
    const osv_batch *b = f->batch;
    int T = b->live.T;
    json_t *live = pass_json(&b->live, b->N);
    json_object_set_new(live, "base_row", integers(b->base_row, T));
    json_object_set_new(live, "job", integers(f->job, T));
    json_object_set_new(live, "sign", integers(f->sign, T));
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

static int completion_json(json_t **out, finder *f, const osv_training *t, int job, int completion, int c)
{
    static const char *const kind[] = {
        [OSV_PROMOTE] = "promote", [OSV_ONE_MINUS] = "one-minus", [OSV_NEGATED] = "negated"};
    const osv_job *j = &t->job[job];
    const osv_sequence *s = &j->sequence[completion];
    const osv_batch *b = f->batch;
    const osv_terms terms = osv_terms_of(j, completion);
    json_t *rows = json_array(), *steer = json_array();
    int status = find_rows(f, s, job, rows);
    for (int i = 0; i < s->count; i++) json_array_append_new(steer, json_integer(s->steer[i]));
    int first = b->completion_first[c];
    *out = json_pack("{s:i, s:o, s:i, s:o, s:s, s:f, s:f, s:f, s:o, s:o, s:o}", "job", job, "ids",
                     integers(s->ids, s->count), "prompt", s->prompt, "steer", steer, "kind", kind[s->kind],
                     "coldness", j->options.coldness, "eps", j->options.eps, "scale", terms.scale, "target",
                     isnan(terms.target) ? json_null() : json_real(terms.target), "rows", rows, "scores",
                     integers(b->completion_score + first, b->completion_first[c + 1] - first));
    return status;
}

static int completions_json(json_t *array, finder *f, const osv_training *t)
{
    int c = 0;
    for (int j = 0; j < t->jobs; j++) {
        for (int k = 0; k < t->job[j].completions; k++, c++) {
            json_t *one;
            int status = completion_json(&one, f, t, j, k, c);
            if (json_array_append_new(array, one) && !status)
                status = OSV_FAIL(f->error, OSV_DEVICE, "out of memory for rows.json");
            OSV_TRY(status);
        }
    }
    return OSV_OK;
}

int osv_dump_rows(json_t **out, const osv_training *t, const osv_batch *batch, const char *model)
{
    const osv_config *c = &t->model->config;
    const osv_ops *o = t->ops;
    finder f;
    *out = NULL;
    json_t *completions = json_array();
    int status = finder_open(&f, batch, t->on.freeze, o->error);
    if (!status) status = completions_json(completions, &f, t);
    if (!status) {
        *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:o, s:o, s:o, s:O}",
                         "format", "osv-dump/1", "model", model, "family", c->family, "backend", o->name,
                         "hardware", o->hardware, "dtype", o->dtype == OSV_DTYPE_BF16 ? "bf16" : "f32",
                         "blocks", c->N, "width", c->D, "vocabulary", c->V, "first_block", batch->first_block,
                         "frozen", batch->frozen, "narrow", t->on.narrow_last, "jobs", jobs_json(t), "base",
                         pass_json(&batch->base, batch->N), "live", live_json(&f), "completions",
                         completions);
        if (!*out) status = OSV_FAIL(o->error, OSV_DEVICE, "out of memory for rows.json");
    }
    json_decref(completions);
    finder_close(&f);
    return status;
}
