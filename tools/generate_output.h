/* What osv-generate prints: the observer of osv_generate. One text is written as it comes, in whole
 * characters; several are printed whole and in order of prompts, or as JSON lines in the order in which they
 * end. Owns what it keeps; borrows prompts, tokenizer and options. */
#ifndef OSV_TOOLS_GENERATE_OUTPUT_H
#define OSV_TOOLS_GENERATE_OUTPUT_H

#include "loader/prompts.h"
#include "optim/generate.h"
#include "tools/generate_options.h"
#include "tools/text_stream.h"

typedef struct {
    bool ended;
    int *ids; /* [count] */
    int count;
    double logprob;
    osv_text_end end;
} generate_text;

typedef struct {
    const generate_options *options;
    const osv_prompts *prompts;
    const osv_tokenizer *tokenizer; /* NULL: ids are printed */
    generate_text *text;            /* [prompts * samples] */
    int printed;                    /* of them, in order */
    bool streaming, terminal, color;
    text_stream stream;
    int nan_prompt; /* the first whose logits were no numbers, after nan_tokens; else -1 */
    int nan_tokens;
    long tokens; /* written in all */
} generate_output;

int generate_output_open(generate_output *out, const generate_options *options, const osv_prompts *prompts,
                         const osv_tokenizer *tokenizer, osv_error *e);
void generate_output_close(generate_output *out);

/* osv_text_observer's functions; context: a generate_output. */
int generate_output_token(void *context, int prompt, int sample, int id, double logprob, osv_error *e);
int generate_output_text(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                         osv_text_end end, osv_error *e);

#endif
