/* Decoding: prompts are run once as a forest (what they share is computed once), then every stream appends a
 * token a step to its own part of the K/V arenas. A stream is one text being written; several may continue
 * one prompt.
 *
 *     osv_decoder_open -> osv_decoder_sample -> { osv_decoder_step -> osv_decoder_sample } ... ->
 * osv_decoder_close
 *
 * The decoder owns its device memory and borrows ops, communicator and model. Tokens are steered by any
 * number of vectors at once, each at its own block; which of them enter at a token is a bit mask, so that
 * only tokens whose whole past is steered alike are shared. */
#ifndef OSV_ENGINE_DECODE_H
#define OSV_ENGINE_DECODE_H

#include <stdint.h>

#include "engine/block.h"

/* A vector in use. */
typedef struct {
    int layer;         /* enters at block_input:layer */
    osv_form form;     /* and how */
    const osv_real *p; /* [osv_form_params(form), D] host: its parameters, scaled */
} osv_steering;

enum { OSV_MAX_STEERINGS = 32 };

typedef struct {
    int count;             /* at least 1 */
    const int *ids;        /* [count] */
    const uint32_t *steer; /* [count] bit i: vector i enters at this token */
} osv_prompt;

typedef struct osv_decoder osv_decoder;

/* `streams` texts: stream i continues prompt[of[i]] by at most max_tokens tokens. Runs the prompts. */
int osv_decoder_open(osv_decoder **out, osv_ops *ops, osv_comm *comm, const osv_model *model,
                     const osv_prompt *prompt, int prompts, const int *of, int streams,
                     const osv_steering *steering, int steerings, int max_tokens);
void osv_decoder_close(osv_decoder *d);

/* The streams that still run, in rising order: their number, and which stream is at place i. */
int osv_decoder_streams(const osv_decoder *d);
int osv_decoder_stream(const osv_decoder *d, int i);

/* Chooses the next token of every running stream: how, id, logprob [running], host. Waits. */
int osv_decoder_sample(osv_decoder *d, const osv_sampling *how, int *id, osv_real *logprob);

/* Ends the streams at the places where keep is false. */
void osv_decoder_keep(osv_decoder *d, const bool *keep);

/* The i-th running stream goes on from what the from[i]-th one has, which continues the same prompt; for a
 * search that follows several texts and drops some. from [running]. */
int osv_decoder_branch(osv_decoder *d, const int *from);

/* Appends a token to every running stream: id, steer [running], host. */
int osv_decoder_step(osv_decoder *d, const int *id, const uint32_t *steer);

/* Logits of the running streams' next tokens: row osv_decoder_row(d, i) of z [*, V], device memory. */
const osv_real *osv_decoder_logits(const osv_decoder *d);
int osv_decoder_row(const osv_decoder *d, int i);
/* The same of one stream, from all ranks: logits [V], host. Waits. */
int osv_decoder_read(osv_decoder *d, int i, osv_real *logits);

/* Tokens of all prompts, and how many of them were run (shared ones once). */
void osv_decoder_counts(const osv_decoder *d, long *tokens, long *run);

#endif
