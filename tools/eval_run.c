#include "tools/eval_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/form.h"
#include "optim/form.h"
#include "optim/generate.h"
#include "optim/likelihood.h"
#include "tools/program.h"
#include "tools/text_stream.h"

/* As many conditions as there are bits for vectors in one go, the first of all being unsteered. All of a
 * prompt's conditions go together, since they share what comes before its first steered token. */
typedef struct {
    eval_run *run;
    const eval_set *set;
    eval_answer *answer; /* [prompts][1 + scales] */
    int first, count;    /* conditions first .. first + count - 1 of 1 + scales */
    osv_steering *steering;
    int steerings;
    osv_real *p; /* their parameters */
} chunk;

static int no_memory(osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

/* Bit of the first vector of a condition; the unsteered one has none. */
static int bit_of(const chunk *c, int condition)
{
    int steered_before = condition - c->first - (c->first == 0); /* in this chunk */
    return steered_before * c->run->steering->steerings;
}

/* Vectors times the scale of each condition. */
static int scale_vectors(chunk *c, osv_error *e)
{
    const tool_steering *s = c->run->steering;
    size_t D = (size_t)s->D, rows = 0;
    int steered = c->count - (c->first == 0);
    for (int i = 0; i < s->steerings; i++) rows += (size_t)osv_form_params(s->steering[i].form);
    c->steerings = steered * s->steerings;
    c->steering = calloc((size_t)c->steerings + 1, sizeof *c->steering);
    c->p = calloc((size_t)steered * rows * D + 1, sizeof *c->p);
    if (!c->steering || !c->p) return no_memory(e);
    osv_real *p = c->p;
    for (int k = 0; k < steered; k++) {
        double scale = c->run->options->scale[c->first + (c->first == 0) + k - 1];
        for (int i = 0; i < s->steerings; i++) {
            int to = k * s->steerings + i;
            c->steering[to] = s->steering[i];
            c->steering[to].p = p;
            osv_form_scale(s->steering[i].form, p, s->steering[i].p, scale, s->D);
            p += (size_t)osv_form_params(s->steering[i].form) * D;
        }
    }
    return OSV_OK;
}

/* Masks of a text under each condition of the chunk: steer [count][tokens]. */
static int make_masks(const chunk *c, uint32_t *steer, int prompt, int more, const osv_prompt_line *line,
                      osv_error *e)
{
    char where[512];
    int tokens = prompt + more;
    uint32_t *once = calloc((size_t)tokens, sizeof *once);
    if (!once) return no_memory(e);
    int status = tool_steering_mask(c->run->steering, prompt, more, once,
                                    tool_prompt_where(where, sizeof where, c->set->file, line), e);
    for (int k = 0; k < c->count && !status; k++)
        for (int t = 0; t < tokens; t++)
            steer[k * tokens + t] = c->first + k == 0 ? 0 : once[t] << bit_of(c, c->first + k);
    free(once);
    return status;
}

static void count_answer(eval_run *r)
{
    char text[64];
    snprintf(text, sizeof text, "%ld of %ld answers", ++r->done, r->all);
    osv_progress_draw(&r->progress, (double)r->done / (double)r->all, text);
}

/* ---- by text ---- */

static int on_text(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                   osv_text_end end, osv_error *e)
{
    const chunk *c = context;
    eval_run *r = c->run;
    int line = prompt / c->count, condition = c->first + prompt % c->count;
    const osv_prompt_line *p = &c->set->prompts->line[line];
    eval_answer *a = &c->answer[line * (1 + r->options->scales) + condition];
    char where[512];
    (void)sample, (void)logprob;
    if (end == OSV_TEXT_INTERRUPTED) return OSV_OK;
    if (end == OSV_TEXT_NAN)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: after %d generated tokens the logits are not finite numbers; is a vector too long?",
            tool_prompt_where(where, sizeof where, c->set->file, p), count);
    count_answer(r);
    return text_of_continuation(&a->text, &a->bytes, r->m->tokenizer, p->ids.data, p->ids.count, ids, count,
                                e);
}

static int run_by_text(chunk *c, osv_error *e)
{
    eval_run *r = c->run;
    const osv_prompts *p = c->set->prompts;
    int more = r->options->max_tokens;
    size_t texts = (size_t)p->count * (size_t)c->count, total = 0;
    for (int i = 0; i < p->count; i++) total += (size_t)(p->line[i].ids.count + more);
    osv_generation_prompt *prompt = calloc(texts, sizeof *prompt);
    uint32_t *masks = calloc(total * (size_t)c->count, sizeof *masks), *steer = masks;
    int status = prompt && masks ? OSV_OK : no_memory(e);
    for (int i = 0; i < p->count && !status; i++) {
        const osv_prompt_line *line = &p->line[i];
        int tokens = line->ids.count + more;
        status = make_masks(c, steer, line->ids.count, more, line, e);
        for (int k = 0; k < c->count; k++, steer += tokens)
            prompt[i * c->count + k] =
                (osv_generation_prompt){.count = line->ids.count, .ids = line->ids.data, .steer = steer};
    }
    const osv_generation generation = {.ops = r->m->ops,
                                       .comm = r->m->comm,
                                       .model = &r->m->model,
                                       .prompt = prompt,
                                       .prompts = (int)texts,
                                       .samples = 1,
                                       .max_tokens = more,
                                       .steering = c->steering,
                                       .steerings = c->steerings,
                                       .top_p = 1,
                                       .eos = r->stop.data,
                                       .eos_count = r->stop.count,
                                       .observer = {.context = c, .text = on_text},
                                       .interrupted = &osv_program_signal};
    if (!status) status = osv_generate(&generation);
    free(prompt);
    free(masks);
    return status;
}

