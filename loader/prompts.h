/* Prompts of JSON lines -> ids: "prompt" (text, or {"ids": [..]}), or "messages" with an optional "prefill",
 * rendered by a chat format. The datapoint file and the prompt files of the tools share this.
 *
 * Everything in an osv_prompts is owned by it and released by osv_prompts_free. */
#ifndef OSV_LOADER_PROMPTS_H
#define OSV_LOADER_PROMPTS_H

#include <jansson.h>
#include <stdbool.h>

#include "loader/boundary.h"
#include "loader/chat.h"
#include "loader/tokenizer.h"

/* What text needs. */
typedef struct {
    const osv_tokenizer *tokenizer; /* NULL: the model folder has none, ids only */
    const char *tokenizer_missing;  /* why there is none, for the message when text is met */
    const osv_chat *chat;           /* NULL: the model's format is not known */
    const char *chat_missing;       /* why, for the message when messages are met */
    int V;                          /* ids must be below */
} osv_prompt_options;

typedef struct {
    int line;      /* 1-based line of the file */
    char *id;      /* "id" of the file, or "line 7" */
    char *text;    /* as given, rendered, or decoded from ids; NULL for ids without a tokenizer */
    bool chat;     /* from messages */
    bool complete; /* the text has its special tokens, the tokenizer adds none */
    bool of_ids;   /* from ids: the text is for people only */
    osv_ids ids;   /* at least one */
    json_t *json;  /* the whole line, for keys that only some tools read */
} osv_prompt_line;

typedef struct {
    int count;
    osv_prompt_line *line;
} osv_prompts;

/* A file of prompts, JSON Lines; "-" is standard input. Keys other than the datapoint's and those that
 * osv-eval reads are errors. */
int osv_prompts_read(osv_prompts **out, const char *path, const osv_prompt_options *options, osv_error *e);
/* One prompt of plain text. */
int osv_prompts_of_text(osv_prompts **out, const char *text, const osv_prompt_options *options, osv_error *e);
void osv_prompts_free(osv_prompts *p);

/* The prompt of one JSON object: fills `line` but for its line, id and json. The caller frees it
 * (osv_prompt_line_free), also after a failure. */
int osv_prompt_read(osv_prompt_line *line, const json_t *object, const osv_prompt_options *options,
                    const char *where, osv_error *e);
void osv_prompt_line_free(osv_prompt_line *line);

/* The ids of the prompt of a JSON object alone; the caller frees them, also after a failure. */
int osv_prompt_ids(osv_ids *ids, const json_t *object, const osv_prompt_options *options, const char *where,
                   osv_error *e);

/* The prompt as osv_join takes it; borrowed. */
osv_source osv_prompt_source(const osv_prompt_line *line);

/* A string, or {"ids": [..]}, which is put into *ids: a prompt, a completion, an answer. The text belongs to
 * `value`. */
int osv_source_read(osv_source *source, osv_ids *ids, const json_t *value, const osv_prompt_options *options,
                    const char *where, const char *what, osv_error *e);

#endif
