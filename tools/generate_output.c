#include "tools/generate_output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/program.h"
#include "tools/text.h"

enum { PROMPT_CHARACTERS = 72, IDS_SHOWN = 12, SHOWN_ROOM = 512, LINE_ROOM = 2048 };

int generate_output_open(generate_output *out, const generate_options *options, const osv_prompts *prompts,
                         const osv_tokenizer *tokenizer, osv_error *e)
{
    size_t texts = (size_t)prompts->count * (size_t)options->samples;
    *out = (generate_output){.options = options,
                             .prompts = prompts,
                             .tokenizer = tokenizer,
                             .streaming = texts == 1 && tokenizer && !options->json,
                             .terminal = isatty(STDOUT_FILENO),
                             .color = osv_program_color(),
                             .nan_prompt = -1};
    out->text = calloc(texts + 1, sizeof *out->text);
    if (!out->text) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %zu texts", texts);
    const osv_prompt_line *p = &prompts->line[0];
    return out->streaming ? text_stream_open(&out->stream, tokenizer, p->ids.data, p->ids.count, e) : OSV_OK;
}

void generate_output_close(generate_output *out)
{
    int texts = out->text ? out->prompts->count * out->options->samples : 0;
    for (int i = 0; i < texts; i++) free(out->text[i].ids);
    free(out->text);
    text_stream_close(&out->stream);
    *out = (generate_output){0};
}

/* ---- text ---- */

/* Text of a model; on a terminal without the control characters that could do things to it. */
static int write_text(const generate_output *out, const char *text, size_t bytes, osv_error *e)
{
    if (!out->terminal) return osv_program_write(text, bytes, e);
    char *plain = osv_text_plain(text, bytes, &bytes);
    if (!plain) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a text");
    int status = osv_program_write(plain, bytes, e);
    free(plain);
    return status;
}

static int write_string(const char *text, osv_error *e)
{
    return osv_program_write(text, strlen(text), e);
}

/* On a terminal the prompt stands in front of what follows it, dimmed. */
static int begin_stream(const generate_output *out, osv_error *e)
{
    const char *prompt = out->prompts->line[0].text;
    if (!out->color || !prompt) return OSV_OK;
    OSV_TRY(write_string("\033[2m", e));
    OSV_TRY(write_text(out, prompt, strlen(prompt), e));
    return write_string("\033[0m", e);
}

static int write_header(const generate_output *out, int prompt, int sample, osv_error *e)
{
    const osv_prompt_line *p = &out->prompts->line[prompt];
    char line[LINE_ROOM], id[SHOWN_ROOM], shown[SHOWN_ROOM], which[32] = "";
    if (p->text)
        osv_show_text(shown, sizeof shown, p->text, PROMPT_CHARACTERS, OSV_KEEP_TAIL);
    else
        osv_show_ids(shown, sizeof shown, p->ids.data, p->ids.count, IDS_SHOWN);
    if (out->options->samples > 1)
        snprintf(which, sizeof which, " (%d of %d)", sample + 1, out->options->samples);
    osv_show_name(id, sizeof id, p->id);
    if (out->color)
        snprintf(line, sizeof line, "\033[36m%s%s\033[0;2m: %s\033[0m\n", id, which, shown);
    else
        snprintf(line, sizeof line, "%s%s: %s\n", id, which, shown);
    return write_string(line, e);
}

static int write_ids(const generate_text *t, osv_error *e)
{
    char number[16];
    for (int i = 0; i < t->count; i++) {
        snprintf(number, sizeof number, "%s%d", i ? " " : "", t->ids[i]);
        OSV_TRY(write_string(number, e));
    }
    return OSV_OK;
}

static int print_text(const generate_output *out, int index, osv_error *e)
{
    int prompt = index / out->options->samples, sample = index % out->options->samples;
    const osv_prompt_line *p = &out->prompts->line[prompt];
    const generate_text *t = &out->text[index];
    bool alone = out->prompts->count * out->options->samples == 1;
    if (!alone && index > 0) OSV_TRY(write_string("\n", e));
    if (!alone) OSV_TRY(write_header(out, prompt, sample, e));
    if (out->tokenizer) {
        char *text;
        size_t bytes;
        OSV_TRY(text_of_continuation(&text, &bytes, out->tokenizer, p->ids.data, p->ids.count, t->ids,
                                     t->count, e));
        int status = write_text(out, text, bytes, e);
        free(text);
        OSV_TRY(status);
    } else {
        OSV_TRY(write_ids(t, e));
    }
    return write_string("\n", e);
}

/* ---- JSON ---- */

static int print_json(const generate_output *out, const osv_prompt_line *p, const generate_text *t,
                      osv_error *e)
{
    char *decoded = NULL;
    size_t bytes;
    if (out->tokenizer)
        OSV_TRY(text_of_continuation(&decoded, &bytes, out->tokenizer, p->ids.data, p->ids.count, t->ids,
                                     t->count, e));
    json_t *text = decoded ? json_stringn(decoded, bytes) : json_null(), *ids = json_array();
    free(decoded);
    for (int i = 0; i < t->count; i++) json_array_append_new(ids, json_integer(t->ids[i]));
    json_t *line = json_pack("{s:o, s:o, s:o, s:o, s:s, s:o}", "id", osv_text_json(p->id), "prompt",
                             osv_text_json(p->text), "text", text, "ids", ids, "stopped",
                             osv_text_end_name(t->end), "logprob", osv_number_json(t->logprob));
    char *dump = line ? json_dumps(line, JSON_REAL_PRECISION(9)) : NULL;
    int status = dump ? write_string(dump, e) : OSV_FAIL(e, OSV_DEVICE, "out of memory for a text");
    if (!status) status = write_string("\n", e);
    free(dump);
    json_decref(line);
    return status;
}

/* ---- observer ---- */

int generate_output_token(void *context, int prompt, int sample, int id, double logprob, osv_error *e)
{
    generate_output *out = context;
    (void)prompt, (void)sample, (void)logprob;
    out->tokens++;
    if (!out->streaming) return OSV_OK;
    const char *text;
    size_t bytes;
    if (out->tokens == 1) OSV_TRY(begin_stream(out, e));
    OSV_TRY(text_stream_push(&out->stream, id, &text, &bytes, e));
    return bytes ? write_text(out, text, bytes, e) : OSV_OK;
}

static int end_stream(generate_output *out, osv_error *e)
{
    const char *text;
    size_t bytes;
    OSV_TRY(text_stream_end(&out->stream, &text, &bytes, e));
    OSV_TRY(write_text(out, text, bytes, e));
    return write_string("\n", e);
}

int generate_output_text(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                         osv_text_end end, osv_error *e)
{
    generate_output *out = context;
    int texts = out->prompts->count * out->options->samples;
    generate_text *t = &out->text[prompt * out->options->samples + sample];
    *t = (generate_text){.ended = true, .count = count, .logprob = logprob, .end = end};
    if (end == OSV_TEXT_NAN && out->nan_prompt < 0) {
        out->nan_prompt = prompt;
        out->nan_tokens = count;
    }
    t->ids = malloc((size_t)count * sizeof *t->ids + 1);
    if (!t->ids) return OSV_FAIL(e, OSV_DEVICE, "out of memory for a text");
    if (count) memcpy(t->ids, ids, (size_t)count * sizeof *t->ids);
    if (out->streaming) return end_stream(out, e);
    if (out->options->json) return print_json(out, &out->prompts->line[prompt], t, e);
    for (; out->printed < texts && out->text[out->printed].ended; out->printed++)
        OSV_TRY(print_text(out, out->printed, e));
    return OSV_OK;
}
