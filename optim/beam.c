#include "optim/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDES = 2, MOST_TOKENS = 4096 }; /* sides: the prompt, and the one whose probabilities are taken off */

/* A continuation on the way: one that is followed, or how one may go on. */
typedef struct {
    int from, id;     /* the beam that it continues, by this id; -1: ended already */
    double rank;      /* the higher the better */
    double ln[SIDES]; /* ln P */
    int count;        /* tokens */
    bool ended;
} candidate;

/* The beams of one prompt, the best first. */
typedef struct {
    int sides;
    int stream[SIDES]; /* first of its `width` streams on each side; beam k has the stream k behind it */
    int beams;
    candidate *beam; /* [width] */
    int *ids;        /* [width, tokens] theirs */
} search;

/* Prompts first .. first + count - 1 in one pass. */
typedef struct {
    const osv_beam_search *b;
    const osv_beam_prompt *prompt;
    int count, streams, V;
    search *search; /* [count] */
    osv_decoder *decoder;
    candidate *next;     /* [width] */
    int *next_ids;       /* [width, tokens] */
    double *ln[SIDES];   /* [V] of the next token of one beam */
    osv_real *z;         /* [V] */
    int *from, *id;      /* [streams] */
    uint32_t *unsteered; /* zeros: for the longest prompt, and for all streams */
} pass;

/* ---- the next tokens of one beam ---- */

/* ln P of every id at the stream. */
static int read_row(pass *p, int stream, double *ln)
{
    size_t V = (size_t)p->V;
    OSV_TRY(osv_decoder_read(p->decoder, stream, p->z));
    double max = -INFINITY, sum = 0;
    for (size_t v = 0; v < V; v++) max = fmax(max, (double)p->z[v]);
    for (size_t v = 0; v < V; v++) sum += exp((double)p->z[v] - max);
    for (size_t v = 0; v < V; v++) ln[v] = (double)p->z[v] - max - log(sum);
    return OSV_OK;
}

/* Is `a`, ids `a_ids`, better than `b`? */
static bool is_better(const candidate *a, const int *a_ids, const candidate *b, const int *b_ids)
{
    if (a->rank != b->rank) return a->rank > b->rank;
    for (int t = 0; t < a->count && t < b->count; t++)
        if (a_ids[t] != b_ids[t]) return a_ids[t] < b_ids[t];
    return a->count < b->count;
}

/* Puts a candidate among the best `width`, of which there are *n, if it is one of them. ids: of its beam. */
static void offer(pass *p, int *n, const candidate *c, int *ids)
{
    size_t room = (size_t)p->b->tokens;
    int width = p->b->width, at = *n;
    if (c->id >= 0) ids[c->count - 1] = c->id; /* behind the beam's own: there is room */
    while (at > 0 && is_better(c, ids, &p->next[at - 1], p->next_ids + (size_t)(at - 1) * room)) at--;
    if (at == width || isnan(c->rank)) return;
    if (*n < width) ++*n;
    memmove(p->next + at + 1, p->next + at, (size_t)(*n - 1 - at) * sizeof *p->next);
    int *place = p->next_ids + (size_t)at * room;
    memmove(place + room, place, (size_t)(*n - 1 - at) * room * sizeof *place);
    p->next[at] = *c;
    memcpy(place, ids, (size_t)c->count * sizeof *place);
}

static bool stops(const osv_beam_search *b, int id)
{
    for (int i = 0; i < b->stops; i++)
        if (b->stop[i] == id) return true;
    return false;
}

/* Beam k of the search with every id behind it. */
static int offer_all(pass *p, int *n, const search *s, int k)
{
    const candidate *beam = &s->beam[k];
    bool last = p->b->rank == OSV_BEAM_LAST;
    for (int side = 0; side < s->sides; side++) OSV_TRY(read_row(p, s->stream[side] + k, p->ln[side]));
    for (int v = 0; v < p->V; v++) {
        candidate c = {.from = k, .id = v, .count = beam->count + 1, .ended = stops(p->b, v)};
        double ln[SIDES] = {0};
        for (int side = 0; side < s->sides; side++) {
            c.ln[side] = beam->ln[side] + p->ln[side][v];
            ln[side] = last ? p->ln[side][v] : c.ln[side];
        }
        c.rank = s->sides == 1 ? ln[0] : exp(ln[0]) - exp(ln[1]);
        offer(p, n, &c, s->ids + (size_t)k * (size_t)p->b->tokens);
    }
    return OSV_OK;
}

/* ---- one token more ---- */

/* The best continuations of this length or shorter, in place of the beams. */
static int advance(pass *p, search *s)
{
    size_t tokens = (size_t)p->b->tokens;
    int n = 0;
    for (int k = 0; k < s->beams; k++) {
        candidate kept = s->beam[k];
        kept.from = k;
        kept.id = -1;
        if (kept.ended)
            offer(p, &n, &kept, s->ids + (size_t)k * tokens);
        else
            OSV_TRY(offer_all(p, &n, s, k));
    }
    if (n == 0)
        return OSV_FAIL(p->b->ops->error, OSV_BAD_INPUT, "beam search: the logits are not finite numbers");
    s->beams = n;
    memcpy(s->beam, p->next, (size_t)n * sizeof *s->beam);
    memcpy(s->ids, p->next_ids, (size_t)n * tokens * sizeof *s->ids);
    return OSV_OK;
}

/* Each stream goes on with what its beam has become; those of beams that have ended, or are not there, go
 * nowhere. */
