#include "tools/train_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optim/scan.h"
#include "tools/program.h"
#include "tools/text.h"

enum { LAYERS_ROOM = 16 * OSV_SCAN_MOST, NAME_ROOM = 512, PIECE_CHARACTERS = 24 };

typedef struct {
    const train_setup *s;
    const osv_job *job;
    const osv_scan *scan;
    const int *layer; /* [layers] that are looked at, rising */
    int layers;
    int suggested[OSV_SCAN_MOST], suggestions; /* best first */
} view;

/* Of the step that is judged. */
static double step_at(const view *v, int l)
{
    return v->s->options->scan_norm * v->scan->block[l].residual;
}

static const osv_scan_point *points_at(const view *v, int l)
{
    return v->scan->point + (size_t)l * (size_t)v->scan->tokens;
}

static const char *piece_of(const view *v, int id)
{
    return v->s->m.tokenizer ? osv_tokenizer_piece(v->s->m.tokenizer, id) : NULL;
}

/* "5,4", as --layer takes it. */
static void show_suggested(char text[LAYERS_ROOM], const view *v)
{
    int used = 0;
    for (int i = 0; i < v->suggestions; i++)
        used += snprintf(text + used, LAYERS_ROOM - (size_t)used, "%s%d", i ? "," : "", v->suggested[i]);
}

/* ---- text ---- */

static void print_blocks(const view *v)
{
    static const char bar[] = "########################";
    double most = osv_scan_gain(v->scan, v->suggested[0]);
    printf("layer  residual  gradient  alignment  decrease     apart\n");
    for (int i = 0; i < v->layers; i++) {
        int l = v->layer[i];
        const osv_scan_block *b = &v->scan->block[l];
        double part = most > 0 ? osv_scan_gain(v->scan, l) / most : 0;
        printf("%5d  %8.4g  %8.4g  %9.3f  %8.4g  %8.4g  %.*s\n", l, b->residual, b->shared, b->alignment,
               step_at(v, l) * b->shared, step_at(v, l) * b->apart, (int)(part * (sizeof bar - 1) + 0.5),
               bar);
    }
}

static char sign_of(const osv_scan_token *t)
{
    return t->sign > 0 ? '+' : t->sign < 0 ? '-' : '.';
}

static void print_points(const view *v)
{
    char shown[NAME_ROOM];
    printf("\nlayer  position  sign        id  residual  gradient  alignment  decrease  token\n");
    for (int i = 0; i < v->layers; i++) {
        int l = v->layer[i];
        for (int t = 0; t < v->scan->tokens; t++) {
            const osv_scan_token *token = &v->scan->token[t];
            const osv_scan_point *p = &points_at(v, l)[t];
            const char *piece = piece_of(v, token->id);
            printf("%5d  %8d  %4c  %8d  %8.4g  %8.4g  %9.3f  %8.4g", l, token->pos, sign_of(token), token->id,
                   p->residual, p->gradient, p->alignment, step_at(v, l) * p->gradient);
            if (piece)
                printf("  %s", osv_show_text(shown, sizeof shown, piece, PIECE_CHARACTERS, OSV_KEEP_HEAD));
            putchar('\n');
        }
    }
}

static void print_job(const view *v)
{
    char name[NAME_ROOM], layers[LAYERS_ROOM];
    int steered = 0;
    show_suggested(layers, v);
    for (int t = 0; t < v->scan->tokens; t++) steered += v->scan->token[t].sign != 0;
    printf("%s: %d completion%s, loss %.4g nats, steered at %d of %d tokens\n",
           osv_show_name(name, sizeof name, v->job->name), v->job->completions,
           v->job->completions == 1 ? "" : "s", v->scan->loss, steered, v->scan->tokens);
    print_blocks(v);
    if (v->s->options->scan_positions) print_points(v);
    printf("suggested: --layer %s\n\n", layers);
}

static void print_legend(const train_setup *s)
{
    char norm[OSV_NUMBER_ROOM];
    osv_show_number(norm, s->options->scan_norm);
    printf("residual: length of the stream at the steered tokens, median; gradient: of what is optimized, of "
           "a vector there;\n"
           "decrease: by how much a step of %s residuals lowers it, to first order; apart: the same if each "
           "token had a\n"
           "vector of its own, by which layers are suggested; alignment: cosine of step and stream\n",
           norm);
}

/* ---- JSON ---- */

