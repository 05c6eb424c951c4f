/* The datapoint file (--data): JSON Lines, one datapoint a line -> plain ids and masks.
 *
 * Everything in an osv_dataset is owned by it and released by osv_dataset_free. Unknown keys, wrong types,
 * ids out of range, completions that tokenize to nothing and the like are OSV_BAD_INPUT with file, line and
 * key. Aliases of the reference library: dst_completions = promote, src_completions = suppress, is_negative =
 * negative, and their *_target_losses. */
#ifndef OSV_LOADER_DATAPOINTS_H
#define OSV_LOADER_DATAPOINTS_H

#include <stdbool.h>

#include "engine/config.h"
#include "kernels/ops.h"
#include "loader/beam_wish.h"
#include "loader/boundary.h"
#include "loader/chat.h"
#include "loader/datapoint_keys.h"
#include "loader/tokenizer.h"

typedef struct {
    osv_completion_kind kind;
    osv_target target;
    osv_ids under;     /* the prompt under which the loss is that a relative target is of; empty: its own */
    double weight;     /* in what is optimized; 1 where none is given */
    int count, prompt; /* tokens of prompt + completion, tokens of the prompt */
    int scored;     /* the first token that is scored: `prompt`, or 1 where an anchor is the prompt itself */
    bool unwritten; /* a teacher is to write it, or beam search: zeros stand for its tokens, as many as there
                       may be */
    osv_beam_wish *beam;   /* what beam search is to find; NULL: it has no part in this one */
    double beta;           /* of a pair; NaN: none given */
    int *ids;              /* [count] */
    signed char *steer;    /* [count] +1, -1 or 0 */
    signed char *opposite; /* [count] the same with the other sign, of pairs alone */
    char *text;            /* the completion as given, or decoded; NULL without a tokenizer */
} osv_completion;

typedef struct {
    int line;        /* 1-based line of the file */
    char *id;        /* "id" of the file, or "line 7" */
    char *job;       /* "job", default "all" */
    char *positions; /* as given, or the default */
    char *prompt;    /* the prompt's text; NULL where it was given as ids and there is no tokenizer */
    bool chat;       /* from messages, rendered by the chat format */
    bool negative;
    int completions;
    osv_completion *completion; /* by kind, those of a kind in file order; last the pairs, each as chosen and
                                   rejected */
} osv_datapoint;

typedef struct {
    int count;
    osv_datapoint *point;
    int warnings;
    char **warning; /* e.g. a token that would cross the boundary of prompt and completion; the tools print
                       them */
} osv_dataset;

/* Reentrant steering trains on one file twice. */
typedef enum {
    OSV_STAGE_ONLY,  /* all that is wanted */
    OSV_STAGE_EARLY, /* all but matches and anchors */
    OSV_STAGE_LATE, /* these alone; a datapoint with other completions has "match": true if it has no match */
} osv_stage;

typedef struct {
    const osv_tokenizer *tokenizer; /* NULL: the model directory has none, ids only */
    const char *tokenizer_missing;  /* why there is none, for the message when text is met */
    const osv_chat *chat;           /* NULL: the model's format is not known */
    const char *chat_missing;       /* why, for the message when messages are met */
    int V;                          /* ids must be below */
    int positions;                  /* longest prompt + completion */
    const char *default_positions;  /* --positions, e.g. "all" */
    osv_boundary boundary;
    int match_tokens;  /* at least 1: that a teacher writes where "match" is true */
    int beam_tokens;   /* of what beam search finds, at most */
    bool beam;         /* datapoints without "promote_from_beam" have it */
    bool prompt_alone; /* a prompt with nothing behind it is a datapoint: one completion of no tokens */
    osv_stage stage;
} osv_dataset_options;

int osv_dataset_read(osv_dataset **out, const char *path, const osv_dataset_options *options, osv_error *e);
void osv_dataset_free(osv_dataset *d);

/* Gives a completion of datapoint `p` its tokens, in place of those it has, and lays the mask over them:
 * prompt [prompt_count] (may be c->ids), then ids [count]. `where` begins messages. */
int osv_completion_fill(osv_completion *c, const osv_datapoint *p, const int *prompt, int prompt_count,
                        const int *ids, int count, const char *where, osv_error *e);
/* Its text from its ids; none without a tokenizer. */
int osv_completion_show(osv_completion *c, const osv_tokenizer *tokenizer, osv_error *e);

/* Whether `name`, given under `key`, can name a job: it becomes a file name. */
int osv_job_name_check(const char *name, const char *key, osv_error *e);

/* Checks the spelling of a --positions option; OSV_USAGE where it is wrong. */
int osv_positions_check(const char *spec, const char *where, osv_error *e);

/* The position grammar, "all | prompt | completion" with an optional slice ":a:b", ":a:", "::b" or one
 * position ":i": writes mask[count] = 1 where steered. Counts as Python slices do, within the named part; a
 * single position out of range is an error. */
int osv_positions_mask(const char *spec, int prompt, int count, signed char *mask, const char *where,
                       osv_error *e);

#endif
