/* The prompts of a tool: from a file or from the command line, and how messages name them. */
#ifndef OSV_TOOLS_TOOL_PROMPTS_H
#define OSV_TOOLS_TOOL_PROMPTS_H

#include "loader/prompts.h"
#include "tools/tool_model.h"

/* What the text of `m` needs. */
osv_prompt_options tool_prompt_options(const tool_model *m);

/* `file` of JSON lines ("-": standard input), or where it is NULL the one prompt `text`. */
int tool_prompts_read(osv_prompts **out, const tool_model *m, const char *file, const char *text,
                      osv_error *e);

/* "prompts.jsonl:7", or "--prompt" where `file` is NULL; cut at `room`. Returns `where`. */
const char *tool_prompt_where(char *where, size_t room, const char *file, const osv_prompt_line *line);

/* Appends the ids that end a text: the model's, and what closes an answer in its chat format. */
int tool_stop_ids(osv_ids *ids, const tool_model *m, osv_error *e);

/* Tokens of the longest prompt. */
int tool_prompts_longest(const osv_prompts *p);

/* Has the model room for `more` tokens after each? */
int tool_prompts_check(const osv_prompts *p, const tool_model *m, const char *file, int more, osv_error *e);

#endif
