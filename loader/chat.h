/* Conversations -> the text a model was trained on, by known formats.
 *
 * The format is chosen by recognizing the model's own chat_template; templates are never executed. A template
 * is recognized only if it is one of those the formats were compared with, up to how it is laid out (white
 * space inside tags, comments, quotes, m['role'] or m.role, the text of the default system message); any
 * other is refused with the names of --chat, so that no conversation is quietly rendered in a way its model
 * has never seen.
 *
 * An osv_chat is read-only after opening and may be used by several threads. Text returned through char ** is
 * malloc'ed and owned by the caller. */
#ifndef OSV_LOADER_CHAT_H
#define OSV_LOADER_CHAT_H

#include <jansson.h>
#include <stdbool.h>

#include "kernels/error.h"

typedef struct osv_chat osv_chat;

/* `format`: "auto" or one of osv_chat_names(); an unknown one is OSV_USAGE. auto takes the chat_template of
 * `dir`: chat_template.jinja, else "chat_template" of tokenizer_config.json (a string, or a list of named
 * ones, of which "default"), else of chat_template.json; no or an unknown template is OSV_BAD_INPUT that
 * lists the names. The tokens that a format prints are those of tokenizer_config.json. Models without a
 * template are fine as long as nobody has messages for them: open at the first conversation, or keep the
 * error until there is one. */
int osv_chat_open(osv_chat **out, const char *dir, const char *format, osv_error *e);
void osv_chat_close(osv_chat *c);

/* The format's own name, e.g. "llama3.1", also where it was asked for as "auto" or by another name. */
const char *osv_chat_name(const osv_chat *c);

/* "auto, raw, llama2, llama3, ...", for messages. */
const char *osv_chat_names(void);

/* Whether the tokenizer has to add its special tokens (BOS) to the rendered text: the argument `special` of
 * osv_tokenizer_encode. False for every format but raw: the text has all special tokens that the model
 * expects, BOS included where the template prints it, and a second BOS would be wrong. */
bool osv_chat_adds_special(const osv_chat *c);

/* What closes an assistant's turn, without white space: "<|eot_id|>", "</s>"; "" where the format has nothing
 * there. Where it is a token of the model's, it ends a generated answer, whatever eos_token_id says. */
const char *osv_chat_end_of_turn(const osv_chat *c);

/* The date that llama3.1 (3.2, 3.3) puts into its system turn, as the template's variable date_string: by
 * default "26 Jul 2024", the template's own constant; and mistral-small into its usual system message,
 * "2024-07-26". (The template of 3.2 asks the clock first; osv never does, so that a run can be repeated.)
 * NULL: the default. Only while nobody else uses the osv_chat. */
int osv_chat_set_date(osv_chat *c, const char *date, osv_error *e);

/* Renders `messages`, [{"role": .., "content": ..}, ..]: a non-empty list whose roles are system, user and
 * assistant and whose contents are strings; anything else is OSV_BAD_INPUT that starts with `where`
 * ("data.jsonl:7"). So are the template's own refusals, with its words ("System role not supported"), and
 * system messages that the template would silently leave out.
 *
 * generation: opens an assistant's turn at the end, as add_generation_prompt does: where the template does.
 * prefill: start of the assistant's turn that the model continues, or NULL. The text ends with it, as
 * transformers' continue_final_message gives it: a template that trims messages also trims this one, and a
 * template that puts something before an answer (qwen3: an empty thought) puts it there. */
int osv_chat_render(const osv_chat *c, const json_t *messages, bool generation, const char *prefill,
                    char **text, const char *where, osv_error *e);

#endif
