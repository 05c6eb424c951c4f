#include "tools/inspect_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "optim/bin.h"
#include "tools/program.h"
#include "tools/text.h"

enum { NAME_ROOM = 512, PIECE_CHARACTERS = 60 };

/* A token as the batch has it. */
typedef struct {
    int steered; /* the sign with which the vector enters */
    bool shared, frozen, scored;
} flags;

/* A bin's batch, and how many completions each of its rows serves. */
typedef struct {
    const inspect_jobs *j;
    const inspect_options *o;
    osv_error *error;
    int bins;
    const osv_batch *batch;
    int *live_uses, *base_uses; /* [rows] */
    bool color;
} view;

/* ---- flags ---- */

static void count_uses(view *v)
{
    const osv_batch *b = v->batch;
    for (int i = 0; i < b->token_first[b->C]; i++)
        if (b->token_row[i] >= 0)
            v->live_uses[b->token_row[i]]++;
        else
            v->base_uses[-1 - b->token_row[i]]++;
}

/* k with first[k] <= i < first[k + 1]. */
static int find_range(const int *first, int count, int i)
{
    int low = 0, high = count; /* first[low] <= i < first[high] */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (first[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Position of the token that the i-th loss of the pass is about: one behind the row that predicts it. */
static int scored_position(const osv_pass *p, int i)
{
    const osv_scores *s = &p->scores;
    const osv_distributions *d = &p->distributions;
    int r = i < s->S ? find_range(s->first, s->R, i) : d->row[find_range(d->first, d->rows, i - s->S)];
    return p->pos[p->scored[r]] + 1;
}

/* flag [s->count] of completion c of the batch. At the last token nothing is computed: it has no row, and
 * `steered` is what its mask says. */
static void find_flags(const view *v, int c, const osv_sequence *s, flags *flag)
{
    const osv_batch *b = v->batch;
    const int *row = b->token_row + b->token_first[c];
    flag[s->count - 1] = (flags){.steered = s->steer[s->count - 1]};
    for (int t = 0; t + 1 < s->count; t++)
        flag[t] = row[t] >= 0 ? (flags){.steered = b->row_sign[row[t]], .shared = v->live_uses[row[t]] > 1}
                              : (flags){.frozen = true, .shared = v->base_uses[-1 - row[t]] > 1};
    for (int i = b->completion_first[c]; i < b->completion_first[c + 1]; i++) {
        int score = b->completion_score[i], live = osv_losses_of(&b->live);
        int t = score < live ? scored_position(&b->live, score) : scored_position(&b->base, score - live);
        flag[t].scored = true;
    }
}

/* ---- a completion ---- */

typedef struct {
    const osv_job *job;
    const osv_datapoint *point;
    const osv_completion *completion;
    int number; /* of the completion in its datapoint */
    const flags *flag;
} shown;

/* Does the warning of the dataset speak of this line? */
static bool is_about(const view *v, const char *warning, int line)
{
    char place[NAME_ROOM];
    const char *path = strcmp(v->o->data, "-") == 0 ? "standard input" : v->o->data;
    snprintf(place, sizeof place, ":%d: ", line);
    size_t length = strlen(path);
    return strncmp(warning, path, length) == 0 && strncmp(warning + length, place, strlen(place)) == 0;
}

/* A token that a teacher, or beam search, is still to give; or any, behind the prompt that an anchor is. */
static bool is_unknown(const osv_completion *c, int i)
{
    return (c->unwritten || c->scored < c->prompt) && i >= c->prompt;
}

static const char *piece_of(const view *v, const osv_completion *c, int i)
{
    const osv_tokenizer *t = v->j->setup.m.tokenizer;
    return t && !is_unknown(c, i) ? osv_tokenizer_piece(t, c->ids[i]) : NULL;
}

static int print_json(FILE *out, const view *v, const shown *s)
{
    const osv_completion *c = s->completion;
    const osv_dataset *data = v->j->setup.data;
    json_t *tokens = json_array(), *warnings = json_array();
    for (int i = 0; i < c->count; i++) {
        const flags *f = &s->flag[i];
        json_t *id = is_unknown(c, i) ? json_null() : json_integer(c->ids[i]);
        json_array_append_new(tokens,
                              json_pack("{s:o, s:o, s:i, s:i, s:b, s:b, s:b}", "id", id, "piece",
                                        osv_text_json(piece_of(v, c, i)), "pos", i, "steered", f->steered,
                                        "shared", f->shared, "frozen", f->frozen, "scored", f->scored));
    }
    for (int i = 0; i < data->warnings; i++)
        if (is_about(v, data->warning[i], s->point->line))
            json_array_append_new(warnings, osv_text_json(data->warning[i]));
    json_t *line = json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:i, s:o, s:i, s:i, s:o, s:o}", "id",
                             s->point->id, "line", s->point->line, "job", s->point->job, "layer",
                             s->job->layer, "positions", s->point->positions, "objective",
                             osv_completion_lists[c->kind].name, "completion", s->number, "text",
                             osv_text_json(c->text), "bin", v->bins, "prompt_tokens", c->prompt, "tokens",
                             tokens, "warnings", warnings);
    bool failed = !line || json_dumpf(line, out, 0) || fputc('\n', out) < 0;
    json_decref(line);
    return failed ? OSV_FAIL(v->error, OSV_DEVICE, "out of memory for the tokens") : OSV_OK;
}

/* What a token is, for a terminal: the vector enters, it is computed once, it is trained. */
static const char *color_of(const view *v, const flags *f)
{
    if (!v->color) return "";
    return f->scored ? "\033[32m" : f->steered ? "\033[33m" : f->frozen ? "\033[34m" : "\033[0m";
}

static void print_text(FILE *out, const view *v, const shown *s)
{
    const osv_completion *c = s->completion;
    const osv_dataset *data = v->j->setup.data;
    char id[NAME_ROOM], job[NAME_ROOM], shown_piece[NAME_ROOM], token[16];
    fprintf(
        out,
        "\n%s%s%s: job %s, %s, block %d, positions %s, bin %d; %d token%s of prompt, %d of completion%s\n",
        v->color ? "\033[1m" : "", osv_show_name(id, sizeof id, s->point->id), v->color ? "\033[0m" : "",
        osv_show_name(job, sizeof job, s->point->job), osv_completion_lists[c->kind].name, s->job->layer,
        s->point->positions, v->bins, c->prompt, c->prompt == 1 ? "" : "s", c->count - c->prompt,
        c->unwritten ? " at most, not written yet" : "");
    for (int i = 0; i < data->warnings; i++) {
        if (!is_about(v, data->warning[i], s->point->line)) continue;
        size_t bytes;
        char *plain = osv_text_plain(data->warning[i], strlen(data->warning[i]), &bytes);
        if (plain) fprintf(out, "warning: %.*s\n", (int)bytes, plain);
        free(plain);
    }
    for (int i = 0; i < c->count; i++) {
        const flags *f = &s->flag[i];
        const char *piece = piece_of(v, c, i);
        snprintf(token, sizeof token, is_unknown(c, i) ? "?" : "%d", c->ids[i]);
        fprintf(out, "%5d  %s%c%c%c%c%s %8s", i, color_of(v, f),
                f->steered > 0   ? '+'
                : f->steered < 0 ? '-'
                                 : '.',
                f->shared ? 'h' : '.', f->frozen ? 'f' : '.', f->scored ? 's' : '.',
                v->color ? "\033[0m" : "", token);
        if (piece)
            fprintf(out, "  %s",
                    osv_show_text(shown_piece, sizeof shown_piece, piece, PIECE_CHARACTERS, OSV_KEEP_HEAD));
        fputc('\n', out);
    }
}

static int number_of(const osv_datapoint *point, const osv_completion *c)
{
    return (int)(c - point->completion);
}

static int show_completion(view *v, int job, int k, int c)
{
    const train_jobs *t = &v->j->setup.jobs;
    const train_source *from = &t->from[job][k];
    flags *flag = calloc((size_t)from->completion->count, sizeof *flag);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = flag ? open_memstream(&text, &bytes) : NULL;
    int status = out ? OSV_OK : OSV_FAIL(v->error, OSV_DEVICE, "out of memory for the tokens");
    if (out) {
        find_flags(v, c, &t->job[job].sequence[k], flag);
        shown s = {&t->job[job], from->point, from->completion, number_of(from->point, from->completion),
                   flag};
        if (v->o->json)
            status = print_json(out, v, &s);
        else
            print_text(out, v, &s);
        if (fclose(out) && !status) status = OSV_FAIL(v->error, OSV_DEVICE, "out of memory for the tokens");
    }
    if (!status) status = osv_program_write(text, bytes, v->error);
    free(text);
    free(flag);
    return status;
}

/* ---- bins ---- */

static int show_bin(void *context, const int *job, const osv_bin_size *size)
{
    view *v = context;
    const osv_training *t = &v->j->training;
    osv_batch *batch;
    OSV_TRY(osv_bin_batch(&batch, t, job, size->jobs, false));
    v->batch = batch;
    v->live_uses = calloc((size_t)batch->live.T + 1, sizeof *v->live_uses);
    v->base_uses = calloc((size_t)batch->base.T + 1, sizeof *v->base_uses);
    int status = v->live_uses && v->base_uses ? OSV_OK : OSV_FAIL(v->error, OSV_DEVICE, "out of memory");
    if (!status) count_uses(v);
    for (int i = 0, c = 0; i < size->jobs; i++)
        for (int k = 0; k < t->job[job[i]].completions && !status; k++, c++)
            status = show_completion(v, job[i], k, c);
    free(v->live_uses);
    free(v->base_uses);
    osv_batch_free(batch);
    v->bins++;
    return status;
}

int inspect_tokens(const inspect_jobs *j, const inspect_options *o, osv_error *e)
{
    view v = {.j = j, .o = o, .error = e, .color = osv_program_color()};
    return osv_pack_each(&j->training, show_bin, &v);
}
