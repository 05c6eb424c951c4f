#include "tools/train_beams.h"

#include <math.h>
#include <stdlib.h>

#include "optim/beam.h"
#include "tools/text.h"
#include "tools/tool_prompts.h"

/* All searches of a run. */
typedef struct {
    train_setup *s;
    osv_ids stop;
    int count;
    osv_datapoint **point;       /* [count] */
    osv_completion **completion; /* [count] */
    osv_beam_prompt *prompt;     /* [count] */
    osv_beam *found;             /* [count] */
    int *ids;                    /* [count, --beam-tokens] theirs */
} searching;

static int no_memory(const train_setup *s)
{
    return OSV_FAIL(s->error, OSV_DEVICE, "out of memory for beam search");
}

static int allocate(searching *x)
{
    const osv_dataset *data = x->s->data;
    int n = 0, tokens = x->s->options->beam_tokens;
    for (int i = 0; i < data->count; i++)
        for (int c = 0; c < data->point[i].completions; c++) n += data->point[i].completion[c].beam != NULL;
    size_t room = (size_t)n + 1;
    x->point = calloc(room, sizeof *x->point);
    x->completion = calloc(room, sizeof *x->completion);
    x->prompt = calloc(room, sizeof *x->prompt);
    x->found = calloc(room, sizeof *x->found);
    x->ids = calloc(room * (size_t)tokens, sizeof *x->ids);
    if (!x->point || !x->completion || !x->prompt || !x->found || !x->ids) return no_memory(x->s);
    for (int i = 0; i < n; i++) x->found[i].ids = x->ids + (size_t)i * (size_t)tokens;
    return OSV_OK;
}

static void add_searches(searching *x)
{
    const osv_dataset *data = x->s->data;
    for (int i = 0; i < data->count; i++) {
        osv_datapoint *p = &data->point[i];
        for (int c = 0; c < p->completions; c++) {
            osv_completion *k = &p->completion[c];
            if (!k->beam) continue;
            osv_beam_prompt *q = &x->prompt[x->count];
            *q = (osv_beam_prompt){.count = k->beam->prompt.count,
                                   .ids = k->beam->prompt.data,
                                   .minus = k->beam->minus.count,
                                   .minus_ids = k->beam->minus.data};
            if (q->count == 0) {
                q->count = k->prompt;
                q->ids = k->ids;
            }
            x->point[x->count] = p;
            x->completion[x->count++] = k;
        }
    }
}

static void print_found(const searching *x, int i)
{
    enum { CHARACTERS = 60, IDS = 12 };
    const osv_completion *k = x->completion[i];
    char shown[512];
    if (k->text)
        osv_show_text(shown, sizeof shown, k->text, CHARACTERS, OSV_KEEP_HEAD);
    else
        osv_show_ids(shown, sizeof shown, k->ids + k->prompt, k->count - k->prompt, IDS);
    fprintf(stderr, "osv-train: note: %s:%d: beam search found %s (P %.3g)\n", x->s->options->data,
            x->point[i]->line, shown, exp(x->found[i].logprob));
}

/* The i-th completion is what was found. */
static int keep(searching *x, int i)
{
    osv_completion *k = x->completion[i];
    char where[512];
    osv_error *e = x->s->error;
    snprintf(where, sizeof where, "%s:%d", x->s->options->data, x->point[i]->line);
    OSV_TRY(
        osv_completion_fill(k, x->point[i], k->ids, k->prompt, x->found[i].ids, x->found[i].count, where, e));
    k->unwritten = false;
    OSV_TRY(osv_completion_show(k, x->s->m.tokenizer, e));
    if (!x->s->options->quiet) print_found(x, i);
    return OSV_OK;
}

static int find(searching *x)
{
    const tool_model *m = &x->s->m;
    const train_options *o = x->s->options;
    OSV_TRY(allocate(x));
    add_searches(x);
    OSV_TRY(tool_stop_ids(&x->stop, m, x->s->error));
    const osv_beam_search search = {.ops = m->ops,
                                    .comm = m->comm,
                                    .model = &m->model,
                                    .width = o->beam_width,
                                    .tokens = o->beam_tokens,
                                    .rank = o->beam_rank == 1 ? OSV_BEAM_LAST : OSV_BEAM_TOTAL,
                                    .stop = x->stop.data,
                                    .stops = x->stop.count};
    OSV_TRY(osv_beam_find(&search, x->prompt, x->count, x->found));
    for (int i = 0; i < x->count; i++) OSV_TRY(keep(x, i));
    return OSV_OK;
}

int train_beams_find(train_setup *s)
{
    searching x = {.s = s};
    int status = find(&x);
    osv_ids_free(&x.stop);
    free(x.point);
    free(x.completion);
    free(x.prompt);
    free(x.found);
    free(x.ids);
    return status;
}