/* ---- by choice ---- */

static int best_of(const double *logprob, int choices)
{
    int best = 0;
    for (int i = 1; i < choices; i++)
        if (logprob[i] > logprob[best]) best = i;
    return best;
}

/* logprob: of all texts, line by line, choice by choice, condition by condition. */
static int choose(const chunk *c, const double *logprob, osv_error *e)
{
    eval_run *r = c->run;
    char where[512];
    for (int i = 0; i < c->set->prompts->count; i++) {
        const eval_line *line = &c->set->line[i];
        for (int k = 0; k < c->count; k++) {
            double of_choice[EVAL_MOST_CHOICES];
            for (int n = 0; n < line->choices; n++) {
                of_choice[n] = logprob[n * c->count + k];
                if (isnan(of_choice[n]))
                    return OSV_FAIL(
                        e, OSV_BAD_INPUT, "%s: the logits are not finite numbers; is a vector too long?",
                        tool_prompt_where(where, sizeof where, c->set->file, &c->set->prompts->line[i]));
            }
            c->answer[i * (1 + r->options->scales) + c->first + k].choice = best_of(of_choice, line->choices);
            count_answer(r);
        }
        logprob += line->choices * c->count;
    }
    return OSV_OK;
}

static int run_by_choice(chunk *c, osv_error *e)
{
    eval_run *r = c->run;
    size_t texts = 0, total = 0;
    for (int i = 0; i < c->set->prompts->count; i++)
        for (int n = 0; n < c->set->line[i].choices; n++, texts++)
            total += (size_t)c->set->line[i].choice[n].ids.count;
    texts *= (size_t)c->count;
    osv_continuation *text = calloc(texts, sizeof *text), *next = text;
    uint32_t *masks = calloc(total * (size_t)c->count, sizeof *masks), *steer = masks;
    double *logprob = calloc(texts, sizeof *logprob);
    int status = text && masks && logprob ? OSV_OK : no_memory(e);
    for (int i = 0; i < c->set->prompts->count && !status; i++)
        for (int n = 0; n < c->set->line[i].choices && !status; n++) {
            const eval_choice *choice = &c->set->line[i].choice[n];
            int tokens = choice->ids.count;
            status =
                make_masks(c, steer, choice->prompt, tokens - choice->prompt, &c->set->prompts->line[i], e);
            for (int k = 0; k < c->count; k++, steer += tokens)
                *next++ = (osv_continuation){
                    .count = tokens, .prompt = choice->prompt, .ids = choice->ids.data, .steer = steer};
        }
    const osv_likelihood likelihood = {.ops = r->m->ops,
                                       .comm = r->m->comm,
                                       .model = &r->m->model,
                                       .steering = c->steering,
                                       .steerings = c->steerings};
    if (!status) status = osv_likelihood_of(&likelihood, text, (int)texts, logprob);
    if (!status) status = choose(c, logprob, e);
    free(text);
    free(masks);
    free(logprob);
    return status;
}

/* ---- public ---- */

static int run_chunk(chunk *c, osv_error *e)
{
    int status = scale_vectors(c, e);
    if (!status) status = c->run->options->by == EVAL_BY_TEXT ? run_by_text(c, e) : run_by_choice(c, e);
    free(c->steering);
    free(c->p);
    return status;
}

int eval_run_set(eval_run *r, const eval_set *s, eval_answer **answer, osv_error *e)
{
    int conditions = 1 + r->options->scales;
    int most = OSV_MAX_STEERINGS / r->steering->steerings; /* steered conditions in one go, at least one */
    *answer = calloc((size_t)s->prompts->count * (size_t)conditions, sizeof **answer);
    if (!*answer) return no_memory(e);
    for (int first = 0, count; first < conditions && !osv_program_signal; first += count) {
        count = most + (first == 0);
        if (count > conditions - first) count = conditions - first;
        chunk c = {.run = r, .set = s, .answer = *answer, .first = first, .count = count};
        OSV_TRY(run_chunk(&c, e));
    }
    return OSV_OK;
}

void eval_answers_free(eval_answer *answer, const eval_set *s, int scales)
{
    for (int i = 0; answer && i < s->prompts->count * (1 + scales); i++) free(answer[i].text);
    free(answer);
}
