/* Texts from prompts, steered or not: decoding with stop tokens, sampling and packing, on plain ids. Knows no
 * tokenizer.
 *
 * Prompts are packed into as few passes as memory allows; what a text is does not depend on what it is packed
 * with. */
#ifndef OSV_OPTIM_GENERATE_H
#define OSV_OPTIM_GENERATE_H

#include <signal.h>

#include "engine/decode.h"

typedef struct {
    int count;             /* tokens of the prompt */
    const int *ids;        /* [count] */
    const uint32_t *steer; /* [count + max_tokens] bit i: vector i enters at this token; generated ones follow
                              the prompt */
} osv_generation_prompt;

typedef enum { OSV_TEXT_EOS, OSV_TEXT_MAX_TOKENS, OSV_TEXT_NAN, OSV_TEXT_INTERRUPTED } osv_text_end;

/* "eos", "max-tokens", "nan", "interrupted" */
const char *osv_text_end_name(osv_text_end end);

/* What is told while texts are written. Streams of one pass advance together; a stream is (prompt, sample). A
 * status other than OSV_OK ends it all. Both may be NULL. */
typedef struct {
    void *context;
    /* a token that is part of the text (a stop token is not); logprob at temperature 1, before any
     * restriction */
    int (*token)(void *context, int prompt, int sample, int id, double logprob, osv_error *e);
    /* the text is complete: ids [count]; logprob of all its tokens and of the stop token that ended it */
    int (*text)(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                osv_text_end end, osv_error *e);
} osv_text_observer;

typedef struct {
    osv_ops *ops;
    osv_comm *comm;
    const osv_model *model; /* placed */
    const osv_generation_prompt *prompt;
    int prompts, samples, max_tokens;
    const osv_steering *steering;
    int steerings;
    double temperature; /* 0: greedy */
    int top_k;          /* 0: all */
    double top_p;       /* 1: all */
    unsigned long long seed;
    const int *eos; /* [eos_count] a text ends before any of these */
    int eos_count;
    int most_streams,
        most_tokens; /* of one pass; 0: defaults (256 streams, 16384 prompt and generated tokens) */
    osv_text_observer observer;
    const volatile sig_atomic_t *interrupted; /* may be NULL */
} osv_generation;

int osv_generate(const osv_generation *g);

#endif
