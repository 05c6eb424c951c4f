#include "optim/generate.h"

#include <math.h>
#include <stdlib.h>

const char *osv_text_end_name(osv_text_end end)
{
    static const char *const name[] = {[OSV_TEXT_EOS] = "eos",
                                       [OSV_TEXT_MAX_TOKENS] = "max-tokens",
                                       [OSV_TEXT_NAN] = "nan",
                                       [OSV_TEXT_INTERRUPTED] = "interrupted"};
    return name[end];
}

/* A text being written. */
typedef struct {
    int prompt, sample, count;
    int *ids; /* [max_tokens] */
    double logprob;
} text;

/* Prompts first .. first + prompts - 1, all samples, in one decoder. */
typedef struct {
    const osv_generation *g;
    int first, prompts;
    osv_decoder *decoder;
    bool asked; /* to end, as of this token, on rank 0 */
    text *text; /* [prompts * samples] */
    osv_sampling *how;
    int *id;
    osv_real *logprob;
    uint32_t *steer;
    bool *keep;
} pack;

/* Of several ranks rank 0 counts. */
static bool interrupted(const pack *p)
{
    const osv_generation *g = p->g;
    if (g->comm->size > 1) return p->asked;
    return g->interrupted && *g->interrupted;
}

static bool is_eos(const osv_generation *g, int id)
{
    for (int i = 0; i < g->eos_count; i++)
        if (g->eos[i] == id) return true;
    return false;
}

static int finish(const pack *p, const text *t, osv_text_end end)
{
    const osv_text_observer *o = &p->g->observer;
    if (!o->text) return OSV_OK;
    return o->text(o->context, t->prompt, t->sample, t->ids, t->count, t->logprob, end, p->g->ops->error);
}

/* What the token chosen for a running stream means: it goes on, or it ends here. */
static int take(const pack *p, text *t, int id, double logprob, bool *goes_on)
{
    const osv_generation *g = p->g;
    *goes_on = false;
    if (id < 0) return finish(p, t, OSV_TEXT_NAN);
    t->logprob += logprob;
    if (is_eos(g, id)) return finish(p, t, OSV_TEXT_EOS);
    t->ids[t->count++] = id;
    if (g->observer.token)
        OSV_TRY(g->observer.token(g->observer.context, t->prompt, t->sample, id, logprob, g->ops->error));
    if (t->count == g->max_tokens) return finish(p, t, OSV_TEXT_MAX_TOKENS);
    if (interrupted(p)) return finish(p, t, OSV_TEXT_INTERRUPTED);
    *goes_on = true;
    return OSV_OK;
}

static int write_texts(pack *p)
{
    const osv_generation *g = p->g;
    for (int n; (n = osv_decoder_streams(p->decoder)) > 0;) {
        p->asked = osv_comm_told(g->comm, g->interrupted && *g->interrupted);
        for (int i = 0; i < n; i++) {
            const text *t = &p->text[osv_decoder_stream(p->decoder, i)];
            p->how[i] =
                (osv_sampling){.temperature = (osv_real)g->temperature,
                               .top_p = (osv_real)g->top_p,
                               .top_k = g->top_k,
                               .seed = {(unsigned)g->seed, (unsigned)(g->seed >> 32)},
                               .stream = (unsigned)t->prompt * (unsigned)g->samples + (unsigned)t->sample,
                               .place = (unsigned)t->count};
        }
        OSV_TRY(osv_decoder_sample(p->decoder, p->how, p->id, p->logprob));
        int running = 0;
        for (int i = 0; i < n; i++) {
            text *t = &p->text[osv_decoder_stream(p->decoder, i)];
            OSV_TRY(take(p, t, p->id[i], (double)p->logprob[i], &p->keep[i]));
            if (!p->keep[i]) continue;
            const osv_generation_prompt *prompt = &g->prompt[t->prompt];
            p->id[running] = p->id[i];
            p->steer[running++] = prompt->steer[prompt->count + t->count - 1];
        }
        osv_decoder_keep(p->decoder, p->keep);
        if (running > 0) OSV_TRY(osv_decoder_step(p->decoder, p->id, p->steer));
    }
    return OSV_OK;
}

static int run_pack(pack *p)
{
    const osv_generation *g = p->g;
    size_t streams = (size_t)p->prompts * (size_t)g->samples;
    osv_prompt *prompt = calloc((size_t)p->prompts, sizeof *prompt);
    int *of = calloc(streams, sizeof *of), *ids = calloc(streams * (size_t)g->max_tokens, sizeof *ids);
    p->text = calloc(streams, sizeof *p->text);
    p->how = calloc(streams, sizeof *p->how);
    p->id = calloc(streams, sizeof *p->id);
    p->logprob = calloc(streams, sizeof *p->logprob);
    p->steer = calloc(streams, sizeof *p->steer);
    p->keep = calloc(streams, sizeof *p->keep);
    int status = OSV_OK;
    if (!prompt || !of || !ids || !p->text || !p->how || !p->id || !p->logprob || !p->steer || !p->keep)
        status = OSV_FAIL(g->ops->error, OSV_DEVICE, "out of memory for %zu texts", streams);
    if (status) goto done;
    for (int i = 0; i < p->prompts; i++) {
        const osv_generation_prompt *from = &g->prompt[p->first + i];
        prompt[i] = (osv_prompt){.count = from->count, .ids = from->ids, .steer = from->steer};
        for (int k = 0; k < g->samples; k++) {
            int s = i * g->samples + k;
            of[s] = i;
            p->text[s] =
                (text){.prompt = p->first + i, .sample = k, .ids = ids + (size_t)s * (size_t)g->max_tokens};
        }
    }
    status = osv_decoder_open(&p->decoder, g->ops, g->comm, g->model, prompt, p->prompts, of, (int)streams,
                              g->steering, g->steerings, g->max_tokens);
    if (!status) status = write_texts(p);
done:
    osv_decoder_close(p->decoder);
    free(prompt);
    free(of);
    free(ids);
    free(p->text);
    free(p->how);
    free(p->id);
    free(p->logprob);
    free(p->steer);
    free(p->keep);
    return status;
}

int osv_generate(const osv_generation *g)
{
    int most_streams = g->most_streams > 0 ? g->most_streams : 256;
    long most_tokens = g->most_tokens > 0 ? g->most_tokens : 16384;
    for (int first = 0, prompts; first < g->prompts; first += prompts) {
        long tokens = 0;
        for (prompts = 0; first + prompts < g->prompts; prompts++) {
            tokens += g->prompt[first + prompts].count + (long)g->samples * g->max_tokens;
            bool fits = tokens <= most_tokens && (prompts + 1) * g->samples <= most_streams;
            if (prompts > 0 && !fits) break;
        }
        pack p = {.g = g, .first = first, .prompts = prompts};
        OSV_TRY(run_pack(&p));
        if (interrupted(&p)) break;
    }
    return osv_ops_status(g->ops);
}