static json_t *points_json(const view *v, int l)
{
    json_t *residual = json_array(), *gradient = json_array(), *alignment = json_array(),
           *decrease = json_array();
    for (int t = 0; t < v->scan->tokens; t++) {
        const osv_scan_point *p = &points_at(v, l)[t];
        json_array_append_new(residual, osv_number_json(p->residual));
        json_array_append_new(gradient, osv_number_json(p->gradient));
        json_array_append_new(alignment, osv_number_json(p->alignment));
        json_array_append_new(decrease, osv_number_json(step_at(v, l) * p->gradient));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "residual", residual, "gradient", gradient, "alignment",
                     alignment, "decrease", decrease);
}

static json_t *blocks_json(const view *v)
{
    json_t *blocks = json_array();
    for (int i = 0; i < v->layers; i++) {
        int l = v->layer[i];
        const osv_scan_block *b = &v->scan->block[l];
        json_array_append_new(
            blocks,
            json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "layer", l, "residual",
                      osv_number_json(b->residual), "gradient", osv_number_json(b->shared), "alignment",
                      osv_number_json(b->alignment), "decrease", osv_number_json(step_at(v, l) * b->shared),
                      "apart", osv_number_json(step_at(v, l) * b->apart), "positions", points_json(v, l)));
    }
    return blocks;
}

static json_t *tokens_json(const view *v)
{
    json_t *tokens = json_array();
    for (int t = 0; t < v->scan->tokens; t++) {
        const osv_scan_token *token = &v->scan->token[t];
        json_array_append_new(tokens, json_pack("{s:i, s:o, s:i, s:i}", "id", token->id, "piece",
                                                osv_text_json(piece_of(v, token->id)), "position", token->pos,
                                                "sign", token->sign));
    }
    return tokens;
}

/* One line. */
static int print_json(const view *v)
{
    json_t *suggested = json_array();
    for (int i = 0; i < v->suggestions; i++) json_array_append_new(suggested, json_integer(v->suggested[i]));
    json_t *all = json_pack("{s:s, s:i, s:o, s:f, s:o, s:o, s:o}", "scan", v->job->name, "completions",
                            v->job->completions, "loss", osv_number_json(v->scan->loss), "scan_norm",
                            v->s->options->scan_norm, "suggested", suggested, "blocks", blocks_json(v),
                            "tokens", tokens_json(v));
    bool failed = !all || json_dumpf(all, stdout, JSON_REAL_PRECISION(9));
    json_decref(all);
    putchar('\n');
    return failed ? OSV_FAIL(v->s->error, OSV_DEVICE, "out of memory for the scan") : OSV_OK;
}

/* ---- */

/* By --layer, else all, rising. */
static int choose_layers(int layer[OSV_MAX_BLOCKS], const train_setup *s)
{
    bool wanted[OSV_MAX_BLOCKS] = {false};
    const train_options *o = s->options;
    int count = 0;
    for (int i = 0; i < o->layers; i++) wanted[o->layer[i]] = true;
    for (int l = 0; l < s->m.config.N; l++)
        if (wanted[l] || o->layers == 0) layer[count++] = l;
    return count;
}

/* suggested [jobs]: room for each job's. */
static int print(const train_setup *s, const osv_scan *scan, char (*suggested)[LAYERS_ROOM])
{
    int layer[OSV_MAX_BLOCKS], layers = choose_layers(layer, s);
    for (int j = 0; j < s->jobs.jobs; j++) {
        view v = {.s = s, .job = &s->jobs.job[j], .scan = &scan[j], .layer = layer, .layers = layers};
        v.suggestions = osv_scan_suggest(v.scan, layer, layers, v.suggested);
        show_suggested(suggested[j], &v);
        if (s->options->json)
            OSV_TRY(print_json(&v));
        else
            print_job(&v);
    }
    if (!s->options->json) print_legend(s);
    return osv_program_flush(s->error);
}

int train_scan(train_setup *s)
{
    const osv_training training = train_setup_training(s);
    size_t jobs = (size_t)training.jobs;
    osv_scan *scan = calloc(jobs + 1, sizeof *scan);
    char(*text)[LAYERS_ROOM] = calloc(jobs + 1, sizeof *text);
    const char **layer = calloc(jobs + 1, sizeof *layer);
    int status = scan && text && layer ? OSV_OK : OSV_FAIL(s->error, OSV_DEVICE, "out of memory for a scan");
    for (size_t j = 0; !status && j < jobs; j++) layer[j] = text[j];
    if (!status) status = osv_scan_jobs(scan, &training);
    if (!status) status = print(s, scan, text);
    if (!status && s->options->out) status = train_setup_layers(s, layer);
    for (size_t j = 0; scan && j < jobs; j++) osv_scan_free(&scan[j]);
    free(scan);
    free(text);
    free(layer);
    return status;
}
