/* Text <-> token ids, as the files of the model directory say.
 *
 * Read is the first of these that is there:
 *
 *   tokenizer.json             of the tokenizers library, BPE
 *   tokenizer.model            of sentencepiece, BPE; or of tiktoken, if it is Llama 3's or the model is a
 *                              Llama and tokenizer_config.json lists the added tokens
 *   vocab.json and merges.txt  of Qwen2Tokenizer and GPT2Tokenizer
 *
 * and beside it tokenizer_config.json, config.json, special_tokens_map.json, added_tokens.json. The ids are
 * those of transformers' AutoTokenizer (version 5) for the directory; loader/tokenizer/class.c has its rules.
 * One directory is read in another way: where there is only a sentencepiece model and nothing names a class,
 * the file itself says about dummy prefix and spaces, as to sentencepiece.
 *
 * An osv_tokenizer is read-only after opening and may be used by several threads. Arrays and strings returned
 * through osv_ids / char ** are malloc'ed and owned by the caller. */
#ifndef OSV_LOADER_TOKENIZER_H
#define OSV_LOADER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

typedef struct osv_tokenizer osv_tokenizer;

typedef struct {
    int *data; /* [count] */
    int count, room;
} osv_ids;

void osv_ids_free(osv_ids *ids);
int osv_ids_push(osv_ids *ids, int id, osv_error *e);

/* A directory without any of the files is OSV_BAD_INPUT (text needs a tokenizer; ids do not). What would
 * change the ids and is not understood, a component or a kind of model, is an error that names it. */
int osv_tokenizer_open(osv_tokenizer **out, const char *dir, osv_error *e);
void osv_tokenizer_close(osv_tokenizer *t);

/* One line for people: the file it was read from and its kind, "tokenizer.json, BPE, byte-level". */
const char *osv_tokenizer_about(const osv_tokenizer *t);
/* Path of the file that was read, for its hash; of vocab.json and merges.txt the former. */
const char *osv_tokenizer_path(const osv_tokenizer *t);

/* Number of ids, added tokens included (largest id + 1). */
int osv_tokenizer_size(const osv_tokenizer *t);

/* Appends the ids of UTF-8 `text`. `special`: with the tokens the post-processor adds (BOS ...). Added tokens
 * that occur in the text ("<|end|>") are recognized either way, as transformers does. Invalid UTF-8 is
 * OSV_BAD_INPUT with the byte offset. */
int osv_tokenizer_encode(const osv_tokenizer *t, const char *text, size_t bytes, bool special, osv_ids *ids,
                         osv_error *e);

/* The same for text that continues other text: no dummy prefix space at its beginning, no special tokens. */
int osv_tokenizer_encode_continuation(const osv_tokenizer *t, const char *text, size_t bytes, osv_ids *ids,
                                      osv_error *e);

/* The text of `ids` as the decoder of the file says (malloc'ed, NUL-terminated; *bytes without the NUL, may
 * be NULL). Bytes that form no UTF-8 character come out as they are or as U+FFFD, as the tokenizers library
 * does. `skip_special` leaves special tokens out. */
int osv_tokenizer_decode(const osv_tokenizer *t, const int *ids, int count, bool skip_special, char **text,
                         size_t *bytes, osv_error *e);

/* The vocabulary entry of `id` as the file spells it ("Ġthe", "▁the", "<0x0A>"), or NULL; for messages. */
const char *osv_tokenizer_piece(const osv_tokenizer *t, int id);

/* The lowest id above `id` of an added token that is special (left out by `skip_special`); -1: no more. */
int osv_tokenizer_next_special(const osv_tokenizer *t, int id);

#endif
