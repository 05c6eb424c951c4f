/* Ids that come one by one -> the text they stand for, never half a character.
 *
 * The text of a continuation is what decoding prompt and continuation together adds to the prompt's own text,
 * so that the blank between them is where it belongs. What a push gives out is final: all pieces together are
 * the text of all ids decoded at once. Bytes that may still become part of a character, and runs of byte
 * tokens, which are decoded as a whole, are held back until it is clear what they are.
 *
 * A text_stream owns what it points to and borrows the tokenizer; the text that a call gives out lives until
 * the next call. */
#ifndef OSV_TOOLS_TEXT_STREAM_H
#define OSV_TOOLS_TEXT_STREAM_H

#include "loader/tokenizer.h"

typedef struct {
    const osv_tokenizer *tokenizer;
    osv_ids ids; /* prompt and continuation */
    int prompt;  /* tokens of the prompt */
    int start;   /* decoding begins here: everything before has been given out */
    int mark;    /* where it may begin next */
    size_t out;  /* bytes of decode(ids[start ..)) that belong to the prompt or have been given out */
    bool begun;  /* something has been given out, so that `out` counts */
    char *prompt_text, *text;
    size_t prompt_bytes;
} text_stream;

int text_stream_open(text_stream *s, const osv_tokenizer *t, const int *prompt, int count, osv_error *e);
void text_stream_close(text_stream *s);

/* Adds a token of the continuation; *text [*bytes] is what has become clear, often nothing. */
int text_stream_push(text_stream *s, int id, const char **text, size_t *bytes, osv_error *e);
/* The rest: what will never be a character becomes U+FFFD. */
int text_stream_end(text_stream *s, const char **text, size_t *bytes, osv_error *e);

/* The same for all ids at once. *text is malloc'ed, NUL-terminated. */
int text_of_continuation(char **text, size_t *bytes, const osv_tokenizer *t, const int *prompt, int count,
                         const int *ids, int more, osv_error *e);

#endif