static int step(pass *p)
{
    for (int i = 0; i < p->streams; i++) p->from[i] = i;
    memset(p->id, 0, (size_t)p->streams * sizeof *p->id);
    for (int i = 0; i < p->count; i++) {
        const search *s = &p->search[i];
        for (int k = 0; k < s->beams; k++) {
            for (int side = 0; side < s->sides && !s->beam[k].ended; side++) {
                p->from[s->stream[side] + k] = s->stream[side] + s->beam[k].from;
                p->id[s->stream[side] + k] = s->beam[k].id;
            }
        }
    }
    OSV_TRY(osv_decoder_branch(p->decoder, p->from));
    return osv_decoder_step(p->decoder, p->id, p->unsteered);
}

static bool goes_on(const search *s)
{
    for (int k = 0; k < s->beams; k++)
        if (!s->beam[k].ended) return true;
    return false;
}

static int find(pass *p)
{
    for (int t = 0; t < p->b->tokens; t++) {
        bool more = false;
        if (t > 0) OSV_TRY(step(p));
        for (int i = 0; i < p->count; i++) {
            if (goes_on(&p->search[i])) OSV_TRY(advance(p, &p->search[i]));
            more |= goes_on(&p->search[i]);
        }
        if (!more) break;
    }
    return OSV_OK;
}

/* ---- passes ---- */

static int open_decoder(pass *p, int sides)
{
    int n = 0, streams = 0;
    osv_prompt *prompt = calloc((size_t)sides, sizeof *prompt);
    int *of = calloc((size_t)p->streams, sizeof *of);
    int status = prompt && of ? OSV_OK : OSV_FAIL(p->b->ops->error, OSV_DEVICE, "out of memory");
    for (int i = 0; i < p->count && !status; i++) {
        const osv_beam_prompt *q = &p->prompt[i];
        for (int side = 0; side < p->search[i].sides; side++, n++) {
            prompt[n] = side ? (osv_prompt){q->minus, q->minus_ids, p->unsteered}
                             : (osv_prompt){q->count, q->ids, p->unsteered};
            p->search[i].stream[side] = streams;
            for (int k = 0; k < p->b->width; k++) of[streams++] = n;
        }
    }
    if (!status)
        status = osv_decoder_open(&p->decoder, p->b->ops, p->b->comm, p->b->model, prompt, n, of, streams,
                                  NULL, 0, p->b->tokens - 1);
    free(prompt);
    free(of);
    return status;
}

static int open_pass(pass *p)
{
    size_t width = (size_t)p->b->width, numbers = width * (size_t)p->b->tokens, V = (size_t)p->V;
    size_t longest = 1, sides = 0;
    p->search = calloc((size_t)p->count, sizeof *p->search);
    if (!p->search) return OSV_FAIL(p->b->ops->error, OSV_DEVICE, "out of memory");
    bool good = true;
    for (int i = 0; i < p->count; i++) {
        search *s = &p->search[i];
        s->sides = p->prompt[i].minus > 0 ? 2 : 1;
        s->beams = 1; /* the prompt itself */
        s->beam = calloc(width, sizeof *s->beam);
        s->ids = calloc(numbers, sizeof *s->ids);
        good = good && s->beam && s->ids;
        sides += (size_t)s->sides;
        if ((size_t)p->prompt[i].count > longest) longest = (size_t)p->prompt[i].count;
        if ((size_t)p->prompt[i].minus > longest) longest = (size_t)p->prompt[i].minus;
    }
    p->streams = (int)(sides * width);
    p->next = calloc(width, sizeof *p->next);
    p->next_ids = calloc(numbers, sizeof *p->next_ids);
    for (int side = 0; side < SIDES; side++) p->ln[side] = malloc(V * sizeof *p->ln[side]);
    p->z = malloc(V * sizeof *p->z);
    p->from = calloc((size_t)p->streams, sizeof *p->from);
    p->id = calloc((size_t)p->streams, sizeof *p->id);
    p->unsteered = calloc(longest + (size_t)p->streams, sizeof *p->unsteered);
    if (!good || !p->next || !p->next_ids || !p->ln[0] || !p->ln[1] || !p->z || !p->from || !p->id ||
        !p->unsteered)
        return OSV_FAIL(p->b->ops->error, OSV_DEVICE, "out of memory for %d beams", p->streams);
    return open_decoder(p, (int)sides);
}

static void close_pass(pass *p)
{
    osv_decoder_close(p->decoder);
    for (int i = 0; p->search && i < p->count; i++) {
        free(p->search[i].beam);
        free(p->search[i].ids);
    }
    free(p->search);
    free(p->next);
    free(p->next_ids);
    free(p->ln[0]);
    free(p->ln[1]);
    free(p->z);
    free(p->from);
    free(p->id);
    free(p->unsteered);
}

int osv_beam_find(const osv_beam_search *b, const osv_beam_prompt *prompt, int prompts, osv_beam *found)
{
    long most = b->most_tokens > 0 ? b->most_tokens : MOST_TOKENS, each = (long)b->width * b->tokens;
    for (int first = 0, count; first < prompts; first += count) {
        long tokens = 0;
        for (count = 0; first + count < prompts; count++) {
            const osv_beam_prompt *q = &prompt[first + count];
            long more = q->count + each + (q->minus > 0 ? q->minus + each : 0);
            if (count > 0 && tokens + more > most) break;
            tokens += more;
        }
        pass p = {.b = b, .prompt = prompt + first, .count = count, .V = b->model->config.V};
        int status = open_pass(&p);
        if (!status) status = find(&p);
        for (int i = 0; i < count && !status; i++) {
            const candidate *best = &p.search[i].beam[0];
            osv_beam *out = &found[first + i];
            out->count = best->count;
            out->logprob = best->ln[0];
            memcpy(out->ids, p.search[i].ids, (size_t)best->count * sizeof *out->ids);
        }
        close_pass(&p);
        OSV_TRY(status);
    }
    return OSV_OK;
}
